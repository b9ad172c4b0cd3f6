//! A gateway with a driver that only remembers.

use super::*;
use crate::record::{ReplicaRecord, ReplicaState};
use crate::types::{BootId, StoreId, VolumeId};

/// A gateway with a driver that only remembers.
pub(super) struct Bench {
    pub(super) gateway: Gateway,
    pub(super) now: Time,
    pub(super) out: Effects,
    pub(super) record: VolumeRecord,
    pub(super) links: u32,
}

impl Bench {
    pub(super) fn new(shared: bool) -> Self {
        let mut bench = Self {
            gateway: Gateway::new(GatewayConfig {
                me: ME,
                incarnation: Incarnation(7),
                link_retry: Duration::from_millis(10),
                propose_every: Duration::from_millis(30),
                canaries: Canaries::default(),
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
    pub(super) fn open(shared: bool) -> Self {
        let mut bench = Self::new(shared);
        bench.came(1);
        bench.grant_session();
        bench.connect();
        bench.welcome();
        bench.out.clear();
        bench
    }

    pub(super) fn take(&mut self) -> Effects {
        std::mem::take(&mut self.out)
    }

    pub(super) fn tell(&mut self) {
        self.record.last_entry.0 += 1;
        let record = self.record.clone();
        self.gateway.set_record(self.now, &record, &mut self.out);
    }

    pub(super) fn promote(&mut self, node: NodeId) {
        self.record.term.0 += 1;
        self.record.primary = Some(Grant {
            node,
            incarnation: Incarnation(1),
            boot: BootId(1),
        });
        self.tell();
    }

    pub(super) fn lose_power(&mut self) {
        self.record.losses += 1;
        self.record.sessions.clear();
        self.promote(PEER);
    }

    pub(super) fn open_session(&mut self, id: SessionId, gateway: NodeId) {
        let shared = self.record.shared;
        self.record
            .sessions
            .retain(|s| shared && s.gateway != gateway);
        self.record.sessions.push(SessionRecord { id, gateway });
        self.record.openings += 1;
        self.tell();
    }

    pub(super) fn came(&mut self, client: u32) {
        self.gateway
            .client_came(self.now, ClientId(client), &mut self.out);
    }

    /// The newest proposal, which names the newest entry.
    pub(super) fn proposed(&self) -> SessionRecord {
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

    pub(super) fn grant_session(&mut self) -> SessionId {
        let id = self.proposed().id;
        self.open_session(id, ME);
        id
    }

    pub(super) fn connect(&mut self) -> LinkId {
        let peer = self.record.primary.expect("no primary").node;
        assert!(self.gateway.wants(peer));
        self.links += 1;
        let link = LinkId(self.links);
        self.gateway.link_up(link, peer, &mut self.out);
        link
    }

    pub(super) fn frame(&mut self, frame: Frame, buf: Buf) {
        let link = self.gateway.route.link().expect("no link");
        self.gateway
            .frame(self.now, link, frame, buf, &mut self.out);
    }

    pub(super) fn welcome(&mut self) {
        let term = self.record.term;
        self.frame(Frame::Welcome { term }, Buf::NONE);
    }

    pub(super) fn not_now(&mut self, why: Refusal) {
        let term = self.record.term;
        self.frame(Frame::NotNow { why, term }, Buf::NONE);
    }

    pub(super) fn request(&mut self, tag: u32, ask: Ask, offset: u64, len: u32) {
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

    pub(super) fn write(&mut self, tag: u32, block: u64) {
        self.request(tag, WRITE, block * BLOCK, BLOCK as u32);
    }

    pub(super) fn read(&mut self, tag: u32, block: u64) {
        self.request(tag, Ask::Read, block * BLOCK, BLOCK as u32);
    }

    pub(super) fn flush(&mut self, tag: u32) {
        self.request(tag, Ask::Flush, 0, 0);
    }

    /// What was sent by the link since the last `take`: slot, first block, number, confirmed.
    pub(super) fn sent(&self) -> Vec<(u32, u64, u64, u64)> {
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

    pub(super) fn done(&mut self, slot: u32, errno: u16) {
        let frame = Frame::Done {
            tag: slot,
            errno,
            len: 0,
            skip: 0,
        };
        self.frame(frame, Buf::NONE);
    }

    pub(super) fn replies(&self) -> Vec<(u32, u16)> {
        self.out
            .iter()
            .filter_map(|effect| match *effect {
                Effect::Reply { tag, errno, .. } => Some((tag.0, errno)),
                _ => None,
            })
            .collect()
    }

    pub(super) fn released(&self) -> Vec<u32> {
        self.out
            .iter()
            .filter_map(|effect| match *effect {
                Effect::Release { buf } => Some(buf.0),
                _ => None,
            })
            .collect()
    }

    pub(super) fn disconnected(&self) -> bool {
        self.out.contains(&Effect::DisconnectClients)
    }

    pub(super) fn has(&self, effect: Effect) -> bool {
        self.out.contains(&effect)
    }

    pub(super) fn pass(&mut self, millis: u64) {
        self.now = self.now.after(Duration::from_millis(millis));
        self.gateway.tick(self.now, &mut self.out);
    }

    /// Hands the submissions to "this node's primary": slot and number of each.
    pub(super) fn submitted(&mut self) -> Vec<(u32, u64)> {
        self.gateway
            .submissions()
            .drain(..)
            .map(|s| (s.slot, s.origin.number))
            .collect()
    }
}
