//! Texts as a terminal may show them.

use std::fmt::Write as _;

/// The longest text that is kept of what somebody else wrote, characters.
const LONGEST: usize = 2000;

/// Whether a character would do something to a terminal or to the order of a line, instead of standing there.
fn acts(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}')
        || matches!(c, '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// What somebody else wrote, with whatever would act on the terminal escaped, and cut where it is far too long.
pub(super) fn shown(text: &str) -> String {
    let mut shown = String::with_capacity(text.len().min(LONGEST));
    for (at, c) in text.chars().enumerate() {
        if at == LONGEST {
            shown.push('…');
            break;
        }
        // Writing into a text cannot fail.
        let _ = match c {
            '\n' => shown.write_str("\\n"),
            '\r' => shown.write_str("\\r"),
            '\t' => shown.write_str("\\t"),
            c if acts(c) && u32::from(c) < 0x80 => write!(shown, "\\x{:02x}", u32::from(c)),
            c if acts(c) => write!(shown, "\\u{{{:x}}}", u32::from(c)),
            c => shown.write_char(c),
        };
    }
    shown
}

/// A span of time in few characters.
pub(super) fn span(ms: u64) -> String {
    let seconds = ms / 1000;
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match seconds {
        0..10 => format!("{seconds}.{}s", ms % 1000 / 100),
        10..100 => format!("{seconds}s"),
        100..3600 => format!("{minutes}m{:02}", seconds % 60),
        3600..86_400 => format!("{hours}h{:02}", minutes % 60),
        _ => format!("{days}d{:02}", hours % 24),
    }
}

/// A count with its thousands apart.
pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_act_is_escaped_and_the_rest_stands() {
        assert_eq!(shown("a\u{1b}[2Jb\n\t\r"), "a\\x1b[2Jb\\n\\t\\r");
        assert_eq!(shown("\u{7f}\u{9b}31m\u{202e}evil\u{200b}"), "\\x7f\\u{9b}31m\\u{202e}evil\\u{200b}");
        assert_eq!(shown("grün 東京 \\ x=1"), "grün 東京 \\ x=1");
        let escaped: String = (0..0x3000).filter_map(char::from_u32).collect();
        let escaped = escaped.chars().map(|c| shown(&c.to_string())).collect::<String>();
        assert!(!escaped.chars().any(acts));
    }

    #[test]
    fn what_is_far_too_long_is_cut() {
        let text = shown(&"x".repeat(LONGEST * 2));
        assert_eq!((text.chars().count(), text.ends_with('…')), (LONGEST + 1, true));
        assert!(!shown(&"x".repeat(LONGEST)).contains('…'));
    }

    #[test]
    fn spans_take_few_characters() {
        let of = |seconds: u64| span(seconds * 1000);
        assert_eq!([span(0), span(940), span(9999), of(10), of(99)], ["0.0s", "0.9s", "9.9s", "10s", "99s"]);
        assert_eq!([of(100), of(3599), of(3600), of(86_399)], ["1m40", "59m59", "1h00", "23h59"]);
        assert_eq!([of(86_400), of(12_345_678)], ["1d00", "142d21"]);
    }

    #[test]
    fn thousands_stand_apart() {
        assert_eq!([0, 999, 1000, 1_234_567].map(count), ["0", "999", "1,000", "1,234,567"]);
    }
}
