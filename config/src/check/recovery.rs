//! What makes sense in `[[recovery]]`: programs that can be run, with arguments that mean what they seem to.

use super::excerpt;
use crate::observer::ObserverConfig;

/// More rules than this are a mistake.
const MAX_RULES: usize = 64;

/// The agent that processes of the observer's own host are.
const LOCAL: &str = "local";

/// What an argument can stand for.
const PLACEHOLDERS: [&str; 3] = ["pid", "agent", "unit"];

impl ObserverConfig {
    pub(super) fn check_recovery(&self, blame: &mut dyn FnMut(&str, &str)) {
        if self.recovery.len() > MAX_RULES {
            let message = format!("found {}; write at most {MAX_RULES} [[recovery]] sections", self.recovery.len());
            blame("recovery", &message);
        }
        for (index, rule) in self.recovery.iter().enumerate().take(MAX_RULES) {
            let exec = format!("recovery[{index}].exec");
            if let Some(program) = rule.exec.first().filter(|program| !program.starts_with('/')) {
                let program = excerpt(program);
                blame(
                    &exec,
                    &format!("no shell and no PATH looks for the program `{program}`; write its absolute path"),
                );
            }
            let foreign = rule.matching.agent.as_deref().filter(|agent| *agent != LOCAL);
            if let Some(agent) = foreign.filter(|_| rule.exec.iter().any(|argument| argument == "{pid}")) {
                let agent = excerpt(agent);
                blame(
                    &exec,
                    &format!(
                        "the pid of `{agent}` is one of another host and means nothing here; hand on {{agent}} and {{unit}}"
                    ),
                );
            }
            let is_name = |name: &&String| !name.is_empty() && !name.contains('=');
            for name in rule.env.iter().filter(|name| !is_name(name)) {
                let message = format!("`{}` is no name of a variable; write the name alone", excerpt(name));
                blame(&format!("recovery[{index}].env"), &message);
            }
            for message in rule.exec.iter().filter_map(|argument| misused(argument)) {
                blame(&exec, &message);
            }
        }
    }
}

/// What is wrong with the placeholders of an argument.
fn misused(argument: &str) -> Option<String> {
    let name = placeholder(argument)?;
    let (argument, shown) = (excerpt(argument), excerpt(name));
    if !PLACEHOLDERS.contains(&name) {
        return Some(format!(
            "in `{argument}`: unknown placeholder {{{shown}}}; there are {{pid}}, {{agent}} and {{unit}}"
        ));
    }
    (argument.len() > shown.len() + 2).then(|| {
        format!(
            "in `{argument}`: {{{shown}}} stands inside a longer argument; there is no shell, and only a whole argument is \
             replaced: write \"{{{shown}}}\" as one of its own"
        )
    })
}

/// The first word in lower case between braces.
fn placeholder(argument: &str) -> Option<&str> {
    let insides = argument.split('{').skip(1).filter_map(|rest| rest.split_once('}')).map(|(inside, _)| inside);
    let is_word = |inside: &&str| !inside.is_empty() && inside.bytes().all(|c| c.is_ascii_lowercase() || c == b'_');
    let mut words = insides.filter(is_word);
    words.next()
}
