//! Texts made of a case: as it is, put together from pieces, or a good text with edits.

use super::input::Input;

/// What the texts of one kind are made of.
pub(super) struct Pieces<'a> {
    pub(super) headers: &'a [&'a str],
    pub(super) keys: &'a [&'a str],
    pub(super) values: &'a [&'a str],
}

const SIGNS: [&str; 24] = [
    "[", "]", "[[", "]]", "{", "}", ".", "=", "\n", ",", " ", "\"", "'", "\"\"\"", "'''", "#", "\\", "-", "\r\n",
    "\u{feff}", "\t", "\0", "0x", "\\u00e9",
];

impl Pieces<'_> {
    /// The lines, signs and scraps that the rest of `input` asks for.
    pub(super) fn text(&self, input: &mut Input<'_>) -> String {
        let mut out = String::new();
        while !input.is_empty() && out.len() < 16_384 {
            match input.byte() {
                0..=159 => {
                    let (key, value) = (input.pick(self.keys), input.pick(self.values));
                    out.push_str(&format!("{key} = {value}\n"));
                }
                160..=199 => {
                    out.push_str(input.pick(self.headers));
                    out.push('\n');
                }
                200..=239 => out.push_str(self.piece(input)),
                length => out.push_str(&String::from_utf8_lossy(input.bytes(usize::from(length - 239)))),
            }
        }
        out
    }

    fn piece(&self, input: &mut Input<'_>) -> &str {
        match input.byte() % 4 {
            0 => input.pick(self.headers),
            1 => input.pick(self.keys),
            2 => input.pick(self.values),
            _ => input.pick(&SIGNS),
        }
    }

    /// `text` with the edits that the rest of `input` asks for.
    pub(super) fn edit(&self, text: &str, input: &mut Input<'_>) -> String {
        let mut lines: Vec<String> = text.split_inclusive('\n').map(str::to_owned).collect();
        for _ in 0..16 {
            if input.is_empty() || lines.is_empty() {
                break;
            }
            let what = input.byte();
            let at = input.below(lines.len());
            match what % 8 {
                0 => drop(lines.remove(at)),
                1 => lines.insert(at, lines[at].clone()),
                2 => {
                    let other = input.below(lines.len());
                    lines.swap(at, other);
                }
                3 => lines.truncate(at),
                4 => {
                    let (key, value) = (input.pick(self.keys), input.pick(self.values));
                    lines.insert(at, format!("{key} = {value}\n"));
                }
                5 => {
                    let key = lines[at].split(" = ").next().unwrap_or_default().trim().to_owned();
                    lines[at] = format!("{key} = {}\n", input.pick(self.values));
                }
                _ => {
                    let mut place = input.below(lines[at].len() + 1);
                    while !lines[at].is_char_boundary(place) {
                        place -= 1;
                    }
                    if what & 8 == 0 {
                        let piece = self.piece(input).to_owned();
                        lines[at].insert_str(place, &piece);
                    } else if let Some(found) = lines[at].get(place..).and_then(|rest| rest.chars().next()) {
                        let new = char::from(input.byte());
                        lines[at].replace_range(place..place + found.len_utf8(), new.encode_utf8(&mut [0; 4]));
                    }
                }
            }
        }
        lines.concat()
    }
}

/// The line that an error of `file` names: `file:LINE: ..`; it must lie within `text`.
pub(super) fn assert_placed(error: &str, file: &str, text: &str) {
    let rest = error.strip_prefix(file).and_then(|rest| rest.strip_prefix(':'));
    let line = rest.and_then(|rest| rest.split(':').next()).and_then(|line| line.parse::<usize>().ok());
    let lines = 1 + text.bytes().filter(|byte| *byte == b'\n').count();
    assert!(line.is_some_and(|line| (1..=lines).contains(&line)), "no line of {file}, which has {lines}: {error}");
}
