//! The link between an observer and a relay.

#![forbid(unsafe_code)]
