//! Incidents in words.

use varta_vlp::{subject::Verdict, time::SECOND};

use super::{
    Fleet, Incident, Kind,
    observer::Observer,
    unit::{Cause, Unit},
};

/// Lines of evidence.
const EVIDENCE: usize = 8;

impl Fleet {
    /// A unit as people name it.
    pub(super) fn path_of(&self, unit: &Unit) -> String {
        let name = self.name_of(unit);
        let unit = if name.unit.is_empty() { format!("pid:{}", name.pid) } else { name.unit };
        match name.observer {
            Some(observer) => format!("{}/{unit}@{observer}", name.agent),
            None => format!("{}/{unit}", name.agent),
        }
    }

    /// An incident's title, and what shows it.
    pub(super) fn words_of(&self, incident: &Incident) -> (String, Vec<String>) {
        let (subject, count) = (&incident.subject, incident.members.len());
        let members = self.members(incident, EVIDENCE);
        let units = || members.iter().filter_map(|place| self.units.get(*place));
        let mut verdicts: Vec<_> = units().filter_map(|unit| unit.verdict).map(Verdict::name).collect();
        verdicts.dedup();
        let verdict = if let [verdict] = verdicts[..] { verdict } else { "down" };
        let plural =
            |count: usize, noun: &str| if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") };
        let title = match incident.kind {
            Kind::ObserverLost => {
                // What its peers say of it is not what it said of others.
                let peers = self.units.of_agent_named(subject).filter(|(place, _)| incident.members.contains(place));
                match count.saturating_sub(peers.count()) {
                    0 => format!("observer {subject} lost"),
                    unknown => format!("observer {subject} lost: {} unknown", plural(unknown, "unit")),
                }
            }
            Kind::ObserverBlind => format!("observer {subject} is blind"),
            Kind::Site => format!("site {subject}: {} {verdict}", plural(count, "unit")),
            Kind::Host => format!("host {subject}: {} {verdict}", plural(count, "unit")),
            Kind::Unit => format!("{subject} {verdict}"),
            // No name holds a space.
            Kind::Disputed if subject.contains(' ') => format!("{subject} do not hear each other"),
            Kind::Disputed => format!("{subject} disputed"),
            Kind::Missing => format!("{} missing", plural(count, "agent")),
        };
        let mut evidence: Vec<_> = units().map(|unit| format!("{}: {}", self.path_of(unit), self.why(unit))).collect();
        if let Some(observer) = self.observers.iter().find(|observer| *observer.name == **subject) {
            match incident.kind {
                Kind::ObserverLost => evidence.insert(0, self.evidence_of_loss(observer)),
                Kind::ObserverBlind => evidence.insert(0, format!("it says: {}", observer.said.blindness.cause)),
                _ => {}
            }
        }
        evidence.truncate(EVIDENCE);
        (title, evidence)
    }

    fn evidence_of_loss(&self, observer: &Observer) -> String {
        let views = observer.views();
        let quiet = self.at().since(observer.last_heard) / SECOND;
        // An observer is an agent of its peers, of its own name.
        let beats = self.units.of_agent_named(&observer.name).find_map(|(_, unit)| {
            let verdict = unit.verdict.filter(|_| unit.cause == Cause::Said)?;
            Some(format!("; its peers say: {}", verdict.name()))
        });
        format!(
            "nothing was heard from {} for {quiet} s; it has a word on {views} units{}",
            observer.name,
            beats.unwrap_or_default()
        )
    }
}
