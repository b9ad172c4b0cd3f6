//! One volume on one node: the face that drivers see. It gives each event to the part that it
//! concerns (gateway, primary, replica, store) and carries what they have for each other.

mod grant;
mod links;
mod pump;

use super::config::VolumeConfig;
use super::gateway::{Gateway, GatewayConfig};
use super::io::{Effects, Event, LinkId};
use super::primary::{Cx, Entrant, LocalAnswer, Primary};
use super::replica::Replica;
use super::store::Store;
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
            canaries: config.canaries,
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

    /// As if the store's table of intents were so small: for tests.
    #[cfg(test)]
    pub fn narrow(&mut self, limit: usize) {
        if let Some(store) = &mut self.store {
            store.narrow(limit);
        }
    }

    /// As if the primary had given out so many more numbers: for tests.
    #[cfg(test)]
    pub fn give_out(&mut self, count: u64) {
        if let Some(primary) = &mut self.primary {
            primary.give_out(count);
        }
    }
}
