//! What happened, once and for all detectors: when each beat was planned, sent and received, and when the observer was
//! held up.

use super::{
    Ns,
    random::Random,
    units::SECOND,
    worlds::{Path, SenderStalls, World},
};

/// One beat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Beat {
    /// Its place in the sender's plan: it was planned for `number * every`.
    pub(super) number: u32,
    pub(super) sent: Ns,
    /// How late against the plan, nanoseconds.
    pub(super) lag: Ns,
    /// When it came in; [`LOST`] if never.
    pub(super) arrives: Ns,
}

/// The arrival of what does not arrive.
pub(super) const LOST: Ns = Ns::MAX;

/// From, until.
pub(super) type Span = (Ns, Ns);

/// The beats of one sender in one world.
pub(super) struct Trace {
    pub(super) beats: Vec<Beat>,
    /// When the path carried nothing.
    pub(super) outages: Vec<Span>,
    pub(super) end: Ns,
}

impl Trace {
    /// A sender that lives until `end`. What is sent in an outage is lost.
    pub(super) fn new(world: &World, seed: u64, end: Ns, outages: Vec<Span>) -> Self {
        let mut path = Path::new(world, Random::new(seed, 1));
        let mut sender = Sender::new(world, Random::new(seed, 2));
        let mut beats = Vec::with_capacity(usize::try_from(end / world.every + 1).unwrap_or_default());
        let mut coming = outages.iter().peekable();
        loop {
            let (number, sent, lag) = sender.next();
            if sent >= end {
                return Self { beats, outages, end };
            }
            while coming.next_if(|(_, to)| *to <= sent).is_some() {}
            let out = coming.peek().is_some_and(|(from, _)| *from <= sent);
            let arrives = path.carry(sent).filter(|_| !out).unwrap_or(LOST);
            beats.push(Beat { number, sent, lag, arrives });
        }
    }

    /// The same beats until a death at `at`: what was sent before it arrives.
    pub(super) fn until(mut self, at: Ns) -> Self {
        self.beats.truncate(self.beats.partition_point(|beat| beat.sent < at));
        self
    }
}

/// `count` spans of one length, `period` apart, the first after `lead`.
pub(super) fn recurring(count: u32, lead: Ns, period: Ns, length: Ns) -> Vec<Span> {
    (0..Ns::from(count)).map(|number| lead + number * period).map(|from| (from, from + length)).collect()
}

/// The sender's plan and what becomes of it: it beats at multiples of its pace, is a little late as any process is, and
/// after a stall sends one beat for all that were due in it.
struct Sender {
    every: Ns,
    stalls: Option<SenderStalls>,
    random: Random,
    next: u32,
    stall: Span,
}

impl Sender {
    fn new(world: &World, random: Random) -> Self {
        let mut sender = Self { every: world.every, stalls: world.stalls, random, next: 1, stall: (0, 0) };
        sender.stall_again();
        sender
    }

    fn stall_again(&mut self) {
        self.stall = match self.stalls {
            None => (Ns::MAX, Ns::MAX),
            Some(SenderStalls { every, longest }) => {
                let from = self.stall.1 + self.random.exponential(every as f64) as Ns;
                (from, from + self.random.between(0.0, longest as f64) as Ns)
            }
        };
    }

    fn next(&mut self) -> (u32, Ns, Ns) {
        let planned = Ns::from(self.next) * self.every;
        while self.stall.1 <= planned {
            self.stall_again();
        }
        let free = if self.stall.0 <= planned { self.stall.1 } else { planned };
        // Below the pace, so that beats keep their order and their number.
        let late = (self.random.exponential(50_000.0) as Ns).min(self.every / 4);
        let sent = free + late;
        let number = u32::try_from(free / self.every).unwrap_or(u32::MAX);
        self.next = number + 1;
        (number, sent, sent - planned)
    }
}

/// When the observer's loop was held up.
#[derive(Clone, Default)]
pub(super) struct Stalls {
    spans: Vec<Span>,
    /// Whether the loop hears others too: then it turns up to the moment in which it is held up, and finds a datagram in
    /// its queue that came in just then. Else it may sleep into a stall, and not notice it.
    busy: bool,
}

impl Stalls {
    /// `count` of 0.1 to 30 s, each length as frequent as twice that length, with 30 to 60 s of sight between two.
    pub(super) fn injected(count: u32, seed: u64, lead: Ns) -> Self {
        let mut random = Random::new(seed, 3);
        let mut at = lead;
        let stalls = (0..count).map(|_| {
            let from = at + random.between(30.0, 60.0) as Ns * SECOND + random.between(0.0, SECOND as f64) as Ns;
            let to = from + stall_length(&mut random);
            at = to;
            (from, to)
        });
        Self { spans: stalls.collect(), busy: false }
    }

    pub(super) fn one(from: Ns, to: Ns) -> Self {
        Self { spans: vec![(from, to)], busy: false }
    }

    pub(super) fn busy(self, busy: bool) -> Self {
        Self { busy, ..self }
    }

    /// The last turn before the loop is held up, if it is to have one after `last`.
    pub(super) fn turn_before(&self, last: Ns) -> Option<Ns> {
        let place = self.spans.partition_point(|(from, _)| *from - 1 <= last);
        self.spans.get(place).filter(|_| self.busy).map(|(from, _)| from - 1)
    }

    /// When the first datagram came in that is found in the queue at `at`, the end of a stall, if others are heard too.
    pub(super) fn company(&self, at: Ns) -> Option<Ns> {
        let place = self.spans.partition_point(|(_, to)| *to < at);
        self.spans.get(place).filter(|(_, to)| self.busy && *to == at).map(|(from, _)| *from)
    }

    pub(super) fn end(&self) -> Ns {
        self.spans.last().map_or(0, |(_, to)| *to)
    }

    /// When the loop does what it should do at `at`.
    pub(super) fn served(&self, at: Ns) -> Ns {
        let place = self.spans.partition_point(|(_, to)| *to <= at);
        match self.spans.get(place) {
            Some((from, to)) if *from <= at => *to,
            _ => at,
        }
    }
}

/// From 0.1 to 30 s.
pub(super) fn stall_length(random: &mut Random) -> Ns {
    (random.log_between(0.1, 30.0) * SECOND as f64) as Ns
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detection::{
        units::{DAY, MILLI},
        worlds::WORLDS,
    };

    #[test]
    fn a_seed_is_a_trace_and_another_seed_another() {
        let trace = |seed| Trace::new(&WORLDS[1], seed, DAY / 100, vec![]).beats;
        assert_eq!(trace(1), trace(1));
        assert_ne!(trace(1), trace(2));
    }

    #[test]
    fn numbers_and_times_rise_and_nothing_is_sent_before_its_plan() {
        for world in &WORLDS {
            let trace = Trace::new(world, 1, DAY / 10, vec![]);
            for pair in trace.beats.windows(2) {
                assert!(pair[0].number < pair[1].number && pair[0].sent < pair[1].sent);
            }
            assert!(trace.beats.iter().all(|beat| beat.sent >= Ns::from(beat.number) * world.every && beat.lag >= 0));
            let stalled = trace.beats.iter().filter(|beat| beat.lag > world.every).count();
            assert_eq!(stalled > 0, world.stalls.is_some(), "{}", world.name);
            assert!(trace.beats.iter().all(|beat| beat.lag < 1301 * MILLI + world.every / 4));
        }
    }

    #[test]
    fn nothing_sent_in_an_outage_arrives() {
        let outages = recurring(3, 100 * SECOND, 200 * SECOND, 60 * SECOND);
        assert_eq!(outages[2], (500 * SECOND, 560 * SECOND));
        let trace = Trace::new(&WORLDS[3], 1, 600 * SECOND, outages);
        let out = |sent: Ns| (sent / SECOND) % 200 >= 100 && (sent / SECOND) % 200 < 160;
        assert!(trace.beats.iter().all(|beat| (beat.arrives == LOST) == out(beat.sent)));
    }

    #[test]
    fn what_falls_into_a_stall_is_served_at_its_end() {
        let stalls = Stalls { spans: vec![(10, 20), (30, 31)], busy: true };
        assert_eq!([9, 10, 19, 20, 29, 30, 31].map(|at| stalls.served(at)), [9, 20, 20, 20, 29, 31, 31]);
        assert_eq!([0, 9, 15, 29, 40].map(|last| stalls.turn_before(last)), [Some(9), Some(29), Some(29), None, None]);
        assert_eq!([20, 25, 31].map(|at| stalls.company(at)), [Some(10), None, Some(30)]);
        let injected = Stalls::injected(1000, 1, SECOND);
        assert!(injected.spans.windows(2).all(|pair| pair[1].0 - pair[0].1 >= 30 * SECOND));
        let length = |(from, to): &Span| to - from;
        assert!(injected.spans.iter().map(length).all(|ns| (100 * MILLI..=30 * SECOND).contains(&ns)));
        assert!(injected.spans.iter().map(length).filter(|ns| *ns < SECOND).count() > 300);
    }
}
