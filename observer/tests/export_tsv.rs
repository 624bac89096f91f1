//! The event file on a real disk.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{os::unix::fs::PermissionsExt as _, path::Path, time::Duration};

use nix::sys::stat::Mode;
use varta_watch::export::tsv::{self, ExportError, Line};

/// Nothing on a local disk takes this long unless it is broken.
const PATIENCE: Duration = Duration::from_secs(30);

fn lines(path: &Path) -> Vec<String> {
    std::fs::read_to_string(path).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn lines_are_appended_in_order_and_strangers_cannot_read_them() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("events.tsv");
    // Many ends, for the thread may be anywhere in its turn when it is told.
    for life in 0..100 {
        let (export, writer) = tsv::open(&path).unwrap();
        for at in 0..20 {
            export.write(Line::new(life * 20 + at, "new"));
        }
        assert!(writer.finish(PATIENCE));
        assert_eq!(export.lost(), 0);
    }
    let expected: Vec<_> = (0..2_000).map(|at| format!("{at}\tnew\t-\t-\t-\t-")).collect();
    assert_eq!(lines(&path), expected);
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o137, 0, "{mode:o}");
}

#[test]
fn a_full_disk_costs_lines_and_nothing_else() {
    let (export, writer) = tsv::open(Path::new("/dev/full")).unwrap();
    for at in 0..100 {
        export.write(Line::new(at, "new"));
    }
    assert!(writer.finish(PATIENCE));
    assert_eq!(export.lost(), 100);
}

#[test]
fn after_the_end_lines_are_lost_and_counted() {
    let directory = tempfile::tempdir().unwrap();
    let (export, writer) = tsv::open(&directory.path().join("events.tsv")).unwrap();
    assert!(writer.finish(PATIENCE));
    export.write(Line::new(1, "new"));
    assert_eq!(export.lost(), 1);
}

#[test]
fn a_file_that_was_moved_away_is_opened_anew() {
    let directory = tempfile::tempdir().unwrap();
    let (path, moved) = (directory.path().join("events.tsv"), directory.path().join("events.tsv.1"));
    let (export, writer) = tsv::open(&path).unwrap();
    export.write(Line::new(1, "new"));
    wait_for(|| lines(&path).len() == 1);
    std::fs::rename(&path, &moved).unwrap();
    export.write(Line::new(2, "new"));
    wait_for(|| lines(&moved).len() == 2);
    export.reopen();
    wait_for(|| path.exists());
    export.write(Line::new(3, "new"));
    assert!(writer.finish(PATIENCE));
    assert_eq!(lines(&moved), ["1\tnew\t-\t-\t-\t-", "2\tnew\t-\t-\t-\t-"]);
    assert_eq!(lines(&path), ["3\tnew\t-\t-\t-\t-"]);
    assert_eq!(export.lost(), 0);
}

#[test]
fn a_file_that_cannot_be_opened_anew_is_written_on() {
    let directory = tempfile::tempdir().unwrap();
    let (path, moved) = (directory.path().join("events.tsv"), directory.path().join("events.tsv.1"));
    let (export, writer) = tsv::open(&path).unwrap();
    std::fs::rename(&path, &moved).unwrap();
    std::fs::create_dir(&path).unwrap();
    export.reopen();
    export.write(Line::new(1, "new"));
    assert!(writer.finish(PATIENCE));
    assert_eq!(lines(&moved), ["1\tnew\t-\t-\t-\t-"]);
}

#[test]
fn a_path_that_is_no_file_is_refused_by_name() {
    let directory = tempfile::tempdir().unwrap();
    let shown = |path: &Path| tsv::open(path).unwrap_err().to_string();
    let nowhere = directory.path().join("no").join("events.tsv");
    assert!(shown(&nowhere).starts_with(&format!("cannot open the event file {}: No such file", nowhere.display())));
    assert!(shown(directory.path()).contains("Is a directory"));
    let fifo = directory.path().join("fifo");
    nix::unistd::mkfifo(&fifo, Mode::S_IRUSR | Mode::S_IWUSR).unwrap();
    assert!(matches!(tsv::open(&fifo), Err(ExportError::Open { .. })), "nobody reads it");
    let reader = std::fs::OpenOptions::new().read(true).write(true).open(&fifo).unwrap();
    assert!(matches!(tsv::open(&fifo), Err(ExportError::NotAFile { .. })));
    drop(reader);
}

/// Waits for another thread's doing.
fn wait_for(condition: impl Fn() -> bool) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let waited = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let met = runtime.block_on(async { tokio::time::timeout(PATIENCE, waited).await });
    met.expect("the condition is met in time");
}

/// All lines of the event file and of those put aside, oldest first.
fn all_lines(path: &Path) -> Vec<String> {
    let aside = (1..).map(|number| path.with_extension(format!("tsv.{number}"))).take_while(|file| file.exists());
    let mut files: Vec<_> = aside.collect();
    files.reverse();
    files.push(path.to_owned());
    files.iter().flat_map(|file| lines(file)).collect()
}

fn numbered(numbers: std::ops::Range<u64>) -> Vec<String> {
    numbers.map(|at| format!("{at}\tnew\t-\t-\t-\t-")).collect()
}

#[test]
fn a_full_file_is_put_aside_and_every_line_is_in_one_file_and_in_order() {
    const AT: u64 = 300;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("events.tsv");
    // The second finds what the first has left.
    for life in 0..2 {
        let (export, writer) = tsv::open(&path).unwrap();
        writer.rotate(u32::try_from(AT).ok(), 1000);
        for at in life * 2_000..(life + 1) * 2_000 {
            export.write(Line::new(at, "new"));
        }
        assert!(writer.finish(PATIENCE));
        assert_eq!(export.lost(), 0);
    }
    assert_eq!(all_lines(&path), numbered(0..4_000));
    let files: Vec<_> = std::fs::read_dir(directory.path()).unwrap().map(|file| file.unwrap().metadata()).collect();
    assert!(files.len() > 100 && files.iter().all(|file| file.as_ref().unwrap().len() <= AT));
}

#[test]
fn only_so_many_files_are_kept_and_fewer_if_fewer_are_wanted() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("events.tsv");
    let (export, writer) = tsv::open(&path).unwrap();
    let kept = || std::fs::read_dir(directory.path()).unwrap().count();
    writer.rotate(Some(100), 5);
    (0..200).for_each(|at| export.write(Line::new(at, "new")));
    wait_for(|| std::fs::read_to_string(&path).is_ok_and(|text| text.contains("199\t")));
    assert_eq!(kept(), 6);
    writer.rotate(Some(100), 2);
    (200..400).for_each(|at| export.write(Line::new(at, "new")));
    assert!(writer.finish(PATIENCE));
    assert_eq!(kept(), 3);
    let left = all_lines(&path);
    assert_eq!(left, numbered(400 - left.len() as u64..400));
}

#[test]
fn a_file_that_cannot_be_put_aside_is_written_on() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("events.tsv");
    // No file can take the place of a directory.
    let in_the_way = directory.path().join("events.tsv.1");
    std::fs::create_dir(&in_the_way).unwrap();
    let (export, writer) = tsv::open(&path).unwrap();
    writer.rotate(Some(100), 1);
    (0..200).for_each(|at| export.write(Line::new(at, "new")));
    wait_for(|| lines(&path).len() == 200);
    std::fs::remove_dir(&in_the_way).unwrap();
    export.write(Line::new(200, "new"));
    assert!(writer.finish(PATIENCE));
    assert_eq!((lines(&in_the_way), lines(&path)), (numbered(0..200), numbered(200..201)));
    assert_eq!(export.lost(), 0);
}

#[test]
fn a_full_file_that_was_moved_away_is_begun_anew_and_nothing_else_is_moved() {
    let directory = tempfile::tempdir().unwrap();
    let (path, moved) = (directory.path().join("events.tsv"), directory.path().join("elsewhere"));
    let (export, writer) = tsv::open(&path).unwrap();
    export.write(Line::new(0, "new"));
    wait_for(|| lines(&path).len() == 1);
    std::fs::rename(&path, &moved).unwrap();
    writer.rotate(Some(30), 4);
    (1..3).for_each(|at| export.write(Line::new(at, "new")));
    assert!(writer.finish(PATIENCE));
    assert_eq!((lines(&moved), all_lines(&path)), (numbered(0..2), numbered(2..3)));
}

#[test]
fn a_device_is_never_put_aside() {
    let (export, writer) = tsv::open(Path::new("/dev/full")).unwrap();
    writer.rotate(Some(1), 1);
    (0..100).for_each(|at| export.write(Line::new(at, "new")));
    assert!(writer.finish(PATIENCE));
    assert_eq!(export.lost(), 100);
    assert!(Path::new("/dev/full").exists() && !Path::new("/dev/full.1").exists());
}
