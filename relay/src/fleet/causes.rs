//! Which incident a bad unit is part of: that of its cause.

use varta_vlp::{subject::Verdict, time::MILLI};

use super::{
    At, Dirty, Fleet, Incident, IncidentId, Kind,
    groups::{Group, GroupKind},
    unit::{Cause, NOWHERE, Unit},
};

/// The unit as which an observer beats to its peers.
const PEER: &str = "observer";
/// A relay hears an observer that said something within this time, nanoseconds: they say something every second.
const HEARD: u64 = 1200 * MILLI;

impl Fleet {
    /// A unit has another verdict, or the same for another reason.
    pub(super) fn note_turn(&mut self, place: u32, is_bad: bool) {
        let Some(unit) = self.units.get(place) else { return };
        let member_of = unit.incident;
        let stays = is_bad
            && self.incidents.get(member_of).is_some_and(|incident| match (unit.cause, incident.kind) {
                (Cause::Lost(_), kind) => kind == Kind::ObserverLost,
                (Cause::Disputed(_), kind) => kind == Kind::Disputed,
                (_, Kind::ObserverLost | Kind::Disputed | Kind::ObserverBlind) => false,
                (_, kind) => (kind == Kind::Missing) == (unit.verdict == Some(Verdict::Missing)),
            });
        if member_of != IncidentId::NONE && !stays {
            self.leave(place);
        }
        if stays {
            self.incidents.touch(member_of);
            // It is told with what is due next.
            self.incidents.look_at(member_of, self.at());
        } else if is_bad && let Some(id) = self.open_incident_of(place) {
            // Whoever knows of the cause need not wait for it.
            self.join(place, id);
            self.incidents.look_at(id, self.at());
        } else if is_bad {
            self.incidents.place_at(self.at().after(self.settings.settle), place);
        }
    }

    /// The open incident of a unit's cause.
    fn open_incident_of(&self, place: u32) -> Option<IncidentId> {
        let cause = self.cause_of(self.units.get(place)?);
        self.incidents.by_subject.get(&cause).copied()
    }

    fn leave(&mut self, place: u32) {
        let ends = self.at().after(self.settings.settle);
        let Some(unit) = self.units.get_mut(place) else { return };
        let id = std::mem::replace(&mut unit.incident, IncidentId::NONE);
        let Some(incident) = self.incidents.open.get_mut(&id) else { return };
        incident.members.remove(&place);
        if incident.members.is_empty() && !incident.pinned {
            incident.ends = ends;
        } else {
            self.incidents.touch(id);
        }
        self.incidents.look_at(id, ends);
    }

    fn join(&mut self, place: u32, id: IncidentId) {
        let Some(unit) = self.units.get_mut(place) else { return };
        unit.incident = id;
        let Some(incident) = self.incidents.open.get_mut(&id) else { return };
        incident.members.insert(place);
        incident.most = incident.most.max(incident.members.len());
        incident.ends = At::NEVER;
        self.incidents.touch(id);
        self.units.mark(place, Dirty::Changed);
    }

    /// A unit that has been bad for a moment joins the incident of its cause.
    pub(super) fn place_unit(&mut self, place: u32) {
        let Some(unit) = self.units.get(place) else { return };
        if !unit.is_bad() || unit.incident != IncidentId::NONE {
            return;
        }
        let (kind, subject) = self.cause_of(unit);
        let group = match kind {
            Kind::Host => unit.host,
            Kind::Site => unit.site,
            _ => NOWHERE,
        };
        let id = match self.incidents.by_subject.get(&(kind, subject.clone())) {
            Some(id) => Some(*id),
            None if matches!(kind, Kind::Host | Kind::Site) => self.widen(kind, subject, group),
            None => self.incidents.find_or_open(kind, subject, self.limits.incidents, self.now),
        };
        if let Some(id) = id {
            self.join(place, id);
        }
    }

    /// An observer is an agent of its peers. One that they do not hear is lost, unless the relay hears it: then it is they who
    /// do not hear each other.
    fn cause_of_peer(&self, unit: &Unit) -> Option<(Kind, String)> {
        if *unit.name != *PEER {
            return None;
        }
        let peer = self.by_name.get(&*unit.agent).and_then(|number| self.observers.get(*number))?;
        if !peer.allowed {
            return None;
        }
        let heard = peer.link().is_some() && self.at().since(peer.last_heard) < HEARD;
        let other = self.observer_name(unit.chosen.observer).filter(|other| *other != peer.name);
        match other.filter(|_| heard) {
            Some(other) => {
                let mut names = [&*other, &*peer.name];
                names.sort_unstable();
                Some((Kind::Disputed, names.join(" and ")))
            }
            None => Some((Kind::ObserverLost, peer.name.to_string())),
        }
    }

    /// An observer was lost, or is back: what its peers say of it means something else now.
    pub(super) fn replace_peer(&mut self, name: &str) {
        let bad = |unit: &Unit| *unit.name == *PEER && unit.is_bad();
        let places = self.units.of_agent_named(name).filter(|(_, unit)| bad(unit)).map(|(place, _)| place);
        for place in places.collect::<Vec<_>>() {
            self.leave(place);
            self.note_turn(place, true);
        }
    }

    fn cause_of(&self, unit: &Unit) -> (Kind, String) {
        match unit.cause {
            Cause::Lost(observer) | Cause::NotYet(observer) => {
                let name = self.observer_name(observer).map(|name| name.to_string());
                return (Kind::ObserverLost, name.unwrap_or_default());
            }
            Cause::Disputed(_) => return (Kind::Disputed, self.path_of(unit)),
            Cause::Said if unit.verdict == Some(Verdict::Missing) => return (Kind::Missing, String::new()),
            Cause::Said => {}
        }
        if let Some(cause) = self.cause_of_peer(unit) {
            return cause;
        }
        let groups = [(Kind::Site, unit.site), (Kind::Host, unit.host)];
        let named = groups.map(|(kind, number)| (kind, number, self.groups.get(number)));
        for (kind, number, group) in named {
            let Some(group) = group else { continue };
            let down = match group.kind {
                GroupKind::Host => self.groups.is_down(number),
                // A site with one host is that host.
                GroupKind::Site => self.groups.is_down(number) && !self.is_one_host(unit, group),
            };
            let known = self.incidents.by_subject.contains_key(&(kind, group.name.to_string()));
            if down || known {
                return (kind, group.name.to_string());
            }
        }
        (Kind::Unit, self.path_of(unit))
    }

    /// Whether all that is to be alive in a unit's site is on the unit's host.
    fn is_one_host(&self, unit: &Unit, site: &Group) -> bool {
        self.groups.get(unit.host).is_some_and(|host| host.expected >= site.expected)
    }

    /// The incident of a host or site: the oldest one of its parts becomes it, and the others end in it.
    fn widen(&mut self, kind: Kind, subject: String, group: u32) -> Option<IncidentId> {
        let is_part = |incident: &Incident| {
            let kinds = if kind == Kind::Site { &[Kind::Unit, Kind::Host][..] } else { &[Kind::Unit][..] };
            kinds.contains(&incident.kind)
                && !incident.members.is_empty()
                && incident.members.iter().all(|member| {
                    let unit = self.units.get(*member);
                    unit.is_some_and(|unit| if kind == Kind::Site { unit.site == group } else { unit.host == group })
                })
        };
        let mut parts: Vec<_> =
            self.incidents.open().filter(|incident| is_part(incident)).map(|part| part.id).collect();
        parts.sort_unstable();
        let mut parts = parts.into_iter();
        let Some(id) = parts.next() else {
            return self.incidents.find_or_open(kind, subject, self.limits.incidents, self.now);
        };
        let incident = self.incidents.open.get_mut(&id)?;
        let before = std::mem::replace(&mut incident.subject, subject.clone());
        let before = (std::mem::replace(&mut incident.kind, kind), before);
        self.incidents.by_subject.remove(&before);
        self.incidents.by_subject.insert((kind, subject), id);
        self.incidents.touch(id);
        for part in parts {
            for member in self.members_of(part) {
                self.leave(member);
                self.join(member, id);
            }
            self.close(part, Some(id));
        }
        Some(id)
    }
}
