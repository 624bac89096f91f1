//! A program on tokio: `cargo run --example async_tokio -- agent.key`.
//!
//! Nothing special is needed: a beat never blocks, so it may be sent from any task. It is sent from the runtime that does
//! the work, not from a thread beside it: a runtime that is stuck falls silent.
#![expect(clippy::print_stdout, reason = "an example says what it does")]

use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};
use varta_client::{Status, Varta};

const PROMISE: Duration = Duration::from_millis(100);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let key = std::env::args_os().nth(1).ok_or("name an agent's key file")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    let mut varta = Varta::builder().key_file(key).unit("server").every(PROMISE).connect()?;
    runtime.block_on(async {
        let mut served = tokio::spawn(serve());
        let mut ticks = interval(PROMISE);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => println!("{}", varta.beat(Status::Ok, 0)),
                ended = &mut served => return ended,
            }
        }
    })?;
    println!("{}", varta.finish(Status::Ok, 0));
    Ok(())
}

/// What the program is there for.
async fn serve() {
    tokio::time::sleep(Duration::from_millis(450)).await;
}
