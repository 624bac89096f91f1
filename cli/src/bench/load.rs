//! Sending: as fast as it goes, or at a rate.

use std::{
    collections::VecDeque,
    io::IoSlice,
    net::{SocketAddr, UdpSocket},
    os::fd::AsRawFd as _,
    time::Duration,
};

use anyhow::Context as _;
use nix::{
    errno::Errno,
    sys::socket::{ControlMessage, MsgFlags, sendmsg},
};
use varta_vlp::sealed::BEAT_LEN;

use super::frames::{Datagram, Sender};
use crate::clock;

/// Datagrams handed to the kernel in one call.
const BURST: usize = 32;
/// Announces handed to the kernel in one call: it takes no more than 64 KiB.
const ANNOUNCES: usize = 16;
/// Most datagrams sealed ahead of being sent: their send times must not be old when they arrive.
const AHEAD: usize = 1 << 20;
/// Time set aside to seal one datagram ahead, nanoseconds.
const SEAL_NS: u64 = 1000;
/// Between two bursts of goodbyes: one that the kernel drops would be told as a stall.
const GOODBYE_PAUSE_NS: u64 = 200_000;
const SECOND: u64 = 1_000_000_000;

/// A socket, and how many datagrams the kernel did not take.
pub(super) struct Load {
    socket: UdpSocket,
    refused: u64,
}

impl Load {
    pub(super) fn open(to: SocketAddr) -> anyhow::Result<Self> {
        let any: SocketAddr = if to.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0u16; 8], 0).into() };
        let socket = UdpSocket::bind(any).context("no socket to be had")?;
        socket.connect(to).with_context(|| format!("no way to {to}"))?;
        Ok(Self { socket, refused: 0 })
    }

    /// Datagrams that the kernel did not take, or that nobody was there to receive.
    pub(super) const fn refused(&self) -> u64 {
        self.refused
    }

    fn send(&mut self, burst: &[Datagram]) -> anyhow::Result<()> {
        self.send_cut(burst.as_flattened(), BEAT_LEN)
    }

    /// Hands over a burst of datagrams of `len` bytes in one call.
    fn send_cut(&mut self, burst: &[u8], len: usize) -> anyhow::Result<()> {
        let segment = u16::try_from(len)?;
        let segments = [ControlMessage::UdpGsoSegments(&segment)];
        let control: &[ControlMessage<'_>] = if burst.len() > len { &segments } else { &[] };
        let bytes = [IoSlice::new(burst)];
        match sendmsg::<()>(self.socket.as_raw_fd(), &bytes, control, MsgFlags::empty(), None) {
            Ok(_) => Ok(()),
            Err(Errno::ECONNREFUSED | Errno::ENOBUFS) => {
                self.refused += (burst.len() / len) as u64;
                Ok(())
            }
            Err(error) => Err(error).context("the kernel does not send"),
        }
    }

    /// Seals ahead, then sends, until `count` are sent. Returns the time spent in sending alone.
    pub(super) fn at_most(&mut self, sender: &mut Sender, count: u64) -> anyhow::Result<Duration> {
        let mut datagrams = VecDeque::new();
        let (mut spent, mut left) = (0, count);
        while left > 0 {
            let part = left.min(AHEAD as u64);
            datagrams.extend((0..part).map(|_| sender.datagram(clock::realtime())));
            let began = clock::boottime();
            for burst in datagrams.make_contiguous().chunks(BURST) {
                self.send(burst)?;
            }
            spent += clock::boottime() - began;
            datagrams.clear();
            left -= part;
        }
        Ok(Duration::from_nanos(spent))
    }

    /// Sends `count` at `rate` a second. What can be is sealed before the first is sent, and whenever there is time: at
    /// most a second ahead, and with the send time that is planned. Returns the time from the first to the last.
    pub(super) fn paced(&mut self, sender: &mut Sender, count: u64, rate: u64) -> anyhow::Result<Duration> {
        let room = AHEAD.min(usize::try_from(rate.saturating_add(1).min(count))?);
        let mut ahead = VecDeque::with_capacity(room);
        let plan = Plan::new(rate, room as u64 * SEAL_NS);
        let (mut sealed, mut sent) = (0, 0);
        let mut now = clock::boottime();
        while sent < count {
            let due = plan.due(sent);
            if ahead.is_empty() || (now < due && ahead.len() < room && sealed < count) {
                let part = (count - sealed).min((room - ahead.len()).min(BURST) as u64);
                ahead.extend((sealed..sealed + part).map(|number| sender.datagram(plan.send_time(number))));
                sealed += part;
            } else if now < due {
                clock::sleep_until(due);
            } else {
                let owed = plan.owed(now).saturating_sub(sent).clamp(1, BURST as u64);
                let (front, _) = ahead.as_slices();
                let burst = &front[..front.len().min(usize::try_from(owed)?)];
                self.send(burst)?;
                let len = burst.len();
                drop(ahead.drain(..len));
                sent += len as u64;
            }
            now = clock::boottime();
        }
        Ok(Duration::from_nanos(now.saturating_sub(plan.began)))
    }

    /// Announces every agent, at most `rate` a second: what was missed is not made up for. Returns how many.
    pub(super) fn announces(
        &mut self,
        sender: &mut Sender,
        labels: &[(String, String)],
        rate: u64,
    ) -> anyhow::Result<u64> {
        let gap = ANNOUNCES as u64 * SECOND / rate;
        let (mut sent, mut burst, mut due) = (0, Vec::new(), clock::boottime());
        while sent < sender.agents() {
            let part = (sender.agents() - sent).min(ANNOUNCES as u64);
            burst.clear();
            for agent in sent..sent + part {
                let announce = sender.announce(agent, clock::realtime(), labels);
                burst.extend(announce.context("the labels are no metadata, or more than an announce holds")?);
            }
            clock::sleep_until(due);
            due = clock::boottime().max(due + gap);
            self.send_cut(&burst, burst.len() / usize::try_from(part)?)?;
            sent += part;
        }
        Ok(sent)
    }

    /// Sends a last beat of every agent, gently. Returns how many.
    pub(super) fn goodbyes(&mut self, sender: &mut Sender) -> anyhow::Result<u64> {
        let mut sent = 0;
        let mut burst = Vec::with_capacity(BURST);
        while sent < sender.agents() {
            let part = (sender.agents() - sent).min(BURST as u64);
            burst.clear();
            burst.extend((sent..sent + part).map(|agent| sender.goodbye(agent, clock::realtime())));
            self.send(&burst)?;
            sent += part;
            clock::sleep_until(clock::boottime() + GOODBYE_PAUSE_NS);
        }
        Ok(sent)
    }
}

/// When each datagram is due, on both timelines.
struct Plan {
    rate: u64,
    began: u64,
    realtime: u64,
}

impl Plan {
    /// The first datagram is due `lead` nanoseconds from now.
    fn new(rate: u64, lead: u64) -> Self {
        Self { rate, began: clock::boottime() + lead, realtime: clock::realtime() + lead }
    }

    fn after(&self, number: u64) -> u64 {
        u64::try_from(u128::from(number) * u128::from(SECOND) / u128::from(self.rate)).unwrap_or(u64::MAX)
    }

    fn due(&self, number: u64) -> u64 {
        self.began.saturating_add(self.after(number))
    }

    fn send_time(&self, number: u64) -> u64 {
        self.realtime.saturating_add(self.after(number))
    }

    /// How many are due at `now`.
    fn owed(&self, now: u64) -> u64 {
        let since = now.saturating_sub(self.began);
        u64::try_from(u128::from(since) * u128::from(self.rate) / u128::from(SECOND))
            .unwrap_or(u64::MAX)
            .saturating_add(1)
    }
}
