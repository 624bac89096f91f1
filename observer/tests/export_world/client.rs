//! HTTP as a client on loopback sees it: the server on a runtime of its own, requests by hand.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    thread::JoinHandle,
    time::Duration,
};

use tokio::sync::oneshot;
use varta_config::PerAgent;
use varta_daemon::http::Ring;
use varta_watch::{
    aside::Aside,
    export::http::{App, Setup},
    journal,
};

use super::world::{Ingest, START, World};

/// Nothing on loopback takes this long unless it is broken.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct Server {
    pub(crate) ingest: Ingest,
    pub(crate) app: App,
    pub(crate) address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }
}

impl Server {
    pub(crate) fn of(world: World) -> Self {
        Self::with(world, None)
    }

    /// The world gets a journal whose events the server hands on.
    pub(crate) fn with(mut world: World, token: Option<&str>) -> Self {
        let ring = Ring::default();
        let (journal, teller) = journal::channel(START, Some(ring.clone()), None, false);
        teller.spawn().unwrap();
        world.journal = Some(journal);
        let ingest = Ingest::of(world);
        let app = App::new(Setup {
            handle: ingest.handle.clone(),
            ring,
            name: "obs-1".to_owned(),
            started: START.wall,
            listeners: vec!["127.0.0.1:9900".to_owned()],
            per_agent: PerAgent::All,
            token: token.map(str::to_owned),
            aside: Aside::default(),
            forward: std::sync::Arc::from([]),
        });
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let served = app.clone();
        let turn = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let serving = served.on(listener).spawn().unwrap();
                let _ = stopped.await;
                serving.finish().await;
            });
        };
        Self { ingest, app, address, stop: Some(stop), thread: Some(std::thread::spawn(turn)) }
    }

    /// Stops the server and waits for its end.
    pub(crate) fn stop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }

    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, "")
    }

    /// `headers`: whole lines, each with its CRLF.
    pub(crate) fn ask(&self, method: &str, path: &str, headers: &str) -> Answer {
        let mut stream = self.connect();
        write!(stream, "{method} {path} HTTP/1.1\r\nHost: obs-1\r\nConnection: close\r\n{headers}\r\n").unwrap();
        answer(BufReader::new(stream))
    }

    pub(crate) fn follow(&self, path: &str, headers: &str) -> Following {
        let mut stream = self.connect();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: obs-1\r\n{headers}\r\n").unwrap();
        let mut lines = BufReader::new(stream);
        let head = head(&mut lines);
        Following { head, lines, text: String::new() }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

fn head(reader: &mut BufReader<TcpStream>) -> String {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert_ne!(reader.read_line(&mut head).unwrap(), 0, "the answer ended in its head: {head:?}");
    }
    head.replace("\r\n", "\n")
}

fn answer(mut reader: BufReader<TcpStream>) -> Answer {
    let head = head(&mut reader);
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let mut body = Vec::new();
    if head.contains("transfer-encoding: chunked") {
        while let Some(chunk) = chunk(&mut reader) {
            body.extend(chunk);
        }
    } else {
        reader.read_to_end(&mut body).unwrap();
    }
    Answer { status, head, body: String::from_utf8(body).unwrap() }
}

/// The next chunk; `None` after the last, or where the connection ended.
fn chunk(reader: &mut BufReader<TcpStream>) -> Option<Vec<u8>> {
    let mut size = String::new();
    reader.read_line(&mut size).unwrap();
    let size = usize::from_str_radix(size.trim(), 16).ok().filter(|size| *size > 0)?;
    let mut chunk = vec![0; size + 2];
    reader.read_exact(&mut chunk).unwrap();
    chunk.truncate(size);
    Some(chunk)
}

/// An open event stream.
pub(crate) struct Following {
    pub(crate) head: String,
    lines: BufReader<TcpStream>,
    text: String,
}

/// One event as it came.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Heard {
    pub(crate) id: Option<u64>,
    pub(crate) kind: String,
    pub(crate) data: serde_json::Value,
}

impl Following {
    /// The next event; `None` at the end of the stream.
    pub(crate) fn next(&mut self) -> Option<Heard> {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
                let heard = field("event:").map(|kind| Heard {
                    id: field("id:").map(|id| id.parse().unwrap()),
                    kind: kind.to_owned(),
                    data: serde_json::from_str(field("data:").unwrap()).unwrap(),
                });
                self.text = rest.to_owned();
                if heard.is_some() {
                    return heard;
                }
                continue;
            }
            let chunk = chunk(&mut self.lines)?;
            self.text.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }
}
