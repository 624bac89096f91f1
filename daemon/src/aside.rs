//! Work that may wait, done beside what must be punctual: on threads of their own, of the lowest priority, few at a time.

use std::{sync::Arc, thread::available_parallelism};

use rustix::process::setpriority_process;
use tokio::{
    sync::Semaphore,
    task::{JoinError, spawn_blocking},
};

/// The lowest priority there is: about a seventieth of the others' weight. With more, each of these threads would still be
/// given a processor for whole ticks while the ingest thread waits for it.
const NICEST: i32 = 19;
/// Most at a time, however large the machine.
const MOST: usize = 4;

/// Where such work is done. Cheap to clone; clones share their places.
#[derive(Clone, Debug)]
pub struct Aside(Arc<Semaphore>);

impl Default for Aside {
    /// As many places as leave a processor to the ingest thread and one to the others, but one at least.
    fn default() -> Self {
        let processors = available_parallelism().map_or(1, usize::from);
        Self(Arc::new(Semaphore::new(processors.saturating_sub(2).clamp(1, MOST))))
    }
}

impl Aside {
    /// Does `work` when it is its turn.
    ///
    /// # Errors
    /// It panicked, or the process is ending.
    pub async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, JoinError> {
        // It is never closed.
        let place = Arc::clone(&self.0).acquire_owned().await.ok();
        spawn_blocking(move || {
            let _place = place;
            give_way();
            work()
        })
        .await
    }
}

/// Lowers the priority of the calling thread. Needs no privilege; a system that refuses keeps the thread as it is.
fn give_way() {
    // Of no process in particular means, on Linux, of this thread.
    let _ = setpriority_process(None, NICEST);
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use rustix::process::getpriority_process;

    use super::*;

    fn block_on<T>(work: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(work)
    }

    #[test]
    fn only_the_thread_that_works_aside_gives_way() {
        let before = getpriority_process(None).unwrap();
        let aside = block_on(Aside::default().run(|| getpriority_process(None).unwrap()));
        assert_eq!(aside.unwrap(), NICEST);
        assert_eq!(getpriority_process(None).unwrap(), before);
    }

    #[test]
    fn no_more_work_at_a_time_than_there_are_places() {
        static AT_WORK: AtomicUsize = AtomicUsize::new(0);
        let aside = Aside(Arc::new(Semaphore::new(2)));
        let work = || {
            let others = AT_WORK.fetch_add(1, Ordering::SeqCst);
            std::thread::yield_now();
            AT_WORK.fetch_sub(1, Ordering::SeqCst);
            others
        };
        let done = block_on(futures_util::future::join_all((0..200).map(|_| aside.run(work))));
        let most = done.into_iter().map(Result::unwrap).max().unwrap();
        assert!(most < 2, "{most} others at work");
        assert!(block_on(aside.run(|| panic!("on purpose"))).is_err());
        assert_eq!(aside.0.available_permits(), 2, "a panic gives its place back");
    }
}
