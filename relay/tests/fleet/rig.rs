//! A fleet, a clock, and observers that say what they are told to.

use varta_relay::fleet::{Allowance, Change, Fleet, Limits, LinkId, Pattern, Reaction, Settings, UnitKey, UnitView};
use varta_vlp::{
    frame::Status,
    key::{Name, UnitId},
    report::{Draft, Entry, FromObserver, Hello, Item, Touch},
    sealed::{METADATA_MAX_LEN, Metadata},
    subject::{Class, Owner, Verdict},
    time::{MILLI, MonoNs, Now, SECOND, WallNs},
};

pub(crate) const START: u64 = 1_800_000_000 * SECOND;

/// One slot as an observer would tell it.
#[derive(Clone, Debug)]
pub(crate) struct Slot {
    pub(crate) handle: u32,
    pub(crate) agent: String,
    pub(crate) unit: String,
    pub(crate) pid: u32,
    pub(crate) owner: Option<Owner>,
    pub(crate) verdict: Verdict,
    pub(crate) ended: bool,
    pub(crate) age_ms: Option<u32>,
    pub(crate) span_ms: Option<u32>,
    pub(crate) since_ms: Option<u32>,
    pub(crate) why: String,
    pub(crate) labels: Vec<(String, String)>,
}

/// A unit of an agent that is up.
pub(crate) fn up(handle: u32, agent: &str, unit: &str) -> Slot {
    Slot {
        handle,
        agent: agent.to_owned(),
        unit: unit.to_owned(),
        pid: 4000 + handle,
        owner: None,
        verdict: Verdict::Up,
        ended: false,
        age_ms: Some(100),
        span_ms: Some(2000),
        since_ms: None,
        why: String::new(),
        labels: Vec::new(),
    }
}

impl Slot {
    pub(crate) fn verdict(mut self, verdict: Verdict) -> Self {
        self.verdict = verdict;
        if verdict != Verdict::Up {
            self.why = format!("it is {}", verdict.name());
        }
        self
    }

    pub(crate) fn age(mut self, ms: u32) -> Self {
        self.age_ms = Some(ms);
        self
    }

    pub(crate) fn ended(mut self) -> Self {
        (self.verdict, self.ended) = (Verdict::Critical, true);
        self
    }

    pub(crate) fn label(mut self, key: &str, value: &str) -> Self {
        self.labels.push((key.to_owned(), value.to_owned()));
        self.labels.sort();
        self
    }

    /// The place of an agent in the roster that was never heard.
    pub(crate) fn missing(place: u32, agent: &str) -> Self {
        let slot = up(place | 1 << 31, agent, "").verdict(Verdict::Missing);
        Self { pid: 0, age_ms: None, span_ms: None, ..slot }
    }

    fn with<T>(&self, with: impl FnOnce(Item<'_>) -> T) -> T {
        let mut room = [0; METADATA_MAX_LEN];
        let pairs = self.labels.iter().map(|(key, value)| (&**key, &**value));
        let labels = (!self.labels.is_empty()).then(|| Metadata::write(pairs, &mut room).unwrap());
        let agent = Name::new(&self.agent).ok().filter(|_| self.owner.is_none());
        let unit = Name::new(&self.unit).ok();
        with(Item::Entry(Entry {
            handle: self.handle,
            owner: self.owner.unwrap_or_else(|| Owner::Agent(agent.unwrap().agent_id())),
            unit: unit.map_or(UnitId::NONE, Name::unit_id),
            pid: self.pid,
            verdict: self.verdict,
            status: Status::Ok,
            class: Class::NetworkVerified,
            ended: self.ended,
            payload: 7,
            age_ms: self.age_ms,
            span_ms: self.span_ms,
            since_ms: self.since_ms,
            session: 1,
            restarts: 0,
            stalls: 0,
            beats: 1,
            lag_us: 5,
            agent_name: agent,
            unit_name: unit,
            why: &self.why,
            labels,
        }))
    }
}

/// One observer's side of its link.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    pub(crate) name: String,
    pub(crate) boot: u64,
    pub(crate) link: Option<LinkId>,
    pub(crate) seq: u64,
    pub(crate) acked: u64,
}

impl Told {
    pub(crate) fn new(name: &str, boot: u64) -> Self {
        Self { name: name.to_owned(), boot, link: None, seq: 0, acked: 0 }
    }
}

pub(crate) struct Rig {
    pub(crate) fleet: Fleet,
    pub(crate) now: Now,
    pub(crate) changes: Vec<Change>,
}

pub(crate) fn allow(name: &str) -> Allowance {
    Allowance { name: name.to_owned(), agents: vec![Pattern::new("*")], site: None }
}

impl Rig {
    /// A relay that lets these observers report everything.
    pub(crate) fn new(observers: &[&str]) -> Self {
        Self::with(observers.iter().map(|name| allow(name)).collect(), Limits::default(), Settings::default())
    }

    pub(crate) fn with(allowed: Vec<Allowance>, limits: Limits, settings: Settings) -> Self {
        let now = Now { mono: MonoNs(1000 * SECOND), wall: WallNs(START) };
        let mut fleet = Fleet::new(now, limits, settings);
        fleet.set_allowed(now, &allowed);
        Self { fleet, now, changes: Vec::new() }
    }

    fn collect(&mut self) {
        while let Some(change) = self.fleet.poll_change() {
            self.changes.push(change);
        }
    }

    /// Time passes, and everything is done when it is due.
    pub(crate) fn pass(&mut self, ms: u64) {
        let end = self.now.mono.after(ms * MILLI);
        loop {
            let due = self.fleet.poll_timeout();
            let next = due.max(self.now.mono).min(end);
            let passed = next.since(self.now.mono);
            self.now = Now { mono: next, wall: self.now.wall.after(passed) };
            if due > end {
                break;
            }
            self.fleet.handle_timeout(self.now);
            self.collect();
        }
        self.now.mono = end;
    }

    pub(crate) fn connect(&mut self, told: &mut Told) -> u64 {
        let hello =
            Hello { observer: Name::new(&told.name).unwrap(), boot: told.boot, acked: told.acked, version: "1" };
        let (link, held) = self.fleet.connect(self.now, &told.name, "10.0.0.1:1".to_owned(), &hello).unwrap();
        told.link = Some(link);
        if held > 0 {
            told.seq = held;
        }
        self.collect();
        held
    }

    pub(crate) fn disconnect(&mut self, told: &mut Told) {
        if let Some(link) = told.link.take() {
            self.fleet.disconnect(self.now, link, false);
        }
        self.collect();
    }

    pub(crate) fn say(&mut self, told: &mut Told, message: &[u8]) -> Reaction {
        let message = FromObserver::parse(&message[4..]).unwrap();
        let reaction = self.fleet.handle(self.now, told.link.unwrap(), &message);
        if let Reaction::Ack(seq) = reaction {
            told.acked = told.acked.max(seq);
        }
        self.collect();
        reaction
    }

    fn items(&mut self, told: &mut Told, fill: impl FnOnce(&mut Draft<'_>)) -> Reaction {
        let mut room = vec![0; Draft::ROOM];
        told.seq += 1;
        let mut draft = Draft::new(&mut room, told.seq).unwrap();
        fill(&mut draft);
        let len = draft.finish();
        self.say(told, &room[..len])
    }

    pub(crate) fn tell(&mut self, told: &mut Told, slots: &[Slot]) -> Reaction {
        self.items(told, |draft| slots.iter().for_each(|slot| slot.with(|item| draft.push(&item).unwrap())))
    }

    pub(crate) fn gone(&mut self, told: &mut Told, handle: u32) -> Reaction {
        self.items(told, |draft| draft.push(&Item::Gone(handle)).unwrap())
    }

    pub(crate) fn touch(&mut self, told: &mut Told, handle: u32, age_ms: u32) -> Reaction {
        let touch = Touch { handle, age_ms: Some(age_ms), span_ms: Some(2000), payload: 8, lag_us: 6 };
        self.items(told, |draft| draft.push(&Item::Touch(touch)).unwrap())
    }

    pub(crate) fn begin(&mut self, told: &mut Told) -> Reaction {
        let mut room = [0; 64];
        told.seq += 1;
        let len = FromObserver::Snapshot { seq: told.seq }.write(&mut room).unwrap();
        self.say(told, &room[..len])
    }

    pub(crate) fn end(&mut self, told: &mut Told) -> Reaction {
        let mut room = [0; 64];
        told.seq += 1;
        let len = FromObserver::End { seq: told.seq }.write(&mut room).unwrap();
        self.say(told, &room[..len])
    }

    /// An observer that is connected and has told these slots.
    pub(crate) fn observer(&mut self, name: &str, slots: &[Slot]) -> Told {
        let mut told = Told::new(name, 1);
        self.connect(&mut told);
        self.snapshot(&mut told, slots);
        told
    }

    pub(crate) fn snapshot(&mut self, told: &mut Told, slots: &[Slot]) {
        self.begin(told);
        for slots in slots.chunks(100) {
            self.tell(told, slots);
        }
        self.end(told);
        self.pass(0);
    }

    pub(crate) fn unit(&self, agent: &str, unit: &str) -> Option<UnitView<'_>> {
        let key = UnitKey {
            owner: Owner::Agent(Name::new(agent).unwrap().agent_id()),
            unit: Name::new(unit).map_or(UnitId::NONE, Name::unit_id),
            pid: 0,
            observer: UnitKey::SHARED,
        };
        self.fleet.unit(&key)
    }

    pub(crate) fn verdict(&self, agent: &str, unit: &str) -> Option<Verdict> {
        self.unit(agent, unit).map(|unit| unit.verdict())
    }

    /// Open incidents that were told, by title.
    pub(crate) fn open(&self) -> Vec<String> {
        let mut titles: Vec<_> = self.fleet.open_incidents().iter().map(|incident| incident.title.clone()).collect();
        titles.sort();
        titles
    }

    /// Incidents told as opened and as closed.
    pub(crate) fn told(&self) -> (usize, usize) {
        let count = |wanted: fn(&Change) -> bool| self.changes.iter().filter(|change| wanted(change)).count();
        (count(|change| matches!(change, Change::Opened(_))), count(|change| matches!(change, Change::Closed(_))))
    }
}
