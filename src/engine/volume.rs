//! One volume on one node: the face that drivers see. It gives each event to the part that it
//! concerns (gateway, primary, replica, store) and carries what they have for each other.

mod links;

use super::config::VolumeConfig;
use super::disk::DiskUse;
use super::gateway::{Gateway, GatewayConfig};
use super::io::{Buf, Content, DiskId, Effects, Event, LinkId};
use super::primary::{Cx, Entrant, LocalAnswer, Primary, Source};
use super::replica::{Replica, ReplicaCx};
use super::store::{Done, FlushUser, Owner, Store, release};
use crate::member::io::{ReplicaReport, View, VolumeProgress};
use crate::meta::PageBytes;
use crate::meta::recovered::{Bits, Recovered};
use crate::record::VolumeRecord;
use crate::types::{Incarnation, Index, Lease, NodeId, NodeSet, Term, Time};

/// Bytes of a page that nobody asked for: a volume without a store writes none.
static NO_PAGE: PageBytes = [0; crate::meta::PAGE];

/// One volume on one node: gateway for this node's clients, and replica and primary where the node
/// has a store for it.
#[derive(Clone, Debug)]
pub struct Volume {
    config: VolumeConfig,
    record: Option<VolumeRecord>,
    view: View,
    hearing: NodeSet,
    store: Option<Store>,
    gateway: Gateway,
    primary: Option<Primary>,
    replica: Replica,
    entrants: Vec<Entrant>,
    /// Links from peers that have not said what they are for.
    inbound: Vec<(LinkId, NodeId)>,
    local: Vec<LocalAnswer>,
    epoch: u32,
    /// Terms up to this one are not served (any more).
    stopped: Term,
}

/// The primary and its surroundings, borrowed from a volume.
macro_rules! with_primary {
    ($self:ident, $now:expr, $out:expr, |$primary:ident, $cx:ident| $body:expr) => {
        if let (Some($primary), Some(record), Some(store)) =
            (&mut $self.primary, &$self.record, &mut $self.store)
        {
            let $cx = &mut Cx {
                now: $now,
                config: &$self.config,
                record,
                view: &$self.view,
                hearing: $self.hearing,
                store,
                entrants: &mut $self.entrants,
                local: &mut $self.local,
                out: $out,
            };
            Some($body)
        } else {
            None
        }
    };
}

macro_rules! with_replica {
    ($self:ident, $out:expr, |$cx:ident| $body:expr) => {
        if let Some(store) = &mut $self.store {
            let $cx = &mut ReplicaCx {
                config: &$self.config,
                record: $self.record.as_ref(),
                store,
                out: $out,
            };
            $body
        }
    };
}

use {with_primary, with_replica};

impl Volume {
    /// A volume at the start of the daemon. `store` is this node's replica, if it has one.
    #[must_use]
    pub fn new(config: VolumeConfig, store: Option<Recovered>, _now: Time) -> Self {
        let gateway = Gateway::new(GatewayConfig {
            me: config.me,
            incarnation: config.incarnation,
            link_retry: config.timing.link_retry,
            propose_every: config.timing.propose_every,
            send_overlapping: config.canaries.send_overlapping,
        });
        Self {
            store: store.map(|recovered| Store::new(recovered, config.canaries)),
            record: None,
            view: View::default(),
            hearing: NodeSet::EMPTY,
            gateway,
            primary: None,
            replica: Replica::new(),
            entrants: Vec::with_capacity(16),
            inbound: Vec::with_capacity(16),
            local: Vec::with_capacity(64),
            epoch: 0,
            stopped: Term(0),
            config,
        }
    }

    /// Something has happened.
    pub fn step(&mut self, now: Time, event: Event, out: &mut Effects) {
        match event {
            Event::ClientCame { client } => self.gateway.client_came(now, client, out),
            Event::ClientWent { client } => self.gateway.client_went(client),
            Event::Request {
                tag,
                ask,
                extent,
                buf,
            } => self.gateway.request(now, tag, ask, extent, buf, out),
            Event::Disk {
                id,
                errno,
                buf,
                content,
            } => self.disk_ended(now, id, errno, buf, content, out),
            Event::LinkUp {
                link,
                peer,
                direction,
                ..
            } => self.link_up(now, link, peer, direction, out),
            Event::LinkDown {
                link,
                peer,
                direction,
            } => self.link_down(now, link, peer, direction, out),
            Event::Frame { link, frame, buf } => self.frame(now, link, frame, buf, out),
            Event::Hearing { node, heard } => {
                if heard {
                    self.hearing.insert(node);
                } else {
                    self.hearing.remove(node);
                }
                self.gateway.hearing(now, node, heard, out);
                with_primary!(self, now, out, |primary, cx| primary.liveness_changed(cx));
            }
            Event::Tick => self.gateway.tick(now, out),
        }
        self.pump(now, out);
    }

    /// A newer record of this volume has been committed. Every one is told, in order.
    pub fn set_record(&mut self, now: Time, record: &VolumeRecord, out: &mut Effects) {
        if self
            .record
            .as_ref()
            .is_some_and(|old| old.last_entry >= record.last_entry)
        {
            return;
        }
        self.record = Some(record.clone());
        if let Some(store) = &mut self.store {
            store.windows.set_listed(&record.sessions, record.term);
            let in_sync = record.in_sync().map(|replica| replica.node);
            store.end_absences(record.last_entry, in_sync, out);
        }
        if self.is_granted() {
            with_primary!(self, now, out, |primary, cx| primary.set_record(cx));
        } else {
            self.stop_primary(now, out);
        }
        self.gateway.set_record(now, record, out);
        self.become_primary(now, out);
        self.pump(now, out);
    }

    /// A newer view.
    pub fn set_view(&mut self, now: Time, view: &View, out: &mut Effects) {
        self.view.clone_from(view);
        with_primary!(self, now, out, |primary, cx| primary.liveness_changed(cx));
        self.pump(now, out);
    }

    /// This node has a new incarnation: what was granted to the old one is over.
    pub fn set_incarnation(&mut self, now: Time, incarnation: Incarnation, out: &mut Effects) {
        self.config.incarnation = incarnation;
        self.gateway.set_incarnation(incarnation);
        if !self.is_granted() {
            self.stop_primary(now, out);
        }
        self.pump(now, out);
    }

    /// A person asks the primary to hand the volume over, to `prefer` if that is possible. Without
    /// effect on a node that is not primary.
    pub fn demote(&mut self, now: Time, prefer: Option<NodeId>, out: &mut Effects) {
        with_primary!(self, now, out, |primary, cx| primary.demote(prefer, cx));
        self.pump(now, out);
    }

    /// Releases the answers that the lease covers. `lease` and `now` are read after the last event
    /// that was given to `step`, in this order.
    pub fn settle(&mut self, now: Time, lease: Lease, out: &mut Effects) {
        let incarnation = self.config.incarnation;
        with_primary!(self, now, out, |primary, cx| {
            primary.settle(lease, incarnation, cx);
        });
        if self.local.is_empty() {
            return;
        }
        let mut answers = std::mem::take(&mut self.local);
        for answer in answers.drain(..) {
            self.gateway
                .answered(answer.slot, answer.errno, answer.buf, out);
        }
        self.local = answers;
        self.pump(now, out);
    }

    /// When `Event::Tick` is due.
    #[must_use]
    pub fn deadline(&self) -> Time {
        let primary = match &self.primary {
            Some(primary) => primary.deadline(self.hearing, &self.config),
            None => Time::MAX,
        };
        self.gateway.deadline().min(primary)
    }

    /// How many pieces of requests may be given to `step` now.
    #[must_use]
    pub fn room(&self) -> usize {
        self.gateway.room()
    }

    /// The bytes of a metadata page that is being written (`DiskOp::Meta`).
    #[must_use]
    pub fn page(&self, page: u32) -> &PageBytes {
        match &self.store {
            Some(store) => store.page(page),
            None => &NO_PAGE,
        }
    }

    /// What the core should know of this node's replica; none where it has no store.
    #[must_use]
    pub fn report(&self) -> Option<ReplicaReport> {
        let store = self.store.as_ref()?;
        Some(ReplicaReport {
            volume: self.config.id,
            store: store.id,
            term: store.term,
            seq: store.seq_proven,
            failed: store.broken.is_some(),
        })
    }

    /// What the primary tells everyone; none on a node that is not primary.
    #[must_use]
    pub fn progress(&self, now: Time) -> Option<VolumeProgress> {
        let primary = self.primary.as_ref()?;
        Some(primary.progress(now, self.config.id))
    }

    /// Whether nothing is in flight: no request, disk operation or answer, and everything that was
    /// stored has been flushed. For tests.
    #[must_use]
    pub fn at_rest(&self) -> bool {
        self.gateway.at_rest()
            && self.replica.at_rest()
            && self.store.as_ref().is_none_or(Store::at_rest)
            && self.primary.as_ref().is_none_or(Primary::at_rest)
    }

    /// The term that this node serves, if it does: for status and oracles.
    #[must_use]
    pub fn serving(&self) -> Option<Term> {
        let primary = self.primary.as_ref()?;
        primary.may_answer().then(|| primary.term())
    }

    /// Whether the region's intent is active here: for oracles.
    #[must_use]
    pub fn is_active(&self, region: u32) -> bool {
        self.store
            .as_ref()
            .is_some_and(|store| store.is_active(region))
    }

    /// Whether the region has ever been written here: for oracles.
    #[must_use]
    pub fn is_written(&self, region: u32) -> bool {
        self.store
            .as_ref()
            .is_some_and(|store| store.is_written(region))
    }

    /// The bitmap of what `replica` misses, and the entry since when: for oracles.
    #[must_use]
    pub fn dirty(&self, replica: NodeId) -> Option<(Index, &Bits)> {
        self.store.as_ref()?.dirty(replica)
    }

    /// As if the primary had given out so many more numbers: for tests.
    #[cfg(test)]
    pub fn give_out(&mut self, count: u64) {
        if let Some(primary) = &mut self.primary {
            primary.give_out(count);
        }
    }

    // Who is primary.

    /// Whether the record grants this run of the daemon, in this incarnation and boot, the term
    /// that it serves or is about to.
    fn is_granted(&self) -> bool {
        let Some(record) = &self.record else {
            return false;
        };
        let Some(grant) = record.primary else {
            return false;
        };
        let mine = grant.node == self.config.me
            && (self.config.canaries.ignore_boot
                || grant.boot == self.config.boot && grant.incarnation == self.config.incarnation);
        let term = self.primary.as_ref().map_or(record.term, Primary::term);
        mine && term == record.term
    }

    fn become_primary(&mut self, now: Time, out: &mut Effects) {
        if self.primary.is_some() || !self.is_granted() {
            return;
        }
        let (Some(record), Some(store)) = (&self.record, &mut self.store) else {
            return;
        };
        let ours = record
            .replica(self.config.me)
            .is_some_and(|replica| replica.store == store.id && replica.state.is_in_sync());
        let newest = store.term.max(self.replica.term());
        if !ours || record.term <= self.stopped || record.term < newest {
            return;
        }
        self.replica.close(out);
        self.epoch += 1;
        let primary = Primary::new(
            self.epoch,
            &mut Cx {
                now,
                config: &self.config,
                record,
                view: &self.view,
                hearing: self.hearing,
                store,
                entrants: &mut self.entrants,
                local: &mut self.local,
                out,
            },
        );
        self.primary = Some(primary);
    }

    /// The grant is over, if there was one.
    fn stop_primary(&mut self, now: Time, out: &mut Effects) {
        let (Some(primary), Some(record), Some(store)) =
            (self.primary.take(), &self.record, &mut self.store)
        else {
            return;
        };
        self.stopped = self.stopped.max(primary.term());
        primary.stop(&mut Cx {
            now,
            config: &self.config,
            record,
            view: &self.view,
            hearing: self.hearing,
            store,
            entrants: &mut self.entrants,
            local: &mut self.local,
            out,
        });
        self.gateway.set_local(now, None, out);
    }

    // Disk.

    fn disk_ended(
        &mut self,
        now: Time,
        id: DiskId,
        errno: u16,
        buf: Buf,
        content: Content,
        out: &mut Effects,
    ) {
        let Some(store) = &mut self.store else {
            panic!("a disk operation of a volume without a store");
        };
        let what = store.disk.end(id);
        let (DiskUse::Read { epoch, .. } | DiskUse::Edge { epoch, .. }) = what else {
            release(buf, out);
            if let DiskUse::Compare(compare) = what {
                store.compared(compare, errno, content);
            } else {
                store.disk_ended(what, errno, out);
            }
            return;
        };
        if !self.primary.as_ref().is_some_and(|p| p.is_epoch(epoch)) {
            release(buf, out);
            return;
        }
        with_primary!(self, now, out, |primary, cx| match what {
            DiskUse::Edge { op, end, .. } => primary.edge_ended(op, end, errno, buf, cx),
            DiskUse::Read { op, .. } => primary.read_ended(op, errno, buf, content, cx),
            _ => unreachable!("a read"),
        });
    }

    // What the parts have for each other.

    fn pump(&mut self, now: Time, out: &mut Effects) {
        loop {
            self.take_done(now, out);
            with_replica!(self, out, |cx| self.replica.advance(cx));
            with_primary!(self, now, out, |primary, cx| primary.pump(cx));
            self.tell_local(now, out);
            let submitted = self.submit_local(now, out);
            if !submitted && self.store.as_ref().is_none_or(|s| s.done.is_empty()) {
                return;
            }
        }
    }

    fn take_done(&mut self, now: Time, out: &mut Effects) {
        loop {
            let Some(store) = &mut self.store else { return };
            if store.done.is_empty() {
                return;
            }
            let mut done = std::mem::take(&mut store.done);
            for what in done.drain(..) {
                self.done(now, what, out);
            }
            if let Some(store) = &mut self.store {
                // What came meanwhile goes behind; the longer array is kept.
                done.append(&mut store.done);
                store.done = done;
            }
        }
    }

    fn done(&mut self, now: Time, done: Done, out: &mut Effects) {
        let epoch = match done {
            Done::Applied {
                owner: Owner::Primary { epoch, .. },
                ..
            }
            | Done::Flushed {
                user: FlushUser::Round { epoch, .. },
                ..
            } => epoch,
            Done::Applied { .. } | Done::Compared { .. } | Done::Flushed { .. } => {
                with_replica!(self, out, |cx| self.replica.done(done, cx));
                return;
            }
        };
        if !self.primary.as_ref().is_some_and(|p| p.is_epoch(epoch)) {
            return;
        }
        with_primary!(self, now, out, |primary, cx| match done {
            Done::Applied {
                owner: Owner::Primary { op, .. },
                errno,
            } => primary.applied(op, errno, cx),
            Done::Flushed {
                user: FlushUser::Round { round, .. },
                errno,
            } => primary.round_flushed(round, errno, cx),
            Done::Applied { .. } | Done::Compared { .. } | Done::Flushed { .. } => {
                unreachable!("the replica's")
            }
        });
    }

    /// Tells this node's gateway whether this node's primary serves.
    fn tell_local(&mut self, now: Time, out: &mut Effects) {
        let serving = self.serving();
        if serving.is_some()
            && let (Some(session), Some(store)) = (self.gateway.session(), &self.store)
            && store.windows.is_lost(session)
        {
            self.gateway.session_lost(now, out);
        }
        self.gateway.set_local(now, serving, out);
    }

    /// Hands this node's requests to this node's primary. Whether there were any.
    fn submit_local(&mut self, now: Time, out: &mut Effects) -> bool {
        if self.gateway.submissions().is_empty() {
            return false;
        }
        let mut submissions = std::mem::take(self.gateway.submissions());
        for submission in submissions.drain(..) {
            with_primary!(self, now, out, |primary, cx| {
                primary.submit(
                    Source::Local(submission.slot),
                    submission.ask,
                    submission.extent,
                    submission.origin,
                    submission.buf,
                    cx,
                );
            });
        }
        *self.gateway.submissions() = submissions;
        true
    }
}
