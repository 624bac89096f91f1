//! One observer's link as the bench plays it: the messages of the report, numbered, with as many under way as a real
//! observer has.

use std::net::SocketAddr;

use anyhow::{Context as _, bail};
use varta_link::{Closer, Identity, Limits, Receiver, Sender, dial};
use varta_vlp::{
    key::{Name, PublicKey},
    report::{Draft, FromObserver, FromRelay, Hello, Item, ReportError},
    subject::Verdict,
};

use super::units::Units;

/// Most messages that are sent and not taken yet: as a real observer has it.
const IN_FLIGHT: u64 = 16;
/// Most items of a message: the rows that a real observer reads at once.
const ITEMS: u32 = 250;

/// Who dials whom.
#[derive(Clone)]
pub(crate) struct Dialled {
    pub(crate) remote: SocketAddr,
    pub(crate) pin: PublicKey,
    pub(crate) identity: Identity,
    pub(crate) name: String,
}

/// A link that the relay has welcomed.
pub(crate) struct Session {
    sender: Sender,
    receiver: Receiver,
    closer: Closer,
    seq: u64,
    acked: u64,
    room: Vec<u8>,
    /// Bytes said, lengths included.
    pub(crate) bytes: u64,
}

/// What a report's error means to whoever runs the bench.
fn report(error: ReportError) -> anyhow::Error {
    anyhow::anyhow!("the report: {error}")
}

impl Session {
    /// Dials, says hello as a life of its own, and reads the welcome.
    pub(crate) async fn connect(to: &Dialled, boot: u64) -> anyhow::Result<Self> {
        let link = dial(to.remote, &to.identity, to.pin, Limits::default()).await?;
        let (mut sender, mut receiver, closer) = link.split();
        let mut room = vec![0; Draft::ROOM];
        let hello = Hello { observer: Name::new(&to.name)?, boot, acked: 0, version: env!("CARGO_PKG_VERSION") };
        let len = FromObserver::Hello(hello).write(&mut room).map_err(report)?;
        sender.send(&room[..len]).await?;
        let message = receiver.receive().await?.context("the relay closed the stream before its welcome")?;
        match FromRelay::parse(message).map_err(report)? {
            FromRelay::Welcome(welcome) if welcome.held == 0 => {}
            other => bail!("the relay welcomes a new life with {other:?}"),
        }
        Ok(Self { sender, receiver, closer, seq: 0, acked: 0, room, bytes: 0 })
    }

    /// Takes one answer.
    async fn answer(&mut self) -> anyhow::Result<()> {
        let message = self.receiver.receive().await?.context("the relay closed the stream")?;
        match FromRelay::parse(message).map_err(report)? {
            FromRelay::Ack { seq } => self.acked = self.acked.max(seq),
            other => bail!("the relay says {other:?}"),
        }
        Ok(())
    }

    /// Waits until one more message may be under way.
    pub(crate) async fn place(&mut self) -> anyhow::Result<()> {
        while self.seq - self.acked >= IN_FLIGHT {
            self.answer().await?;
        }
        Ok(())
    }

    /// Waits until everything was taken.
    pub(crate) async fn drain(&mut self) -> anyhow::Result<()> {
        while self.acked < self.seq {
            self.answer().await?;
        }
        Ok(())
    }

    async fn say(&mut self, len: usize) -> anyhow::Result<()> {
        self.seq += 1;
        self.bytes += len as u64;
        Ok(self.sender.send(&self.room[..len]).await?)
    }

    /// Says a message that was written before, as the next one.
    pub(crate) async fn say_written(&mut self, framed: &[u8]) -> anyhow::Result<()> {
        self.place().await?;
        self.seq += 1;
        self.bytes += framed.len() as u64;
        Ok(self.sender.send(framed).await?)
    }

    /// Says items, in as many messages as they need. Returns how many they were.
    pub(crate) async fn items<'a>(&mut self, items: impl IntoIterator<Item = Item<'a>>) -> anyhow::Result<u64> {
        let mut items = items.into_iter().peekable();
        let mut count = 0;
        while items.peek().is_some() {
            self.place().await?;
            let (len, written) = write_items(&mut self.room, self.seq + 1, &mut items)?;
            count += written;
            self.say(len).await?;
        }
        Ok(count)
    }

    /// Begins a snapshot; items follow.
    pub(crate) async fn begin(&mut self) -> anyhow::Result<()> {
        self.place().await?;
        let seq = self.seq + 1;
        let len = FromObserver::Snapshot { seq }.write(&mut self.room).map_err(report)?;
        self.say(len).await
    }

    /// Ends a snapshot.
    pub(crate) async fn end(&mut self) -> anyhow::Result<()> {
        self.place().await?;
        let seq = self.seq + 1;
        let len = FromObserver::End { seq }.write(&mut self.room).map_err(report)?;
        self.say(len).await
    }

    /// Says that these units are all there are, and that they are up; waits until that is taken.
    pub(crate) async fn snapshot(&mut self, units: &Units) -> anyhow::Result<()> {
        self.begin().await?;
        self.items((0..units.len()).map(|number| Item::Entry(units.entry(number, Verdict::Up)))).await?;
        self.end().await?;
        self.drain().await
    }

    /// Waits for the link's end.
    pub(crate) async fn lost(&self) {
        self.closer.closed().await;
    }
}

/// Writes one message of items, as many as it may have; returns its length and their count.
fn write_items<'a>(
    room: &mut [u8],
    seq: u64,
    items: &mut std::iter::Peekable<impl Iterator<Item = Item<'a>>>,
) -> anyhow::Result<(usize, u64)> {
    let mut draft = Draft::new(room, seq).map_err(report)?;
    while draft.count() < ITEMS
        && let Some(item) = items.peek()
    {
        match draft.push(item) {
            Ok(()) => _ = items.next(),
            Err(ReportError::Full) if draft.count() > 0 => break,
            Err(error) => return Err(report(error)),
        }
    }
    let count = draft.count();
    Ok((draft.finish(), count.into()))
}

/// A snapshot of these units, written: its messages, from number 1 on.
pub(crate) fn written(units: &Units) -> anyhow::Result<Vec<Vec<u8>>> {
    let mut room = vec![0; Draft::ROOM];
    let mut messages = Vec::new();
    let len = FromObserver::Snapshot { seq: 1 }.write(&mut room).map_err(report)?;
    messages.push(room[..len].to_vec());
    let mut items = (0..units.len()).map(|number| Item::Entry(units.entry(number, Verdict::Up))).peekable();
    while items.peek().is_some() {
        let (len, _) = write_items(&mut room, messages.len() as u64 + 1, &mut items)?;
        messages.push(room[..len].to_vec());
    }
    let len = FromObserver::End { seq: messages.len() as u64 + 1 }.write(&mut room).map_err(report)?;
    messages.push(room[..len].to_vec());
    Ok(messages)
}

#[cfg(test)]
mod tests {
    use varta_vlp::report::PREFIX_LEN;

    use super::*;

    #[test]
    fn a_written_snapshot_is_every_unit_once_and_numbered_without_a_gap() {
        let units = Units::new(0, 1001).unwrap();
        let messages = written(&units).unwrap();
        let mut handles = Vec::new();
        for (place, message) in messages.iter().enumerate() {
            let seq = match FromObserver::parse(&message[PREFIX_LEN..]).unwrap() {
                FromObserver::Snapshot { seq } | FromObserver::End { seq } => seq,
                FromObserver::Items { seq, items } => {
                    for item in items.iter() {
                        let Item::Entry(entry) = item.unwrap() else { panic!("an entry") };
                        handles.push(entry.handle);
                    }
                    seq
                }
                other => panic!("{other:?}"),
            };
            assert_eq!(seq, place as u64 + 1);
        }
        assert_eq!(handles, (0..1001).collect::<Vec<_>>());
        assert_eq!(messages.len(), 2 + 5);
    }
}
