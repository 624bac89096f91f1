//! `varta frame encode`: flags or JSON to hex.

use std::io::{self, BufRead, Read, Write};

use clap::Args;
use serde::Deserialize;
use varta_vlp::{DecodeError, Frame, Status};

/// A longer line of JSON is refused.
const MAX_LINE_BYTES: u64 = 4096;

#[derive(Args)]
pub(super) struct EncodeArgs {
    /// `-` reads lines of JSON, as `frame decode` prints them, from standard input.
    #[arg(value_name = "-", value_parser = ["-"], conflicts_with_all = ["status", "pid", "timestamp", "nonce", "payload"])]
    input: Option<String>,
    /// ok, degraded or critical, or its number.
    #[arg(long, default_value = "ok")]
    status: String,
    /// Process id, from 2.
    #[arg(long, required_unless_present = "input")]
    pid: Option<u32>,
    /// Nanoseconds since the agent's connect.
    #[arg(long, default_value_t = 0)]
    timestamp: u64,
    /// From 1, one more each beat; 18446744073709551615 is the terminal nonce.
    #[arg(long, default_value_t = 1)]
    nonce: u64,
    /// Any number; the protocol does not look at it.
    #[arg(long, default_value_t = 0)]
    payload: u32,
}

/// A frame as `frame decode` prints it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FrameJson {
    status: StatusJson,
    pid: u32,
    timestamp: u64,
    nonce: u64,
    payload: u32,
}

/// A status by name or by number.
#[derive(Deserialize)]
#[serde(untagged)]
enum StatusJson {
    Number(u8),
    Name(String),
}

/// Answers every frame with a line; false if any was bad.
pub(super) fn run(args: &EncodeArgs, input: &mut impl BufRead, out: &mut impl Write) -> io::Result<bool> {
    if let (None, Some(pid)) = (&args.input, args.pid) {
        let status = match args.status.parse() {
            Ok(number) => StatusJson::Number(number),
            Err(_) => StatusJson::Name(args.status.clone()),
        };
        let frame = FrameJson { status, pid, timestamp: args.timestamp, nonce: args.nonce, payload: args.payload };
        return answer(frame, out);
    }
    encode_lines(input, out)
}

fn encode_lines(input: &mut impl BufRead, out: &mut impl Write) -> io::Result<bool> {
    let mut all_good = true;
    let mut line = Vec::new();
    loop {
        line.clear();
        if Read::by_ref(input).take(MAX_LINE_BYTES + 1).read_until(b'\n', &mut line)? == 0 {
            return Ok(all_good);
        }
        all_good &= if line.len() as u64 > MAX_LINE_BYTES && !line.ends_with(b"\n") {
            input.skip_until(b'\n')?;
            bad_json(&format!("longer than {MAX_LINE_BYTES} bytes"), out)?
        } else {
            match serde_json::from_slice(&line) {
                Ok(frame) => answer(frame, out)?,
                Err(error) => bad_json(&error.to_string(), out)?,
            }
        };
        // What is answered is seen before more is waited for, so that a line can be asked and answered through pipes.
        out.flush()?;
    }
}

fn bad_json(reason: &str, out: &mut impl Write) -> io::Result<bool> {
    let line = serde_json::json!({ "error": "BadJson", "reason": reason });
    writeln!(out, "{line}").map(|()| false)
}

fn answer(frame: FrameJson, out: &mut impl Write) -> io::Result<bool> {
    let status = match &frame.status {
        StatusJson::Number(0) => Status::Ok,
        StatusJson::Number(1) => Status::Degraded,
        StatusJson::Number(2) => Status::Critical,
        StatusJson::Number(3) => Status::Stall,
        StatusJson::Number(other) => return super::write_error(out, DecodeError::BadStatus(*other)).map(|()| false),
        StatusJson::Name(name) => match known(name) {
            Some(status) => status,
            None => {
                let line = serde_json::json!({ "error": "BadStatus", "status": name });
                return writeln!(out, "{line}").map(|()| false);
            }
        },
    };
    let frame =
        Frame { status, pid: frame.pid, timestamp: frame.timestamp, nonce: frame.nonce, payload: frame.payload };
    let bytes = frame.encode();
    // The decoder is the judge of what is legal on the wire.
    if let Err(error) = Frame::decode(&bytes) {
        return super::write_error(out, error).map(|()| false);
    }
    for byte in bytes {
        write!(out, "{byte:02x}")?;
    }
    writeln!(out)?;
    Ok(true)
}

fn known(name: &str) -> Option<Status> {
    [Status::Ok, Status::Degraded, Status::Critical, Status::Stall].into_iter().find(|status| status.name() == name)
}
