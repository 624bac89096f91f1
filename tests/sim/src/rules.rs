//! The rules that a failing seed can belong to.

/// A rule of the design. A failure names the one whose breach explains it best.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rule {
    /// Nothing sent at or before the restart barrier is accepted.
    Barrier,
    /// Nothing sent above the horizon on disk is accepted before the disk has a higher one.
    Horizon,
    /// Sessions go forwards only.
    SessionOrder,
    /// A frame is not held back by more than the delay bound above the session's minimum.
    DelayBound,
    /// The minimum offset leaks upwards.
    OffsetLeak,
    /// Only an idle slot that is neither alive nor unknown gives way to another.
    Eviction,
    /// Nothing that was sent in an evicted slot's time is accepted.
    AgentBarrier,
    /// No nonce is used twice under one key.
    FrameSalt,
    /// A minimum offset does not carry into a session on another timeline.
    Stepped,
    /// Promises and holds are held to their ceilings.
    PromiseCeiling,
    /// A counter is accepted once.
    Window,
    /// Nothing too old or from too far ahead is accepted.
    Freshness,
    /// What is not a datagram for this observer is refused before any cryptography, for the right reason.
    Form,
    /// Nothing forged is accepted.
    Forgery,
    /// Retired generations are refused.
    Generation,
    /// A dead agent is not alive for longer than the bound.
    Death,
    /// Nobody is accused for time that the observer did not see.
    Blindness,
    /// An honest agent is not locked out.
    Lockout,
    /// Counters conserve.
    Counters,
}

impl Rule {
    /// The rule's name, as failures print it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Barrier => "barrier",
            Self::Horizon => "horizon",
            Self::SessionOrder => "session order",
            Self::DelayBound => "delay bound",
            Self::OffsetLeak => "offset leak",
            Self::Eviction => "eviction rule",
            Self::AgentBarrier => "agent barrier",
            Self::FrameSalt => "per-frame salt",
            Self::Stepped => "STEPPED",
            Self::PromiseCeiling => "promise ceiling",
            Self::Window => "replay window",
            Self::Freshness => "freshness",
            Self::Form => "form",
            Self::Forgery => "forgery",
            Self::Generation => "generation",
            Self::Death => "death",
            Self::Blindness => "blindness",
            Self::Lockout => "lock-out",
            Self::Counters => "counters",
        }
    }
}

/// A broken rule: which, and what was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Breach {
    /// The rule.
    pub rule: Rule,
    /// What was seen, for a person.
    pub what: String,
}

impl Breach {
    /// A breach of `rule`.
    #[must_use]
    pub const fn new(rule: Rule, what: String) -> Self {
        Self { rule, what }
    }
}

impl std::fmt::Display for Breach {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.rule.name(), self.what)
    }
}
