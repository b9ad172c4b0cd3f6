//! Random bytes: nothing panics, everything is used boundedly, splitting changes nothing.

#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use proptest::collection::vec;
use proptest::prelude::*;
use steadfast_nbd_server::{Flags, Outcome, Parsed, REPLY_MAX, REQUEST_LEN, Transmission};
use support::{Peer, exports, info_data, option};

/// Bytes of a client: mostly options, some of them damaged, some plain noise.
fn conversation() -> impl Strategy<Value = Vec<u8>> {
    let data = prop_oneof![
        vec(any::<u8>(), 0..80),
        ("[a-z]{0,6}", vec(any::<u16>(), 0..5))
            .prop_map(|(name, infos)| info_data(name.as_bytes(), &infos)),
        Just(b"alpha".to_vec()),
    ];
    let whole = (prop_oneof![0..14_u32, any::<u32>()], data)
        .prop_map(|(number, data)| option(number, &data));
    let damaged = (whole.clone(), any::<prop::sample::Index>(), any::<u8>()).prop_map(
        |(mut bytes, at, value)| {
            let at = at.index(bytes.len());
            bytes[at] = value;
            bytes
        },
    );
    let part = prop_oneof![6 => whole, 2 => damaged, 1 => vec(any::<u8>(), 0..40)];
    (
        prop_oneof![9 => 0..4_u32, 1 => any::<u32>()],
        vec(part, 0..8),
    )
        .prop_map(|(flags, parts)| [flags.to_be_bytes().to_vec(), parts.concat()].concat())
}

/// Parses until the bytes end, as a driver does; returns how often it had to answer.
fn serve(on: &Transmission, mut bytes: &[u8]) -> (usize, usize) {
    let (mut asked, mut answered) = (0, 0);
    loop {
        let payload = match on.next(bytes) {
            Parsed::NeedMore | Parsed::Disconnect(_) => return (asked, answered),
            Parsed::Request(request) => {
                let end = request.offset.checked_add(u64::from(request.len)).unwrap();
                assert!(end <= on.size);
                asked += 1;
                request.payload_len()
            }
            Parsed::Answer {
                command,
                cookie,
                errno,
                drain,
            } => {
                let mut out = [0; REPLY_MAX];
                assert!(on.reply(command, cookie, errno, &mut out) >= 16);
                answered += 1;
                drain
            }
        };
        let skip = (payload as usize).min(bytes.len() - REQUEST_LEN);
        bytes = &bytes[REQUEST_LEN + skip..];
    }
}

proptest! {
    #[test]
    fn handshakes(bytes in conversation(), split in any::<prop::sample::Index>()) {
        let mut whole = Peer::new();
        whole.send(&bytes);
        prop_assert!(whole.sent.len() <= 200 * bytes.len() + 200);
        let at = split.index(bytes.len() + 1);
        let mut halves = Peer::new();
        halves.send(&bytes[..at]);
        halves.send(&bytes[at..]);
        prop_assert_eq!((&whole.sent, whole.outcome), (&halves.sent, halves.outcome));
        prop_assert_eq!(whole.used, halves.used);
        if whole.outcome == Outcome::Continue {
            prop_assert_eq!(whole.used, bytes.len());
        }
    }

    #[test]
    fn requests(
        headers in vec((any::<[u8; 24]>(), 0..9_u8, 0..70_u8, 0..6000_u32), 0..20),
        structured: bool,
        noise in vec(any::<u8>(), 0..100),
    ) {
        let export = &exports()[0];
        let on = Transmission::new(0, export, structured);
        let mut bytes = Vec::new();
        for (rest, command, flags, len) in headers {
            bytes.extend(0x2560_9513_u32.to_be_bytes());
            bytes.extend([0, flags, 0, command]);
            bytes.extend(&rest[..8]);
            // Half of them in range.
            let offset = u64::from_be_bytes(rest[8..16].try_into().unwrap());
            let offset = if rest[16] < 128 { offset % on.size } else { offset };
            bytes.extend(offset.to_be_bytes());
            bytes.extend(len.to_be_bytes());
            if command == 1 {
                bytes.extend(vec![0x25; len as usize]);
            }
        }
        bytes.extend(noise);
        let _ = serve(&on, &bytes);
        let _ = serve(&Transmission { flags: Flags::NONE, ..on }, &bytes);
    }
}
