//! Every case that fuzzing has found is replayed: `fuzz/corpora/TARGET.hex`, a line a case.

use std::{fs, panic};

use data_encoding::HEXLOWER;
use varta_tests::{fuzz::TARGETS, repository};

const MOST_BYTES: u64 = 400 * 1024;

fn replay(target: &str) {
    let (_, body) = TARGETS.iter().find(|(name, _)| *name == target).expect("a target");
    let path = repository().join(format!("tests/fuzz/corpora/{target}.hex"));
    let text = fs::read_to_string(&path).expect("a corpus");
    assert!(text.lines().count() >= 10, "{} has hardly a case", path.display());
    for (index, line) in text.lines().enumerate() {
        let place = format!("{}:{}", path.display(), index + 1);
        // A case that was put there by hand says why.
        let digits = line.split('#').next().unwrap_or_default().trim_end();
        let case = HEXLOWER.decode(digits.as_bytes()).unwrap_or_else(|error| panic!("{place}: {error}"));
        assert!(panic::catch_unwind(|| body(&case)).is_ok(), "{place}: the case fails, for the reason above");
    }
    body(&[]);
}

macro_rules! replays {
    ($($target:ident)+) => {
        $(#[test]
        fn $target() {
            replay(stringify!($target));
        })+

        const REPLAYED: &[&str] = &[$(stringify!($target)),+];
    };
}

replays! { base_frame config datagram key_file metadata report roster state_file unsealed }

#[test]
fn every_target_has_a_corpus_and_the_corpora_stay_small() {
    let mut found: Vec<_> = fs::read_dir(repository().join("tests/fuzz/corpora"))
        .expect("corpora")
        .map(|entry| entry.expect("an entry"))
        .collect();
    found.sort_by_key(fs::DirEntry::file_name);
    let names: Vec<_> = found.iter().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    let targets: Vec<_> = TARGETS.iter().map(|(name, _)| format!("{name}.hex")).collect();
    assert_eq!(names, targets);
    assert_eq!(REPLAYED, TARGETS.map(|(name, _)| name));
    let bytes: u64 = found.iter().map(|entry| entry.metadata().expect("a file").len()).sum();
    assert!(bytes <= MOST_BYTES, "{bytes} bytes of corpora");
}
