//! Beats from a thread, for as long as the program makes progress.

mod clock;
mod pace;

use std::{
    fmt, io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc::{Receiver, sync_channel},
    },
    thread::{self, Thread},
    time::Duration,
};

use nix::sys::signal::{SigSet, SigmaskHow};
use varta_vlp::Status;

use self::pace::{Pace, Watch};
use crate::{
    client::{BeatTransport, Varta},
    outcome::BeatOutcome,
    process::Process,
};

/// Beats from a thread of its own, for programs without a loop of theirs. It vouches for the program only as long as the
/// program itself says that it gets on: one that is wedged falls silent, and is told as stalled.
///
/// Every part of the program that has to get on has a [`Progress`]; when one of them has made none for longer than
/// `within`, no beat is sent until it does again. A program that has handed out no [`Progress`] has nobody to vouch for
/// it, and is silent.
///
/// A forked child has no thread: its copy of a ticker sends nothing, and it starts another.
///
/// ```no_run
/// use std::time::Duration;
/// use varta_client::{Ticker, Varta};
///
/// let promise = Duration::from_secs(1);
/// let varta = Varta::builder().key_file("/etc/varta/agent.key").unit("api").every(promise).connect()?;
/// let ticker = Ticker::start(varta, promise, Duration::from_secs(5))?;
/// let progress = ticker.watch();
/// # fn next_job() -> Option<u32> { None }
/// while let Some(job) = next_job() {
///     // .. the work ..
///     # let _ = job;
///     progress.made();
/// }
/// if let Some(mut varta) = ticker.stop() {
///     let said = varta.finish(varta_client::Status::Ok, 0);
///     # let _ = said;
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Ticker<T: BeatTransport> {
    shared: Arc<Shared>,
    /// Detached: a forked child has the ticker and not the thread, and must never wait for it.
    thread: Thread,
    back: Receiver<Varta<T>>,
    process: Process,
}

struct Shared {
    ended: AtomicBool,
    /// Status and payload of the next beats.
    says: AtomicU64,
    /// Those that were handed out since the thread last looked.
    newcomers: Mutex<Vec<Arc<Watch>>>,
    last: Mutex<Option<BeatOutcome>>,
}

/// How one part of a program says that it gets on: one store to memory, which never waits.
///
/// Dropping it ends the watch over that part: nothing is expected of it any more. Where a panic drops it the watch goes on,
/// and so finds that nothing gets on there.
#[derive(Debug)]
pub struct Progress(Arc<Watch>);

impl Progress {
    /// It gets on: a piece of work was done.
    pub fn made(&self) {
        self.0.made();
    }

    /// It has nothing to do, and nothing is expected of it until it says [`made`](Self::made): a worker says so before it
    /// waits for a job.
    pub fn rests(&self) {
        self.0.rests();
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if !thread::panicking() {
            self.0.ends();
        }
    }
}

impl<T: BeatTransport + 'static> Ticker<T> {
    /// Starts a thread that beats by `varta` every `every`, while no [`Progress`] is older than `within`. If the handle
    /// makes a promise, `every` is at most that. A part that is stuck is noticed after `within` and at most one `every`.
    ///
    /// # Errors
    /// `every` or `within` is zero; or the operating system has no thread to give.
    pub fn start(mut varta: Varta<T>, every: Duration, within: Duration) -> io::Result<Self> {
        if every.is_zero() || within.is_zero() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a ticker needs times above zero"));
        }
        let process = Process::enter(std::process::id(), crate::clock::now()?.boottime_ns)?;
        let shared = Arc::new(Shared {
            ended: AtomicBool::new(false),
            says: AtomicU64::new(packed(Status::Ok, 0)),
            newcomers: Mutex::default(),
            last: Mutex::default(),
        });
        let seen = Arc::clone(&shared);
        // The thread takes none of the program's signals.
        let mask = SigSet::all().thread_swap_mask(SigmaskHow::SIG_SETMASK)?;
        let (give_back, back) = sync_channel(1);
        let spawned = thread::Builder::new().name("varta-ticker".to_owned()).spawn(move || {
            seen.run(&mut varta, every, within);
            // Where nobody waits for it, it ends here.
            let _ = give_back.send(varta);
        });
        mask.thread_set_mask()?;
        Ok(Self { shared, thread: spawned?.thread().clone(), back, process })
    }

    /// Ends the thread and gives the handle back, to say goodbye with; `None` in a forked child, which has no such thread.
    /// Waits for a beat that is under way, which takes no longer than any.
    #[must_use = "the handle can still say goodbye"]
    pub fn stop(self) -> Option<Varta<T>> {
        if self.is_forked() {
            return None;
        }
        self.end();
        self.back.recv().ok()
    }
}

impl<T: BeatTransport> Ticker<T> {
    /// One more part of the program that has to get on. It has just made progress.
    #[must_use = "dropping it ends the watch"]
    pub fn watch(&self) -> Progress {
        let watch = Arc::new(Watch::default());
        if self.is_forked() {
            // The thread may have had the lock when the process was forked.
            return Progress(watch);
        }
        self.shared.newcomers.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&watch));
        // The first one is vouched for at once.
        self.thread.unpark();
        Progress(watch)
    }

    /// What the next beats say; [`Status::Ok`] and 0 before this. A change is sent at once.
    pub fn say(&self, status: Status, payload: u32) {
        if self.shared.says.swap(packed(status, payload), Ordering::AcqRel) != packed(status, payload) {
            self.thread.unpark();
        }
    }

    /// What became of the last beat; `None` before the first, and in a forked child.
    #[must_use]
    pub fn outcome(&self) -> Option<BeatOutcome> {
        if self.is_forked() {
            return None;
        }
        *self.shared.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_forked(&self) -> bool {
        self.process.is_forked(std::process::id())
    }

    fn end(&self) {
        self.shared.ended.store(true, Ordering::Release);
        self.thread.unpark();
    }
}

impl<T: BeatTransport> Drop for Ticker<T> {
    /// Ends the thread, which says nothing. To the observer the program has gone silent, unless it says goodbye itself.
    fn drop(&mut self) {
        self.end();
    }
}

impl<T: BeatTransport> fmt::Debug for Ticker<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ticker").field("outcome", &self.outcome()).finish_non_exhaustive()
    }
}

impl Shared {
    fn run<T: BeatTransport>(&self, varta: &mut Varta<T>, every: Duration, within: Duration) {
        let passed = clock::stopwatch();
        let mut pace = Pace::new(every, within);
        let mut said = self.says.load(Ordering::Acquire);
        while !self.ended.load(Ordering::Acquire) {
            let newcomers = std::mem::take(&mut *self.newcomers.lock().unwrap_or_else(PoisonError::into_inner));
            let says = self.says.load(Ordering::Acquire);
            let news = says != said;
            said = says;
            let now = passed();
            if pace.turn(now, newcomers, news) {
                let (status, payload) = unpacked(says);
                let outcome = varta.beat(status, payload);
                *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(outcome);
            }
            thread::park_timeout(pace.next().saturating_sub(passed()));
        }
    }
}

const fn packed(status: Status, payload: u32) -> u64 {
    (status as u64) << 32 | payload as u64
}

fn unpacked(says: u64) -> (Status, u32) {
    let status = [Status::Ok, Status::Degraded, Status::Critical, Status::Stall]
        .into_iter()
        .find(|status| *status as u64 == says >> 32)
        .unwrap_or(Status::Ok);
    (status, says as u32)
}
