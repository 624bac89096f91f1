//! The limit: a loop that does the least any receiver of sealed beats has to do.
//!
//! For each datagram it
//!
//! 1. receives it with its source address: blocking `recvmmsg` of up to 64 into buffers for the longest legal datagram, on a
//!    socket with the same receive buffer as an observer's;
//! 2. finds its agent's key: a vector of (agent id, key), found by the low bits of the id, which is a hash already. A
//!    key is derived when its agent is first heard;
//! 3. opens it: HChaCha20 for the subkey, ring's ChaCha20-Poly1305 for the rest;
//! 4. counts it.
//!
//! With `--work receive` it does the first of these only.
//!
//! It does not look at what it has opened, and keeps nothing: no replay window, no time, no deadline, no slot.

use std::{
    hint::black_box,
    io::{self, BufRead as _, IoSliceMut, Write as _},
    net::{SocketAddr, SocketAddrV4, UdpSocket},
    os::fd::AsRawFd as _,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use anyhow::{Context as _, bail};
use chacha20::{R20, hchacha};
use clap::{Args, ValueEnum};
use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrIn, recvmmsg, setsockopt, sockopt::RcvBufForce};
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, Tag, UnboundKey};
use serde::{Deserialize, Serialize};
use socket2::{Domain, Protocol, Socket, Type};
use varta_keys::ObserverKeyFile;
use varta_vlp::{
    AgentId, Generation,
    key::AudienceKey,
    sealed::{BEAT_LEN, HEADER_LEN, MAX_LEN, TAG_LEN},
};

/// Datagrams read at once: as many as an observer reads.
const BATCH: usize = 64;
/// Receive buffer asked for, bytes: an observer's default.
const BUFFER: usize = 8 << 20;

/// The limit by itself.
#[derive(Args)]
pub(crate) struct BareArgs {
    /// Receive on this address.
    #[arg(long, default_value = "127.0.0.1:0", value_name = "ADDR")]
    listen: SocketAddrV4,
    /// The observer's key file: agents' keys are derived from it.
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// How many agents there are at most.
    #[arg(long, default_value_t = 100_000, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    agents: u32,
    /// What to do with each datagram.
    #[arg(long, value_enum, default_value_t = Work::Open)]
    work: Work,
}

/// What the loop does with each datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Work {
    /// Finds its key and opens it.
    Open,
    /// Nothing: it was received.
    Receive,
}

/// What the loop says first.
#[derive(Serialize, Deserialize)]
pub(crate) struct Listening {
    /// Where it receives.
    pub(crate) listening: SocketAddr,
}

/// What it says whenever it is asked.
#[derive(Serialize, Deserialize)]
pub(crate) struct Counts {
    /// Datagrams opened.
    pub(crate) opened: u64,
    /// Datagrams that could not be.
    pub(crate) refused: u64,
}

#[derive(Default)]
struct Totals {
    opened: AtomicU64,
    refused: AtomicU64,
}

/// Keys by agent id: open addressing, never more than half full.
struct Keys {
    audience: AudienceKey,
    places: Vec<(u64, [u8; 32])>,
    room: usize,
}

impl Keys {
    fn new(audience: AudienceKey, agents: u32) -> Self {
        let room = agents as usize;
        Self { audience, places: vec![(0, [0; 32]); (2 * room).next_power_of_two()], room }
    }

    /// The key of an agent; id 0 is taken for nobody's.
    #[expect(clippy::cast_possible_truncation, reason = "low bits are all that is wanted")]
    fn find(&mut self, agent: u64) -> Option<&[u8; 32]> {
        let mask = self.places.len() - 1;
        let mut place = agent as usize & mask;
        while self.places[place].0 != agent {
            if self.places[place].0 == 0 {
                self.room = self.room.checked_sub(1)?;
                self.places[place] = (agent, *self.audience.agent(AgentId(agent), Generation(1)).expose());
            } else {
                place = (place + 1) & mask;
            }
        }
        Some(&self.places[place].1)
    }
}

fn open(keys: &mut Keys, datagram: &mut [u8]) -> Option<()> {
    let (header, rest) = datagram.split_first_chunk_mut::<HEADER_LEN>()?;
    let (text, tag) = rest.split_last_chunk_mut::<TAG_LEN>()?;
    let key = keys.find(u64::from_le_bytes(*header[8..].first_chunk()?))?;
    let (input, nonce) = header[20..].split_first_chunk::<16>()?;
    let mut low = [0; 12];
    low[4..].copy_from_slice(nonce);
    let subkey = hchacha::<R20>(key.into(), input.into());
    let subkey = LessSafeKey::new(UnboundKey::new(&CHACHA20_POLY1305, &subkey).ok()?);
    let nonce = Nonce::assume_unique_for_key(low);
    subkey.open_in_place_separate_tag(nonce, Aad::from(&*header), Tag::from(*tag), text, 0..).ok()?;
    black_box(text);
    Some(())
}

fn bind(listen: SocketAddrV4) -> anyhow::Result<UdpSocket> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
    // Above the system's limit only a privileged process gets what it asks for.
    if setsockopt(&socket, RcvBufForce, &BUFFER).is_err() {
        socket.set_recv_buffer_size(BUFFER)?;
    }
    socket.bind(&SocketAddr::from(listen).into()).with_context(|| format!("cannot receive on {listen}"))?;
    Ok(socket.into())
}

fn receive(socket: &UdpSocket, keys: &mut Keys, work: Work, totals: &Totals) -> anyhow::Result<()> {
    let mut bytes = vec![[0; MAX_LEN + 1]; BATCH];
    let mut lens = [0; BATCH];
    let mut headers = MultiHeaders::<SockaddrIn>::preallocate(BATCH, None);
    let (mut opened, mut refused) = (0, 0);
    loop {
        let mut rest = bytes.iter_mut();
        let mut slices: [[IoSliceMut<'_>; 1]; BATCH] =
            std::array::from_fn(|_| [IoSliceMut::new(rest.next().map_or(&mut [], |bytes| &mut bytes[..]))]);
        let mut count = 0;
        match recvmmsg(socket.as_raw_fd(), &mut headers, &mut slices, MsgFlags::MSG_WAITFORONE, None) {
            Err(nix::errno::Errno::EINTR) => continue,
            messages => {
                for (message, len) in messages.context("cannot receive")?.zip(&mut lens) {
                    *len = message.bytes;
                    black_box(message.address);
                    count += 1;
                }
            }
        }
        if work == Work::Receive {
            black_box(&bytes);
            opened += count as u64;
            count = 0;
        }
        for (bytes, len) in bytes.iter_mut().zip(&lens[..count]) {
            match open(keys, &mut bytes[..*len]) {
                Some(()) if *len == BEAT_LEN => opened += 1,
                _ => refused += 1,
            }
        }
        totals.opened.store(opened, Ordering::Relaxed);
        totals.refused.store(refused, Ordering::Relaxed);
    }
}

/// Answers every line with the counts, and ends the process with the input.
fn answer(totals: &Totals) -> anyhow::Result<()> {
    for line in io::stdin().lock().lines() {
        line?;
        let counts =
            Counts { opened: totals.opened.load(Ordering::Relaxed), refused: totals.refused.load(Ordering::Relaxed) };
        say(&counts)?;
    }
    Ok(())
}

fn say(what: &impl Serialize) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    serde_json::to_writer(&mut out, what)?;
    out.write_all(b"\n")?;
    Ok(out.flush()?)
}

pub(crate) fn run(args: &BareArgs) -> anyhow::Result<()> {
    if !args.listen.ip().is_loopback() {
        bail!("--listen {}: the bare loop listens on loopback only", args.listen);
    }
    let key = ObserverKeyFile::load(&args.key)?;
    let mut keys = Keys::new(AudienceKey::new(&key.secret), args.agents);
    let socket = bind(args.listen)?;
    let listening = socket.local_addr()?;
    let work = args.work;
    let totals = Arc::new(Totals::default());
    let shown = Arc::clone(&totals);
    std::thread::Builder::new().name("receive".to_owned()).spawn(move || {
        if let Err(error) = receive(&socket, &mut keys, work, &totals) {
            drop(writeln!(io::stderr().lock(), "varta-bench: {error:#}"));
            std::process::exit(1);
        }
    })?;
    say(&Listening { listening })?;
    answer(&shown)
}
