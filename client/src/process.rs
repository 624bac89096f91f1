//! Which process this is, and which places its handles beat for.
//!
//! A process is told from its parent by its *mark*, a word in memory that the kernel wipes on fork: the pid in the low
//! half, a serial number in the high half. Either of the two detectors, the wipe and the pid, makes it differ.

use std::{
    io,
    sync::atomic::{AtomicU32, AtomicU64, Ordering},
};

use varta_vlp::{AgentId, AudienceId, UnitId};

use crate::{
    fork::{self, Claim, Wiped},
    outcome::{BeatError, BeatFault},
    session::SenderTime,
    sources::Sources,
};

/// Handed down to children, so that no two processes of one family get the same.
static SERIAL: AtomicU32 = AtomicU32::new(0);

/// A handle's view of the process that it runs in.
pub(crate) struct Process {
    wiped: &'static Wiped,
    mark: u64,
    first_connect_ns: u64,
}

/// The place of a claim in the process's table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    index: usize,
    /// Whether this process beat for it before.
    pub(crate) continues: bool,
}

/// Why a place cannot be claimed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// Another handle holds it.
    Taken,
    /// The table is full.
    Full,
}

impl Process {
    /// Enters the process whose number is `pid`, at its first connect or later.
    ///
    /// # Errors
    /// There is no memory that is wiped on fork.
    pub(crate) fn enter(pid: u32, boottime_ns: u64) -> io::Result<Self> {
        let wiped = fork::wiped()?;
        let mark = current_mark(wiped, pid, boottime_ns);
        let first_connect_ns = wiped.first_connect_ns.load(Ordering::Acquire);
        Ok(Self { wiped, mark, first_connect_ns })
    }

    /// Reads pid and clocks, and enters the child if this is one: whether it did. What the handle has of its parent is to be
    /// forgotten then. Allocates nothing and waits for nobody.
    ///
    /// # Errors
    /// A clock cannot be read.
    pub(crate) fn look_around(&mut self, sources: &mut impl Sources) -> Result<(u32, SenderTime, bool), BeatError> {
        let pid = sources.pid();
        let now = sources.now().map_err(|error| BeatError::of(BeatFault::Clock, &error))?;
        let is_child = self.is_forked(pid);
        if is_child {
            self.enter_child(pid, now.boottime_ns);
        }
        Ok((pid, now, is_child))
    }

    /// Whether this is another process than the one that was entered.
    pub(crate) fn is_forked(&self, pid: u32) -> bool {
        self.wiped.mark.load(Ordering::Acquire) != self.mark || pid_of(self.mark) != pid
    }

    fn enter_child(&mut self, pid: u32, boottime_ns: u64) {
        self.mark = current_mark(self.wiped, pid, boottime_ns);
        self.first_connect_ns = self.wiped.first_connect_ns.load(Ordering::Acquire);
    }

    /// Tells this process from its parent and its children.
    pub(crate) const fn mark(&self) -> u64 {
        self.mark
    }

    /// When the process first connected, nanoseconds of boottime.
    pub(crate) const fn first_connect_ns(&self) -> u64 {
        self.first_connect_ns
    }

    /// Claims a place for one handle.
    ///
    /// # Errors
    /// [`Refused`].
    pub(crate) fn claim(&self, agent: AgentId, audience: AudienceId, unit: UnitId) -> Result<Place, Refused> {
        let wanted = (agent.0, u64::from(audience.0) << 32 | u64::from(unit.0));
        let _turn = Turn::wait(self.wiped, self.mark);
        let mut free = None;
        for (index, claim) in self.wiped.claims.iter().enumerate() {
            let mark = claim.mark.load(Ordering::Relaxed);
            if mark != self.mark {
                // Never used, or left over from the parent.
                free = Some((index, claim));
                if mark == 0 {
                    break;
                }
                continue;
            }
            let live = claim.live.load(Ordering::Relaxed) == 1;
            if claim.names(wanted) {
                if live {
                    return Err(Refused::Taken);
                }
                claim.live.store(1, Ordering::Relaxed);
                return Ok(Place { index, continues: true });
            }
            if !live && free.is_none() {
                free = Some((index, claim));
            }
        }
        let (index, claim) = free.ok_or(Refused::Full)?;
        claim.agent.store(wanted.0, Ordering::Relaxed);
        claim.audience_and_unit.store(wanted.1, Ordering::Relaxed);
        claim.live.store(1, Ordering::Relaxed);
        claim.mark.store(self.mark, Ordering::Relaxed);
        Ok(Place { index, continues: false })
    }

    /// Gives a place back. In a forked child that has not been entered there is nothing to give.
    pub(crate) fn release(&self, place: Place) {
        if self.wiped.mark.load(Ordering::Acquire) != self.mark {
            return;
        }
        let _turn = Turn::wait(self.wiped, self.mark);
        if let Some(claim) = self.wiped.claims.get(place.index) {
            if claim.mark.load(Ordering::Relaxed) == self.mark {
                claim.live.store(0, Ordering::Relaxed);
            }
        }
    }
}

impl Claim {
    fn names(&self, (agent, audience_and_unit): (u64, u64)) -> bool {
        self.agent.load(Ordering::Relaxed) == agent
            && self.audience_and_unit.load(Ordering::Relaxed) == audience_and_unit
    }
}

const fn pid_of(mark: u64) -> u32 {
    mark as u32
}

fn current_mark(wiped: &Wiped, pid: u32, boottime_ns: u64) -> u64 {
    let mut mark = wiped.mark.load(Ordering::Acquire);
    while mark == 0 || pid_of(mark) != pid {
        let serial = SERIAL.fetch_add(1, Ordering::AcqRel).wrapping_add(1);
        let fresh = u64::from(serial) << 32 | u64::from(pid);
        wiped.first_connect_ns.store(boottime_ns, Ordering::Release);
        match wiped.mark.compare_exchange(mark, fresh, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => return fresh,
            Err(other) => mark = other,
        }
    }
    mark
}

/// The turn to use the table. A turn that the parent held when it forked counts as given up, so a child never waits for
/// a thread that it does not have.
struct Turn<'a>(&'a AtomicU64);

impl<'a> Turn<'a> {
    fn wait(wiped: &'a Wiped, mark: u64) -> Self {
        let lock = &wiped.lock;
        loop {
            let holder = lock.load(Ordering::Relaxed);
            if holder != mark && lock.compare_exchange_weak(holder, mark, Ordering::Acquire, Ordering::Relaxed).is_ok()
            {
                return Self(lock);
            }
            std::thread::yield_now();
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.store(0, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AUDIENCE: AudienceId = AudienceId(1);

    fn process() -> Process {
        Process::enter(std::process::id(), 5).unwrap()
    }

    #[test]
    fn a_place_is_held_once_and_remembered() {
        let process = process();
        let agent = AgentId(0xA1);
        let place = process.claim(agent, AUDIENCE, UnitId(7)).unwrap();
        assert!(!place.continues);
        assert_eq!(process.claim(agent, AUDIENCE, UnitId(7)), Err(Refused::Taken));
        let other = process.claim(agent, AUDIENCE, UnitId(8)).unwrap();
        assert_ne!(other.index, place.index);
        let other_agent = process.claim(AgentId(0xA2), AUDIENCE, UnitId(7)).unwrap();
        assert!(!other_agent.continues);
        process.release(place);
        let again = process.claim(agent, AUDIENCE, UnitId(7)).unwrap();
        assert!(again.continues, "this process beat for it before");
        for place in [again, other, other_agent] {
            process.release(place);
        }
    }

    #[test]
    fn many_threads_get_one_place_once() {
        let won: usize = std::thread::scope(|scope| {
            let attempts: Vec<_> =
                (0..8).map(|_| scope.spawn(|| process().claim(AgentId(0xB1), AUDIENCE, UnitId(1)).is_ok())).collect();
            attempts.into_iter().map(|attempt| usize::from(attempt.join().unwrap())).sum()
        });
        assert_eq!(won, 1);
    }

    #[test]
    fn the_process_is_the_same_until_its_number_changes() {
        let process = process();
        assert!(!process.is_forked(std::process::id()));
        assert!(process.is_forked(std::process::id() + 1));
        assert_eq!(Process::enter(std::process::id(), 9).unwrap().mark(), process.mark());
    }
}
