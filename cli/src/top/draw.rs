//! The screen, drawn from the model.

use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    style::{Color, Modifier, Style},
    text::{Line, Span},
    widgets::{Clear, Paragraph, Wrap},
};
use varta_vlp::subject::Verdict;

use super::{
    model::{Link, Model, Pane},
    picture::{Health, Picture, WORST},
    table,
    text::{count, span},
    words,
};

/// Most lines that say why there is no answer.
const TROUBLE: usize = 3;

/// How things look: in colours, or without any. Nothing is told by colour alone.
#[derive(Clone, Copy, Debug)]
pub(super) struct Look {
    pub(super) colors: bool,
    /// One frame for good: no keys, and no row is chosen.
    pub(super) once: bool,
}

impl Look {
    fn tint(self, color: Color) -> Style {
        if self.colors { Style::new().fg(color) } else { Style::new() }
    }

    pub(super) fn verdict(self, verdict: Verdict) -> Style {
        match verdict {
            Verdict::Stalled | Verdict::Critical => self.tint(Color::Red).add_modifier(Modifier::BOLD),
            Verdict::Missing => self.tint(Color::Magenta).add_modifier(Modifier::BOLD),
            Verdict::Unknown => self.tint(Color::Magenta),
            Verdict::Degraded => self.tint(Color::Yellow),
            Verdict::Held => self.tint(Color::Cyan),
            Verdict::Departed => self.dim(),
            Verdict::Up => self.tint(Color::Green),
        }
    }

    pub(super) fn dim(self) -> Style {
        Style::new().add_modifier(Modifier::DIM)
    }

    pub(super) fn strong(self) -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }

    pub(super) fn chosen(self) -> Style {
        Style::new().add_modifier(Modifier::REVERSED)
    }

    fn alarm(self) -> Style {
        self.tint(Color::Red).add_modifier(Modifier::BOLD | Modifier::REVERSED)
    }

    fn health(self, health: Health) -> Style {
        let style = self.verdict(match health {
            Health::Ok => Verdict::Up,
            Health::Degraded => Verdict::Degraded,
            Health::Critical => Verdict::Critical,
            Health::Unknown => Verdict::Unknown,
        });
        style.add_modifier(Modifier::BOLD | Modifier::REVERSED)
    }
}

/// Draws all of it.
pub(super) fn draw(frame: &mut Frame<'_>, model: &mut Model, look: Look) {
    let head = head(model, look, frame.area().width);
    let rows = u16::try_from(head.len()).unwrap_or(u16::MAX);
    let [top, body, foot] =
        Layout::vertical([Constraint::Length(rows), Constraint::Fill(1), Constraint::Length(1)]).areas(frame.area());
    frame.render_widget(Paragraph::new(head), top);
    if model.help {
        long(frame, model, words::help(), body);
    } else if model.open.is_some() {
        long(frame, model, words::opened(model, look), body);
    } else {
        lists(frame, model, look, body);
    }
    if !look.once {
        frame.render_widget(Paragraph::new(foot_line(model, look, foot.width)), foot);
    }
}

/// A line with something at its end, where there is room for it.
fn ends(left: Line<'static>, right: Line<'static>, width: u16) -> Line<'static> {
    let (width, taken) = (usize::from(width), left.width() + right.width());
    let mut line = left;
    if taken + 1 > width {
        return line;
    }
    line.push_span(Span::raw(" ".repeat(width - taken)));
    line.spans.extend(right.spans);
    line
}

fn head(model: &Model, look: Look, width: u16) -> Vec<Line<'static>> {
    let link = model.link();
    let mut lines = Vec::new();
    let fresh = match &link {
        Link::Connecting => Span::raw("asking"),
        Link::Live => Span::styled("live", look.verdict(Verdict::Up)),
        Link::Paused(age) => Span::styled(format!("paused, {} old", span(*age)), look.alarm()),
        Link::Lost(age, _) if model.picture.is_some() => Span::styled(format!("{} old", span(*age)), look.alarm()),
        Link::Lost(..) => Span::styled("no picture", look.alarm()),
    };
    let is_lost = matches!(link, Link::Lost(..));
    let mut first = Line::default();
    if let Some(picture) = &model.picture {
        let health = picture.health.name().to_uppercase();
        // What was so may not be so now.
        let style = if is_lost { look.dim() } else { look.health(picture.health) };
        first.push_span(Span::styled(if is_lost { format!(" was {health} ") } else { format!(" {health} ") }, style));
        let kind = if picture.is_relay { "relay" } else { "observer" };
        first.push_span(Span::raw(format!(" {kind} ")));
        first.push_span(Span::styled(picture.name.clone(), look.strong()));
    } else {
        first.push_span(Span::styled(" varta top ", look.strong()));
    }
    let room = usize::from(width).saturating_sub(fresh.width());
    let version = model.picture.as_ref().map_or_else(String::new, |picture| format!(" (varta {})", picture.version));
    for more in [version, format!("  {}", model.url)] {
        if first.width() + more.chars().count() < room {
            first.push_span(Span::styled(more, look.dim()));
        }
    }
    lines.push(ends(first, Line::from(fresh), width));
    if let Link::Lost(age, why) = &link {
        // Whose address it is stands above.
        let why = why.strip_prefix(&*model.url).unwrap_or(why);
        let told = format!("NOT CONNECTED since {}, trying again: {}", span(*age), super::text::shown(why));
        let words = told.split(' ').map(|word| Span::styled(format!(" {word}"), look.alarm()));
        lines.extend(flow(words.collect(), width).into_iter().take(TROUBLE));
    }
    if let Some(picture) = &model.picture {
        let more = circumstances(picture, look);
        let parts = [counts(picture, look), more].into_iter().filter(|parts| !parts.is_empty());
        let told = parts.flat_map(|parts| flow(parts, width));
        // What is old is not to look as if it were so now.
        let old = |line: Line<'static>| Line::styled(line.to_string(), look.dim());
        lines.extend(told.map(|line| if is_lost { old(line) } else { line }));
    }
    lines
}

/// Parts one after another, in as many lines as they take; never cut where a line has room for them.
fn flow(parts: Vec<Span<'static>>, width: u16) -> Vec<Line<'static>> {
    let mut lines = vec![Line::default()];
    for part in parts {
        let is_full = |line: &Line<'_>| line.width() > 0 && line.width() + part.width() > usize::from(width);
        if lines.last().is_some_and(is_full) {
            lines.push(Line::default());
        }
        if let Some(line) = lines.last_mut() {
            line.push_span(part);
        }
    }
    lines
}

fn counts(picture: &Picture, look: Look) -> Vec<Span<'static>> {
    let counted = WORST.into_iter().zip(picture.counts).filter(|(_, number)| *number > 0);
    let part = |(verdict, number): (Verdict, u64)| {
        Span::styled(format!(" {} {} ", count(number), verdict.name()), look.verdict(verdict))
    };
    let parts: Vec<_> = counted.map(part).collect();
    if parts.is_empty() { vec![Span::raw(" nobody was heard yet")] } else { parts }
}

/// Who reports to a relay and what it makes of that; what an observer cannot see.
fn circumstances(picture: &Picture, look: Look) -> Vec<Span<'static>> {
    if !picture.is_relay {
        let blind = picture.blind.iter();
        return blind
            .map(|cause| Span::styled(format!(" BLIND: {cause}, until it has seen again"), look.alarm()))
            .collect();
    }
    let told = |(state, number): &(String, u64)| {
        let style = if state == "connected" { Style::new() } else { look.verdict(Verdict::Degraded) };
        Span::styled(format!(" {} {state} ", count(*number)), style)
    };
    let states = picture.observers.iter().filter(|(_, number)| *number > 0).map(told);
    let mut parts = vec![Span::raw(" observers:")];
    parts.extend(states);
    if parts.len() == 1 {
        parts.push(Span::raw(" none "));
    }
    let style = if picture.open > 0 { look.verdict(Verdict::Critical) } else { Style::new() };
    parts.push(Span::styled(format!(" incidents: {} open ", count(picture.open)), style));
    if picture.disputed > 0 {
        parts.push(Span::styled(format!(" disputed: {} ", picture.disputed), look.verdict(Verdict::Degraded)));
    }
    parts
}

/// Something longer than the screen may be, scrolled.
fn long(frame: &mut Frame<'_>, model: &mut Model, lines: Vec<Line<'static>>, area: Rect) {
    let width = usize::from(area.width.max(1));
    // Wrapped at words, a line may take a little more room than its width says: half of the last screen may stay empty.
    let rows: usize = lines.iter().map(|line| line.width().div_ceil(width).max(1)).sum();
    let most = u16::try_from(rows).unwrap_or(u16::MAX).saturating_sub(area.height.div_ceil(2));
    model.scroll = if rows <= usize::from(area.height) { 0 } else { model.scroll.min(most) };
    frame.render_widget(Clear, area);
    frame.render_widget(Paragraph::new(lines).wrap(Wrap { trim: false }).scroll((model.scroll, 0)), area);
}

fn lists(frame: &mut Frame<'_>, model: &mut Model, look: Look, area: Rect) {
    const SPLIT: u16 = 16;
    const WIDE: u16 = 100;
    if area.height < SPLIT {
        return match model.pane {
            Pane::Units => table::units(frame, model, look, area),
            Pane::Incidents => table::incidents(frame, model, look, area),
            Pane::Events => table::events(frame, model, look, area),
        };
    }
    let lower = (area.height / 3).clamp(6, 14);
    // Printed, there is nothing to keep in its place.
    let rows = u16::try_from(model.units.len()).unwrap_or(u16::MAX).saturating_add(3);
    let upper = if look.once { Constraint::Max(rows) } else { Constraint::Fill(1) };
    let [upper, lower] = Layout::vertical([upper, Constraint::Length(lower)]).areas(area);
    table::units(frame, model, look, upper);
    let open = model.picture.as_ref().is_some_and(|picture| picture.open > 0);
    if !model.has_incidents() {
        table::events(frame, model, look, lower);
    } else if area.width >= WIDE {
        let [left, right] = Layout::horizontal([Constraint::Fill(1), Constraint::Fill(1)]).spacing(1).areas(lower);
        table::incidents(frame, model, look, left);
        table::events(frame, model, look, right);
    } else if model.pane == Pane::Incidents || (model.pane == Pane::Units && open) {
        table::incidents(frame, model, look, lower);
    } else {
        table::events(frame, model, look, lower);
    }
}

fn foot_line(model: &Model, look: Look, width: u16) -> Line<'static> {
    if model.typing.is_some() {
        let line = Line::from(vec![
            Span::styled(" / ", look.strong()),
            Span::raw(super::text::shown(model.filter.text())),
            Span::styled(" ", look.chosen()),
        ]);
        return ends(line, Line::styled("Enter keeps, Esc forgets ", look.dim()), width);
    }
    let keys = if model.help {
        " Esc back  q quit"
    } else if model.open.is_some() {
        " Esc back  up/down scroll  p pause  ? help  q quit"
    } else {
        " Enter why  / find  s sort  Tab pane  p pause  ? help  q quit"
    };
    let keys = if keys.len() > usize::from(width) { " Enter why  / find  ? help  q quit" } else { keys };
    Line::styled(keys, look.dim())
}

/// A text in at most so many columns, with a mark where something is cut off.
pub(super) fn fit(text: &str, columns: usize) -> String {
    if Span::raw(text).width() <= columns {
        return text.to_owned();
    }
    let mut fitting = String::new();
    let mut taken = 0;
    for c in text.chars() {
        let width = Span::raw(c.to_string()).width();
        if taken + width >= columns {
            break;
        }
        taken += width;
        fitting.push(c);
    }
    if columns > 0 {
        fitting.push('…');
    }
    fitting
}

#[cfg(test)]
mod tests;
