use ratatui::{
    Terminal,
    backend::TestBackend,
    buffer::Buffer,
    crossterm::event::{KeyCode, KeyEvent, KeyModifiers},
};
use serde_json::{Value, json};

use super::*;
use crate::top::{
    fetch::News,
    picture::{Detail, Picture},
    samples::{answer, event, fleet, incident, row},
    screen::text_of,
};

const COLORS: Look = Look { colors: true, once: false };

fn buffer(model: &mut Model, (width, height): (u16, u16), look: Look) -> Buffer {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(frame, model, look)).unwrap();
    terminal.backend().buffer().clone()
}

fn text(model: &mut Model, size: (u16, u16)) -> String {
    text_of(&buffer(model, size, COLORS))
}

fn model() -> Model {
    let mut model = Model::new("http://relay:9930".to_owned(), 1000, 0);
    let mut told = answer(&[row("web-1", "stalled", 75), row("web-2", "up", 4000), row("batch-1", "held", 30)]);
    told.events = vec![event(1, "web-2", "up"), event(2, "web-1", "stalled")];
    model.hear(News::Answer(Box::new(told)));
    model
}

fn press(model: &mut Model, code: KeyCode) {
    model.on_key(KeyEvent::new(code, KeyModifiers::NONE));
}

#[test]
fn a_usual_terminal_shows_units_and_what_is_wrong() {
    let shown = text(&mut model(), (80, 24));
    let lines: Vec<_> = shown.lines().collect();
    assert!(lines[0].starts_with(" CRITICAL  relay relay-1 (varta 9.9.9)  http://relay:9930"), "{shown}");
    assert!(lines[0].ends_with("live"), "{shown}");
    assert_eq!(lines[1], " 1 stalled  1 held  1 up");
    assert_eq!(lines[2], " observers: 2 connected  1 lost  incidents: 1 open");
    assert!(lines[3].starts_with("▶1 units 3, worst first ─"), "{shown}");
    let titles = ["VERDICT", "UNIT", "SINCE", "HEARD", "WITHIN", "ORIGIN", "LABELS"];
    assert_eq!(lines[4].split_whitespace().collect::<Vec<_>>(), titles);
    let cells: Vec<_> = lines[5].split_whitespace().collect();
    assert_eq!(cells[..5], ["stalled", "web-1/api", "75s", "0.4s", "1.0s"]);
    assert_eq!(cells[6..8], ["site=north", "host=h1"], "places come first");
    assert!(lines[6].starts_with("held ") && lines[7].starts_with("up "), "{shown}");
    assert!(
        shown.contains(" 2 incidents 1 open ─") && shown.contains("critical    10s #5 web-1/api stalled"),
        "{shown}"
    );
    assert!(!shown.contains("3 events"), "there is room for one of them: {shown}");
    assert!(lines[23].contains("? help  q quit"), "{shown}");
}

#[test]
fn a_narrow_terminal_drops_columns_and_panes_and_loses_no_count() {
    let shown = text(&mut model(), (40, 15));
    let lines: Vec<_> = shown.lines().collect();
    assert!(lines[0].starts_with(" CRITICAL  relay relay-1") && lines[0].ends_with("live"), "{shown}");
    assert_eq!(lines[2..4], [" observers: 2 connected  1 lost", " incidents: 1 open"]);
    let head: Vec<_> = lines[5].split_whitespace().collect();
    assert_eq!(head[..3], ["VERDICT", "UNIT", "SINCE"], "{shown}");
    assert!(!shown.contains("WHY") && !shown.contains("2 incidents"), "{shown}");
    assert!(lines.iter().all(|line| line.chars().count() <= 40), "{shown}");
    let mut model = model();
    press(&mut model, KeyCode::Char('3'));
    let shown = text(&mut model, (40, 15));
    assert!(shown.contains("▶3 events") && shown.contains("00:00:02 unit web-1/api stalled so"), "{shown}");
    assert!(!shown.contains("1 units"), "{shown}");
}

#[test]
fn a_wide_terminal_shows_all_of_it() {
    let shown = text(&mut model(), (200, 50));
    let head = shown.lines().nth(4).unwrap();
    let titles = ["VERDICT", "UNIT", "SINCE", "HEARD", "WITHIN", "ORIGIN", "OBSERVERS", "LABELS", "WHY"];
    assert_eq!(head.split_whitespace().collect::<Vec<_>>(), titles);
    assert!(shown.contains("obs-1: why web-1 is so") && shown.contains("NetworkVerified"), "{shown}");
    assert!(shown.contains("2 incidents 1 open") && shown.contains("3 events, newest first"), "{shown}");
}

#[test]
fn no_size_is_too_small() {
    for size in [(1, 1), (2, 50), (200, 1), (7, 3), (20, 5), (300, 17)] {
        let mut model = model();
        for code in [KeyCode::Null, KeyCode::Tab, KeyCode::Tab, KeyCode::Enter, KeyCode::Char('?')] {
            press(&mut model, code);
            assert_eq!(buffer(&mut model, size, COLORS).area.width, size.0);
        }
        model.hear(News::Problem("x ".repeat(900)));
        assert_eq!(buffer(&mut model, size, COLORS).area.height, size.1);
    }
}

#[test]
fn a_lost_connection_is_told_and_nothing_looks_live() {
    let mut model = model();
    model.tick(12_000);
    model.hear(News::Problem("http://relay:9930/api/v1/fleet does not answer: refused".to_owned()));
    let drawn = buffer(&mut model, (80, 24), COLORS);
    let shown = text_of(&drawn);
    assert!(shown.starts_with(" was CRITICAL "), "{shown}");
    assert!(
        shown.contains(" NOT CONNECTED since 12s, trying again: /api/v1/fleet does not answer: refused"),
        "{shown}"
    );
    assert!(shown.contains("12s old") && !shown.contains("live"), "{shown}");
    assert!(shown.contains("web-1/api"), "the last picture is kept: {shown}");
    let lively = |cell: &&ratatui::buffer::Cell| cell.fg != Color::Reset;
    let lit: String = drawn.content.iter().filter(lively).map(ratatui::buffer::Cell::symbol).collect();
    assert!(!lit.contains("stalled") && !lit.contains("up"), "{lit}");
    assert!(text(&mut model, (40, 15)).contains("NOT CONNECTED since 12s"));

    let mut model = Model::new("http://relay:9930".to_owned(), 1000, 0);
    assert!(text(&mut model, (80, 24)).contains("asking"));
    model.hear(News::Problem("refused".to_owned()));
    assert!(text(&mut model, (80, 24)).contains("no picture"));
}

#[test]
fn without_colours_verdicts_are_words_and_nothing_is_coloured() {
    let mut model = model();
    let drawn = buffer(&mut model, (120, 40), Look { colors: false, once: false });
    assert!(drawn.content.iter().all(|cell| cell.fg == Color::Reset && cell.bg == Color::Reset));
    let bare = text_of(&drawn);
    assert_eq!(bare, text(&mut model, (120, 40)), "the words are the same");
    let drawn = buffer(&mut model, (120, 40), COLORS);
    assert!(drawn.content.iter().any(|cell| cell.fg == Color::Red));
}

/// Everything that an agent, an observer or a relay can write, with this in it.
fn written_by_others(evil: &str) -> (Value, Value, Value) {
    let mut unit = row("web-1", "stalled", 1);
    for name in ["agent", "unit", "origin", "why", "status", "session", "observer"] {
        unit[name] = evil.into();
    }
    unit["labels"] = json!({ evil: evil });
    unit["observers"] = json!([evil]);
    unit["views"] = json!([{ "observer": evil, "state": evil, "why": evil, "verdict": "up" }]);
    let mut one = incident(5, evil);
    (one["kind"], one["evidence"]) = (evil.into(), json!([evil]));
    one["acked"] = json!({ "by": evil, "note": evil });
    one["members"] = json!([{ "agent": evil, "unit": evil, "verdict": evil }]);
    let mut all = fleet(&[row("a", "up", 1)]);
    (all["relay"]["name"], all["relay"]["version"], all["blind"]) = (evil.into(), evil.into(), evil.into());
    all["observers"] = json!({ evil: 1 });
    (unit, one, all)
}

#[test]
fn no_text_of_others_reaches_the_terminal_as_a_control_sequence() {
    let evil = "x\u{1b}[2J\u{1b}]0;t\u{7}\r\n\u{9b}31m\u{202e}y";
    let (unit, one, all) = written_by_others(evil);
    let mut model = Model::new("http://relay".to_owned(), 1000, 0);
    let mut told = answer(&[]);
    told.picture = Picture::of(&all, &json!([one]), std::slice::from_ref(&unit), false);
    let event = json!({ "id": 1, "at": evil, "kind": evil, "agent": evil, "unit": evil, "to": evil, "why": evil });
    told.events.extend(crate::top::picture::Event::of(&event));
    told.events_problem = Some(crate::top::text::shown(evil));
    let key = told.picture.units[0].key.clone();
    told.detail = Some((key, Ok(Detail::of(&unit, None))));
    model.hear(News::Answer(Box::new(told)));
    let mut screens = vec![buffer(&mut model, (250, 50), COLORS)];
    for codes in [&[KeyCode::Enter][..], &[KeyCode::Esc, KeyCode::Tab, KeyCode::Enter], &[KeyCode::Esc, KeyCode::Tab]] {
        codes.iter().for_each(|code| press(&mut model, *code));
        screens.push(buffer(&mut model, (250, 50), COLORS));
    }
    model.hear(News::Problem(evil.to_owned()));
    screens.push(buffer(&mut model, (250, 50), COLORS));
    for drawn in screens {
        let shown = text_of(&drawn);
        assert!(shown.contains("x\\x1b[2J\\x1b]0;t\\x07\\r\\n\\u{9b}31m\\u{202e}y"), "it is shown, escaped: {shown}");
        let acting = |c: char| c.is_control() || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}');
        assert!(!drawn.content.iter().any(|cell| cell.symbol().chars().any(acting)), "{shown}");
    }
}

#[test]
fn all_of_a_unit_and_of_an_incident_is_told() {
    let mut model = model();
    let mut whole = row("web-1", "degraded", 75);
    whole["disputed"] = true.into();
    whole["views"] = json!([{ "observer": "obs-2", "state": "connected", "verdict": "up", "why": "" }]);
    whole["history"] = json!({ "day": { "uptime": 0.9995, "coverage": 1.0 }, "week": { "uptime": null } });
    press(&mut model, KeyCode::Enter);
    assert!(text(&mut model, (80, 40)).contains("more is being asked for"));
    let mut told = answer(&[row("web-1", "degraded", 75)]);
    let key = model.wish().detail.unwrap();
    told.detail = Some((key.clone(), Ok(Detail::of(&whole, Some(1_000_000_000)))));
    model.hear(News::Answer(Box::new(told)));
    let shown = text(&mut model, (80, 40));
    for part in [
        " web-1/api: degraded, disputed\n obs-1: why web-1 is so\n",
        "since        75s",
        "heard        0.4s ago",
        "next within  1.0s of it",
        "origin       NetworkVerified",
        "restarts     2",
        "labels       site=north",
        "obs-2 (connected): up: on time",
        "24 hours: uptime 99.950 %, coverage 100.000 %\n",
        "Esc back",
    ] {
        assert!(shown.contains(part), "{part} is not in {shown}");
    }
    assert!(!shown.contains("7 days"), "of which nothing is known: {shown}");
    let mut told = answer(&[]);
    told.detail = Some((key, Err("is not known any more".to_owned())));
    model.hear(News::Answer(Box::new(told)));
    assert!(text(&mut model, (80, 24)).contains("web-1/api is not known any more"));

    [KeyCode::Esc, KeyCode::Char('2'), KeyCode::Enter].into_iter().for_each(|code| press(&mut model, code));
    let shown = text(&mut model, (80, 40));
    for part in
        [" #5 web-1/api stalled", "open for 10s", "varta ack 5 --by NAME", "it is silent", "stalled   web-1/api"]
    {
        assert!(shown.contains(part), "{part} is not in {shown}");
    }
}

#[test]
fn what_is_longer_than_the_screen_is_scrolled_to_its_end_and_no_further() {
    let mut model = model();
    press(&mut model, KeyCode::Char('?'));
    let first = text(&mut model, (80, 14));
    assert!(first.contains("up, down, j, k") && !first.contains("AGENT/UNIT"), "{first}");
    press(&mut model, KeyCode::End);
    let last = text(&mut model, (80, 14));
    assert!(last.contains("AGENT/UNIT") && !last.contains("up, down, j, k"), "{last}");
    (0..3).for_each(|_| press(&mut model, KeyCode::PageDown));
    assert_eq!(text(&mut model, (80, 14)), last);
}

#[test]
fn what_is_cut_is_marked_and_wide_letters_take_two_columns() {
    assert_eq!([fit("web-10", 6), fit("web-10", 5), fit("x", 0)], ["web-10", "web-…", ""]);
    assert_eq!([fit("東京都", 6), fit("東京都", 5), fit("東京都", 4)], ["東京都", "東京…", "東…"]);
    let mut model = Model::new("http://relay".to_owned(), 1000, 0);
    model.hear(News::Answer(Box::new(answer(&[row("東京", "up", 1)]))));
    assert!(text(&mut model, (80, 24)).contains("up        東京/api"));
}
