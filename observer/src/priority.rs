//! Threads whose work may wait give way to those that must be punctual.

use rustix::process::{getpriority_process, setpriority_process};

/// By how much the calling thread's nice value rises: to about a tenth of the others' weight.
const STEP: i32 = 10;
/// The lowest priority there is.
const NICEST: i32 = 19;

/// Lowers the priority of the calling thread: rendering a scrape or reading a roster is not to keep the ingest thread from
/// a processor. Needs no privilege; a system that refuses keeps the thread as it is.
pub(crate) fn give_way() {
    // Of no process in particular means, on Linux, of this thread.
    let own = getpriority_process(None).unwrap_or(0);
    let _ = setpriority_process(None, own.saturating_add(STEP).min(NICEST));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_calling_thread_gives_way() {
        let before = getpriority_process(None).unwrap();
        let lowered = std::thread::spawn(|| {
            give_way();
            getpriority_process(None).unwrap()
        });
        assert_eq!(lowered.join().unwrap(), (before + STEP).min(NICEST));
        assert_eq!(getpriority_process(None).unwrap(), before);
    }
}
