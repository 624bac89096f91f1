//! Where the fleet stands: whoever has something for it comes here, and what follows is told from here.
//!
//! The lock is held for one step of bounded work and never while waiting.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;
use varta_daemon::clock::Clock;
use varta_link::Closer;
use varta_vlp::time::{MILLI, MonoNs, Now};

use crate::{
    fleet::{Change, Fleet, IncidentId, SavedIncident},
    http::IncidentBody,
    journal::Journal,
    store::{Store, UnitRow, key_of},
    webhook::{Hook, Notice},
};

/// The fleet, and everybody who is told of it. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Desk(Arc<Inner>);

struct Inner {
    state: Mutex<State>,
    /// Something is due earlier than it was.
    sooner: Notify,
    links: Mutex<HashMap<String, (u64, Closer)>>,
}

struct State {
    fleet: Fleet,
    journal: Journal,
    store: Option<Store>,
    hooks: Vec<Hook>,
    /// When the timer is to ring as far as it knows.
    due: MonoNs,
}

/// Has webhooks told of an incident.
fn notify(hooks: &[Hook], fleet: &Fleet, id: IncidentId) {
    let Some(incident) = fleet.incident(id).filter(|_| !hooks.is_empty()) else { return };
    let body = serde_json::to_value(IncidentBody::of(fleet, incident)).unwrap_or_default();
    let notice = Notice {
        id: id.0,
        open: incident.closed_ms.is_none(),
        silenced: incident.silenced.is_some(),
        incident: Arc::new(body),
    };
    hooks.iter().for_each(|hook| hook.tell(notice.clone()));
}

/// Has the store remember a change.
fn remember(store: &Store, fleet: &Fleet, now: Now, change: &Change) {
    match change {
        Change::Unit { place, name, to, since_ms, .. } => {
            let key = key_of(&name.key, name.observer.as_deref());
            let row = fleet.saved_unit(*place).filter(|saved| saved.key == name.key);
            let row = row.map(UnitRow::of);
            // What is gone is gone from now on.
            let at_ms = if to.is_some() { *since_ms } else { now.wall.0 / MILLI };
            store.note(|pending| pending.turn(key, row, at_ms, *to));
        }
        Change::Opened(id) | Change::Changed(id) | Change::Closed(id) => {
            if let Some(incident) = fleet.incident(*id) {
                store.note(|pending| pending.incident(SavedIncident::of(incident)));
            }
        }
        Change::Observer { .. } | Change::Full => {}
    }
}

impl Desk {
    /// A desk for this fleet, whose changes `journal` tells.
    #[must_use]
    pub(crate) fn new(fleet: Fleet, journal: Journal, store: Option<Store>, hooks: Vec<Hook>) -> Self {
        Self(Arc::new(Inner {
            state: Mutex::new(State { fleet, journal, store, hooks, due: MonoNs::NEVER }),
            sooner: Notify::new(),
            links: Mutex::default(),
        }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does one step with the fleet, and tells what follows.
    pub(crate) fn act<T>(&self, step: impl FnOnce(&mut Fleet, Now) -> T) -> T {
        let mut state = self.state();
        let now = Clock::now();
        let done = step(&mut state.fleet, now);
        let State { fleet, journal, store, hooks, due } = &mut *state;
        while let Some(change) = fleet.poll_change() {
            journal.tell(fleet, now, &change);
            if let Some(store) = store {
                remember(store, fleet, now, &change);
            }
            // What is told of an incident is remembered after the incident.
            if let Change::Opened(id) | Change::Changed(id) | Change::Closed(id) = &change {
                notify(hooks, fleet, *id);
            }
            if change == Change::Full {
                tracing::warn!("no room for another unit; raise limits.units of relay.toml");
            }
        }
        if let Some(store) = store.as_ref().filter(|_| fleet.silences_changed()) {
            let silences = fleet.silences().cloned().collect();
            store.note(|pending| pending.silences(silences));
        }
        journal.announce();
        let before = std::mem::replace(due, fleet.poll_timeout());
        let sooner = *due < before;
        drop(state);
        if sooner {
            self.0.sooner.notify_one();
        }
        done
    }

    /// Tells webhooks of those of these incidents that are over.
    pub(crate) fn tell_ends(&self, incidents: impl IntoIterator<Item = u64>) {
        let state = self.state();
        for id in incidents.into_iter().map(IncidentId) {
            if state.fleet.incident(id).is_some_and(|incident| incident.closed_ms.is_some()) {
                notify(&state.hooks, &state.fleet, id);
            }
        }
    }

    /// Looks at the fleet, for as long as one step takes.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&Fleet, Now) -> T) -> T {
        look(&self.state().fleet, Clock::now())
    }

    /// Does what is due whenever it is due, for ever.
    pub(crate) async fn keep_time(&self) {
        loop {
            let (now, due) = (Clock::now().mono, self.state().due);
            if due <= now {
                self.act(|fleet, now| fleet.handle_timeout(now));
                // Links and requests have their turn between two steps.
                tokio::task::yield_now().await;
                continue;
            }
            let wait = std::time::Duration::from_nanos(due.since(now));
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = self.0.sooner.notified() => {}
            }
        }
    }

    /// Notes the newest link of an observer, and closes the one before.
    pub(crate) fn replace_link(&self, observer: &str, number: u64, closer: Closer) {
        let before = self.links().insert(observer.to_owned(), (number, closer));
        if let Some((_, before)) = before {
            before.close("a newer link of this observer has taken the place of this one");
        }
    }

    /// Forgets a link, unless a newer one has taken its place.
    pub(crate) fn forget_link(&self, observer: &str, number: u64) {
        let mut links = self.links();
        if links.get(observer).is_some_and(|(known, _)| *known == number) {
            links.remove(observer);
        }
    }

    fn links(&self) -> MutexGuard<'_, HashMap<String, (u64, Closer)>> {
        self.0.links.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
