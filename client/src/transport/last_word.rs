//! What a process says by itself when it panics.

use std::{io, panic};

use varta_vlp::{Frame, Status};

use super::bare::{Bare, Way};
use crate::{clock, outcome::BeatOutcome, sources::Sources};

/// What a panic is told with, by convention.
const PANIC: u32 = 0;

/// A way to an observer, open for the time of need.
struct LastWord<W: Way> {
    way: W,
    socket: W::Socket,
    connected_ns: u64,
}

impl<W: Way> LastWord<W> {
    /// Allocates nothing, waits for nobody, and knows nothing of the handle: the thread that panics may be in the middle of
    /// a beat.
    fn say(&self) {
        let pid = std::process::id();
        let Some(now) = clock::now().ok().filter(|_| pid > 1) else { return };
        let timestamp = now.boottime_ns.saturating_sub(self.connected_ns);
        let frame = Frame { status: Status::Critical, pid, timestamp, nonce: Frame::TERMINAL, payload: PANIC };
        let datagram = frame.encode();
        if let BeatOutcome::Dropped(told) = W::send(&self.socket, &datagram)
            && W::leads_nowhere(told)
            && let Ok(socket) = self.way.open()
        {
            // There is nobody left to tell what became of it.
            let _ = W::send(&socket, &datagram);
        }
    }
}

impl<W: Way + Clone + Sync + 'static, S: Sources> Bare<W, S>
where
    W::Socket: Sync,
{
    /// Has every panic of this process told before the hook that is in force now, which is called after it.
    ///
    /// # Errors
    /// There is no way to the observer.
    pub(super) fn tell_panics(&self) -> io::Result<()> {
        let socket = self.way.open()?;
        let word = LastWord { way: self.way.clone(), socket, connected_ns: self.connected_ns };
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |what| {
            word.say();
            before(what);
        }));
        Ok(())
    }
}
