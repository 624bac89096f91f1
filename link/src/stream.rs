//! One link: a stream of messages each way.

use std::net::SocketAddr;

use quinn::{Connection, ReadError, RecvStream, SendStream, VarInt, WriteError};
use varta_vlp::report::{PREFIX_LEN, ReportError, message_len};

use crate::LinkError;

/// Room that a message is given before any of it has arrived; it grows as bytes arrive.
const ROOM: usize = 16 << 10;

/// A link: who is at the other end is certain. Dropping all of it closes it.
#[derive(Debug)]
pub struct Link {
    /// What is said to the other side.
    pub sender: Sender,
    /// What it says.
    pub receiver: Receiver,
    end: End,
}

/// One end of a connection.
#[derive(Clone, Debug)]
pub(crate) struct End {
    connection: Connection,
    dialled: bool,
}

impl End {
    pub(crate) const fn new(connection: Connection, dialled: bool) -> Self {
        Self { connection, dialled }
    }

    fn remote(&self) -> SocketAddr {
        self.connection.remote_address()
    }

    fn error(&self, error: quinn::ConnectionError) -> LinkError {
        LinkError::of(self.remote(), error, self.dialled)
    }

    fn failed(&self, reason: impl ToString) -> LinkError {
        LinkError::Failed { remote: self.remote(), reason: reason.to_string() }
    }
}

impl Link {
    pub(crate) fn new(end: &End, sender: SendStream, receiver: RecvStream) -> Self {
        Self {
            sender: Sender { stream: sender, end: end.clone() },
            receiver: Receiver { stream: receiver, end: end.clone(), room: Vec::new(), filled: 0, passed: false },
            end: end.clone(),
        }
    }

    /// Where the other side is.
    #[must_use]
    pub fn remote(&self) -> SocketAddr {
        self.end.remote()
    }

    /// What closes it, and waits for its end.
    #[must_use]
    pub fn closer(&self) -> Closer {
        Closer(self.end.clone())
    }

    /// Takes it apart: what is said, what is heard, and what closes it.
    #[must_use]
    pub fn split(self) -> (Sender, Receiver, Closer) {
        (self.sender, self.receiver, Closer(self.end))
    }
}

/// Closes a link, and waits for its end. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Closer(End);

impl Closer {
    /// Closes it at once, and tells the other side why.
    pub fn close(&self, reason: &str) {
        self.0.connection.close(VarInt::from_u32(0), reason.as_bytes());
    }

    /// Waits for its end.
    pub async fn closed(&self) -> LinkError {
        self.0.error(self.0.connection.closed().await)
    }
}

/// The side of a link that speaks.
#[derive(Debug)]
pub struct Sender {
    stream: SendStream,
    end: End,
}

impl Sender {
    /// Says what [`varta_vlp::report`] has written: messages with their lengths before them. Waits while the other side does
    /// not listen. One that is not awaited to its end has spoiled the stream.
    ///
    /// # Errors
    /// [`LinkError`]: the link is no more.
    pub async fn send(&mut self, framed: &[u8]) -> Result<(), LinkError> {
        self.stream.write_all(framed).await.map_err(|error| match error {
            WriteError::ConnectionLost(error) => self.end.error(error),
            other => self.end.failed(other),
        })
    }
}

/// The side of a link that listens.
#[derive(Debug)]
pub struct Receiver {
    stream: RecvStream,
    end: End,
    /// A message, its length before it, as far as it has come.
    room: Vec<u8>,
    filled: usize,
    /// Whether what is there was handed out.
    passed: bool,
}

impl Receiver {
    /// The next message, without its length; `None` when the other side ended its stream between two messages. May be given
    /// up at any time and asked again.
    ///
    /// # Errors
    /// [`LinkError`]: the link is no more, or what came is no message.
    pub async fn receive(&mut self) -> Result<Option<&[u8]>, LinkError> {
        if std::mem::take(&mut self.passed) {
            self.filled = 0;
        }
        let Some(prefix) = self.fill(PREFIX_LEN).await? else {
            if self.filled == 0 {
                return Ok(None);
            }
            return Err(self.bad(ReportError::Truncated));
        };
        let prefix = prefix.first_chunk().copied().unwrap_or_default();
        let len = message_len(prefix).map_err(|error| self.bad(error))?;
        let whole = PREFIX_LEN + len;
        if self.fill(whole).await?.is_none() {
            return Err(self.bad(ReportError::Truncated));
        }
        self.passed = true;
        Ok(self.room.get(PREFIX_LEN..whole))
    }

    fn bad(&self, error: ReportError) -> LinkError {
        LinkError::BadMessage { remote: self.end.remote(), error }
    }

    /// Waits until so many bytes are there; `None` where the stream ended before.
    async fn fill(&mut self, wanted: usize) -> Result<Option<&[u8]>, LinkError> {
        while self.filled < wanted {
            let room = wanted.min(self.filled + ROOM);
            if self.room.len() < room {
                self.room.resize(room, 0);
            }
            let read = self.stream.read(&mut self.room[self.filled..room]).await;
            match read {
                Ok(Some(read)) => self.filled += read,
                Ok(None) => return Ok(None),
                Err(ReadError::ConnectionLost(error)) => return Err(self.end.error(error)),
                Err(other) => return Err(self.end.failed(other)),
            }
        }
        Ok(self.room.get(..wanted))
    }
}
