//! What a crash can leave of the last line.

use super::*;

/// Side files of torn lines.
fn aside(folder: &Path) -> Vec<Vec<u8>> {
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let torn = names.filter(|path| path.to_string_lossy().contains(".torn-"));
    torn.map(|path| fs::read(path).unwrap()).collect()
}

#[test]
fn a_log_cut_at_any_byte_is_gone_on_with() {
    let place = directory();
    let path = place.path().join("audit.log");
    let whole = written(&path);
    let ends: Vec<usize> = (1..=whole.len()).filter(|end| whole[end - 1] == b'\n').collect();
    for length in 0..whole.len() {
        let place = directory();
        let path = place.path().join("audit.log");
        put(&path, &whole[..length]);
        let kept = ends.iter().filter(|end| **end <= length).count();
        let torn = length - ends.iter().rfind(|end| **end <= length).unwrap_or(&0);
        match verify_files(&path, &key(), None) {
            Ok(verified) => {
                let expected = (torn > 0).then_some(Torn { line: kept as u64 + 1, bytes: torn as u64 });
                assert_eq!((verified.lines, verified.torn), (kept as u64, expected), "cut at {length}");
            }
            Err(error) => {
                assert_eq!(kept, 0, "cut at {length}: {error}");
                assert!(error.to_string().contains("holds no whole line"), "{error}");
            }
        }
        let link = open(&path, NEVER).unwrap().append(&entry(Event::Refused)).unwrap();
        let verified = holds(&path);
        let recovered = u64::from(torn > 0);
        assert_eq!((verified.last, verified.torn, verified.recovered), (link, None, recovered), "cut at {length}");
        assert_eq!(verified.lines, (kept as u64).max(1) + recovered + 1, "cut at {length}");
        let bytes = fs::read(&path).unwrap();
        assert!(kept == 0 || bytes.starts_with(&whole[..length - torn]), "cut at {length}");
        let expected = if torn > 0 { vec![whole[length - torn..length].to_vec()] } else { Vec::new() };
        assert_eq!(aside(place.path()), expected, "cut at {length}");
    }
}

#[test]
fn a_last_line_that_was_garbled_is_set_aside_when_opened_and_broken_when_verified() {
    let place = directory();
    let path = place.path().join("audit.log");
    let mut bytes = written(&path);
    let end = bytes.len();
    bytes[end - 300..end - 200].fill(0);
    put(&path, &bytes);
    let error = verify_files(&path, &key(), None).unwrap_err().to_string();
    assert!(error.contains("audit.log:7: not a line of an audit log"), "{error}");
    drop(open(&path, NEVER).unwrap());
    let verified = holds(&path);
    assert_eq!((verified.lines, verified.recovered, verified.running), (7, 1, vec![6]));
    assert_eq!(aside(place.path()), [lines(&bytes)[6]]);
    let told = String::from_utf8(lines(&fs::read(&path).unwrap())[6].to_vec()).unwrap();
    assert!(
        told.contains(r#""event":"recovered_torn","detail":""#) && told.contains(" bytes in audit.log.torn-"),
        "{told}"
    );
}

#[test]
fn a_crash_while_a_torn_line_is_written_over_leaves_one_again() {
    let place = directory();
    let path = place.path().join("audit.log");
    let whole = written(&path);
    // Longer than the line that tells of it, and with its end.
    let torn = [vec![b'x'; 900], b"\n".to_vec()].concat();
    put(&path, &[&whole[..], &torn].concat());
    drop(open(&path, NEVER).unwrap());
    let recovered = fs::read(&path).unwrap();
    let line = &recovered[whole.len()..];
    for written in 0..=line.len() {
        let place = directory();
        let path = place.path().join("audit.log");
        put(&path, &[&whole[..], &line[..written], &torn[written..]].concat());
        drop(open(&path, NEVER).unwrap());
        let twice = u64::from(written == line.len());
        assert_eq!(holds(&path).lines, 8 + twice, "{written} bytes");
    }
}

#[test]
fn torn_lines_are_kept_to_a_limit() {
    let place = directory();
    let path = place.path().join("audit.log");
    for number in 0..12 {
        drop(open(&path, NEVER).unwrap());
        put(&path, &[fs::read(&path).unwrap(), format!("torn {number}").into()].concat());
    }
    drop(open(&path, NEVER).unwrap());
    assert_eq!(aside(place.path()).len(), 8);
    assert_eq!(holds(&path).recovered, 12);
}

#[test]
fn what_no_crash_leaves_is_not_recovered_from() {
    let place = directory();
    let path = place.path().join("audit.log");
    let whole = written(&path);
    let all = lines(&whole);
    let without_sixth = [&all[..5], &all[6..]].concat().concat();
    let garbled_first = [b"x", &all[0][1..]].concat();
    let endless = [&whole[..], &[b'x'; LINE_MAX]].concat();
    for (bytes, said) in [
        (without_sixth, "audit.log:6: the sequence jumps: number 7 where 6 belongs; nothing was changed"),
        (garbled_first, "audit.log:1: not a line of an audit log"),
        (endless, "audit.log:8: not a line of an audit log: it is longer than 65536 bytes"),
    ] {
        put(&path, &bytes);
        let error = open(&path, NEVER).unwrap_err().to_string();
        assert!(error.contains(said) && error.contains("varta audit verify"), "{error}");
        assert_eq!(fs::read(&path).unwrap(), bytes);
    }
}
