//! Names, modes, locks and rotation.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};

use super::*;

/// So many bytes hold `begin` and two lines more.
const SMALL: u64 = 1100;

#[test]
fn a_chain_goes_on_over_restarts() {
    let place = directory();
    let path = place.path().join("audit.log");
    let first = {
        let mut audit = open(&path, NEVER).unwrap();
        spawns(&mut audit, 1);
        audit.link()
    };
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
    let mut audit = open(&path, NEVER).unwrap();
    assert_eq!((audit.link(), first.seq), (first, 3));
    let next = audit.append(&entry(Event::GivenUp)).unwrap();
    assert_eq!((next.seq, audit.link()), (4, next));
    assert_eq!(verify_files(&path, &key(), Some(first)).unwrap().last, next);
}

#[test]
fn a_chain_goes_on_over_files() {
    let place = directory();
    let path = place.path().join("audit.log");
    let mut audit = open(&path, SMALL).unwrap();
    let early = audit.append(&entry(Event::Brake)).unwrap();
    spawns(&mut audit, 5);
    drop(audit);
    let mut audit = open(&path, SMALL).unwrap();
    spawns(&mut audit, 1);
    let verified = verify_files(&path, &key(), Some(early)).unwrap();
    assert!(verified.files > 4, "{verified:?}");
    assert_eq!((verified.before, verified.last), (Link::START, audit.link()));
    assert_eq!(verified.lines, 13 + verified.files as u64, "each file has a line of its own");
    for number in 0..verified.files {
        let name = files::name(&path, u32::try_from(number).unwrap());
        let about = fs::metadata(&name).unwrap();
        assert!(about.len() <= SMALL && about.mode() & 0o7777 == 0o600, "{}", name.display());
    }

    spawns(&mut audit, 10);
    let verified = holds(&path);
    assert_eq!(verified.files, 9);
    assert!(!files::name(&path, 9).exists());
    let error = verify_files(&path, &key(), Some(early)).unwrap_err().to_string();
    assert!(error.contains(&format!("its oldest line is {}", verified.before.seq + 1)), "{error}");
    fs::remove_file(files::name(&path, 4)).unwrap();
    let error = verify_files(&path, &key(), None).unwrap_err().to_string();
    assert!(error.contains("audit.log.3:1: the sequence jumps"), "{error}");
}

#[test]
fn a_line_longer_than_a_file_has_one_of_its_own() {
    let place = directory();
    let path = place.path().join("audit.log");
    let mut audit = open(&path, 1).unwrap();
    spawns(&mut audit, 1);
    assert_eq!((holds(&path).files, holds(&path).lines), (2, 4));
}

/// Each state between the renames of a rotation.
#[test]
fn a_rotation_that_a_crash_cut_short_is_gone_on_with() {
    for gap in [2, 1, 0] {
        let place = directory();
        let path = place.path().join("audit.log");
        let name = |number| files::name(&path, number);
        spawns(&mut open(&path, SMALL).unwrap(), 3);
        assert!(name(2).exists() && !name(3).exists());
        let last = holds(&path).last;
        for number in (gap..3).rev() {
            fs::rename(name(number), name(number + 1)).unwrap();
        }
        assert_eq!(holds(&path).last, last, "{gap} is free");
        let mut audit = open(&path, SMALL).unwrap();
        spawns(&mut audit, 1);
        assert!((0..4).all(|number| name(number).exists()) && !name(4).exists(), "{gap} was free, and is not now");
        spawns(&mut audit, 1);
        assert_eq!(verify_files(&path, &key(), Some(last)).unwrap().before, Link::START);
    }
}

#[test]
fn two_observers_do_not_write_one_log() {
    let place = directory();
    let path = place.path().join("audit.log");
    let first = open(&path, NEVER).unwrap();
    let error = open(&path, NEVER).unwrap_err().to_string();
    assert!(error.ends_with("audit.log: another observer is writing it; each needs one of its own"), "{error}");
    drop(first);
    open(&path, NEVER).unwrap();
}

#[test]
fn files_that_others_can_change_are_refused() {
    let place = directory();
    let path = place.path().join("audit.log");
    drop(open(&path, NEVER).unwrap());
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    let refused = |path: &Path| open(path, NEVER).unwrap_err().to_string();
    let error = refused(&path);
    assert!(error.contains("has mode 0640, which lets others at it; `chmod 600 /"), "{error}");
    let link = place.path().join("link.log");
    symlink(&path, &link).unwrap();
    let error = refused(&link);
    assert!(error.ends_with("link.log: is a symbolic link, which is not followed; name the file itself"), "{error}");
    let error = refused(Path::new("/dev/null"));
    assert!(error.contains("/dev/null"), "{error}");
    fs::create_dir(place.path().join("folder")).unwrap();
    let error = refused(&place.path().join("folder"));
    assert!(error.ends_with("folder: is not a regular file; name another"), "{error}");
    let error = refused(&place.path().join("none/audit.log"));
    assert!(error.contains("none: No such file"), "{error}");
}

#[test]
fn a_file_disturbed_while_in_use_is_not_written_to() {
    let place = directory();
    let path = place.path().join("audit.log");
    let mut audit = open(&path, NEVER).unwrap();
    spawns(&mut audit, 1);
    let bytes = fs::read(&path).unwrap();
    let refused = |audit: &mut Audit| {
        let error = audit.append(&entry(Event::Spawn)).unwrap_err().to_string();
        assert!(error.contains("audit.log: was changed, moved or removed by something else"), "{error}");
    };
    let elsewhere = place.path().join("elsewhere");
    fs::rename(&path, &elsewhere).unwrap();
    refused(&mut audit);
    put(&path, &bytes);
    refused(&mut audit);
    fs::rename(&elsewhere, &path).unwrap();
    fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(10).unwrap();
    refused(&mut audit);
    fs::write(&path, &bytes).unwrap();
    assert_eq!(audit.append(&entry(Event::Spawn)).unwrap().seq, 4);
    assert_eq!(holds(&path).running, [4]);
}
