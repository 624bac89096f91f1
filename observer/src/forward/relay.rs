//! One relay's link: dialling, again and again, and saying what there is to say.

use std::{net::SocketAddr, time::Duration};

use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use varta_link::{Identity, Limits, Link, LinkError, Receiver, Sender, dial};
use varta_vlp::{
    key::{Name, PublicKey},
    report::{FromObserver, FromRelay, Hello, ReportError},
};

use super::{
    Counted, ForwardCounts,
    feed::{Shared, Want},
    status,
    write::{Texts, entry_of},
};
use crate::{
    command::{Handle, PAGE_ROWS, Unanswered},
    row::{RawRow, Rows},
};

/// The first wait is at most this, and each further one at most twice the one before, up to the last.
const FIRST_WAIT: Duration = Duration::from_millis(200);
const LAST_WAIT: Duration = Duration::from_secs(30);
/// How long a relay may take to welcome, and a name to be resolved.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often the observer tells how it is.
const STATUS: Duration = Duration::from_secs(1);
/// How often the same trouble is told again.
const TELL_AGAIN: u32 = 64;

/// What one relay is told by.
pub(super) struct Relay {
    pub(super) address: String,
    pub(super) pin: PublicKey,
    pub(super) identity: Identity,
    pub(super) name: String,
    pub(super) handle: Handle,
    pub(super) feed: Shared,
    pub(super) counted: Counted,
    pub(super) place: usize,
}

/// Why a link ended.
#[derive(Debug, thiserror::Error)]
enum End {
    #[error("{0}")]
    Address(String),
    #[error(transparent)]
    Link(#[from] LinkError),
    #[error("the relay speaks otherwise: {0}")]
    Report(#[from] ReportError),
    #[error("it closed the stream")]
    Closed,
    #[error("it did not welcome this observer in time")]
    Late,
    #[error(transparent)]
    Unanswered(#[from] Unanswered),
}

/// A time below `most` that nobody can foresee: a thousand observers do not come back at once.
fn jittered(most: Duration) -> Duration {
    // Without randomness there is no jitter, and the wait is the whole.
    let share = getrandom::u32().map_or(1.0, |random| f64::from(random) / f64::from(u32::MAX));
    most.mul_f64(share)
}

/// Waits a little where the ingest thread is asked too much.
async fn unanswered(error: Unanswered) -> Result<bool, End> {
    match error {
        Unanswered::Gone => Err(error.into()),
        Unanswered::Busy => {
            sleep(FIRST_WAIT).await;
            Ok(true)
        }
    }
}

impl Relay {
    fn counts(&self) -> Option<&ForwardCounts> {
        self.counted.get(self.place).map(|(_, counts)| counts)
    }

    /// Keeps a link to the relay, for ever.
    pub(super) async fn keep(self) {
        let mut wait = FIRST_WAIT;
        let (mut told, mut tries) = (String::new(), 0);
        loop {
            let (welcomed, end) = self.once().await;
            self.feed.lock().lost();
            if let Some(counts) = self.counts() {
                ForwardCounts::set(&counts.connected, 0);
                ForwardCounts::set(&counts.in_flight, 0);
            }
            if matches!(end, End::Unanswered(Unanswered::Gone)) {
                return;
            }
            let text = end.to_string();
            (wait, tries) = if welcomed { (FIRST_WAIT, 0) } else { (wait, tries + 1) };
            if text != told || tries % TELL_AGAIN == 0 {
                tracing::warn!(relay = self.address, "no link to the relay: {text}");
                told = text;
            }
            sleep(jittered(wait)).await;
            wait = (wait * 2).min(LAST_WAIT);
        }
    }

    /// One link from its beginning to its end: whether the relay welcomed it, and how it ended.
    async fn once(&self) -> (bool, End) {
        if let Some(counts) = self.counts() {
            ForwardCounts::add(&counts.dials, 1);
        }
        match self.connect().await {
            Err(end) => (false, end),
            Ok((sender, receiver)) => {
                tracing::info!(relay = self.address, "the relay has welcomed this observer");
                if let Some(counts) = self.counts() {
                    ForwardCounts::set(&counts.connected, 1);
                }
                let end = tokio::select! {
                    end = self.listen(receiver) => end,
                    end = self.speak(sender) => end,
                };
                (true, end.err().unwrap_or(End::Closed))
            }
        }
    }

    async fn resolve(&self) -> Result<SocketAddr, End> {
        let unresolved = |why: &dyn std::fmt::Display| End::Address(format!("{}: {why}", self.address));
        let found = timeout(PATIENCE, tokio::net::lookup_host(&self.address)).await;
        let found = found.map_err(|_| unresolved(&"the name is not resolved in time"))?;
        let mut found = found.map_err(|error| unresolved(&error))?;
        found.next().ok_or_else(|| unresolved(&"the name has no address"))
    }

    /// Dials, says hello, and reads the welcome: only then the relay is there.
    async fn connect(&self) -> Result<(Sender, Receiver), End> {
        let remote = self.resolve().await?;
        let link: Link = dial(remote, &self.identity, self.pin, Limits::default()).await?;
        let (mut sender, mut receiver, _) = link.split();
        let mut room = [0; 512];
        let len = {
            let feed = self.feed.lock();
            let observer = Name::new(&self.name).map_err(|_| ReportError::BadName)?;
            let version = env!("CARGO_PKG_VERSION");
            FromObserver::Hello(Hello { observer, boot: feed.boot(), acked: feed.acked(), version }).write(&mut room)?
        };
        let welcome = async {
            sender.send(&room[..len]).await?;
            match FromRelay::parse(receiver.receive().await?.ok_or(End::Closed)?)? {
                FromRelay::Welcome(welcome) => Ok(welcome.held),
                _ => Err(End::Report(ReportError::BadKind(0))),
            }
        };
        let held = timeout(PATIENCE, welcome).await.map_err(|_| End::Late)??;
        self.feed.lock().welcomed(held);
        self.feed.wake();
        Ok((sender, receiver))
    }

    /// Takes the relay's answers.
    async fn listen(&self, mut receiver: Receiver) -> Result<(), End> {
        loop {
            let Some(message) = receiver.receive().await? else { return Err(End::Closed) };
            match FromRelay::parse(message)? {
                FromRelay::Ack { seq } => self.feed.lock().taken(seq),
                FromRelay::Resync => self.feed.lock().resync(),
                FromRelay::Welcome(_) => return Err(End::Report(ReportError::BadKind(0))),
            }
            self.feed.wake();
        }
    }

    /// Says what there is to say, as fast as the relay takes it.
    async fn speak(&self, mut sender: Sender) -> Result<(), End> {
        let mut ticks = interval(STATUS);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut rows = Rows::with_capacity(PAGE_ROWS as usize);
        loop {
            let said = self.say(&mut sender, &mut rows).await?;
            if said {
                continue;
            }
            tokio::select! {
                () = self.feed.woken() => {}
                _ = ticks.tick() => {
                    match self.handle.snapshot().await {
                        Ok(snapshot) => sender.send(&status::message(&snapshot)?).await?,
                        Err(Unanswered::Busy) => {}
                        Err(gone) => return Err(gone.into()),
                    }
                }
            }
        }
    }

    /// Says one thing; false where there was nothing.
    async fn say(&self, sender: &mut Sender, rows: &mut Rows) -> Result<bool, End> {
        let want = {
            let mut feed = self.feed.lock();
            feed.tell_touches()?;
            feed.next()?
        };
        match want {
            Want::Nothing => {}
            Want::Rows(handles) => {
                let (asked, read) = match self.handle.rows(handles, std::mem::take(rows)).await {
                    Ok(answer) => answer,
                    Err(error) => {
                        self.feed.lock().give_back();
                        return unanswered(error).await;
                    }
                };
                self.with_entries(&read, |feed, entries| feed.tell_rows(&asked, entries.iter().copied()))?;
                *rows = read;
            }
            Want::Page(cursor) => {
                let page = match self.handle.page(cursor, PAGE_ROWS, std::mem::take(rows)).await {
                    Ok(page) => page,
                    Err(error) => return unanswered(error).await,
                };
                self.with_entries(&page.rows, |feed, entries| {
                    feed.tell_page(cursor, entries.iter().copied(), page.next)
                })?;
                *rows = page.rows;
            }
        }
        let out = std::mem::take(&mut self.feed.lock().out);
        self.count();
        if out.is_empty() {
            return Ok(false);
        }
        sender.send(&out).await?;
        let mut feed = self.feed.lock();
        if feed.out.is_empty() {
            // Its room is used again.
            feed.out = out;
            feed.out.clear();
        }
        Ok(true)
    }

    fn with_entries(
        &self,
        rows: &Rows,
        tell: impl FnOnce(&mut super::feed::Feed, &[varta_vlp::report::Entry<'_>]) -> Result<(), ReportError>,
    ) -> Result<(), ReportError> {
        let raw: Vec<RawRow<'_>> = rows.raw().collect();
        let texts: Vec<_> = raw.iter().map(Texts::of).collect();
        let entries: Vec<_> = raw.iter().zip(&texts).map(|(row, texts)| entry_of(row, texts)).collect();
        tell(&mut self.feed.lock(), &entries)
    }

    fn count(&self) {
        let Some(counts) = self.counts() else { return };
        let feed = self.feed.lock();
        ForwardCounts::set(&counts.entries, feed.entries);
        ForwardCounts::set(&counts.touches, feed.touched);
        ForwardCounts::set(&counts.snapshots, feed.snapshots);
        ForwardCounts::set(&counts.pending, feed.pending() as u64);
        ForwardCounts::set(&counts.in_flight, feed.in_flight() as u64);
    }
}
