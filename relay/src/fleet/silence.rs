//! Silences: incidents that nobody wants to be told of for a while.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use varta_vlp::time::{MILLI, Now};

use super::{At, Fleet, Incident, IncidentId, Kind, Pattern};

/// Names a silence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SilenceId(pub u64);

/// Which incidents are silenced: those of a kind, all of whose units are of these names and labels. Of an incident about an
/// observer, the agent stands for the observer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Matcher {
    /// Agents by name, `*` standing for any text.
    #[serde(default = "any")]
    pub agent: String,
    /// Units by name.
    #[serde(default = "any")]
    pub unit: String,
    /// Kinds by name.
    #[serde(default = "any")]
    pub kind: String,
    /// Labels with these values.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
}

fn any() -> String {
    "*".to_owned()
}

/// A silence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Silence {
    /// Its name.
    pub id: SilenceId,
    /// Which incidents.
    pub matcher: Matcher,
    /// Whoever asked for it.
    pub by: String,
    /// What for.
    pub note: String,
    /// From when, milliseconds since the Unix epoch.
    pub from_ms: u64,
    /// Until when, milliseconds since the Unix epoch.
    pub until_ms: u64,
}

/// Incidents of more units than this are silenced by their kind alone.
const MEMBERS: usize = 1000;

#[derive(Debug, Default)]
pub(super) struct Silences {
    all: BTreeMap<SilenceId, (At, Silence)>,
    newest: u64,
    /// Whether they are others than when that was asked last.
    changed: bool,
}

impl Silences {
    pub(super) fn due(&self) -> Option<At> {
        self.all.values().map(|(ends, _)| *ends).min()
    }
}

impl Fleet {
    /// Silences in force.
    pub fn silences(&self) -> impl Iterator<Item = &Silence> {
        self.silences.all.values().map(|(_, silence)| silence)
    }

    /// Silences what matches for so long; `None` where there are too many silences.
    pub fn silence(
        &mut self,
        now: Now,
        matcher: Matcher,
        (by, note): (String, String),
        for_ms: u64,
    ) -> Option<SilenceId> {
        let id = SilenceId(self.silences.newest + 1);
        let from_ms = now.wall.0 / MILLI;
        let until_ms = from_ms.saturating_add(for_ms);
        self.restore_silence(now, Silence { id, matcher, by, note, from_ms, until_ms }).then_some(id)
    }

    /// Puts a silence in force again; whether there is room for it.
    pub fn restore_silence(&mut self, now: Now, silence: Silence) -> bool {
        self.now = now;
        if self.silences.all.len() >= self.limits.silences {
            return false;
        }
        let left = silence.until_ms.saturating_sub(now.wall.0 / MILLI);
        self.silences.newest = self.silences.newest.max(silence.id.0);
        self.silences.all.insert(silence.id, (self.at().after(left.saturating_mul(MILLI)), silence));
        self.silence_anew();
        true
    }

    /// Ends a silence; whether there was such a one.
    pub fn unsilence(&mut self, now: Now, id: SilenceId) -> bool {
        self.now = now;
        let ended = self.silences.all.remove(&id).is_some();
        if ended {
            self.silence_anew();
        }
        ended
    }

    pub(super) fn silences_due(&mut self) {
        let now = self.at();
        let before = self.silences.all.len();
        self.silences.all.retain(|_, (ends, _)| *ends > now);
        if self.silences.all.len() < before {
            self.silence_anew();
        }
    }

    /// Whether silences were added or have ended since this was asked last.
    pub fn silences_changed(&mut self) -> bool {
        std::mem::take(&mut self.silences.changed)
    }

    /// Finds out which incidents are silenced now.
    fn silence_anew(&mut self) {
        self.silences.changed = true;
        let changed: Vec<(IncidentId, _)> = self
            .incidents
            .open()
            .map(|incident| (incident, self.silence_for(incident)))
            .filter(|(incident, silence)| incident.silenced != *silence)
            .map(|(incident, silence)| (incident.id, silence))
            .collect();
        for (id, silence) in changed {
            let Some(incident) = self.incidents.get_open_mut(id) else { continue };
            incident.silenced = silence;
            if !incident.is_told() {
                continue;
            }
            for member in incident.members.iter().copied().collect::<Vec<_>>() {
                self.units.mark(member, super::Dirty::Changed);
            }
            self.tell(super::Change::Changed(id));
        }
    }

    /// The silence that an incident falls under.
    pub(super) fn silence_for(&self, incident: &Incident) -> Option<SilenceId> {
        self.silences().find(|silence| self.matches(&silence.matcher, incident)).map(|silence| silence.id)
    }

    fn matches(&self, matcher: &Matcher, incident: &Incident) -> bool {
        let [agent, unit, kind] = [&matcher.agent, &matcher.unit, &matcher.kind].map(|text| Pattern::new(text));
        if !kind.matches(incident.kind.name()) {
            return false;
        }
        if agent.is_any() && unit.is_any() && matcher.labels.is_empty() {
            return true;
        }
        if matches!(incident.kind, Kind::ObserverLost | Kind::ObserverBlind) {
            return unit.is_any() && matcher.labels.is_empty() && agent.matches(&incident.subject);
        }
        let matches = |place: &u32| {
            self.units.get(*place).is_some_and(|known| {
                let mut labels = matcher.labels.iter();
                agent.matches(&known.agent_text())
                    && unit.matches(&known.unit_text())
                    && labels.all(|(key, value)| self.labels.get(known.labels, key) == Some(value))
            })
        };
        let members = &incident.members;
        !members.is_empty() && members.len() <= MEMBERS && members.iter().all(matches)
    }
}
