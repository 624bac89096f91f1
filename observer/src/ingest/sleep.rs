//! Sleeping until a datagram, a command or an instant, whichever comes first.

use std::{
    io,
    os::fd::{AsFd as _, AsRawFd as _, RawFd},
    sync::Arc,
    time::Duration,
};

use mio::{Events, Interest, Poll, Registry, Token, Waker, unix::SourceFd};
use nix::{
    errno::Errno,
    sys::{
        time::TimeSpec,
        timer::{Expiration, TimerSetTimeFlags},
        timerfd::{ClockId, TimerFd, TimerFlags},
    },
    time::{ClockNanosleepFlags, clock_nanosleep},
};
use varta_core::{MonoNs, SECOND};

const COMMANDS: Token = Token(usize::MAX - 1);
const TIMER: Token = Token(usize::MAX);

/// The poller, with a timer of its own: the poller's timeouts are whole milliseconds.
pub(crate) struct Sleep {
    poll: Poll,
    events: Events,
    timer: TimerFd,
    armed: MonoNs,
}

impl Sleep {
    /// A poller and what wakes it.
    ///
    /// # Errors
    /// What the system said.
    pub(crate) fn new() -> io::Result<(Self, Arc<Waker>)> {
        let poll = Poll::new()?;
        let timer = TimerFd::new(ClockId::CLOCK_BOOTTIME, TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC)?;
        let waker = Waker::new(poll.registry(), COMMANDS)?;
        let fd = timer.as_fd().as_raw_fd();
        poll.registry().register(&mut SourceFd(&fd), TIMER, Interest::READABLE)?;
        Ok((Self { poll, events: Events::with_capacity(64), timer, armed: MonoNs::NEVER }, Arc::new(waker)))
    }

    /// Watches a socket; [`Self::sleep`] hands out `number` as a token when it has become readable.
    ///
    /// # Errors
    /// What the system said.
    pub(crate) fn watch(&self, fd: RawFd, number: usize) -> io::Result<()> {
        self.poll.registry().register(&mut SourceFd(&fd), Token(number), Interest::READABLE)
    }

    /// What registers with the poller; [`Self::sleep`] hands out its tokens too.
    ///
    /// # Errors
    /// What the system said.
    pub(super) fn registry(&self) -> io::Result<Registry> {
        self.poll.registry().try_clone()
    }

    /// Sleeps until `wake` at the latest, or only looks if `busy`. `readable` is told of everything that became readable.
    /// Returns the instant for which the timer was set, if it went off.
    ///
    /// # Errors
    /// What the system said.
    pub(super) fn sleep(
        &mut self,
        wake: MonoNs,
        busy: bool,
        mut readable: impl FnMut(Token),
    ) -> io::Result<Option<MonoNs>> {
        self.arm(wake)?;
        match self.poll.poll(&mut self.events, busy.then_some(Duration::ZERO)) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(None),
            other => other?,
        }
        let mut rang = None;
        for event in &self.events {
            match event.token() {
                COMMANDS => {}
                TIMER => rang = Some(self.armed),
                token => readable(token),
            }
        }
        if rang.is_some() {
            match self.timer.wait() {
                Ok(()) | Err(Errno::EAGAIN) => {}
                Err(errno) => return Err(errno.into()),
            }
            self.armed = MonoNs::NEVER;
        }
        Ok(rang)
    }

    /// Sleeps until `until`, whatever comes; a signal ends it early.
    ///
    /// # Errors
    /// What the system said.
    pub(super) fn pause(until: MonoNs) -> io::Result<()> {
        let at = TimeSpec::from(Duration::from_nanos(until.0));
        match clock_nanosleep(nix::time::ClockId::CLOCK_BOOTTIME, ClockNanosleepFlags::TIMER_ABSTIME, &at) {
            Ok(_) | Err(Errno::EINTR) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    fn arm(&mut self, wake: MonoNs) -> io::Result<()> {
        if wake == self.armed {
            return Ok(());
        }
        if wake == MonoNs::NEVER {
            self.timer.unset()?;
        } else {
            // An instant of zero would disarm it.
            let at = Duration::from_nanos(wake.0.max(1));
            debug_assert!(at.as_secs() <= u64::MAX / SECOND);
            self.timer.set(Expiration::OneShot(TimeSpec::from(at)), TimerSetTimeFlags::TFD_TIMER_ABSTIME)?;
        }
        self.armed = wake;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;

    #[test]
    fn the_timer_rings_not_before_its_instant_and_once() {
        let (mut sleep, _waker) = Sleep::new().unwrap();
        let wake = Clock::now().mono.after(2 * varta_core::MILLI);
        let mut rang = None;
        while rang.is_none() {
            rang = sleep.sleep(wake, false, |_| panic!("no socket is watched")).unwrap();
        }
        assert_eq!(rang, Some(wake));
        assert!(Clock::now().mono >= wake);
        assert_eq!(sleep.sleep(MonoNs::NEVER, true, |_| ()).unwrap(), None);
    }

    #[test]
    fn a_pause_lasts_until_its_instant() {
        let until = Clock::now().mono.after(varta_core::MILLI);
        while Clock::now().mono < until {
            Sleep::pause(until).unwrap();
        }
        Sleep::pause(MonoNs(0)).unwrap();
    }

    #[test]
    fn a_waker_and_a_datagram_end_an_endless_sleep() {
        let (mut sleep, waker) = Sleep::new().unwrap();
        waker.wake().unwrap();
        assert_eq!(sleep.sleep(MonoNs::NEVER, false, |_| ()).unwrap(), None);
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        sleep.watch(socket.as_raw_fd(), 3).unwrap();
        socket.send_to(b"x", socket.local_addr().unwrap()).unwrap();
        let mut seen = Vec::new();
        while seen.is_empty() {
            sleep.sleep(MonoNs::NEVER, false, |token| seen.push(token.0)).unwrap();
        }
        assert_eq!(seen, [3]);
    }
}
