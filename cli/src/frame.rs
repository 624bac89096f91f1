//! `varta frame`: base frames to and from JSON, a line each.

mod decode;
mod encode;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use varta_vlp::DecodeError;

/// Base frames to and from JSON, a line each.
#[derive(Args)]
pub(crate) struct FrameArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Print each frame, given as 64 hex digits, as a line of JSON; exit with 1 if any was bad.
    Decode(decode::DecodeArgs),
    /// Print a frame, given by flags or as lines of JSON on standard input, as hex; exit with 1 if any was bad.
    Encode(encode::EncodeArgs),
}

pub(crate) fn run(args: FrameArgs) -> anyhow::Result<ExitCode> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    let done = match args.verb {
        Verb::Decode(args) => decode::run(&args, &mut io::stdin().lock(), &mut out),
        Verb::Encode(args) => encode::run(&args, &mut io::stdin().lock(), &mut out),
    };
    match done.and_then(|all_good| out.flush().map(|()| all_good)) {
        Ok(true) => Ok(ExitCode::SUCCESS),
        Ok(false) => Ok(ExitCode::FAILURE),
        // Whoever reads us has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(ExitCode::FAILURE),
        Err(error) => Err(anyhow::Error::new(error).context("standard input or output")),
    }
}

/// Writes a frame's error as the JSON object the surface promises.
fn write_error(out: &mut impl Write, error: DecodeError) -> io::Result<()> {
    let name = error.name();
    match error {
        DecodeError::BadCrc { expected, actual } => {
            writeln!(out, r#"{{"error":"{name}","expected":{expected},"actual":{actual}}}"#)
        }
        DecodeError::BadStatus(status) => writeln!(out, r#"{{"error":"{name}","status":{status}}}"#),
        DecodeError::BadPid(pid) => writeln!(out, r#"{{"error":"{name}","pid":{pid}}}"#),
        _ => writeln!(out, r#"{{"error":"{name}"}}"#),
    }
}
