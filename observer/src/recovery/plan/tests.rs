use std::time::Duration;

use varta_config::{Match, Recovery};
use varta_core::{Exit, MILLI};
use varta_vlp::{AgentId, key::Name};

use super::*;

const START: MonoNs = MonoNs(1_000 * SECOND);
const PID: u32 = 4242;
/// Nobody else is silent.
const CALM: (u32, u32) = (1, 100);

fn at(seconds: u64) -> MonoNs {
    START.after(seconds * SECOND)
}

fn rule(agent: Option<&str>, exec: &[&str]) -> Recovery {
    let matching = Match { agent: agent.map(str::to_owned), ..Match::default() };
    Recovery { matching, exec: exec.iter().map(|part| (*part).to_owned()).collect(), ..Recovery::default() }
}

fn plan_of(rules: &[Recovery]) -> Plan {
    let rules = rules.iter().enumerate().map(|(index, rule)| Rule::new(index, rule)).collect();
    Plan::new(rules, Limits { per_minute: 30, stop_percent: 50, stop_from: 10 })
}

fn plan() -> Plan {
    plan_of(&[rule(Some("local"), &["/bin/restart", "{pid}"])])
}

fn down(class: Class) -> Down {
    Down { ended: false, class, process: 5, exit: None, obstacle: None }
}

fn patient_of(owner: Owner, unit: UnitId, pid: u32, down: Down) -> Patient {
    let key = Key { owner, unit, pid: if unit == UnitId::NONE { pid } else { 0 } };
    Patient { key, down, pid, agent: owner.to_string().into(), unit: "".into(), labels: None }
}

fn local() -> Patient {
    patient_of(Owner::Local, UnitId::NONE, PID, down(Class::KernelAttested))
}

fn dead() -> Patient {
    let mut patient = local();
    patient.down.exit = Some(Exit::Signal(9));
    patient
}

fn web() -> AgentId {
    Name::new("web-1").unwrap().agent_id()
}

fn api() -> UnitId {
    Name::new("api").unwrap().unit_id()
}

/// Runs that are begun up to `until`, each of which ends at once with `end`; and what else is told.
fn runs(plan: &mut Plan, until: MonoNs, silence: (u32, u32), end: End) -> (Vec<u64>, Vec<Act>) {
    let (mut begun, mut told) = (Vec::new(), Vec::new());
    while plan.next() <= until {
        let now = plan.next();
        while let Some(act) = plan.poll(now, silence) {
            match act {
                Act::Run { key, .. } => {
                    begun.push(now.since(START) / SECOND);
                    plan.handle_end(now, &key, end);
                }
                other => told.push(other),
            }
        }
    }
    (begun, told)
}

#[test]
fn it_is_tried_again_ever_later_ten_times_and_then_given_up() {
    let mut plan = plan();
    let patient = local();
    assert_eq!(plan.handle_down(START, patient.clone()), None);
    let (begun, told) = runs(&mut plan, at(10_000), CALM, End::Badly);
    assert_eq!(begun, [0, 1, 3, 7, 15, 31, 63, 123, 183, 243]);
    assert_eq!(told, [Act::GiveUp { key: patient.key, rule: 0 }]);
    // Up and down again is another trouble.
    plan.handle_over(at(10_000), &patient.key);
    assert_eq!(plan.handle_down(at(10_001), patient), None);
    let (begun, _) = runs(&mut plan, at(10_002), CALM, End::Badly);
    assert_eq!(begun, [10_001, 10_002]);
}

#[test]
fn a_slot_that_is_up_is_not_tried_again() {
    let mut plan = plan();
    plan.handle_down(START, local());
    assert_eq!(runs(&mut plan, at(2), CALM, End::Well).0, [0, 1], "it runs on, so that what was done did not help");
    plan.handle_over(at(3), &local().key);
    assert_eq!(runs(&mut plan, at(100_000), CALM, End::Well), (vec![], vec![]));
    assert_eq!(plan.next(), MonoNs::NEVER, "all is forgotten");
    assert!(plan.cases.is_empty() && plan.numbers.is_empty() && plan.keys.is_empty());
}

#[test]
fn what_cannot_come_back_under_its_name_is_done_with_once_a_run_went_well() {
    let mut plan = plan();
    plan.handle_down(START, dead());
    assert_eq!(runs(&mut plan, at(1_000), CALM, End::Badly).0.len(), 10, "as long as it goes badly it is tried again");

    let mut plan = super::tests::plan();
    plan.handle_down(START, dead());
    assert_eq!(runs(&mut plan, at(1_000), CALM, End::Well).0, [0], "the process is gone, and was replaced");

    // A process that hangs, is killed by the run, and is told as ended afterwards.
    let mut plan = super::tests::plan();
    plan.handle_down(START, local());
    assert_eq!(runs(&mut plan, START, CALM, End::Well).0, [0]);
    assert_eq!(plan.handle_down(START.after(MILLI), dead()), None);
    assert_eq!(runs(&mut plan, at(1_000), CALM, End::Well).0, [0; 0]);

    // A unit keeps its name.
    let mut plan = plan_of(&[rule(Some("web-1"), &["/bin/restart"])]);
    let unit = patient_of(Owner::Agent(web()), api(), PID, down(Class::OperatorAttested));
    plan.handle_down(START, unit);
    assert_eq!(runs(&mut plan, at(3), CALM, End::Well).0, [0, 1, 3]);
    let mut plan = plan_of(&[rule(Some("web-1"), &["/bin/restart"])]);
    plan.handle_down(START, patient_of(Owner::Agent(web()), UnitId::NONE, PID, down(Class::OperatorAttested)));
    assert_eq!(runs(&mut plan, at(3), CALM, End::Well).0, [0]);
}

#[test]
fn a_second_stall_within_the_window_is_recovered_when_that_ends() {
    let mut slow = rule(Some("local"), &["/bin/restart"]);
    slow.debounce = Duration::from_secs(90);
    let mut plan = plan_of(&[slow]);
    let key = local().key;
    plan.handle_down(START, local());
    assert_eq!(runs(&mut plan, START, CALM, End::Well).0, [0]);
    plan.handle_over(at(5), &key);
    assert_eq!(plan.handle_down(at(10), local()), Some(Act::Debounced { key, rule: 0 }));
    assert_eq!(runs(&mut plan, at(89), CALM, End::Well).0, [0; 0]);
    assert_eq!(runs(&mut plan, at(90), CALM, End::Well).0, [90]);
    assert_eq!(runs(&mut plan, at(400), CALM, End::Well).0, [180, 270, 360], "a longer window is a longer pause");
}

#[test]
fn one_run_for_a_slot_at_a_time() {
    let mut plan = plan();
    let key = local().key;
    plan.handle_down(START, local());
    assert_eq!(plan.poll(START, CALM), Some(Act::Run { key, rule: 0, attempt: 1 }));
    assert_eq!((plan.poll(at(100), CALM), plan.next()), (None, MonoNs::NEVER));
    plan.handle_over(at(101), &key);
    assert_eq!(plan.handle_down(at(102), local()), Some(Act::Debounced { key, rule: 0 }));
    assert_eq!(plan.poll(at(200), CALM), None);
    plan.handle_end(at(200), &key, End::Badly);
    assert_eq!(plan.poll(at(200), CALM), Some(Act::Run { key, rule: 0, attempt: 1 }));
}

#[test]
fn the_rate_of_all_runs_is_bounded_and_nobody_is_forgotten_for_it() {
    let mut plan = plan();
    for pid in 0..100 {
        plan.handle_down(START, patient_of(Owner::Local, UnitId::NONE, pid, dead().down));
    }
    let (begun, told) = runs(&mut plan, at(59), (1, 1_000), End::Well);
    assert_eq!((begun.len(), told), (30, vec![Act::Brake(Some(Brake::Rate))]));
    let (begun, told) = runs(&mut plan, at(1_000), (1, 1_000), End::Well);
    assert_eq!(
        begun.iter().map(|second| second / 60).collect::<Vec<_>>(),
        [vec![1; 30], vec![2; 30], vec![3; 10]].concat()
    );
    assert_eq!(told.iter().filter(|act| **act == Act::Brake(None)).count(), 3, "{told:?}");
}

#[test]
fn nothing_is_run_while_most_are_silent() {
    let mut plan = plan();
    let key = local().key;
    plan.handle_down(START, local());
    let (begun, told) = runs(&mut plan, at(300), (6, 10), End::Badly);
    assert_eq!((begun, told), (vec![], vec![Act::Brake(Some(Brake::Share))]));
    for (silence, held) in [((5, 10), false), ((6, 11), true), ((9, 9), false), ((0, 0), false)] {
        let mut plan = super::tests::plan();
        plan.handle_down(START, local());
        let first = plan.poll(START, silence);
        let expected = if held { Act::Brake(Some(Brake::Share)) } else { Act::Run { key, rule: 0, attempt: 1 } };
        assert_eq!(first, Some(expected), "{silence:?}");
    }
    assert_eq!(plan.poll(at(301), CALM), Some(Act::Brake(None)));
    assert_eq!(plan.poll(at(301), CALM), Some(Act::Run { key, rule: 0, attempt: 1 }), "and then it is");
}

#[test]
fn a_refusal_is_told_once_and_not_for_every_flap() {
    let mut plan = plan_of(&[rule(None, &["/bin/restart"])]);
    let patient = patient_of(Owner::Agent(web()), api(), PID, down(Class::NetworkVerified));
    let key = patient.key;
    for flap in 0..1_000 {
        plan.handle_down(at(3 * flap), patient.clone());
        let act = plan.poll(at(3 * flap), CALM);
        let first = flap % 1_200 == 0;
        assert_eq!(act, first.then_some(Act::Refuse { key, rule: 0, why: Refusal::Origin }), "{flap}");
        plan.handle_over(at(3 * flap + 1), &key);
    }
    plan.handle_down(at(5_000), patient);
    assert_eq!(plan.poll(at(5_000), CALM), Some(Act::Refuse { key, rule: 0, why: Refusal::Origin }), "an hour later");
}

#[test]
fn a_log_that_cannot_be_written_refuses_for_now() {
    let mut plan = plan();
    plan.handle_down(START, local());
    let (begun, told) = runs(&mut plan, at(8), CALM, End::Refused(Refusal::Audit));
    assert_eq!((begun, told), (vec![0, 1, 3, 7], vec![]));
    let mut plan = super::tests::plan();
    plan.handle_down(START, local());
    assert_eq!(runs(&mut plan, at(1_000), CALM, End::Refused(Refusal::RecycledPid)).0, [0], "no run will change that");
}

/// Every origin, every obstacle, rules that hand a pid on and that do not, rules that are for it and that are not.
#[test]
fn the_whole_matrix() {
    let classes = [
        Class::NetworkUnverified,
        Class::SocketModeOnly,
        Class::NetworkVerified,
        Class::OperatorAttested,
        Class::KernelAttested,
    ];
    let obstacles = [
        None,
        Some(Obstacle::Blind),
        Some(Obstacle::Contested),
        Some(Obstacle::Clock),
        Some(Obstacle::NamespaceUnknown),
    ];
    let owner_of = |class| match class {
        Class::NetworkUnverified => Owner::Plain([10, 0, 0, 1].into()),
        Class::SocketModeOnly | Class::KernelAttested => Owner::Local,
        Class::NetworkVerified | Class::OperatorAttested => Owner::Agent(web()),
    };
    let mut ran = Vec::new();
    for class in classes {
        for obstacle in obstacles {
            for pid in [false, true] {
                for matching in [None, Some("local"), Some("web-1"), Some("udp~10.0.0.1"), Some("other")] {
                    for dry_run in [false, true] {
                        let exec: &[&str] = if pid { &["/bin/restart", "{pid}"] } else { &["/bin/restart"] };
                        let mut plan = plan_of(&[Recovery { dry_run, ..rule(matching, exec) }]);
                        let unit = if class == Class::OperatorAttested { api() } else { UnitId::NONE };
                        let owner = owner_of(class);
                        let patient = patient_of(owner, unit, PID, Down { obstacle, ..down(class) });
                        let key = patient.key;
                        assert_eq!(plan.handle_down(START, patient), None);
                        let for_it = matching.is_none_or(|name| {
                            let agent = || Owner::Agent(Name::new(name).unwrap().agent_id());
                            Owner::of_unsealed(name).unwrap_or_else(agent) == owner
                        });
                        let why = match (class, obstacle) {
                            (Class::NetworkUnverified, _) => Some(Refusal::Unverified),
                            (Class::SocketModeOnly, _) => Some(Refusal::SocketMode),
                            (Class::NetworkVerified, _) => Some(Refusal::Origin),
                            (_, Some(Obstacle::Blind)) => Some(Refusal::Blind),
                            (_, Some(Obstacle::Contested)) => Some(Refusal::Contested),
                            (_, Some(Obstacle::Clock)) => Some(Refusal::Clock),
                            (_, Some(Obstacle::NamespaceUnknown)) => Some(Refusal::Namespace),
                            (Class::OperatorAttested, None) if pid => Some(Refusal::ForeignPid),
                            (Class::OperatorAttested | Class::KernelAttested, None) => None,
                        };
                        let expected = match why {
                            _ if !for_it => None,
                            Some(why) => Some(Act::Refuse { key, rule: 0, why }),
                            None => Some(Act::Run { key, rule: 0, attempt: 1 }),
                        };
                        let found = plan.poll(START, CALM);
                        assert_eq!(found, expected, "{class:?} {obstacle:?} {pid} {matching:?} {dry_run}");
                        if matches!(found, Some(Act::Run { .. })) {
                            ran.push((class, pid));
                        }
                    }
                }
            }
        }
    }
    ran.dedup();
    assert_eq!(
        ran,
        [(Class::OperatorAttested, false), (Class::KernelAttested, false), (Class::KernelAttested, true)],
        "nothing else ever runs"
    );
}

#[test]
fn the_first_rule_that_is_for_a_slot_is_its_rule() {
    let mut labelled = rule(None, &["/bin/labelled"]);
    labelled.matching.labels.insert("role".to_owned(), "web".to_owned());
    let mut named = rule(Some("web-1"), &["/bin/named"]);
    named.matching.unit = Some("api".to_owned());
    let mut plan = plan_of(&[labelled, named, rule(Some("web-1"), &["/bin/any"])]);
    let mut patient = patient_of(Owner::Agent(web()), api(), PID, down(Class::OperatorAttested));
    let mut chosen = |patient: &Patient| {
        plan.handle_down(START, patient.clone());
        let act = plan.poll(START, CALM);
        let Some(Act::Run { key, rule, .. }) = act else { panic!("{act:?}") };
        plan.handle_over(START, &key);
        plan.handle_end(START, &key, End::Well);
        plan.forget(&key);
        rule
    };
    assert_eq!(chosen(&patient), 1);
    patient.labels = Some(Arc::new([("role".into(), "web".into())].into()));
    assert_eq!(chosen(&patient), 0);
    patient.labels = Some(Arc::new([("role".into(), "db".into())].into()));
    patient.key.unit = Name::new("other").unwrap().unit_id();
    assert_eq!(chosen(&patient), 2);
}

#[test]
fn whole_arguments_are_replaced_and_nothing_else() {
    let exec = ["/bin/{pid}", "{pid}", "{agent}", "{unit}", "--pid={pid}", "$(reboot)", "a b; rm -rf /"];
    let rule = Rule::new(0, &rule(None, &exec));
    let patient = Patient { agent: "web-1; reboot".into(), unit: "a b".into(), ..local() };
    let expected = ["/bin/{pid}", "4242", "web-1; reboot", "a b", "--pid={pid}", "$(reboot)", "a b; rm -rf /"];
    assert_eq!(rule.command(&patient), expected);
    assert!(rule.names_pid());
}
