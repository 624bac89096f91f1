//! A process of a chosen pid, as far as a handle can tell.

use std::io;

use varta_client::{
    OsSources, Sources,
    session::{SenderTime, Starts},
};

/// The machine's own sources, but for the pid, which a forked child has too.
pub(crate) struct SamePid(pub(crate) u32);

impl Sources for SamePid {
    fn now(&mut self) -> io::Result<SenderTime> {
        OsSources.now()
    }

    fn salt(&mut self) -> io::Result<[u8; 8]> {
        OsSources.salt()
    }

    fn pid(&mut self) -> u32 {
        self.0
    }

    fn starts(&self) -> &'static Starts {
        OsSources.starts()
    }
}
