use proptest::{option, prelude::*};

use super::*;

fn key() -> impl Strategy<Value = SlotKey> {
    (option::of(any::<u64>()), any::<u32>(), any::<u32>()).prop_map(|(agent, unit, pid)| SlotKey {
        agent: agent.map_or(Owner::Local, |agent| Owner::Agent(AgentId(agent))),
        unit: UnitId(unit),
        pid,
    })
}

fn phase() -> impl Strategy<Value = Phase> {
    (0..9u8).prop_map(|code| phase_of(code).unwrap())
}

fn slot() -> impl Strategy<Value = SavedSlot> {
    let optional = (
        option::of(any::<(u64, u64, u128)>()),
        option::of(any::<u64>()),
        option::of(any::<i64>()),
        option::of(any::<u64>()),
        option::of(proptest::collection::vec(any::<u8>(), 0..=METADATA_MAX_LEN)),
    );
    let words = any::<(u32, u32, u32, u32, u32)>();
    let longs = any::<[u64; 8]>();
    (key(), 0..4u8, phase(), words, longs, any::<(u64, u128)>(), optional, any::<(bool, bool)>()).prop_map(
        |(key, status, phase, words, longs, window, optional, (hold, terminal))| SavedSlot {
            key,
            generation: Generation(words.0),
            session: longs[0],
            window,
            previous: optional.0,
            last_counter: optional.1,
            boot: longs[1],
            timestamp: longs[2],
            sent_at: WallNs(longs[3]),
            offset: optional.2,
            arrival: MonoNs(longs[4]),
            heard: MonoNs(longs[5]),
            deadline: MonoNs(longs[6]),
            contested_until: optional.3.map(MonoNs),
            beats: longs[7],
            next_due_ms: words.1,
            payload: words.2,
            restarts: words.3,
            stalls: words.4,
            status: status_of(status).unwrap(),
            phase,
            hold,
            terminal,
            announce: optional.4.map(Vec::into_boxed_slice),
        },
    )
}

fn saved() -> impl Strategy<Value = Saved> {
    let agent = any::<(u64, u32, u32, u64)>().prop_map(|(agent, floor, floor_since, barrier)| {
        Saved::Agent(SavedAgent {
            agent: AgentId(agent),
            floor: Generation(floor),
            floor_since,
            barrier: WallNs(barrier),
        })
    });
    prop_oneof![
        1 => agent,
        3 => slot().prop_map(|slot| Saved::Slot(Box::new(slot))),
        1 => key().prop_map(Saved::Removed),
    ]
}

fn encoded(saved: &Saved) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode(saved, &mut bytes);
    bytes
}

#[test]
fn every_phase_and_status_has_a_code_of_its_own() {
    let all = [Phase::Live, Phase::Held, Phase::Stalled, Phase::Departed, Phase::Ended];
    for phase in all.into_iter().chain(Cause::ALL.map(Phase::Unknown)) {
        assert_eq!(phase_of(phase_code(phase)), Some(phase));
    }
    assert_eq!(phase_of(9), None);
    for status in [Status::Ok, Status::Degraded, Status::Critical, Status::Stall] {
        assert_eq!(status_of(status as u8), Some(status));
    }
    assert_eq!(status_of(4), None);
}

#[test]
fn what_means_nothing_is_refused() {
    let removed = encoded(&Saved::Removed(SlotKey { agent: Owner::Agent(AgentId(1)), unit: UnitId(2), pid: 3 }));
    let with = |place: usize, value: u8| {
        let mut bytes = removed.clone();
        bytes[place] = value;
        decode(&mut bytes.as_slice())
    };
    assert_eq!(with(2, 9), Some(Err(Malformed::Kind(9))));
    assert_eq!(with(0, 18), Some(Err(Malformed::Short)), "longer than there is");
    assert_eq!(with(0, 16), Some(Err(Malformed::Short)), "shorter than its fields");
    let mut longer = removed.clone();
    longer.push(0);
    longer[0] = 18;
    assert_eq!(decode(&mut longer.as_slice()), Some(Err(Malformed::Long)));
}

#[test]
fn what_is_said_from_a_network_without_a_key_is_not_kept() {
    let agent = Owner::Plain([10, 0, 0, 5].into());
    assert!(encoded(&Saved::Removed(SlotKey { agent, unit: UnitId::NONE, pid: 3 })).is_empty());
}

proptest! {
    #[test]
    fn records_come_back_as_they_went(all in proptest::collection::vec(saved(), 0..8)) {
        let mut bytes = Vec::new();
        all.iter().for_each(|saved| encode(saved, &mut bytes));
        let mut rest = bytes.as_slice();
        for saved in &all {
            prop_assert_eq!(decode(&mut rest), Some(Ok(saved.clone())));
        }
        prop_assert_eq!(decode(&mut rest), None);
    }

    #[test]
    fn arbitrary_bytes_are_decoded_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            let before = rest.len();
            prop_assert!(decode(&mut rest).is_some());
            prop_assert!(rest.len() < before);
        }
    }

    /// A record has one form: whatever is decoded at all encodes to the same bytes.
    #[test]
    fn a_changed_record_is_refused_or_is_another_one(
        saved in saved(), place in any::<prop::sample::Index>(), bit in 0..8u8,
    ) {
        let whole = encoded(&saved);
        let mut changed = whole.clone();
        changed[place.index(whole.len())] ^= 1 << bit;
        let mut rest = changed.as_slice();
        if let Some(Ok(other)) = decode(&mut rest) {
            prop_assert_ne!(&other, &saved);
            prop_assert_eq!(encoded(&other), &changed[..changed.len() - rest.len()]);
        }
        for length in 0..whole.len() {
            let cut = decode(&mut &whole[..length]);
            prop_assert!(cut == Some(Err(Malformed::Short)) || (length == 0 && cut.is_none()));
        }
    }

    #[test]
    fn an_announce_beyond_all_bounds_is_left_out(mut slot in slot(), extra in 1..70_000usize) {
        slot.announce = Some(vec![7; METADATA_MAX_LEN + extra].into());
        let bytes = encoded(&Saved::Slot(Box::new(slot.clone())));
        slot.announce = None;
        prop_assert_eq!(decode(&mut bytes.as_slice()), Some(Ok(Saved::Slot(Box::new(slot)))));
    }
}
