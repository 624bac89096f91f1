//! The lists: units, incidents, events.

use ratatui::{
    Frame,
    layout::Rect,
    style::Style,
    text::{Line, Span},
    widgets::Paragraph,
};

use super::{
    draw::{Look, fit},
    model::{Link, Model, Pane},
    picture::Unit,
    text::{count, span},
};
use varta_vlp::subject::Verdict;

/// A column of the table of units.
struct Column {
    title: &'static str,
    /// The least columns it wants, and the most.
    least: usize,
    most: usize,
    cell: fn(&Unit) -> String,
}

fn since(unit: &Unit) -> String {
    unit.since_ms.map_or_else(String::new, span)
}

fn heard(unit: &Unit) -> String {
    unit.heard_ms.map_or_else(|| "never".to_owned(), span)
}

/// In the order in which they stand. Each title tells them apart below.
static COLUMNS: [Column; 9] = [
    Column { title: "VERDICT", least: 9, most: 9, cell: |unit| unit.verdict.name().to_owned() },
    Column { title: "UNIT", least: 12, most: 40, cell: |unit| unit.name.clone() },
    Column { title: "SINCE", least: 6, most: 7, cell: since },
    Column { title: "HEARD", least: 6, most: 7, cell: heard },
    Column { title: "WITHIN", least: 6, most: 7, cell: |unit| unit.within_ms.map_or_else(String::new, span) },
    Column { title: "ORIGIN", least: 8, most: 18, cell: |unit| unit.origin.clone() },
    Column { title: "OBSERVERS", least: 9, most: 24, cell: |unit| unit.observers.clone() },
    Column { title: "LABELS", least: 8, most: 32, cell: Unit::label_text },
    Column { title: "WHY", least: 20, most: usize::MAX, cell: |unit| unit.why.clone() },
];
/// The same, those first that stay longest where there is little room.
const DEAREST: [&str; 9] = ["VERDICT", "UNIT", "HEARD", "SINCE", "WITHIN", "LABELS", "WHY", "ORIGIN", "OBSERVERS"];

/// The columns that there is room for, and how wide each is.
fn columns(units: &[&Unit], width: usize) -> Vec<(&'static Column, usize)> {
    let wants = |column: &Column| {
        let cells = units.iter().map(|unit| Span::raw((column.cell)(unit)).width());
        let longest = cells.max().unwrap_or_default();
        // A column in which nothing stands is none.
        (longest > 0 || units.is_empty()).then(|| longest.max(column.title.len()).clamp(column.least, column.most))
    };
    let mut left = width;
    let mut taken: Vec<(usize, usize)> = Vec::new();
    let dearest = DEAREST.iter().filter_map(|title| COLUMNS.iter().position(|column| column.title == *title));
    for place in dearest {
        let Some(column) = COLUMNS.get(place) else { continue };
        let Some(wanted) = wants(column) else { continue };
        let gap = usize::from(!taken.is_empty());
        if left < gap + column.least {
            continue;
        }
        let wide = wanted.min(left - gap);
        left -= gap + wide;
        taken.push((place, wide));
    }
    taken.sort_unstable();
    taken.into_iter().filter_map(|(place, wide)| Some((COLUMNS.get(place)?, wide))).collect()
}

/// A text that fills so many columns.
fn padded(text: &str, columns: usize) -> String {
    let mut text = fit(text, columns);
    let gap = columns.saturating_sub(Span::raw(&*text).width());
    text.push_str(&" ".repeat(gap));
    text
}

/// The title of a list: which key leads to it, how much of it there is, whether keys move in it.
fn title(model: &Model, look: Look, pane: Pane, told: &str, width: u16) -> Line<'static> {
    let (number, name) = match pane {
        Pane::Units => (1, "units"),
        Pane::Incidents => (2, "incidents"),
        Pane::Events => (3, "events"),
    };
    let here = model.pane == pane && !look.once;
    let style = if here { look.strong() } else { look.dim() };
    let mark = if here { "▶" } else { " " };
    let text = fit(&format!("{mark}{number} {name}{told} "), usize::from(width));
    let rest = usize::from(width).saturating_sub(Span::raw(&*text).width());
    Line::from(vec![Span::styled(text, style), Span::styled("─".repeat(rest), look.dim())])
}

/// How much of the room for a list is left for its rows.
fn room(area: Rect, titles: u16) -> usize {
    usize::from(area.height.saturating_sub(titles))
}

fn styled(model: &Model, look: Look, style: Style) -> Style {
    // What is old is not to look as if it were so now.
    if matches!(model.link(), Link::Lost(..)) { look.dim() } else { style }
}

fn empty(model: &Model, nothing: &str) -> Line<'static> {
    let told = match (&model.picture, model.filter.is_empty()) {
        (None, _) => "",
        (_, false) => " nothing fits; Esc shows all again",
        (_, true) => nothing,
    };
    Line::raw(told.to_owned())
}

/// What there is to know of how many units are shown.
fn told_of_units(model: &Model) -> String {
    let Some(picture) = &model.picture else { return String::new() };
    let (shown, total) = (model.units.len() as u64, picture.total());
    let mut told =
        if shown == total { format!(" {}", count(total)) } else { format!(" {} of {}", count(shown), count(total)) };
    if !model.filter.is_empty() {
        told.push_str(&format!(" that fit \"{}\"", super::text::shown(model.filter.text())));
    }
    if picture.more {
        told.push_str(", of the worst");
    }
    if picture.more && !picture.is_relay && !model.filter.is_empty() {
        told.push_str("; AGENT/UNIT finds any");
    }
    format!("{told}, {}", model.order.name())
}

pub(super) fn units(frame: &mut Frame<'_>, model: &mut Model, look: Look, area: Rect) {
    let told = told_of_units(model);
    let mut lines = vec![title(model, look, Pane::Units, &told, area.width)];
    let (keys, at) = model.units.window(room(area, 2));
    let keys = keys.to_vec();
    let units: Vec<&Unit> = keys.iter().filter_map(|key| model.unit(key)).collect();
    let columns = columns(&units, usize::from(area.width));
    let heads = columns.iter().map(|(column, wide)| padded(column.title, *wide));
    lines.push(Line::styled(heads.collect::<Vec<_>>().join(" "), look.dim()));
    if units.is_empty() {
        lines.push(empty(model, " none"));
    }
    for (place, unit) in units.into_iter().enumerate() {
        let chosen = place == at && model.pane == Pane::Units;
        let mut line = Line::default();
        for (column, wide) in &columns {
            let is_verdict = column.title == "VERDICT";
            let style = if is_verdict { look.verdict(unit.verdict) } else { Style::new() };
            let mut text = (column.cell)(unit);
            if is_verdict && unit.disputed {
                text.push('?');
            }
            let gap = if line.spans.is_empty() { "" } else { " " };
            line.push_span(Span::raw(gap));
            line.push_span(Span::styled(padded(&text, *wide), styled(model, look, style)));
        }
        lines.push(mark(line, chosen, look, area.width));
    }
    frame.render_widget(Paragraph::new(lines), area);
}

/// The chosen row, from edge to edge.
fn mark(mut line: Line<'static>, chosen: bool, look: Look, width: u16) -> Line<'static> {
    if chosen {
        let rest = usize::from(width).saturating_sub(line.width());
        line.push_span(Span::raw(" ".repeat(rest)));
        line = line.patch_style(look.chosen());
    }
    line
}

pub(super) fn incidents(frame: &mut Frame<'_>, model: &mut Model, look: Look, area: Rect) {
    let open = model.picture.as_ref().map_or(0, |picture| picture.open);
    let shown = model.incidents.len() as u64;
    let told = match model.has_incidents() {
        false => String::new(),
        true if shown == open => format!(" {} open", count(open)),
        true => format!(" {} of {} open", count(shown), count(open)),
    };
    let mut lines = vec![title(model, look, Pane::Incidents, &told, area.width)];
    let (ids, at) = model.incidents.window(room(area, 1));
    let ids = ids.to_vec();
    if ids.is_empty() {
        lines.push(empty(model, " none is open"));
    }
    for (place, one) in ids.iter().filter_map(|id| model.incident(*id)).enumerate() {
        let taken = one.taken.as_ref().map_or_else(String::new, |by| format!(" (taken by {by})"));
        let silenced = if one.silenced { " (silenced)" } else { "" };
        let style = look.verdict(if one.critical { Verdict::Critical } else { Verdict::Degraded });
        let age = one.open_ms.map_or_else(String::new, span);
        let severity = if one.critical { "critical" } else { "warning" };
        let text = format!("{severity:<8} {age:>6} #{} {}{taken}{silenced}", one.id, one.title);
        let line = Line::styled(fit(&text, usize::from(area.width)), styled(model, look, style));
        lines.push(mark(line, place == at && model.pane == Pane::Incidents, look, area.width));
    }
    frame.render_widget(Paragraph::new(lines), area);
}

pub(super) fn events(frame: &mut Frame<'_>, model: &mut Model, look: Look, area: Rect) {
    let told = match &model.events_problem {
        Some(problem) => format!(": {problem}"),
        None => ", newest first, UTC".to_owned(),
    };
    let mut lines = vec![title(model, look, Pane::Events, &told, area.width)];
    let (ids, at) = model.log.window(room(area, 1));
    let ids = ids.to_vec();
    if ids.is_empty() {
        lines.push(empty(model, " nothing has happened"));
    }
    let known = ids.iter().filter_map(|id| model.events.iter().find(|event| event.id == *id));
    for (place, event) in known.enumerate() {
        let time = event.at.split_once('T').map_or(&*event.at, |(_, time)| time);
        let time: String = time.chars().take(8).collect();
        let parts = [&*time, &event.kind, &event.who, &event.to, &event.why];
        let text = parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ");
        let verdict = Verdict::ALL.into_iter().find(|verdict| verdict.name() == event.to);
        let style = verdict.map_or_else(Style::new, |verdict| look.verdict(verdict));
        let line = Line::styled(fit(&text, usize::from(area.width)), styled(model, look, style));
        lines.push(mark(line, place == at && model.pane == Pane::Events, look, area.width));
    }
    frame.render_widget(Paragraph::new(lines), area);
}
