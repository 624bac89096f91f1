//! The ways by which beats travel.

mod bare;
mod course;
pub(crate) mod sealed;
pub(crate) mod udp;
pub(crate) mod uds;
