//! Units as a fleet has them: agents by role, host and site, ten to a host, each with one unit and two labels.

use varta_vlp::{
    AgentId, Status, UnitId,
    key::Name,
    report::{Entry, Touch},
    sealed::{METADATA_MAX_LEN, Metadata},
    subject::{Class, Owner, Verdict},
};

use crate::clock;

/// Every agent's unit.
pub(crate) const UNIT: &str = "main";
/// From a beat to its deadline, milliseconds.
const SPAN_MS: u32 = 2250;
/// Agents of a host, by role.
const ROLES: [&str; 10] = ["web", "api", "auth", "cache", "queue", "search", "mail", "batch", "ledger", "edge"];
/// What sites are called.
const CITIES: [&str; 10] = ["ams", "fra", "lon", "nyc", "sin", "syd", "gru", "bom", "dub", "zrh"];
/// How many sites there are.
const SITES: u32 = 50;
/// Why a unit is stalled, as an observer tells it.
const WHY: &str = "last beat 2251 ms ago, the deadline was 2250 ms after it";

/// Units of one observer, by handle from 0.
pub(crate) struct Units {
    agents: Vec<(Box<str>, AgentId)>,
    /// By host.
    labels: Vec<Box<[u8]>>,
    unit: UnitId,
    session: u64,
}

impl Units {
    /// `count` units on hosts from number `first_host` on.
    pub(crate) fn new(first_host: u32, count: u32) -> anyhow::Result<Self> {
        let (mut agents, mut labels) = (Vec::with_capacity(count as usize), Vec::new());
        for number in 0..count {
            let place = number as usize % ROLES.len();
            let host = first_host + number / 10;
            let site = host % SITES;
            let site = format!("{}-{}", CITIES[site as usize % CITIES.len()], site / 10 + 1);
            let host = format!("{site}-n{host:06}");
            if place == 0 {
                let mut room = [0; METADATA_MAX_LEN];
                let set = Metadata::write([("host", &*host), ("site", &*site)], &mut room);
                let set = set.map_err(|error| anyhow::anyhow!("labels of {host}: {error:?}"))?;
                labels.push(set.bytes().into());
            }
            let name = format!("{}.{host}", ROLES[place]);
            let id = Name::new(&name)?.agent_id();
            agents.push((name.into_boxed_str(), id));
        }
        let session = u64::try_from(clock::realtime().as_nanos())?;
        Ok(Self { agents, labels, unit: Name::new(UNIT)?.unit_id(), session })
    }

    /// How many there are.
    #[expect(clippy::cast_possible_truncation, reason = "made from a count of 32 bits")]
    pub(crate) fn len(&self) -> u32 {
        self.agents.len() as u32
    }

    /// The agent's name.
    pub(crate) fn name(&self, number: u32) -> &str {
        &self.agents[number as usize].0
    }

    /// All there is to say of one, that has this verdict.
    pub(crate) fn entry(&self, number: u32, verdict: Verdict) -> Entry<'_> {
        let (name, id) = &self.agents[number as usize];
        let labels = &self.labels[number as usize / ROLES.len()];
        Entry {
            handle: number,
            owner: Owner::Agent(*id),
            unit: self.unit,
            pid: 1000 + number % 30_000,
            verdict,
            status: Status::Ok,
            class: Class::NetworkVerified,
            ended: false,
            payload: 0,
            age_ms: Some(number % 1000),
            span_ms: Some(SPAN_MS),
            since_ms: None,
            session: self.session,
            restarts: 0,
            stalls: 0,
            beats: 1000,
            lag_us: 80,
            agent_name: Name::new(name).ok(),
            unit_name: Name::new(UNIT).ok(),
            why: if verdict == Verdict::Up { "" } else { WHY },
            labels: Metadata::parse(labels).ok(),
        }
    }

    /// What moves of one; `turn` makes it another than before.
    pub(crate) fn touch(&self, number: u32, turn: u32) -> Touch {
        Touch {
            handle: number,
            age_ms: Some((number + turn) % 1000),
            span_ms: Some(SPAN_MS),
            payload: turn,
            lag_us: 80,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_agents_are_one_host_and_no_two_have_one_name() {
        let units = Units::new(7, 30).unwrap();
        let told = |number| units.entry(number, Verdict::Up);
        let host = |number| told(number).labels.unwrap().get("host").unwrap().to_owned();
        assert_eq!((host(0), host(9)), (host(9), host(0)));
        assert_ne!(host(9), host(10));
        assert_eq!(units.name(0), "web.dub-1-n000007".replace("dub-1", told(0).labels.unwrap().get("site").unwrap()));
        let mut names: Vec<_> = (0..units.len()).map(|number| units.name(number)).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), 30);
        assert!(told(3).why.is_empty() && !units.entry(3, Verdict::Stalled).why.is_empty());
        assert_ne!(units.touch(1, 1), units.touch(1, 2));
    }
}
