//! Asking, on a thread of its own: the screen answers keys however long an answer takes.

use std::{
    sync::mpsc::{Receiver, RecvTimeoutError},
    time::Duration,
};

use anyhow::Context as _;
use serde_json::Value;

use super::{
    filter::Filter,
    picture::{Detail, Event, Key, Picture, Unit, WORST, counts_of, now_of},
};
use crate::{
    ask::{Source, escape},
    clock,
};

/// Most units that are asked for: the worst.
pub(super) const UNITS: usize = 1000;
/// Most answers that one picture's units are made of. Where few of a large fleet fit, an answer may hold none of them.
const PAGES: usize = 64;
/// Most open incidents that are asked for.
const INCIDENTS: usize = 50;
/// Most events that are kept: the newest.
pub(super) const EVENTS: usize = 500;
/// Between two pictures there is so many times the pause that one took: whoever is asked has most of its time for others.
const REST: u32 = 4;

/// What is to be asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Wish {
    pub(super) filter: Filter,
    /// A unit of which all is wanted.
    pub(super) detail: Option<Key>,
    /// Nothing is asked for.
    pub(super) paused: bool,
}

/// What came of asking once.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) picture: Picture,
    /// What has happened since the last answer, in order.
    pub(super) events: Vec<Event>,
    /// Why events could not be had.
    pub(super) events_problem: Option<String>,
    /// Whether whoever answers has begun anew: events of before have other numbers.
    pub(super) anew: bool,
    /// The unit of which all was wanted; an error in words where it is not known.
    pub(super) detail: Option<(Key, Result<Detail, String>)>,
}

/// What there is to tell the screen.
#[derive(Debug)]
pub(super) enum News {
    /// A picture is being asked for.
    Asking,
    Answer(Box<Answer>),
    /// There was no answer.
    Problem(String),
}

/// Whoever is asked, and what was heard of it.
pub(super) struct Asker {
    source: Source,
    is_relay: Option<bool>,
    /// Which life of it answers.
    started: String,
    /// The newest event that was heard.
    seen: Option<String>,
}

impl Asker {
    pub(super) const fn new(source: Source) -> Self {
        Self { source, is_relay: None, started: String::new(), seen: None }
    }

    /// One picture.
    ///
    /// # Errors
    /// Whoever is asked does not answer, or says no.
    pub(super) fn ask(&mut self, wish: &Wish) -> anyhow::Result<Answer> {
        let answer = self.whole(wish);
        if answer.is_err() {
            // The next one may be another.
            self.is_relay = None;
        }
        answer
    }

    fn status(&mut self) -> anyhow::Result<Value> {
        if self.is_relay != Some(false)
            && let Some(fleet) = self.source.find("/api/v1/fleet")?
        {
            self.is_relay = Some(true);
            return Ok(fleet);
        }
        self.is_relay = Some(false);
        self.source.get("/api/v1/status")
    }

    /// What one picture is made of, as it was told.
    ///
    /// # Errors
    /// Whoever is asked does not answer, or says no.
    pub(super) fn json(&mut self, filter: &Filter) -> anyhow::Result<Value> {
        let mut status = self.status()?;
        let is_relay = self.is_relay == Some(true);
        let (mut units, more) = self.units(is_relay, &status, filter)?;
        let now_ms = now_of(&status);
        units.retain(|row| filter.fits(&Unit::of(row, now_ms)));
        if is_relay {
            status["open"] = self.incidents()?;
        }
        (status["units"], status["more"]) = (units.into(), more.into());
        Ok(status)
    }

    fn incidents(&self) -> anyhow::Result<Value> {
        Ok(self.source.get(&format!("/api/v1/incidents?state=open&limit={INCIDENTS}"))?["incidents"].take())
    }

    fn whole(&mut self, wish: &Wish) -> anyhow::Result<Answer> {
        let status = self.status()?;
        let is_relay = self.is_relay == Some(true);
        let started = if is_relay { &status["relay"]["started_ms"] } else { &status["started"] };
        let started = started.to_string();
        let anew = self.started != started;
        if anew {
            (self.started, self.seen) = (started, None);
        }
        let (units, more) = self.units(is_relay, &status, &wish.filter)?;
        let incidents = if is_relay { self.incidents()? } else { Value::Null };
        let detail = match &wish.detail {
            Some(key) => Some((key.clone(), self.detail(is_relay, key, now_of(&status))?)),
            None => None,
        };
        let (events, failed) = self.events();
        Ok(Answer {
            picture: Picture::of(&status, &incidents, &units, more),
            events,
            events_problem: failed.err().map(|error| format!("{error:#}")),
            anew,
            detail,
        })
    }

    /// The worst units that fit; whether there may be more.
    fn units(&self, is_relay: bool, status: &Value, filter: &Filter) -> anyhow::Result<(Vec<Value>, bool)> {
        let (path, list) = if is_relay { ("/api/v1/agents", "agents") } else { ("/api/v1/slots", "slots") };
        let query = filter.query().filter(|_| is_relay).map_or_else(String::new, |text| format!("&q={}", escape(text)));
        let (mut units, mut more) = (Vec::new(), false);
        let verdicts = WORST.into_iter().zip(counts_of(status)).filter(|(_, count)| *count > 0);
        for (verdict, _) in verdicts {
            let path = format!("{path}?verdict={}{query}", verdict.name());
            let (found, further) = self.source.some_rows(&path, list, UNITS - units.len(), PAGES)?;
            units.extend(found);
            more |= further;
        }
        // An observer does not search, but it finds a whole name.
        if let Some((agent, unit)) = filter.whole_name().filter(|_| more && !is_relay)
            && let Some(row) = self.source.find(&format!("{path}/{}/{}", escape(agent), escape(unit)))?
            && !units.iter().any(|known| Key::of(known) == Key::of(&row))
        {
            units.push(row);
        }
        Ok((units, more))
    }

    fn detail(&self, is_relay: bool, key: &Key, now_ms: Option<u64>) -> anyhow::Result<Result<Detail, String>> {
        let path = if is_relay { "/api/v1/agents" } else { "/api/v1/slots" };
        let whose = key.observer.iter().map(|name| format!("?observer={}", escape(name))).collect::<String>();
        let found = self.source.find(&format!("{path}/{}/{}{whose}", escape(&key.agent), escape(&key.unit)))?;
        Ok(found.map(|row| Detail::of(&row, now_ms)).ok_or_else(|| "is not known any more".to_owned()))
    }

    /// What has happened since the last time: the newest of it, and whether all of it was read.
    fn events(&mut self) -> (Vec<Event>, anyhow::Result<()>) {
        let mut events = std::collections::VecDeque::new();
        let begun = self.seen.clone();
        let ended = self.source.follow("/api/v1/events?once=true", begun.as_deref(), |event| {
            let Some((kind, id, text)) = event else { return Ok(()) };
            if kind == "lagged" {
                return Ok(());
            }
            self.seen = Some(id.to_owned());
            let event: Value = serde_json::from_str(text).context("an event is not JSON")?;
            if events.len() == EVENTS {
                events.pop_front();
            }
            events.extend(Event::of(&event));
            Ok(())
        });
        (events.into(), ended)
    }
}

/// Asks at this pace for what is wished, and at once where that is something else, until nobody wishes or listens any more.
pub(super) fn run(
    mut asker: Asker,
    interval: Duration,
    wishes: &Receiver<Wish>,
    mut tell: impl FnMut(News) -> std::ops::ControlFlow<()>,
) {
    let mut wish = Wish::default();
    loop {
        let begun = clock::boottime();
        if !wish.paused {
            if tell(News::Asking).is_break() {
                return;
            }
            let news = match asker.ask(&wish) {
                Ok(answer) => News::Answer(Box::new(answer)),
                Err(error) => News::Problem(format!("{error:#}")),
            };
            if tell(news).is_break() {
                return;
            }
        }
        let took = Duration::from_nanos(clock::boottime().saturating_sub(begun));
        match wishes.recv_timeout(interval.max(took.saturating_mul(REST))) {
            Ok(newer) => wish = wishes.try_iter().last().unwrap_or(newer),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

#[cfg(test)]
mod tests;
