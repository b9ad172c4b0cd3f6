//! Any order of events: every request has one answer, every buffer one release, overlapping pieces
//! are never out together, and a change keeps its number while its session lives.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    Came,
    Request { kind: u8, block: u64, blocks: u32 },
    Answer(usize),
    Record(u8),
    Grant,
    Up,
    Welcome,
    Down,
    NotNow(bool),
    Local,
    Hear(bool),
    Pass(u64),
}

fn steps() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => Just(Step::Came),
        20 => (0_u8..5, 0_u64..12, 1_u32..4)
            .prop_map(|(kind, block, blocks)| Step::Request { kind, block, blocks }),
        16 => (0_usize..100).prop_map(Step::Answer),
        3 => (0_u8..6).prop_map(Step::Record),
        6 => Just(Step::Grant),
        6 => Just(Step::Up),
        6 => Just(Step::Welcome),
        2 => Just(Step::Down),
        1 => any::<bool>().prop_map(Step::NotNow),
        4 => Just(Step::Local),
        1 => any::<bool>().prop_map(Step::Hear),
        4 => (0_u64..600).prop_map(Step::Pass),
    ]
}

/// What is with a primary.
#[derive(Clone, Copy)]
struct Sent {
    ask: Ask,
    extent: Extent,
    session: SessionId,
}

struct World {
    bench: Bench,
    /// Tags without an answer.
    open: BTreeSet<u32>,
    /// Buffers that were given and not released.
    buffers: BTreeSet<u32>,
    /// By slot, with the primary now.
    sent: BTreeMap<u32, Sent>,
    /// Where each number of each session was sent.
    numbers: BTreeMap<(SessionId, u64), Extent>,
    next: u32,
    clients: u32,
    proposed: Option<(Index, SessionRecord)>,
}

impl World {
    fn new(shared: bool) -> Self {
        Self {
            bench: Bench::new(shared),
            open: BTreeSet::new(),
            buffers: BTreeSet::new(),
            sent: BTreeMap::new(),
            numbers: BTreeMap::new(),
            next: 0,
            clients: 0,
            proposed: None,
        }
    }

    /// Takes in what the gateway did.
    fn digest(&mut self) {
        for effect in self.bench.take() {
            match effect {
                Effect::Reply { tag, .. } => assert!(self.open.remove(&tag.0), "second answer"),
                Effect::Release { buf } => assert!(self.buffers.remove(&buf.0), "second release"),
                Effect::Send {
                    frame:
                        Frame::Request {
                            tag,
                            ask,
                            extent,
                            origin,
                        },
                    ..
                } => self.goes_out(tag, ask, extent, origin),
                Effect::Close { .. } => self.sent.clear(),
                Effect::Propose {
                    prev,
                    change: VolumeChange::OpenSession { session },
                } => self.proposed = Some((prev, session)),
                _ => {}
            }
        }
        for submission in std::mem::take(self.bench.gateway.submissions()) {
            let Submission {
                slot,
                ask,
                extent,
                origin,
                ..
            } = submission;
            self.goes_out(slot, ask, extent, origin);
        }
    }

    fn goes_out(&mut self, slot: u32, ask: Ask, extent: Extent, origin: Origin) {
        assert_eq!(Some(origin.session), self.bench.gateway.session());
        let change = matches!(ask, Ask::Change { .. });
        assert_eq!(change, origin.number != 0);
        if change {
            assert!(origin.number >= origin.confirmed);
            assert!(origin.number < origin.confirmed + WINDOW);
            let key = (origin.session, origin.number);
            let known = self.numbers.insert(key, extent);
            assert!(
                known.is_none_or(|known| known == extent),
                "number used twice"
            );
        }
        for other in self.sent.values() {
            let both_read = ask == Ask::Read && other.ask == Ask::Read;
            let flush = ask == Ask::Flush || other.ask == Ask::Flush;
            let same = other.session == origin.session;
            assert!(!same || flush || both_read || !other.extent.overlaps(extent));
        }
        let session = origin.session;
        let sent = Sent {
            ask,
            extent,
            session,
        };
        assert!(self.sent.insert(slot, sent).is_none(), "slot used twice");
    }

    fn answer(&mut self, pick: usize) {
        if self.sent.is_empty() {
            return;
        }
        let at = pick % self.sent.len();
        let Some((&slot, &sent)) = self.sent.iter().nth(at) else {
            return;
        };
        self.sent.remove(&slot);
        let read = sent.ask == Ask::Read;
        let (buf, len) = if read {
            self.next += 1;
            self.buffers.insert(self.next + 1_000_000);
            (Buf(self.next + 1_000_000), sent.extent.len)
        } else {
            (Buf::NONE, 0)
        };
        if self.bench.gateway.route.link().is_some() {
            let frame = Frame::Done {
                tag: slot,
                errno: 0,
                len,
                skip: 0,
            };
            self.bench.frame(frame, buf);
        } else {
            let out = &mut self.bench.out;
            self.bench.gateway.answered(slot, 0, buf, out);
        }
    }

    fn set_local(&mut self, serves: bool) {
        let (now, term) = (self.bench.now, self.bench.record.term);
        if !serves && self.bench.gateway.local.is_some() {
            self.sent.clear();
        }
        let term = serves.then_some(term);
        self.bench.gateway.set_local(now, term, &mut self.bench.out);
        self.digest();
    }

    fn request(&mut self, kind: u8, block: u64, blocks: u32) {
        if self.bench.gateway.room() == 0 {
            return;
        }
        self.next += 1;
        let tag = self.next;
        self.open.insert(tag);
        let (at, len) = (block * BLOCK, blocks * BLOCK as u32);
        match kind {
            0 => self.bench.flush(tag),
            1 => self.bench.request(tag, Ask::Read, at, len),
            2 => {
                let ask = Ask::Change {
                    change: Change::Trim,
                    fua: false,
                };
                self.bench.request(tag, ask, at, len);
            }
            _ => {
                self.buffers.insert(tag);
                self.bench.request(tag, WRITE, at, len);
            }
        }
    }

    fn record(&mut self, kind: u8) {
        if matches!(kind, 1 | 2 | 4 | 5) {
            self.set_local(false);
        }
        match kind {
            0 => {
                self.next += 1;
                let id = SessionId(u64::from(self.next));
                self.bench.open_session(id, PEER);
            }
            1 => self.bench.lose_power(),
            2 => {
                self.bench.record.primary = None;
                self.bench.tell();
            }
            4 => self.bench.promote(ME),
            5 => self.bench.promote(THIRD),
            _ => self.bench.tell(),
        }
    }

    fn step(&mut self, step: &Step) {
        let now = self.bench.now;
        let linked = self.bench.gateway.route.link();
        match *step {
            Step::Came => {
                self.clients += 1;
                self.bench.came(self.clients);
            }
            Step::Request {
                kind,
                block,
                blocks,
            } => self.request(kind, block, blocks),
            Step::Answer(pick) => self.answer(pick),
            Step::Record(kind) => self.record(kind),
            Step::Grant => {
                if let Some((prev, session)) = self.proposed
                    && prev == self.bench.record.last_entry
                {
                    self.bench.open_session(session.id, ME);
                }
            }
            Step::Up => {
                if matches!(self.bench.gateway.route, Route::Connecting { .. }) {
                    self.bench.connect();
                }
            }
            Step::Welcome => {
                if matches!(self.bench.gateway.route, Route::Entering { .. }) {
                    self.bench.welcome();
                }
            }
            Step::NotNow(lost) => {
                if linked.is_some() {
                    self.bench.not_now(if lost {
                        Refusal::NoSession
                    } else {
                        Refusal::TooEarly
                    });
                }
            }
            Step::Down => {
                if let (Some(_), Some(peer)) = (linked, self.bench.gateway.route.peer()) {
                    self.sent.clear();
                    let out = &mut self.bench.out;
                    self.bench.gateway.link_down(now, linked, peer, out);
                }
            }
            Step::Local => {
                let grant = self.bench.record.primary;
                if grant.is_some_and(|grant| grant.node == ME) {
                    self.set_local(true);
                }
            }
            Step::Hear(heard) => {
                let out = &mut self.bench.out;
                self.bench.gateway.hearing(now, PEER, heard, out);
            }
            Step::Pass(millis) => self.bench.pass(millis),
        }
        self.digest();
    }

    /// A world without faults: everything is answered.
    fn heal(&mut self) {
        for _ in 0..5_000 {
            if self.open.is_empty() && self.bench.gateway.at_rest() {
                break;
            }
            if self.bench.record.primary.is_none() {
                self.step(&Step::Record(5));
            }
            for step in [
                Step::Pass(31),
                Step::Grant,
                Step::Up,
                Step::Welcome,
                Step::Local,
            ] {
                self.step(&step);
            }
            while !self.sent.is_empty() {
                self.step(&Step::Answer(0));
            }
        }
    }
}

proptest! {
    #[test]
    fn the_books_balance(shared: bool, list in prop::collection::vec(steps(), 1..400)) {
        let mut world = World::new(shared);
        world.step(&Step::Came);
        for step in list {
            world.step(&step);
        }
        world.heal();
        prop_assert!(world.open.is_empty(), "unanswered: {:?}", world.open);
        prop_assert!(world.buffers.is_empty(), "kept: {:?}", world.buffers);
        prop_assert!(world.bench.gateway.at_rest());
    }
}
