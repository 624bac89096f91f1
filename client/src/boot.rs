//! Which boot of the host this is.

use sha2::{Digest as _, Sha256};

/// Where the kernel names its boot: a UUID and a line feed.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// Names the boot of this host: 0 if the kernel does not.
pub(crate) fn read() -> u64 {
    std::fs::read_to_string(BOOT_ID).map_or(0, |text| of(&text))
}

/// The first 8 bytes of SHA-256 over the id's text, 36 characters without the line feed; 0 if there is none.
fn of(text: &str) -> u64 {
    let id = text.trim_ascii();
    if id.is_empty() {
        return 0;
    }
    let digest: [u8; 32] = Sha256::digest(id).into();
    let [a, b, c, d, e, f, g, h, ..] = digest;
    u64::from_le_bytes([a, b, c, d, e, f, g, h])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_boot_is_the_hash_of_its_id() {
        let id = "1f0e3dad-9990-4b1a-8d0e-0123456789ab";
        let expected = Sha256::digest(id.as_bytes());
        assert_eq!(of(&format!("{id}\n")).to_le_bytes()[..], expected[..8]);
        assert_eq!(of("\n"), 0);
        assert_ne!(read(), 0, "Linux names its boots");
    }
}
