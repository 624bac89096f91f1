//! What leaves the observer: metrics, the HTTP API, the event stream and the event file.
//!
//! Nothing here reads or changes the core: pages and snapshots come as answers to [`crate::command`], changes from the
//! [`crate::journal`].

pub mod http;
pub mod metrics;
pub mod series;
pub mod tsv;
