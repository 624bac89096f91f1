//! A socket filter that has the kernel refuse what steps 1 to 3 of the acceptance would: lengths that no datagram has,
//! another magic, version or kind, an audience that is not ours.
//!
//! It is classic BPF, which needs no privilege. It sees a datagram from its UDP header on, loads in network order, and
//! answers how many bytes are to be kept: all, or none.

use std::io;

use socket2::{SockFilter, SockRef};
use varta_core::{ListenerCounters, Reject};
use varta_vlp::{
    AudienceId,
    sealed::{BEAT_LEN, MAX_LEN},
};

/// Most audiences that are compared, one operation each; jumps reach no further than 255. With more of them every
/// audience passes, and step 3 is left to the core.
const MOST_AUDIENCES: usize = 128;

/// Bytes of the UDP header.
const UDP: u32 = 8;
/// Where magic, version and kind are, and where the audience is.
const HEAD: u32 = UDP;
const AUDIENCE: u32 = UDP + 4;
/// Magic, version and kind, as they are loaded.
const BEAT: u32 = u32::from_be_bytes(*b"VS\x01\x01");
const ANNOUNCE: u32 = u32::from_be_bytes(*b"VS\x01\x02");
#[expect(clippy::cast_possible_truncation, reason = "lengths of some hundred bytes")]
const SHORTEST: u32 = UDP + BEAT_LEN as u32;
#[expect(clippy::cast_possible_truncation, reason = "lengths of some hundred bytes")]
const LONGEST: u32 = UDP + MAX_LEN as u32;

// Operations, as `linux/bpf_common.h` numbers them.
const LOAD_LEN: u16 = 0x80;
const LOAD_WORD: u16 = 0x20;
const JUMP: u16 = 0x05;
const JUMP_IF_EQUAL: u16 = 0x15;
const JUMP_IF_ABOVE: u16 = 0x25;
const RETURN: u16 = 0x06;

/// One operation: what to do, how many to skip if a comparison holds and if not, and its operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Op {
    code: u16,
    holds: u8,
    fails: u8,
    operand: u32,
}

impl Op {
    const fn new(code: u16, operand: u32) -> Self {
        Self { code, holds: 0, fails: 0, operand }
    }

    const fn jump(code: u16, operand: u32, holds: u8, fails: u8) -> Self {
        Self { code, holds, fails, operand }
    }
}

/// The filter of an observer that answers to certain audiences.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Filter(Vec<Op>);

impl Filter {
    /// Passes datagrams for these audiences. Those that retire are among them until the keys are read again.
    pub(crate) fn new(audiences: impl IntoIterator<Item = AudienceId>) -> Self {
        let audiences: Vec<_> = audiences.into_iter().map(|audience| audience.0.swap_bytes()).collect();
        let count = audiences.len();
        // What comes at the eleventh place: the comparisons, then refusing, then keeping.
        let compared = if count > MOST_AUDIENCES { 1 } else { count };
        let refuse = 11 + compared;
        let from = |place: usize, to: usize| u8::try_from(to - place - 1).unwrap_or(u8::MAX);
        let mut ops = vec![
            Op::new(LOAD_LEN, 0),
            Op::jump(JUMP_IF_ABOVE, SHORTEST - 1, 0, from(1, refuse)),
            Op::jump(JUMP_IF_ABOVE, LONGEST, from(2, refuse), 0),
            Op::new(LOAD_WORD, HEAD),
            Op::jump(JUMP_IF_EQUAL, BEAT, 0, 2),
            Op::new(LOAD_LEN, 0),
            Op::jump(JUMP_IF_EQUAL, SHORTEST, 3, from(6, refuse)),
            Op::jump(JUMP_IF_EQUAL, ANNOUNCE, 0, from(7, refuse)),
            Op::new(LOAD_LEN, 0),
            Op::jump(JUMP_IF_ABOVE, SHORTEST, 0, from(9, refuse)),
            Op::new(LOAD_WORD, AUDIENCE),
        ];
        if count > MOST_AUDIENCES {
            ops.push(Op::new(JUMP, 1));
        } else {
            let compare = |(number, audience)| Op::jump(JUMP_IF_EQUAL, audience, from(11 + number, refuse + 1), 0);
            ops.extend(audiences.into_iter().enumerate().map(compare));
        }
        ops.extend([Op::new(RETURN, 0), Op::new(RETURN, u32::MAX)]);
        Self(ops)
    }

    /// Puts it in force, in place of one that was.
    ///
    /// # Errors
    /// What the system said; then nothing has changed.
    pub(crate) fn attach<'a>(&self, socket: impl Into<SockRef<'a>>) -> io::Result<()> {
        let ops: Vec<_> = self.0.iter().map(|op| SockFilter::new(op.code, op.holds, op.fails, op.operand)).collect();
        socket.into().attach_filter(&ops)
    }

    /// Lets everything in again.
    ///
    /// # Errors
    /// What the system said; there may have been none.
    pub(crate) fn detach<'a>(socket: impl Into<SockRef<'a>>) -> io::Result<()> {
        socket.into().detach_filter()
    }
}

/// How many of a listener's datagrams were refused that a filter would have refused: steps 1 to 3.
pub(crate) fn refused_by_header(counters: &ListenerCounters) -> u64 {
    const REASONS: [Reject; 5] =
        [Reject::BadLength, Reject::BadMagic, Reject::BadVersion, Reject::BadKind, Reject::UnknownAudience];
    REASONS.iter().filter_map(|reason| counters.rejected.get(reason.index())).sum()
}

#[cfg(test)]
mod tests;
