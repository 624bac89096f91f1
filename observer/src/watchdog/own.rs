//! This process's own watchdog: a thread that ends the process when the loop does not turn.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{RecvTimeoutError, SyncSender, sync_channel},
    },
    time::Duration,
};

/// The looks that a limit is divided into. The loop turns at least once in two of them.
const LOOKS: u32 = 8;

/// How long the log is given to write the last line.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// The loop's end. Dropping it ends the watch.
#[derive(Debug)]
pub(super) struct Own {
    turns: Arc<AtomicU64>,
    _watching: SyncSender<()>,
}

/// How long nothing has changed, in looks.
///
/// A look counts once, however long ago the one before was: while the host slept, or all of the process was stopped, neither
/// thread could do anything, and afterwards the loop has most of the limit to show that it turns.
#[derive(Debug, Default)]
struct Silence {
    turns: u64,
    looks: u32,
}

impl Silence {
    /// Whether the loop is wedged.
    const fn look(&mut self, turns: u64) -> bool {
        self.looks = if turns == self.turns { self.looks + 1 } else { 0 };
        self.turns = turns;
        self.looks >= LOOKS
    }
}

impl Own {
    /// Watches, and calls `wedged` with `limit` when the loop has not turned for that long.
    ///
    /// # Errors
    /// What the system said.
    pub(super) fn watch(limit: Duration, wedged: impl FnOnce(Duration) + Send + 'static) -> io::Result<Self> {
        let turns = Arc::<AtomicU64>::default();
        let (watching, ended) = sync_channel::<()>(0);
        let seen = Arc::clone(&turns);
        let watch = move || {
            let mut silence = Silence::default();
            while ended.recv_timeout(limit / LOOKS) == Err(RecvTimeoutError::Timeout) {
                if silence.look(seen.load(Ordering::Relaxed)) {
                    return wedged(limit);
                }
            }
        };
        std::thread::Builder::new().name("varta-watchdog".to_owned()).spawn(watch)?;
        Ok(Self { turns, _watching: watching })
    }

    /// The loop has turned so often.
    pub(super) fn turned(&self, turns: u64) {
        self.turns.store(turns, Ordering::Relaxed);
    }
}

/// Ends the process: exit status 1, nothing saved. What a wedged thread holds is not waited for.
pub(super) fn end(limit: Duration) {
    tracing::error!(
        "the ingest loop has not turned for {limit:?} and is wedged; this process ends, so that another can be started; \
         the state on disk is that of a crash"
    );
    std::thread::park_timeout(LAST_WORDS);
    std::process::exit(1);
}
