//! What observers say to a relay: as bytes, and before a live fleet.

use varta_relay::fleet::{Allowance, Change, Filter, Fleet, Limits, LinkId, Pattern, Reaction, Settings};
use varta_vlp::{
    Status,
    key::{Name, UnitId},
    report::{Draft, Entry, FromObserver, FromRelay, Hello, Item, Touch},
    subject::{Class, Owner, Verdict},
    time::{MILLI, MonoNs, Now, SECOND, WallNs},
};

use super::input::Input;

const OBSERVERS: [&str; 2] = ["obs-1", "obs-2"];
const AGENTS: [&str; 4] = ["web-1", "web-2", "db-1", "foreign"];
const UNITS: [&str; 3] = ["api", "db", ""];
const LIMITS: Limits = Limits { units: 8, slots: 64, label_sets: 4, incidents: 3, incidents_kept: 2, silences: 1 };

/// What is read has one form.
fn check_bytes(bytes: &[u8]) {
    let mut room = vec![0; Draft::ROOM];
    if let Ok(message) = FromObserver::parse(bytes) {
        if let FromObserver::Items { items, .. } = message
            && items.iter().any(|item| item.is_err())
        {
            return;
        }
        if let Ok(len) = message.write(&mut room) {
            assert_eq!(&room[4..len], bytes);
        }
    }
    if let Ok(message) = FromRelay::parse(bytes) {
        let len = message.write(&mut room).expect("what was read can be written");
        assert_eq!(&room[4..len], bytes);
    }
}

struct World {
    fleet: Fleet,
    now: Now,
    links: [Option<LinkId>; 2],
    seqs: [u64; 2],
    told: Vec<Change>,
}

impl World {
    fn new() -> Self {
        let now = Now { mono: MonoNs(50 * SECOND), wall: WallNs(1_800_000_000 * SECOND) };
        let mut fleet = Fleet::new(now, LIMITS, Settings::default());
        fleet.set_allowed(now, &allowances());
        Self { fleet, now, links: [None; 2], seqs: [0; 2], told: Vec::new() }
    }

    fn collect(&mut self) {
        self.told.extend(std::iter::from_fn(|| self.fleet.poll_change()));
    }

    fn pass(&mut self, ms: u64) {
        let end = self.now.mono.after(ms * MILLI);
        while self.fleet.poll_timeout() <= end {
            let next = self.fleet.poll_timeout().max(self.now.mono);
            self.now = Now { mono: next, wall: self.now.wall.after(next.since(self.now.mono)) };
            self.fleet.handle_timeout(self.now);
            self.collect();
        }
        self.now = Now { mono: end, wall: self.now.wall.after(end.since(self.now.mono)) };
    }

    fn say(&mut self, observer: usize, message: &[u8]) {
        let (Some(link), Ok(message)) = (self.links[observer], FromObserver::parse(message)) else { return };
        match self.fleet.handle(self.now, link, &message) {
            Reaction::Close(_) => {
                self.fleet.disconnect(self.now, link, false);
                self.links[observer] = None;
            }
            Reaction::Ack(seq) => self.seqs[observer] = seq,
            Reaction::Nothing | Reaction::Resync => {}
        }
        self.collect();
    }

    fn step(&mut self, input: &mut Input<'_>) {
        let observer = input.below(2);
        let mut room = vec![0; Draft::ROOM];
        let seq = self.seqs[observer] + u64::from(input.byte() % 8 != 7);
        let len = match input.byte() % 10 {
            0 => {
                let boot = u64::from(input.byte() % 3);
                let name = Name::new(OBSERVERS[observer]).expect("a name");
                let hello = Hello { observer: name, boot, acked: 0, version: "" };
                if let Ok((link, held)) = self.fleet.connect(self.now, OBSERVERS[observer], String::new(), &hello) {
                    self.links[observer] = Some(link);
                    self.seqs[observer] = self.seqs[observer].max(held);
                }
                self.collect();
                return;
            }
            1 => {
                if let Some(link) = self.links[observer].take() {
                    self.fleet.disconnect(self.now, link, input.flag());
                }
                self.collect();
                return;
            }
            2 => return self.pass(u64::from(input.short())),
            3 => {
                let bytes = input.bytes(48);
                let message = [&[1, 3][..], &seq.to_le_bytes(), bytes].concat();
                return self.say(observer, &message);
            }
            4 => FromObserver::Snapshot { seq }.write(&mut room).expect("room"),
            5 => FromObserver::End { seq }.write(&mut room).expect("room"),
            6 => {
                self.fleet.set_allowed(self.now, &allowances()[..1 + input.below(2)]);
                self.collect();
                return;
            }
            _ => items(input, seq, &mut room),
        };
        self.say(observer, &room[4..len]);
    }

    fn check(&self) {
        let mut counted = [0; Verdict::ALL.len()];
        let (mut disputed, mut units) = (0, 0);
        let end = self.fleet.units(0, u32::MAX, &Filter::default(), |unit| {
            counted[unit.verdict() as usize] += 1;
            disputed += u32::from(unit.is_disputed());
            units += 1;
            let name = unit.name();
            assert!(name.agent != "foreign" && unit.views().count() <= 2 * OBSERVERS.len(), "{name:?}");
            true
        });
        let counts = self.fleet.counts();
        assert_eq!((end, counted, disputed), (None, counts.verdicts, counts.disputed), "counts and a recount");
        assert!(units <= LIMITS.units && counts.incidents <= LIMITS.incidents);
        assert!(self.fleet.closed_incidents().count() <= LIMITS.incidents_kept);
    }
}

fn allowances() -> [Allowance; 2] {
    OBSERVERS.map(|name| Allowance {
        name: name.to_owned(),
        agents: ["web-*", "db-*", "local"].map(Pattern::new).into(),
        site: None,
    })
}

fn items(input: &mut Input<'_>, seq: u64, room: &mut [u8]) -> usize {
    let mut draft = Draft::new(room, seq).expect("room");
    for _ in 0..1 + input.below(3) {
        let handle = u32::from(input.byte() % 16) | (u32::from(input.byte() % 4 == 3) << 31);
        let age_ms = input.flag().then(|| input.word() % 10_000);
        let span_ms = input.flag().then(|| input.word() % 5000);
        let item = match input.byte() % 6 {
            0 => Item::Gone(handle),
            1 => Item::Touch(Touch { handle, age_ms, span_ms, payload: 0, lag_us: 0 }),
            _ => {
                let agent = Name::new(input.pick(&AGENTS)).expect("a name");
                let unit = Name::new(input.pick(&UNITS)).ok();
                let owner = if input.byte() % 8 == 7 { Owner::Local } else { Owner::Agent(agent.agent_id()) };
                let verdict = input.pick(&Verdict::ALL);
                Item::Entry(Entry {
                    handle,
                    owner,
                    unit: unit.map_or(UnitId::NONE, Name::unit_id),
                    pid: u32::from(input.byte() % 4),
                    verdict,
                    status: Status::Ok,
                    class: Class::NetworkVerified,
                    ended: verdict == Verdict::Critical && input.flag(),
                    payload: 0,
                    age_ms,
                    span_ms,
                    since_ms: input.flag().then(|| input.word() % 10_000),
                    session: 0,
                    restarts: 0,
                    stalls: 0,
                    beats: 0,
                    lag_us: 0,
                    agent_name: Some(agent).filter(|_| owner != Owner::Local),
                    unit_name: unit,
                    why: "",
                    labels: None,
                })
            }
        };
        // What does not fit is no part of this.
        let _ = draft.push(&item);
    }
    draft.finish()
}

/// The body of the target.
///
/// # Panics
/// Where a property does not hold.
pub fn body(data: &[u8]) {
    let mut input = Input::new(data);
    if input.flag() {
        return check_bytes(input.rest());
    }
    let mut world = World::new();
    for _ in 0..64 {
        if input.is_empty() {
            break;
        }
        world.step(&mut input);
        world.check();
    }
    world.pass(120_000);
    world.check();
    let opened = world.told.iter().filter(|change| matches!(change, Change::Opened(_))).count();
    let closed = world.told.iter().filter(|change| matches!(change, Change::Closed(_))).count();
    assert_eq!(opened - closed, world.fleet.counts().incidents, "what was opened is open, or was closed");
}
