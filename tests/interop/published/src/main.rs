//! An agent of the published Rust client: `published-agent SOCKET`. It does what each line on standard input says, answers
//! each by one line, and ends well at the end of the input. `agent.py` is the same with the published Python client.

#![forbid(unsafe_code)]

use std::io::{self, BufRead as _, Write as _};

use varta_client::{BeatOutcome, Status, Varta};

fn status(word: &str) -> Status {
    match word {
        "ok" => Status::Ok,
        "degraded" => Status::Degraded,
        "critical" => Status::Critical,
        other => panic!("no status is called {other}"),
    }
}

fn obey(agent: &mut Varta, socket: &str, line: &str) -> io::Result<String> {
    let words: Vec<&str> = line.split_whitespace().collect();
    Ok(match words[..] {
        ["beat", word, payload] => match agent.beat(status(word), payload.parse().expect("a payload is a number")) {
            BeatOutcome::Sent => "sent".to_owned(),
            BeatOutcome::Dropped(reason) => format!("dropped: {reason}"),
            BeatOutcome::Failed(error) => format!("failed: {error}"),
        },
        ["reconnect"] => {
            agent.reconnect()?;
            "done".to_owned()
        }
        ["reconnect-after", beats] => {
            agent.set_reconnect_after(beats.parse().expect("a number of beats"));
            "done".to_owned()
        }
        ["hook"] => {
            varta_client::install_panic_handler(socket)?;
            "done".to_owned()
        }
        ["panic"] => panic!("as asked"),
        _ => panic!("nothing is meant by {line:?}"),
    })
}

fn main() -> io::Result<()> {
    let socket = std::env::args().nth(1).expect("published-agent SOCKET");
    let mut agent = Varta::connect(&socket)?;
    let mut out = io::stdout();
    writeln!(out, "connected")?;
    for line in io::stdin().lock().lines() {
        let said = obey(&mut agent, &socket, &line?)?;
        writeln!(out, "{said}")?;
    }
    Ok(())
}
