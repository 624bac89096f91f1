//! The observer's shell on loopback: from its sockets to its HTTP, its disk and back.

mod clock;
mod observe;
mod refusals;
mod reload;
mod restart;
mod rig;
