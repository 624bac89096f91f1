//! What stands before everything that is written: open, but in tests of a disk that refuses.

#[cfg(test)]
use std::os::unix::fs::FileExt as _;
use std::{fs::File, io};

/// Where tests let the disk refuse.
#[cfg(not(test))]
#[derive(Debug)]
pub(crate) struct Gate;

#[cfg(not(test))]
impl Gate {
    pub(crate) const fn open() -> Self {
        Self
    }

    #[expect(clippy::unused_self, clippy::unnecessary_wraps, reason = "has the shape of the tests' gate")]
    pub(crate) const fn pass(&self) -> io::Result<()> {
        Ok(())
    }

    #[expect(clippy::unused_self, clippy::unnecessary_wraps, reason = "has the shape of the tests' gate")]
    pub(crate) const fn pass_write(&self, _: &File, _: &[u8], _: u64) -> io::Result<()> {
        Ok(())
    }
}

/// Lets some operations pass, refuses some as a full disk does (of a write it takes half), and lets all later ones pass.
/// While a test holds `stuck`, none returns.
#[cfg(test)]
#[derive(Clone, Debug)]
pub(crate) struct Gate {
    pub(crate) passing: std::sync::Arc<std::sync::atomic::AtomicU64>,
    pub(crate) refusing: std::sync::Arc<std::sync::atomic::AtomicU64>,
    pub(crate) stuck: std::sync::Arc<std::sync::Mutex<()>>,
}

#[cfg(test)]
impl Gate {
    pub(crate) fn open() -> Self {
        let (passing, refusing) = (std::sync::Arc::new(u64::MAX.into()), std::sync::Arc::default());
        Self { passing, refusing, stuck: std::sync::Arc::default() }
    }

    pub(crate) fn pass(&self) -> io::Result<()> {
        use std::sync::atomic::Ordering::SeqCst;
        drop(self.stuck.lock());
        let take = |left: u64| left.checked_sub(1);
        let passes = self.passing.fetch_update(SeqCst, SeqCst, take).is_ok();
        if passes || self.refusing.fetch_update(SeqCst, SeqCst, take).is_err() {
            return Ok(());
        }
        Err(io::ErrorKind::StorageFull.into())
    }

    pub(crate) fn pass_write(&self, file: &File, bytes: &[u8], place: u64) -> io::Result<()> {
        self.pass().inspect_err(|_| file.write_all_at(&bytes[..bytes.len() / 2], place).unwrap_or(()))
    }
}
