//! Every rule of requests and replies.

#![allow(clippy::unwrap_used, reason = "a test")]

use steadfast_nbd_server::protocol::PAYLOAD_DRAINED_MAX;
use steadfast_nbd_server::{
    Command, DATA_REPLY_MAX, Disconnect, Errno, Export, Flags, PAYLOAD_ACCEPTED_MAX, Parsed,
    REPLY_MAX, Request, Transmission,
};

const SIZE: u64 = 1 << 33;
const FUA: u16 = 1;
const NO_HOLE: u16 = 2;
const DF: u16 = 4;
const REQ_ONE: u16 = 8;
const FAST_ZERO: u16 = 16;
const PAYLOAD_LEN: u16 = 32;

fn on(flags: Flags, structured: bool) -> Transmission {
    let export = Export::new("e".into(), String::new(), SIZE, flags);
    Transmission::new(0, &export, structured)
}

fn full() -> Transmission {
    on(Flags::DISK.with(Flags::FAST_ZERO), true)
}

fn bytes(flags: u16, command: u16, offset: u64, len: u32) -> [u8; 28] {
    let mut bytes = [0; 28];
    bytes[..4].copy_from_slice(&0x2560_9513_u32.to_be_bytes());
    bytes[4..6].copy_from_slice(&flags.to_be_bytes());
    bytes[6..8].copy_from_slice(&command.to_be_bytes());
    bytes[8..16].copy_from_slice(b"a cookie");
    bytes[16..24].copy_from_slice(&offset.to_be_bytes());
    bytes[24..].copy_from_slice(&len.to_be_bytes());
    bytes
}

/// `Ok` if the disk is asked, else the answer and what is drained; `None`: disconnected.
fn verdict(on: &Transmission, bytes: &[u8; 28]) -> Option<Result<Request, (Errno, u32)>> {
    match on.next(bytes) {
        Parsed::Request(request) => {
            assert_eq!(request.cookie, u64::from_be_bytes(*b"a cookie"));
            Some(Ok(request))
        }
        Parsed::Answer {
            cookie,
            errno,
            drain,
            ..
        } => {
            assert_eq!(cookie, u64::from_be_bytes(*b"a cookie"));
            Some(Err((errno, drain)))
        }
        Parsed::Disconnect(_) => None,
        Parsed::NeedMore => panic!("a whole header needs no more"),
    }
}

#[test]
fn nothing_is_parsed_before_the_header_is_whole() {
    let whole = bytes(0, 0, 0, 4096);
    for len in 0..28 {
        assert_eq!(full().next(&whole[..len]), Parsed::NeedMore);
    }
    let mut more = whole.to_vec();
    more.extend([0xff; 100]);
    assert_eq!(full().next(&whole), full().next(&more));
}

#[test]
fn every_command_with_every_flag() {
    let legal = |command: u16| match command {
        0 => FUA | DF,
        6 => FUA | NO_HOLE | FAST_ZERO,
        1 | 3 | 4 | 5 => FUA,
        _ => 0,
    };
    for command in (0..=20)
        .chain([0x7fff, 0xffff])
        .filter(|command| *command != 2)
    {
        let len = if command == 3 { 0 } else { 4096 };
        for flags in (0..64).chain([1 << 6, 1 << 15, u16::MAX]) {
            let found = verdict(&full(), &bytes(flags, command, 0, len)).unwrap();
            let drain = if command == 1 { len } else { 0 };
            if command > 6 || flags & !legal(command) != 0 {
                assert_eq!(found, Err((Errno::Invalid, drain)), "{command} {flags:#x}");
            } else if command == 5 {
                assert_eq!(found, Err((Errno::Ok, 0)));
            } else {
                let request = found.unwrap();
                assert_eq!(request.fua, flags & FUA != 0);
                assert_eq!(request.no_hole, flags & NO_HOLE != 0);
                assert_eq!(request.one_piece, flags & DF != 0);
                assert_eq!(request.fast_zero, flags & FAST_ZERO != 0);
                assert_eq!(request.payload_len(), drain);
                assert_eq!((request.offset, request.len), (0, len));
            }
        }
    }
    assert_eq!(REQ_ONE | PAYLOAD_LEN, 40);
}

#[test]
fn what_is_not_offered_is_refused() {
    let none = on(Flags::NONE, true);
    for (command, len, flags) in [
        (3, 0, 0),
        (4, 1, 0),
        (5, 1, 0),
        (6, 1, 0),
        (0, 1, FUA),
        (0, 1, DF),
        (7, 1, 0),
    ] {
        let found = verdict(&none, &bytes(flags, command, 0, len));
        assert_eq!(found, Some(Err((Errno::Invalid, 0))), "{command}");
    }
    let found = verdict(&none, &bytes(FUA, 1, 0, 7));
    assert_eq!(found, Some(Err((Errno::Invalid, 7))));
    let slow = on(Flags::DISK, true);
    let found = verdict(&slow, &bytes(FAST_ZERO, 6, 0, 7));
    assert_eq!(found, Some(Err((Errno::Invalid, 0))));
    // DF is only for clients that agreed on structured replies.
    let found = verdict(&on(Flags::DISK, false), &bytes(DF, 0, 0, 7));
    assert_eq!(found, Some(Err((Errno::Invalid, 0))));
}

#[test]
fn a_read_only_export_refuses_every_change() {
    let on = on(Flags::DISK.with(Flags::READ_ONLY), true);
    for (command, drain) in [(1, 512), (4, 0), (6, 0)] {
        for offset in [0, SIZE] {
            let found = verdict(&on, &bytes(0, command, offset, 512));
            assert_eq!(found, Some(Err((Errno::NotPermitted, drain))));
        }
    }
    assert!(matches!(verdict(&on, &bytes(0, 0, 0, 512)), Some(Ok(_))));
    assert!(matches!(verdict(&on, &bytes(0, 3, 0, 0)), Some(Ok(_))));
}

#[test]
fn every_length_of_every_command() {
    let lengths = [
        0,
        1,
        4095,
        PAYLOAD_ACCEPTED_MAX,
        PAYLOAD_ACCEPTED_MAX + 1,
        PAYLOAD_DRAINED_MAX,
        PAYLOAD_DRAINED_MAX + 1,
        1 << 31,
        u32::MAX,
    ];
    for len in lengths {
        for offset in [0, 1, 4095] {
            let ask = |command| verdict(&full(), &bytes(0, command, offset, len));
            let done = Some(Err((Errno::Ok, 0)));
            let served = |found: Option<Result<Request, _>>| matches!(found, Some(Ok(request)) if request.len == len && request.offset == offset);
            if len == 0 {
                for command in [0, 1, 4, 5, 6] {
                    assert_eq!(
                        ask(command),
                        done,
                        "nothing to do, and no reason to disconnect"
                    );
                }
            } else {
                assert!(served(ask(4)) && served(ask(6)), "{len}");
                assert_eq!(ask(5), done);
                if len <= PAYLOAD_ACCEPTED_MAX {
                    assert!(served(ask(0)) && served(ask(1)));
                } else {
                    assert_eq!(ask(0), Some(Err((Errno::Invalid, 0))));
                    let drained = len <= PAYLOAD_DRAINED_MAX;
                    assert_eq!(ask(1), drained.then_some(Err((Errno::Invalid, len))));
                }
            }
            let flush_served = offset == 0 && len == 0;
            assert_eq!(matches!(ask(3), Some(Ok(_))), flush_served);
        }
    }
}

#[test]
fn the_end_of_the_export_and_of_the_numbers() {
    let past = [
        (SIZE, 1),
        (SIZE - 1, 2),
        (SIZE + 1, 1),
        (SIZE + 1, 0),
        (u64::MAX, 1),
        (u64::MAX, 0),
        (u64::MAX - 4095, 4096),
        (1 << 63, 4096),
    ];
    for (offset, len) in past {
        for (command, errno) in [
            (0, Errno::Invalid),
            (1, Errno::NoSpace),
            (4, Errno::Invalid),
            (5, Errno::Invalid),
            (6, Errno::NoSpace),
        ] {
            let drain = if command == 1 { len } else { 0 };
            let found = verdict(&full(), &bytes(0, command, offset, len));
            assert_eq!(found, Some(Err((errno, drain))), "{command} {offset} {len}");
        }
    }
    for (offset, len) in [(SIZE - 1, 1), (SIZE - 4096, 4096)] {
        for command in [0, 1, 4, 6] {
            assert!(matches!(
                verdict(&full(), &bytes(0, command, offset, len)),
                Some(Ok(_))
            ));
        }
    }
    assert_eq!(
        verdict(&full(), &bytes(0, 1, SIZE, 0)),
        Some(Err((Errno::Ok, 0)))
    );
    // An export that grows is served to its new end.
    let grown = Transmission {
        size: SIZE + 4096,
        ..full()
    };
    assert!(matches!(
        verdict(&grown, &bytes(0, 0, SIZE, 4096)),
        Some(Ok(_))
    ));
}

#[test]
fn disconnects() {
    assert_eq!(
        full().next(&bytes(0, 2, 0, 0)),
        Parsed::Disconnect(Disconnect::Asked)
    );
    assert_eq!(
        full().next(&bytes(u16::MAX, 2, 7, u32::MAX)),
        Parsed::Disconnect(Disconnect::Asked)
    );
    for at in 0..4 {
        let mut broken = bytes(0, 0, 0, 4096);
        broken[at] ^= 1;
        assert_eq!(
            full().next(&broken),
            Parsed::Disconnect(Disconnect::BadMagic)
        );
    }
    let long = PAYLOAD_DRAINED_MAX + 1;
    let parsed = full().next(&bytes(0, 1, 0, long));
    assert_eq!(parsed, Parsed::Disconnect(Disconnect::TooLong(long)));
}

#[test]
fn an_unknown_command_is_told_so_by_a_simple_reply() {
    let Parsed::Answer { command, errno, .. } = full().next(&bytes(0, 99, 0, 8)) else {
        panic!("not answered");
    };
    let mut out = [0; REPLY_MAX];
    assert_eq!(full().reply(command, 1, errno, &mut out), 16);
}

const ERRNOS: [Errno; 9] = [
    Errno::Ok,
    Errno::NotPermitted,
    Errno::Io,
    Errno::NoMemory,
    Errno::Invalid,
    Errno::NoSpace,
    Errno::Overflow,
    Errno::NotSupported,
    Errno::Shutdown,
];

const COMMANDS: [Command; 6] = [
    Command::Read,
    Command::Write,
    Command::Flush,
    Command::Trim,
    Command::WriteZeroes,
    Command::Cache,
];

#[test]
fn replies_byte_by_byte() {
    let cookie = u64::from_be_bytes(*b"a cookie");
    let simple = on(Flags::DISK, false);
    for (errno, number) in ERRNOS
        .into_iter()
        .zip([0_u32, 1, 5, 12, 22, 28, 75, 95, 108])
    {
        let expected = [
            &[0x67, 0x44, 0x66, 0x98][..],
            &number.to_be_bytes(),
            b"a cookie",
        ]
        .concat();
        for command in COMMANDS {
            let mut out = [0; REPLY_MAX];
            let len = simple.reply(command, cookie, errno, &mut out);
            assert_eq!(out[..len], expected);
            let mut out = [0; REPLY_MAX];
            let len = full().reply(command, cookie, errno, &mut out);
            if command != Command::Read {
                assert_eq!(out[..len], expected);
            } else if errno == Errno::Ok {
                assert_eq!(out[..len], *b"\x66\x8e\x33\xef\0\x01\0\0a cookie\0\0\0\0");
            } else {
                let text = errno.message().as_bytes();
                let mut expected = b"\x66\x8e\x33\xef\0\x01\x80\x01a cookie".to_vec();
                expected.extend((6 + text.len() as u32).to_be_bytes());
                expected.extend(number.to_be_bytes());
                expected.extend((text.len() as u16).to_be_bytes());
                expected.extend(text);
                assert_eq!(out[..len], expected);
            }
        }
    }
}

#[test]
fn data_replies_byte_by_byte() {
    let cookie = u64::from_be_bytes(*b"a cookie");
    let mut out = [0; DATA_REPLY_MAX];
    let len = on(Flags::DISK, false).data_reply(cookie, 4096, 512, true, &mut out);
    assert_eq!(out[..len], *b"\x67\x44\x66\x98\0\0\0\0a cookie");
    for last in [false, true] {
        let len = full().data_reply(cookie, 4096, 512, last, &mut out);
        let mut expected = *b"\x66\x8e\x33\xef\0\0\0\x01a cookie\0\0\x02\x08\0\0\0\0\0\0\x10\0";
        expected[5] = u8::from(last);
        assert_eq!(out[..len], expected);
    }
}

#[test]
fn errors_of_linux_become_errors_of_the_protocol() {
    for linux in 0..=u16::MAX {
        let expected = match linux {
            0 => Errno::Ok,
            1 | 13 | 30 => Errno::NotPermitted,
            12 => Errno::NoMemory,
            22 => Errno::Invalid,
            27 | 28 | 122 => Errno::NoSpace,
            108 => Errno::Shutdown,
            _ => Errno::Io,
        };
        assert_eq!(Errno::from_linux(linux), expected);
    }
}
