//! Pid 1, as far as a handle can tell.

use std::io;

use varta_client::{
    OsSources, Sources,
    session::{SenderTime, Starts},
};

/// The machine's own sources, but for the pid.
pub(crate) struct Init;

impl Sources for Init {
    fn now(&mut self) -> io::Result<SenderTime> {
        OsSources.now()
    }

    fn salt(&mut self) -> io::Result<[u8; 8]> {
        OsSources.salt()
    }

    fn pid(&mut self) -> u32 {
        1
    }

    fn starts(&self) -> &'static Starts {
        OsSources.starts()
    }
}
