//! `varta frame decode`: hex to JSON.

use std::io::{self, BufRead, Write};

use clap::Args;
use varta_vlp::Frame;

#[derive(Args)]
pub(super) struct DecodeArgs {
    /// Frames as 64 hex digits each; `-` reads lines from standard input.
    #[arg(required = true, value_name = "HEX")]
    frames: Vec<String>,
}

/// Answers every frame with a line; false if any was bad.
pub(super) fn run(args: &DecodeArgs, input: &mut impl BufRead, out: &mut impl Write) -> io::Result<bool> {
    let mut all_good = true;
    for text in &args.frames {
        if text == "-" {
            all_good &= decode_lines(input, out)?;
        } else {
            let mut line = HexLine::default();
            line.push(text.as_bytes());
            all_good &= line.answer(out)?;
        }
    }
    Ok(all_good)
}

fn decode_lines(input: &mut impl BufRead, out: &mut impl Write) -> io::Result<bool> {
    let mut all_good = true;
    let mut line = HexLine::default();
    let mut begun = false;
    loop {
        let chunk = input.fill_buf()?;
        if chunk.is_empty() {
            break;
        }
        // What is answered is seen before more is waited for, so that a line can be asked and answered through pipes.
        let mut lines = chunk.split_inclusive(|byte| *byte == b'\n');
        for part in lines.by_ref() {
            match part.strip_suffix(b"\n") {
                Some(end) => {
                    line.push(end);
                    all_good &= std::mem::take(&mut line).answer(out)?;
                    begun = false;
                }
                None => {
                    line.push(part);
                    begun = true;
                }
            }
        }
        let used = chunk.len();
        input.consume(used);
        out.flush()?;
    }
    if begun {
        all_good &= line.answer(out)?;
    }
    Ok(all_good)
}

/// A line of hex digits, read piece by piece: however long it is, only a frame's worth is kept.
#[derive(Default)]
struct HexLine {
    bytes: [u8; Frame::LEN],
    digits: usize,
    /// How many characters were read.
    position: usize,
    /// Where the first character stands, from 1, that is no hex digit; white space around the digits is none of them.
    wrong: Option<usize>,
    /// Where white space behind the digits began.
    ended: Option<usize>,
}

impl HexLine {
    fn push(&mut self, text: &[u8]) {
        for byte in text {
            self.position += 1;
            if byte.is_ascii_whitespace() {
                if self.digits > 0 {
                    self.ended.get_or_insert(self.position);
                }
            } else if let (Some(digit), None) = (char::from(*byte).to_digit(16), self.ended) {
                if let Some(slot) = self.bytes.get_mut(self.digits / 2) {
                    *slot = *slot << 4 | u8::try_from(digit).unwrap_or(0);
                }
                self.digits += 1;
            } else {
                self.wrong.get_or_insert(self.ended.unwrap_or(self.position));
            }
        }
    }

    fn answer(self, out: &mut impl Write) -> io::Result<bool> {
        let half = (self.digits % 2 == 1).then_some(self.ended.unwrap_or(self.position + 1));
        if let Some(position) = self.wrong.or(half) {
            writeln!(out, r#"{{"error":"BadHex","position":{position}}}"#)?;
            return Ok(false);
        }
        let length = self.digits / 2;
        if length != Frame::LEN {
            writeln!(out, r#"{{"error":"BadLength","length":{length}}}"#)?;
            return Ok(false);
        }
        match Frame::decode(&self.bytes) {
            Ok(frame) => {
                let Frame { status, pid, timestamp, nonce, payload } = frame;
                let status = status.name();
                writeln!(
                    out,
                    r#"{{"status":"{status}","pid":{pid},"timestamp":{timestamp},"nonce":{nonce},"payload":{payload}}}"#
                )?;
                Ok(true)
            }
            Err(error) => super::write_error(out, error).map(|()| false),
        }
    }
}
