//! The metrics that are always there, from one snapshot, so that what belongs together agrees within one scrape.

use std::sync::atomic::{AtomicU64, Ordering};

use varta_core::{Cause, STALL_BUCKETS, Verdict};
use varta_daemon::metrics::{Families, Outcome};
use varta_vlp::Reject;

use crate::{
    command::{Snapshot, WAKEUP_BUCKETS},
    forward::ForwardCounts,
    recovery::OUTCOMES,
};

/// Adds the text of a snapshot to `out`. `listeners` are the configured addresses, in the order of the snapshot's; `relays`
/// what is counted of each.
///
/// # Errors
/// [`prometheus::Error`] if a family is not of legal form, which would be our own error.
pub fn render(
    snapshot: &Snapshot,
    listeners: &[String],
    relays: &[(String, ForwardCounts)],
    out: &mut Vec<u8>,
) -> Outcome {
    let mut families = Families::default();
    slots(&mut families, snapshot)?;
    datagrams(&mut families, snapshot, listeners)?;
    observer(&mut families, snapshot)?;
    forward(&mut families, relays)?;
    families.render(out)
}

fn slots(families: &mut Families, snapshot: &Snapshot) -> Outcome {
    let counts = Verdict::ALL.iter().zip(snapshot.verdicts);
    let counts = counts.map(|(verdict, count)| (verdict.name(), count.into()));
    families.gauges(
        ("varta_slots", "Slots, and agents of the roster that are missing, by verdict."),
        "verdict",
        counts,
    )?;
    families.gauge("varta_agents", "Agents with a record.", snapshot.sizes.1 as u64)?;
    let evictions = snapshot.counters.evictions;
    families.counter("varta_evictions_total", "Slots that gave way to others or were revoked.", evictions)?;
    let lost = snapshot.counters.changes_lost;
    families.counter("varta_changes_lost_total", "Changes that found the core's queue full.", lost)?;
    let conflicts = snapshot.counters.origin_conflicts;
    families.counter("varta_origin_conflicts_total", "Frames of a lower origin class than their slot's.", conflicts)?;
    let stalls = &snapshot.counters.stall_detection;
    let name = ("varta_stall_detection_seconds", "From a stall's deadline to its verdict.");
    families.histogram(name, &STALL_BUCKETS, &stalls.buckets, stalls.sum_ns);
    Ok(())
}

fn datagrams(families: &mut Families, snapshot: &Snapshot, names: &[String]) -> Outcome {
    let listeners = || names.iter().map(String::as_str).zip(&snapshot.counters.listeners);
    families.counters(
        ("varta_datagrams_received_total", "Datagrams read: those accepted, accepted late and rejected."),
        ["listener"],
        listeners().map(|(name, counts)| ([name], counts.received)),
    )?;
    families.counters(
        ("varta_datagrams_accepted_total", "Datagrams accepted as the newest of their session."),
        ["listener"],
        listeners().map(|(name, counts)| ([name], counts.accepted)),
    )?;
    families.counters(
        ("varta_datagrams_accepted_late_total", "Genuine datagrams that were not the newest of their session."),
        ["listener"],
        listeners().map(|(name, counts)| ([name], counts.accepted_late)),
    )?;
    let rejects = listeners().flat_map(|(name, counts)| {
        Reject::REASONS.iter().zip(counts.rejected).map(move |(reason, count)| ([name, *reason], count))
    });
    families.counters(
        ("varta_datagrams_rejected_total", "Datagrams refused, by the first reason met."),
        ["listener", "reason"],
        rejects,
    )?;
    let shell = |values: &'_ [u64]| {
        let values = values.iter().copied().chain(std::iter::repeat(0));
        names.iter().map(String::as_str).zip(values).collect::<Vec<_>>()
    };
    families.counters(
        ("varta_kernel_drops_total", "Datagrams that the kernel dropped before they could be read."),
        ["listener"],
        shell(&snapshot.shell.kernel_drops).into_iter().map(|(name, count)| ([name], count)),
    )?;
    families.counters(
        ("varta_kernel_filtered_total", "Datagrams that the kernel filter refused, as no listener's."),
        ["listener"],
        shell(&snapshot.shell.kernel_filtered).into_iter().map(|(name, count)| ([name], count)),
    )?;
    let attached = shell(&snapshot.shell.kernel_filter);
    families.gauges(("varta_kernel_filter", "1 while a kernel filter is in force."), "listener", attached)?;
    let granted = shell(&snapshot.shell.receive_buffer);
    families.gauges(("varta_receive_buffer_bytes", "The receive buffer that the kernel granted."), "listener", granted)
}

fn observer(families: &mut Families, snapshot: &Snapshot) -> Outcome {
    let opts = prometheus::Opts::new("varta_blind_seconds_total", "Time in which the observer could not see.");
    let blind = prometheus::CounterVec::new(opts, &["cause"])?;
    for (cause, ns) in Cause::ALL.iter().zip(snapshot.counters.blind_ns) {
        blind.get_metric_with_label_values(&[cause.name()])?.inc_by(std::time::Duration::from_nanos(ns).as_secs_f64());
    }
    families.collect(&blind);
    let (cause, critical) = snapshot.blindness;
    families.gauge("varta_blind", "1 while the observer cannot see.", cause.is_some().into())?;
    families.gauge("varta_blind_critical", "1 while it has not seen for longer than the limit.", critical.into())?;
    let shell = &snapshot.shell;
    let name = ("varta_ingest_wakeup_seconds", "From when the ingest loop should have woken to when it did.");
    families.histogram(name, &WAKEUP_BUCKETS, &shell.wakeups, shell.wakeups_ns);
    families.counter("varta_persist_failures_total", "Writes of state that failed.", shell.persist_failures)?;
    families.gauge("varta_persist_failing", "1 while state cannot be written.", shell.persist_failing.into())?;
    let name = "varta_events_lost_total";
    families.counter(name, "Events that came faster than they could be told.", shell.events_lost)?;
    families.counters(
        ("varta_recovery_total", "What recovery did, and what it refused to do."),
        ["outcome"],
        OUTCOMES.into_iter().zip(shell.recovery).map(|(name, count)| ([name], count)),
    )?;
    families.counter("varta_export_lost_total", "Lines that the event file has lost.", shell.export_lost)?;
    let version = (env!("CARGO_PKG_VERSION"), 1);
    families.gauges(("varta_build_info", "1, with the version that runs."), "version", [version])
}

type Read = fn(&ForwardCounts) -> &AtomicU64;

/// What is counted of each relay, where there are any.
fn forward(families: &mut Families, relays: &[(String, ForwardCounts)]) -> Outcome {
    let gauges: [(&str, &str, Read); 3] = [
        ("varta_forward_connected", "1 while the relay has welcomed this observer.", |counts| &counts.connected),
        ("varta_forward_pending", "Slots that wait to be told.", |counts| &counts.pending),
        ("varta_forward_in_flight", "Messages that the relay has not taken yet.", |counts| &counts.in_flight),
    ];
    let counters: [(&str, &str, Read); 4] = [
        ("varta_forward_dials_total", "Tries to connect.", |counts| &counts.dials),
        ("varta_forward_entries_total", "Slots told whole.", |counts| &counts.entries),
        ("varta_forward_touches_total", "Slots of which only what moves was told.", |counts| &counts.touches),
        ("varta_forward_snapshots_total", "Snapshots begun.", |counts| &counts.snapshots),
    ];
    let values =
        |read: Read| relays.iter().map(move |(relay, counts)| (&**relay, read(counts).load(Ordering::Relaxed)));
    for (name, help, read) in gauges {
        families.gauges((name, help), "relay", values(read))?;
    }
    for (name, help, read) in counters {
        families.counters((name, help), ["relay"], values(read).map(|(relay, count)| ([relay], count)))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use varta_core::{Counters, ListenerCounters};

    use super::*;
    use crate::command::ShellCounters;

    fn snapshot(listeners: usize) -> Snapshot {
        let counters = Counters { listeners: vec![ListenerCounters::default(); listeners], ..Counters::default() };
        let shell = ShellCounters {
            kernel_drops: vec![0; listeners],
            kernel_filtered: vec![0; listeners],
            kernel_filter: vec![0; listeners],
            receive_buffer: vec![0; listeners],
            ..ShellCounters::default()
        };
        Snapshot { counters, verdicts: [0; Verdict::ALL.len()], sizes: (0, 0), blindness: (None, false), shell }
    }

    fn text(snapshot: &Snapshot, names: &[&str]) -> String {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut out = Vec::new();
        render(snapshot, &names, &[], &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    fn family<'a>(text: &'a str, name: &str) -> Vec<&'a str> {
        let first = format!("# HELP {name} ");
        let mut lines = text.lines().skip_while(|line| !line.starts_with(&first));
        lines.next().unwrap_or_else(|| panic!("no {name} in {text}"));
        lines.take_while(|line| !line.starts_with("# HELP")).collect()
    }

    #[test]
    fn a_small_snapshot() {
        let mut snapshot = snapshot(1);
        let listener = &mut snapshot.counters.listeners[0];
        (listener.received, listener.accepted, listener.accepted_late) = (10, 6, 1);
        listener.rejected[Reject::AuthFailure.index()] = 3;
        snapshot.counters.blind_ns = [0, 1_500_000_000, 0, 0];
        snapshot.counters.stall_detection.buckets = [2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4];
        snapshot.counters.stall_detection.sum_ns = 40_001_000_000;
        snapshot.verdicts = [5, 0, 0, 3, 0, 0, 0, 0];
        snapshot.sizes = (8, 4);
        snapshot.blindness = (Some(Cause::Gap), false);
        snapshot.shell.kernel_drops = vec![17];
        (snapshot.shell.kernel_filtered, snapshot.shell.kernel_filter) = (vec![19], vec![1]);
        snapshot.shell.receive_buffer = vec![8_388_608];
        snapshot.shell.export_lost = 9;
        snapshot.shell.events_lost = 8;
        let text = text(&snapshot, &["[::]:9900"]);
        let of = |name| family(&text, name);
        assert_eq!(
            of("varta_slots"),
            [
                "# TYPE varta_slots gauge",
                "varta_slots{verdict=\"critical\"} 0",
                "varta_slots{verdict=\"degraded\"} 0",
                "varta_slots{verdict=\"departed\"} 0",
                "varta_slots{verdict=\"held\"} 0",
                "varta_slots{verdict=\"missing\"} 0",
                "varta_slots{verdict=\"stalled\"} 3",
                "varta_slots{verdict=\"unknown\"} 0",
                "varta_slots{verdict=\"up\"} 5",
            ]
        );
        let counter = |name, value: &str| {
            let typed = format!("# TYPE {name} counter");
            assert_eq!(of(name), [typed, format!("{name}{value}")]);
        };
        counter("varta_datagrams_received_total", "{listener=\"[::]:9900\"} 10");
        counter("varta_datagrams_accepted_total", "{listener=\"[::]:9900\"} 6");
        counter("varta_datagrams_accepted_late_total", "{listener=\"[::]:9900\"} 1");
        counter("varta_kernel_drops_total", "{listener=\"[::]:9900\"} 17");
        counter("varta_kernel_filtered_total", "{listener=\"[::]:9900\"} 19");
        counter("varta_export_lost_total", " 9");
        counter("varta_events_lost_total", " 8");
        assert!(of("varta_kernel_filter").contains(&"varta_kernel_filter{listener=\"[::]:9900\"} 1"));
        let rejected = of("varta_datagrams_rejected_total");
        assert!(rejected.contains(&"varta_datagrams_rejected_total{listener=\"[::]:9900\",reason=\"auth_failure\"} 3"));
        assert!(of("varta_blind_seconds_total").contains(&"varta_blind_seconds_total{cause=\"gap\"} 1.5"));
        assert_eq!(of("varta_blind"), ["# TYPE varta_blind gauge", "varta_blind 1"]);
        assert!(
            of("varta_receive_buffer_bytes").contains(&"varta_receive_buffer_bytes{listener=\"[::]:9900\"} 8388608")
        );
        let stalls = of("varta_stall_detection_seconds");
        assert_eq!(stalls[1], "varta_stall_detection_seconds_bucket{le=\"0.0005\"} 2");
        assert_eq!(stalls[2], "varta_stall_detection_seconds_bucket{le=\"0.001\"} 3");
        assert_eq!(
            stalls[12..],
            [
                "varta_stall_detection_seconds_bucket{le=\"5\"} 3",
                "varta_stall_detection_seconds_bucket{le=\"+Inf\"} 7",
                "varta_stall_detection_seconds_sum 40.001",
                "varta_stall_detection_seconds_count 7",
            ]
        );
    }

    #[test]
    fn everything_is_there_at_zero() {
        let text = text(&snapshot(2), &["10.0.0.1:9900", "10.0.0.2:9900"]);
        for listener in ["10.0.0.1:9900", "10.0.0.2:9900"] {
            for reason in Reject::REASONS {
                let line = format!("varta_datagrams_rejected_total{{listener=\"{listener}\",reason=\"{reason}\"}} 0\n");
                assert!(text.contains(&line), "{line}");
            }
        }
        for verdict in Verdict::ALL {
            assert!(text.contains(&format!("varta_slots{{verdict=\"{}\"}} 0\n", verdict.name())));
        }
        for cause in Cause::ALL {
            assert!(text.contains(&format!("varta_blind_seconds_total{{cause=\"{}\"}} 0\n", cause.name())));
        }
        let info = format!("varta_build_info{{version=\"{}\"}} 1\n", env!("CARGO_PKG_VERSION"));
        assert!(text.contains(&info), "{info}");
        let named = |mark: &str| {
            let names = text.lines().filter_map(|line| line.strip_prefix(mark)?.split(' ').next());
            names.map(str::to_owned).collect::<Vec<_>>()
        };
        let mut names = named("# HELP ");
        assert_eq!(names, named("# TYPE "));
        names.sort_unstable();
        assert_eq!(
            names.join(" "),
            "varta_agents varta_blind varta_blind_critical varta_blind_seconds_total varta_build_info \
             varta_changes_lost_total varta_datagrams_accepted_late_total varta_datagrams_accepted_total \
             varta_datagrams_received_total varta_datagrams_rejected_total varta_events_lost_total \
             varta_evictions_total varta_export_lost_total varta_ingest_wakeup_seconds varta_kernel_drops_total \
             varta_kernel_filter varta_kernel_filtered_total varta_origin_conflicts_total varta_persist_failing \
             varta_persist_failures_total \
             varta_receive_buffer_bytes varta_recovery_total varta_slots varta_stall_detection_seconds"
        );
    }

    #[test]
    fn listeners_of_one_name_are_one_series_and_none_are_no_error() {
        let mut snapshot = snapshot(2);
        snapshot.counters.listeners[0].received = 2;
        snapshot.counters.listeners[1].received = 3;
        let both = text(&snapshot, &["127.0.0.1:0", "127.0.0.1:0"]);
        assert_eq!(
            family(&both, "varta_datagrams_received_total")[1..],
            ["varta_datagrams_received_total{listener=\"127.0.0.1:0\"} 5"]
        );
        assert!(!text(&snapshot, &[]).contains("listener"));
    }
}
