//! A ticker's thread before an ear. What it decides is tested by simulated times where it is decided; here it is real, and
//! waited for.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]
#![expect(unsafe_code, reason = "fork and an allocator that counts are unsafe")]

use std::{
    os::unix::net::UnixDatagram,
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    time::Duration,
};

use varta_client::{BeatOutcome, Status, Ticker, UdsTransport, Varta};
use varta_vlp::{
    local,
    sealed::{Body, Flags},
};

#[expect(dead_code, reason = "a ticker's thread allocates what it likes")]
#[path = "sealed/child.rs"]
mod child;
#[path = "sealed/counting.rs"]
mod counting;

use child::{assert_held, in_child_allocating};

const EVERY: Duration = Duration::from_millis(5);
const WITHIN: Duration = Duration::from_millis(100);

struct Ear {
    socket: UnixDatagram,
    path: PathBuf,
    _folder: tempfile::TempDir,
}

impl Ear {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("varta.sock");
        let socket = UnixDatagram::bind(&path).unwrap();
        Self { socket, path, _folder: folder }
    }

    /// The next beat, if there is one within so many milliseconds.
    fn next(&self, ms: u64) -> Option<Body> {
        self.socket.set_read_timeout(Some(Duration::from_millis(ms))).unwrap();
        let mut bytes = [0; 64];
        let len = self.socket.recv(&mut bytes).ok()?;
        Some(local::parse(&bytes[..len]).unwrap())
    }

    /// Whether a beat like this comes.
    fn hears(&self, wanted: impl Fn(&Body) -> bool) -> bool {
        (0..10_000).map_while(|_| self.next(10_000)).any(|body| wanted(&body))
    }

    /// Whether nothing comes any more, for much longer than a beat takes.
    fn falls_quiet(&self) -> bool {
        (0..10_000).any(|_| self.next(500).is_none())
    }

    fn ticker(&self) -> Ticker<UdsTransport> {
        let varta = Varta::local_builder().socket(&self.path).every(EVERY).connect().unwrap();
        Ticker::start(varta, EVERY, WITHIN).unwrap()
    }
}

#[test]
fn it_beats_while_the_program_gets_on_and_only_then() {
    let ear = Ear::new();
    let ticker = ear.ticker();
    assert!(ear.falls_quiet(), "nobody vouches for the program yet");
    let progress = ticker.watch();
    assert!(ear.hears(|body| body.frame.nonce == 1 && body.next_due_ms == 5));
    assert!(ear.falls_quiet(), "it is stuck");
    progress.made();
    assert!(ear.hears(|_| true));
    progress.rests();
    assert!((0..100).all(|_| ear.next(10_000).is_some()), "who rests is alive for longer than that");
    ticker.say(Status::Degraded, 7);
    assert!(ear.hears(|body| (body.frame.status, body.frame.payload) == (Status::Degraded, 7)));
    assert_eq!(ticker.outcome(), Some(BeatOutcome::Sent));
    let mut varta = ticker.stop().unwrap();
    assert_eq!(varta.finish(Status::Ok, 0), BeatOutcome::Sent);
    assert!(ear.hears(|body| body.flags == Flags::FINAL));
    assert!(ear.falls_quiet());
}

#[test]
fn a_part_that_panics_is_not_taken_for_one_that_is_done() {
    let ear = Ear::new();
    let ticker = ear.ticker();
    let (done, broken) = (ticker.watch(), ticker.watch());
    done.rests();
    broken.rests();
    assert!(ear.hears(|_| true));
    drop(done);
    assert!(ear.hears(|_| true) && ear.hears(|_| true));
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        broken.made();
        let _broken = broken;
        std::panic::panic_any(());
    }));
    assert!(panicked.is_err());
    assert!(ear.falls_quiet());
}

#[test]
fn a_ticker_that_is_dropped_says_nothing() {
    let ear = Ear::new();
    let ticker = ear.ticker();
    let progress = ticker.watch();
    progress.rests();
    assert!(ear.hears(|_| true));
    drop(ticker);
    progress.made();
    let last = (0..10_000).map_while(|_| ear.next(500)).last();
    assert!(last.is_none_or(|body| body.flags == Flags::default()), "no goodbye: {last:?}");
}

#[test]
fn a_forked_child_has_none_and_waits_for_none() {
    let ear = Ear::new();
    let ticker = ear.ticker();
    let progress = ticker.watch();
    progress.rests();
    assert!(ear.hears(|_| true));
    let parent = std::process::id();
    let mut ticker = Some(ticker);
    // It may be forked while the thread has any of the ticker's locks.
    for _ in 0..20 {
        assert_held(in_child_allocating(|| {
            let ticker = ticker.take()?;
            ticker.watch().made();
            ticker.say(Status::Degraded, 1);
            Some(ticker.outcome().is_none() && ticker.stop().is_none())
        }));
    }
    assert!((0..100).all(|_| ear.next(10_000).is_some_and(|body| body.frame.pid == parent)));
    assert!(ticker.unwrap().stop().is_some());
}

#[test]
fn times_are_above_zero() {
    let ear = Ear::new();
    for (every, within) in [(Duration::ZERO, WITHIN), (EVERY, Duration::ZERO)] {
        let varta = Varta::local(&ear.path).unwrap();
        let error = Ticker::start(varta, every, within).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput, "{error}");
    }
}
