//! Peers that hold the cluster's key and break the protocol all the same: only their link suffers.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use steadfast::types::{
    BLOCK, BootId, Extent, Incarnation, Index, NodeId, REGION, Seq, SessionId, StoreId, Term,
};
use steadfast::wire::codec::{self, HEADER};
use steadfast::wire::frame::{Ask, Change, Digest, Frame, Origin, Purpose, Refusal, SessionWindow};
use steadfast::wire::handshake::{ACK, Identity, Opener};
use steadfast::wire::key::ClusterKey;

use crate::hostile::{closes, is_well};
use crate::paper::{CLUSTER, KEY, Nodes, VOLUME};
use crate::{MIB, dir, said};

const SIZE: u64 = 32 * MIB;

/// The same numbers for the same seed.
struct Dice(u64);

impl Dice {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 8) % end
    }

    /// Mostly a small one, now and then an enormous one.
    fn number(&mut self) -> u64 {
        match self.below(8) {
            0 => u64::MAX - self.below(3),
            1 => self.below(u64::MAX),
            2 => (1 << 40) + self.below(300),
            _ => self.below(300),
        }
    }

    fn coin(&mut self) -> bool {
        self.below(2) == 0
    }

    fn node(&mut self) -> NodeId {
        let end = if self.coin() { 4 } else { 128 };
        NodeId(self.below(end) as u8)
    }

    /// Whole blocks in one region; seldom past the end of the volume.
    fn blocks(&mut self) -> Extent {
        let regions = if self.below(20) == 0 {
            1000
        } else {
            SIZE / REGION
        };
        let first = self.below(REGION / BLOCK);
        let count = 1 + self.below((REGION / BLOCK - first).min(8));
        Extent {
            offset: self.below(regions) * REGION + first * BLOCK,
            len: (count * BLOCK) as u32,
        }
    }

    fn change(&mut self) -> Change {
        let all = [
            Change::Write,
            Change::Zero,
            Change::ZeroAllocated,
            Change::Trim,
        ];
        all[self.below(4) as usize]
    }

    fn origin(&mut self) -> Origin {
        Origin {
            session: SessionId(self.number()),
            number: self.number(),
            confirmed: self.number(),
        }
    }

    fn window(&mut self) -> SessionWindow {
        SessionWindow {
            session: SessionId(self.number()),
            confirmed: self.number(),
            applied: std::array::from_fn(|_| self.number()),
        }
    }

    /// A whole conversation: one that begins as it should, or just anything.
    fn conversation(&mut self, any_term: bool) -> Vec<Frame> {
        let kinds = [0..1, 27..28, 0..30][self.below(3) as usize].clone();
        let then = [0..14, 27..30, 0..30][self.below(3) as usize].clone();
        let count = self.below(64);
        let mut frames = Vec::new();
        for at in 0..count {
            let kinds = if at == 0 { &kinds } else { &then };
            let term = match self.below(8) {
                0 if any_term => self.number(),
                0 => 0,
                _ => 1,
            };
            let kind = kinds.start + self.below(kinds.end - kinds.start);
            frames.push(self.frame(kind, Term(term)));
        }
        frames
    }

    /// Right in itself.
    fn frame(&mut self, kind: u64, term: Term) -> Frame {
        let (seq, id) = (Seq(self.number().max(1)), self.number() as u32);
        let (stable, flushed) = (Seq(self.number()), Seq(self.number()));
        let (entry, record) = (Index(self.number()), Index(self.number()));
        let (first, regions) = (self.below(40) as u32, self.below(40) as u32);
        let errno = if self.coin() { 0 } else { 5 };
        let resync = self.below(4) as u32;
        match kind {
            0 | 1 => Frame::Attach {
                term,
                entry,
                purpose: [Purpose::InSync, Purpose::Resync][self.below(2) as usize],
                resync,
            },
            2 => Frame::Change {
                seq,
                stable,
                flushed,
                change: self.change(),
                extent: self.blocks(),
                origin: self.origin(),
                absent: self.below(256) as u8,
            },
            3 => Frame::Copy {
                resync,
                id,
                extent: self.blocks(),
                zero: self.coin(),
            },
            4 => Frame::Compare {
                resync,
                id,
                extent: self.blocks(),
                digest: Digest([7; 32]),
            },
            5 => Frame::Flush { id },
            6 => Frame::Watermark { stable, flushed },
            7 => Frame::Window(self.window()),
            8 => Frame::WindowsEnd,
            9 => Frame::Reconciled { through: stable },
            10 => Frame::MarkAbsent {
                replica: self.node(),
                entry,
                record,
            },
            11 => Frame::MarkPresent {
                replica: self.node(),
                entry,
            },
            12 => Frame::DirtyRun {
                absent: self.node(),
                since: entry,
                first: u64::from(first),
                blocks: u64::from(regions),
            },
            13 => Frame::DirtyRunsEnd { entry },
            14 => Frame::ReportBegin {
                resync,
                store: StoreId(self.number().into()),
                boot: BootId(self.number().into()),
                seq,
                exact: self.coin(),
                windows: self.coin(),
            },
            15 => Frame::ReportChange {
                seq,
                extent: self.blocks(),
            },
            16 => Frame::ReportActive { first, regions },
            17 => Frame::ReportWritten { first, regions },
            18 => Frame::ReportWindow(self.window()),
            19 => Frame::ReportEnd { resync },
            20 => Frame::Changed { seq, errno },
            21 => Frame::Copied { resync, id, errno },
            22 => Frame::Flushed { id, errno },
            23 => Frame::Configured { entry, errno },
            24 => Frame::Refused {
                why: Refusal::OldTerm,
                term: Term(self.number()),
            },
            25 => Frame::Welcome { term },
            26 => Frame::Done {
                tag: id,
                errno: 0,
                len: 512,
                skip: 0,
            },
            27 => Frame::Enter {
                session: SessionId(self.number()),
            },
            28 => Frame::Compared {
                resync,
                id,
                same: errno == 0,
                errno,
            },
            _ => Frame::Request {
                tag: id,
                ask: match self.below(3) {
                    0 => Ask::Read,
                    1 => Ask::Flush,
                    _ => Ask::Change {
                        change: self.change(),
                        fua: self.coin(),
                    },
                },
                extent: self.blocks(),
                origin: self.origin(),
            },
        }
    }

    /// Its bytes, seldom damaged.
    fn bytes(&mut self, frame: &Frame) -> Vec<u8> {
        let frame = match *frame {
            Frame::Request {
                tag,
                ask: Ask::Flush,
                origin,
                ..
            } => Frame::Request {
                tag,
                ask: Ask::Flush,
                extent: Extent::default(),
                origin,
            },
            other => other,
        };
        let payload = vec![9; frame.payload_len() as usize];
        let crc = if payload.is_empty() {
            0
        } else {
            codec::payload_crc(&payload)
        };
        let mut header = [0; HEADER];
        codec::encode(&frame, crc, &mut header);
        let mut bytes = [&header[..], &payload].concat();
        match self.below(60) {
            0 => {
                let at = self.below(bytes.len() as u64) as usize;
                bytes[at] ^= 1 << self.below(8);
            }
            1 => bytes.truncate(self.below(bytes.len() as u64) as usize),
            _ => {}
        }
        bytes
    }
}

/// A link of `from` to `to` that has been proved.
fn link(nodes: &Nodes, from: u8, to: u8) -> TcpStream {
    let me = Identity {
        cluster: CLUSTER,
        node: NodeId(from),
        incarnation: Incarnation(1),
    };
    let key = ClusterKey::new(KEY);
    let (opener, hello) = Opener::new(&key, &me, VOLUME, NodeId(to), [from + 1; 32]);
    let mut stream = TcpStream::connect(nodes.data(to.into())).expect("a connection");
    let patience = Some(Duration::from_secs(8));
    stream.set_read_timeout(patience).expect("a socket");
    stream.set_write_timeout(patience).expect("a socket");
    stream.write_all(&hello).expect("hello");
    let mut ack = [0; ACK];
    stream.read_exact(&mut ack).expect("an answer");
    let (_, proof) = opener.answered(&ack).expect("the same key");
    stream.write_all(&proof).expect("proof");
    stream
}

/// Says all this, as far as it is listened to, and returns how many frames' worth were answered.
fn babble(mut stream: TcpStream, bytes: &[u8]) -> usize {
    if stream.write_all(bytes).is_ok() {
        let _ = stream.shutdown(std::net::Shutdown::Write);
    }
    // Until the other end closes it, with an error or without.
    let mut answers = Vec::new();
    let _ = stream.read_to_end(&mut answers);
    answers.len() / HEADER
}

#[test]
fn damaged_frames_close_their_link() {
    let dir = dir();
    said::listen();
    let nodes = Nodes::start(dir.path(), 2, SIZE);
    let mut dice = Dice::new(1);
    let mut good = [0; HEADER];
    codec::encode(
        &Frame::Enter {
            session: SessionId(1),
        },
        0,
        &mut good,
    );
    let mut flipped = good;
    flipped[20] ^= 1;
    let mut newer = good;
    newer[4] += 1;
    let mut long = good;
    long[8..12].copy_from_slice(&u32::MAX.to_le_bytes());
    let crc = crc32fast::hash(&long[..HEADER - 4]);
    long[HEADER - 4..].copy_from_slice(&crc.to_le_bytes());
    let copy = Frame::Copy {
        resync: 0,
        id: 1,
        extent: Extent {
            offset: 0,
            len: BLOCK as u32,
        },
        zero: false,
    };
    let payload = [9; BLOCK as usize];
    let mut head = [0; HEADER];
    codec::encode(&copy, codec::payload_crc(&payload) ^ 1, &mut head);
    let rotten = [&head[..], &payload].concat();
    let noise: Vec<u8> = (0..5000).map(|_| dice.below(256) as u8).collect();
    let cases: [(&[u8], &str); 5] = [
        (&flipped, "a frame's header has a wrong checksum: "),
        (&newer, "a frame of version 2, this node speaks 1: update"),
        (&long, "a frame announces 4294967295 bytes that "),
        (&rotten, "a frame's payload has a wrong checksum: "),
        (&noise, "something that is not a frame: compare"),
    ];
    for (from, to) in [(2, 0), (2, 1), (0, 1)] {
        for (bytes, why) in cases {
            let mut stream = link(&nodes, from, to);
            let address = stream.local_addr().expect("a socket");
            let _ = stream.write_all(bytes);
            assert!(closes(&mut stream), "{why}");
            let said = said::of(&[address]);
            let closed = format!(" data link from {address} closed: ");
            let told = |line: &String| {
                let by = format!("peer={from} ");
                line.contains("WARN") && line.contains(&closed) && line.contains(&by)
            };
            assert!(
                said.len() == 1 && told(&said[0]) && said[0].contains(why),
                "{why}: {said:#?}"
            );
        }
        // Cut off by the peer itself: no fault that a person should hear of.
        let mut stream = link(&nodes, from, to);
        let address = stream.local_addr().expect("a socket");
        stream.write_all(&good[..50]).expect("a link");
        stream.shutdown(Shutdown::Write).expect("a link");
        assert!(closes(&mut stream));
        let said = said::of(&[address]);
        assert!(
            said.len() == 1 && said[0].contains("DEBUG"),
            "{address}: {said:#?}"
        );
    }
    is_well(&nodes);
    nodes.stop();
}

#[test]
fn frames_out_of_turn_end_no_reactor() {
    // With the terms of the volume, and with others too: then no more is asked than that it lives.
    for any_term in [false, true] {
        let dir = dir();
        let nodes = Nodes::start(dir.path(), 2, SIZE);
        let mut answers = 0;
        for seed in 1..=1500 {
            let mut dice = Dice::new(seed);
            let to = dice.below(2) as u8;
            let from = if dice.coin() { 2 } else { 1 - to };
            let mut bytes = Vec::new();
            for frame in dice.conversation(any_term) {
                bytes.extend(dice.bytes(&frame));
            }
            answers += babble(link(&nodes, from, to), &bytes);
        }
        assert!(answers > 200, "{answers}: it was not listened to");
        if !any_term {
            is_well(&nodes);
        }
        nodes.stop();
    }
}
