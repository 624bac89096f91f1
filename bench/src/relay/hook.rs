//! A webhook's server: takes what it is sent, and says when.

use std::{
    io::{BufRead, BufReader, Write as _},
    net::{TcpListener, TcpStream},
    sync::mpsc::{Receiver, Sender, channel},
    thread,
    time::Duration,
};

use anyhow::Context as _;
use serde::Deserialize;

use crate::clock;

/// The largest body that is taken, bytes.
const BODY: usize = 1 << 20;

/// A notice of an incident.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Told {
    /// Whether it opened; it is over else.
    pub(crate) opened: bool,
    /// Whom it is about.
    pub(crate) subject: String,
    /// When all of it was read, time since boot.
    pub(crate) at: Duration,
}

#[derive(Deserialize)]
struct Body {
    event: String,
    incident: Incident,
}

#[derive(Deserialize)]
struct Incident {
    subject: String,
}

/// Serves on a port of the system's choice, from threads of its own, for as long as the process lives. Returns where, and
/// what it is told.
pub(crate) fn serve() -> anyhow::Result<(String, Receiver<Told>)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let url = format!("http://{}/hook", listener.local_addr()?);
    let (sender, receiver) = channel();
    thread::Builder::new().name("hook".to_owned()).spawn(move || {
        for stream in listener.incoming().flatten() {
            let sender = sender.clone();
            // Who breaks off is done with.
            thread::spawn(move || drop(converse(&stream, &sender)));
        }
    })?;
    Ok((url, receiver))
}

/// Answers one connection's requests until it is closed.
fn converse(stream: &TcpStream, sender: &Sender<Told>) -> anyhow::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream);
    while let Some(told) = request(&mut reader)? {
        if sender.send(told).is_err() {
            return Ok(());
        }
        (&*stream).write_all(b"HTTP/1.1 204 No Content\r\n\r\n")?;
    }
    Ok(())
}

/// Reads one request; `None` where there is no further one.
fn request(reader: &mut impl BufRead) -> anyhow::Result<Option<Told>> {
    let mut length = None;
    let mut line = String::new();
    let mut first = true;
    loop {
        line.clear();
        if reader.read_line(&mut line)? == 0 {
            anyhow::ensure!(first, "a request ends within its head");
            return Ok(None);
        }
        first = false;
        let head = line.trim_end().to_ascii_lowercase();
        if head.is_empty() {
            break;
        }
        if let Some(value) = head.strip_prefix("content-length:") {
            length = Some(value.trim().parse::<usize>()?);
        }
    }
    let length = length.filter(|length| *length <= BODY).context("a body of unknown length, or too long")?;
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let at = clock::boottime();
    let Body { event, incident } = serde_json::from_slice(&body)?;
    Ok(Some(Told { opened: event == "incident_opened", subject: incident.subject, at }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_of_one_connection_are_read_one_after_another() {
        let body =
            |event: &str| format!(r#"{{"event":"{event}","relay":"r","incident":{{"id":1,"subject":"a/main"}}}}"#);
        let of = |body: String| format!("POST /hook HTTP/1.1\r\nContent-Length: {}\r\nX: y\r\n\r\n{body}", body.len());
        let text = of(body("incident_opened")) + &of(body("incident_closed"));
        let mut reader = text.as_bytes();
        let [first, second] = [(); 2].map(|()| request(&mut reader).unwrap().unwrap());
        assert!(first.opened && !second.opened);
        assert_eq!(first.subject, "a/main");
        assert_eq!(request(&mut reader).unwrap(), None);
        assert!(request(&mut "POST / HTTP/1.1\r\n\r\n".as_bytes()).is_err());
        assert!(request(&mut "POST / HTTP/1.1\r\n".as_bytes()).is_err());
    }
}
