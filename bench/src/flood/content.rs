//! What a flood's datagrams hold.

use std::time::Duration;

use anyhow::Context as _;
use varta_client::keyfile::AgentKeyFile;
use varta_vlp::{
    AgentId, AudienceId, Frame, Generation, Status, UnitId,
    key::{AgentSecret, Name},
    seal,
    sealed::{BEAT_LEN, Body, Flags, Header, Kind, MAX_LEN},
};

use super::BURST;

/// Longest datagram of pure noise: one that crosses a common network in one piece.
const NOISE_MAX_LEN: usize = 1400;
/// How many units churn opens before it comes to the first again.
const CHURN_UNITS: u32 = 1_000_000;
/// Units of the churning agent that only get new sessions.
const CHURN_KEPT: u32 = 16;
/// The header of a beat up to where the session begins: magic, version, kind, audience, agent, generation.
const WHO_LEN: usize = 20;
/// The upper bytes of the counter, zero in whatever is to get as far as its tag.
const COUNTER_TOP: std::ops::Range<usize> = 42..44;

/// Datagrams of one length, one behind the other.
pub(super) struct Burst<'a> {
    pub(super) bytes: &'a [u8],
    /// The length of each, bytes.
    pub(super) segment: usize,
}

/// Noise that need not be secret: xorshift.
struct Noise(u64);

impl Noise {
    const fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    const fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// A number below `end`.
    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() >> 16).unwrap_or(0) % end
    }

    fn fill(&mut self, bytes: &mut [u8]) {
        for part in bytes.chunks_mut(8) {
            let noise = self.next().to_le_bytes();
            part.copy_from_slice(&noise[..part.len()]);
        }
    }
}

/// A flood's datagrams, without end.
pub(super) struct Content {
    noise: Noise,
    bytes: Vec<u8>,
    what: What,
}

enum What {
    Noise,
    /// Heads of that kind's length, each with noise behind it.
    Heads {
        heads: Vec<[u8; WHO_LEN]>,
        head: usize,
        len: usize,
    },
    /// Made before; a burst begins at each multiple of a burst's length.
    Made {
        next: usize,
    },
    Churn(Box<Churn>),
}

impl Content {
    fn new(seed: u64, len: usize, what: What) -> Self {
        Self { noise: Noise::new(seed), bytes: vec![0; len], what }
    }

    pub(super) fn noise(seed: u64) -> Self {
        Self::new(seed, BURST * NOISE_MAX_LEN, What::Noise)
    }

    pub(super) fn magic(seed: u64) -> Self {
        let mut head = [0; WHO_LEN];
        head[..4].copy_from_slice(b"VS\x01\x01");
        Self::new(seed, BURST * BEAT_LEN, What::Heads { heads: vec![head], head: 4, len: BEAT_LEN })
    }

    pub(super) fn tag(seed: u64, frames: Vec<[u8; BEAT_LEN]>) -> Self {
        Self::forged(seed, frames, Kind::Beat, BEAT_LEN)
    }

    pub(super) fn announce(seed: u64, frames: Vec<[u8; BEAT_LEN]>) -> Self {
        Self::forged(seed, frames, Kind::Announce, MAX_LEN)
    }

    fn forged(seed: u64, frames: Vec<[u8; BEAT_LEN]>, kind: Kind, len: usize) -> Self {
        let head = |frame: [u8; BEAT_LEN]| {
            let mut head = [0; WHO_LEN];
            head.copy_from_slice(&frame[..WHO_LEN]);
            head[3] = kind as u8;
            head
        };
        let heads = frames.into_iter().map(head).collect();
        Self::new(seed, BURST * len, What::Heads { heads, head: WHO_LEN, len })
    }

    pub(super) fn replay(frame: &[u8; BEAT_LEN]) -> Self {
        Self { noise: Noise::new(1), bytes: frame.repeat(BURST), what: What::Made { next: 0 } }
    }

    /// `agents` agents of the audience of `frame`, each with a key that is not derived from the audience's.
    pub(super) fn unknown(seed: u64, frame: &[u8; BEAT_LEN], agents: usize) -> Self {
        let mut noise = Noise::new(seed);
        let audience = Header::parse(frame).map_or(AudienceId(0), |header| header.audience);
        let mut bytes = Vec::with_capacity(agents * BEAT_LEN);
        for _ in 0..agents {
            let mut secret = [0; 32];
            noise.fill(&mut secret);
            let (agent, unit) = (AgentId(noise.next()), UnitId::NONE);
            let mut churn = Churn::new(AgentSecret::from_bytes(secret), audience, agent, Generation(1));
            bytes.extend(churn.beat(&mut noise, 1_700_000_000_000_000_000, unit));
        }
        Self { noise, bytes, what: What::Made { next: 0 } }
    }

    pub(super) fn churn(seed: u64, key: AgentKeyFile) -> anyhow::Result<Self> {
        let AgentKeyFile { agent, generation, audiences } = key;
        let agent = Name::new(&agent)?.agent_id();
        let audience = audiences.into_iter().next().context("the key file names no audience")?;
        let secret = audience.secret;
        let audience = Name::new(&audience.name)?.audience_id();
        let churn = Churn::new(secret, audience, agent, generation);
        Ok(Self::new(seed, BURST * BEAT_LEN, What::Churn(Box::new(churn))))
    }

    /// The next datagrams, to be sent now; `realtime` is what the clock says.
    pub(super) fn burst(&mut self, realtime: Duration) -> Burst<'_> {
        let Self { noise, bytes, what } = self;
        match what {
            What::Noise => {
                let segment = 1 + noise.below(NOISE_MAX_LEN);
                let bytes = &mut bytes[..BURST * segment];
                noise.fill(bytes);
                Burst { bytes, segment }
            }
            What::Heads { heads, head, len } => {
                for datagram in bytes.chunks_exact_mut(*len) {
                    noise.fill(datagram);
                    let taken = &heads[noise.below(heads.len())];
                    datagram[..*head].copy_from_slice(&taken[..*head]);
                    datagram[COUNTER_TOP].fill(0);
                }
                Burst { bytes, segment: *len }
            }
            What::Made { next } => {
                let place = *next;
                let end = (place + BURST * BEAT_LEN).min(bytes.len());
                *next = end % bytes.len();
                Burst { bytes: &bytes[place..end], segment: BEAT_LEN }
            }
            What::Churn(churn) => {
                let now = u64::try_from(realtime.as_nanos()).unwrap_or(u64::MAX);
                for datagram in bytes.chunks_exact_mut(BEAT_LEN) {
                    datagram.copy_from_slice(&churn.next(noise, now));
                }
                Burst { bytes, segment: BEAT_LEN }
            }
        }
    }
}

/// Genuine beats of one agent, each the first of a session.
struct Churn {
    secret: AgentSecret,
    audience: AudienceId,
    agent: AgentId,
    generation: Generation,
    /// The newest session's start.
    session: u64,
    made: u32,
}

impl Churn {
    const fn new(secret: AgentSecret, audience: AudienceId, agent: AgentId, generation: Generation) -> Self {
        Self { secret, audience, agent, generation, session: 0, made: 0 }
    }

    /// In turn a unit never seen before, and a new session of one that is.
    fn next(&mut self, noise: &mut Noise, now: u64) -> [u8; BEAT_LEN] {
        let (turn, kept) = (self.made / 2, self.made % 2 == 1);
        let unit = if kept { turn % CHURN_KEPT } else { CHURN_KEPT + turn % CHURN_UNITS };
        self.made = self.made.wrapping_add(1);
        self.beat(noise, now, UnitId(unit + 1))
    }

    fn beat(&mut self, noise: &mut Noise, now: u64, unit: UnitId) -> [u8; BEAT_LEN] {
        self.session = now.max(self.session + 1);
        let header = Header {
            kind: Kind::Beat,
            audience: self.audience,
            agent: self.agent,
            generation: self.generation,
            session_start: self.session,
            salt: noise.next().to_le_bytes(),
            counter: 0,
        };
        let body = Body {
            frame: Frame { status: Status::Ok, pid: 4242, timestamp: 0, nonce: 1, payload: 0 },
            sent_at: self.session,
            next_due_ms: 1000,
            lag_us: 0,
            unit,
            flags: Flags::default(),
            boot: 0,
        };
        seal::beat(&self.secret, &header, &body)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use varta_vlp::{Reject, key::AudienceKey, key::AudienceSecret, open, sealed::Message};

    use super::*;

    const NOW: Duration = Duration::from_secs(1_800_000_000);
    const AGENT: AgentId = AgentId(7);

    fn audience() -> AudienceKey {
        AudienceKey::new(&AudienceSecret::from_bytes([3; 32]))
    }

    fn genuine() -> [u8; BEAT_LEN] {
        let secret = audience().agent(AGENT, Generation(1));
        let mut churn = Churn::new(secret, AudienceId(9), AGENT, Generation(1));
        churn.beat(&mut Noise::new(5), 1_800_000_000_000_000_000, UnitId(1))
    }

    /// What an observer of this audience makes of a datagram up to its tag.
    fn judged(datagram: &[u8]) -> Result<Header, Reject> {
        let header = Header::parse(datagram)?;
        if header.audience != AudienceId(9) {
            return Err(Reject::UnknownAudience);
        }
        open::open(&audience().agent(header.agent, header.generation), &mut datagram.to_vec())?;
        Ok(header)
    }

    fn reasons(mut content: Content) -> BTreeSet<&'static str> {
        let mut found = BTreeSet::new();
        for _ in 0..50 {
            let burst = content.burst(NOW);
            assert!(burst.bytes.len() <= BURST * burst.segment);
            for datagram in burst.bytes.chunks(burst.segment) {
                found.insert(judged(datagram).map_or_else(|reject| reject.reason(), |_| "genuine"));
            }
        }
        found
    }

    #[test]
    fn each_kind_fails_where_it_is_meant_to() {
        assert!(reasons(Content::noise(1)).is_subset(&["bad_length", "bad_magic"].into()));
        assert_eq!(reasons(Content::magic(1)), ["unknown_audience"].into());
        assert_eq!(reasons(Content::tag(1, vec![genuine()])), ["auth_failure"].into());
        assert_eq!(reasons(Content::announce(1, vec![genuine()])), ["auth_failure"].into());
        assert_eq!(reasons(Content::unknown(1, &genuine(), 1000)), ["auth_failure"].into());
        assert_eq!(reasons(Content::replay(&genuine())), ["genuine"].into());
    }

    #[test]
    fn the_unknown_are_as_many_as_asked_for_and_come_again() {
        let mut content = Content::unknown(1, &genuine(), 100);
        let mut ids = Vec::new();
        while ids.len() < 200 {
            let burst = content.burst(NOW);
            ids.extend(burst.bytes.chunks(burst.segment).map(|datagram| Header::parse(datagram).unwrap().agent.0));
        }
        assert_eq!(ids[..100].iter().collect::<BTreeSet<_>>().len(), 100);
        assert_eq!(ids[..100], ids[100..200]);
    }

    #[test]
    fn churn_is_authentic_and_never_repeats_a_session() {
        let secret = audience().agent(AGENT, Generation(1));
        let mut churn = Churn::new(secret, AudienceId(9), AGENT, Generation(1));
        let (mut sessions, mut units) = (BTreeSet::new(), BTreeSet::new());
        let mut noise = Noise::new(1);
        for _ in 0..1000 {
            let mut datagram = churn.next(&mut noise, 5);
            let header = judged(&datagram).unwrap();
            let opened = open::open(&audience().agent(AGENT, Generation(1)), &mut datagram).unwrap();
            let body = Message::parse(&header, opened).unwrap().body;
            assert!(sessions.insert(header.session_start));
            units.insert(body.unit.0);
        }
        assert_eq!(units.len(), 500 + CHURN_KEPT as usize);
    }
}
