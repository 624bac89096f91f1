//! `varta frame` as a user and a script see it.

use std::io::Write as _;
use std::process::{Command, Stdio};

const OK: &str = "56410200020000000000000000000000010000000000000000000000e4116baa";
const PANIC: &str = "5641020202000000e703000000000000ffffffffffffffff00000000a299eeed";
const OK_JSON: &str = r#"{"status":"ok","pid":2,"timestamp":0,"nonce":1,"payload":0}"#;
const PANIC_JSON: &str = r#"{"status":"critical","pid":2,"timestamp":999,"nonce":18446744073709551615,"payload":0}"#;

/// Runs `varta frame ARGS` on `input`: exit code, standard output, standard error.
fn frame(args: &[&str], input: &[u8]) -> (i32, String, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_varta"))
        .arg("frame")
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program is built");
    let mut stdin = child.stdin.take().expect("piped");
    let input = input.to_owned();
    // A program that does not read its input closes the pipe, which is no matter here.
    let writer = std::thread::spawn(move || drop(stdin.write_all(&input)));
    let output = child.wait_with_output().expect("it ends");
    writer.join().expect("no panic");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    (output.status.code().expect("no signal"), text(output.stdout), text(output.stderr))
}

/// The lines answered, and the exit code.
fn answers(args: &[&str], input: &[u8]) -> (i32, Vec<String>) {
    let (code, out, err) = frame(args, input);
    assert_eq!(err, "", "answers go to standard output");
    (code, out.lines().map(str::to_owned).collect())
}

fn with_crc(mut frame: [u8; 32]) -> String {
    let crc = varta_vlp::crc::crc32c(&frame[..28]);
    frame[28..].copy_from_slice(&crc.to_le_bytes());
    frame.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The frame of the worked example, with one byte set and the checksum made good.
fn altered(at: usize, value: u8) -> String {
    let mut frame = [0; 32];
    for (byte, digits) in frame.iter_mut().zip(OK.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(digits).expect("ASCII"), 16).expect("hex");
    }
    frame[at] = value;
    with_crc(frame)
}

#[test]
fn the_worked_examples_are_decoded() {
    let (code, lines) = answers(&["decode", OK, PANIC, &OK.to_uppercase()], b"");
    assert_eq!((code, lines), (0, vec![OK_JSON.to_owned(), PANIC_JSON.to_owned(), OK_JSON.to_owned()]));
}

#[test]
fn every_decode_error_has_its_name_and_values() {
    let mut no_time = [0; 32];
    no_time[..8].copy_from_slice(&[0x56, 0x41, 2, 0, 2, 0, 0, 0]);
    no_time[8..16].fill(0xFF);
    let mut terminal = [0; 32];
    terminal[..8].copy_from_slice(&[0x56, 0x41, 2, 0, 2, 0, 0, 0]);
    terminal[16..24].fill(0xFF);
    for (hex, wanted) in [
        (altered(0, 0), r#"{"error":"BadMagic"}"#),
        (altered(2, 1), r#"{"error":"BadVersion"}"#),
        (format!("{}ab", &OK[..62]), r#"{"error":"BadCrc","expected":2859143652,"actual":2875920868}"#),
        (altered(3, 9), r#"{"error":"BadStatus","status":9}"#),
        (altered(3, 3), r#"{"error":"StallOnWire"}"#),
        (altered(4, 1), r#"{"error":"BadPid","pid":1}"#),
        (with_crc(no_time), r#"{"error":"BadTimestamp"}"#),
        (with_crc(terminal), r#"{"error":"BadNonce"}"#),
        (OK[..62].to_owned(), r#"{"error":"BadLength","length":31}"#),
        (format!("{OK}00"), r#"{"error":"BadLength","length":33}"#),
        (String::new(), r#"{"error":"BadLength","length":0}"#),
        (OK[..63].to_owned(), r#"{"error":"BadHex","position":64}"#),
        (OK.replace('e', "g"), r#"{"error":"BadHex","position":57}"#),
        (format!("56 {}", &OK[2..]), r#"{"error":"BadHex","position":3}"#),
        ("é".to_owned(), r#"{"error":"BadHex","position":1}"#),
    ] {
        assert_eq!(answers(&["decode", &hex], b""), (1, vec![wanted.to_owned()]), "{hex}");
    }
}

#[test]
fn every_line_of_standard_input_is_answered() {
    let input = format!("{OK}\r\n\nzz\n  {PANIC}\t\n{}\n{OK}", "0".repeat(1 << 20));
    let (code, lines) = answers(&["decode", "-"], input.as_bytes());
    let wanted = [
        OK_JSON,
        r#"{"error":"BadLength","length":0}"#,
        r#"{"error":"BadHex","position":1}"#,
        PANIC_JSON,
        r#"{"error":"BadLength","length":524288}"#,
        OK_JSON,
    ];
    assert_eq!(code, 1, "some were bad");
    assert_eq!(lines, wanted);
    let input = format!("{OK}\n{PANIC}\n");
    let (code, lines) = answers(&["decode", OK, "-", OK], input.as_bytes());
    assert_eq!((code, lines), (0, [OK_JSON, OK_JSON, PANIC_JSON, OK_JSON].map(str::to_owned).to_vec()));
    assert_eq!(answers(&["decode", "-"], b""), (0, Vec::new()), "no line, no answer");
    assert_eq!(answers(&["decode", "-"], b"\xFF\xFE\n").0, 1, "bytes that are no text are a bad line, not an end");
}

#[test]
fn frames_are_encoded_from_flags() {
    assert_eq!(answers(&["encode", "--pid", "2"], b""), (0, vec![OK.to_owned()]));
    let panic =
        ["encode", "--status", "critical", "--pid", "2", "--timestamp", "999", "--nonce", "18446744073709551615"];
    assert_eq!(answers(&panic, b""), (0, vec![PANIC.to_owned()]));
    for (args, wanted) in [
        (vec!["--pid", "1"], r#"{"error":"BadPid","pid":1}"#),
        (vec!["--pid", "2", "--status", "stall"], r#"{"error":"StallOnWire"}"#),
        (vec!["--pid", "2", "--status", "7"], r#"{"error":"BadStatus","status":7}"#),
        (vec!["--pid", "2", "--status", "fine"], r#"{"error":"BadStatus","status":"fine"}"#),
        (vec!["--pid", "2", "--timestamp", "18446744073709551615"], r#"{"error":"BadTimestamp"}"#),
        (vec!["--pid", "2", "--nonce", "18446744073709551615"], r#"{"error":"BadNonce"}"#),
    ] {
        let args = [vec!["encode"], args].concat();
        assert_eq!(answers(&args, b""), (1, vec![wanted.to_owned()]), "{args:?}");
    }
}

#[test]
fn frames_are_encoded_from_lines_of_json() {
    let bad_pid = OK_JSON.replace(":2,", ":0,");
    let unknown = OK_JSON.replace('}', ",\"extra\":1}");
    let long = " ".repeat(5000);
    let input = format!("{OK_JSON}\n{bad_pid}\nnot json\n{unknown}\n{{\"status\":\"ok\"}}\n{long}\n{PANIC_JSON}");
    let (code, lines) = answers(&["encode", "-"], input.as_bytes());
    assert_eq!(code, 1);
    assert_eq!(lines.len(), 7, "{lines:?}");
    assert_eq!((lines[0].as_str(), lines[6].as_str()), (OK, PANIC));
    assert_eq!(lines[1], r#"{"error":"BadPid","pid":0}"#);
    for line in &lines[2..6] {
        assert!(line.starts_with(r#"{"error":"BadJson","reason":""#), "{line}");
        serde_json::from_str::<serde_json::Value>(line).expect("an error is JSON itself");
    }
}

#[test]
fn what_is_decoded_is_encoded_to_the_same_bytes() {
    let hex = [OK.to_owned(), PANIC.to_owned(), altered(3, 1), altered(27, 0xAB), altered(15, 0x7F)].join("\n") + "\n";
    let (code, json, _) = frame(&["decode", "-"], hex.as_bytes());
    assert_eq!(code, 0);
    let (code, back, _) = frame(&["encode", "-"], json.as_bytes());
    assert_eq!((code, back), (0, hex));
}

#[test]
fn usage_errors_exit_with_2() {
    for args in
        [vec!["decode"], vec!["encode"], vec!["encode", "--pid", "x"], vec!["encode", "-", "--pid", "2"], vec!["bogus"]]
    {
        let (code, out, err) = frame(&args, b"");
        assert_eq!((code, out.as_str()), (2, ""), "{args:?}");
        assert!(err.contains("Usage") || err.contains("help"), "{err}");
    }
}
