//! The main thread's half: HTTP, signals and orders, until the stop.

use std::{
    any::Any,
    io,
    pin::{Pin, pin},
    thread::JoinHandle,
    time::Duration,
};

use tokio::{
    sync::{mpsc, oneshot},
    time::{sleep, timeout},
};

use varta_daemon::signals::{Signalled, Signals};

use super::{
    Failure, RunError,
    open::{HttpParts, Opened},
    recover::RecoveryThread,
};
use crate::{
    command::{Command, Handle, Unanswered},
    forward::Forward,
    notify::Manager,
    peers::Peers,
    reload::{InForce, ReloadError, finish_export},
};

/// How long the ingest thread may take to save its state.
const STOP_LIMIT: Duration = Duration::from_secs(60);

/// How long the last events may take to be told.
const TELL_LIMIT: Duration = Duration::from_secs(5);

/// How long a thread without work waits for more.
const KEEP_ALIVE: Duration = Duration::from_secs(1);

/// What the embedding program asks for.
#[derive(Debug)]
pub(super) enum Order {
    Stop,
    Reload(oneshot::Sender<Result<(), ReloadError>>),
}

/// What ends a wait of the main thread.
enum Woken {
    Stop(&'static str),
    Reload(Option<oneshot::Sender<Result<(), ReloadError>>>),
    /// The ingest thread has ended by itself.
    Ended,
}

/// The ingest thread. However it ends, that is noticed.
struct IngestThread {
    thread: JoinHandle<io::Result<()>>,
    ended: oneshot::Receiver<()>,
}

impl IngestThread {
    fn spawn(work: impl FnOnce() -> io::Result<()> + Send + 'static) -> Result<Self, RunError> {
        let (alive, ended) = oneshot::channel::<()>();
        let turn = move || {
            // Dropped by a panic, too.
            let _alive = alive;
            work()
        };
        let thread = std::thread::Builder::new().name("varta-ingest".to_owned()).spawn(turn);
        Ok(Self { thread: thread.map_err(RunError::system("start the ingest thread"))?, ended })
    }

    /// Tells it to stop, and waits for its end.
    async fn stop(&mut self, handle: &Handle) -> Result<(), Failure> {
        let stopped = async {
            while handle.send(Command::Stop) == Err(Unanswered::Busy) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            // The other end is never used, only dropped.
            let _ = (&mut self.ended).await;
        };
        timeout(STOP_LIMIT, stopped).await.map_err(|_| Failure::Stuck(STOP_LIMIT.as_secs()))
    }

    /// How it ended, which it has.
    fn result(self) -> Result<(), RunError> {
        match self.thread.join() {
            Ok(result) => result.map_err(RunError::system("go on receiving")),
            Err(panic) => Err(Failure::Panicked(text_of(&*panic)).into()),
        }
    }
}

impl Opened {
    /// Serves until the stop, on this thread and the ingest thread. A daemon takes signals and tells the service manager.
    ///
    /// # Errors
    /// [`RunError::Failed`].
    pub(super) fn serve(self, orders: mpsc::Receiver<Order>, daemon: bool) -> Result<(), RunError> {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        // Threads that it starts do what may wait: long answers, and reading at a reload. None outlives that for long.
        builder.enable_all().thread_name("varta-http").thread_keep_alive(KEEP_ALIVE);
        let runtime = builder.build();
        let runtime = runtime.map_err(RunError::system("start the runtime of HTTP and signals"))?;
        let result = runtime.block_on(self.attend(orders, daemon));
        runtime.shutdown_background();
        if let Err(error) = &result {
            tracing::error!("{error}");
        }
        result
    }

    async fn attend(self, mut orders: mpsc::Receiver<Order>, daemon: bool) -> Result<(), RunError> {
        let Self {
            addresses,
            parts,
            teller,
            recovery,
            http,
            forward,
            peers,
            mut in_force,
            shutdown_after,
            on_ready,
            name,
        } = self;
        let manager = Manager::new(daemon, format!("{name} is observing"));
        let signals = daemon.then(Signals::new).transpose();
        let mut signals = signals.map_err(RunError::system("take signals"))?;
        let telling = teller.spawn().map_err(RunError::system("start the thread that tells what happens"))?;
        let recovery = recovery.map(RecoveryThread::spawn).transpose()?;
        let mut ingest = IngestThread::spawn(move || crate::ingest::run(parts))?;
        let forwarding = forward.map(Forward::spawn).transpose().map_err(RunError::system("forward to relays"))?;
        let http = http.map(HttpParts::spawn).transpose().map_err(RunError::system("serve HTTP"))?;
        let beats = peers.map(Peers::spawn);
        if let Some(on_ready) = on_ready {
            on_ready(&addresses);
        }
        manager.ready();
        let mut end = pin!(time_out(shutdown_after));
        let clean = loop {
            match next(&mut orders, &mut signals, &mut ingest.ended, end.as_mut()).await {
                Woken::Reload(reply) => reload(&mut in_force, &manager, reply).await,
                Woken::Ended => break false,
                Woken::Stop(why) => {
                    tracing::info!("stopping: {why}");
                    manager.stopping();
                    ingest.stop(&in_force.handle).await?;
                    break true;
                }
            }
        };
        // Whoever ends otherwise says no goodbye: peers are to see it stall.
        if let Some(beats) = beats.filter(|_| clean) {
            beats.finish().await;
        }
        drop(forwarding);
        if let Some(http) = http {
            http.finish().await;
        }
        let result = ingest.result();
        if let Some(recovery) = recovery
            && !recovery.finish().await
        {
            tracing::warn!("recovery did not end in time");
        }
        if !telling.finish(TELL_LIMIT).await {
            tracing::warn!("not everything that happened could be told in time; the last events are lost");
        }
        if let Some(writer) = in_force.writer.take() {
            finish_export(writer);
        }
        result?;
        tracing::info!("stopped");
        Ok(())
    }
}

async fn next(
    orders: &mut mpsc::Receiver<Order>,
    signals: &mut Option<Signals>,
    ended: &mut oneshot::Receiver<()>,
    end: Pin<&mut impl Future<Output = ()>>,
) -> Woken {
    tokio::select! {
        _ = ended => Woken::Ended,
        signalled = Signals::next(signals) => match signalled {
            Signalled::Stop(signal) => Woken::Stop(signal),
            Signalled::Reload => Woken::Reload(None),
        },
        order = orders.recv() => match order {
            Some(Order::Reload(reply)) => Woken::Reload(Some(reply)),
            Some(Order::Stop) | None => Woken::Stop("on request"),
        },
        () = end => Woken::Stop("its time is over"),
    }
}

/// Ends after `limit`; never, without one.
async fn time_out(limit: Option<Duration>) {
    match limit {
        Some(limit) => sleep(limit).await,
        None => std::future::pending().await,
    }
}

async fn reload(in_force: &mut InForce, manager: &Manager, reply: Option<oneshot::Sender<Result<(), ReloadError>>>) {
    manager.reloading();
    let result = in_force.reload().await;
    if let Err(error) = &result {
        tracing::warn!("reload refused, everything stays as it was: {error}");
    }
    manager.ready();
    if let Some(reply) = reply {
        // Whoever asked may have gone away meanwhile.
        let _ = reply.send(result);
    }
}

/// What a panic said.
pub(super) fn text_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "without a text".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(work: impl FnOnce() -> io::Result<()> + Send + 'static) -> Result<(), RunError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let mut ingest = IngestThread::spawn(work).unwrap();
        let (_orders, mut orders) = mpsc::channel(1);
        let woken = runtime.block_on(next(&mut orders, &mut None, &mut ingest.ended, pin!(time_out(None))));
        assert!(matches!(woken, Woken::Ended));
        ingest.result()
    }

    #[test]
    fn a_panic_of_the_ingest_thread_is_noticed_and_told() {
        let error = ended(|| panic!("an invariant is {}", "broken")).unwrap_err();
        assert!(
            matches!(&error, RunError::Failed(Failure::Panicked(text)) if text == "an invariant is broken"),
            "{error}"
        );
        assert!(matches!(ended(|| Err(io::ErrorKind::Other.into())), Err(RunError::Failed(Failure::System { .. }))));
        assert!(ended(|| Ok(())).is_ok());
    }
}
