//! The roster: every text is answered by line and key, pieces mean what the whole means, and what is taken can be
//! written again.

use std::{collections::BTreeMap, collections::HashSet, path::Path, time::Duration};

use varta_client::keyfile::UnixSeconds;
use varta_keys::{Roster, RosterAgent, check_label};
use varta_vlp::{Generation, key::Name};

use super::{
    input::Input,
    text::{Pieces, assert_placed},
};

const FILE: &str = "/etc/varta/roster.toml";

const PIECES: Pieces<'_> = Pieces {
    headers: &["[[agent]]", "[agent]", "[[ agent ]]", "[[agent]] # one", "[agent.labels]", "[other]", "  [[agent]]\t"],
    keys: &[
        "version",
        "name",
        "generation",
        "labels",
        "expires",
        "required",
        "recovery",
        "max_promise",
        "max_hold",
        "generation_overlap",
        "return_within",
        "revoked",
        "agent",
        "nmae",
        "labels.site",
        "\"na\\u006de\"",
    ],
    values: &[
        "1",
        "0",
        "18446744073709551615",
        "4294967296",
        "-1",
        "\"web-1\"",
        "\"web-2\"",
        "\"a b\"",
        "\"\"",
        "{ site = \"ams\" }",
        "{ unit = \"x\" }",
        "{ a = 1 }",
        "{}",
        "2030-01-31T12:00:00Z",
        "2030-01-31",
        "true",
        "false",
        "\"7d\"",
        "\"1ns\"",
        "\"0s\"",
        "\"11years\"",
        "\"90s\"",
        "[1, 2]",
        "[2, 1]",
        "[1, 1]",
        "[0]",
        "[]",
        "[{ name = \"x\", generation = 1 }]",
        "\"\"\"\n[[agent]]\n\"\"\"",
        "'''\n'''",
        "1.5",
    ],
};

fn check(text: &str) -> Option<Roster> {
    let read = Roster::parse(text, Path::new(FILE));
    // Three apostrophes in a comment keep the reader from cutting the text into pieces.
    let whole = Roster::parse(&format!("# '''\n{text}"), Path::new(FILE));
    let starts_plain = !text.starts_with('\u{feff}');
    match read {
        Ok(roster) => {
            assert!(!starts_plain || whole.as_ref() == Ok(&roster), "another roster when read whole");
            check_rules(&roster);
            let rendered = roster.render();
            let back = Roster::parse(&rendered, Path::new(FILE));
            assert_eq!(back.as_ref(), Ok(&roster), "rendered as\n{rendered}");
            Some(roster)
        }
        Err(error) => {
            assert!(!starts_plain || whole.is_err(), "refused in pieces and taken whole: {error}");
            let told = error.to_string();
            assert_placed(&told, FILE, text);
            assert!(told.starts_with(&format!("{FILE}:{}: ", error.line)), "{told}");
            None
        }
    }
}

fn check_rules(roster: &Roster) {
    assert!(roster.version > 0 && roster.agents.len() <= Roster::MAX_AGENTS);
    let (mut names, mut ids) = (HashSet::new(), HashSet::new());
    for agent in &roster.agents {
        let name = Name::new(&agent.name).expect("a name");
        assert!(names.insert(name.as_str()) && ids.insert(name.agent_id()), "{} stands twice", agent.name);
        assert!(agent.generation.0 > 0 && agent.labels.len() <= 32);
        for (key, value) in &agent.labels {
            assert_eq!(check_label(key, value), Ok(()));
        }
        assert!(agent.revoked.is_sorted_by(|a, b| a < b) && agent.revoked.iter().all(|revoked| revoked.0 > 0));
        let durations = [agent.max_promise, agent.max_hold, agent.generation_overlap, agent.return_within];
        for duration in durations.into_iter().flatten() {
            assert!((1..=3660 * 86_400_000).contains(&duration.as_millis()), "{duration:?}");
        }
    }
}

/// A roster that keeps the rules, of up to 80 agents: more than are read at once.
fn chosen(input: &mut Input<'_>) -> Roster {
    let count = input.byte() % 81;
    let mut agents = Vec::new();
    for number in 0..count {
        let mut agent = RosterAgent::new(Name::new("x").expect("a name"), Generation(1 + u32::from(number)));
        agent.name = format!("web-{number}");
        let has = input.byte();
        let duration = |bit: u8, input: &mut Input<'_>| {
            (has & bit != 0).then(|| Duration::from_millis(1 + u64::from(input.short()) * 999))
        };
        agent.max_promise = duration(1, input);
        agent.max_hold = duration(2, input);
        agent.generation_overlap = duration(4, input);
        agent.return_within = duration(8, input);
        (agent.required, agent.recovery) = (has & 16 != 0, has & 32 != 0);
        agent.expires = (has & 64 != 0).then(|| UnixSeconds(u64::from(input.word())));
        if has & 128 != 0 {
            let text = |input: &mut Input<'_>| {
                let length = input.below(12);
                String::from_utf8_lossy(input.bytes(length)).into_owned()
            };
            let labels: BTreeMap<_, _> = [(text(input), text(input))].into();
            agent.labels = labels.into_iter().filter(|(key, value)| check_label(key, value).is_ok()).collect();
            agent.revoked = (1..=u32::from(input.byte() % 4)).map(Generation).collect();
        }
        agents.push(agent);
    }
    Roster { version: input.long().max(1), agents }
}

/// Judges a text as it is, one of pieces, or a good roster with edits.
pub fn body(data: &[u8]) {
    let mut input = Input::new(data);
    match input.byte() % 3 {
        0 => drop(check(&String::from_utf8_lossy(input.rest()))),
        1 => drop(check(&PIECES.text(&mut input))),
        _ => {
            let length = input.below(300);
            let roster = chosen(&mut Input::new(input.bytes(length)));
            let text = roster.render();
            let mut doubled = roster.clone();
            let (one, other) = (input.below(81), input.below(81));
            assert_eq!(check(&text), Some(roster), "what was rendered is read:\n{text}");
            if let Some(name) = doubled.agents.get(one).map(|agent| agent.name.clone())
                && let Some(agent) = doubled.agents.get_mut(other)
                && agent.name != name
            {
                agent.name = name;
                assert_eq!(check(&doubled.render()), None, "a name stands twice, at {one} and {other}");
            }
            check(&PIECES.edit(&text, &mut input));
        }
    }
}
