use serde_json::json;

use super::*;
use crate::top::samples::{answer, event, row};

const NONE: KeyModifiers = KeyModifiers::NONE;

fn press(model: &mut Model, codes: &[KeyCode]) {
    for code in codes {
        assert_eq!(model.on_key(KeyEvent::new(*code, NONE)), Act::Nothing, "{code:?}");
    }
}

fn write(model: &mut Model, text: &str) {
    press(model, &text.chars().map(KeyCode::Char).collect::<Vec<_>>());
}

fn hear(model: &mut Model, rows: &[serde_json::Value]) {
    model.hear(News::Asking);
    model.hear(News::Answer(Box::new(answer(rows))));
}

fn model(rows: &[serde_json::Value]) -> Model {
    let mut model = Model::new("http://relay".to_owned(), 1000, 0);
    hear(&mut model, rows);
    model
}

/// The agents that are shown, in order.
fn agents(model: &mut Model) -> Vec<String> {
    model.units.window(100).0.iter().map(|key| key.agent.clone()).collect()
}

fn chosen(model: &Model) -> &str {
    model.units.chosen().map_or("", |key| &key.agent)
}

#[test]
fn the_worst_come_first_and_of_them_the_newest() {
    let rows = [
        row("a", "up", 5),
        row("b", "stalled", 90),
        row("c", "degraded", 1),
        row("d", "stalled", 3),
        row("e", "up", 1),
    ];
    let mut model = model(&rows);
    assert_eq!(agents(&mut model), ["d", "b", "c", "a", "e"]);
}

#[test]
fn the_chosen_unit_stays_chosen_when_it_becomes_the_worst() {
    let mut model = model(&[row("a", "up", 9), row("b", "up", 9), row("c", "up", 9)]);
    press(&mut model, &[KeyCode::Down, KeyCode::Char('j')]);
    assert_eq!(chosen(&model), "c");
    hear(&mut model, &[row("a", "up", 10), row("b", "up", 10), row("c", "stalled", 0)]);
    assert_eq!(agents(&mut model), ["c", "a", "b"]);
    assert_eq!(chosen(&model), "c");
    press(&mut model, &[KeyCode::Down]);
    assert_eq!(chosen(&model), "a");
    press(&mut model, &[KeyCode::Home]);
    hear(&mut model, &[row("a", "critical", 0), row("b", "stalled", 0)]);
    assert_eq!(chosen(&model), "b", "the top, whoever is there");
    press(&mut model, &[KeyCode::End, KeyCode::Char('k'), KeyCode::PageDown]);
    assert_eq!(chosen(&model), "a");
}

#[test]
fn a_filter_follows_each_letter_and_is_kept_or_forgotten() {
    let mut model = model(&[row("web-1", "up", 1), row("web-2", "up", 1), row("db-1", "up", 1)]);
    write(&mut model, "/WEB");
    assert_eq!(agents(&mut model), ["web-1", "web-2"]);
    write(&mut model, " q");
    assert!(agents(&mut model).is_empty(), "q is a letter here");
    press(&mut model, &[KeyCode::Backspace, KeyCode::Char('2')]);
    assert_eq!(agents(&mut model), ["web-2"]);
    press(&mut model, &[KeyCode::Enter]);
    assert_eq!((model.wish().filter.text(), model.typing.is_some()), ("WEB 2", false));
    write(&mut model, "/x");
    press(&mut model, &[KeyCode::Esc]);
    assert_eq!(model.wish().filter.text(), "WEB 2");
    write(&mut model, "/");
    model.on_key(KeyEvent::new(KeyCode::Char('u'), KeyModifiers::CONTROL));
    write(&mut model, &"ä".repeat(filter::LONGEST));
    assert_eq!(model.filter.text().len(), filter::LONGEST, "no more than a relay takes");
    press(&mut model, &[KeyCode::Esc, KeyCode::Esc]);
    assert_eq!((model.wish().filter.is_empty(), agents(&mut model).len()), (true, 3));
}

#[test]
fn what_is_open_is_asked_for_and_esc_leads_back() {
    let mut model = model(&[row("a", "stalled", 1), row("b", "up", 1)]);
    press(&mut model, &[KeyCode::Down, KeyCode::Enter]);
    let key = model.wish().detail.unwrap();
    assert_eq!((&*key.agent, &*key.unit), ("b", "api"));
    let mut told = answer(&[row("a", "stalled", 1), row("b", "up", 1)]);
    let detail = Detail::of(&row("b", "degraded", 0), None);
    told.detail = Some((Key { agent: "other".to_owned(), ..key.clone() }, Ok(detail.clone())));
    model.hear(News::Answer(Box::new(told)));
    assert!(matches!(model.open, Some(Open::Unit(_, None))), "of another unit");
    let mut told = answer(&[]);
    told.detail = Some((key, Ok(detail)));
    model.hear(News::Answer(Box::new(told)));
    let Some(Open::Unit(_, Some(told))) = &model.open else { panic!("{:?}", model.open) };
    assert_eq!(told.as_ref().as_ref().unwrap().unit.verdict.name(), "degraded");
    press(&mut model, &[KeyCode::Char('?'), KeyCode::Esc]);
    assert!(model.open.is_some() && !model.help);
    press(&mut model, &[KeyCode::Esc]);
    assert_eq!((model.open.is_none(), model.wish().detail), (true, None));
}

#[test]
fn panes_are_changed_and_lead_to_units_and_incidents() {
    let mut model = model(&[row("web-1", "stalled", 1)]);
    press(&mut model, &[KeyCode::Tab, KeyCode::Enter]);
    assert!(matches!(model.open, Some(Open::Incident(5))));
    press(&mut model, &[KeyCode::Esc, KeyCode::Char('3'), KeyCode::Enter]);
    assert!(model.open.is_none(), "nothing has happened");
    let mut told = answer(&[]);
    told.events = vec![event(1, "old", "up"), event(2, "new", "stalled")];
    model.hear(News::Answer(Box::new(told)));
    press(&mut model, &[KeyCode::Enter]);
    assert_eq!(model.wish().detail.unwrap().agent, "new", "the newest is on top");
    press(&mut model, &[KeyCode::Esc, KeyCode::BackTab]);
    assert_eq!(model.pane, Pane::Incidents);
    let slots = json!({ "name": "obs-1", "verdicts": {}, "blind": "restart" });
    let observer = Picture::of(&slots, &json!(null), &[], false);
    model.hear(News::Answer(Box::new(Answer { picture: observer, ..answer(&[]) })));
    press(&mut model, &[KeyCode::Char('1'), KeyCode::Char('2')]);
    assert_eq!(model.pane, Pane::Units, "an observer has no incidents");
    press(&mut model, &[KeyCode::Tab]);
    assert_eq!(model.pane, Pane::Events);
}

#[test]
fn orders_go_round() {
    let mut quiet = row("a", "up", 50);
    quiet["last_beat_age_ms"] = 9000.into();
    let mut model = model(&[row("z", "stalled", 90), quiet, row("m", "up", 2)]);
    let mut seen = Vec::new();
    for _ in 0..5 {
        seen.push((model.order, agents(&mut model).concat()));
        press(&mut model, &[KeyCode::Char('s')]);
    }
    let of = |order, text: &str| (order, text.to_owned());
    let worst = of(Order::Worst, "zam");
    let round = [worst.clone(), of(Order::Name, "amz"), of(Order::Heard, "azm"), of(Order::Since, "maz"), worst];
    assert_eq!(seen, round);
}

#[test]
fn an_old_picture_is_never_called_live() {
    let mut model = Model::new("http://relay".to_owned(), 1000, 10_000);
    assert_eq!(model.link(), Link::Connecting);
    model.hear(News::Asking);
    model.tick(10_000 + SLOW + 1);
    assert_eq!(model.link(), Link::Lost(SLOW + 1, "no answer comes".to_owned()), "it hangs");
    hear(&mut model, &[row("a", "up", 1)]);
    assert_eq!(model.link(), Link::Live);
    model.tick(20_000);
    model.hear(News::Asking);
    model.hear(News::Problem("refused".to_owned()));
    model.tick(25_001);
    assert_eq!(model.link(), Link::Lost(12_000, "refused".to_owned()));
    assert_eq!(agents(&mut model), ["a"], "the last picture is kept");
    model.hear(News::Asking);
    assert_eq!(model.link(), Link::Lost(12_000, "refused".to_owned()), "asking again is no answer");
    hear(&mut model, &[row("a", "up", 1)]);
    model.tick(5);
    assert_eq!(model.link(), Link::Live, "and time does not go back");
}

#[test]
fn a_picture_that_is_held_stays_and_says_how_old_it_is() {
    let mut model = model(&[row("a", "up", 1)]);
    press(&mut model, &[KeyCode::Char('p')]);
    assert!(model.wish().paused);
    model.tick(7000);
    hear(&mut model, &[row("b", "up", 1)]);
    assert_eq!((agents(&mut model), model.link()), (vec!["a".to_owned()], Link::Paused(7000)));
    press(&mut model, &[KeyCode::Char('p')]);
    assert!(!model.wish().paused);
    hear(&mut model, &[row("b", "up", 1)]);
    assert_eq!((agents(&mut model), model.link()), (vec!["b".to_owned()], Link::Live));
}

#[test]
fn only_the_newest_events_are_kept_and_those_of_another_life_are_not() {
    let mut model = model(&[]);
    let mut told = answer(&[]);
    told.events = (0..=EVENTS as u64).map(|id| event(id, "a", "up")).collect();
    model.hear(News::Answer(Box::new(told)));
    assert_eq!((model.events.len(), model.events[0].id, model.log.len()), (EVENTS, EVENTS as u64, EVENTS));
    let mut told = answer(&[]);
    (told.anew, told.events) = (true, vec![event(1, "a", "up")]);
    model.hear(News::Answer(Box::new(told)));
    assert_eq!(model.events.iter().map(|event| event.id).collect::<Vec<_>>(), [1]);
}

#[test]
fn q_and_control_c_quit_wherever_one_is() {
    let q = KeyEvent::new(KeyCode::Char('q'), NONE);
    let control_c = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
    for way in [&[][..], &[KeyCode::Char('?')], &[KeyCode::Enter]] {
        for key in [q, control_c] {
            let mut model = model(&[row("a", "up", 1)]);
            press(&mut model, way);
            assert_eq!(model.on_key(key), Act::Quit, "{key:?} after {way:?}");
        }
    }
    let mut model = model(&[]);
    press(&mut model, &[KeyCode::Char('/'), KeyCode::Char('q')]);
    assert_eq!(model.on_key(control_c), Act::Quit);
    let released = KeyEvent { kind: KeyEventKind::Release, ..q };
    assert_eq!(model.on_key(released), Act::Nothing);
}
