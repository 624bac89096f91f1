//! After an outage of the path: the detection time of a death between the first beat that is heard again and the next.

use super::{
    DEATHS, Ns, OUTAGE,
    compare::{REFERENCES, Reference},
    score::{Deaths, quantile},
    subject,
    trace::{LOST, Stalls, Trace, recurring},
    units::{SECOND, seconds},
    worlds::World,
};

/// From one outage to the next. Less than a thousand beats of the slowest sender, so that windows still know of one.
const PERIOD: Ns = 300 * SECOND;
/// Deaths between the first beat heard and the next.
const DEATHS_EACH: Ns = 16;
/// Where detectors that learn begin to have learnt.
const LEAD: Ns = 240 * SECOND;

/// p99.9 of the detection time on the first beat after an outage, beside that of the same world without outages.
#[derive(Clone, serde::Serialize)]
pub(super) struct Recovery {
    pub(super) detector: String,
    pub(super) after_s: f64,
    pub(super) baseline_s: f64,
    pub(super) ratio: f64,
}

/// The subject's, then the references', over `count` outages. `margins` are the references' in their order.
pub(super) fn take(world: &World, seed: u64, count: u32, margins: &[Ns]) -> anyhow::Result<Vec<Recovery>> {
    let end = LEAD + Ns::from(count) * PERIOD;
    let outages = recurring(count, LEAD, PERIOD, OUTAGE);
    let (with, without) = (Trace::new(world, seed, end, outages), Trace::new(world, seed, end, vec![]));
    let deaths = Deaths::new(&without, seed, DEATHS.min(without.beats.len()));
    let recovery = |detector: &str, after: &[Ns], baseline: &[Ns], margin| {
        let after = quantile(&mut first_times(&with, after, margin), 0.999);
        let baseline = quantile(&mut deaths.times(baseline, margin).collect::<Vec<_>>(), 0.999);
        Recovery {
            detector: detector.to_owned(),
            after_s: seconds(after),
            baseline_s: seconds(baseline),
            ratio: after as f64 / baseline as f64,
        }
    };
    let run = |trace| subject::run(world, trace, &Stalls::default(), end).map(|run| run.deadlines);
    let mut all = vec![recovery("Varta", &run(&with)?, &run(&without)?, 0)];
    for (reference, margin) in REFERENCES.iter().zip(margins) {
        let held = |trace| Reference::deadlines(*reference, world, trace);
        all.push(recovery(&reference.name(), &held(&with), &held(&without), *margin));
    }
    Ok(all)
}

/// Detection times of deaths between the first beat heard after each outage and the next beat.
fn first_times(trace: &Trace, deadlines: &[Ns], margin: Ns) -> Vec<Ns> {
    let mut times = Vec::new();
    for (_, over) in &trace.outages {
        let from = trace.beats.partition_point(|beat| beat.sent < *over);
        let Some(heard) = trace.beats[from..].iter().position(|beat| beat.arrives != LOST) else { continue };
        let place = from + heard;
        let (Some(first), Some(next)) = (trace.beats.get(place), trace.beats.get(place + 1)) else { continue };
        let step = (next.sent - first.sent) / DEATHS_EACH;
        let death = |number: Ns| first.sent + 1 + number * step;
        times.extend((0..DEATHS_EACH).map(|number| (deadlines[place] + margin - death(number)).max(0)));
    }
    times
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detection::trace::Beat;

    #[test]
    fn deaths_lie_between_the_first_beat_heard_and_the_next() {
        let beat = |number: u32, lost| {
            let sent = Ns::from(number) * 1600;
            Beat { number, sent, lag: 0, arrives: if lost { LOST } else { sent + 10 } }
        };
        let beats = (1..=8).map(|number| beat(number, (3..=5).contains(&number))).collect();
        let trace = Trace { beats, outages: vec![(4000, 7000)], end: 20_000 };
        // Beat 5 is sent after the outage and lost; beat 6 is heard.
        let times = first_times(&trace, &[0, 0, 0, 0, 0, 6 * 1600 + 5000, 0, 0], 100);
        assert_eq!(times.len(), 16);
        assert_eq!((times[0], times[15]), (5099, 5099 - 1500));
    }

    #[test]
    fn windows_of_arrivals_remember_an_outage_and_the_subject_does_not() {
        let world = &super::super::worlds::WORLDS[3];
        let margins = [150, 150, 150, 0, 0, 0, 150, 150].map(|ms| ms * super::super::units::MILLI);
        let all = take(world, 1, 4, &margins).unwrap();
        let ratio = |name: &str| all.iter().find(|each| each.detector == name).unwrap().ratio;
        assert!(ratio("Varta") < 1.1);
        assert!(ratio("NFD-S oracle") < 1.1);
        assert!(ratio("phi-accrual, 8") > 10.0);
    }
}
