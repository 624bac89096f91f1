//! Which slots a path may mean.

use varta_core::Owner;
use varta_vlp::{AgentId, UnitId, key::Name};

use crate::command::Selector;

/// The slots that `agent` and `unit` may name, the likelier first: whoever speaks without a key before agents of that
/// name, names before ids of the same letters, but `pid:4242` before a unit of that name. Each can still be reached by its
/// id.
pub(super) fn selectors(agent: &str, unit: &str) -> Vec<Selector> {
    let named = Name::new(agent).ok().map(Name::agent_id);
    let hex = hex::<16>(agent).map(AgentId);
    let agents = Owner::of_unsealed(agent).into_iter().chain(named.into_iter().chain(hex).map(Owner::Agent));
    agents.flat_map(|agent| units(unit).map(move |(unit, pid)| Selector { agent, unit, pid })).collect()
}

fn units(unit: &str) -> impl Iterator<Item = (UnitId, u32)> + use<> {
    let pid = unit.strip_prefix("pid:").and_then(decimal).map(|pid| (UnitId::NONE, pid));
    let named = Name::new(unit).ok().map(|name| (name.unit_id(), 0));
    let hex = hex::<8>(unit).and_then(|id| u32::try_from(id).ok()).filter(|id| *id != 0).map(|id| (UnitId(id), 0));
    pid.into_iter().chain(named).chain(hex)
}

/// A number without a sign and leading zeros.
fn decimal(text: &str) -> Option<u32> {
    let number: u32 = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

/// The number of `N` lower-case hex digits.
fn hex<const N: usize>(text: &str) -> Option<u64> {
    let digits = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    (text.len() == N && digits).then(|| u64::from_str_radix(text, 16).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(agent: &str, unit: &str) -> Vec<(u64, u32, u32)> {
        selectors(agent, unit).into_iter().map(|it| (it.agent.agent().unwrap().0, it.unit.0, it.pid)).collect()
    }

    #[test]
    fn who_speaks_without_a_key_comes_first() {
        let first = |agent| selectors(agent, "pid:42").first().map(|it| (it.agent, it.unit, it.pid));
        assert_eq!(first("local"), Some((Owner::Local, UnitId::NONE, 42)));
        assert_eq!(first("udp~10.0.0.5"), Some((Owner::Plain([10, 0, 0, 5].into()), UnitId::NONE, 42)));
        assert_eq!(selectors("udp~host", "pid:42").len(), 0);
    }

    #[test]
    fn names_come_before_ids_and_pids_before_names() {
        let agent = |name: &str| Name::new(name).unwrap().agent_id().0;
        let unit = |name: &str| Name::new(name).unwrap().unit_id().0;
        assert_eq!(found("web-1", "api"), [(agent("web-1"), unit("api"), 0)]);
        assert_eq!(found("web-1", "pid:42"), [(agent("web-1"), 0, 42), (agent("web-1"), unit("pid:42"), 0)]);
        let hex = "00000000000000ff";
        let (named, id) = (agent(hex), 0xff);
        let (unit_named, unit_id) = (unit("0badcafe"), 0x0bad_cafe);
        assert_eq!(
            found(hex, "0badcafe"),
            [(named, unit_named, 0), (named, unit_id, 0), (id, unit_named, 0), (id, unit_id, 0)]
        );
        assert_eq!(found("web-1", "pid:042"), [(agent("web-1"), unit("pid:042"), 0)]);
        assert_eq!(found("web-1", "00000000"), [(agent("web-1"), unit("00000000"), 0)], "id 0 is no unit");
        assert_eq!(found("-web", "api"), []);
        assert_eq!(found("web-1", "a b"), []);
        assert_eq!(found("00000000000000FF", "api"), [(agent("00000000000000FF"), unit("api"), 0)]);
    }
}
