//! The HTTP API on loopback, in front of a real core.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod export_world {
    #![expect(dead_code, reason = "each test binary uses its part")]
    pub(crate) mod client;
    pub(crate) mod world;
    pub(crate) use world::*;
}

use std::io::{Read as _, Write as _};

use export_world::{Says, World, client::Server};
use serde_json::json;
use varta_config::PerAgent;
use varta_core::{Cause, MILLI, Outcome, SECOND, Verdict};
use varta_vlp::{Reject, Status};
use varta_watch::export::http::{CONNECTIONS, FOLLOWERS};

fn accepted(outcome: Outcome) {
    assert!(matches!(outcome, Outcome::Accepted(_)), "{outcome:?}");
}

/// A unit, a slot known by its pid, an agent that is missing.
fn small_world() -> World {
    let mut world = World::new(1);
    world.roster(&["web-1", "db-1"]);
    accepted(world.beat(Says::default()));
    accepted(world.beat(Says { unit: "", pid: 77, status: Status::Degraded, ..Says::default() }));
    world
}

fn large_world(slots: u32) -> World {
    let mut world = World::new(1);
    for number in 0..slots {
        let agent = format!("agent-{}", number / 10);
        accepted(world.beat(Says { agent: &agent, unit: "", pid: 100 + number, announce: false, ..Says::default() }));
    }
    world
}

#[test]
fn slots_have_the_published_fields() {
    let server = Server::of(small_world());
    server.ingest.world().advance(250 * MILLI);
    let page = server.get("/api/v1/slots").json();
    assert_eq!(page["next"], json!(null));
    let slots = page["slots"].as_array().unwrap();
    assert_eq!(slots.len(), 3);
    let why = slots[0]["why"].as_str().unwrap().to_owned();
    assert!(why.starts_with("last beat 250 ms ago; promised the next within 1000 ms"), "{why}");
    let first = json!({
        "agent": "web-1", "unit": "api", "pid": 4242, "verdict": "up", "status": "ok", "payload": 7,
        "origin": "NetworkVerified", "last_beat_age_ms": 250, "session": "1767225600000000001", "restarts": 0,
        "labels": {"site": "a \"b\" \\c"}, "why": why, "beats": 1, "stalls": 0, "lag_us": 0,
    });
    assert_eq!(slots[0], first);
    assert_eq!(
        (&slots[1]["unit"], &slots[1]["pid"], &slots[1]["verdict"]),
        (&json!(""), &json!(77), &json!("degraded"))
    );
    assert_eq!((&slots[2]["agent"], &slots[2]["verdict"]), (&json!("db-1"), &json!("missing")));
    assert_eq!(slots[2]["last_beat_age_ms"], json!(null));
    assert_eq!(server.get("/api/v1/slots/web-1/api").json(), first);
    assert_eq!(server.get("/api/v1/slots/web-1/pid:77").json(), slots[1]);
    assert_eq!(server.get("/api/v1/slots/web%2D1/pid%3A77").json(), slots[1]);
}

#[test]
fn slots_are_found_by_names_and_by_ids_of_the_same_letters() {
    use varta_vlp::key::Name;
    let (hex_agent, hex_unit) = ("00000000000000ff", "0badcafe");
    let mut world = World::new(1);
    accepted(world.beat(Says { agent: hex_agent, unit: hex_unit, ..Says::default() }));
    accepted(world.beat(Says { announce: false, ..Says::default() }));
    let server = Server::of(world);
    let named = server.get(&format!("/api/v1/slots/{hex_agent}/{hex_unit}")).json();
    assert_eq!((&named["agent"], &named["unit"]), (&json!(hex_agent), &json!(hex_unit)));
    let (agent, unit) = (Name::new("web-1").unwrap().agent_id(), Name::new("api").unwrap().unit_id());
    let unnamed = server.get("/api/v1/slots/web-1/api").json();
    assert_eq!((&unnamed["agent"], &unnamed["unit"]), (&json!(agent.to_string()), &json!(unit.to_string())));
    assert_eq!(server.get(&format!("/api/v1/slots/{agent}/{unit}")).json(), unnamed);
}

#[test]
fn pages_cover_every_slot_once() {
    let server = Server::of(large_world(2_345));
    let mut pids = Vec::new();
    let mut path = "/api/v1/slots?limit=1500".to_owned();
    let mut sizes = Vec::new();
    loop {
        let page = server.get(&path).json();
        let slots = page["slots"].as_array().unwrap();
        sizes.push(slots.len());
        pids.extend(slots.iter().map(|slot| slot["pid"].as_u64().unwrap()));
        let Some(next) = page["next"].as_u64() else { break };
        path = format!("/api/v1/slots?limit=1500&cursor={next}");
    }
    assert_eq!(sizes, [1_500, 845]);
    assert_eq!(pids, (100..2_445).collect::<Vec<_>>());
    let default = server.get("/api/v1/slots").json();
    assert_eq!((default["slots"].as_array().unwrap().len(), default["next"].as_u64()), (1_000, Some(1_000)));
    assert_eq!(server.get("/api/v1/slots?limit=10000").json()["slots"].as_array().unwrap().len(), 2_345);
}

#[test]
fn a_verdict_picks_its_slots_over_all_pages() {
    let server = Server::of(large_world(1_200));
    {
        let mut world = server.ingest.world();
        world.advance(900 * MILLI);
        for number in [5, 600, 601, 602, 1_100] {
            let agent = format!("agent-{}", number / 10);
            let says = Says { agent: &agent, unit: "", pid: 100 + number, announce: false, ..Says::default() };
            accepted(world.beat(says));
        }
        world.advance(1_800 * MILLI);
    }
    let pids = |page: &serde_json::Value| -> Vec<u64> {
        page["slots"].as_array().unwrap().iter().map(|slot| slot["pid"].as_u64().unwrap() - 100).collect()
    };
    let page = server.get("/api/v1/slots?verdict=up").json();
    assert_eq!((pids(&page), page["next"].as_u64()), (vec![5, 600, 601, 602, 1_100], None));
    let mut found = Vec::new();
    let mut cursor = 0;
    loop {
        let page = server.get(&format!("/api/v1/slots?verdict=up&limit=2&cursor={cursor}")).json();
        assert!(pids(&page).len() <= 2);
        found.extend(pids(&page));
        match page["next"].as_u64() {
            Some(next) => cursor = next,
            None => break,
        }
    }
    assert_eq!(found, [5, 600, 601, 602, 1_100]);
    assert_eq!(pids(&server.get("/api/v1/slots?verdict=held").json()), [] as [u64; 0]);
}

#[test]
fn bad_questions_get_json_errors() {
    let server = Server::of(small_world());
    for (path, status, word) in [
        ("/api/v1/slots?limit=0", 400, "limit is 1 to 10000"),
        ("/api/v1/slots?limit=10001", 400, "limit is 1 to 10000"),
        ("/api/v1/slots?limit=many", 400, "limit"),
        ("/api/v1/slots?lmit=5", 400, "lmit"),
        ("/api/v1/slots?verdict=fine", 400, "verdict is one of up, degraded, critical"),
        ("/api/v1/slots/web-1/worker", 404, "no slot of agent"),
        ("/api/v1/slots/db-1/pid:1", 404, "no slot of agent"),
        ("/api/v1/slots/%ff/api", 400, "UTF-8"),
        ("/api/v1/slots/web-1", 404, "nothing at this path"),
        ("/api/v1/events?after=x", 400, "after"),
        ("/nowhere", 404, "nothing at this path"),
    ] {
        let answer = server.get(path);
        assert_eq!(answer.status, status, "{path}: {}", answer.body);
        let error = answer.json()["error"].as_str().unwrap().to_owned();
        assert!(error.contains(word), "{path}: {error}");
        assert_eq!(answer.header("content-type"), Some("application/json"), "{path}");
    }
    let posted = server.ask("POST", "/api/v1/slots", "Content-Length: 0\r\n");
    assert_eq!((posted.status, posted.json()), (405, json!({"error": "this path answers GET and HEAD only"})));
    let id = server.ask("GET", "/api/v1/events", "Last-Event-ID: newest\r\n");
    assert_eq!((id.status, id.json()), (400, json!({"error": "Last-Event-ID is to be the number of an event"})));
}

#[test]
fn every_answer_carries_the_security_headers() {
    let server = Server::with(small_world(), Some("right"));
    for path in ["/metrics", "/healthz", "/nowhere"] {
        let answer = server.ask("GET", path, "Authorization: Bearer right\r\n");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{path}");
        assert_eq!(answer.header("referrer-policy"), Some("no-referrer"), "{path}");
        assert_eq!(answer.header("cross-origin-resource-policy"), Some("same-origin"), "{path}");
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{path}");
        assert_eq!(answer.header("content-security-policy"), Some("default-src 'none'"), "{path}");
    }
    assert_eq!(server.get("/metrics").header("cache-control"), Some("no-store"));
}

#[test]
fn a_page_of_another_name_reads_nothing_through_a_browser() {
    let browser = "User-Agent: Mozilla/5.0\r\nOrigin: http://evil.example\r\n";
    let open = Server::with(small_world(), None);
    let answer = open.ask("GET", "/api/v1/slots", browser);
    assert_eq!(answer.status, 421, "{}", answer.body);
    assert!(answer.json()["error"].as_str().unwrap().contains("set http.token_file"), "{}", answer.body);
    let guarded = Server::with(small_world(), Some("right"));
    let answer = guarded.ask("GET", "/api/v1/slots", &format!("{browser}Authorization: Bearer right\r\n"));
    assert_eq!(answer.status, 200, "a token guards it by itself: {}", answer.body);
}

#[test]
fn a_token_is_asked_for_everywhere_but_health() {
    let server = Server::with(small_world(), Some("correct horse"));
    let paths =
        ["/metrics", "/readyz", "/api/v1/slots", "/api/v1/slots/web-1/api", "/api/v1/status", "/api/v1/events", "/no"];
    let wrong = [
        "",
        "Authorization: Bearer correct\r\n",
        "Authorization: Bearer correct horse!\r\n",
        "Authorization: Basic correct horse\r\n",
        "Authorization: correct horse\r\n",
        "Authorization: Bearer\r\n",
    ];
    for path in paths {
        for headers in wrong {
            let answer = server.ask("GET", path, headers);
            assert_eq!((answer.status, answer.header("www-authenticate")), (401, Some("Bearer")), "{path} {headers}");
            assert!(answer.json()["error"].is_string());
        }
    }
    assert_eq!(server.get("/healthz").status, 200);
    assert_eq!(server.ask("GET", "/api/v1/status", "Authorization: Bearer correct horse\r\n").status, 200);
    assert_eq!(server.ask("GET", "/api/v1/status", "authorization: bearer correct horse\r\n").status, 200);
    assert_eq!(server.ask("GET", "/no", "Authorization: Bearer correct horse\r\n").status, 404);
}

#[test]
fn status_says_what_is_asked_of_an_observer() {
    let server = Server::of(small_world());
    let expected = json!({
        "name": "obs-1", "version": env!("CARGO_PKG_VERSION"), "started": "2026-01-01T00:00:00.000000Z",
        "verdicts": {"up": 1, "degraded": 1, "critical": 0, "stalled": 0, "departed": 0, "held": 0, "missing": 1,
            "unknown": 0},
        "slots": 2, "agents": 1,
            "audit": null, "blind": null, "critical": false, "persist_failing": false, "changes_lost": 0,
    });
    assert_eq!(server.get("/api/v1/status").json(), expected);
}

#[test]
fn health_is_the_loop_and_readiness_is_sight() {
    let mut server = Server::of(small_world());
    assert_eq!((server.get("/healthz").body.as_str(), server.get("/readyz").body.as_str()), ("ok\n", "ready\n"));
    {
        let mut world = server.ingest.world();
        let from = world.now.mono;
        let later = world.now.mono.after(61 * SECOND);
        world.now = varta_core::Now { mono: later, wall: world.now.wall.after(61 * SECOND) };
        let now = world.now;
        world.core.handle_gap(from, now);
        assert_eq!(world.core.blindness(), (None, true));
    }
    let answer = server.get("/readyz");
    assert_eq!(answer.status, 503);
    assert!(answer.json()["error"].as_str().unwrap().contains("blind for longer than the limit"));
    assert_eq!(answer.header("retry-after"), Some("1"));
    assert_eq!(server.get("/healthz").status, 200, "a blind observer is not restarted for it");
    server.ingest.end();
    for path in ["/healthz", "/readyz", "/metrics", "/api/v1/slots", "/api/v1/status"] {
        let answer = server.get(path);
        assert_eq!((answer.status, answer.json()), (503, json!({"error": "the observer is stopping"})), "{path}");
    }
}

#[test]
fn a_loop_that_is_held_up_fails_health_in_time() {
    let server = Server::of(small_world());
    let world = server.ingest.world();
    let answer = server.get("/healthz");
    assert_eq!(answer.status, 503);
    assert!(answer.json()["error"].as_str().unwrap().contains("does not answer"), "{}", answer.body);
    drop(world);
    assert_eq!(server.get("/healthz").status, 200);
}

fn value(metrics: &str, series: &str) -> f64 {
    let line = metrics.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {series} in:\n{metrics}")).parse().unwrap()
}

#[test]
fn one_scrape_adds_up() {
    let mut world = small_world();
    for length in [0, 10, 124] {
        world.datagram(&mut vec![7; length]);
    }
    let mut late = Says { nonce: 2, ..Says::default() };
    late.announce = false;
    world.advance(MILLI);
    accepted(world.beat(late));
    world.advance(3 * SECOND);
    let server = Server::of(world);
    let answer = server.get("/metrics");
    assert_eq!(answer.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    let text = answer.body;
    let of = |family: &str| value(&text, &format!("{family}{{listener=\"127.0.0.1:9900\"}}"));
    let rejected: Vec<_> =
        text.lines().filter_map(|line| line.strip_prefix("varta_datagrams_rejected_total{")).collect();
    assert_eq!(rejected.len(), Reject::REASONS.len());
    let sum: f64 = rejected.iter().map(|line| line.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap()).sum();
    assert_eq!((of("varta_datagrams_received_total"), sum), (6.0, 3.0));
    let accepted = of("varta_datagrams_accepted_total") + of("varta_datagrams_accepted_late_total");
    assert_eq!(of("varta_datagrams_received_total"), accepted + sum);
    assert_eq!(value(&text, "varta_slots{verdict=\"stalled\"}"), 2.0);
    assert_eq!(value(&text, "varta_stall_detection_seconds_count"), 2.0);
    assert_eq!(value(&text, "varta_status{agent=\"web-1\",unit=\"api\",pid=\"\"}"), 3.0);
    assert_eq!(value(&text, "varta_beats_total{agent=\"web-1\",unit=\"api\",pid=\"\"}"), 2.0);
    assert_eq!(value(&text, "varta_stalls_total{agent=\"web-1\",unit=\"\",pid=\"77\"}"), 1.0);
    assert_eq!(value(&text, "varta_beats_total{agent=\"db-1\",unit=\"\",pid=\"\"}"), 0.0);
    for verdict in Verdict::ALL {
        value(&text, &format!("varta_slots{{verdict=\"{}\"}}", verdict.name()));
    }
    for cause in Cause::ALL {
        assert_eq!(value(&text, &format!("varta_blind_seconds_total{{cause=\"{}\"}}", cause.name())), 0.0);
    }
}

#[test]
fn a_scrape_is_read_out_in_bounded_steps() {
    let server = Server::of(large_world(2_345));
    let text = server.get("/metrics").body;
    assert_eq!(text.lines().filter(|line| line.starts_with("varta_beats_total{")).count(), 2_345);
    // The answering side refuses a step of more places than one may look at.
    assert_eq!(server.ingest.world().steps, 3);
}

#[test]
fn which_slots_have_series_can_be_changed() {
    let mut world = large_world(2_100);
    accepted(world.beat(Says { status: Status::Critical, ..Says::default() }));
    let server = Server::of(world);
    let count = |text: &str| text.lines().filter(|line| line.starts_with("varta_beats_total{")).count();
    assert_eq!(count(&server.get("/metrics").body), 2_101);
    server.app.set_per_agent(PerAgent::Unhealthy);
    let text = server.get("/metrics").body;
    assert_eq!(count(&text), 1);
    assert_eq!(value(&text, "varta_status{agent=\"web-1\",unit=\"api\",pid=\"\"}"), 2.0);
    server.app.set_per_agent(PerAgent::None);
    assert!(!server.get("/metrics").body.contains("varta_beats_total"));
}

#[test]
fn events_come_as_they_happen_and_resume_where_one_stopped() {
    let server = Server::of(World::new(1));
    let mut live = server.follow("/api/v1/events", "");
    assert!(live.head.starts_with("HTTP/1.1 200 "), "{}", live.head);
    assert!(live.head.contains("content-type: text/event-stream"), "{}", live.head);
    accepted(server.ingest.world().beat(Says::default()));
    let first = live.next().unwrap();
    let id = first.id.unwrap();
    assert_eq!((id, first.kind.as_str()), (1_767_225_600_000_001, "new"));
    assert_eq!(
        (&first.data["id"], &first.data["agent"], &first.data["to"]),
        (&json!(id), &json!("web-1"), &json!("up"))
    );
    server.ingest.world().advance(3 * SECOND);
    let second = live.next().unwrap();
    assert_eq!((second.id, second.kind.as_str()), (Some(id + 1), "verdict"));
    assert_eq!((&second.data["from"], &second.data["to"]), (&json!("up"), &json!("stalled")));
    drop(live);
    accepted(server.ingest.world().beat(Says::default()));
    let mut resumed = server.follow("/api/v1/events", &format!("Last-Event-ID: {id}\r\n"));
    assert_eq!(resumed.next().unwrap(), second);
    assert_eq!(resumed.next().unwrap().id, Some(id + 2));
    let mut by_query = server.follow(&format!("/api/v1/events?after={}", id + 1), "");
    assert_eq!(by_query.next().unwrap().id, Some(id + 2));
}

#[test]
fn who_was_away_too_long_is_told_and_goes_on() {
    let server = Server::of(World::new(1));
    accepted(server.ingest.world().beat(Says::default()));
    let first = server.follow("/api/v1/events?after=0", "").next().unwrap();
    assert_eq!((first.kind.as_str(), first.id), ("lagged", None));
    let mut resumed = server.follow("/api/v1/events", "Last-Event-ID: 5\r\n");
    let lagged = resumed.next().unwrap();
    let oldest = 1_767_225_600_000_001_u64;
    assert_eq!((lagged.kind.as_str(), lagged.data), ("lagged", json!({"seen": 5, "next": oldest})));
    assert_eq!(resumed.next().unwrap().id, Some(oldest));
    accepted(server.ingest.world().beat(Says { unit: "worker", ..Says::default() }));
    assert_eq!(resumed.next().unwrap().id, Some(oldest + 1), "no second word of it");
    let mut other_life = server.follow("/api/v1/events", &format!("Last-Event-ID: {}\r\n", u64::MAX));
    assert_eq!(other_life.next().unwrap().kind, "lagged");
    assert_eq!(other_life.next().unwrap().id, Some(oldest));
}

#[test]
fn event_streams_are_few_and_end_with_the_observer() {
    let mut server = Server::of(World::new(1));
    let mut streams: Vec<_> = (0..FOLLOWERS).map(|_| server.follow("/api/v1/events", "")).collect();
    assert!(streams.iter().all(|stream| stream.head.starts_with("HTTP/1.1 200 ")));
    let refused = server.get("/api/v1/events");
    assert_eq!((refused.status, refused.json()), (503, json!({"error": "16 event streams are open already"})));
    accepted(server.ingest.world().beat(Says::default()));
    assert!(streams.iter_mut().all(|stream| stream.next().unwrap().kind == "new"));
    server.stop();
    assert!(streams.iter_mut().all(|stream| stream.next().is_none()));
}

#[test]
fn connections_are_bounded_and_wait_for_their_turn() {
    let server = Server::of(World::new(1));
    let mut open: Vec<_> = (0..CONNECTIONS).map(|_| server.connect()).collect();
    let ask = |stream: &mut std::net::TcpStream| {
        write!(stream, "GET /healthz HTTP/1.1\r\nHost: obs-1\r\n\r\n").unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\nok\n") {
            let mut byte = [0; 1];
            stream.read_exact(&mut byte).unwrap();
            answer.extend(byte);
        }
        assert!(answer.starts_with(b"HTTP/1.1 200 OK"));
    };
    open.iter_mut().for_each(ask);
    let mut waiting = server.connect();
    write!(waiting, "GET /healthz HTTP/1.1\r\nHost: obs-1\r\n\r\n").unwrap();
    // Many turns of the server in which it could have accepted.
    open.iter_mut().for_each(ask);
    waiting.set_nonblocking(true).unwrap();
    let mut byte = [0; 1];
    assert_eq!(waiting.read(&mut byte).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    waiting.set_nonblocking(false).unwrap();
    open.pop();
    waiting.read_exact(&mut byte).unwrap();
    assert_eq!(&byte, b"H");
}

#[test]
fn a_head_too_large_is_refused() {
    let server = Server::of(World::new(1));
    let answer = server.ask("GET", "/healthz", &format!("X-Filler: {}\r\n", "x".repeat(20_000)));
    assert_eq!(answer.status, 431);
}

#[test]
fn two_requests_share_a_connection_and_head_has_no_body() {
    let server = Server::of(World::new(1));
    let head = server.ask("HEAD", "/healthz", "");
    assert_eq!((head.status, head.body.as_str()), (200, ""));
    let mut stream = server.connect();
    for connection in ["keep-alive", "close"] {
        write!(stream, "GET /healthz HTTP/1.1\r\nHost: obs-1\r\nConnection: {connection}\r\n\r\n").unwrap();
    }
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    assert_eq!(text.matches("HTTP/1.1 200 OK").count(), 2, "{text}");
}
