//! What the ingest thread notes of a change: plain values and copied names, no text.

use tokio::sync::oneshot;
use varta_core::{Change, Class, Core, Now, Owner, Reasons, SlotView, Subject};
use varta_vlp::{UnitId, sealed::shown_pid};

use super::Refusal;
use crate::export::tsv::{Export, Line};

/// What the journal hands to the teller, in the order in which it happened.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "nearly all are events, and each box would be one more allocation")]
pub(super) enum Note {
    /// A change.
    Event { id: u64, now: Now, what: What, whom: Whom },
    /// A refused datagram of a local process.
    Refused { id: u64, now: Now, refusal: Refusal },
    /// A row of the event file that is no event.
    Row(Line),
    /// A listener that cannot be read.
    Unreadable { listener: Box<str>, text: Box<str> },
    /// Another event file, or none, from here on; the other half is dropped once it is in use.
    Export(Option<Export>, oneshot::Sender<()>),
}

/// A change, and what of the settings its words need.
#[derive(Debug)]
pub(super) struct What {
    pub(super) change: Change,
    /// The blind limit in force, nanoseconds.
    pub(super) blind_limit: u64,
}

/// Whom a change is about; names where they are known.
#[derive(Debug, Default)]
pub(super) struct Whom {
    pub(super) agent: Option<Owner>,
    pub(super) agent_name: Option<Box<str>>,
    pub(super) unit: Option<UnitId>,
    pub(super) unit_name: Option<Box<str>>,
    /// As a person reads it.
    pub(super) pid: Option<u32>,
    /// How far its origin can be trusted, where the slot is still there.
    pub(super) class: Option<Class>,
    /// The slot's newest payload, where the slot is still there.
    pub(super) payload: Option<u32>,
    /// The slot's newest nonce, where it is still there and has no key.
    pub(super) nonce: Option<u64>,
    /// Why the slot is judged as it is, where it is still there.
    pub(super) reasons: Option<Reasons>,
}

impl What {
    pub(super) fn of(core: &Core, change: &Change) -> Self {
        Self { change: change.clone(), blind_limit: core.settings().blind_limit }
    }
}

impl Whom {
    pub(super) fn of(core: &Core, now: Now, change: &Change) -> Self {
        match change {
            Change::Slot { slot, subject, .. } => {
                // The slot's number may be another's by now; its names count only if it is still the same slot.
                let view = core.view(now, *slot).filter(|view| view.agent == subject.agent);
                let same = view.as_ref().filter(|view| is_same(view, subject));
                Self {
                    agent_name: match &view {
                        Some(view) => view.agent_name.map(Into::into),
                        None => name_in_roster(core, subject.agent),
                    },
                    unit_name: same.and_then(|view| view.unit_name).map(Into::into),
                    class: same.map(|view| view.class),
                    payload: same.map(|view| view.payload),
                    nonce: same.and_then(|view| view.nonce),
                    reasons: same.and_then(|_| core.reasons(now, *slot)),
                    agent: Some(subject.agent),
                    unit: Some(subject.unit),
                    pid: Some(shown_pid(subject.pid)),
                }
            }
            Change::Agent { agent, .. } => {
                Self { agent: Some(*agent), agent_name: name_in_roster(core, *agent), ..Self::default() }
            }
            Change::Observer { .. } => Self::default(),
        }
    }
}

/// Whether a view of the same number and owner is of that slot.
pub(crate) fn is_same(view: &SlotView<'_>, subject: &Subject) -> bool {
    view.unit == subject.unit && (view.unit != UnitId::NONE || view.pid == shown_pid(subject.pid))
}

fn name_in_roster(core: &Core, agent: Owner) -> Option<Box<str>> {
    agent.agent().and_then(|agent| core.roster()?.get(agent)).map(|entry| entry.name.clone())
}
