//! A copied memory image: what a restored snapshot of a machine is to its sender. With both fork detectors switched off
//! by the test, parent and child go on in one session from one counter, and the salt of each frame alone keeps their
//! nonces apart. With the salt off too, nonces are used twice: the test bites.
//!
//! Nothing that ships can switch a detector off. The pid is what the test's [`Sources`] say it is, and the wiped memory
//! is found in `/proc/self/smaps` and kept over a fork by `MADV_KEEPONFORK`.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]
#![expect(unsafe_code, reason = "fork, _exit and madvise are unsafe to call; the child here only beats and ends")]

use std::{
    collections::{BTreeSet, HashSet},
    io,
    ptr::NonNull,
    sync::Mutex,
};

use nix::{
    sys::{
        mman::{MmapAdvise, madvise},
        wait::{WaitStatus, waitpid},
    },
    unistd::{ForkResult, fork},
};
use varta_client::{
    BeatOutcome, OsSources, SealedTransport, Sources, Status, Varta,
    session::{SenderTime, Starts},
};

#[expect(dead_code, reason = "these tests have the machine's own clock")]
#[path = "sealed/receiver.rs"]
mod receiver;

use receiver::{Heard, Receiver, key};

const BEATS: u32 = 50;

/// A process whose number is not looked at, with salts from the operating system or none worth the name.
struct Image {
    pid: u32,
    salted: bool,
}

impl Sources for Image {
    fn now(&mut self) -> io::Result<SenderTime> {
        OsSources.now()
    }

    fn salt(&mut self) -> io::Result<[u8; 8]> {
        if self.salted { OsSources.salt() } else { Ok([0; 8]) }
    }

    fn pid(&mut self) -> u32 {
        self.pid
    }

    fn starts(&self) -> &'static Starts {
        OsSources.starts()
    }
}

/// Mappings that the kernel wipes in a forked child: where they begin, and their lengths in bytes.
fn wiped_mappings() -> BTreeSet<(usize, usize)> {
    let text = std::fs::read_to_string("/proc/self/smaps").unwrap();
    let mut found = BTreeSet::new();
    let mut range = (0, 0);
    for line in text.lines() {
        let mut words = line.split_whitespace();
        let first = words.next().unwrap_or_default();
        if let Some((start, end)) = first.split_once('-') {
            let parse = |text: &str| usize::from_str_radix(text, 16).unwrap();
            range = (parse(start), parse(end) - parse(start));
        } else if first == "VmFlags:" && words.any(|flag| flag == "wf") {
            found.insert(range);
        }
    }
    found
}

/// A process has one memory that is wiped, and the tests of this binary are one process.
static ALONE: Mutex<()> = Mutex::new(());

/// The C library may keep memory of its own that is wiped; the client's is what the first connect adds, 64 KiB long.
fn set_wiped(advice: MmapAdvise, mappings: &[(usize, usize)]) {
    for (start, length) in mappings {
        let start = NonNull::new(std::ptr::with_exposed_provenance_mut(*start)).unwrap();
        // SAFETY: the range is a whole mapping of this process; the advice changes what a child sees of it, nothing here.
        unsafe { madvise(start, *length, advice) }.unwrap();
    }
}

/// Beats in a handle, then in it and in a copy of the whole process at once; everything that was heard.
fn heard(name: &str, salted: bool, detected: bool) -> Vec<Heard> {
    let _alone = ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    OsSources.salt().unwrap();
    let ear = Receiver::new("obs-1");
    let image = Image { pid: std::process::id(), salted };
    let mut varta = Varta::builder().key(key(name, &[&ear])).unit("api").connect_with(image).unwrap();
    let mappings: Vec<_> = wiped_mappings().into_iter().filter(|(_, length)| *length == 64 * 1024).collect();
    assert_eq!(mappings.len(), 1, "the client's wiped memory: {mappings:?}");
    if !detected {
        set_wiped(MmapAdvise::MADV_KEEPONFORK, &mappings);
        assert!(wiped_mappings().is_disjoint(&mappings.iter().copied().collect()), "it is kept");
    }
    let say = |varta: &mut Varta<SealedTransport<Image>>| {
        (0..BEATS).all(|payload| varta.beat(Status::Ok, payload) == BeatOutcome::Sent)
    };
    assert!(say(&mut varta));
    // SAFETY: the child only beats, and ends without running anything of the parent's.
    match unsafe { fork() }.unwrap() {
        ForkResult::Child => {
            let noticed = say(&mut varta) && (varta.fork_recoveries() == 1) == detected;
            // SAFETY: ends the process; no destructor or handler of the parent's runs in it.
            unsafe { nix::libc::_exit(if noticed { 0 } else { 1 }) }
        }
        ForkResult::Parent { child } => {
            assert!(say(&mut varta));
            assert_eq!(waitpid(child, None), Ok(WaitStatus::Exited(child, 0)), "it failed, or noticed otherwise");
        }
    }
    set_wiped(MmapAdvise::MADV_WIPEONFORK, &mappings);
    let all = (0..3 * BEATS).map(|_| ear.next()).collect();
    assert!(ear.is_quiet());
    all
}

/// How many frames have a session and counter that another has, and how many have the whole nonce of another.
fn repeated(heard: &[Heard]) -> (usize, usize) {
    let counters: HashSet<_> = heard.iter().map(|beat| (beat.header.session_start, beat.header.counter)).collect();
    let nonces: HashSet<_> = heard.iter().map(|beat| beat.header.nonce()).collect();
    (heard.len() - counters.len(), heard.len() - nonces.len())
}

#[test]
fn the_salt_alone_keeps_the_nonces_of_a_copied_image_apart() {
    let heard = heard("copied", true, false);
    assert_eq!(repeated(&heard), (BEATS as usize, 0), "the copy went on in the session, and repeated no nonce");
}

#[test]
fn without_the_salt_a_copied_image_repeats_nonces() {
    let heard = heard("unsalted", false, false);
    assert_eq!(repeated(&heard), (BEATS as usize, BEATS as usize), "all of the copy's beats");
}

#[test]
fn without_the_salt_the_detectors_alone_keep_a_child_apart() {
    let heard = heard("detected", false, true);
    assert_eq!(repeated(&heard), (0, 0), "the child began a session of its own");
}
