//! A feed against a receiver that believes everything, by seed: links end at any time, numbers go missing, the receiver
//! forgets. After quiet time it has what there is.

use std::collections::BTreeMap;

use varta_core::{Class, Owner, Verdict};
use varta_vlp::{AgentId, Status, UnitId, report::FromObserver};

use super::*;

fn entry(handle: u32, payload: u32) -> Entry<'static> {
    Entry {
        handle,
        owner: Owner::Agent(AgentId(handle.into())),
        unit: UnitId(1),
        pid: 1,
        verdict: Verdict::Up,
        status: Status::Ok,
        class: Class::NetworkVerified,
        ended: false,
        payload,
        age_ms: Some(0),
        span_ms: None,
        since_ms: None,
        session: 1,
        restarts: 0,
        stalls: 0,
        beats: 0,
        lag_us: 0,
        agent_name: None,
        unit_name: None,
        why: "",
        labels: None,
    }
}

/// Splits what was written into messages.
fn messages(out: &[u8]) -> Vec<&[u8]> {
    let mut rest = out;
    let mut all = Vec::new();
    while let Some((prefix, tail)) = rest.split_first_chunk() {
        let len = varta_vlp::report::message_len(*prefix).unwrap();
        let (message, tail) = tail.split_at(len);
        all.push(message);
        rest = tail;
    }
    all
}

/// A relay that believes everything.
#[derive(Default)]
struct Receiver {
    slots: BTreeMap<u32, u32>,
    held: u64,
    complete: bool,
    deaf: bool,
    seen: Option<Vec<u32>>,
}

enum Answer {
    Ack(u64),
    Resync,
    Nothing,
}

impl Receiver {
    fn take(&mut self, message: &[u8]) -> Answer {
        let seq = match FromObserver::parse(message).unwrap() {
            FromObserver::Snapshot { seq } => {
                (self.held, self.complete, self.deaf, self.seen) = (seq, false, false, Some(Vec::new()));
                return Answer::Ack(seq);
            }
            FromObserver::Items { seq, .. } | FromObserver::End { seq } => seq,
            other => panic!("{other:?}"),
        };
        if self.deaf {
            return Answer::Nothing;
        }
        if seq != self.held + 1 {
            (self.deaf, self.complete) = (true, false);
            return Answer::Resync;
        }
        self.held = seq;
        match FromObserver::parse(message).unwrap() {
            FromObserver::Items { items, .. } => items.iter().for_each(|item| self.apply(item.unwrap())),
            _ => {
                let seen = self.seen.take().unwrap();
                self.slots.retain(|handle, _| seen.contains(handle));
                self.complete = true;
            }
        }
        Answer::Ack(seq)
    }

    fn apply(&mut self, item: Item<'_>) {
        match item {
            Item::Entry(entry) => {
                self.slots.insert(entry.handle, entry.payload);
                self.seen.iter_mut().for_each(|seen| seen.push(entry.handle));
            }
            Item::Touch(touch) => {
                let slot = self.slots.get_mut(&touch.handle).expect("nobody touches what was not told");
                *slot = touch.payload;
            }
            Item::Gone(handle) => drop(self.slots.remove(&handle)),
        }
    }
}

struct World {
    feed: Feed,
    slots: BTreeMap<u32, u32>,
    receiver: Receiver,
    wire: VecDeque<Vec<u8>>,
    linked: bool,
    dice: u64,
}

const SLOTS: u32 = 700;

impl World {
    fn new(seed: u64) -> Self {
        Self {
            feed: Feed::new(1),
            slots: BTreeMap::new(),
            receiver: Receiver { deaf: true, ..Receiver::default() },
            wire: VecDeque::new(),
            linked: false,
            dice: seed,
        }
    }

    fn roll(&mut self, below: u64) -> u64 {
        self.dice = self.dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.dice >> 33) % below
    }

    fn link(&mut self) {
        self.cut();
        let held = if self.receiver.complete { self.receiver.held } else { 0 };
        self.receiver.deaf = held == 0;
        self.feed.welcomed(held);
        self.linked = true;
    }

    fn cut(&mut self) {
        self.wire.clear();
        self.feed.lost();
        self.linked = false;
    }

    /// The observer says one thing, if there is one.
    fn speak(&mut self) {
        self.feed.tell_touches().unwrap();
        match self.feed.next().unwrap() {
            Want::Nothing => {}
            Want::Rows(handles) => {
                if self.roll(10) == 0 {
                    return self.feed.give_back();
                }
                let entries: Vec<_> =
                    handles.iter().filter_map(|handle| Some(entry(*handle, *self.slots.get(handle)?))).collect();
                self.feed.tell_rows(&handles, entries).unwrap();
            }
            Want::Page(cursor) => {
                let from = u32::try_from(cursor).unwrap();
                let to = from + PAGE_ROWS;
                let entries: Vec<_> =
                    self.slots.range(from..to).map(|(handle, payload)| entry(*handle, *payload)).collect();
                let next = (to < SLOTS).then_some(u64::from(to));
                self.feed.tell_page(cursor, entries, next).unwrap();
            }
        }
        let out = std::mem::take(&mut self.feed.out);
        assert!(self.feed.in_flight() <= IN_FLIGHT + 8, "{} messages in flight", self.feed.in_flight());
        self.wire.extend(messages(&out).into_iter().map(<[u8]>::to_vec));
    }

    /// The receiver takes one message, and answers.
    fn hear(&mut self) {
        let Some(message) = self.wire.pop_front() else { return };
        match self.receiver.take(&message) {
            Answer::Ack(seq) => self.feed.taken(seq),
            Answer::Resync => self.feed.resync(),
            Answer::Nothing => {}
        }
    }

    fn change(&mut self) {
        let handle = u32::try_from(self.roll(u64::from(SLOTS))).unwrap();
        let payload = u32::try_from(self.roll(1000)).unwrap();
        match self.roll(4) {
            0 => {
                self.slots.remove(&handle);
            }
            1 if self.slots.contains_key(&handle) && !self.feed.is_dirty(handle) => {
                self.slots.insert(handle, payload);
                let touch = Touch { handle, age_ms: None, span_ms: None, payload, lag_us: 0 };
                // A touch may be dropped: then the next sweep tells it.
                self.feed.touch(touch);
                return self.feed.mark(handle);
            }
            _ => {
                self.slots.insert(handle, payload);
            }
        }
        self.feed.mark(handle);
    }

    fn step(&mut self) {
        match self.roll(100) {
            0..30 => self.change(),
            30..60 => self.speak(),
            60..92 => self.hear(),
            92..94 => self.link(),
            94 => self.cut(),
            // What no stream does: a message goes missing.
            95 => drop(self.wire.pop_front()),
            96 => self.receiver = Receiver { deaf: true, ..Receiver::default() },
            97 => self.feed.start_over(),
            _ => {}
        }
    }

    fn quiet(&mut self) {
        self.link();
        for _ in 0..2000 {
            self.speak();
            self.hear();
        }
    }
}

#[test]
fn after_quiet_time_the_receiver_has_what_there_is() {
    let mut resumed = 0;
    for seed in 0..300 {
        let mut world = World::new(seed);
        for _ in 0..3 {
            for _ in 0..400 {
                world.step();
            }
            let before = world.feed.snapshots;
            world.quiet();
            resumed += u32::from(world.feed.snapshots == before);
            assert_eq!(world.receiver.slots, world.slots, "seed {seed}");
            assert_eq!((world.feed.pending(), world.feed.in_flight()), (0, 0), "seed {seed}");
        }
    }
    assert!(resumed > 100, "links that went on where they were: {resumed}");
}

#[test]
fn a_receiver_that_takes_nothing_costs_a_window_and_a_set() {
    let mut world = World::new(7);
    world.link();
    for _ in 0..100_000 {
        world.change();
        world.speak();
    }
    assert!(world.feed.in_flight() <= IN_FLIGHT + 8 && world.wire.len() <= IN_FLIGHT + 8);
    assert!(world.feed.pending() <= SLOTS as usize);
    world.quiet();
    assert_eq!(world.receiver.slots, world.slots);
}

#[test]
fn what_the_relay_says_it_holds_decides() {
    let told = |held, sent| {
        let mut feed = Feed::new(1);
        (feed.sent, feed.acked, feed.snapshot) = (sent, sent - 1, Snapshot::Done);
        feed.welcomed(held);
        (feed.snapshot == Snapshot::Wanted, feed.sent)
    };
    assert_eq!(told(9, 9), (false, 9));
    assert_eq!(told(8, 9), (false, 8), "the last one did not come");
    assert_eq!(told(7, 9), (true, 9), "it has forgotten");
    assert_eq!(told(0, 9), (true, 9));
    assert_eq!(told(10, 9), (true, 9), "it knows another one");
}
