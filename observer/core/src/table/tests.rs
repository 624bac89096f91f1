use std::collections::HashMap;

use proptest::prelude::*;
use varta_vlp::{key::AgentSecret, sealed::METADATA_MAX_LEN};

use super::*;
use crate::{
    agent::NO_AUDIENCE,
    slot::{Goodbye, PackedWindow},
};

fn agent(id: u64) -> Agent {
    Agent::new(AgentId(id), Generation(1), AgentSecret::from_bytes([0; 32]), NO_AUDIENCE)
}

fn slot(agent: u32, unit: u32, pid: u32) -> Slot {
    Slot::blank(agent, UnitId(unit), pid)
}

fn announce(table: &mut Table, place: u32, site: &str) {
    let mut room = [0; METADATA_MAX_LEN];
    let metadata = Metadata::write([("agent", "web-1"), ("site", site)], &mut room).unwrap();
    table.set_announce(place, Some(&metadata));
}

fn previous(owner: u32, start: u64) -> Previous {
    let window = PackedWindow::default();
    Previous { start, window, offset: 0, tag: 0, process: 0, goodbye: Goodbye::NONE, owner }
}

#[test]
fn announces_go_with_their_slots() {
    let mut table = Table::new(1);
    let agent = table.add_agent(agent(1));
    let places: Vec<_> = (0..4).map(|pid| table.add_slot(slot(agent, 0, pid + 2))).collect();
    let sites = |table: &Table| -> Vec<Option<String>> {
        let site = |place| Some(table.announced(place)?.get("site")?.to_owned());
        (0..4).map(|number| table.live_slot(places[number]).and_then(|_| site(places[number]))).collect()
    };
    let known = |sites: [&str; 4]| sites.map(|site| (!site.is_empty()).then(|| site.to_owned()));
    for (place, site) in places.iter().zip(["a", "b", "a"]) {
        announce(&mut table, *place, site);
    }
    assert_eq!((sites(&table), table.texts.len()), (known(["a", "b", "a", ""]).to_vec(), 2));
    announce(&mut table, places[1], "a");
    assert_eq!((sites(&table), table.texts.len()), (known(["a", "a", "a", ""]).to_vec(), 1));
    table.remove_slot(places[0]);
    table.remove_slot(places[2]);
    assert_eq!((sites(&table), table.texts.len()), (known(["", "a", "", ""]).to_vec(), 1));
    assert_eq!(table.add_slot(slot(agent, 0, 9)), places[2], "the place that was left last");
    assert_eq!(sites(&table), known(["", "a", "", ""]), "nothing is inherited");
    table.remove_slot(places[1]);
    assert_eq!(table.texts.len(), 0);
}

#[derive(Clone, Copy, Debug)]
struct Step {
    agent: u64,
    unit: u32,
    pid: u32,
    what: u8,
}

fn step() -> impl Strategy<Value = Step> {
    (0..6_u64, 0..4_u32, 2..6_u32, 0..8_u8).prop_map(|(agent, unit, pid, what)| Step { agent, unit, pid, what })
}

/// A named unit is one slot whatever its pid; without a unit the pid counts.
fn key(step: Step) -> (u64, u32, u32) {
    (step.agent, step.unit, if step.unit == 0 { step.pid } else { 0 })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn as_a_map_of_slots(seed in any::<u64>(), steps in prop::collection::vec(step(), 1..400)) {
        let mut table = Table::new(seed);
        let mut slots: HashMap<(u64, u32, u32), Option<u64>> = HashMap::new();
        let mut most = 0;
        for (time, step) in steps.into_iter().enumerate() {
            let known = table.find_agent(AgentId(step.agent));
            let found = known.and_then(|agent| table.find_slot(agent, UnitId(step.unit), step.pid));
            prop_assert_eq!(found.is_some(), slots.contains_key(&key(step)));
            match (step.what, found) {
                (0, Some(place)) => {
                    table.remove_slot(place);
                    slots.remove(&key(step));
                }
                (1, Some(place)) => {
                    table.set_previous(place, previous(place, time as u64));
                    slots.insert(key(step), Some(time as u64));
                }
                (2, Some(place)) => {
                    table.drop_previous(place);
                    slots.insert(key(step), None);
                }
                (3, None) => {
                    if let Some(agent) = known.filter(|agent| table.agent(*agent).slots == 0) {
                        table.remove_agent(agent);
                        prop_assert_eq!(table.find_agent(AgentId(step.agent)), None);
                    }
                }
                (4.., None) => {
                    let agent = known.unwrap_or_else(|| table.add_agent(agent(step.agent)));
                    table.add_slot(slot(agent, step.unit, step.pid));
                    slots.insert(key(step), None);
                }
                _ => {}
            }
            most = most.max(slots.len());
            prop_assert_eq!(table.slot_count(), slots.len());
            let indexed = slots.keys().filter(|key| slots.keys().filter(|other| other.0 == key.0).count() > 1);
            prop_assert_eq!(table.slot_index.len(), indexed.count(), "only slots are not indexed");
            for id in 0..6 {
                let Some(agent) = table.find_agent(AgentId(id)) else { continue };
                let count = slots.keys().filter(|key| key.0 == id).count();
                prop_assert_eq!(table.slots_of(agent).count(), count);
                prop_assert_eq!(usize::from(table.agent(agent).slots), count);
                prop_assert!(table.live_agent(agent).is_some());
            }
        }
        prop_assert!(table.slot_numbers() as usize <= most, "numbers are used again");
        let before = slots.values().flatten().count();
        prop_assert_eq!(table.previous.len(), before, "sessions before have no gaps");
        for ((agent, unit, pid), start) in slots {
            let agent = table.find_agent(AgentId(agent)).unwrap();
            let place = table.find_slot(agent, UnitId(unit), pid).unwrap();
            prop_assert_eq!(table.previous(place).map(|previous| previous.start), start);
        }
    }
}
#[test]
fn room_for_sessions_before_is_given_back() {
    let mut table = Table::new(1);
    let agent = table.add_agent(agent(1));
    let count = 20_000_u32;
    let places: Vec<_> = (0..count).map(|pid| table.add_slot(slot(agent, 0, pid + 2))).collect();
    for place in &places {
        table.set_previous(*place, previous(*place, u64::from(*place)));
    }
    // 7919 has no divisor with 20,000 in common: every slot once, in no order.
    let order = (0..count).map(|step| places[(u64::from(step) * 7919 % u64::from(count)) as usize]);
    for (dropped, place) in (1..).zip(order) {
        table.drop_previous(place);
        assert!(table.previous(place).is_none());
        assert_eq!(table.previous.len(), (count - dropped) as usize);
        let most = (2 * table.previous.len() + 1).max(2 * PREVIOUS_KEPT);
        assert!(table.previous.capacity() <= most, "room for {} after {dropped}", table.previous.capacity());
    }
    assert!(table.previous.capacity() <= PREVIOUS_KEPT);
}
