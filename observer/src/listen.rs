//! Where datagrams come in.

pub(crate) mod drops;
pub(crate) mod filter;
pub(crate) mod process;
pub(crate) mod queue;
pub(crate) mod udp;
pub(crate) mod uds;
