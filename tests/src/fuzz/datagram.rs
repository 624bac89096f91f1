//! A live core with known keys. A case is a list of steps: frames that are honest, bent or made of any bytes, all sealed
//! with keys that the core knows; sealed datagrams that are damaged, replayed, late or of another's key; clocks that move
//! and step; rosters, gaps, drops and restarts.
//!
//! Nothing is accepted that was not sealed so, breaks a rule of step 8, is not fresh, or was accepted before. What is
//! refused before it is opened changes nothing but a counter.

mod oracle;
mod sender;

use std::collections::{HashMap, HashSet};

use varta_core::{
    Core, Datagram, Labels, Limits, MILLI, MonoNs, Now, Origin, Outcome, Owner, Reject, Roster, RosterEntry, SECOND,
    Saved, Settings, Start, WallNs,
};
use varta_vlp::{AgentId, Generation, UnitId, open};

use super::{
    input::Input,
    watch::{assert_kept, assert_sane, core, saved, turn},
};
use oracle::{Legal, Sealed};
use sender::{AGENTS, Sender};

/// The observer's clocks at the start of a case.
const BOOT: u64 = 5000 * SECOND;
const EPOCH: u64 = 1_800_000_000 * SECOND;
/// Steps of one case, and datagrams kept to be sent again.
const STEPS: usize = 96;
const KEPT: usize = 48;

struct World {
    core: Core,
    mono: u64,
    wall: u64,
    /// The senders' boottime, which goes on while the observer is away.
    elsewhere: u64,
    /// What the disk holds.
    disk: Vec<Saved>,
    horizon: WallNs,
    senders: Vec<Sender>,
    sent: Vec<Sealed>,
    accepted: HashSet<Vec<u8>>,
    /// The largest accepted counter of each session: agent, unit or pid, and the session's start.
    counters: HashMap<(u64, u32, u32, u64), u64>,
    received: u64,
    /// Since when what is read may have waited for an observer that did not look.
    gap: Option<MonoNs>,
    /// Whether a turn has ended since.
    drained: bool,
    /// Agents taken back at the last start: the disk may still hold some that were forgotten.
    restored: usize,
}

/// Reasons of steps 1 to 7.
fn before_opening(reject: Reject) -> bool {
    matches!(
        reject,
        Reject::BadLength
            | Reject::BadMagic
            | Reject::BadVersion
            | Reject::BadKind
            | Reject::UnknownAudience
            | Reject::UnknownAgent
            | Reject::Revoked
            | Reject::RetiredGeneration
            | Reject::Expired
            | Reject::CounterRange
            | Reject::Shed
            | Reject::AuthFailure
    )
}

fn limits() -> Limits {
    Limits { agents: 4, slots_per_agent: 3, changes: 32, strangers_per_turn: 2, ..Limits::default() }
}

impl World {
    fn new(input: &mut Input<'_>) -> Self {
        let mut world = Self {
            core: core(Settings::default(), limits()),
            mono: BOOT,
            wall: EPOCH,
            elsewhere: BOOT,
            disk: Vec::new(),
            horizon: WallNs(0),
            gap: None,
            drained: false,
            senders: AGENTS.iter().enumerate().map(|(number, name)| Sender::new(name, number)).collect(),
            sent: Vec::new(),
            accepted: HashSet::new(),
            counters: HashMap::new(),
            received: 0,
            restored: 0,
        };
        let first = if input.flag() { Start::First } else { Start::Lost };
        let now = world.now();
        world.core.start(now, first, 0);
        world.raise(world.core.barrier());
        world.pass(input, 20 * SECOND);
        world
    }

    fn now(&self) -> Now {
        Now { mono: MonoNs(self.mono), wall: WallNs(self.wall) }
    }

    fn raise(&mut self, horizon: WallNs) {
        self.horizon = self.horizon.max(horizon);
        self.core.set_horizon(self.horizon);
    }

    fn advance(&mut self, ns: u64) {
        (self.mono, self.wall, self.elsewhere) = (self.mono + ns, self.wall + ns, self.elsewhere + ns);
    }

    /// Lets time pass; the core is called when it asked to be, or only at the end.
    fn pass(&mut self, input: &mut Input<'_>, ns: u64) {
        let end = self.mono + ns;
        let on_time = !input.byte().is_multiple_of(8);
        for _ in 0..32 {
            let at = self.core.poll_timeout().0.max(self.mono);
            if !on_time || at > end {
                break;
            }
            self.advance(at - self.mono);
            let now = self.now();
            turn(&mut self.core, now);
        }
        self.drained = true;
        self.advance(end - self.mono);
        let now = self.now();
        turn(&mut self.core, now);
    }

    /// Hands datagrams in together and judges what became of each.
    fn deliver(&mut self, batch: &[Sealed], attested: bool) {
        let now = self.now();
        let from = ([127, 0, 0, 1], 40_000).into();
        let origin = Origin { listener: usize::from(attested), attested, from };
        let mut rest = batch;
        while !rest.is_empty() {
            let unopened = rest.first().is_some_and(|first| !first.opens).then(|| self.picture());
            let before = if let [only] = rest { Some(self.session_before(only)) } else { None };
            let mut bytes: Vec<Vec<u8>> = rest.iter().map(|sealed| sealed.bytes.clone()).collect();
            let mut datagrams: Vec<_> = bytes.iter_mut().map(|bytes| Datagram { bytes, origin }).collect();
            let mut outcomes = Vec::new();
            if let [only] = datagrams.as_mut_slice() {
                outcomes.push(self.core.handle_datagram(now, origin, only.bytes));
            } else {
                self.core.handle_batch(now, &mut datagrams, &mut outcomes);
            }
            let (done, later) = rest.split_at(outcomes.len());
            assert!(!done.is_empty(), "nothing became of a batch");
            for (sealed, outcome) in done.iter().zip(&outcomes) {
                let outcome = match *outcome {
                    Outcome::Waiting(wanted) => {
                        assert!(wanted > self.horizon, "{wanted:?} waits under {:?}", self.horizon);
                        assert_eq!(self.core.resume(now), Some(Outcome::Waiting(wanted)), "the horizon is not raised");
                        self.raise(wanted.after(2 * SECOND));
                        self.core.resume(now).expect("a frame waits")
                    }
                    other => other,
                };
                self.judge(now, sealed, outcome, before);
            }
            if let ([_], Some(before)) = (rest, unopened) {
                assert_eq!(self.picture(), before, "a refusal before step 8 changed something");
            }
            rest = later;
        }
        self.received += batch.len() as u64;
        let counted: u64 = self.core.counters().listeners.iter().map(|listener| listener.received).sum();
        assert_eq!(counted, self.received, "each datagram is counted once");
        assert!(self.core.resume(now).is_none(), "nothing waits");
    }

    /// The session that the frame's slot is in, if it has a slot.
    fn session_before(&self, sealed: &Sealed) -> Option<u64> {
        let legal = sealed.opens.then(|| sealed.legal()).flatten()?;
        let slot = self.core.find(AgentId(legal.agent), UnitId(legal.unit), legal.pid)?;
        self.core.view(self.now(), slot).map(|row| row.session)
    }

    /// `before` is the session of the frame's slot before it came, if it had one, where it came alone.
    fn judge(&mut self, now: Now, sealed: &Sealed, outcome: Outcome, before: Option<Option<u64>>) {
        let settings = *self.core.settings();
        match outcome {
            Outcome::Accepted(beat) | Outcome::AcceptedLate(beat) => {
                let legal = sealed.opens.then(|| sealed.legal()).flatten();
                let legal = legal.unwrap_or_else(|| panic!("accepted against the rules: {:?}", sealed.refusal()));
                assert!(legal.counter < 1 << 48, "counter {}", legal.counter);
                assert!(legal.sent_at <= now.wall.after(settings.skew).0, "accepted from the future");
                let queued = self.gap.map_or(0, |from| now.mono.since(from));
                let oldest = legal.sent_at.saturating_add(2 * settings.skew + queued);
                assert!(oldest >= now.wall.0, "accepted when stale");
                assert!(WallNs(legal.sent_at) > self.core.barrier(), "accepted from before the barrier");
                assert!(WallNs(legal.sent_at) <= self.horizon, "accepted above the horizon");
                assert!(WallNs(legal.sent_at) <= self.core.newest_sent());
                assert_eq!(beat.subject.agent, Owner::Agent(AgentId(legal.agent)));
                assert_eq!((beat.subject.unit.0, beat.subject.pid), (legal.unit, legal.pid));
                assert_eq!((beat.nonce, beat.payload), (legal.nonce, legal.payload));
                assert!(self.accepted.insert(sealed.bytes.clone()), "accepted twice");
                self.follow(&legal, matches!(outcome, Outcome::AcceptedLate(_)), before);
                let found = self.core.find(beat.subject.agent, beat.subject.unit, beat.subject.pid);
                assert_eq!(found, Some(beat.slot), "what was accepted has its slot");
            }
            Outcome::Rejected(reject) => {
                assert!(sealed.opens || before_opening(reject), "{reject:?} of what does not open");
                let told = match reject {
                    Reject::BadLength | Reject::BadMagic | Reject::BadVersion | Reject::BadKind => Some(reject),
                    Reject::AuthFailure => {
                        assert!(!sealed.opens, "a datagram sealed with its agent's key does not open");
                        None
                    }
                    Reject::Decode(_)
                    | Reject::BadFlags
                    | Reject::BadMetadata
                    | Reject::NameMismatch
                    | Reject::BadTimes
                        if sealed.opens =>
                    {
                        // A unit's name that another already has is a mismatch that the frame alone does not show.
                        (reject != Reject::NameMismatch || sealed.refusal().is_some()).then_some(reject)
                    }
                    _ => None,
                };
                if let Some(told) = told {
                    assert_eq!(sealed.refusal(), Some(told), "told for another reason than the first");
                }
            }
            Outcome::Waiting(horizon) => panic!("waits under a horizon of {horizon:?}"),
        }
    }

    /// Sessions of a slot go forwards, and so do the counters within one, but for late ones inside the window.
    fn follow(&mut self, legal: &Legal, late: bool, before: Option<Option<u64>>) {
        let (start, counter) = (legal.session_start, legal.counter);
        let session = (legal.agent, legal.unit, if legal.unit == 0 { legal.pid } else { 0 }, start);
        let Some(before) = before else {
            // What the slot was in the middle of a batch is not known here.
            self.counters.remove(&session);
            return;
        };
        assert!(late || before.is_none_or(|before| start >= before), "session {start} is life after {before:?}");
        if before.is_none() || !late && before != Some(start) {
            self.counters.insert(session, counter);
        }
        let largest = self.counters.entry(session).or_insert(counter);
        assert!(counter + 128 > *largest, "counter {counter} is below the window of {largest}");
        assert!(late || counter >= *largest, "counter {counter} is life after {largest}");
        *largest = (*largest).max(counter);
    }

    /// Everything that a datagram which is not opened must leave as it was.
    fn picture(&self) -> (Vec<Saved>, WallNs, MonoNs, bool, (usize, usize)) {
        let core = &self.core;
        (saved(core), core.newest_sent(), core.poll_timeout(), core.is_dirty(), core.sizes())
    }

    /// Takes down what changed, as the state on disk does.
    fn keep(&mut self, most: usize) {
        let disk = &mut self.disk;
        self.core.take_dirty(most, |saved| disk.push(saved));
    }

    fn restart(&mut self, input: &mut Input<'_>) {
        let (how, same_boot, away) = (input.byte() % 4, input.flag(), u64::from(input.short()) * 50 * MILLI);
        let run = self.core.blind_run();
        let stopped = MonoNs(self.mono);
        let barrier = self.core.barrier();
        if how < 2 {
            self.disk = saved(&self.core);
            assert_kept(&self.disk);
        }
        self.advance(away);
        if !same_boot {
            self.mono = BOOT;
        }
        if how >= 2 {
            // Of windows the disk may have less than there was; the barrier stands in for them.
            self.counters.clear();
        }
        let settings = *self.core.settings();
        let roster = self.core.roster().cloned();
        self.core = core(settings, limits());
        self.received = 0;
        self.gap = None;
        let start = match how {
            0 | 1 => Start::Clean { stopped, away, barrier },
            2 => Start::Crash { horizon: self.horizon, away },
            _ => {
                self.core.may_have_accepted(self.horizon);
                Start::Lost
            }
        };
        let records = if how == 3 { Vec::new() } else { self.disk.clone() };
        for record in &records {
            self.core.restore(record.clone(), same_boot);
        }
        let now = self.now();
        if input.flag() {
            self.core.set_roster(now, roster);
        }
        self.core.start(now, start, run);
        self.restored = self.core.sizes().1;
        self.disk = saved(&self.core);
        self.raise(self.core.barrier());
        turn(&mut self.core, now);
    }

    fn step(&mut self, input: &mut Input<'_>) {
        let what = input.byte();
        match what % 36 {
            0..=9 => {
                let sealed = self.compose(input, what >= 64);
                self.send(vec![sealed], what >= 160);
            }
            10 | 11 => {
                let count = 2 + input.below(5);
                let batch = (0..count).map(|_| self.compose(input, what >= 64)).collect();
                self.send(batch, false);
            }
            12 | 13 => {
                // Withheld: it may come later, or never.
                let sealed = self.compose(input, what >= 64);
                self.remember(sealed);
            }
            14..=16 => {
                if let Some(again) = self.chosen(input) {
                    self.deliver(&[again], what >= 128);
                }
            }
            17..=19 => {
                if let Some(sealed) = self.chosen(input) {
                    let damaged = sealed.damaged(input);
                    self.deliver(&[damaged], false);
                }
            }
            20 => {
                let any = Sealed::garbage(input.bytes(1300));
                self.deliver(&[any], false);
            }
            21..=23 => {
                let ns = u64::from(input.short()) * [MILLI, 10 * MILLI, 100 * MILLI, SECOND][usize::from(what / 64)];
                self.pass(input, ns);
            }
            24 => self.step_clock(input),
            25 => self.keep(1 + input.below(8)),
            26 => self.restart(input),
            27 => {
                let now = self.now();
                self.core.set_roster(now, roster(input, now));
            }
            28 => {
                let from = MonoNs(self.mono);
                self.advance(u64::from(input.short()) * 10 * MILLI);
                self.core.handle_gap(from, self.now());
                // Until the queue was empty once; of two gaps with nothing between them, from the first.
                self.gap.get_or_insert(from);
                self.drained = false;
            }
            29 => self.core.handle_drops(self.now(), input.odd() >> 16),
            30 => {
                let overloaded = input.flag();
                self.core.begin_turn(overloaded);
                self.gap = self.gap.filter(|_| overloaded || !self.drained);
            }
            31 => self.set_settings(input),
            32 | 33 => self.overtake(input),
            _ => self.crowd(input),
        }
    }

    /// The next frame of one sender, with these choices.
    fn next_of(&mut self, number: usize, choices: &[u8]) -> Sealed {
        let (wall, mono) = (self.wall, self.elsewhere);
        let sealed = self.senders[number].compose(&mut Input::new(choices), wall, mono, choices.len() > 1);
        self.remember(sealed.clone());
        sealed
    }

    /// A frame is overtaken by one of its session, of counters further on, or of the next session; then it comes, twice.
    fn overtake(&mut self, input: &mut Input<'_>) {
        let number = input.below(self.senders.len());
        let (choice, leap, renew) = (input.byte() & 0x0F, input.byte(), input.flag());
        let before = self.next_of(number, &[choice]);
        let leaping = [choice, 1, 0, 2, leap, 0];
        let after = if renew { self.next_of(number, &[choice | 0xF0]) } else { self.next_of(number, &leaping) };
        self.deliver(&[after], false);
        let wait = u64::from(input.byte()) * 50 * MILLI;
        self.pass(input, wait);
        self.deliver(std::slice::from_ref(&before), false);
        self.deliver(&[before], false);
    }

    /// One agent's units come, some of them leave, time passes, the clock may be set back as far, another unit wants a
    /// place, and all that was sent comes again.
    fn crowd(&mut self, input: &mut Input<'_>) {
        let number = input.below(self.senders.len());
        let mut sent = Vec::new();
        for choice in 0..3 {
            let ends = input.flag();
            sent.push(if ends {
                self.next_of(number, &[choice, 16, 0, 1, 0])
            } else {
                self.next_of(number, &[choice])
            });
            self.deliver(&sent[sent.len() - 1..], false);
        }
        let ns = u64::from(input.byte()) * 200 * MILLI;
        self.pass(input, ns);
        if input.flag() {
            self.wall -= ns;
        }
        let another = self.next_of(number, &[3]);
        self.deliver(&[another], false);
        for sealed in &sent {
            self.deliver(std::slice::from_ref(sealed), false);
        }
    }

    fn step_clock(&mut self, input: &mut Input<'_>) {
        let by = u64::from(input.short()) * [MILLI, SECOND][usize::from(input.byte() % 2)];
        if input.flag() {
            self.wall += by;
        } else {
            self.wall = self.wall.saturating_sub(by).max(EPOCH / 2);
        }
    }

    fn set_settings(&mut self, input: &mut Input<'_>) {
        let mut settings = *self.core.settings();
        settings.threshold = 10 * MILLI + u64::from(input.short()) * MILLI;
        settings.misses = 1 + u32::from(input.byte() % 5);
        settings.margin = u64::from(input.short()) * MILLI;
        settings.max_promise = SECOND + u64::from(input.short()) * SECOND;
        settings.max_hold = SECOND + u64::from(input.short()) * SECOND;
        self.core.set_settings(settings);
    }

    fn compose(&mut self, input: &mut Input<'_>, bent: bool) -> Sealed {
        let number = input.below(self.senders.len());
        let (wall, mono) = (self.wall, self.elsewhere);
        self.senders[number].compose(input, wall, mono, bent)
    }

    fn remember(&mut self, sealed: Sealed) {
        if self.sent.len() == KEPT {
            self.sent.remove(0);
        }
        self.sent.push(sealed);
    }

    fn chosen(&self, input: &mut Input<'_>) -> Option<Sealed> {
        let place = input.below(self.sent.len());
        self.sent.get(place).cloned()
    }

    fn send(&mut self, batch: Vec<Sealed>, attested: bool) {
        self.deliver(&batch, attested);
        batch.into_iter().for_each(|sealed| self.remember(sealed));
    }

    fn check(&self) {
        assert_sane(&self.core, self.now());
        let (slots, agents) = self.core.sizes();
        let most = self.restored.max(limits().agents as usize);
        assert!(agents <= most, "{agents} agents");
        assert!(slots <= most * limits().slots_per_agent as usize, "{slots} slots");
    }
}

fn roster(input: &mut Input<'_>, now: Now) -> Option<Roster> {
    if input.byte().is_multiple_of(4) {
        return None;
    }
    let entries = AGENTS.iter().filter_map(|name| {
        let has = input.byte();
        let expires = now.wall.after(u64::from(input.short()) * SECOND);
        let id = varta_vlp::key::Name::new(name).expect("a name").agent_id();
        (has & 1 == 0).then(|| {
            let entry = RosterEntry {
                name: (*name).into(),
                labels: Labels::from([("site".into(), "ams".into())]).into(),
                revoked: if has & 2 == 0 { Vec::new() } else { vec![Generation(1 + u32::from(has & 4))] },
                expires: (has & 8 != 0).then_some(expires),
                required: has & 16 != 0,
                recovery: has & 32 != 0,
                max_promise: (has & 64 != 0).then_some(7200 * SECOND),
                return_within: (has & 128 != 0).then_some(5 * SECOND),
                ..RosterEntry::default()
            };
            (id, entry)
        })
    });
    Some(Roster::new(entries.collect::<Vec<_>>()))
}

/// Runs the steps that the bytes choose.
pub fn body(data: &[u8]) {
    let mut input = Input::new(data);
    let mut world = World::new(&mut input);
    for _ in 0..STEPS {
        if input.is_empty() {
            break;
        }
        world.step(&mut input);
        world.check();
    }
    // The tag is where the datagram ends, whatever it is.
    for sealed in &world.sent {
        assert_eq!(
            open::tag(&sealed.bytes).map(|tag| tag.as_slice()),
            sealed.bytes.last_chunk::<16>().map(|tag| &tag[..])
        );
    }
    let day = 86_400 * SECOND;
    world.pass(&mut Input::new(&[1]), 9 * day);
    world.check();
    assert_kept(&saved(&world.core));
}
