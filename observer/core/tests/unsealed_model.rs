//! Base frames and ends of processes in any order, against a model that is slow and obvious.

use std::collections::BTreeMap;

use proptest::prelude::*;
use varta_core::{
    Core, Cursor, Exit, Limits, MILLI, MonoNs, Now, Outcome, Owner, Reject, SECOND, Sender, Settings, Start, Verdict,
    WallNs,
};
use varta_vlp::{
    Frame, Status, UnitId,
    sealed::{Body, Flags},
};

const HOUR: u64 = 3600 * SECOND;

#[derive(Clone, Copy, Debug)]
enum Form {
    Bare,
    Promise(u32),
    Goodbye,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Frame { pid: u32, process: u64, nonce: u64, status: Status, form: Form },
    Exit { pid: u32, process: u64 },
    Pass(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let nonce = prop_oneof![4 => 0..5_u64, 1 => Just(u64::MAX - 1), 1 => Just(Frame::TERMINAL)];
    let status = prop_oneof![3 => Just(Status::Ok), 1 => Just(Status::Degraded), 1 => Just(Status::Critical)];
    let form =
        prop_oneof![3 => Just(Form::Bare), 1 => (100..5_000_u32).prop_map(Form::Promise), 1 => Just(Form::Goodbye)];
    prop_oneof![
        6 => (2..4_u32, 0..3_u64, nonce, status, form)
            .prop_map(|(pid, process, nonce, status, form)| {
                // Terminal frames of another status are none.
                let status = if nonce == Frame::TERMINAL { Status::Critical } else { status };
                Step::Frame { pid, process, nonce, status, form }
            }),
        1 => (2..4_u32, 0..3_u64).prop_map(|(pid, process)| Step::Exit { pid, process }),
        2 => prop_oneof![1..3_000 * MILLI, Just(2 * SECOND), Just(HOUR)].prop_map(Step::Pass),
    ]
}

/// What is known of a pid.
#[derive(Clone, Debug)]
struct Known {
    process: u64,
    last: u64,
    verdict: Verdict,
    /// When it is stalled, while it is expected to beat.
    deadline: Option<u64>,
    /// When it is forgotten, once it has ended.
    forgotten: Option<u64>,
}

#[derive(Default)]
struct Model {
    known: BTreeMap<u32, Known>,
}

impl Model {
    fn frame(&mut self, now: u64, step: Step) -> Result<(), Reject> {
        let Step::Frame { pid, process, nonce, status, form } = step else { unreachable!() };
        let terminal = nonce == Frame::TERMINAL;
        let mut last = 0;
        if let Some(known) = self.known.get(&pid) {
            let another = process != 0 && known.process != 0 && process != known.process;
            let first = nonce == 1 && known.last != 0;
            let follows = nonce > known.last || nonce == 0 && known.last == u64::MAX - 1;
            if !(another || first || terminal || follows) {
                return Err(Reject::OutOfOrder);
            }
            last = if another || first { 0 } else { known.last };
        }
        let goodbye = matches!(form, Form::Goodbye);
        let verdict = match status {
            _ if terminal => Verdict::Critical,
            Status::Ok if goodbye => Verdict::Departed,
            _ if goodbye => Verdict::Critical,
            Status::Ok => Verdict::Up,
            Status::Degraded => Verdict::Degraded,
            _ => Verdict::Critical,
        };
        let span = match form {
            Form::Promise(ms) => 2 * u64::from(ms) * MILLI + 250 * MILLI,
            Form::Bare | Form::Goodbye => 2 * SECOND,
        };
        let before = self.known.get(&pid).map_or(0, |known| known.process);
        let known = Known {
            process: if process == 0 { before } else { process },
            last: if terminal { last } else { nonce },
            verdict,
            deadline: (!terminal && !goodbye).then_some(now + span),
            forgotten: None,
        };
        self.known.insert(pid, known);
        Ok(())
    }

    fn exit(&mut self, now: u64, pid: u32, process: u64) {
        let Some(known) = self.known.get_mut(&pid) else { return };
        if process != 0 && known.process != 0 && process != known.process || known.forgotten.is_some() {
            return;
        }
        if known.deadline.take().is_some() {
            known.verdict = Verdict::Stalled;
        }
        known.forgotten = Some(now + HOUR);
    }

    fn pass(&mut self, now: u64) {
        for known in self.known.values_mut() {
            if known.deadline.is_some_and(|deadline| deadline <= now) {
                (known.verdict, known.deadline) = (Verdict::Stalled, None);
            }
        }
        self.known.retain(|_, known| known.forgotten.is_none_or(|at| at > now));
    }
}

fn bytes(step: Step) -> Vec<u8> {
    let Step::Frame { pid, nonce, status, form, .. } = step else { unreachable!() };
    let frame = Frame { status, pid, timestamp: 1, nonce, payload: 0 };
    let long = |next_due_ms, flags| {
        Body { frame, sent_at: 0, next_due_ms, lag_us: 0, unit: UnitId::NONE, flags, boot: 0 }.encode().to_vec()
    };
    match form {
        Form::Bare => frame.encode().to_vec(),
        Form::Promise(ms) => long(ms, Flags::default()),
        Form::Goodbye => long(0, Flags::FINAL),
    }
}

fn verdicts(core: &Core, now: Now) -> BTreeMap<u32, Verdict> {
    let mut found = BTreeMap::new();
    let mut cursor = Some(Cursor::default());
    while let Some(from) = cursor {
        cursor = core.page(now, from, 16, |row| {
            assert_eq!(row.agent, Owner::Local);
            assert_eq!(found.insert(row.pid, row.verdict), None, "one slot for a pid");
        });
    }
    found
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_core_agrees_with_the_model(steps in prop::collection::vec(step(), 1..60)) {
        let mut now = Now { mono: MonoNs(1_000 * SECOND), wall: WallNs(2_000_000 * SECOND) };
        let mut core = Core::new(Settings::default(), Limits::default(), Vec::new(), 1, 7);
        core.start(now, Start::First, 0);
        core.watch_down();
        let mut model = Model::default();
        for step in steps {
            match step {
                Step::Frame { pid, process, .. } => {
                    let sender = Ok(Sender::Local { pid, process, ours: true });
                    let found = match core.handle_unsealed(now, 0, sender, &bytes(step)) {
                        Outcome::Accepted(_) => Ok(()),
                        Outcome::Rejected(reject) => Err(reject),
                        other => panic!("{other:?}"),
                    };
                    prop_assert_eq!(found, model.frame(now.mono.0, step), "{:?}", step);
                }
                Step::Exit { pid, process } => {
                    core.handle_exit(now, pid, process, Exit::Unknown);
                    model.exit(now.mono.0, pid, process);
                }
                Step::Pass(ns) => {
                    now = Now { mono: now.mono.after(ns), wall: now.wall.after(ns) };
                    core.handle_timeout(now);
                    model.pass(now.mono.0);
                }
            }
            let expected: BTreeMap<_, _> = model.known.iter().map(|(pid, known)| (*pid, known.verdict)).collect();
            prop_assert_eq!(verdicts(&core, now), expected, "after {:?}", step);
            // Whoever follows what is down knows it all.
            let mut down = BTreeMap::new();
            while let Some((_, subject, state)) = core.poll_down(now) {
                down.insert(subject.pid, state.is_some());
            }
            for (pid, is_down) in down {
                let known = model.known.get(&pid);
                prop_assert!(is_down == known.is_some_and(|known| known.deadline.is_none()
                    && (known.verdict == Verdict::Stalled || known.verdict == Verdict::Critical && is_down)));
            }
            let counters = &core.counters().listeners[0];
            prop_assert_eq!(counters.received, counters.accepted + counters.rejected_total());
            let counts: u32 = core.verdict_counts().iter().sum();
            prop_assert_eq!(counts as usize, model.known.len());
        }
    }
}
