//! Every rule of the handshake, and every order of up to three options.

#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use steadfast_nbd_server::protocol::{OPTION_DATA_MAX, OPTION_DRAINED_MAX, OPTIONS_MAX};
use steadfast_nbd_server::{Export, Flags, Handshake, Outcome};
use support::{Peer, Reply, SIZE, exports, info_data, option, replies};

const ACK: u32 = 1;
const SERVER: u32 = 2;
const INFO: u32 = 3;
const UNSUP: u32 = 0x8000_0001;
const INVALID: u32 = 0x8000_0003;
const UNKNOWN: u32 = 0x8000_0006;
const TOO_BIG: u32 = 0x8000_0009;

/// How the handshake goes on after an option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    On,
    Close,
    /// Transmission with this export.
    Begin(usize),
}

/// An option as a client may send it: bytes, kinds of the replies, what follows.
fn moves() -> Vec<(Vec<u8>, Vec<u32>, Then)> {
    let go = |name: &[u8], infos: &[u16]| option(7, &info_data(name, infos));
    let about = |name: &[u8], infos: &[u16]| option(6, &info_data(name, infos));
    vec![
        (option(1, b"beta"), vec![], Then::Begin(1)),
        (option(1, b""), vec![], Then::Begin(0)),
        (option(1, b"gamma"), vec![], Then::Close),
        (option(2, b""), vec![ACK], Then::Close),
        (option(2, b"why"), vec![ACK], Then::Close),
        (option(3, b""), vec![SERVER, SERVER, ACK], Then::On),
        (option(3, b"x"), vec![INVALID], Then::On),
        (option(4, b"alpha"), vec![UNSUP], Then::On),
        (option(5, b""), vec![UNSUP], Then::On),
        (about(b"alpha", &[]), vec![INFO, ACK], Then::On),
        (about(b"gamma", &[3]), vec![UNKNOWN], Then::On),
        (option(6, b"\0\0"), vec![INVALID], Then::On),
        (
            go(b"", &[1, 2, 3]),
            vec![INFO, INFO, INFO, INFO, ACK],
            Then::Begin(0),
        ),
        (
            go(b"beta", &[2, 3, 77]),
            vec![INFO, INFO, ACK],
            Then::Begin(1),
        ),
        (go(b"gamma", &[]), vec![UNKNOWN], Then::On),
        (
            option(7, &info_data(&[b'n'; 4097], &[])),
            vec![TOO_BIG],
            Then::On,
        ),
        (option(8, b""), vec![ACK], Then::On),
        (option(8, b"x"), vec![INVALID], Then::On),
        (option(9, b"\0\0\0\x05alpha\0\0\0\0"), vec![UNSUP], Then::On),
        (option(11, b""), vec![UNSUP], Then::On),
        (option(0x7fff_ffff, &[7; 300]), vec![UNSUP], Then::On),
        (b"IHAVEOPX\0\0\0\x03\0\0\0\0".to_vec(), vec![], Then::Close),
    ]
}

fn begun(outcome: Outcome) -> Then {
    match outcome {
        Outcome::Continue => Then::On,
        Outcome::Close => Then::Close,
        Outcome::Transmission(begun) => Then::Begin(begun.export),
    }
}

/// Sends the moves one after the other, whole, and judges every reply.
fn check_sequence(moves: &[&(Vec<u8>, Vec<u32>, Then)]) -> Peer {
    let mut peer = Peer::after(b"");
    let mut structured = false;
    for (bytes, kinds, then) in moves {
        if peer.outcome != Outcome::Continue {
            break;
        }
        let before = peer.sent.len();
        peer.send(bytes);
        let (found, rest) = replies(&peer.sent[before..]);
        let number = u32::from_be_bytes(bytes[8..12].try_into().unwrap());
        assert!(found.iter().all(|reply| reply.option == number));
        assert_eq!(
            found.iter().map(|reply| reply.kind).collect::<Vec<_>>(),
            *kinds
        );
        assert_eq!(begun(peer.outcome), *then);
        structured |= number == 8 && kinds == &[ACK];
        let by_name = number == 1 && *then != Then::Close;
        assert_eq!(rest.len(), if by_name { 10 } else { 0 });
    }
    if let Outcome::Transmission(begun) = peer.outcome {
        assert_eq!(begun.structured, structured);
        assert_eq!(begun.flags.contains(Flags::DF), structured);
    }
    peer
}

#[test]
fn every_order_of_up_to_three_options() {
    let moves = moves();
    for a in &moves {
        check_sequence(&[a]);
        for b in &moves {
            check_sequence(&[a, b]);
            for c in &moves {
                check_sequence(&[a, b, c]);
            }
        }
    }
}

#[test]
fn splitting_and_ending_at_every_byte_changes_nothing() {
    let moves = moves();
    for a in &moves {
        for b in &moves {
            let whole = check_sequence(&[a, b]);
            let bytes = [&3_u32.to_be_bytes()[..], &a.0, &b.0].concat();
            let mut slow = Peer::new();
            for split in 0..=bytes.len() {
                let mut peer = Peer::new();
                peer.send(&bytes[..split]);
                // Whatever has been sent when the client closes here is a part of the whole.
                assert_eq!(peer.sent, slow.sent);
                assert!(whole.sent.starts_with(&peer.sent));
                peer.send(&bytes[split..]);
                assert_eq!((&peer.sent, peer.outcome), (&whole.sent, whole.outcome));
                assert_eq!(peer.used, whole.used);
                slow.send(&bytes[split..bytes.len().min(split + 1)]);
            }
            assert_eq!((&slow.sent, slow.outcome), (&whole.sent, whole.outcome));
        }
    }
}

#[test]
fn bytes_after_the_choice_are_left_for_the_next_phase() {
    let mut bytes = option(7, &info_data(b"alpha", &[]));
    let len = bytes.len();
    bytes.extend([0x25; 100]);
    let mut peer = Peer::after(&bytes);
    assert_eq!(peer.used, 4 + len);
    let over = peer.handshake.input(b"more", &exports(), &mut Vec::new());
    assert_eq!(over, (0, Outcome::Close));
}

#[test]
fn client_flags_are_checked() {
    for flags in [4_u32, 7, 1 << 16, 1 << 31, u32::MAX] {
        let mut peer = Peer::new();
        peer.send(&flags.to_be_bytes());
        assert_eq!(
            (peer.outcome, peer.sent.len()),
            (Outcome::Close, 0),
            "{flags:#x}"
        );
    }
    // Without fixed newstyle there is only EXPORT_NAME.
    for (bytes, _, then) in moves() {
        for flags in [0_u32, 2] {
            let mut peer = Peer::new();
            peer.send(&flags.to_be_bytes());
            peer.send(&bytes);
            let by_name = bytes[8..12] == [0, 0, 0, 1];
            let expected = if by_name && bytes.starts_with(b"IHAVEOPT") {
                then
            } else {
                Then::Close
            };
            assert_eq!(begun(peer.outcome), expected);
        }
    }
}

#[test]
fn export_name_is_followed_by_zeroes_unless_waived() {
    for (flags, zeroes) in [(0_u32, 124), (1, 124), (2, 0), (3, 0)] {
        let mut peer = Peer::new();
        peer.send(&flags.to_be_bytes());
        peer.send(&option(1, b"beta"));
        let mut expected = 1000_u64.to_be_bytes().to_vec();
        expected.extend(0b1101_0110_1111_u16.to_be_bytes());
        expected.extend(vec![0; zeroes]);
        assert_eq!(peer.sent, expected);
    }
}

#[test]
fn lengths_of_option_data() {
    let max = OPTION_DATA_MAX as u32;
    let lengths = [
        0,
        1,
        max,
        max + 1,
        OPTION_DRAINED_MAX,
        OPTION_DRAINED_MAX + 1,
        1 << 31,
        u32::MAX,
    ];
    for number in [1_u32, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 0, u32::MAX] {
        for len in lengths {
            let mut header = b"IHAVEOPT".to_vec();
            header.extend(number.to_be_bytes());
            header.extend(len.to_be_bytes());
            let mut peer = Peer::after(&header);
            // As much data as may be asked for at all.
            let mut left = len.min(OPTION_DRAINED_MAX + 1) as usize;
            while left > 0 {
                let now = left.min(4096);
                peer.send(&[0; 4096][..now]);
                left -= now;
            }
            let (found, _) = replies(&peer.sent);
            let kinds: Vec<u32> = found.iter().map(|reply| reply.kind).collect();
            let drained = len <= OPTION_DRAINED_MAX;
            let (expected, then) = match number {
                1 if len == 0 => (vec![], Then::Begin(0)),
                1 => (vec![], Then::Close),
                2 => (vec![ACK], Then::Close),
                _ if !drained => (vec![], Then::Close),
                3 if len == 0 => (vec![SERVER, SERVER, ACK], Then::On),
                8 if len == 0 => (vec![ACK], Then::On),
                3 | 8 => (vec![INVALID], Then::On),
                // 8192 zeroes: an empty name, no requests, and bytes too many.
                6 | 7 if len <= max => (vec![INVALID], Then::On),
                6 | 7 => (vec![TOO_BIG], Then::On),
                _ => (vec![UNSUP], Then::On),
            };
            assert_eq!(
                (kinds, begun(peer.outcome)),
                (expected, then),
                "option {number} {len}"
            );
        }
    }
}

#[test]
fn names_up_to_the_limit() {
    let name = "n".repeat(4096);
    let exports = [Export::new(
        name.clone(),
        "d".repeat(4096),
        SIZE,
        Flags::NONE,
    )];
    for bytes in [
        option(1, name.as_bytes()),
        option(7, &info_data(name.as_bytes(), &[1, 2, 3])),
    ] {
        let mut handshake = Handshake::new(&mut Vec::new());
        let mut out = Vec::new();
        let bytes = [&[0, 0, 0, 3], &bytes[..]].concat();
        let (used, outcome) = handshake.input(&bytes, &exports, &mut out);
        assert_eq!((used, begun(outcome)), (bytes.len(), Then::Begin(0)));
    }
    // No default export: the empty name is unknown.
    let mut handshake = Handshake::new(&mut Vec::new());
    let bytes = [&[0, 0, 0, 3], &option(1, b"")[..]].concat();
    assert_eq!(
        handshake.input(&bytes, &exports, &mut Vec::new()).1,
        Outcome::Close
    );
}

#[test]
fn information_is_complete_and_only_what_was_asked() {
    let sr = option(8, b"");
    let go = option(7, &info_data(b"", &[3, 2, 1, 3]));
    let peer = Peer::after(&[sr, go].concat());
    let (found, _) = replies(&peer.sent);
    let data: Vec<&[u8]> = found.iter().map(|reply| &reply.data[..]).collect();
    let size_and_flags = [
        &[0, 0][..],
        &SIZE.to_be_bytes(),
        &0b101_1110_1101_u16.to_be_bytes(),
    ]
    .concat();
    let sizes = [
        &[0, 3][..],
        &512_u32.to_be_bytes(),
        &4096_u32.to_be_bytes(),
        &[2, 0, 0, 0],
    ]
    .concat();
    assert_eq!(
        data,
        [
            b"",
            &size_and_flags[..],
            b"\0\x01alpha",
            b"\0\x02the first",
            &sizes,
            b""
        ]
    );
    // A size that is no multiple of 512 cannot be told together with such blocks.
    let peer = Peer::after(&option(6, &info_data(b"beta", &[3])));
    let (found, _) = replies(&peer.sent);
    assert_eq!(found[1].data[..6], [0, 3, 0, 0, 0, 1]);
}

#[test]
fn list_names_every_export() {
    let (found, _) = replies(&Peer::after(&option(3, b"")).sent);
    let reply = |kind, data: &[u8]| Reply {
        option: 3,
        kind,
        data: data.to_vec(),
    };
    let alpha = reply(SERVER, b"\0\0\0\x05alphathe first");
    let beta = reply(SERVER, b"\0\0\0\x04beta");
    assert_eq!(found, [alpha, beta, reply(ACK, b"")]);
}

#[test]
fn a_client_that_never_chooses_is_dropped() {
    let mut peer = Peer::after(b"");
    let sr = option(8, b"");
    for _ in 0..OPTIONS_MAX {
        peer.send(&sr);
        assert_eq!(peer.outcome, Outcome::Continue);
    }
    peer.send(&sr);
    assert_eq!(peer.outcome, Outcome::Close);
}

#[test]
fn output_is_bounded_while_the_client_does_not_read() {
    let mut handshake = Handshake::new(&mut Vec::new());
    let exports = exports();
    let lists = option(3, b"").repeat(4000);
    let bytes = [&[0, 0, 0, 3], &lists[..]].concat();
    let (mut used, mut sent) = (0, 0);
    let mut calls = 0;
    while used < bytes.len() {
        let mut out = Vec::new();
        let (now, outcome) = handshake.input(&bytes[used..], &exports, &mut out);
        assert_eq!(outcome, Outcome::Continue);
        assert!(out.len() < steadfast_nbd_server::OUTPUT_PAUSE + 200);
        used += now;
        sent += out.len();
        calls += 1;
    }
    let mut out = Vec::new();
    let _ = handshake.input(b"", &exports, &mut out);
    let each = replies(&Peer::after(&option(3, b"")).sent)
        .0
        .iter()
        .map(|r| 20 + r.data.len())
        .sum::<usize>();
    assert_eq!(sent + out.len(), 4000 * each);
    assert!(calls > 3);
}
