//! What is kept of a slot. Its size matters: there may be a million.

use varta_vlp::{
    Generation, Status, UnitId,
    replay::Window,
    sealed::{Flags, Message},
};

use crate::{
    blind::Cause,
    event::{Subject, Verdict},
    limits::leaked,
    names::Announce,
    time::{MonoNs, WallNs},
    trust::Owner,
};

/// No slot.
pub(crate) const NONE: u32 = u32::MAX;

/// In which part of its life a slot is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// On time.
    Live,
    /// In a planned absence.
    Held,
    /// Silent past its deadline.
    Stalled,
    /// Said goodbye.
    Departed,
    /// Said that it ends badly.
    Ended,
    /// Not seen, for a reason of the observer's own.
    Unknown(Cause),
}

/// How a slot may differ from the ordinary.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Marks(u16);

impl Marks {
    /// Its session had a terminal beat.
    pub(crate) const TERMINAL: u16 = 1;
    /// A promise held to the ceiling was told.
    pub(crate) const CLAMP_TOLD: u16 = 1 << 1;
    /// It stands in the list of slots to be saved.
    pub(crate) const DIRTY: u16 = 1 << 2;
    /// It has an [`Aside`].
    pub(crate) const ASIDE: u16 = 1 << 3;
    pub(crate) const REVOKED: u16 = 1 << 4;
    /// The minimum offset is not known: the next frame teaches it.
    pub(crate) const UNLEARNED: u16 = 1 << 5;
    /// Pinned to a listener that is eligible for recovery.
    pub(crate) const ATTESTED: u16 = 1 << 6;
    pub(crate) const HOLD: u16 = 1 << 7;
    /// Changes of its verdict are not told: it is being made, taken back or removed.
    pub(crate) const QUIET: u16 = 1 << 8;
    /// Taken back from disk and not heard since: the next frame pins it.
    pub(crate) const UNPINNED: u16 = 1 << 9;
    /// A local process that is known to have ended; its slot is forgotten in time.
    pub(crate) const GONE: u16 = 1 << 10;
    /// It stalled after a time that the observer did not see.
    pub(crate) const UNSEEN: u16 = 1 << 11;
    /// A local process whose PID namespace was read, and is the observer's.
    pub(crate) const SEEN_NAMESPACE: u16 = 1 << 12;
    /// It stands among those whose being down is to be looked at.
    pub(crate) const ALARMED: u16 = 1 << 13;

    pub(crate) const fn has(self, mark: u16) -> bool {
        self.0 & mark != 0
    }

    pub(crate) const fn set(&mut self, mark: u16, on: bool) {
        self.0 = if on { self.0 | mark } else { self.0 & !mark };
    }
}

/// The session before the current one, for as long as its frames may still arrive.
#[derive(Clone, Copy)]
pub(crate) struct Previous {
    pub(crate) start: u64,
    pub(crate) window: PackedWindow,
    /// Its minimum offset when the current session was first heard; `i64::MAX` where it is not known.
    pub(crate) offset: i64,
    /// Of its newest frame; 0 where it is not known.
    pub(crate) tag: u32,
    /// [`fingerprint`] of its generation, pid and boot; 0 where they are not known.
    pub(crate) process: u32,
    pub(crate) goodbye: Goodbye,
    /// The slot whose it is.
    pub(crate) owner: u32,
}

const _: () = assert!(size_of::<Previous>() <= 56, "there may be a million after a start of a whole fleet");

/// What tells the processes of sessions with one start apart. Never 0.
#[expect(clippy::cast_possible_truncation, reason = "folded to 32 bits")]
pub(crate) const fn fingerprint(generation: Generation, pid: u32, boot: u64) -> u32 {
    const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
    let mixed = ((generation.0 as u64) << 32 | pid as u64).wrapping_mul(ODD) ^ boot.wrapping_mul(ODD).rotate_left(29);
    (mixed ^ mixed >> 32) as u32 | 1
}

/// A [`Window`] without the alignment of a `u128`.
#[derive(Clone, Copy, Default)]
pub(crate) struct PackedWindow {
    newest: u64,
    seen: [u64; 2],
}

impl PackedWindow {
    pub(crate) const fn unpack(self) -> Window {
        Window::from_parts(self.newest, (self.seen[1] as u128) << 64 | self.seen[0] as u128)
    }

    #[expect(clippy::cast_possible_truncation, reason = "a half each")]
    pub(crate) const fn pack(window: Window) -> Self {
        let (newest, seen) = window.parts();
        Self { newest, seen: [seen as u64, (seen >> 64) as u64] }
    }

    /// Marks a counter of a frame that is not the newest its session is judged by. If it is the newest all the same, says
    /// where that leaves the session's first FINAL.
    pub(crate) fn accept_late(&mut self, counter: u64, goodbye: Goodbye) -> Option<Goodbye> {
        let mut window = self.unpack();
        let risen = counter.checked_sub(window.newest());
        window.accept(counter);
        *self = Self::pack(window);
        risen.map(|by| goodbye.moved(by))
    }
}

/// How far below a session's newest counter that of its first FINAL lies. Goodbyes said again move the window on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Goodbye(u16);

impl Goodbye {
    /// The session had no FINAL.
    pub(crate) const NONE: Self = Self(u16::MAX);
    /// The newest frame is the FINAL.
    pub(crate) const NEWEST: Self = Self(0);
    /// At least so far. What lies below is out of the window in any case.
    const FAR: u16 = u16::MAX - 1;

    /// The FINAL of that counter.
    pub(crate) fn at(newest: u64, counter: u64) -> Self {
        Self::NEWEST.moved(newest.saturating_sub(counter))
    }

    /// The same one after the newest counter has risen by `by`.
    pub(crate) fn moved(self, by: u64) -> Self {
        if self == Self::NONE {
            return self;
        }
        Self(u16::try_from(by.saturating_add(u64::from(self.0))).unwrap_or(Self::FAR).min(Self::FAR))
    }

    /// The counter of the FINAL, where there was one.
    pub(crate) fn counter(self, newest: u64) -> Option<u64> {
        (self != Self::NONE).then(|| newest.saturating_sub(u64::from(self.0)))
    }
}

/// One process or unit of an agent.
pub(crate) struct Slot {
    pub(crate) agent: u32,
    /// The agent's next slot, or [`NONE`]; of a free slot, the next free one.
    pub(crate) next: u32,
    pub(crate) unit: UnitId,
    pub(crate) pid: u32,
    pub(crate) generation: Generation,
    /// The first four bytes of the newest accepted frame's tag; 0 where it is not known.
    pub(crate) tag: u32,
    pub(crate) session: u64,
    pub(crate) window: PackedWindow,
    pub(crate) boot: u64,
    pub(crate) timestamp: u64,
    /// Of the newest accepted frame, a goodbye said again included. The largest accepted is later where [`Aside`] says so.
    pub(crate) sent_at: WallNs,
    /// Arrival minus `sent_at`, the smallest of the session as of `arrival`.
    pub(crate) offset: i64,
    /// When the newest frame was accepted.
    pub(crate) arrival: MonoNs,
    /// When the session was first heard.
    pub(crate) heard: MonoNs,
    pub(crate) beats: u64,
    pub(crate) next_due_ms: u32,
    pub(crate) lag_us: u32,
    pub(crate) payload: u32,
    pub(crate) restarts: u32,
    pub(crate) stalls: u32,
    pub(crate) previous: u32,
    pub(crate) status: Status,
    pub(crate) phase: Phase,
    /// As last worked out; counted under this.
    pub(crate) verdict: Verdict,
    pub(crate) marks: Marks,
    pub(crate) goodbye: Goodbye,
    /// The newest accepted announce; read and changed through the table.
    pub(crate) announce: Option<Box<Announce>>,
}

const _: () = assert!(size_of::<Slot>() <= 152, "there may be a million slots");

impl Slot {
    /// One of which nothing is known yet. Its phase and verdict are those under which it is counted until it has others.
    pub(crate) fn blank(agent: u32, unit: UnitId, pid: u32) -> Self {
        Self {
            agent,
            next: NONE,
            unit,
            pid,
            generation: Generation(0),
            tag: 0,
            session: 0,
            window: PackedWindow::default(),
            boot: 0,
            timestamp: 0,
            sent_at: WallNs(0),
            offset: 0,
            arrival: MonoNs(0),
            heard: MonoNs(0),
            beats: 0,
            next_due_ms: 0,
            lag_us: 0,
            payload: 0,
            restarts: 0,
            stalls: 0,
            previous: NONE,
            status: Status::Ok,
            phase: Phase::Ended,
            verdict: Verdict::Critical,
            marks: Marks::default(),
            goodbye: Goodbye::NONE,
            announce: None,
        }
    }

    /// The minimum offset as it stands at `now`, leak applied.
    pub(crate) fn offset_at(&self, now: MonoNs) -> i64 {
        self.offset.saturating_add_unsigned(leaked(now.since(self.arrival)))
    }

    /// The promise that holds now, nanoseconds; 0 without one.
    pub(crate) fn next_due(&self) -> u64 {
        u64::from(self.next_due_ms) * crate::time::MILLI
    }

    pub(crate) fn subject(&self, agent: Owner) -> Subject {
        Subject { agent, unit: self.unit, pid: self.pid }
    }

    pub(crate) fn window(&self) -> Window {
        self.window.unpack()
    }

    /// Whether a newer session that begins with `message` is the same process going on.
    pub(crate) fn continued_by(&self, generation: Generation, message: &Message<'_>) -> bool {
        let body = &message.body;
        body.flags.has(Flags::CONTINUES)
            && generation == self.generation
            && body.frame.pid == self.pid
            && body.boot == self.boot
            && body.frame.timestamp >= self.timestamp
    }

    /// Whether its minimum offset still means something in that session.
    pub(crate) fn offset_carries(&self, generation: Generation, message: &Message<'_>) -> bool {
        const TOLERANCE: u64 = 250 * crate::time::MILLI;
        let body = &message.body;
        let base = |sent: u64, stamp: u64| sent.wrapping_sub(stamp).cast_signed();
        self.continued_by(generation, message)
            && !body.flags.has(Flags::STEPPED)
            && !self.marks.has(Marks::UNLEARNED)
            && base(body.sent_at, body.frame.timestamp).abs_diff(base(self.sent_at.0, self.timestamp)) <= TOLERANCE
    }
}

/// What few slots have: a contest, refused frames, a session that began before another's newest frame.
#[derive(Clone, Debug, Default)]
pub(crate) struct Aside {
    /// The largest send time accepted, whatever the session, where it is not that of the newest frame.
    pub(crate) largest_sent: Option<WallNs>,
    /// Until when the slot is contested.
    pub(crate) contested_until: Option<MonoNs>,
    /// The pid and boot of the other process of the contest, where known.
    pub(crate) other: Option<(u32, u64)>,
    /// Refused frames newer than everything accepted, since the newest acceptance.
    pub(crate) refused: Option<Refused>,
    /// Since when it is unknown for the observer's clock, since the newest acceptance.
    pub(crate) clock_since: Option<MonoNs>,
    /// How its process ended, since the newest acceptance.
    pub(crate) exit: Option<Exit>,
}

/// How a local process ended, as far as the kernel tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Not told.
    Unknown,
    /// By itself, with this status.
    Status(u8),
    /// By this signal.
    Signal(u8),
}

/// Authentic frames that were refused since a slot's newest accepted one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Refused {
    pub(crate) reason: varta_vlp::Reject,
    /// By how much the newest was off, nanoseconds, where the reason is about time.
    pub(crate) by: u64,
    pub(crate) count: u32,
    /// They are older than what was accepted, and stale: a clock that was set back, or replays.
    pub(crate) older: bool,
    /// The largest send time among them: a frame that is not newer may be a replay.
    pub(crate) newest: WallNs,
    /// Since when nothing but [`varta_vlp::Reject::Delayed`] came.
    pub(crate) delayed_since: Option<MonoNs>,
}
