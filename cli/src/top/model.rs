//! What the screen shows, and what a key does to it. Pure: time and answers come in as arguments.

use std::{cmp::Reverse, collections::VecDeque};

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::{
    fetch::{Answer, EVENTS, News, Wish},
    filter::{self, Filter},
    list::List,
    picture::{Detail, Event, Incident, Key, Picture, Unit},
};

/// How long an answer may take before the picture is no longer called live, milliseconds.
const SLOW: u64 = 3000;

/// Which list keys move in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pane {
    Units,
    Incidents,
    Events,
}

/// In which order units stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    Worst,
    Name,
    /// Unheard for longest first.
    Heard,
    /// Changed last first.
    Since,
}

impl Order {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Worst => "worst first",
            Self::Name => "by name",
            Self::Heard => "longest unheard first",
            Self::Since => "newest verdict first",
        }
    }
}

/// What is looked at instead of lists.
#[derive(Clone, Debug)]
pub(super) enum Open {
    /// A unit, and what was told of it; an error in words where it is not known.
    Unit(Key, Option<Box<Result<Detail, String>>>),
    Incident(u64),
}

/// How fresh the picture is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Link {
    /// Nothing was heard yet.
    Connecting,
    Live,
    /// For so many milliseconds.
    Paused(u64),
    /// Nothing was heard for so many milliseconds, and why.
    Lost(u64, String),
}

/// What a key asks for beside what it does to the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Act {
    Nothing,
    Quit,
}

/// All that the screen shows.
#[derive(Debug)]
pub(super) struct Model {
    pub(super) url: String,
    interval_ms: u64,
    pub(super) picture: Option<Picture>,
    /// The newest first.
    pub(super) events: VecDeque<Event>,
    pub(super) events_problem: Option<String>,
    pub(super) pane: Pane,
    pub(super) order: Order,
    pub(super) open: Option<Open>,
    /// How far what is open, or help, is scrolled.
    pub(super) scroll: u16,
    pub(super) help: bool,
    pub(super) filter: Filter,
    /// While a filter is being written: the one before.
    pub(super) typing: Option<Filter>,
    pub(super) units: List<Key>,
    pub(super) incidents: List<u64>,
    pub(super) log: List<u64>,
    now: u64,
    begun: u64,
    /// Since when an answer is waited for.
    asking: Option<u64>,
    /// As of when the picture is.
    came: Option<u64>,
    paused: Option<u64>,
    problem: Option<String>,
}

impl Model {
    /// A screen of what answers at `url`, which is asked each `interval_ms`, at `now` in milliseconds on any clock.
    pub(super) fn new(url: String, interval_ms: u64, now: u64) -> Self {
        Self {
            url,
            interval_ms,
            picture: None,
            events: VecDeque::new(),
            events_problem: None,
            pane: Pane::Units,
            order: Order::Worst,
            open: None,
            scroll: 0,
            help: false,
            filter: Filter::default(),
            typing: None,
            units: List::default(),
            incidents: List::default(),
            log: List::default(),
            now,
            begun: now,
            asking: None,
            came: None,
            paused: None,
            problem: None,
        }
    }

    /// It is later.
    pub(super) fn tick(&mut self, now: u64) {
        self.now = self.now.max(now);
    }

    /// What is to be asked for next.
    pub(super) fn wish(&self) -> Wish {
        let detail = match &self.open {
            Some(Open::Unit(key, _)) => Some(key.clone()),
            _ => None,
        };
        Wish { filter: self.filter.clone(), detail, paused: self.paused.is_some() }
    }

    /// How fresh the picture is.
    pub(super) fn link(&self) -> Link {
        let age = self.now.saturating_sub(self.came.unwrap_or(self.begun));
        let slow = self.asking.is_some_and(|since| self.now.saturating_sub(since) > SLOW.max(self.interval_ms));
        match (self.paused, &self.problem) {
            (Some(since), _) if self.came.is_some() => {
                Link::Paused(self.now.saturating_sub(self.came.unwrap_or(since)))
            }
            (_, Some(problem)) => Link::Lost(age, problem.clone()),
            (_, None) if slow => Link::Lost(age, "no answer comes".to_owned()),
            (_, None) if self.came.is_none() => Link::Connecting,
            (_, None) => Link::Live,
        }
    }

    /// Takes in what was heard.
    pub(super) fn hear(&mut self, news: News) {
        match news {
            News::Asking => self.asking = Some(self.now),
            News::Problem(problem) => (self.asking, self.problem) = (None, Some(problem)),
            News::Answer(answer) => self.answered(*answer),
        }
    }

    fn answered(&mut self, answer: Answer) {
        let Answer { picture, events, events_problem, anew, detail } = answer;
        let as_of = self.asking.take();
        self.keep_events(anew, events);
        self.problem = None;
        if self.paused.is_some() && self.came.is_some() {
            return;
        }
        self.came = Some(as_of.unwrap_or(self.now));
        self.picture = Some(picture);
        self.events_problem = events_problem;
        if let (Some(Open::Unit(key, told)), Some((whose, detail))) = (&mut self.open, detail)
            && *key == whose
        {
            *told = Some(Box::new(detail));
        }
        self.settle();
    }

    fn keep_events(&mut self, anew: bool, events: Vec<Event>) {
        if anew {
            self.events.clear();
        }
        for event in events {
            self.events.push_front(event);
        }
        self.events.truncate(EVENTS);
    }

    /// Works out anew what each list shows.
    fn settle(&mut self) {
        let (filter, order) = (&self.filter, self.order);
        let picture = self.picture.as_ref();
        let mut units: Vec<&Unit> =
            picture.iter().flat_map(|picture| &picture.units).filter(|unit| filter.fits(unit)).collect();
        match order {
            Order::Worst => {}
            Order::Name => units.sort_by(|a, b| a.key.cmp(&b.key)),
            Order::Heard => units.sort_by_key(|unit| Reverse(unit.heard_ms)),
            Order::Since => units.sort_by_key(|unit| unit.since_ms.unwrap_or(u64::MAX)),
        }
        self.units.show(units.into_iter().map(|unit| unit.key.clone()).collect());
        let incidents = picture.iter().flat_map(|picture| &picture.incidents);
        self.incidents.show(incidents.filter(|one| filter.fits_incident(one)).map(|one| one.id).collect());
        self.log.show(self.events.iter().filter(|one| filter.fits_event(one)).map(|one| one.id).collect());
    }

    /// The unit of this key, in the picture.
    pub(super) fn unit(&self, key: &Key) -> Option<&Unit> {
        self.picture.as_ref()?.units.iter().find(|unit| unit.key == *key)
    }

    /// The incident of this number, in the picture.
    pub(super) fn incident(&self, id: u64) -> Option<&Incident> {
        self.picture.as_ref()?.incidents.iter().find(|one| one.id == id)
    }

    /// Whether there are incidents to look at: only relays make them.
    pub(super) fn has_incidents(&self) -> bool {
        self.picture.as_ref().is_none_or(|picture| picture.is_relay)
    }

    /// Does what a key says.
    pub(super) fn on_key(&mut self, key: KeyEvent) -> Act {
        if key.kind == KeyEventKind::Release {
            return Act::Nothing;
        }
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        if control && key.code == KeyCode::Char('c') {
            return Act::Quit;
        }
        if let Some(before) = self.typing.take() {
            self.typed(key, before);
            return Act::Nothing;
        }
        match key.code {
            KeyCode::Char('q') => return Act::Quit,
            _ if self.help => self.in_text(key.code),
            KeyCode::Char('?' | 'h') => (self.help, self.scroll) = (true, 0),
            KeyCode::Char('p' | ' ') => self.paused = if self.paused.is_some() { None } else { Some(self.now) },
            _ if self.open.is_some() => self.in_text(key.code),
            code => self.in_lists(code, control),
        }
        Act::Nothing
    }

    /// A key while a filter is written. The lists follow each letter.
    fn typed(&mut self, key: KeyEvent, before: Filter) {
        let mut text = self.filter.text().to_owned();
        match key.code {
            KeyCode::Enter => return,
            KeyCode::Esc => {
                self.filter = before;
                return self.settle();
            }
            KeyCode::Backspace => _ = text.pop(),
            KeyCode::Char('u') if key.modifiers.contains(KeyModifiers::CONTROL) => text.clear(),
            KeyCode::Char(c) if !c.is_control() && text.len() + c.len_utf8() <= filter::LONGEST => text.push(c),
            _ => {}
        }
        self.typing = Some(before);
        if text != self.filter.text() {
            self.filter = Filter::new(&text);
            self.settle();
        }
    }

    /// A key while help or one unit or incident is shown.
    fn in_text(&mut self, code: KeyCode) {
        match code {
            KeyCode::Up | KeyCode::Char('k') => self.scroll = self.scroll.saturating_sub(1),
            KeyCode::Down | KeyCode::Char('j') => self.scroll = self.scroll.saturating_add(1),
            KeyCode::PageUp => self.scroll = self.scroll.saturating_sub(10),
            KeyCode::PageDown => self.scroll = self.scroll.saturating_add(10),
            KeyCode::Home => self.scroll = 0,
            KeyCode::End => self.scroll = u16::MAX,
            KeyCode::Esc | KeyCode::Backspace | KeyCode::Left | KeyCode::Char('?') => {
                self.scroll = 0;
                if !std::mem::take(&mut self.help) {
                    self.open = None;
                }
            }
            _ => {}
        }
    }

    fn in_lists(&mut self, code: KeyCode, control: bool) {
        match code {
            KeyCode::Up | KeyCode::Char('k') => self.step(-1),
            KeyCode::Down | KeyCode::Char('j') => self.step(1),
            KeyCode::PageUp => self.step(-self.page()),
            KeyCode::PageDown => self.step(self.page()),
            KeyCode::Char('u') if control => self.step(-self.page() / 2),
            KeyCode::Char('d') if control => self.step(self.page() / 2),
            KeyCode::Home | KeyCode::Char('g') => self.step(isize::MIN),
            KeyCode::End | KeyCode::Char('G') => self.step(isize::MAX),
            KeyCode::Char('1') => self.pane = Pane::Units,
            KeyCode::Char('2') if self.has_incidents() => self.pane = Pane::Incidents,
            KeyCode::Char('3') => self.pane = Pane::Events,
            KeyCode::Tab => self.pane = self.next_pane(),
            // The other way round is the same way twice.
            KeyCode::BackTab if self.has_incidents() => (0..2).for_each(|_| self.pane = self.next_pane()),
            KeyCode::BackTab => self.pane = self.next_pane(),
            KeyCode::Char('/') => self.typing = Some(self.filter.clone()),
            KeyCode::Esc if !self.filter.is_empty() => {
                self.filter = Filter::default();
                self.settle();
            }
            KeyCode::Char('s') => {
                self.order = self.next_order();
                self.settle();
            }
            KeyCode::Enter | KeyCode::Right => self.enter(),
            _ => {}
        }
    }

    fn next_pane(&self) -> Pane {
        match self.pane {
            Pane::Units if self.has_incidents() => Pane::Incidents,
            Pane::Units | Pane::Incidents => Pane::Events,
            Pane::Events => Pane::Units,
        }
    }

    fn next_order(&self) -> Order {
        // An observer does not say since when.
        let knows_since = self.picture.as_ref().is_some_and(|picture| picture.is_relay);
        match self.order {
            Order::Worst => Order::Name,
            Order::Name => Order::Heard,
            Order::Heard if knows_since => Order::Since,
            Order::Heard | Order::Since => Order::Worst,
        }
    }

    fn page(&self) -> isize {
        let page = match self.pane {
            Pane::Units => self.units.page(),
            Pane::Incidents => self.incidents.page(),
            Pane::Events => self.log.page(),
        };
        isize::try_from(page).unwrap_or(1).max(1)
    }

    fn step(&mut self, by: isize) {
        match self.pane {
            Pane::Units => self.units.step(by),
            Pane::Incidents => self.incidents.step(by),
            Pane::Events => self.log.step(by),
        }
    }

    fn enter(&mut self) {
        let unit = |key: Key| Open::Unit(key, None);
        let open = match self.pane {
            Pane::Units => self.units.chosen().cloned().map(unit),
            Pane::Incidents => self.incidents.chosen().copied().map(Open::Incident),
            Pane::Events => {
                let chosen = self.log.chosen().copied();
                let event = chosen.and_then(|id| self.events.iter().find(|event| event.id == id));
                event.and_then(|event| match (&event.unit, event.incident) {
                    (Some(key), _) => Some(unit(key.clone())),
                    (None, Some(id)) => Some(Open::Incident(id)),
                    (None, None) => None,
                })
            }
        };
        if open.is_some() {
            (self.open, self.scroll) = (open, 0);
        }
    }
}

#[cfg(test)]
mod tests;
