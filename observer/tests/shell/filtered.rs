//! The kernel filter on a running observer: what it keeps out is counted, and no beat is.

use std::{
    net::SocketAddr,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use varta_config::KernelFilter;
use varta_vlp::sealed::{BEAT_LEN, Flags};

use crate::{
    clock::wait,
    rig::{AUDIENCE, Agent, Observed, Rig, write_key},
};

/// More than a second of a quiet listener may hold.
const FLOOD: u32 = 12_000;
/// Held by a test that floods: the kernel counts full queues for all sockets of the machine together.
static ALONE: Mutex<()> = Mutex::new(());

/// Datagrams that any socket's full queue did not take. What an observer counts as filtered may be short by so many, and
/// what it counts as dropped too much by as many.
fn full_queues() -> f64 {
    let text = std::fs::read_to_string("/proc/net/snmp").unwrap();
    let [names, values] = [0, 1].map(|line| text.lines().filter(|text| text.starts_with("Udp:")).nth(line).unwrap());
    let fields = names.split_whitespace().zip(values.split_whitespace());
    fields
        .filter(|(name, _)| ["RcvbufErrors", "MemErrors"].contains(name))
        .map(|(_, value)| value.parse::<f64>().unwrap())
        .sum()
}

fn of(observer: &Observed, configured: SocketAddr, name: &str) -> f64 {
    observer.metric(&format!("{name}{{listener=\"{configured}\"}}"))
}

fn garbage(agent: &Agent, observer: &Observed, count: u32) {
    for number in 0..count {
        let mut noise = [0x5a; BEAT_LEN];
        noise[..4].copy_from_slice(&number.to_le_bytes());
        agent.send(observer.sealed(), &noise);
    }
}

fn beats(agent: &mut Agent, observer: &Observed, count: u64) {
    for _ in 0..count {
        let frame = agent.frame(Flags::default());
        agent.send(observer.sealed(), &frame);
    }
}

#[test]
fn a_flood_puts_the_filter_on_and_quiet_takes_it_off() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let rig = Rig::new();
    let configured = rig.config.listen[0].sealed.unwrap();
    assert_eq!(rig.config.listen[0].kernel_filter, KernelFilter::Auto);
    let observer = rig.start();
    let mut agent = Agent::new("web-1", "api", 1);
    let announce = agent.announce();
    agent.send(observer.sealed(), &announce);
    let read = |name: &str| of(&observer, configured, name);
    // A slow machine spreads a flood over seconds: then it takes more of them.
    wait("the filter is on", || {
        garbage(&agent, &observer, FLOOD);
        (read("varta_kernel_filter") > 0.0).then_some(())
    });
    let unread = || read("varta_kernel_filtered_total") + read("varta_kernel_drops_total");
    let (full, refused, dropped) =
        (full_queues(), read("varta_datagrams_received_total"), read("varta_kernel_drops_total"));
    let before = unread();
    garbage(&agent, &observer, FLOOD);
    beats(&mut agent, &observer, 20);
    wait("all garbage is counted", || (unread() >= before + f64::from(FLOOD)).then_some(()));
    // Up to the reading before, what was refused a moment earlier may not have been counted yet.
    assert!(read("varta_datagrams_received_total") <= refused + 20.0);
    assert!(read("varta_kernel_drops_total") - dropped < 0.5 + full_queues() - full);
    observer.wait_slot("web-1", "api", |slot| slot["beats"] == 21);

    std::thread::park_timeout(Duration::from_secs(9));
    wait("the filter is off", || {
        std::thread::park_timeout(Duration::from_millis(200));
        (read("varta_kernel_filter") < 0.5).then_some(())
    });
    let refused = observer.rejected(configured, "bad_magic");
    garbage(&agent, &observer, 7);
    wait("garbage is read again", || (observer.rejected(configured, "bad_magic") > refused + 6.5).then_some(()));
    observer.stop();
}

#[test]
fn a_filter_that_is_always_on_follows_the_audience() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let mut rig = Rig::new();
    rig.config.listen[0].kernel_filter = KernelFilter::On;
    let configured = rig.config.listen[0].sealed.unwrap();
    let file = rig.path("obs-1.observer.key");
    std::fs::remove_file(&file).unwrap();
    write_key(&file, "another");
    let full = full_queues();
    let observer = rig.start();
    let read = |name: &str| of(&observer, configured, name);
    let unread = || read("varta_kernel_filtered_total") + read("varta_kernel_drops_total");
    let mut agent = Agent::new("web-1", "api", 1);
    garbage(&agent, &observer, 5);
    beats(&mut agent, &observer, 3);
    wait("all are counted", || (unread() > 7.5).then_some(()));
    assert!((unread() - 8.0).abs() < 0.5);
    assert!(read("varta_datagrams_received_total") < 0.5, "nothing was read");
    assert!(read("varta_kernel_drops_total") < 0.5 + full_queues() - full);

    std::fs::remove_file(&file).unwrap();
    write_key(&file, AUDIENCE);
    observer.0.reload().unwrap();
    let announce = agent.announce();
    agent.send(observer.sealed(), &announce);
    beats(&mut agent, &observer, 3);
    observer.wait_slot("web-1", "api", |slot| slot["beats"] == 4);
    garbage(&agent, &observer, 1);
    wait("garbage is filtered still", || (unread() > 8.5).then_some(()));
    observer.stop();
}

#[test]
fn without_a_filter_a_flood_is_refused_by_reason() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let mut rig = Rig::new();
    rig.config.listen[0].kernel_filter = KernelFilter::Off;
    let configured = rig.config.listen[0].sealed.unwrap();
    let observer = rig.start();
    let agent = Agent::new("web-1", "api", 1);
    let seen = || observer.rejected(configured, "bad_magic") + of(&observer, configured, "varta_kernel_drops_total");
    wait("more than a flood was refused", || {
        garbage(&agent, &observer, FLOOD);
        (observer.rejected(configured, "bad_magic") > f64::from(2 * FLOOD)).then_some(())
    });
    assert!(seen() >= f64::from(2 * FLOOD));
    assert!(of(&observer, configured, "varta_kernel_filter") < 0.5);
    assert!(of(&observer, configured, "varta_kernel_filtered_total") < 0.5);
    observer.stop();
}
