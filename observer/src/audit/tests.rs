//! The log on disks that a test has in its hand.

mod broken;
mod refusing;
mod rotation;
mod torn;

use std::{fs, path::Path};

use varta_core::WallNs;
use varta_vlp::key::IdentitySecret;

use super::*;

const AT: WallNs = WallNs(1_700_000_000_000_000_000);
/// No file gets as long.
const NEVER: u64 = 1 << 20;

/// In memory where there is such a file system: these tests sync a great deal.
fn directory() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    let made = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    made.unwrap()
}

fn key() -> AuditKey {
    AuditKey::of(&IdentitySecret::from_bytes([8; 32]))
}

fn open(path: &Path, rotate_at: u64) -> Result<Audit, AuditError> {
    Audit::open(path, key(), rotate_at, AT)
}

fn entry(event: Event) -> Entry {
    Entry {
        agent: Some("web-1".into()),
        unit: Some("api".into()),
        pid: Some(42),
        command: vec!["systemctl".into(), "restart".into(), "api".into()],
        ..Entry::new(AT, event)
    }
}

/// Writes a spawn and its end, so many times.
fn spawns(audit: &mut Audit, count: u32) {
    for _ in 0..count {
        let spawn = audit.append(&entry(Event::Spawn)).unwrap().seq;
        audit.append(&entry(Event::Completed { spawn })).unwrap();
    }
}

/// A log of seven lines in one file: `begin` and three spawns with their ends.
fn written(path: &Path) -> Vec<u8> {
    spawns(&mut open(path, NEVER).unwrap(), 3);
    fs::read(path).unwrap()
}

fn put(path: &Path, bytes: &[u8]) {
    fs::write(path, bytes).unwrap();
    fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
}

fn lines(bytes: &[u8]) -> Vec<&[u8]> {
    bytes.split_inclusive(|byte| *byte == b'\n').collect()
}

fn holds(path: &Path) -> Verified {
    verify_files(path, &key(), None).unwrap()
}

/// The line and the fault that verifying `bytes` names.
fn fault(bytes: &[u8]) -> (u64, Fault) {
    let broken = verify(bytes, &key(), None).unwrap_err();
    (broken.line, broken.fault)
}
