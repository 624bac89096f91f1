//! The two cores, and what the kernel knows of a process: its CPU time, its memory, how often it was woken, what its socket
//! lost.

use std::{collections::BTreeMap, fs, net::SocketAddr, path::PathBuf, time::Duration};

use anyhow::{Context as _, bail};
use nix::{
    sched::{CpuSet, sched_getaffinity, sched_setaffinity},
    unistd::Pid,
};

use crate::clock;

/// The cores that this process may use, before any were chosen.
#[derive(Clone, Copy)]
pub(crate) struct Cores {
    /// For what is measured.
    pub(crate) measured: usize,
    /// For what feeds it, and for this process.
    pub(crate) feeding: usize,
}

impl Cores {
    /// The first two.
    pub(crate) fn choose() -> anyhow::Result<Self> {
        let set = sched_getaffinity(Pid::from_raw(0))?;
        let mut usable = (0..CpuSet::count()).filter(|core| set.is_set(*core).unwrap_or(false));
        match (usable.next(), usable.next()) {
            (Some(measured), Some(feeding)) => Ok(Self { measured, feeding }),
            _ => bail!("two cores are needed, one for what is measured and one for what feeds it"),
        }
    }
}

/// Binds this thread, and every process that it starts from now on, to `core`.
pub(crate) fn stay_on(core: usize) -> anyhow::Result<()> {
    let mut set = CpuSet::new();
    set.set(core)?;
    sched_setaffinity(Pid::from_raw(0), &set).with_context(|| format!("cannot stay on core {core}"))
}

/// Lets this thread, and every process that it starts from now on, run on both cores.
pub(crate) fn stay_on_either(cores: Cores) -> anyhow::Result<()> {
    let mut set = CpuSet::new();
    set.set(cores.measured)?;
    set.set(cores.feeding)?;
    sched_setaffinity(Pid::from_raw(0), &set).context("cannot stay on two cores")
}

fn read(path: &str) -> anyhow::Result<String> {
    fs::read_to_string(path).with_context(|| path.to_owned())
}

/// A file of each thread of a process.
fn of_threads(pid: u32, name: &str) -> anyhow::Result<Vec<String>> {
    let folder = format!("/proc/{pid}/task");
    let threads: Vec<PathBuf> = fs::read_dir(&folder)
        .with_context(|| folder.clone())?
        .map(|entry| Ok(entry?.path()))
        .collect::<std::io::Result<_>>()?;
    // A thread may end meanwhile.
    Ok(threads.iter().filter_map(|thread| fs::read_to_string(thread.join(name)).ok()).collect())
}

/// CPU time of all living threads, nanoseconds.
pub(crate) fn cpu_ns(pid: u32) -> anyhow::Result<u64> {
    let mut sum = 0;
    for text in of_threads(pid, "schedstat")? {
        let first = text.split_whitespace().next().and_then(|word| word.parse::<u64>().ok());
        sum += first.context("schedstat: this kernel keeps no CPU times in nanoseconds")?;
    }
    Ok(sum)
}

/// CPU time of each living thread by name, nanoseconds; threads of one name add up.
pub(crate) fn cpu_ns_by_thread(pid: u32) -> anyhow::Result<BTreeMap<String, u64>> {
    let mut times = BTreeMap::new();
    for (name, stat) in of_threads(pid, "comm")?.into_iter().zip(of_threads(pid, "schedstat")?) {
        let first = stat.split_whitespace().next().and_then(|word| word.parse::<u64>().ok());
        *times.entry(name.trim().to_owned()).or_insert(0) +=
            first.context("schedstat: this kernel keeps no CPU times in nanoseconds")?;
    }
    Ok(times)
}

/// How often each thread was switched away from, by name: voluntarily, because it waited, or not.
pub(crate) fn switches(pid: u32) -> anyhow::Result<Vec<(String, u64)>> {
    let texts = of_threads(pid, "status")?;
    Ok(texts
        .iter()
        .map(|text| {
            let name = field(text, "Name:").unwrap_or("?").to_owned();
            let of = |key| field(text, key).and_then(|value| value.parse::<u64>().ok()).unwrap_or(0);
            (name, of("voluntary_ctxt_switches:") + of("nonvoluntary_ctxt_switches:"))
        })
        .collect())
}

/// The first word behind `key` at the beginning of a line.
fn field<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(key)).and_then(|rest| rest.split_whitespace().next())
}

/// How much of the two cores was used by anybody while `length` passed: 0 to 1.
pub(crate) fn used_by_others(cores: Cores, length: Duration) -> anyhow::Result<f64> {
    let before = ticks(cores)?;
    clock::pass(length);
    let after = ticks(cores)?;
    let (idle, all) = (after.0 - before.0, after.1 - before.1);
    #[expect(clippy::cast_precision_loss, reason = "ticks of seconds")]
    Ok(1.0 - idle as f64 / all.max(1) as f64)
}

/// Idle ticks and all ticks of both cores together.
fn ticks(cores: Cores) -> anyhow::Result<(u64, u64)> {
    let text = read("/proc/stat")?;
    let (mut idle, mut all) = (0, 0);
    for core in [cores.measured, cores.feeding] {
        let name = format!("cpu{core} ");
        let line = text.lines().find_map(|line| line.strip_prefix(&name));
        let line = line.with_context(|| format!("/proc/stat has no {name}"))?;
        // user, nice, system, idle, iowait, irq, softirq, steal; what follows is in the first two.
        let ticks: Vec<u64> = line.split_whitespace().take(8).filter_map(|word| word.parse().ok()).collect();
        idle += ticks.iter().skip(3).take(2).sum::<u64>();
        all += ticks.iter().sum::<u64>();
    }
    Ok((idle, all))
}

/// Memory of a process.
#[derive(Clone, Copy)]
pub(crate) struct Memory {
    /// VmRSS, bytes.
    pub(crate) resident: u64,
    /// Private and written to, bytes.
    pub(crate) private_dirty: u64,
}

pub(crate) fn memory(pid: u32) -> anyhow::Result<Memory> {
    let kib = |path: String, key: &str| -> anyhow::Result<u64> {
        let text = read(&path)?;
        let value = field(&text, key).and_then(|value| value.parse::<u64>().ok());
        Ok(value.with_context(|| format!("{path} has no {key}"))? * 1024)
    };
    Ok(Memory {
        resident: kib(format!("/proc/{pid}/status"), "VmRSS:")?,
        private_dirty: kib(format!("/proc/{pid}/smaps_rollup"), "Private_Dirty:")?,
    })
}

/// Datagrams that the kernel dropped because the buffer of the UDP socket bound to `local` was full.
pub(crate) fn socket_drops(local: SocketAddr) -> anyhow::Result<u64> {
    let SocketAddr::V4(local) = local else { bail!("{local}: an IPv4 address is needed") };
    let wanted = format!("{:08X}:{:04X}", u32::from_le_bytes(local.ip().octets()), local.port());
    let text = read("/proc/net/udp")?;
    let line = text.lines().find(|line| line.split_whitespace().nth(1) == Some(&wanted));
    let drops = line.and_then(|line| line.split_whitespace().last()).and_then(|word| word.parse().ok());
    drops.with_context(|| format!("/proc/net/udp has no socket on {local}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_seen() {
        let pid = std::process::id();
        assert!(cpu_ns(pid).unwrap() > 0);
        assert!(!switches(pid).unwrap().is_empty());
        let cores = Cores::choose().unwrap();
        let (idle, all) = ticks(cores).unwrap();
        assert!(idle > 0 && all > idle);
        let used = used_by_others(cores, Duration::from_millis(50)).unwrap();
        assert!((0.0..=1.0).contains(&used), "{used}");
        let memory = memory(pid).unwrap();
        assert!(memory.resident >= memory.private_dirty && memory.private_dirty > 0);
    }

    #[test]
    fn the_drops_of_a_full_socket_are_counted_and_of_no_other() {
        let [full, other] = [(), ()].map(|()| std::net::UdpSocket::bind("127.0.0.1:0").unwrap());
        let to = full.local_addr().unwrap();
        assert_eq!(socket_drops(to).unwrap(), 0);
        let sent = 100_000;
        for _ in 0..sent {
            other.send_to(&[0; 1024], to).unwrap();
        }
        let drops = socket_drops(to).unwrap();
        assert!(drops > 0 && drops < sent, "{drops}");
        assert_eq!(socket_drops(other.local_addr().unwrap()).unwrap(), 0);
        assert!(socket_drops("127.0.0.1:0".parse().unwrap()).is_err());
    }
}
