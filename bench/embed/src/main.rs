//! A program that embeds the client: prints one line for each round, nanoseconds of a beat and of its floor.
//!
//! `varta-embed KEY_FILE`

#![forbid(unsafe_code)]

mod clock;
mod measure;

use std::{error::Error, io::Write as _, path::PathBuf};

fn main() -> Result<(), Box<dyn Error>> {
    let file = std::env::args_os().nth(1).map(PathBuf::from).ok_or("usage: varta-embed KEY_FILE")?;
    let mut out = std::io::stdout().lock();
    for round in measure::rounds(&file, clock::now)? {
        writeln!(out, "{} {}", round.beat_ns, round.floor_ns)?;
    }
    Ok(())
}
