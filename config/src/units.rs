//! Durations, sizes and file modes as the text an operator writes.

use std::time::Duration;

/// The duration in its largest unit that is exact, such as `90s` or `7d`. `humantime::parse_duration` reads it back.
pub(crate) fn render_duration(duration: Duration) -> String {
    const UNITS: [(u128, &str); 6] = [
        (86_400_000_000_000, "d"),
        (3_600_000_000_000, "h"),
        (60_000_000_000, "m"),
        (1_000_000_000, "s"),
        (1_000_000, "ms"),
        (1_000, "us"),
    ];
    let nanos = duration.as_nanos();
    if nanos == 0 {
        return "0s".to_owned();
    }
    match UNITS.iter().find(|(size, _)| nanos.is_multiple_of(*size)) {
        Some((size, unit)) => format!("{}{unit}", nanos / size),
        None => format!("{nanos}ns"),
    }
}

const SIZES: [(u32, &str); 4] = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"), (1, "B")];

/// The size in its largest unit that is exact, such as `8MiB`.
pub(crate) fn render_bytes(bytes: u32) -> String {
    match SIZES.iter().find(|(size, _)| bytes != 0 && bytes.is_multiple_of(*size)) {
        Some((size, unit)) => format!("{}{unit}", bytes / size),
        None => "0B".to_owned(),
    }
}

/// A whole number and one of B, KiB, MiB and GiB, with or without a space between.
pub(crate) fn parse_bytes(text: &str) -> Option<u32> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(digits);
    let (size, _) = SIZES.iter().find(|(_, name)| *name == unit.trim_start())?;
    number.parse::<u32>().ok()?.checked_mul(*size)
}

/// All that a file mode of ours may permit.
pub(crate) const MAX_MODE: u32 = 0o777;

/// The mode as four octal digits, such as `0600`.
pub(crate) fn render_mode(mode: u32) -> String {
    format!("{mode:04o}")
}

/// Four octal digits, of which the first is 0.
pub(crate) fn parse_mode(text: &str) -> Option<u32> {
    let digits = text.strip_prefix('0')?;
    let is_octal = digits.len() == 3 && digits.bytes().all(|digit| matches!(digit, b'0'..=b'7'));
    is_octal.then(|| u32::from_str_radix(digits, 8).ok()).flatten()
}

/// Whether the text holds a secret in Varta's typed form, which must be neither in this file nor in an error.
pub(crate) fn holds_secret(text: &str) -> bool {
    text.contains("-SECRET-")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn durations_come_back(seconds in 0..4_000_000_000_u64, nanos in 0..1_000_000_000_u32, coarse: bool) {
            let duration = Duration::new(seconds, if coarse { 0 } else { nanos });
            prop_assert_eq!(humantime::parse_duration(&render_duration(duration)), Ok(duration));
        }

        #[test]
        fn sizes_come_back(bytes: u32, shift in 0..32_u32) {
            let bytes = bytes >> shift << shift;
            prop_assert_eq!(parse_bytes(&render_bytes(bytes)), Some(bytes));
        }
    }

    #[test]
    fn modes_come_back_and_other_texts_are_refused() {
        for mode in 0..=MAX_MODE {
            assert_eq!(parse_mode(&render_mode(mode)), Some(mode));
        }
        for text in ["", "0", "600", "0o600", "1777", "0888", "00600", "+600", "0+60", "rw-------"] {
            assert_eq!(parse_mode(text), None, "{text}");
        }
    }

    #[test]
    fn units_are_the_largest_exact() {
        let texts = [0, 1, 1_500, 250_000_000, 90_000_000_000, 3_600_000_000_000, 604_800_000_000_000]
            .map(|nanos| render_duration(Duration::from_nanos(nanos)));
        assert_eq!(texts, ["0s", "1ns", "1500ns", "250ms", "90s", "1h", "7d"]);
        assert_eq!([0, 1000, 65536, 8 << 20].map(render_bytes), ["0B", "1000B", "64KiB", "8MiB"]);
    }

    #[test]
    fn sizes_without_a_known_unit_are_refused() {
        for text in ["", "8", "MiB", "8MB", "8mib", "-8MiB", "8.5MiB", "4GiB", "99999999999B", "8 MiB MiB", "٣MiB"] {
            assert_eq!(parse_bytes(text), None, "{text}");
        }
        assert_eq!(parse_bytes("8 MiB"), Some(8 << 20));
    }
}
