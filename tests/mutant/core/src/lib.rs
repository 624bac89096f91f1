//! The core, copied, with a switch in the rules that [`switch`] names.
#![forbid(unsafe_code)]

pub mod switch;

include!(concat!(env!("OUT_DIR"), "/core/lib.rs"));
