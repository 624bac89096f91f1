//! Disks that refuse at any point.

use std::sync::atomic::Ordering::SeqCst;

use super::*;

/// So many bytes hold `begin` and two lines more.
const SMALL: u64 = 1100;

#[test]
fn a_full_disk_refuses_the_line_and_leaves_the_chain_as_it_was() {
    let place = directory();
    let path = place.path().join("audit.log");
    let mut audit = open(&path, NEVER).unwrap();
    spawns(&mut audit, 1);
    let (before, bytes) = (audit.link(), fs::read(&path).unwrap());
    let gate = audit.place.gate.clone();
    for passing in [0, 1] {
        gate.passing.store(passing, SeqCst);
        gate.refusing.store(1, SeqCst);
        let error = audit.append(&entry(Event::Spawn)).unwrap_err().to_string();
        assert!(error.contains("audit.log: no storage space"), "{error}");
        assert_eq!((audit.link(), fs::read(&path).unwrap()), (before, bytes.clone()));
        gate.passing.store(u64::MAX, SeqCst);
    }
    // It does not even give back what it took.
    gate.passing.store(0, SeqCst);
    gate.refusing.store(3, SeqCst);
    assert!(audit.append(&entry(Event::Spawn)).is_err());
    assert!(fs::read(&path).unwrap().len() > bytes.len());
    assert!(audit.append(&entry(Event::Spawn)).is_err());
    gate.passing.store(u64::MAX, SeqCst);
    assert_eq!(audit.append(&entry(Event::Refused)).unwrap().seq, before.seq + 1);
    assert_eq!((holds(&path).last, holds(&path).torn), (audit.link(), None));
}

/// Every state that a disk can leave a log in, whether it refuses for good, as in a crash, or for a while.
#[test]
fn wherever_a_disk_refuses_the_chain_goes_on() {
    for refusing in [1, 2, 3, u64::MAX] {
        for passing in 0.. {
            let place = directory();
            let path = place.path().join("audit.log");
            let mut audit = open(&path, SMALL).unwrap();
            let gate = audit.place.gate.clone();
            gate.refusing.store(refusing, SeqCst);
            gate.passing.store(passing, SeqCst);
            let appended = |audit: &mut Audit| audit.append(&entry(Event::DryRun)).ok();
            let links: Vec<_> = (0..8).filter_map(|_| appended(&mut audit)).collect();
            let untouched = gate.passing.load(SeqCst) > 0;
            let last = audit.link();
            drop(audit);
            let mut audit = open(&path, SMALL).unwrap();
            assert!(audit.link().seq >= last.seq, "{passing} pass, {refusing} do not");
            spawns(&mut audit, 2);
            drop(audit);
            let newest = links.last().copied();
            let verified = verify_files(&path, &key(), newest).unwrap_or_else(|error| panic!("{passing}: {error}"));
            assert_eq!((verified.torn, verified.before), (None, Link::START));
            for link in links {
                verify_files(&path, &key(), Some(link)).unwrap();
            }
            if untouched {
                break;
            }
        }
    }
}

/// As above, while a log with a torn line is opened.
#[test]
fn wherever_a_disk_refuses_a_torn_line_is_kept() {
    for passing in 0..20 {
        let place = directory();
        let path = place.path().join("audit.log");
        let whole = written(&path);
        put(&path, &whole[..whole.len() - 20]);
        let locked = Place::open(&path).unwrap();
        locked.gate.refusing.store(u64::MAX, SeqCst);
        locked.gate.passing.store(passing, SeqCst);
        let opened = start::open(locked, key(), NEVER, AT).is_ok();
        drop(open(&path, NEVER).unwrap());
        let verified = holds(&path);
        assert!((1..=2).contains(&verified.recovered), "{passing} pass: {verified:?}");
        assert!(verified.lines >= 7 && verified.torn.is_none());
        assert_eq!(opened, passing >= 9, "{passing} pass");
    }
}
