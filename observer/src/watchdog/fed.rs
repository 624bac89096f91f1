//! What is fed with pulses, each on a thread of its own: whatever holds that up does not hold the loop up.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    time::Duration,
};

use varta_core::WallNs;

/// How long the end of a thread is waited for.
const END_LIMIT: Duration = Duration::from_secs(2);

/// A sign that the loop turns.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pulse {
    /// Turns of the loop.
    pub(super) turns: u64,
    /// When.
    pub(super) wall: WallNs,
}

/// Where pulses go.
pub(super) trait Feed: Send + 'static {
    /// Its name in the log, such as `the heartbeat file /run/x`.
    fn name(&self) -> String;

    /// Passes a pulse on.
    ///
    /// # Errors
    /// What the system said; the next one is tried all the same.
    fn pulse(&mut self, pulse: Pulse) -> io::Result<()>;

    /// No more will come: `clean` if the observer was stopped on request and has saved everything.
    fn end(self, clean: bool);
}

/// The loop's end. Dropping it ends the thread, and waits for that, though not for ever.
#[derive(Debug)]
pub(super) struct Fed {
    pulses: Option<SyncSender<Pulse>>,
    clean: Arc<AtomicBool>,
    ended: Receiver<()>,
}

impl Fed {
    /// Starts a thread that feeds `to`.
    ///
    /// # Errors
    /// What the system said.
    pub(super) fn spawn(thread: &str, to: impl Feed) -> io::Result<Self> {
        let (pulses, incoming) = sync_channel(1);
        let (ends, ended) = sync_channel::<()>(0);
        let clean = Arc::new(AtomicBool::new(false));
        let is_clean = Arc::clone(&clean);
        let turn = move || {
            // Dropped by a panic, too.
            let _ends = ends;
            feed(to, &incoming, &is_clean);
        };
        std::thread::Builder::new().name(thread.to_owned()).spawn(turn)?;
        Ok(Self { pulses: Some(pulses), clean, ended })
    }

    /// Passes a pulse on, unless one is waiting.
    pub(super) fn pulse(&self, pulse: Pulse) {
        if let Some(pulses) = &self.pulses {
            // A thread that is held up is told again at the next one.
            let _ = pulses.try_send(pulse);
        }
    }

    /// The end that is to come is a clean one.
    pub(super) fn disarm(&self) {
        self.clean.store(true, Ordering::Release);
    }
}

impl Drop for Fed {
    fn drop(&mut self) {
        drop(self.pulses.take());
        // Ended or not, nothing is left to do.
        let _ = self.ended.recv_timeout(END_LIMIT);
    }
}

fn feed(mut to: impl Feed, pulses: &Receiver<Pulse>, clean: &AtomicBool) {
    let name = to.name();
    let mut failing = false;
    while let Ok(pulse) = pulses.recv() {
        match to.pulse(pulse) {
            Ok(()) if std::mem::take(&mut failing) => tracing::info!("{name} is written again"),
            Err(error) if !std::mem::replace(&mut failing, true) => {
                tracing::warn!("{name} cannot be written: {error}; it is tried again with every pulse");
            }
            Ok(()) | Err(_) => {}
        }
    }
    to.end(clean.load(Ordering::Acquire));
}
