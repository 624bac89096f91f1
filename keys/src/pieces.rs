//! Long lists of agents, read piece by piece: parsed at once, a list of a million would take gigabytes.

use std::path::Path;

use varta_client::keyfile::{ContentError, Fault, Section, Source};

const HEADER: &str = "[[agent]]";
/// Agents parsed at once.
const PIECE: usize = 32;
/// A text that cannot be cut into pieces may have this many bytes.
const MAX_WHOLE_BYTES: usize = 16 << 20;

/// The beginning of a piece.
#[derive(Clone, Copy)]
struct Cut {
    offset: usize,
    lines_before: usize,
    agents_before: usize,
}

/// Reads `text`: what stands before the agents with `head`, whose keys are `known`, then agent by agent with `agent`,
/// whose keys are `agent_keys`.
pub(crate) fn read_agents<T>(
    text: &str,
    file: &Path,
    known: &'static [&'static str],
    agent_keys: &'static [&'static str],
    max: usize,
    head: impl FnOnce(&Section<'_>) -> Result<T, ContentError>,
    mut agent: impl FnMut(&mut T, &Section<'_>) -> Result<(), ContentError>,
) -> Result<T, ContentError> {
    let cuts = cuts(text);
    let end = cuts.first().map_or(text.len(), |cut| cut.offset);
    let mut read = |whole: &mut T, root: &Section<'_>, before: usize| {
        for section in root.sections("agent", agent_keys, 0..=max.saturating_sub(before))? {
            agent(whole, &section)?;
        }
        Ok(())
    };
    if end > MAX_WHOLE_BYTES {
        let message = "a file of this size must be plain: all else before the agents, each agent under a line [[agent]] \
                       of its own, no strings of several lines";
        return Err(ContentError {
            file: file.to_owned(),
            line: 1,
            key: "agent".to_owned(),
            fault: Fault::Value(message.to_owned()),
        });
    }
    let head_text = text.get(..end).unwrap_or_default();
    let mut whole = Source::new(file, head_text).read(known, |root| {
        if end < text.len() && root.has("agent") {
            let first = "the [[agent]] below".to_owned();
            return Err(root.fault("agent", Fault::Duplicate { first }));
        }
        let mut whole = head(root)?;
        read(&mut whole, root, 0)?;
        Ok(whole)
    })?;
    for (index, cut) in cuts.iter().enumerate() {
        let end = cuts.get(index + 1).map_or(text.len(), |next| next.offset);
        let piece = text.get(cut.offset..end).unwrap_or_default();
        Source::part(file, piece, cut.lines_before, cut.agents_before)
            .read(&["agent"], |root| read(&mut whole, root, cut.agents_before))?;
    }
    Ok(whole)
}

/// Where `text` can be cut so that each piece means alone what it means in the whole; nowhere if in doubt.
fn cuts(text: &str) -> Vec<Cut> {
    let mut cuts = Vec::new();
    if text.contains("\"\"\"") || text.contains("'''") {
        return cuts;
    }
    let (mut agents, mut offset) = (0, 0);
    for (number, line) in text.split_inclusive('\n').enumerate() {
        let trimmed = line.trim();
        if trimmed == HEADER {
            if agents % PIECE == 0 {
                cuts.push(Cut { offset, lines_before: number, agents_before: agents });
            }
            agents += 1;
        } else if trimmed.starts_with('[') && agents > 0 {
            return Vec::new();
        }
        offset += line.len();
    }
    cuts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Result<Vec<String>, ContentError> {
        let head = |root: &Section<'_>| root.flag("head").map(|_| Vec::new());
        read_agents(text, Path::new("f"), &["head", "agent"], &["name"], 2000, head, |all, agent| {
            all.push(agent.str("name")?.to_owned());
            Ok(())
        })
    }

    fn list(count: usize) -> String {
        let mut text = "head = true\n".to_owned();
        for number in 0..count {
            text.push_str(&format!("\n[[agent]]\nname = \"n{number}\"\n"));
        }
        text
    }

    #[test]
    fn pieces_together_are_the_whole() {
        for count in [0, 1, PIECE - 1, PIECE, PIECE + 1, 2 * PIECE, 2 * PIECE + 1] {
            let text = list(count);
            assert_eq!(cuts(&text).len(), count.div_ceil(PIECE));
            let wanted: Vec<_> = (0..count).map(|number| format!("n{number}")).collect();
            assert_eq!(names(&text), Ok(wanted));
        }
    }

    #[test]
    fn mistakes_are_told_at_their_place_in_the_whole() {
        for place in [0, PIECE - 1, PIECE, 2 * PIECE + 5] {
            let text = list(2 * PIECE + 10).replace(&format!("name = \"n{place}\"\n"), "nmae = 1\n");
            let error = names(&text).expect_err("a misspelt key");
            assert_eq!((error.line, error.key), (4 + 3 * place, format!("agent[{place}].nmae")));
        }
        let error = names(&(list(2 * PIECE) + "name = \"again\"\n")).expect_err("twice");
        assert_eq!(error.line, 2 + 3 * 2 * PIECE);
        let error = names(&list(2001)).expect_err("one too many");
        assert!(matches!(error.fault, Fault::Count { .. }), "{error}");
    }

    #[test]
    fn what_is_not_plain_is_read_whole() {
        for extra in [
            "[other]\n",
            "[agent.labels]\n",
            "[[ agent ]]\nname = \"x\"\n",
            "x = \"\"\"\n[[agent]]\n\"\"\"\n",
            "x = '''y'''\n",
        ] {
            assert!(cuts(&(list(2) + extra)).is_empty(), "{extra}");
        }
        let read = names(&(list(2) + "[[ agent ]] # by hand\nname = \"x\"\n")).expect("legal TOML");
        assert_eq!(read, ["n0", "n1", "x"]);
        let error = names(&(list(2) + "[head2]\n")).expect_err("an unknown table");
        assert_eq!((error.line, error.key.as_str()), (8, "head2"));
        let text = "head = true\nagent = []\n[[agent]]\nname = \"x\"\n";
        let error = names(text).expect_err("the list stands twice");
        assert_eq!((error.line, error.key.as_str()), (2, "agent"), "{error}");
        let inline = "head = true\nagent = [{ name = \"x\" }]\n";
        assert_eq!(names(inline), Ok(vec!["x".to_owned()]));
    }

    #[test]
    fn a_long_text_must_be_plain() {
        let text = list(1) + "[[ agent ]]\nname = \"x\"\n" + &"# filler\n".repeat(MAX_WHOLE_BYTES / 9 + 1);
        let error = names(&text).expect_err("too long to read whole");
        assert!(error.to_string().contains("must be plain"), "{error}");
    }
}
