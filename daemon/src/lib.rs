//! What the observer and the relay have in common as daemons, apart from what either is for: clocks, the log, signals, the
//! service manager, work that may wait, and HTTP within limits.

#![forbid(unsafe_code)]

pub mod aside;
pub mod clock;
pub mod http;
pub mod logging;
pub mod metrics;
pub mod notify;
pub mod signals;
