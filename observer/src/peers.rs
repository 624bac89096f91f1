//! An observer is an agent to its peers: it beats to other observers, as the unit `observer` of an agent of its own.
//!
//! Each beat asks the ingest thread first. An observer whose loop hangs is silent, and its peers see it stall.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::{
    sync::watch,
    task::{JoinHandle, spawn_blocking},
    time::{sleep, timeout},
};
use varta_client::{
    BeatOutcome, SealedTransport, Varta,
    keyfile::{AgentKeyFile, KeyFileError},
};
use varta_core::Cause;
use varta_vlp::Status;

use crate::command::Handle;

/// The unit by which peers know an observer.
const UNIT: &str = "observer";
/// How long the ingest thread may take to say how it is; longer, and there is no beat.
const ANSWER: Duration = Duration::from_secs(1);
/// How long it takes to try again where no peer can be connected to.
const RETRY: Duration = Duration::from_secs(10);
/// How long peers are given to be told that the observer stops.
const FAREWELL: Duration = Duration::from_secs(2);

/// Beats to peers, ready and not begun.
pub(crate) struct Peers {
    key_file: PathBuf,
    key: AgentKeyFile,
    /// From beat to beat; each promises the next within twice that.
    every: Duration,
    handle: Handle,
}

impl Peers {
    /// Reads the agent key file.
    ///
    /// # Errors
    /// A rule for secret files that is broken, or a mistake in the contents.
    pub(crate) fn open(key_file: &Path, every: Duration, handle: Handle) -> Result<Self, KeyFileError> {
        Ok(Self { key_file: key_file.to_owned(), key: AgentKeyFile::load(key_file)?, every, handle })
    }

    /// Begins, on the runtime of the caller.
    pub(crate) fn spawn(self) -> Beats {
        let (stop, stopping) = watch::channel(false);
        Beats { stop, task: tokio::spawn(self.run(stopping)) }
    }

    async fn run(self, mut stop: watch::Receiver<bool>) {
        let Self { key_file, key, every, handle } = self;
        let mut varta = tokio::select! {
            varta = connect(&key_file, key, every) => varta,
            // However it changes, it is the stop.
            _ = stop.changed() => return,
        };
        let mut told = Told::default();
        loop {
            // Without an answer there is no beat.
            if let Ok(Ok(snapshot)) = timeout(ANSWER, handle.snapshot()).await {
                told.outcome(varta.beat(status(snapshot.blindness), 0));
            }
            if timeout(every, stop.changed()).await.is_ok() {
                told.outcome(varta.finish(Status::Ok, 0));
                return;
            }
        }
    }
}

/// Connects, aside: names are resolved. Where no peer at all can be connected to, again and again.
async fn connect(key_file: &Path, key: AgentKeyFile, every: Duration) -> Varta<SealedTransport> {
    let mut key = Some(key);
    loop {
        // A key is used up by trying.
        let key = key.take().map_or_else(|| AgentKeyFile::load(key_file), Ok);
        let connected = spawn_blocking(move || {
            let builder = Varta::builder().key(key?).unit(UNIT).every(every * 2);
            builder.version(env!("CARGO_PKG_VERSION")).connect()
        });
        match connected.await {
            Ok(Ok(varta)) => return varta,
            Ok(Err(error)) => tracing::warn!("no peer can be beaten to: {error}"),
            Err(error) => tracing::error!("connecting to peers ended badly: {error}"),
        }
        sleep(RETRY).await;
    }
}

/// What peers are told of an observer's sight: why it is blind, and whether it has been for too long.
const fn status((cause, critical): (Option<Cause>, bool)) -> Status {
    match (cause, critical) {
        (_, true) => Status::Critical,
        (Some(_), false) => Status::Degraded,
        (None, false) => Status::Ok,
    }
}

/// A failure is told when it begins, and its end when it ends.
#[derive(Default)]
struct Told {
    failing: bool,
}

impl Told {
    fn outcome(&mut self, outcome: BeatOutcome) {
        let failing = matches!(outcome, BeatOutcome::Failed(_));
        if failing != std::mem::replace(&mut self.failing, failing) {
            match outcome {
                BeatOutcome::Failed(error) => tracing::warn!("beats to peers fail: {error}"),
                _ => tracing::info!("beats to peers go out again"),
            }
        }
    }
}

/// Beats to peers that go on. Dropping it ends them without a goodbye.
pub(crate) struct Beats {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Beats {
    /// Says goodbye.
    pub(crate) async fn finish(mut self) {
        // Without a receiver nobody beats any more.
        let _ = self.stop.send(true);
        if timeout(FAREWELL, &mut self.task).await.is_err() {
            self.task.abort();
        }
    }
}

impl Drop for Beats {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_cannot_see_is_degraded_and_after_too_long_critical() {
        assert_eq!(status((None, false)), Status::Ok);
        assert_eq!(status((Some(Cause::Gap), false)), Status::Degraded);
        assert_eq!(status((Some(Cause::Restart), true)), Status::Critical);
        assert_eq!(status((None, true)), Status::Critical);
    }
}
