//! The filter against the core: by a small interpreter for every case, and by the kernel on sockets of both families.

use std::{fs, net::UdpSocket, path::Path};

use varta_core::{Audience, Core, Limits, MonoNs, Now, Origin, Outcome, Settings, WallNs};
use varta_vlp::key::{AudienceKey, AudienceSecret};

use super::*;
use crate::listen::udp::{BoundUdp, Buffers, Udp};

const NOW: Now = Now { mono: MonoNs(5_000_000_000), wall: WallNs(1_800_000_000_000_000_000) };
const OURS: [AudienceId; 3] = [AudienceId(0x0102_0304), AudienceId(0), AudienceId(0xffee_ddcc)];

/// What the filter answers, as the kernel reads it.
fn run(filter: &Filter, datagram: &[u8]) -> u32 {
    let packet = [&[0xa5; UDP as usize], datagram].concat();
    let (mut register, mut place) = (0_u32, 0);
    loop {
        let op = filter.0[place];
        let operand = op.operand as usize;
        place += 1;
        let jump = |holds: bool| usize::from(if holds { op.holds } else { op.fails });
        match op.code {
            LOAD_LEN => register = u32::try_from(packet.len()).unwrap(),
            LOAD_WORD => match packet.get(operand..operand + 4) {
                Some(word) => register = u32::from_be_bytes(word.try_into().unwrap()),
                None => return 0,
            },
            JUMP => place += operand,
            JUMP_IF_EQUAL => place += jump(register == op.operand),
            JUMP_IF_ABOVE => place += jump(register > op.operand),
            RETURN => return op.operand,
            other => panic!("{other:#x} is no operation"),
        }
    }
}

fn core(audiences: &[AudienceId]) -> Core {
    let key = || AudienceKey::new(&AudienceSecret::from_bytes([3; 32]));
    let audiences = audiences.iter().map(|id| Audience { id: *id, key: key(), until: None }).collect();
    Core::new(Settings::default(), Limits::default(), audiences, 1, 1)
}

/// Whether the core refuses a datagram at steps 1 to 3.
fn refused(core: &mut Core, datagram: &[u8]) -> bool {
    let before = refused_by_header(&core.counters().listeners[0]);
    let origin = Origin { listener: 0, attested: false, from: ([127, 0, 0, 1], 1).into() };
    let outcome = core.handle_datagram(NOW, origin, &mut datagram.to_vec());
    assert!(matches!(outcome, Outcome::Rejected(_)), "nobody has a key here");
    refused_by_header(&core.counters().listeners[0]) > before
}

fn datagram(len: usize, head: [u8; 4], audience: AudienceId) -> Vec<u8> {
    let mut bytes: Vec<u8> = head.iter().copied().chain(audience.0.to_le_bytes()).collect();
    bytes.resize(len.max(8), 0x5a);
    bytes.truncate(len);
    bytes
}

/// Every length around the legal ones, each kind, single bits of the header, strangers' audiences, and what fuzzers found,
/// as it is and behind a header of ours.
fn cases() -> Vec<Vec<u8>> {
    let heads = [*b"VS\x01\x01", *b"VS\x01\x02"];
    let mut cases = Vec::new();
    for head in heads {
        cases.extend((0..=MAX_LEN + 40).map(|len| datagram(len, head, OURS[0])));
    }
    for len in [BEAT_LEN - 1, BEAT_LEN, BEAT_LEN + 1, MAX_LEN, MAX_LEN + 1] {
        for kind in 0..=u8::MAX {
            cases.push(datagram(len, [b'V', b'S', 1, kind], OURS[1]));
        }
        for bit in 0..64 {
            for head in heads {
                let mut bent = datagram(len, head, OURS[2]);
                bent[bit / 8] ^= 1 << (bit % 8);
                cases.push(bent);
            }
        }
        for audience in OURS.into_iter().chain([AudienceId(0x0403_0201), AudienceId(u32::MAX), AudienceId(1)]) {
            cases.extend(heads.map(|head| datagram(len, head, audience)));
        }
    }
    let corpora = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fuzz/corpora");
    let before = cases.len();
    for entry in fs::read_dir(corpora).unwrap() {
        for line in fs::read_to_string(entry.unwrap().path()).unwrap().lines() {
            let digits: Vec<_> = line.split('#').next().unwrap().trim_end().chars().collect();
            let byte = |pair: &[char]| u8::from_str_radix(&pair.iter().collect::<String>(), 16).unwrap();
            let found: Vec<u8> = digits.chunks(2).map(byte).collect();
            let head = heads[usize::from(found.len().is_multiple_of(3))];
            let mut behind = datagram(8, head, OURS[found.len() % 3]);
            behind.extend(&found);
            behind.resize(behind.len().max(BEAT_LEN), 0x11);
            cases.extend([found, behind]);
        }
    }
    assert!(cases.len() > before + 1000, "the corpora were not found");
    cases
}

#[test]
fn the_filter_refuses_exactly_what_the_first_three_steps_do() {
    for audiences in [&OURS[..], &OURS[..1], &[]] {
        let (filter, mut core) = (Filter::new(audiences.iter().copied()), core(audiences));
        let mut passed = 0;
        for case in cases() {
            let answer = run(&filter, &case);
            assert!(answer == 0 || answer == u32::MAX, "a datagram is cut short");
            assert_eq!(answer == 0, refused(&mut core, &case), "{audiences:?} {case:02x?}");
            passed += usize::from(answer != 0);
        }
        assert_eq!(passed > 1000, !audiences.is_empty());
    }
}

#[test]
fn many_audiences_are_compared_and_too_many_pass() {
    let audiences: Vec<_> = (0..=u32::try_from(MOST_AUDIENCES).unwrap()).map(|id| AudienceId(id << 8 | 7)).collect();
    let stranger = datagram(BEAT_LEN, *b"VS\x01\x01", AudienceId(9));
    let most = Filter::new(audiences[1..].iter().copied());
    assert_eq!(run(&most, &stranger), 0);
    for audience in &audiences[1..] {
        assert_eq!(run(&most, &datagram(BEAT_LEN, *b"VS\x01\x01", *audience)), u32::MAX);
    }
    let more = Filter::new(audiences.iter().copied());
    assert_eq!(run(&more, &stranger), u32::MAX);
    assert_eq!(run(&more, &datagram(BEAT_LEN, *b"VS\x02\x01", audiences[0])), 0);
    for filter in [most, more] {
        filter.attach(&UdpSocket::bind("127.0.0.1:0").unwrap()).unwrap();
    }
}

#[test]
fn the_kernel_understands_it_as_the_interpreter_does() {
    let cases = cases();
    for address in ["127.0.0.1:0", "[::1]:0"] {
        let filter = Filter::new(OURS);
        let (bound, attached) = BoundUdp::bind_filtered(address.parse().unwrap(), 64 << 10, &filter).unwrap();
        attached.unwrap();
        let sender = UdpSocket::bind(address).unwrap();
        sender.connect(bound.local).unwrap();
        let (mut udp, mut buffers) = (Udp::new(bound), Buffers::new());
        let mut passed = 0;
        // What is sent on loopback is in the queue, or refused, when `send` returns.
        for case in &cases {
            sender.send(case).unwrap();
            let received = udp.receive(&mut buffers).unwrap().count;
            assert_eq!(received, usize::from(run(&filter, case) != 0), "{address} {case:02x?}");
            if received > 0 {
                assert_eq!(&*buffers.datagrams().next().unwrap().0, &case[..], "{address}");
                passed += 1;
            }
        }
        assert!(passed > 1000);
        Filter::detach(udp.socket()).unwrap();
        sender.send(b"garbage").unwrap();
        assert_eq!(udp.receive(&mut buffers).unwrap().count, 1, "nothing is refused any more");
    }
}
