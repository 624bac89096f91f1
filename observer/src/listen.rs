//! Where datagrams come in.

pub(crate) mod drops;
pub(crate) mod udp;
