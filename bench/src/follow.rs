//! One who follows an observer's events, and reads a clock as each is read.

use std::{
    io::{BufRead as _, BufReader},
    sync::mpsc::{Receiver as Channel, channel},
    thread,
    time::Duration,
};

use anyhow::Context as _;
use serde::Deserialize;

use crate::clock;

/// A stall as one who follows reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stall {
    /// The agent, by name where the observer knows it, else by id.
    pub(crate) agent: String,
    /// From the deadline to the verdict, as the observer says, microseconds.
    pub(crate) judged_us: u64,
    /// When it was read, since the Unix epoch.
    pub(crate) read: Duration,
}

/// What one who follows reads.
pub(crate) enum News {
    Stall(Stall),
    /// So many events could not be kept for this follower.
    Lagged(u64),
    /// The observer says that it could not see.
    Blind,
}

#[derive(Deserialize)]
struct Event {
    kind: Option<String>,
    agent: Option<String>,
    to: Option<String>,
    late_us: Option<u64>,
    seen: Option<u64>,
    next: Option<u64>,
}

fn news(data: &str, read: Duration) -> Option<News> {
    let event: Event = serde_json::from_str(data).ok()?;
    if let (Some(seen), Some(next)) = (event.seen, event.next) {
        return Some(News::Lagged(next - seen - 1));
    }
    if event.kind.as_deref() == Some("blind") {
        return Some(News::Blind);
    }
    let stalled = event.to.as_deref() == Some("stalled");
    Some(News::Stall(Stall { agent: event.agent?, judged_us: event.late_us.filter(|_| stalled)?, read }))
}

/// Follows the events of the observer that serves `http`, until it stops.
pub(crate) fn follow(http: &str) -> anyhow::Result<Channel<News>> {
    let url = format!("http://{http}/api/v1/events");
    let answer = ureq::get(&url).call().context(url)?;
    let (sender, receiver) = channel();
    thread::spawn(move || {
        for line in BufReader::new(answer.into_body().into_reader()).lines() {
            let Ok(line) = line else { return };
            let read = clock::realtime();
            let told = line.strip_prefix("data:").and_then(|data| news(data, read));
            if told.is_some_and(|told| sender.send(told).is_err()) {
                return;
            }
        }
    });
    Ok(receiver)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_stalls_and_gaps_are_news() {
        let at = Duration::from_secs(9);
        let stall = r#"{"id":1,"agent":"web-1","to":"stalled","deadline":"2025-01-01T00:00:00.000001Z","late_us":7}"#;
        let Some(News::Stall(told)) = news(stall, at) else { panic!("a stall") };
        assert_eq!(told, Stall { agent: "web-1".to_owned(), judged_us: 7, read: at });
        assert!(news(&stall.replace("stalled", "up"), at).is_none());
        assert!(news("{}", at).is_none());
        assert!(matches!(news(r#"{"kind":"blind","cause":"gap"}"#, at), Some(News::Blind)));
        assert!(matches!(news(r#"{"seen":5,"next":9}"#, at), Some(News::Lagged(3))));
    }
}
