//! A pool of workers, watched by their progress: `cargo run --example thread_pool -- agent.key`.
//!
//! A thread beats, as long as every worker gets on. One that is stuck in a job for longer than two seconds lets the whole
//! program fall silent, and the observer tells it as stalled.
#![expect(clippy::print_stdout, reason = "an example says what it does")]

use std::{
    sync::{Mutex, PoisonError, mpsc},
    thread,
    time::Duration,
};

use varta_client::{Status, Ticker, Varta};

const PROMISE: Duration = Duration::from_millis(200);
const WITHIN: Duration = Duration::from_secs(2);
const WORKERS: usize = 4;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let key = std::env::args_os().nth(1).ok_or("name an agent's key file")?;
    let varta = Varta::builder().key_file(key).unit("pool").every(PROMISE).connect()?;
    let ticker = Ticker::start(varta, PROMISE, WITHIN)?;
    let (give, jobs) = mpsc::channel::<u64>();
    let jobs = Mutex::new(jobs);
    thread::scope(|scope| {
        for _ in 0..WORKERS {
            let (progress, jobs) = (ticker.watch(), &jobs);
            scope.spawn(move || {
                loop {
                    // Who waits for a job is not stuck.
                    progress.rests();
                    let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
                    let Ok(job) = job else { return };
                    progress.made();
                    work(job);
                }
            });
        }
        // The jobs would come from elsewhere; here there are a few.
        (0..40).for_each(|job| give.send(job).unwrap_or_default());
        drop(give);
    });
    if let Some(mut varta) = ticker.stop() {
        println!("{}", varta.finish(Status::Ok, 0));
    }
    Ok(())
}

fn work(job: u64) {
    thread::park_timeout(Duration::from_millis(20 + job % 20));
}
