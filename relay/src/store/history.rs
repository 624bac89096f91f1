//! What a unit was: its turns, how much of the time it was up, and how much of it was seen.

use serde::Serialize;
use varta_vlp::subject::Verdict;

const HOUR: u64 = 3_600_000;
/// How far back history is shown, milliseconds.
pub(super) const WEEK: u64 = 7 * 24 * HOUR;
const DAY: u64 = 24 * HOUR;

/// A time in which nothing changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Turn {
    /// From when, milliseconds since the Unix epoch.
    pub(crate) from_ms: u64,
    /// Until when; none where it goes on.
    pub(crate) to_ms: Option<u64>,
    /// A verdict's name, or "unseen" while the relay was not there.
    pub(crate) verdict: &'static str,
}

/// Shares of a time.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Shares {
    /// Of the time in which it was seen and was to be alive, the share in which it was up or degraded; none where there was
    /// no such time.
    pub(crate) uptime: Option<f64>,
    /// Of the time since it was first known, the share in which it was seen.
    pub(crate) coverage: Option<f64>,
}

/// What a unit was in the last seven days.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct History {
    /// Oldest first.
    pub(crate) segments: Vec<Turn>,
    /// The last 24 hours.
    pub(crate) day: Shares,
    /// The last seven days.
    pub(crate) week: Shares,
}

/// Lays gaps over turns. `turns` are (from, verdict), oldest first, of which the first may begin before `from`; `None` is a
/// time in which the unit was not known.
pub(super) fn lay_over(turns: &[(u64, Option<Verdict>)], gaps: &[(u64, u64)], from: u64, now: u64) -> Vec<Turn> {
    let mut segments: Vec<Turn> = Vec::new();
    let mut push = |start: u64, end: u64, verdict: &'static str| {
        if start >= end {
            return;
        }
        match segments.last_mut() {
            Some(last) if last.verdict == verdict && last.to_ms == Some(start) => last.to_ms = Some(end),
            _ => segments.push(Turn { from_ms: start, to_ms: Some(end), verdict }),
        }
    };
    for (place, (start, verdict)) in turns.iter().enumerate() {
        let end = turns.get(place + 1).map_or(now, |(next, _)| *next).min(now);
        let Some(verdict) = verdict else { continue };
        let begin = (*start).max(from);
        let mut at = begin;
        for (gap, until) in gaps.iter().filter(|(gap, until)| *until > begin && *gap < end) {
            push(at, (*gap).max(at).min(end), verdict.name());
            push((*gap).max(at), (*until).min(end), "unseen");
            at = (*until).min(end).max(at);
        }
        push(at, end, verdict.name());
    }
    match (segments.last_mut(), turns.last()) {
        (Some(last), _) if last.to_ms == Some(now) => last.to_ms = None,
        // It became known in this very millisecond.
        (_, Some((start, Some(verdict)))) if *start >= now => {
            segments.push(Turn { from_ms: *start, to_ms: None, verdict: verdict.name() });
        }
        _ => {}
    }
    segments
}

#[expect(clippy::cast_precision_loss, reason = "2^53 milliseconds are longer than anything is kept")]
fn shares(segments: &[Turn], window: u64, now: u64) -> Shares {
    let from = now.saturating_sub(window);
    let (mut whole, mut seen, mut expected, mut up) = (0, 0, 0, 0);
    for segment in segments {
        let length = segment.to_ms.unwrap_or(now).saturating_sub(segment.from_ms.max(from));
        if segment.to_ms.is_some_and(|to| to <= from) {
            continue;
        }
        whole += length;
        match segment.verdict {
            "unseen" | "unknown" => {}
            "departed" | "held" => seen += length,
            verdict => {
                seen += length;
                expected += length;
                up += if matches!(verdict, "up" | "degraded") { length } else { 0 };
            }
        }
    }
    let share = |part: u64, of: u64| (of > 0).then(|| part as f64 / of as f64);
    Shares { uptime: share(up, expected), coverage: share(seen, whole) }
}

impl History {
    pub(super) fn of(segments: Vec<Turn>, now: u64) -> Self {
        let [day, week] = [DAY, WEEK].map(|window| shares(&segments, window, now));
        Self { segments, day, week }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UP: Option<Verdict> = Some(Verdict::Up);
    const STALLED: Option<Verdict> = Some(Verdict::Stalled);

    fn short(segments: &[Turn]) -> Vec<(u64, u64, &'static str)> {
        segments.iter().map(|one| (one.from_ms, one.to_ms.unwrap_or(0), one.verdict)).collect()
    }

    #[test]
    fn gaps_lie_over_turns() {
        let turns = [(100, UP), (200, STALLED), (300, UP), (400, None), (500, UP)];
        let laid = lay_over(&turns, &[], 0, 600);
        let plain = [(100, 200, "up"), (200, 300, "stalled"), (300, 400, "up"), (500, 0, "up")];
        assert_eq!(short(&laid), plain);
        let laid = lay_over(&turns, &[(150, 250), (320, 330), (390, 520)], 0, 600);
        let expected = [
            (100, 150, "up"),
            (150, 250, "unseen"),
            (250, 300, "stalled"),
            (300, 320, "up"),
            (320, 330, "unseen"),
            (330, 390, "up"),
            (390, 400, "unseen"),
            (500, 520, "unseen"),
            (520, 0, "up"),
        ];
        assert_eq!(short(&laid), expected);
        assert_eq!(short(&lay_over(&turns, &[(0, 1000)], 250, 600)), [(250, 400, "unseen"), (500, 0, "unseen")]);
        assert_eq!(short(&lay_over(&[(100, UP), (200, UP)], &[], 150, 300)), [(150, 0, "up")]);
        assert_eq!(short(&lay_over(&[(300, UP)], &[], 0, 300)), [(300, 0, "up")], "known in this very millisecond");
        let again = [(100, UP), (200, None), (300, UP)];
        assert_eq!(short(&lay_over(&again, &[], 0, 300)), [(100, 200, "up"), (300, 0, "up")]);
        assert_eq!(short(&lay_over(&again[..2], &[], 0, 300)), [(100, 200, "up")]);
    }

    #[test]
    fn what_was_not_seen_counts_neither_way() {
        let turn = |from_ms, to_ms, verdict| Turn { from_ms, to_ms, verdict };
        let now = 10 * DAY;
        let segments = [
            turn(now - 10 * HOUR, Some(now - 8 * HOUR), "up"),
            turn(now - 8 * HOUR, Some(now - 6 * HOUR), "unseen"),
            turn(now - 6 * HOUR, Some(now - 5 * HOUR), "stalled"),
            turn(now - 5 * HOUR, Some(now - 4 * HOUR), "departed"),
            turn(now - 4 * HOUR, None, "degraded"),
        ];
        let history = History::of(segments.to_vec(), now);
        assert_eq!(history.day, Shares { uptime: Some(6.0 / 7.0), coverage: Some(0.8) });
        assert_eq!(History::of(Vec::new(), now).week, Shares { uptime: None, coverage: None });
        let old = [turn(now - 3 * DAY, Some(now - 2 * DAY), "stalled"), turn(now - 2 * DAY, None, "up")];
        let history = History::of(old.to_vec(), now);
        assert_eq!((history.day.uptime, history.week.uptime), (Some(1.0), Some(2.0 / 3.0)));
    }
}
