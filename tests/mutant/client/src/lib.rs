//! The client's sessions and salts, copied, with a switch in the rule of the per-frame salt.
#![forbid(unsafe_code)]

include!(concat!(env!("OUT_DIR"), "/client/lib.rs"));
