//! What takes more words: help, one unit, one incident.

use ratatui::text::{Line, Span};

use super::{
    draw::Look,
    model::{Model, Open},
    picture::{Detail, Incident, Key, Unit},
    text::{count, span},
};

const HELP: &str = "
 up, down, j, k   move; the chosen row stays chosen wherever it moves
 PgUp, PgDn       move by a screen; Ctrl-U and Ctrl-D by half of one
 Home, g          to the top, and stay there whatever comes
 End, G           to the bottom
 1, 2, 3, Tab     units, incidents (of a relay), events
 Enter            all there is to say of a unit or an incident; Esc back
 /                find: words in any order, KEY=VALUE for labels;
                  Enter keeps it, Esc forgets it
 s                another order: worst first, by name, longest unheard
                  first, newest verdict first (of a relay)
 p, Space         hold the picture; again to let it go on
 q, Ctrl-C        quit

 SINCE   for how long it has its verdict       HEARD  since its last beat
 WITHIN  from a beat to the deadline of the next
 A verdict with a question mark is disputed: observers disagree.

 Only the worst units of a large fleet are asked for; what is found by /
 is looked for in all of it at a relay. An observer does not search: it
 finds others by their whole name, AGENT/UNIT.";

pub(super) fn help() -> Vec<Line<'static>> {
    HELP.lines().skip(1).map(Line::raw).collect()
}

/// What is open.
pub(super) fn opened(model: &Model, look: Look) -> Vec<Line<'static>> {
    match &model.open {
        Some(Open::Unit(key, told)) => unit(model, key, told.as_deref(), look),
        Some(Open::Incident(id)) => match model.incident(*id) {
            Some(one) => incident(one, look),
            None => vec![Line::raw(format!(" incident {id} is not open any more"))],
        },
        None => Vec::new(),
    }
}

fn unit(model: &Model, key: &Key, told: Option<&Result<Detail, String>>, look: Look) -> Vec<Line<'static>> {
    match (told, model.unit(key)) {
        (Some(Ok(detail)), _) => {
            let mut lines = said_of(&detail.unit, look);
            if !detail.views.is_empty() {
                lines.extend([Line::default(), Line::styled(" What each observer says", look.strong())]);
                let views = detail.views.iter();
                lines.extend(views.map(|(verdict, line)| Line::styled(format!("   {line}"), look.verdict(*verdict))));
            }
            if !detail.history.is_empty() {
                lines.extend([Line::default(), Line::styled(" History", look.strong())]);
                lines.extend(detail.history.iter().map(|line| Line::raw(format!("   {line}"))));
            }
            lines
        }
        (Some(Err(problem)), _) => vec![Line::raw(format!(" {} {problem}", key.name()))],
        (None, Some(unit)) => {
            let mut lines = said_of(unit, look);
            lines.extend([Line::default(), Line::styled(" more is being asked for", look.dim())]);
            lines
        }
        (None, None) => vec![Line::raw(format!(" asking for {}", key.name()))],
    }
}

fn said_of(unit: &Unit, look: Look) -> Vec<Line<'static>> {
    let disputed = if unit.disputed { ", disputed" } else { "" };
    let mut lines = vec![
        Line::from(vec![
            Span::styled(format!(" {}", unit.name), look.strong()),
            Span::raw(": "),
            Span::styled(format!("{}{disputed}", unit.verdict.name()), look.verdict(unit.verdict)),
        ]),
        Line::raw(format!(" {}", unit.why)),
        Line::default(),
    ];
    let mut fact = |name: &str, value: String| lines.push(Line::raw(format!("   {name:<13}{value}")));
    if let Some(since) = unit.since_ms {
        fact("since", span(since));
    }
    fact("heard", unit.heard_ms.map_or_else(|| "never".to_owned(), |age| format!("{} ago", span(age))));
    if let Some(within) = unit.within_ms {
        fact("next within", format!("{} of it", span(within)));
    }
    for (name, value) in [("origin", &unit.origin), ("observers", &unit.observers)] {
        if !value.is_empty() {
            fact(name, value.clone());
        }
    }
    for (name, value) in &unit.facts {
        fact(name, value.clone());
    }
    if let Some(incident) = unit.incident {
        fact("incident", format!("#{incident}"));
    }
    for (place, (key, value)) in unit.labels.iter().enumerate() {
        fact(if place == 0 { "labels" } else { "" }, format!("{key}={value}"));
    }
    lines
}

fn incident(one: &Incident, look: Look) -> Vec<Line<'static>> {
    let severity = if one.critical { "critical" } else { "warning" };
    let mut lines = vec![
        Line::styled(format!(" #{} {}", one.id, one.title), look.strong()),
        Line::raw(format!(
            " {severity}, {}, {} {}",
            one.kind,
            count(one.count),
            if one.count == 1 { "unit" } else { "units" }
        )),
    ];
    if let Some(open) = one.open_ms {
        lines.push(Line::raw(format!(" open for {}", span(open))));
    }
    match &one.taken {
        Some(by) => lines.push(Line::raw(format!(" taken by {by}"))),
        None => lines.push(Line::raw(format!(" taken by nobody: varta ack {} --by NAME", one.id))),
    }
    if one.silenced {
        lines.push(Line::raw(" silenced"));
    }
    if !one.evidence.is_empty() {
        lines.extend([Line::default(), Line::styled(" Evidence", look.strong())]);
        lines.extend(one.evidence.iter().map(|line| Line::raw(format!("   {line}"))));
    }
    if !one.members.is_empty() {
        let shown = one.members.len() as u64;
        let of = if shown < one.count { format!(" ({} of {})", count(shown), count(one.count)) } else { String::new() };
        lines.extend([Line::default(), Line::styled(format!(" Units{of}"), look.strong())]);
        let members = one.members.iter();
        lines.extend(members.map(|(name, verdict)| {
            let verdict = Span::styled(format!("   {:<9} ", verdict.name()), look.verdict(*verdict));
            Line::from(vec![verdict, Span::raw(name.clone())])
        }));
    }
    lines
}
