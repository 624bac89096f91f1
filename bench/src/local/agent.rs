//! One agent: a process that beats to its observers by the clock, says what became of its beats, and waits for the end of
//! its input.

use std::{
    io::{self, Read as _, Write as _},
    path::PathBuf,
    time::Duration,
};

use clap::Args;
use serde::{Deserialize, Serialize};
use varta_client::{BeatOutcome, DropReason, Status, UdsTransport, Varta};

use crate::clock;

/// How often an agent beats.
pub(super) const EVERY: Duration = Duration::from_secs(1);
/// The part of a second over which the agents are spread, in percent; in the rest of it nobody beats.
const SPREAD: u32 = 90;

/// One agent.
#[derive(Args, Clone)]
pub(crate) struct AgentArgs {
    /// The sockets of the observers that it beats to in turn.
    #[arg(long = "socket", value_name = "PATH", required = true)]
    pub(super) sockets: Vec<PathBuf>,
    /// When the first second begins: nanoseconds since boot.
    #[arg(long, value_name = "NS")]
    pub(super) start: u64,
    /// Which agent it is, of how many.
    #[arg(long, value_name = "N")]
    pub(super) number: u32,
    #[arg(long, value_name = "N")]
    pub(super) of: u32,
    #[command(flatten)]
    pub(super) plan: Plan,
}

/// What all agents of a fleet do. In the first seconds each beats once to each observer; then come rounds in which each
/// observer has its seconds in turn; then the bursts, a second apart, each to one observer in turn.
#[derive(Args, Clone, Copy)]
pub(crate) struct Plan {
    #[arg(long, value_name = "N")]
    pub(super) rounds: u32,
    #[arg(long, value_name = "N")]
    pub(super) seconds: u32,
    #[arg(long, value_name = "N")]
    pub(super) bursts: u32,
}

/// One beat of a plan.
struct Planned {
    at: Duration,
    observer: usize,
    part: Part,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    First,
    Steady,
    Burst,
}

/// What became of beats.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Sent {
    /// Taken by the kernel.
    pub(super) taken: u64,
    /// Refused because the observer's queue was full.
    pub(super) refused: u64,
}

impl Sent {
    pub(super) const fn all(self) -> u64 {
        self.taken + self.refused
    }
}

impl std::ops::AddAssign for Sent {
    fn add_assign(&mut self, other: Self) {
        self.taken += other.taken;
        self.refused += other.refused;
    }
}

/// What became of the beats to one observer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Said {
    pub(super) first: Sent,
    pub(super) steady: Sent,
    pub(super) burst: Sent,
}

impl std::ops::AddAssign for Said {
    fn add_assign(&mut self, other: Self) {
        self.first += other.first;
        self.steady += other.steady;
        self.burst += other.burst;
    }
}

impl Plan {
    /// When the seconds of `observer` in `round` begin, from the start; of as many observers as there are.
    pub(super) fn window(self, round: u32, observer: u32, observers: u32) -> Duration {
        EVERY * (observers + (round * observers + observer) * self.seconds)
    }

    /// When a burst is.
    fn burst(self, burst: u32, observers: u32) -> Duration {
        self.window(self.rounds, 0, observers) + EVERY * (burst + 1)
    }

    /// Everything that the agent at this place in each second does, in order.
    fn beats(self, place: Duration, observers: u32) -> Vec<Planned> {
        let first = (0..observers).map(|observer| (EVERY * observer + place, observer, Part::First));
        let turns = (0..self.rounds).flat_map(move |round| (0..observers).map(move |observer| (round, observer)));
        let steady = turns.flat_map(|(round, observer)| {
            (0..self.seconds).map(move |second| {
                (self.window(round, observer, observers) + EVERY * second + place, observer, Part::Steady)
            })
        });
        let bursts =
            (0..self.bursts * observers).map(|burst| (self.burst(burst, observers), burst % observers, Part::Burst));
        let all = first.chain(steady).chain(bursts);
        all.map(|(at, observer, part)| Planned { at, observer: observer as usize, part }).collect()
    }
}

fn beat(handle: &mut Varta<UdsTransport>, sent: &mut Sent) -> anyhow::Result<()> {
    match handle.beat(Status::Ok, 0) {
        BeatOutcome::Sent => sent.taken += 1,
        BeatOutcome::Dropped(DropReason::KernelQueueFull) => sent.refused += 1,
        other => anyhow::bail!("{other}"),
    }
    Ok(())
}

pub(crate) fn run(args: &AgentArgs) -> anyhow::Result<()> {
    let mut handles = args.sockets.iter().map(Varta::local).collect::<Result<Vec<_>, _>>()?;
    let mut said = vec![Said::default(); handles.len()];
    let place = EVERY * SPREAD / 100 * args.number / args.of;
    let start = Duration::from_nanos(args.start);
    for planned in args.plan.beats(place, u32::try_from(handles.len())?) {
        let now = clock::boottime();
        clock::pass((start + planned.at).saturating_sub(now));
        let said = &mut said[planned.observer];
        let sent = match planned.part {
            Part::First => &mut said.first,
            Part::Steady => &mut said.steady,
            Part::Burst => &mut said.burst,
        };
        beat(&mut handles[planned.observer], sent)?;
    }
    // One write, so that no line of another comes between.
    io::stdout().lock().write_all(format!("{}\n", serde_json::to_string(&said)?).as_bytes())?;
    io::stdin().lock().read_to_end(&mut Vec::new())?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn observers_have_their_turns() {
        let plan = Plan { rounds: 2, seconds: 3, bursts: 2 };
        let beats = plan.beats(Duration::from_millis(400), 2);
        let of = |part, observer| -> Vec<u128> {
            let these = beats.iter().filter(|beat| beat.part == part && beat.observer == observer);
            these.map(|beat| beat.at.as_millis()).collect()
        };
        assert_eq!((of(Part::First, 0), of(Part::First, 1)), (vec![400], vec![1400]));
        assert_eq!(of(Part::Steady, 0), [2400, 3400, 4400, 8400, 9400, 10_400]);
        assert_eq!(of(Part::Steady, 1), [5400, 6400, 7400, 11_400, 12_400, 13_400]);
        assert_eq!((of(Part::Burst, 0), of(Part::Burst, 1)), (vec![15_000, 17_000], vec![16_000, 18_000]));
        assert!(beats.is_sorted_by_key(|beat| beat.at));
    }
}
