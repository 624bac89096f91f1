//! What a handle takes from the world for each beat: the time, randomness, and the number of its own process.

use std::io;

use crate::{
    clock,
    session::{SenderTime, Starts},
};

/// The starts used by this process, for all its handles: two units of one agent seal with one key.
static STARTS: Starts = Starts::new();

/// Where time, randomness and the pid come from. There is one for production, [`OsSources`]; a test makes its own and
/// hands it to [`SealedBuilder::connect_with`](crate::SealedBuilder::connect_with) or
/// [`UdsBuilder::connect_with`](crate::UdsBuilder::connect_with).
///
/// No method may block or allocate.
pub trait Sources: Send {
    /// Both clocks, read together.
    ///
    /// # Errors
    /// The operating system's.
    fn now(&mut self) -> io::Result<SenderTime>;

    /// Eight fresh bytes, never given out before on any machine.
    ///
    /// # Errors
    /// The operating system's: it has no randomness to give.
    fn salt(&mut self) -> io::Result<[u8; 8]>;

    /// The process's own number, read at every call.
    fn pid(&mut self) -> u32;

    /// The starts that were used under this clock: one store for all handles of the process.
    fn starts(&self) -> &'static Starts;
}

/// The operating system: `clock_gettime`, `getrandom` with nothing between, `getpid`.
#[derive(Clone, Copy, Debug, Default)]
pub struct OsSources;

impl Sources for OsSources {
    fn now(&mut self) -> io::Result<SenderTime> {
        clock::now()
    }

    fn salt(&mut self) -> io::Result<[u8; 8]> {
        let mut salt = [0; 8];
        match getrandom::fill(&mut salt) {
            Ok(()) => Ok(salt),
            // Built from the number alone: an error must not allocate.
            Err(error) => {
                Err(error.raw_os_error().map_or_else(|| io::ErrorKind::Other.into(), io::Error::from_raw_os_error))
            }
        }
    }

    fn pid(&mut self) -> u32 {
        std::process::id()
    }

    fn starts(&self) -> &'static Starts {
        &STARTS
    }
}
