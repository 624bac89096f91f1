//! What holds of a core at any time, whatever it was fed.

use varta_core::{Audience, Core, Cursor, Limits, Now, Saved, Settings, Verdict};
use varta_vlp::{
    AudienceId,
    key::{AudienceKey, Name, RootSecret},
};
use varta_watch::state::record;

/// The fleet's root in every case.
pub(super) fn audience_key(name: &str) -> (AudienceId, AudienceKey) {
    let name = Name::new(name).expect("a name");
    (name.audience_id(), AudienceKey::new(&RootSecret::from_bytes([7; 32]).audience(name)))
}

pub(super) fn core(settings: Settings, limits: Limits) -> Core {
    let (id, key) = audience_key("obs-1");
    Core::new(settings, limits, vec![Audience { id, key, until: None }], 2, 1)
}

/// Everything that would be kept on disk.
pub(super) fn saved(core: &Core) -> Vec<Saved> {
    let mut records = Vec::new();
    let mut cursor = Some(0);
    while let Some(from) = cursor {
        cursor = core.save_page(from, 5, |saved| records.push(saved));
    }
    records
}

/// Counters conserve, rows and verdicts agree, and every record has one form.
pub(super) fn assert_sane(core: &Core, now: Now) {
    for listener in &core.counters().listeners {
        let sum = listener.accepted + listener.accepted_late + listener.rejected_total();
        assert_eq!(listener.received, sum, "received is accepted, late and rejected");
    }
    let mut counts = [0; Verdict::ALL.len()];
    let mut cursor = Some(Cursor::default());
    while let Some(from) = cursor {
        cursor = core.page(now, from, 100, |row| {
            counts[row.verdict as usize] += 1;
            let _ = row.labels().count();
            let why = row.slot.map(|slot| core.why(now, slot));
            assert!(why.is_none_or(|why| !why.is_empty()), "a slot without a reason");
        });
    }
    assert_eq!(counts, core.verdict_counts(), "rows by verdict");
}

/// A record comes back as it was written, and alone.
pub(super) fn assert_kept(records: &[Saved]) {
    let mut bytes = Vec::new();
    for saved in records {
        record::encode(saved, &mut bytes);
    }
    let mut rest = bytes.as_slice();
    for saved in records {
        assert_eq!(record::decode(&mut rest), Some(Ok(saved.clone())), "read as it was written");
    }
    assert_eq!(record::decode(&mut rest), None);
}

/// Lets the core be called at `now` as a loop calls it: until it asks for a later time.
pub(super) fn turn(core: &mut Core, now: Now) {
    for _ in 0..64 {
        core.begin_turn(false);
        core.handle_timeout(now);
        while core.poll_change().is_some() {}
        if core.poll_timeout() > now.mono {
            return;
        }
    }
    panic!("a timeout at {:?} that is not served at {:?}", core.poll_timeout(), now.mono);
}
