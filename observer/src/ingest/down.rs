//! Telling recovery which slots are down, and which no longer are.

use varta_core::{Down, MILLI, MonoNs, Now, Owner, SlotId, Subject};
use varta_vlp::{UnitId, sealed::shown_pid};

use super::Ingest;
use crate::recovery::{Key, Patient, Told};

/// While recovery has no room, it is looked for this often.
const LOOK: u64 = 10 * MILLI;

impl Ingest {
    /// Tells what has changed, as far as there is room; the core keeps the rest.
    pub(super) fn tell_down(&mut self, now: Now) {
        let Some(link) = &self.recovery else { return };
        link.set_silence(self.core.silence());
        while let Some(room) = link.room() {
            let Some((slot, subject, down)) = self.core.poll_down(now) else { return };
            let Subject { agent: owner, unit, pid } = subject;
            let key = Key { owner, unit, pid: if unit == UnitId::NONE { pid } else { 0 } };
            room.send(match down {
                Some(down) => Told::Down(Box::new(self.patient(now, slot, key, down))),
                None => Told::Over(key),
            });
        }
    }

    /// When there is more to tell.
    pub(super) fn next_down(&self) -> MonoNs {
        let waits = self.recovery.is_some() && self.core.has_down();
        if waits { self.turns.last().after(LOOK) } else { MonoNs::NEVER }
    }

    fn patient(&self, now: Now, slot: SlotId, key: Key, down: Down) -> Patient {
        let view = self.core.view(now, slot);
        let name = |name: Option<&str>, id: &dyn std::fmt::Display| name.map_or_else(|| id.to_string(), str::to_owned);
        let (agent, unit) = view.as_ref().map_or((None, None), |view| (view.agent_name, view.unit_name));
        let roster = match key.owner {
            Owner::Agent(agent) => self.core.roster().and_then(|roster| roster.get(agent)),
            Owner::Local | Owner::Plain(_) => None,
        };
        Patient {
            key,
            down,
            pid: view.as_ref().map_or(key.pid, |view| shown_pid(view.pid)),
            agent: name(agent, &key.owner).into(),
            unit: if key.unit == UnitId::NONE { "".into() } else { name(unit, &key.unit).into() },
            labels: roster.map(|entry| entry.labels.clone()),
        }
    }
}
