//! The ways by which beats travel.

pub(crate) mod sealed;
