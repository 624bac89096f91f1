//! The ways by which beats travel.

mod bare;
mod course;
mod last_word;
pub(crate) mod sealed;
pub(crate) mod udp;
pub(crate) mod uds;
