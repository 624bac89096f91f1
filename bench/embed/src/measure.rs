//! What a sealed beat costs, and the floor below which it cannot go: `send` of a datagram of that size, one seal by the
//! fastest library, one `getrandom`, one `getpid`. Both send to one socket on loopback that nobody reads.

use std::{
    error::Error,
    hint::black_box,
    net::{Ipv4Addr, UdpSocket},
    path::Path,
    time::Duration,
};

use chacha20::{R20, hchacha};
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use varta_client::{BeatOutcome, SealedTransport, Status, Varta};

/// Beat and floor take turns so often.
const ROUNDS: usize = 41;
/// Calls of one turn.
const CALLS: u32 = 10_000;
/// Header, body and tag of a beat.
const LENS: (usize, usize, usize) = (44, 64, 16);

/// Nanoseconds per call in one round.
pub(crate) struct Round {
    pub(crate) beat_ns: f64,
    pub(crate) floor_ns: f64,
}

/// Beats with the agent key of `file`, and does what a beat cannot do without, in turn. `now` is the
/// thread's CPU time in nanoseconds: neither side waits, and whatever else the machine does stays out.
///
/// # Errors
/// There is no socket, no randomness, or the client does not send.
pub(crate) fn rounds(file: &Path, now: fn() -> u64) -> Result<Vec<Round>, Box<dyn Error>> {
    let sink = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    let to = sink.local_addr()?;
    let client = Varta::builder().key_file(file).address(to.to_string()).unit("beat").every(Duration::from_secs(10));
    let mut client: Varta<SealedTransport> = client.connect()?;
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    socket.connect(to)?;
    socket.set_nonblocking(true)?;
    let mut rounds = Vec::with_capacity(ROUNDS);
    for round in 0..=ROUNDS {
        let began = now();
        for _ in 0..CALLS {
            if client.beat(Status::Ok, 0) != BeatOutcome::Sent {
                return Err("a beat was not sent".into());
            }
        }
        let between = now();
        for counter in 0..CALLS {
            floor(&socket, counter)?;
        }
        let (beat, floor) = (between - began, now() - between);
        // The first round warms up.
        if round > 0 {
            let each = |ns: u64| Duration::from_nanos(ns).as_secs_f64() * 1e9 / f64::from(CALLS);
            rounds.push(Round { beat_ns: each(beat), floor_ns: each(floor) });
        }
    }
    Ok(rounds)
}

fn floor(socket: &UdpSocket, counter: u32) -> Result<(), Box<dyn Error>> {
    let key = black_box([7; 32]);
    black_box(std::process::id());
    let mut datagram = [0; LENS.0 + LENS.1 + LENS.2];
    let (header, rest) = datagram.split_at_mut(LENS.0);
    let (text, tag) = rest.split_at_mut(LENS.1);
    getrandom::fill(&mut header[28..36])?;
    header[36..40].copy_from_slice(&counter.to_le_bytes());
    let input: [u8; 16] = header[20..36].try_into()?;
    let mut low = [0; 12];
    low[4..].copy_from_slice(&header[36..44]);
    let subkey = hchacha::<R20>(&key.into(), &input.into());
    let unbound = UnboundKey::new(&CHACHA20_POLY1305, &subkey).map_err(|_| "no key")?;
    let sealed = LessSafeKey::new(unbound)
        .seal_in_place_separate_tag(Nonce::assume_unique_for_key(low), Aad::from(&*header), text)
        .map_err(|_| "not sealed")?;
    tag.copy_from_slice(sealed.as_ref());
    socket.send(&datagram)?;
    Ok(())
}
