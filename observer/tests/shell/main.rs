//! The observer's shell on loopback: from its sockets to its HTTP, its disk and back.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod clock;
mod filtered;
mod forward;
mod local;
mod observe;
mod peers;
mod polled;
mod refusals;
mod reload;
mod restart;
mod rig;
mod stub;
