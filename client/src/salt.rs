//! The salt of each frame: SPEC, "Sender". Randomness comes in by [`Sources`], so that a simulator can drive it.

use std::io;

use sha2::{Digest as _, Sha256};

use crate::{session::SenderTime, sources::Sources};

/// The salts of one audience, one after another.
#[derive(Clone, Debug, Default)]
pub struct Salts {
    /// None until this process has had one from the operating system.
    previous: Option<[u8; 8]>,
}

impl Salts {
    /// Draws a salt for nothing, so that a process without randomness is refused where its operator sees it.
    ///
    /// # Errors
    /// The operating system has no randomness to give.
    pub fn prove(&mut self, sources: &mut impl Sources) -> io::Result<()> {
        self.previous = Some(sources.salt()?);
        Ok(())
    }

    /// The process was forked: the next salt is drawn from the operating system or not at all.
    pub fn forget(&mut self) {
        self.previous = None;
    }

    /// The salt of the next frame. Where the operating system fails, it is derived from the one before, and `failures`
    /// rises.
    ///
    /// # Errors
    /// The operating system fails and there is none before.
    pub fn next(
        &mut self,
        sources: &mut impl Sources,
        now: SenderTime,
        pid: u32,
        failures: &mut u64,
    ) -> io::Result<[u8; 8]> {
        let salt = match (sources.salt(), self.previous) {
            (Ok(salt), _) => salt,
            (Err(error), previous) => {
                *failures += 1;
                derive(previous.ok_or(error)?, now, pid)
            }
        };
        self.previous = Some(salt);
        Ok(salt)
    }
}

fn derive(previous: [u8; 8], now: SenderTime, pid: u32) -> [u8; 8] {
    let digest: [u8; 32] = Sha256::new()
        .chain_update(previous)
        .chain_update(pid.to_le_bytes())
        .chain_update(now.realtime_ns.to_le_bytes())
        .chain_update(now.boottime_ns.to_le_bytes())
        .finalize()
        .into();
    let [a, b, c, d, e, f, g, h, ..] = digest;
    [a, b, c, d, e, f, g, h]
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Scripted(Vec<Option<[u8; 8]>>);

    impl Sources for Scripted {
        fn now(&mut self) -> io::Result<SenderTime> {
            unreachable!("salts take the time as an argument")
        }

        fn salt(&mut self) -> io::Result<[u8; 8]> {
            self.0.remove(0).ok_or_else(|| io::ErrorKind::WouldBlock.into())
        }

        fn pid(&mut self) -> u32 {
            unreachable!("salts take the pid as an argument")
        }

        fn starts(&self) -> &'static crate::session::Starts {
            unreachable!("salts have nothing to do with starts")
        }
    }

    const NOW: SenderTime = SenderTime { realtime_ns: 5, boottime_ns: 7 };

    #[test]
    fn without_randomness_nothing_begins() {
        let (mut salts, mut failures) = (Salts::default(), 0);
        assert!(salts.prove(&mut Scripted(vec![None])).is_err());
        assert!(salts.next(&mut Scripted(vec![None]), NOW, 2, &mut failures).is_err());
        salts.prove(&mut Scripted(vec![Some([1; 8])])).unwrap();
        salts.forget();
        assert!(salts.next(&mut Scripted(vec![None]), NOW, 2, &mut failures).is_err());
        assert_eq!(failures, 2);
    }

    #[test]
    fn a_later_failure_derives_and_counts() {
        let (mut salts, mut failures) = (Salts::default(), 0);
        salts.prove(&mut Scripted(vec![Some([1; 8])])).unwrap();
        let mut sources = Scripted(vec![None, None, Some([9; 8]), None]);
        let mut seen = Vec::new();
        for _ in 0..4 {
            seen.push(salts.next(&mut sources, NOW, 2, &mut failures).unwrap());
        }
        let mut chain = [0; 28];
        chain[..8].copy_from_slice(&[1; 8]);
        chain[8] = 2;
        chain[12] = 5;
        chain[20] = 7;
        let digest = Sha256::digest(chain);
        assert_eq!(seen[0][..], digest[..8], "H(previous, pid, realtime, boottime)[0..8]");
        assert_eq!(seen[2], [9; 8]);
        assert_eq!(failures, 3);
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), 4, "no two are alike though the time stands still");
    }
}
