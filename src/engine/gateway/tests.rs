//! One behaviour per test; `random` checks the bookkeeping under any order of events.

mod random;

use super::*;
use crate::engine::io::Note;
use crate::record::{Grant, ReplicaRecord, ReplicaState};
use crate::record::{SessionRecord, VolumeChange};
use crate::types::BLOCK;
use crate::types::{BootId, StoreId, VolumeId};
use crate::wire::frame::Refusal;
use crate::wire::frame::{Change, WINDOW};

const ME: NodeId = NodeId(0);
const PEER: NodeId = NodeId(1);
const THIRD: NodeId = NodeId(2);
const EIO: u16 = 5;

/// A gateway with a driver that only remembers.
struct Bench {
    gateway: Gateway,
    now: Time,
    out: Effects,
    record: VolumeRecord,
    links: u32,
}

impl Bench {
    fn new(shared: bool) -> Self {
        let mut bench = Self {
            gateway: Gateway::new(GatewayConfig {
                me: ME,
                incarnation: Incarnation(7),
                link_retry: Duration::from_millis(10),
                propose_every: Duration::from_millis(30),
                send_overlapping: false,
            }),
            now: Time(1_000),
            out: Vec::new(),
            record: VolumeRecord {
                id: VolumeId(1),
                name: "v".into(),
                size: 1 << 30,
                shared,
                last_entry: Index(10),
                term: Term(1),
                primary: None,
                replicas: vec![ReplicaRecord {
                    node: PEER,
                    store: StoreId(1),
                    state: ReplicaState::InSync { boot: BootId(1) },
                }],
                sessions: Vec::new(),
                openings: 0,
                losses: 0,
            },
            links: 0,
        };
        bench.promote(PEER);
        bench
    }

    /// With a client, an open session and a welcome by `PEER`.
    fn open(shared: bool) -> Self {
        let mut bench = Self::new(shared);
        bench.came(1);
        bench.grant_session();
        bench.connect();
        bench.welcome();
        bench.out.clear();
        bench
    }

    fn take(&mut self) -> Effects {
        std::mem::take(&mut self.out)
    }

    fn tell(&mut self) {
        self.record.last_entry.0 += 1;
        let record = self.record.clone();
        self.gateway.set_record(self.now, &record, &mut self.out);
    }

    fn promote(&mut self, node: NodeId) {
        self.record.term.0 += 1;
        self.record.primary = Some(Grant {
            node,
            incarnation: Incarnation(1),
            boot: BootId(1),
        });
        self.tell();
    }

    fn lose_power(&mut self) {
        self.record.losses += 1;
        self.record.sessions.clear();
        self.promote(PEER);
    }

    fn open_session(&mut self, id: SessionId, gateway: NodeId) {
        let shared = self.record.shared;
        self.record
            .sessions
            .retain(|s| shared && s.gateway != gateway);
        self.record.sessions.push(SessionRecord { id, gateway });
        self.record.openings += 1;
        self.tell();
    }

    fn came(&mut self, client: u32) {
        self.gateway
            .client_came(self.now, ClientId(client), &mut self.out);
    }

    /// The newest proposal, which names the newest entry.
    fn proposed(&self) -> SessionRecord {
        let found = self.out.iter().rev().find_map(|effect| match *effect {
            Effect::Propose {
                prev,
                change: VolumeChange::OpenSession { session },
            } => Some((prev, session)),
            _ => None,
        });
        let (prev, session) = found.expect("no proposal");
        assert_eq!(prev, self.record.last_entry);
        assert_eq!(session.gateway, ME);
        session
    }

    fn grant_session(&mut self) -> SessionId {
        let id = self.proposed().id;
        self.open_session(id, ME);
        id
    }

    fn connect(&mut self) -> LinkId {
        let peer = self.record.primary.expect("no primary").node;
        assert!(self.gateway.wants(peer));
        self.links += 1;
        let link = LinkId(self.links);
        self.gateway.link_up(link, peer, &mut self.out);
        link
    }

    fn frame(&mut self, frame: Frame, buf: Buf) {
        let link = self.gateway.route.link().expect("no link");
        self.gateway
            .frame(self.now, link, frame, buf, &mut self.out);
    }

    fn welcome(&mut self) {
        let term = self.record.term;
        self.frame(Frame::Welcome { term }, Buf::NONE);
    }

    fn not_now(&mut self, why: Refusal) {
        let term = self.record.term;
        self.frame(Frame::NotNow { why, term }, Buf::NONE);
    }

    fn request(&mut self, tag: u32, ask: Ask, offset: u64, len: u32) {
        let write = matches!(
            ask,
            Ask::Change {
                change: Change::Write,
                ..
            }
        );
        let buf = if write { Buf(tag) } else { Buf::NONE };
        let extent = Extent { offset, len };
        self.gateway
            .request(self.now, Tag(tag), ask, extent, buf, &mut self.out);
    }

    fn write(&mut self, tag: u32, block: u64) {
        self.request(tag, WRITE, block * BLOCK, BLOCK as u32);
    }

    fn read(&mut self, tag: u32, block: u64) {
        self.request(tag, Ask::Read, block * BLOCK, BLOCK as u32);
    }

    fn flush(&mut self, tag: u32) {
        self.request(tag, Ask::Flush, 0, 0);
    }

    /// What was sent by the link since the last `take`: slot, first block, number, confirmed.
    fn sent(&self) -> Vec<(u32, u64, u64, u64)> {
        self.out
            .iter()
            .filter_map(|effect| match *effect {
                Effect::Send {
                    frame:
                        Frame::Request {
                            tag,
                            extent,
                            origin,
                            ..
                        },
                    ..
                } => Some((tag, extent.offset / BLOCK, origin.number, origin.confirmed)),
                _ => None,
            })
            .collect()
    }

    fn done(&mut self, slot: u32, errno: u16) {
        let frame = Frame::Done {
            tag: slot,
            errno,
            len: 0,
            skip: 0,
        };
        self.frame(frame, Buf::NONE);
    }

    fn replies(&self) -> Vec<(u32, u16)> {
        self.out
            .iter()
            .filter_map(|effect| match *effect {
                Effect::Reply { tag, errno, .. } => Some((tag.0, errno)),
                _ => None,
            })
            .collect()
    }

    fn released(&self) -> Vec<u32> {
        self.out
            .iter()
            .filter_map(|effect| match *effect {
                Effect::Release { buf } => Some(buf.0),
                _ => None,
            })
            .collect()
    }

    fn disconnected(&self) -> bool {
        self.out.contains(&Effect::DisconnectClients)
    }

    fn has(&self, effect: Effect) -> bool {
        self.out.contains(&effect)
    }

    fn pass(&mut self, millis: u64) {
        self.now = self.now.after(Duration::from_millis(millis));
        self.gateway.tick(self.now, &mut self.out);
    }

    /// Hands the submissions to "this node's primary": slot and number of each.
    fn submitted(&mut self) -> Vec<(u32, u64)> {
        self.gateway
            .submissions()
            .drain(..)
            .map(|s| (s.slot, s.origin.number))
            .collect()
    }
}

const WRITE: Ask = Ask::Change {
    change: Change::Write,
    fua: false,
};
const WRITE_FUA: Ask = Ask::Change {
    change: Change::Write,
    fua: true,
};

// Sessions.

#[test]
fn the_first_client_opens_a_session_and_the_last_leaves_it_open() {
    let mut bench = Bench::new(false);
    assert!(bench.take().is_empty());
    bench.came(1);
    let id = bench.grant_session();
    assert_eq!(bench.gateway.session(), Some(id));
    assert!(bench.has(Effect::Connect { peer: PEER }));
    bench.take();
    bench.came(2);
    assert_eq!(bench.gateway.clients(), 2);
    bench.gateway.client_went(ClientId(1));
    bench.gateway.client_went(ClientId(2));
    bench.came(3);
    assert_eq!(bench.gateway.session(), Some(id));
    assert!(bench.take().is_empty());
}

#[test]
fn the_proposal_is_repeated_and_names_the_newest_entry() {
    let mut bench = Bench::new(false);
    bench.came(1);
    let first = bench.proposed();
    bench.take();
    bench.pass(29);
    assert!(bench.take().is_empty());
    assert_eq!(
        bench.gateway.deadline(),
        bench.now.after(Duration::from_millis(1))
    );
    bench.pass(1);
    assert_eq!(bench.proposed(), first);
    bench.take();
    bench.tell();
    assert_eq!(bench.proposed(), first);
    bench.take();
    // The client went before: nobody needs it.
    bench.gateway.client_went(ClientId(1));
    bench.pass(30);
    assert!(bench.take().is_empty());
    assert_eq!(bench.gateway.deadline(), Time::MAX);
    bench.came(2);
    assert_ne!(bench.proposed(), first);
}

#[test]
fn session_numbers_differ_between_nodes_runs_and_sessions() {
    let id = |node, incarnation, count| {
        Session::new(NodeId(node), Incarnation(incarnation), count, None).id
    };
    let ids = [
        id(0, 1, 1),
        id(0, 1, 2),
        id(0, 2, 1),
        id(1, 1, 1),
        id(127, 1 << 39, 65_536),
    ];
    for (at, one) in ids.iter().enumerate() {
        assert!(!ids[..at].contains(one) && one.0 != 0);
    }
}

#[test]
fn a_request_waits_for_session_and_primary() {
    let mut bench = Bench::new(false);
    bench.record.primary = None;
    bench.tell();
    bench.came(1);
    bench.write(1, 5);
    bench.grant_session();
    assert!(!bench.has(Effect::Connect { peer: PEER }));
    bench.promote(PEER);
    bench.connect();
    assert!(bench.sent().is_empty());
    bench.welcome();
    assert_eq!(bench.sent(), [(0, 5, 1, 1)]);
    bench.done(0, 0);
    assert_eq!(bench.replies(), [(1, 0)]);
    assert_eq!(bench.released(), [1]);
    assert!(bench.gateway.at_rest());
}

#[test]
fn displaced_by_another_gateway() {
    let mut bench = Bench::open(false);
    bench.write(1, 1);
    bench.write(2, 1);
    bench.take();
    bench.open_session(SessionId(99), PEER);
    assert!(bench.disconnected());
    assert!(bench.has(Effect::Note(Note::SessionEnded)));
    assert!(bench.has(Effect::Close { link: LinkId(1) }));
    assert_eq!(bench.replies(), [(1, ESHUTDOWN), (2, ESHUTDOWN)]);
    assert_eq!(bench.released(), [1, 2]);
    assert!(bench.gateway.at_rest() && bench.gateway.session().is_none());
    bench.take();
    // No new session for clients that are on their way out; a new one takes the volume back.
    bench.write(3, 1);
    assert_eq!(bench.replies(), [(3, ESHUTDOWN)]);
    assert_eq!(bench.released(), [3]);
    bench.gateway.client_went(ClientId(1));
    bench.pass(100);
    assert_eq!(bench.take().len(), 2);
    bench.came(2);
    bench.grant_session();
    bench.connect();
    bench.write(4, 1);
    bench.welcome();
    assert_eq!(bench.sent(), [(bench.sent()[0].0, 1, 1, 1)]);
}

#[test]
fn in_a_shared_volume_others_come_and_go() {
    let mut bench = Bench::open(true);
    bench.open_session(SessionId(99), PEER);
    assert!(bench.take().is_empty());
}

// Order.

#[test]
fn overlapping_requests_are_held_back() {
    let mut bench = Bench::open(false);
    bench.write(1, 1);
    bench.read(2, 1);
    bench.read(3, 1);
    bench.write(4, 1);
    bench.write(5, 2);
    bench.flush(6);
    assert_eq!(bench.sent(), [(0, 1, 1, 1), (4, 2, 2, 1), (5, 0, 0, 1)]);
    bench.take();
    bench.done(0, 0);
    assert_eq!(bench.sent(), [(1, 1, 0, 2), (2, 1, 0, 2)]);
    bench.take();
    bench.done(1, EIO);
    assert!(bench.sent().is_empty());
    bench.done(2, EIO);
    assert_eq!(bench.sent(), [(3, 1, 3, 2)]);
    assert_eq!(bench.replies(), [(2, EIO), (3, EIO)]);
}

#[test]
fn a_session_has_no_more_changes_unconfirmed_than_the_window_is_wide() {
    let mut bench = Bench::open(false);
    for tag in 0..WINDOW as u32 + 3 {
        bench.write(tag, u64::from(tag));
    }
    bench.read(1000, 1000);
    assert_eq!(bench.sent().len(), WINDOW as usize + 1);
    bench.take();
    bench.done(1, 0);
    assert!(bench.sent().is_empty());
    bench.done(0, 0);
    let numbers: Vec<u64> = bench.sent().iter().map(|sent| sent.2).collect();
    assert_eq!(numbers, [WINDOW + 1, WINDOW + 2]);
    assert!(bench.sent().iter().all(|sent| sent.3 == 3));
}

#[test]
fn room_is_what_the_table_has() {
    let mut bench = Bench::open(false);
    for tag in 0..PIECES as u32 {
        assert_eq!(bench.gateway.room(), PIECES - tag as usize);
        bench.read(tag, 0);
    }
    assert_eq!(bench.gateway.room(), 0);
    bench.done(7, EIO);
    assert_eq!(bench.gateway.room(), 1);
}

// Ways.

#[test]
fn what_a_broken_link_leaves_unanswered_is_sent_again() {
    let mut bench = Bench::open(false);
    for (tag, block) in [(1, 10), (2, 11), (3, 11), (4, 12)] {
        bench.write(tag, block);
    }
    bench.read(5, 20);
    bench.done(0, 0);
    bench.take();
    let down = Some(LinkId(1));
    bench
        .gateway
        .link_down(bench.now, down, PEER, &mut bench.out);
    bench.write(6, 13);
    assert!(bench.take().is_empty());
    bench.pass(9);
    assert!(bench.take().is_empty());
    bench.pass(1);
    assert_eq!(bench.take(), [Effect::Connect { peer: PEER }]);
    bench
        .gateway
        .link_down(bench.now, None, PEER, &mut bench.out);
    assert!(bench.take().is_empty());
    bench.pass(10);
    bench.connect();
    bench.welcome();
    // 11 under its old number before 12, then what is new; the second write of 11 is still held.
    let sent: Vec<(u64, u64)> = bench.sent().iter().map(|s| (s.1, s.2)).collect();
    assert_eq!(sent, [(11, 2), (12, 3), (13, 4), (20, 0)]);
}

#[test]
fn a_new_primary_is_entered_at_once_and_an_old_one_left() {
    let mut bench = Bench::open(false);
    bench.write(1, 1);
    bench.take();
    bench.promote(THIRD);
    assert_eq!(
        bench.take(),
        [
            Effect::Close { link: LinkId(1) },
            Effect::Connect { peer: THIRD }
        ]
    );
    // An attempt that was on its way to somebody else.
    bench.promote(PEER);
    assert!(!bench.gateway.wants(THIRD) && bench.gateway.wants(PEER));
    let link = bench.connect();
    bench.take();
    let term = Term(bench.record.term.0 - 1);
    bench.frame(Frame::Welcome { term }, Buf::NONE);
    assert_eq!(bench.take(), [Effect::Close { link }]);
    // The same node under a new grant: no need to wait.
    bench.promote(PEER);
    assert_eq!(bench.take(), [Effect::Connect { peer: PEER }]);
    let link = bench.connect();
    bench.welcome();
    assert_eq!(bench.sent(), [(0, 1, 1, 1)]);
    bench.take();
    bench.promote(PEER);
    assert_eq!(
        bench.take(),
        [Effect::Close { link }, Effect::Connect { peer: PEER }]
    );
    assert!(bench.gateway.at_rest() || bench.gateway.route.link().is_none());
}

#[test]
fn a_primary_that_is_ahead_of_this_nodes_record_is_kept() {
    let mut bench = Bench::new(false);
    bench.came(1);
    bench.grant_session();
    bench.connect();
    let term = Term(bench.record.term.0 + 1);
    bench.frame(Frame::Welcome { term }, Buf::NONE);
    bench.take();
    bench.promote(PEER);
    assert!(bench.take().is_empty());
}

#[test]
fn not_now_means_later() {
    let mut bench = Bench::open(false);
    bench.write(1, 1);
    bench.take();
    bench.not_now(Refusal::NotPrimary);
    assert_eq!(bench.take(), [Effect::Close { link: LinkId(1) }]);
    bench.pass(10);
    bench.connect();
    bench.take();
    bench.not_now(Refusal::TooEarly);
    assert_eq!(bench.take(), [Effect::Close { link: LinkId(2) }]);
    // Hearing it again is a reason to try at once.
    bench.gateway.hearing(bench.now, PEER, true, &mut bench.out);
    assert_eq!(bench.take(), [Effect::Connect { peer: PEER }]);
}

#[test]
fn a_link_over_a_long_silence_is_replaced() {
    let mut bench = Bench::open(false);
    let hear = |bench: &mut Bench, heard| {
        bench
            .gateway
            .hearing(bench.now, PEER, heard, &mut bench.out);
        bench.take()
    };
    assert!(hear(&mut bench, false).is_empty());
    bench.pass(499);
    assert!(hear(&mut bench, false).is_empty());
    assert!(hear(&mut bench, true).is_empty());
    assert!(hear(&mut bench, false).is_empty());
    bench.pass(500);
    assert_eq!(
        hear(&mut bench, true),
        [
            Effect::Close { link: LinkId(1) },
            Effect::Connect { peer: PEER }
        ]
    );
}

#[test]
fn a_read_brings_its_data() {
    let mut bench = Bench::open(false);
    bench.request(1, Ask::Read, 4096 + 512, 1024);
    bench.take();
    let frame = Frame::Done {
        tag: 0,
        errno: 0,
        len: 1024,
        skip: 512,
    };
    bench.frame(frame, Buf(70));
    assert_eq!(
        bench.take(),
        [
            Effect::Reply {
                tag: Tag(1),
                errno: 0,
                buf: Buf(70)
            },
            Effect::Release { buf: Buf(70) }
        ]
    );
}

#[test]
fn an_answer_that_breaks_the_protocol_ends_the_link_only() {
    let done = |tag, errno, len, skip| Frame::Done {
        tag,
        errno,
        len,
        skip,
    };
    let bad = [
        (done(1, 0, 0, 0), Buf::NONE),
        (done(u32::MAX, 0, 0, 0), Buf::NONE),
        (done(0, 0, 1023, 512), Buf(70)),
        (done(0, 0, 1024, 0), Buf(70)),
        (done(0, 0, 0, 512), Buf::NONE),
        (done(0, EIO, 1024, 512), Buf(70)),
        (Frame::ReportEnd { resync: 1 }, Buf::NONE),
        (Frame::Welcome { term: Term(9) }, Buf::NONE),
    ];
    for (frame, buf) in bad {
        let mut bench = Bench::open(false);
        bench.request(1, Ask::Read, 4096 + 512, 1024);
        bench.take();
        bench.frame(frame, buf);
        assert!(bench.has(Effect::Close { link: LinkId(1) }), "{frame:?}");
        assert!(bench.replies().is_empty());
        assert_eq!(
            bench.released(),
            if buf.is_some() { vec![70] } else { vec![] }
        );
        bench.pass(10);
        bench.connect();
        bench.welcome();
        assert_eq!(bench.sent().len(), 1);
    }
}

// This node's primary.

#[test]
fn this_node_becomes_primary_and_stops_again() {
    let mut bench = Bench::open(false);
    bench.write(1, 1);
    bench.write(2, 2);
    bench.done(0, 0);
    bench.take();
    bench.promote(ME);
    assert_eq!(bench.take(), [Effect::Close { link: LinkId(1) }]);
    assert!(bench.submitted().is_empty());
    let term = Some(bench.record.term);
    bench.gateway.set_local(bench.now, term, &mut bench.out);
    bench.read(3, 3);
    assert_eq!(bench.submitted(), [(1, 2), (0, 0)]);
    bench.gateway.answered(0, 0, Buf(70), &mut bench.out);
    assert_eq!(bench.replies(), [(3, 0)]);
    assert_eq!(bench.released(), [70]);
    bench.take();
    // It loses the grant: what it had is sent to the next one, under the same number.
    bench.gateway.set_local(bench.now, None, &mut bench.out);
    bench.promote(PEER);
    bench.connect();
    bench.welcome();
    assert_eq!(bench.sent(), [(1, 2, 2, 2)]);
    bench.done(1, 0);
    assert_eq!(bench.replies(), [(2, 0)]);
    assert!(bench.gateway.at_rest());
}

#[test]
fn buffers_of_a_displaced_session_stay_while_this_nodes_primary_uses_them() {
    let mut bench = Bench::new(false);
    bench.promote(ME);
    bench.came(1);
    bench.grant_session();
    let term = Some(bench.record.term);
    bench.gateway.set_local(bench.now, term, &mut bench.out);
    bench.write(1, 1);
    bench.write(2, 1);
    bench.write(3, 3);
    assert_eq!(bench.submitted(), [(0, 1), (2, 2)]);
    bench.take();
    bench.open_session(SessionId(99), PEER);
    assert!(bench.disconnected());
    assert_eq!(bench.replies().len(), 3);
    assert_eq!(bench.released(), [2]);
    assert!(!bench.gateway.at_rest());
    bench.take();
    bench.gateway.answered(0, 0, Buf::NONE, &mut bench.out);
    assert_eq!(bench.take(), [Effect::Release { buf: Buf(1) }]);
    // A new session works meanwhile, also over the same bytes.
    bench.came(2);
    bench.grant_session();
    bench.write(4, 3);
    assert_eq!(bench.submitted().len(), 1);
    bench.take();
    bench.gateway.set_local(bench.now, None, &mut bench.out);
    assert_eq!(bench.take(), [Effect::Release { buf: Buf(3) }]);
    assert_eq!(bench.gateway.room(), PIECES - 1);
}

// Loss of power of all replicas, and of windows.

#[test]
fn a_power_loss_is_not_noticed_where_nothing_was_promised() {
    let mut bench = Bench::open(false);
    bench.request(1, WRITE_FUA, 0, 4096);
    bench.done(0, 0);
    bench.write(2, 1);
    bench.write(3, 2);
    bench.done(0, 0);
    bench.flush(4);
    bench.done(0, 0);
    // What is left: 3 as number 3; it goes on as number 1 of a new session.
    bench.take();
    bench.lose_power();
    assert!(!bench.disconnected());
    bench.grant_session();
    bench.connect();
    bench.welcome();
    assert_eq!(bench.sent(), [(1, 2, 1, 1)]);
}

#[test]
fn a_power_loss_disconnects_where_acknowledged_changes_are_not_durable() {
    let mut bench = Bench::open(false);
    bench.write(1, 1);
    bench.flush(2);
    bench.done(0, 0);
    // The flush was asked before the acknowledgement: it promises nothing about it.
    bench.done(1, 0);
    bench.take();
    bench.lose_power();
    assert!(bench.disconnected());
    assert!(bench.gateway.session().is_none());
}

#[test]
fn a_failed_flush_promises_nothing() {
    let mut bench = Bench::open(false);
    bench.write(1, 1);
    bench.done(0, 0);
    bench.flush(2);
    bench.done(0, EIO);
    bench.lose_power();
    assert!(bench.disconnected());
}

#[test]
fn after_a_power_loss_nothing_is_sent_again_if_others_may_have_written() {
    // Shared: another gateway may have changed the place since.
    let mut bench = Bench::open(true);
    bench.write(1, 1);
    bench.lose_power();
    assert!(bench.disconnected());
    // Shared, but nothing was sent.
    let mut bench = Bench::open(true);
    bench.promote(THIRD);
    bench.write(1, 1);
    bench.lose_power();
    assert!(!bench.disconnected());
    // Another gateway took the volume over before the loss; only the newest record was seen.
    let mut bench = Bench::open(false);
    bench.write(1, 1);
    bench.record.openings += 1;
    bench.lose_power();
    assert!(bench.disconnected());
    // Another takes it over before the new session is open.
    let mut bench = Bench::open(false);
    bench.write(1, 1);
    bench.lose_power();
    assert!(!bench.disconnected());
    bench.open_session(SessionId(99), PEER);
    assert!(bench.disconnected());
    // Another had it for a while before the new session was.
    let mut bench = Bench::open(false);
    bench.write(1, 1);
    bench.lose_power();
    bench.record.openings += 1;
    bench.grant_session();
    assert!(bench.disconnected());
}

#[test]
fn lost_windows_end_the_session_only_where_it_matters() {
    let mut bench = Bench::open(true);
    bench.write(1, 1);
    bench.not_now(Refusal::NoSession);
    assert!(bench.disconnected());

    let mut bench = Bench::open(true);
    let old = bench.gateway.session();
    bench.read(1, 1);
    bench.not_now(Refusal::NoSession);
    assert!(!bench.disconnected());
    assert_ne!(Some(bench.grant_session()), old);
    bench.connect();
    bench.take();
    bench.welcome();
    assert_eq!(bench.sent(), [(0, 1, 0, 1)]);

    let mut bench = Bench::open(false);
    let old = bench.gateway.session();
    bench.write(1, 1);
    bench.not_now(Refusal::NoSession);
    assert!(!bench.disconnected());
    assert_eq!(bench.gateway.session(), old);
}

#[test]
fn this_nodes_primary_tells_of_lost_windows_before_it_serves() {
    let mut bench = Bench::open(true);
    bench.write(1, 1);
    bench.promote(ME);
    bench.gateway.session_lost(bench.now, &mut bench.out);
    assert!(bench.disconnected());
}
