use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::{Ipv4Addr, TcpListener},
    sync::{Arc, Mutex},
};

use clap::Parser;
use serde_json::json;

use super::*;
use crate::ask::Whom;

#[derive(Parser)]
struct Words {
    #[command(flatten)]
    whom: Whom,
}

/// Answers each path as `answer` does, on loopback; what it does not answer is not found. Keeps the paths.
fn serve(answer: impl Fn(&str) -> Option<String> + Send + 'static) -> (Asker, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let asked = Arc::new(Mutex::new(Vec::new()));
    let paths = Arc::clone(&asked);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
            let Some(first) = lines.next() else { continue };
            let path = first.split(' ').nth(1).unwrap().to_owned();
            assert!(lines.any(|line| line.is_empty()));
            let (status, body) = match answer(&path) {
                Some(body) => ("200 OK", body),
                None => ("404 Not Found", r#"{"error":"there is nothing at this path"}"#.to_owned()),
            };
            paths.lock().unwrap().push(path);
            let length = body.len();
            let head = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
            let _ = stream.write_all((head + &body).as_bytes());
        }
    });
    let words = Words::parse_from(["top", "--url", &url]);
    (Asker::new(Source::open(&words.whom).unwrap().hurried().unwrap()), asked)
}

/// So many rows of a verdict, as many as a query's limit says.
fn page(path: &str, list: &str) -> String {
    let value = |name: &str| path.split(['?', '&']).find_map(|part| part.strip_prefix(name)).unwrap().to_owned();
    let (verdict, limit) = (value("verdict="), value("limit=").parse::<usize>().unwrap());
    let held = if verdict == "stalled" { 3 } else { usize::MAX };
    let rows: Vec<_> = (0..limit.min(held))
        .map(|number| json!({ "agent": format!("{verdict}-{number}"), "unit": "api", "verdict": verdict }))
        .collect();
    let next = if held > limit { json!(limit) } else { Value::Null };
    json!({ list: rows, "next": next }).to_string()
}

#[test]
fn of_a_million_units_the_worst_are_asked_for_and_no_more() {
    let status = json!({ "name": "obs-1", "started": "T", "verdicts": { "up": 999_997, "stalled": 3 }, "blind": null });
    let (mut asker, asked) = serve(move |path| match path {
        "/api/v1/status" => Some(status.to_string()),
        "/api/v1/slots/web-9/api" => Some(json!({ "agent": "web-9", "unit": "api", "verdict": "up" }).to_string()),
        _ if path.starts_with("/api/v1/slots?") => Some(page(path, "slots")),
        _ if path.starts_with("/api/v1/events") => Some(String::new()),
        _ => None,
    });
    let answer = asker.ask(&Wish::default()).unwrap();
    assert!(!answer.picture.is_relay && answer.picture.more);
    assert_eq!((answer.picture.units.len(), answer.picture.total()), (UNITS, 1_000_000));
    let first: Vec<_> = answer.picture.units.iter().take(4).map(|unit| unit.verdict.name()).collect();
    assert_eq!(first, ["stalled", "stalled", "stalled", "up"]);
    let paths = std::mem::take(&mut *asked.lock().unwrap());
    let slots: Vec<_> = paths.iter().filter(|path| path.contains("slots")).collect();
    assert_eq!(slots, ["/api/v1/slots?verdict=stalled&limit=1000", "/api/v1/slots?verdict=up&limit=997"]);

    // An observer does not search, but whoever is named whole is found.
    let answer = asker.ask(&Wish { filter: Filter::new("web-9/api"), ..Wish::default() }).unwrap();
    assert!(answer.picture.units.iter().any(|unit| unit.name == "web-9/api"));
    let again = asked.lock().unwrap();
    assert!(!again.iter().any(|path| path.contains("fleet")), "that it is no relay is known: {again:?}");
}

#[test]
fn a_relay_searches_itself_and_pages_of_nothing_come_to_an_end() {
    let fleet = json!({ "relay": { "name": "r", "started_ms": 1, "now_ms": 9 }, "verdicts": { "up": 1_000_000 } });
    let (mut asker, asked) = serve(move |path| match path {
        "/api/v1/fleet" => Some(fleet.to_string()),
        _ if path.starts_with("/api/v1/agents?") => Some(r#"{"agents":[],"next":"77"}"#.to_owned()),
        _ if path.starts_with("/api/v1/incidents") => Some(r#"{"incidents":[]}"#.to_owned()),
        _ => None,
    });
    let wish = Wish { filter: Filter::new("a b&c site=no"), ..Wish::default() };
    let answer = asker.ask(&wish).unwrap();
    assert!(answer.picture.is_relay && answer.picture.more && answer.picture.units.is_empty());
    assert!(answer.events_problem.is_some(), "a picture without events is better than none");
    let paths = asked.lock().unwrap();
    let pages: Vec<_> = paths.iter().filter(|path| path.contains("agents")).collect();
    assert_eq!(pages.len(), PAGES);
    assert_eq!(pages[0], "/api/v1/agents?verdict=up&q=b%26c&limit=1000");
    assert_eq!(pages[1], "/api/v1/agents?verdict=up&q=b%26c&limit=1000&cursor=77");
}

#[test]
fn another_life_tells_its_events_from_the_beginning() {
    let life = Arc::new(Mutex::new(1));
    let told = Arc::clone(&life);
    let (mut asker, _) = serve(move |path| {
        let life = *told.lock().unwrap();
        match path {
            "/api/v1/status" => Some(json!({ "started": life, "verdicts": {} }).to_string()),
            _ if path.starts_with("/api/v1/events") => {
                Some(format!("event: new\nid: {life}\ndata: {{\"id\":{life},\"kind\":\"new\",\"at\":\"T\"}}\n\n"))
            }
            _ => None,
        }
    });
    let mut ask = || asker.ask(&Wish::default()).map(|answer| (answer.anew, answer.events.len(), answer.events[0].id));
    assert_eq!(ask().unwrap(), (true, 1, 1));
    assert_eq!(ask().unwrap(), (false, 1, 1));
    *life.lock().unwrap() = 2;
    assert_eq!(ask().unwrap(), (true, 1, 2));
}

#[test]
fn it_asks_at_once_for_another_wish_and_not_at_all_while_paused() {
    let (asker, _) = serve(|path| match path {
        "/api/v1/status" => Some(json!({ "started": "T", "verdicts": {} }).to_string()),
        _ if path.starts_with("/api/v1/slots/") => {
            Some(json!({ "agent": "a", "unit": "u", "verdict": "up" }).to_string())
        }
        _ if path.starts_with("/api/v1/events") => Some(String::new()),
        _ => None,
    });
    let (wish, wishes) = std::sync::mpsc::channel();
    let (tell, told) = std::sync::mpsc::channel();
    let key = Key { agent: "a".to_owned(), unit: "u".to_owned(), observer: None };
    let details = Wish { detail: Some(key), ..Wish::default() };
    let hour = Duration::from_secs(3600);
    let thread = std::thread::spawn(move || {
        run(asker, hour, &wishes, |news| match tell.send(news) {
            Ok(()) => std::ops::ControlFlow::Continue(()),
            Err(_) => std::ops::ControlFlow::Break(()),
        });
    });
    let next = || match (told.recv().unwrap(), told.recv().unwrap()) {
        (News::Asking, News::Answer(answer)) => answer.detail.map(|(_, detail)| detail.unwrap().unit.name),
        other => panic!("{other:?}"),
    };
    assert_eq!(next(), None);
    wish.send(details.clone()).unwrap();
    assert_eq!(next(), Some("a/u".to_owned()));
    wish.send(Wish { paused: true, ..details }).unwrap();
    drop(wish);
    thread.join().unwrap();
    assert!(told.recv().is_err(), "it was asked while paused");
}
