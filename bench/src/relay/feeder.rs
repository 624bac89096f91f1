//! The thread on which played observers and relays live: their links are kept alive there while the bench does other things.

use std::{future::Future, thread};

use anyhow::Context as _;
use tokio::{
    runtime::{Builder, Handle},
    sync::oneshot,
    task::JoinHandle,
};

use crate::machine;

/// The thread's name.
const NAME: &str = "feeder";

/// A runtime on a thread of its own, on the core of whoever starts it. It ends with this value.
pub(crate) struct Feeder {
    handle: Handle,
    _until: oneshot::Sender<()>,
}

impl Feeder {
    pub(crate) fn start() -> anyhow::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build().context("no runtime for played observers")?;
        let handle = runtime.handle().clone();
        let (until, ended) = oneshot::channel::<()>();
        thread::Builder::new().name(NAME.to_owned()).spawn(move || {
            // Dropped is ended, too.
            let _ = runtime.block_on(ended);
            runtime.shutdown_background();
        })?;
        Ok(Self { handle, _until: until })
    }

    /// Does this on the caller's thread; links go on beside it.
    pub(crate) fn run<T>(&self, work: impl Future<Output = T>) -> T {
        self.handle.block_on(work)
    }

    /// Does this on the feeder's thread.
    pub(crate) fn spawn<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> JoinHandle<T> {
        self.handle.spawn(work)
    }

    /// Does this on the feeder's thread, and waits for its end. Returns its CPU time beside, nanoseconds: all that thread's.
    pub(crate) fn timed<T: Send + 'static>(
        &self,
        work: impl Future<Output = anyhow::Result<T>> + Send + 'static,
    ) -> anyhow::Result<(T, u64)> {
        let cpu = || -> anyhow::Result<u64> {
            let threads = machine::cpu_ns_by_thread(std::process::id())?;
            threads.get(NAME).copied().context("the feeder's thread has ended")
        };
        let before = cpu()?;
        let done = self.run(self.spawn(work)).context("a played observer has panicked")??;
        Ok((done, cpu()? - before))
    }
}
