//! One observer's link, from its hello to its end.

use std::time::Duration;

use tokio::time::timeout;
use varta_link::{Allowed, Arrived, Closer, LinkError, Receiver, Sender};
use varta_vlp::{
    key::Name,
    report::{FromObserver, FromRelay, ReportError, Welcome},
};

use crate::{
    desk::Desk,
    fleet::{LinkId, Reaction},
};

/// How long an observer may take to say hello, and to take an answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// The longest answer: a welcome.
const ANSWER: usize = 256;

/// Why a link ended.
#[derive(Debug, thiserror::Error)]
enum End {
    #[error(transparent)]
    Link(#[from] LinkError),
    #[error("{0}")]
    Report(#[from] ReportError),
    #[error("{0}")]
    Closed(String),
}

/// Serves an observer that has come, until its link ends.
pub(crate) async fn serve(desk: Desk, allowed: Allowed, relay: String, arrived: Arrived) {
    let Arrived { key, name, remote, link, place } = arrived;
    let (sender, receiver, closer) = link.split();
    let mut session = Session { desk, relay, observer: name.to_string(), sender, receiver };
    let end = tokio::select! {
        end = session.run(remote.to_string(), &closer) => end,
        () = allowed.removed(&key, &name) => End::Closed("this observer's key is not in relay.toml any more".to_owned()),
    };
    closer.close(&end.to_string());
    match end {
        End::Closed(_) | End::Report(_) => tracing::warn!(observer = %name, %remote, "link closed: {end}"),
        End::Link(_) => tracing::info!(observer = %name, %remote, "link ended: {end}"),
    }
    drop(place);
}

struct Session {
    desk: Desk,
    relay: String,
    observer: String,
    sender: Sender,
    receiver: Receiver,
}

impl Session {
    async fn run(&mut self, remote: String, closer: &Closer) -> End {
        let mut leave = match self.welcome(remote, closer).await {
            Ok(leave) => leave,
            Err(end) => return end,
        };
        loop {
            match self.step(leave.link).await {
                Ok(true) => {}
                Ok(false) => return End::Closed("the observer has ended its stream".to_owned()),
                Err(end) => {
                    leave.silent = matches!(end, End::Link(LinkError::TimedOut(_)));
                    return end;
                }
            }
        }
    }

    /// Takes the hello, and answers it. Whatever ends the link from then on, also that it is given up, the fleet is told.
    async fn welcome(&mut self, remote: String, closer: &Closer) -> Result<Leave, End> {
        let late = |_| End::Closed("it said no hello in time".to_owned());
        let message = timeout(PATIENCE, self.receiver.receive()).await.map_err(late)??;
        let FromObserver::Hello(hello) = FromObserver::parse(message.unwrap_or_default())? else {
            return Err(End::Closed("the first message is no hello".to_owned()));
        };
        let connected = self.desk.act(|fleet, now| fleet.connect(now, &self.observer, remote, &hello));
        let (link, held) = connected.map_err(|refusal| End::Closed(refusal.to_string()))?;
        let leave = Leave { desk: self.desk.clone(), observer: self.observer.clone(), link, silent: false };
        self.desk.replace_link(&self.observer, link.number(), closer.clone());
        let name = self.relay.clone();
        let relay = Name::new(&name).map_err(|_| ReportError::BadName)?;
        self.answer(FromRelay::Welcome(Welcome { relay, held })).await?;
        Ok(leave)
    }

    /// Takes one message; false when there are no more.
    async fn step(&mut self, link: LinkId) -> Result<bool, End> {
        let Some(message) = self.receiver.receive().await? else { return Ok(false) };
        let message = FromObserver::parse(message)?;
        match self.desk.act(|fleet, now| fleet.handle(now, link, &message)) {
            Reaction::Nothing => {}
            Reaction::Ack(seq) => self.answer(FromRelay::Ack { seq }).await?,
            Reaction::Resync => self.answer(FromRelay::Resync).await?,
            Reaction::Close(reason) => return Err(End::Closed(reason.to_owned())),
        }
        // One observer's million slots leave room for the others'.
        tokio::task::yield_now().await;
        Ok(true)
    }

    async fn answer(&mut self, answer: FromRelay<'_>) -> Result<(), End> {
        let mut room = [0; ANSWER];
        let len = answer.write(&mut room)?;
        let sent = timeout(PATIENCE, self.sender.send(&room[..len])).await;
        Ok(sent.map_err(|_| End::Closed("it does not take its answers".to_owned()))??)
    }
}

/// Tells the fleet of the end of a link.
struct Leave {
    desk: Desk,
    observer: String,
    link: LinkId,
    /// Whether nothing was heard for as long as a link may be silent.
    silent: bool,
}

impl Drop for Leave {
    fn drop(&mut self) {
        self.desk.act(|fleet, now| fleet.disconnect(now, self.link, self.silent));
        self.desk.forget_link(&self.observer, self.link.number());
    }
}

#[cfg(test)]
mod tests;
