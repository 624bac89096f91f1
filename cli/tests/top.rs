//! `varta top` before a live mesh: one frame as text, and the whole screen of a terminal.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod dev;
mod waiting;

use std::{
    fs::File,
    io::{Read as _, Write as _},
    net::{Ipv4Addr, TcpListener},
    os::fd::OwnedFd,
    process::{Child, Output},
    sync::mpsc::{Receiver, channel},
};

use dev::{Mesh, varta};
use nix::{
    pty::{OpenptyResult, Winsize, openpty},
    sys::{
        signal::{Signal, kill},
        termios::{LocalFlags, Termios, tcgetattr},
    },
    unistd::Pid,
};
use serde_json::Value;
use waiting::wait;

/// Larger than any terminal in which these tests are run.
const ROOM: (usize, usize) = (500, 1000);

fn once(url: &str, more: &[&str], size: (u16, u16)) -> Output {
    let mut command = varta(&["top", "--once", "--url", url]);
    command.args(more).env("COLUMNS", size.0.to_string()).env("LINES", size.1.to_string());
    command.output().unwrap()
}

#[test]
fn one_frame_shows_an_observer_and_a_relay() {
    let mesh = Mesh::start(&[]);
    for (url, kind) in [(&mesh.observer, "observer obs-dev"), (&mesh.relay, "relay relay-dev")] {
        let shown = wait("web-1 is known", || {
            let done = once(url, &[], (160, 40));
            assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
            let shown = String::from_utf8(done.stdout).unwrap();
            shown.contains("web-1/api").then_some(shown)
        });
        let lines: Vec<_> = shown.lines().collect();
        assert!(lines[0].contains(kind) && lines[0].contains(url.as_str()) && lines[0].ends_with(" live"), "{shown}");
        let unit = lines.iter().find(|line| line.contains("web-1/api")).unwrap();
        assert!(unit.starts_with("up ") && unit.contains("site=north") && unit.contains("last beat"), "{shown}");
        assert_eq!(kind.starts_with("relay"), shown.contains("observers:"), "{shown}");
        assert_eq!(kind.starts_with("relay"), shown.contains("2 incidents"), "{shown}");
        assert!(shown.contains("3 events"), "{shown}");
        assert!(!shown.contains('\u{1b}') && lines.iter().all(|line| line.chars().count() <= 160), "{shown}");

        let narrow = String::from_utf8(once(url, &[], (40, 15)).stdout).unwrap();
        assert!(narrow.lines().all(|line| line.chars().count() <= 40) && narrow.lines().count() <= 15, "{narrow}");
        assert!(narrow.contains("web-1/api"), "{narrow}");
        let found = String::from_utf8(once(url, &["--filter", "site=south web"], (160, 40)).stdout).unwrap();
        let units = found.lines().skip_while(|line| !line.starts_with("VERDICT")).skip(1);
        let units: Vec<_> = units.take_while(|line| line.contains("/api")).collect();
        assert!(units.len() == 1 && units[0].contains("web-2/api"), "{found}");
        let told = varta(&["top", "--json", "--url", url, "--filter", "site=south web"]).output().unwrap();
        let told: Value = serde_json::from_slice(&told.stdout).unwrap();
        let names: Vec<_> = told["units"].as_array().unwrap().iter().map(|unit| &unit["agent"]).collect();
        assert_eq!((names, &told["more"]), (vec![&Value::from("web-2")], &Value::from(false)));
        assert_eq!(kind.starts_with("relay"), told["open"].is_array(), "{told}");
        assert!(told["verdicts"]["up"].as_u64().unwrap() > 1, "of all: {told}");
    }
}

#[test]
fn what_cannot_be_is_said() {
    let refused = |words: &[&str]| {
        let done = varta(words).output().unwrap();
        (done.status.code(), String::from_utf8(done.stderr).unwrap())
    };
    let (code, told) = refused(&["top"]);
    assert!(code == Some(2) && told.contains("varta status") && told.contains("--once"), "{code:?} {told}");
    let (code, told) = refused(&["top", "--once", "--url", "http://127.0.0.1:1"]);
    assert!(code == Some(1) && told.contains("http://127.0.0.1:1/"), "{code:?} {told}");
    let (code, told) = refused(&["top", "--once", "--url", "relay:9930"]);
    assert!(code == Some(1) && told.contains("http://HOST:PORT"), "{code:?} {told}");
    for (words, reason) in [(["--interval", "1ms"], "200ms to 1h"), (["--filter", "\u{1b}"], "control characters")] {
        let (code, told) = refused(&["top", words[0], words[1]]);
        assert!(code == Some(2) && told.contains(reason), "{code:?} {told}");
    }
}

/// The program on a terminal of its own.
struct Seat {
    child: Child,
    /// The program's end, kept open: its settings are looked at when the program is gone.
    line: OwnedFd,
    before: Termios,
    keys: File,
    drawn: Receiver<Vec<u8>>,
    bytes: Vec<u8>,
}

impl Seat {
    fn take(url: &str) -> Self {
        let size = Winsize { ws_row: 30, ws_col: 120, ws_xpixel: 0, ws_ypixel: 0 };
        let OpenptyResult { master, slave: line } = openpty(&size, None).unwrap();
        let before = tcgetattr(&line).unwrap();
        let mut command = varta(&["top", "--interval", "200ms", "--url", url]);
        let end = || line.try_clone().unwrap();
        let child = command.stdin(end()).stdout(end()).stderr(end()).env("TERM", "xterm").spawn().unwrap();
        let mut screen = File::from(master.try_clone().unwrap());
        let (tell, drawn) = channel();
        std::thread::spawn(move || {
            let mut room = [0; 65536];
            while let Ok(len) = screen.read(&mut room) {
                if len == 0 || tell.send(room[..len].to_vec()).is_err() {
                    return;
                }
            }
        });
        Self { child, line, before, keys: master.into(), drawn, bytes: Vec::new() }
    }

    fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
    }

    /// What is on the screen.
    fn screen(&mut self) -> String {
        self.bytes.extend(self.drawn.try_iter().flatten());
        shown(&String::from_utf8_lossy(&self.bytes))
    }

    fn wait_for(&mut self, text: &str) -> String {
        wait(text, || Some(self.screen()).filter(|screen| screen.contains(text)))
    }

    /// Waits until it has ended well, and looks how it leaves the terminal.
    fn leave(mut self) {
        let status = wait("it ends", || self.child.try_wait().unwrap());
        let screen = self.screen();
        assert_eq!(status.code(), Some(0), "{screen}");
        assert_eq!(tcgetattr(&self.line).unwrap(), self.before);
        wait("the screen of before is back and has a cursor", || {
            self.screen();
            let told = String::from_utf8_lossy(&self.bytes);
            let is_last = |on: &str, off: &str| told.rfind(on) > told.rfind(off);
            (is_last("\u{1b}[?1049l", "\u{1b}[?1049h") && is_last("\u{1b}[?25h", "\u{1b}[?25l")).then_some(())
        });
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        // It is gone already where all went well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a terminal shows that was sent this: text, moves of the cursor, and clearing are understood.
fn shown(sent: &str) -> String {
    let mut screen = vec![vec![' '; ROOM.1]; ROOM.0];
    let (mut row, mut column) = (0, 0);
    let mut rest = sent.chars();
    while let Some(c) = rest.next() {
        match c {
            '\u{1b}' if rest.as_str().starts_with('[') => {
                rest.next();
                let numbers: String = rest.clone().take_while(|c| !c.is_ascii_alphabetic()).collect();
                rest = rest.as_str()[numbers.len()..].chars();
                let mut numbers = numbers.split(';').map(|number| number.parse::<usize>().unwrap_or(1).max(1) - 1);
                match rest.next() {
                    Some('H') => (row, column) = (numbers.next().unwrap(), numbers.next().unwrap_or(0)),
                    Some('J') => screen = vec![vec![' '; ROOM.1]; ROOM.0],
                    _ => {}
                }
            }
            '\r' => column = 0,
            '\n' => row += 1,
            c => {
                screen[row][column] = c;
                column += 1;
            }
        }
    }
    let lines = screen.into_iter().map(|line| line.into_iter().collect::<String>().trim_end().to_owned());
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn keys_are_answered_on_a_whole_screen_which_is_given_back() {
    let mesh = Mesh::start(&[]);
    let mut seat = Seat::take(&mesh.relay);
    seat.wait_for("web-1/api");
    let screen = seat.wait_for(" live");
    assert!(screen.contains("relay relay-dev") && screen.contains("▶1 units"), "{screen}");
    let raw = tcgetattr(&seat.line).unwrap();
    assert!(!raw.local_flags.intersects(LocalFlags::ICANON | LocalFlags::ECHO), "it reads keys, not lines");
    seat.press("/db-1");
    seat.wait_for("1 of");
    seat.press("\r");
    let screen = seat.wait_for("that fit \"db-1\"");
    assert!(screen.contains("db-1/postgres") && !screen.contains("web-2/api"), "{screen}");
    seat.press("\r");
    let screen = seat.wait_for("What each observer says");
    assert!(screen.contains("site=north"), "{screen}");
    seat.press("\u{1b}");
    seat.wait_for("▶1 units");
    seat.press("\t");
    seat.wait_for("▶2 incidents");
    seat.press("?");
    seat.wait_for("Esc back  q quit");
    seat.press("q");
    seat.leave();
}

#[test]
fn whoever_hangs_is_told_of_and_keys_are_answered_meanwhile() {
    // It is connected to, and never answers.
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let mut seat = Seat::take(&format!("http://{}", listener.local_addr().unwrap()));
    seat.wait_for("asking");
    seat.press("?");
    seat.wait_for("Ctrl-C");
    seat.press("?");
    seat.wait_for("NOT CONNECTED since");
    seat.press("\u{3}");
    seat.leave();
}

#[test]
fn a_lost_mesh_leaves_its_last_picture_and_a_signal_ends_it_in_order() {
    let mesh = Mesh::start(&[]);
    let mut seat = Seat::take(&mesh.observer);
    seat.wait_for("web-1/api");
    drop(mesh);
    let screen = seat.wait_for("NOT CONNECTED since");
    assert!(screen.contains("web-1/api") && screen.contains(" old") && !screen.contains(" live"), "{screen}");
    kill(Pid::from_raw(i32::try_from(seat.child.id()).unwrap()), Signal::SIGTERM).unwrap();
    seat.leave();
}
