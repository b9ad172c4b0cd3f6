//! The primary: puts requests in order, stores them here and on the replicas, answers.
//!
//! Contract with the facade: created when the record grants this incarnation and boot a term, told
//! every record, dropped by `stop` when the grant is over. It borrows the store. Every entry point
//! ends with `pump`, which runs what has become possible.
//!
//! The order of taking over: drain what earlier primaries left on this disk; make the term durable;
//! attach to all other in-sync replicas and collect what they report; then serve, while the
//! differences that they and this replica reported are overwritten from this copy, and whoever did
//! not report is shrunk out. Changes are answered only while every replica that counts has
//! acknowledged, nothing is being shrunk, and every absent replica is marked on every remaining one.

mod attach;
mod complete;
mod copy;
mod edges;
mod gateways;
mod grow;
mod op;
mod peer;
mod proposals;
mod reconcile;
mod report;
mod resync;
mod rounds;
mod serve;
mod shrink;
mod status;
mod takeover;

use std::collections::VecDeque;

pub(super) use gateways::{Entrant, turn_away};
pub(super) use op::Source;
use op::{Answer, Op};
use peer::Peer;
use reconcile::Reconcile;
pub(super) use report::Heard;
use rounds::Round;
use shrink::Shrink;

use super::config::VolumeConfig;
use super::disk::DiskUse;
use super::interval::IntervalLocks;
use super::io::{Effect, Effects, LinkId, Note};
use super::replica::base_of;
use super::store::Store;
use crate::member::io::View;
use crate::record::VolumeRecord;
use crate::types::{NodeId, NodeSet, Seq, Term, Time};

/// Places for operations by sequence number: more than may be unstable at once.
const RING: usize = 2 * super::unstable::UNSTABLE_MAX as usize;
const NONE: u32 = u32::MAX;

/// What the primary needs of its surroundings in each call.
pub(super) struct Cx<'a> {
    pub now: Time,
    pub config: &'a VolumeConfig,
    pub record: &'a VolumeRecord,
    pub view: &'a View,
    /// Peers that this node and they hear each other.
    pub hearing: NodeSet,
    pub store: &'a mut Store,
    pub entrants: &'a mut Vec<Entrant>,
    /// Answers for this node's gateway.
    pub local: &'a mut Vec<LocalAnswer>,
    pub out: &'a mut Effects,
}

/// An answer for this node's gateway; the buffer is its from now on.
#[derive(Clone, Copy, Debug)]
pub(super) struct LocalAnswer {
    pub slot: u32,
    pub errno: u16,
    pub buf: super::io::Buf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Changes of earlier primaries are still on their way to the disk.
    Draining,
    /// The term is being made durable.
    Term { superblock: u64 },
    /// The in-sync replicas report.
    Collecting { since: Time },
    /// Requests are served.
    Serving,
}

/// The primary of one term.
#[derive(Clone, Debug)]
pub(super) struct Primary {
    term: Term,
    epoch: u32,
    me: usize,
    phase: Phase,
    peers: Vec<Peer>,
    attaches: u32,
    /// Something has changed that `find_faults` should look at; else it does at `faults_at`.
    alert: bool,
    faults_at: Time,
    /// Replicas whose acknowledgement is needed, that take changes, that miss changes: by place.
    counting: u8,
    live: u8,
    absent: u8,
    /// The bitmaps of those that miss changes.
    kinds: u16,
    /// Bitmaps here that are not durable yet.
    unmarked: bool,

    ops: super::slab::Slab<Op>,
    locks: IntervalLocks,
    /// Operations whose lock was granted.
    granted: VecDeque<u32>,
    grants: Vec<u32>,
    /// Operations that are not admitted now.
    held: Vec<u32>,
    /// Changes that wait until fewer are unstable.
    crowded: VecDeque<u32>,
    by_seq: Vec<u32>,
    seq: Seq,
    stable: Seq,
    /// Of the changes above stable: done.
    finished: VecDeque<bool>,
    answers: Vec<Answer>,
    /// Begun changes of ended sessions.
    displaced: u32,

    rounds: Vec<Round>,
    flush_ids: u32,
    /// Operations that wait for the next round.
    flush_waiters: Vec<u32>,
    /// Those of the round that is under way.
    flush_riders: Vec<u32>,
    flush_failed: Option<u16>,

    reconcile: Reconcile,
    /// This store knows what it has to see stable before it is reconciled.
    told_self: bool,
    shrink: Option<Shrink>,
    demote: Option<Option<NodeId>>,
    /// The disk failed; another replica is asked to take over.
    failing: bool,
    propose_at: Time,
    /// When something was last changed, if it has not been flushed since.
    changed_at: Option<Time>,
    /// Since when there are changes that no flush covers.
    dirty_since: Option<Time>,
    /// When intents that a client's flush made old are cleared.
    clear_at: Option<Time>,
    /// When the replicas are to be told what is stable.
    watermark_at: Option<Time>,
    told: (Seq, Seq),
    copy_ids: u32,
    scratch: Vec<u32>,
}

impl Primary {
    /// The primary of the record's term. The caller has made sure that the grant is ours.
    pub fn new(epoch: u32, cx: &mut Cx<'_>) -> Self {
        let replicas = &cx.record.replicas;
        let Some(me) = replicas.iter().position(|r| r.node == cx.config.me) else {
            panic!("granted to a node without a replica");
        };
        let base = base_of(cx.record.term);
        let mut primary = Self {
            term: cx.record.term,
            epoch,
            me,
            phase: Phase::Draining,
            peers: replicas.iter().map(|r| Peer::new(r, cx.now)).collect(),
            attaches: epoch << 16,
            alert: true,
            faults_at: cx.now,
            counting: 0,
            live: 0,
            absent: 0,
            kinds: 0,
            unmarked: true,
            ops: super::slab::Slab::new(1024),
            locks: IntervalLocks::new(1024),
            granted: VecDeque::with_capacity(64),
            grants: Vec::with_capacity(64),
            held: Vec::with_capacity(1024),
            crowded: VecDeque::with_capacity(64),
            by_seq: vec![NONE; RING],
            seq: base,
            stable: base,
            finished: VecDeque::with_capacity(RING),
            answers: Vec::with_capacity(1024),
            displaced: 0,
            rounds: Vec::with_capacity(4),
            flush_ids: 0,
            flush_waiters: Vec::with_capacity(64),
            flush_riders: Vec::with_capacity(64),
            flush_failed: None,
            reconcile: Reconcile::new(),
            told_self: false,
            shrink: None,
            demote: None,
            failing: false,
            propose_at: cx.now,
            changed_at: None,
            dirty_since: None,
            clear_at: None,
            watermark_at: None,
            told: (base, Seq(0)),
            copy_ids: 0,
            scratch: Vec::with_capacity(64),
        };
        assert!(base > cx.store.seq, "a sequence number of a later term");
        cx.store.cancel_waiting(cx.out);
        cx.store.give_up_handing_over(cx.out);
        cx.store.take_stock(base, false);
        cx.store.set_in_sync();
        primary.connect(cx);
        primary.pump(cx);
        primary
    }

    /// As if so many more changes had been given out, and all were stable.
    #[cfg(test)]
    pub fn give_out(&mut self, count: u64) {
        assert!(self.finished.is_empty());
        self.seq.0 += count;
        self.stable = self.seq;
    }

    /// The newest record of the volume; it still grants us this term.
    pub fn set_record(&mut self, cx: &mut Cx<'_>) {
        self.propose_at = cx.now;
        for at in 0..self.peers.len() {
            let new = cx.record.replicas[at];
            assert!(
                new.node == self.peers[at].node,
                "replicas of a volume moved"
            );
            if at != self.me {
                self.replica_changed(at, new, cx);
            }
        }
        self.refresh(cx);
        self.sessions_changed(cx);
        self.sweep(cx);
        self.pump(cx);
    }

    /// Somebody's liveness changed.
    pub fn liveness_changed(&mut self, cx: &mut Cx<'_>) {
        self.alert = true;
        self.pump(cx);
    }

    /// Ends: the grant is over. Nothing that was asked has been answered; the gateways ask again
    /// elsewhere.
    pub fn stop(mut self, cx: &mut Cx<'_>) {
        for peer in &self.peers {
            if let Some(link) = peer.link {
                cx.out.push(Effect::Close { link });
            }
        }
        self.dismiss_entrants(cx);
        for (_, op) in self.ops.iter() {
            if op.owns_buf {
                super::store::release(op.buf, cx.out);
            }
        }
        for answer in self.answers.drain(..) {
            super::store::release(answer.buf, cx.out);
        }
        cx.store.cancel_waiting(cx.out);
        if self.phase == Phase::Serving {
            cx.out.push(Effect::Note(Note::Stopped { term: self.term }));
        }
    }

    /// Runs what has become possible.
    pub fn pump(&mut self, cx: &mut Cx<'_>) {
        self.advance(cx);
        loop {
            while let Some(op) = self.granted.pop_front() {
                self.run(op, cx);
            }
            if !self.uncrowd(cx) {
                break;
            }
        }
    }

    fn advance(&mut self, cx: &mut Cx<'_>) {
        if self.phase == Phase::Draining && cx.store.is_drained() {
            let superblock = cx.store.set_term(self.term, cx.out);
            self.phase = Phase::Term { superblock };
        }
        if let Phase::Term { superblock } = self.phase
            && cx.store.is_durable(superblock)
        {
            self.begin_collecting(cx);
        }
        if cx.store.broken.is_some() && !self.failing {
            self.disk_failed(cx);
        }
        self.connect(cx);
        self.find_faults(cx);
        if let Phase::Collecting { .. } = self.phase
            && self.is_collected()
        {
            self.begin_serving(cx);
        }
        if self.unmarked && cx.store.all_marked() {
            self.unmarked = false;
            self.sweep(cx);
        }
        self.advance_shrink(cx);
        self.advance_reconcile(cx);
        self.advance_rounds(cx);
        self.advance_resyncs(cx);
        self.advance_proposals(cx);
        self.advance_watermarks(cx);
    }

    /// Works out the masks anew.
    fn refresh(&mut self, cx: &Cx<'_>) {
        self.counting = 0;
        self.live = 0;
        self.absent = 0;
        for (at, peer) in self.peers.iter().enumerate() {
            if at == self.me {
                continue;
            }
            let bit = 1 << at;
            if peer.counts {
                self.counting |= bit;
            }
            // One that is not in sync takes changes only while it is resynced.
            if peer.is_live() && (peer.counts || peer.resync.is_some()) {
                self.live |= bit;
            }
            if !peer.state.is_in_sync() {
                self.absent |= bit;
            }
        }
        let absent = self.peers.iter().enumerate().filter_map(|(at, peer)| {
            (at != self.me && !peer.state.is_in_sync()).then_some(peer.node)
        });
        self.kinds = cx.store.kinds(absent);
    }

    /// The place of the peer that owns a link.
    fn peer_of(&self, link: LinkId) -> Option<usize> {
        self.peers.iter().position(|peer| peer.link == Some(link))
    }

    /// A read for an operation.
    fn read_use(&self, op: u32) -> DiskUse {
        DiskUse::Read {
            epoch: self.epoch,
            op,
        }
    }
}
