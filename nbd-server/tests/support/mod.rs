//! A client's half of the handshake, written from the protocol's text and not from the server.

#![allow(dead_code, reason = "each test file uses a part of it")]
#![allow(clippy::unwrap_used, reason = "a test")]

use steadfast_nbd_server::{Export, Flags, Handshake, OUTPUT_PAUSE, Outcome};

pub const SIZE: u64 = 1 << 30;

pub fn exports() -> Vec<Export> {
    let mut first = Export::new("alpha".into(), "the first".into(), SIZE, Flags::DISK);
    first.default = true;
    let flags = Flags::DISK.with(Flags::READ_ONLY).with(Flags::FAST_ZERO);
    vec![
        first,
        Export::new("beta".into(), String::new(), 1000, flags),
    ]
}

pub fn option(number: u32, data: &[u8]) -> Vec<u8> {
    let mut bytes = b"IHAVEOPT".to_vec();
    bytes.extend(number.to_be_bytes());
    bytes.extend((data.len() as u32).to_be_bytes());
    bytes.extend(data);
    bytes
}

pub fn info_data(name: &[u8], infos: &[u16]) -> Vec<u8> {
    let mut data = (name.len() as u32).to_be_bytes().to_vec();
    data.extend(name);
    data.extend((infos.len() as u16).to_be_bytes());
    data.extend(infos.iter().flat_map(|info| info.to_be_bytes()));
    data
}

/// A handshake under test, and what it has sent after the greeting.
pub struct Peer {
    pub handshake: Handshake,
    pub sent: Vec<u8>,
    pub outcome: Outcome,
    /// Bytes that were used, all calls together.
    pub used: usize,
    exports: Vec<Export>,
}

impl Peer {
    pub fn new() -> Self {
        let mut greeting = Vec::new();
        let handshake = Handshake::new(&mut greeting);
        assert_eq!(greeting, b"NBDMAGICIHAVEOPT\x00\x03");
        let (sent, outcome) = (Vec::new(), Outcome::Continue);
        Self {
            handshake,
            sent,
            outcome,
            used: 0,
            exports: exports(),
        }
    }

    /// Sends `bytes` as a driver does that stops at the end of the handshake.
    pub fn send(&mut self, mut bytes: &[u8]) {
        while self.outcome == Outcome::Continue {
            let mut out = Vec::new();
            let (used, outcome) = self.handshake.input(bytes, &self.exports, &mut out);
            assert!(used <= bytes.len());
            bytes = &bytes[used..];
            self.used += used;
            self.sent.extend(&out);
            self.outcome = outcome;
            if out.len() < OUTPUT_PAUSE {
                assert!(bytes.is_empty() || outcome != Outcome::Continue);
                break;
            }
        }
    }

    /// A peer that has been sent the flags (fixed newstyle, no zeroes) and then `bytes`.
    pub fn after(bytes: &[u8]) -> Self {
        let mut peer = Self::new();
        peer.send(&3_u32.to_be_bytes());
        peer.send(bytes);
        peer
    }
}

/// One reply to an option.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    pub option: u32,
    pub kind: u32,
    pub data: Vec<u8>,
}

/// Takes replies apart; what is left of them is the answer to EXPORT_NAME.
pub fn replies(mut bytes: &[u8]) -> (Vec<Reply>, Vec<u8>) {
    let mut found = Vec::new();
    while bytes.len() >= 20 && bytes[..8] == 0x0003_e889_0455_65a9_u64.to_be_bytes() {
        let number = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap());
        let (option, kind, len) = (number(8), number(12), number(16) as usize);
        let data = bytes[20..20 + len].to_vec();
        found.push(Reply { option, kind, data });
        bytes = &bytes[20 + len..];
    }
    (found, bytes.to_vec())
}
