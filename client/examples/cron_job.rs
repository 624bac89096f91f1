//! A job that runs once a day: `cargo run --example cron_job -- agent.key`.
//!
//! While it runs it promises beats like any program. In the end it announces its absence until the next run is due: should
//! that not come, the unit is told as stalled, and so is a run that hangs or dies half way.
#![expect(clippy::print_stdout, reason = "an example says what it does")]

use std::time::Duration;

use varta_client::{Status, Varta};

/// From the end of this run to the start of the next, and some time for a busy host.
const ABSENCE: Duration = Duration::from_secs(25 * 3600);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let key = std::env::args_os().nth(1).ok_or("name an agent's key file")?;
    let mut varta = Varta::builder().key_file(key).unit("nightly").every(Duration::from_secs(60)).connect()?;
    for step in 0..5 {
        // Each step takes less than a minute.
        println!("step {step}: {}", varta.beat(Status::Ok, step));
    }
    // Observers hold absences to their `max_hold`: 1 h, unless their configuration says otherwise.
    println!("until tomorrow: {}", varta.hold(ABSENCE));
    Ok(())
}
