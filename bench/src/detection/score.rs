//! Quality of service after Chen, Toueg and Aguilera: detection time T_D, mistakes, query accuracy P_A.

use super::{
    Ns,
    detectors::{Detector, Heard},
    random::Random,
    trace::{LOST, Span, Stalls, Trace},
    units::{DAY, seconds},
};

/// What a detector held after each beat of a trace was sent: the instant from which it suspects if the sender died then.
pub(super) type Deadlines = Vec<Ns>;

/// Lets a detector hear a trace. Beats that arrive while the observer is held up are read when that is over.
pub(super) fn deadlines(trace: &Trace, stalls: &Stalls, detector: &mut dyn Detector) -> Deadlines {
    let mut deadline = 0;
    let hear = |beat: &super::trace::Beat| {
        if beat.arrives != LOST {
            deadline = detector.heard(Heard { number: beat.number, at: stalls.served(beat.arrives) });
        }
        deadline
    };
    trace.beats.iter().map(hear).collect()
}

/// When a live sender was suspected, every deadline moved by `margin`. Who is held up first reads what has arrived, and
/// then looks at deadlines.
pub(super) fn mistakes(trace: &Trace, stalls: &Stalls, deadlines: &[Ns], margin: Ns) -> Vec<Span> {
    let mut mistakes = Vec::new();
    let mut suspected: Option<Ns> = None;
    let mut last: Option<(Ns, Ns)> = None;
    let heard = trace.beats.iter().zip(deadlines).filter(|(beat, _)| beat.arrives != LOST);
    for (read, deadline) in heard.map(|(beat, deadline)| (stalls.served(beat.arrives), deadline + margin)) {
        suspected = suspected.or_else(|| begins(stalls, last, read));
        if deadline > read
            && let Some(from) = suspected.take()
        {
            mistakes.push((from, read));
        }
        last = Some((read, deadline));
    }
    if let Some(from) = suspected.or_else(|| begins(stalls, last, trace.end)) {
        mistakes.push((from, trace.end));
    }
    mistakes
}

/// When suspicion begins after a beat read at some instant, with its deadline, if nothing is read before `until`.
fn begins(stalls: &Stalls, last: Option<(Ns, Ns)>, until: Ns) -> Option<Ns> {
    let (read, deadline) = last?;
    let from = stalls.served(deadline).max(read);
    (from < until).then_some(from)
}

/// Instants at which the sender might have died, each with the number of beats sent before.
pub(super) struct Deaths(Vec<(Ns, usize)>);

impl Deaths {
    /// `count` of them, spread evenly over the trace from its second beat on.
    pub(super) fn new(trace: &Trace, seed: u64, count: usize) -> Self {
        let mut random = Random::new(seed, 4);
        let first = trace.beats.get(1).map_or(0, |beat| beat.sent);
        let mut instants: Vec<Ns> = (0..count).map(|_| random.between(first as f64, trace.end as f64) as Ns).collect();
        instants.sort_unstable();
        let mut sent = 0;
        let place = |at: Ns| {
            while trace.beats.get(sent).is_some_and(|beat| beat.sent < at) {
                sent += 1;
            }
            (at, sent)
        };
        Self(instants.into_iter().map(place).collect())
    }

    /// The detection time of each death: 0 where the sender was suspected already.
    pub(super) fn times(&self, deadlines: &[Ns], margin: Ns) -> impl Iterator<Item = Ns> {
        let last = |sent: usize| sent.checked_sub(1).and_then(|place| deadlines.get(place)).copied();
        self.0.iter().map(move |(at, sent)| last(*sent).map_or(0, |deadline| (deadline + margin - at).max(0)))
    }

    pub(super) fn mean(&self, deadlines: &[Ns], margin: Ns) -> f64 {
        let sum: i128 = self.times(deadlines, margin).map(i128::from).sum();
        sum as f64 / self.0.len() as f64
    }

    /// The margin at which a detector's mean detection time is `wanted` nanoseconds.
    pub(super) fn margin_for(&self, deadlines: &[Ns], wanted: f64) -> Ns {
        let (mut low, mut high) = (-(wanted as Ns) * 4, wanted as Ns * 4 + 1);
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            if self.mean(deadlines, middle) < wanted {
                low = middle;
            } else {
                high = middle;
            }
        }
        high
    }
}

/// The smallest value that is not below the share `part` of all.
pub(super) fn quantile(values: &mut [Ns], part: f64) -> Ns {
    values.sort_unstable();
    let place = (values.len() as f64 * part).ceil() as usize;
    values.get(place.saturating_sub(1)).copied().unwrap_or(Ns::MAX)
}

/// How well a detector did in a world.
#[derive(Clone, Copy, Debug, serde::Serialize)]
pub(super) struct Score {
    pub(super) mean_s: f64,
    pub(super) p999_s: f64,
    pub(super) longest_s: f64,
    pub(super) mistakes: usize,
    pub(super) mistakes_per_day: f64,
    /// Of one mistake on average, 0 without any.
    pub(super) mistake_s: f64,
    /// The share of time in which a live sender was not suspected.
    pub(super) accuracy: f64,
}

impl Score {
    pub(super) fn new(trace: &Trace, deaths: &Deaths, deadlines: &[Ns], margin: Ns, mistakes: &[Span]) -> Self {
        let mut times: Vec<Ns> = deaths.times(deadlines, margin).collect();
        let wrong: Ns = mistakes.iter().map(|(from, to)| to - from).sum();
        Self {
            mean_s: deaths.mean(deadlines, margin) / 1e9,
            p999_s: seconds(quantile(&mut times, 0.999)),
            longest_s: seconds(quantile(&mut times, 1.0)),
            mistakes: mistakes.len(),
            mistakes_per_day: mistakes.len() as f64 * DAY as f64 / trace.end as f64,
            mistake_s: seconds(wrong) / mistakes.len().max(1) as f64,
            accuracy: 1.0 - wrong as f64 / trace.end as f64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detection::{detectors::FixedTimeout, trace::Beat};

    /// A beat each 100, delayed by 10; those named are lost.
    fn trace(count: u32, lost: &[u32]) -> Trace {
        let beat = |number: u32| {
            let sent = Ns::from(number) * 100;
            Beat { number, sent, lag: 0, arrives: if lost.contains(&number) { LOST } else { sent + 10 } }
        };
        Trace { beats: (1..=count).map(beat).collect(), outages: vec![], end: Ns::from(count) * 100 + 50 }
    }

    #[test]
    fn a_lost_beat_is_a_mistake_from_the_deadline_to_the_next() {
        let trace = trace(10, &[4, 8, 9, 10]);
        let held = deadlines(&trace, &Stalls::default(), &mut FixedTimeout(0));
        assert_eq!(held[2..5], [310, 310, 510]);
        let made = |margin| mistakes(&trace, &Stalls::default(), &held, margin);
        assert_eq!(made(150), [(460, 510), (860, 1050)]);
        assert_eq!(made(200), [(910, 1050)], "a beat at its deadline is in time");
        assert_eq!(made(400), []);
        let all: Vec<Span> = (1..=3).map(|n| (n * 100 + 60, n * 100 + 110)).collect();
        assert_eq!(made(50)[..3], [all[0], all[1], (360, 510)]);
    }

    #[test]
    fn who_is_held_up_reads_before_judging() {
        let trace = trace(10, &[]);
        // Beats 3 to 6 come in while nothing is looked at.
        let stalls = Stalls::one(305, 615);
        let held = deadlines(&trace, &stalls, &mut FixedTimeout(0));
        assert_eq!(held[1..7], [210, 615, 615, 615, 615, 710]);
        assert_eq!(mistakes(&trace, &stalls, &held, 150), []);
        let own: Vec<Ns> = trace.beats.iter().map(|beat| beat.arrives).collect();
        assert_eq!(mistakes(&trace, &stalls, &own, 150), [], "the newest was read before its deadline was judged");
        let stalls = Stalls::one(305, 2000);
        assert_eq!(mistakes(&trace, &stalls, &own, 150), [], "nothing is judged while held up");
    }

    #[test]
    fn detection_time_runs_from_death_to_the_last_deadline() {
        let trace = trace(1000, &[]);
        let deaths = Deaths::new(&trace, 1, 10_000);
        let held = deadlines(&trace, &Stalls::default(), &mut FixedTimeout(0));
        // 110 to 10 from any death within a pace, and the margin.
        assert!((deaths.mean(&held, 150) - 110.0).abs() < 1.0, "{}", deaths.mean(&held, 150));
        let mut times: Vec<Ns> = deaths.times(&held, 150).collect();
        assert!((158..=160).contains(&quantile(&mut times, 1.0)));
        assert!((60..=62).contains(&quantile(&mut times, 0.0001)));
        let margin = deaths.margin_for(&held, 500.0);
        assert!((margin - 540).abs() <= 2, "{margin}");
        let late = deaths.times(&held, -1000).max();
        assert_eq!(late, Some(0), "suspected before: nothing is left to detect");
    }

    #[test]
    fn a_score_counts_what_was_wrong() {
        let trace = trace(10, &[4]);
        let deaths = Deaths::new(&trace, 1, 100);
        let held = deadlines(&trace, &Stalls::default(), &mut FixedTimeout(0));
        let made = mistakes(&trace, &Stalls::default(), &held, 150);
        let score = Score::new(&trace, &deaths, &held, 150, &made);
        assert_eq!(score.mistakes, 1);
        assert!((score.accuracy - (1.0 - 50.0 / 1050.0)).abs() < 1e-9);
        assert!((score.mistake_s - 50e-9).abs() < 1e-12);
    }
}
