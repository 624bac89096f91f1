//! The ways by which beats travel.

mod course;
pub(crate) mod sealed;
pub(crate) mod uds;
