//! What goes into the pulse and the core, and what comes out.
//!
//! The pulse (own thread, allocates nothing while it runs) sends heartbeats, suspects, and keeps the
//! lease. The core keeps the agreed log. They exchange `Signal`s, which a driver carries with some
//! delay, in order.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::record::{VolumeChange, VolumeRecord};
use crate::types::{
    BootId, Incarnation, Index, NODES_MAX, NodeId, NodeSet, StoreId, Term, Time, VolumeId,
};

/// Timing of heartbeats, detector and lease (design, section 4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// Between heartbeats: 10 ms to 1 s.
    pub interval: Duration,
    /// Heartbeats that may be missed: suspicion after `interval * missed` (D).
    pub missed: u32,
    /// Lease (L), from the send time of an acknowledged heartbeat; `L(1+drift) <= D(1-drift)`.
    pub lease: Duration,
    /// A disk or data path that makes no progress for so long while work waits counts as silent.
    pub stall: Duration,
}

impl Timing {
    /// Drift that leases allow for: chrony's fastest slew.
    pub const DRIFT: f64 = 0.083;

    /// The profile with this interval and 3 missed heartbeats.
    #[must_use]
    pub fn every(interval: Duration) -> Self {
        Self {
            interval,
            missed: 3,
            lease: interval * 24 / 10,
            stall: (interval * 30).max(Duration::from_secs(2)),
        }
    }

    /// Whether a lease ends before the silence that ends it, on clocks that drift apart.
    #[must_use]
    pub fn is_safe(&self) -> bool {
        let lease = self.lease.as_secs_f64() * (1.0 + Self::DRIFT);
        lease <= self.suspicion().as_secs_f64() * (1.0 - Self::DRIFT)
    }

    /// D: silence after which a node is suspected.
    #[must_use]
    pub fn suspicion(&self) -> Duration {
        self.interval * self.missed
    }
}

/// What the pulse has heard of one node, as its heartbeats report it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Heard {
    /// The newest incarnation heard of, or excluded: a node that finds its own below this, or
    /// `refused`, takes a new one.
    pub incarnation: Incarnation,
    /// Newest sequence number heard from it.
    pub sequence: u64,
    /// Silent for D.
    pub suspected: bool,
    /// This incarnation has been excluded; the next one must be larger.
    pub refused: bool,
}

/// A heartbeat. `heard[i]` is what the sender has heard of node `i`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heartbeat {
    /// Who sends it.
    pub from: NodeId,
    /// Its incarnation.
    pub incarnation: Incarnation,
    /// The boot of its machine.
    pub boot: BootId,
    /// Counts its heartbeats; with the incarnation it makes a replay harmless.
    pub sequence: u64,
    /// It counts as silent: no lease for D, or its data path is stuck.
    pub silent: bool,
    /// View number, for people.
    pub view: u64,
    /// Number of nodes in `heard` that mean something.
    pub nodes: u8,
    /// By node.
    pub heard: [Heard; NODES_MAX],
}

/// A voter's acknowledgement of a heartbeat, sent at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Acknowledgement {
    /// The voter.
    pub from: NodeId,
    /// The voter's incarnation.
    pub incarnation: Incarnation,
    /// Whose heartbeat.
    pub to: NodeId,
    /// In which incarnation.
    pub to_incarnation: Incarnation,
    /// Which heartbeat.
    pub sequence: u64,
    /// The voter's configuration of voters; another one's acknowledgement does not count.
    pub configuration: u64,
}

/// The parent of a daemon says that this incarnation has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeathNotice {
    /// Whose.
    pub node: NodeId,
    /// The incarnation that is dead. A parent that cannot know it sends none.
    pub incarnation: Incarnation,
}

/// Datagrams of the pulse, after the seal has been checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(
    clippy::large_enum_variant,
    reason = "lives on the stack for one step, never stored"
)]
pub enum PulseDatagram {
    /// See `Heartbeat`.
    Heartbeat(Heartbeat),
    /// See `Acknowledgement`.
    Acknowledgement(Acknowledgement),
    /// See `DeathNotice`.
    DeathNotice(DeathNotice),
}

/// What happened, for the pulse.
#[derive(Clone, Copy, Debug)]
pub enum PulseEvent<'a> {
    /// The time given by `Pulse::deadline` has come.
    Tick,
    /// A verified datagram.
    Datagram(&'a PulseDatagram),
    /// From the core: never acknowledge this incarnation again, and say when D has passed since it
    /// last was (`Forbidden`). At once with `certificate`. A promise is never taken back, also not
    /// when the log entry that asked for it is truncated: who is refused takes a new incarnation.
    Forbid {
        /// Who.
        node: NodeId,
        /// Up to and with this incarnation.
        incarnation: Incarnation,
        /// It is known to be dead.
        certificate: bool,
    },
    /// From the core: this node's new incarnation (durable).
    Adopt {
        /// Larger than before.
        incarnation: Incarnation,
    },
    /// From the core: number of the newest view.
    View {
        /// The number.
        number: u64,
    },
    /// From the data path: stuck or not.
    Stalled(bool),
}

/// What the pulse wants done.
#[derive(Clone, Copy, Debug)]
#[allow(clippy::large_enum_variant, reason = "lives in one reused array")]
pub enum PulseEffect {
    /// Send a datagram. `Heartbeat` is filled in by `Pulse::heartbeat` to save copying.
    SendHeartbeat {
        /// To whom.
        to: NodeId,
    },
    /// Send an acknowledgement.
    SendAcknowledgement {
        /// To whom.
        to: NodeId,
        /// What.
        acknowledgement: Acknowledgement,
    },
    /// Publish the lease.
    Lease(crate::types::Lease),
    /// To the core, and (as hearing both ways) to the volumes.
    Signal(PulseSignal),
}

/// What the pulse tells the core.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PulseSignal {
    /// A node is heard with an incarnation not heard before, or again after suspicion.
    Heard {
        /// Who.
        node: NodeId,
        /// Its incarnation.
        incarnation: Incarnation,
        /// Its boot.
        boot: BootId,
    },
    /// A node has been silent (or says that it counts as silent) for D.
    Suspected {
        /// Who.
        node: NodeId,
        /// Its newest incarnation.
        incarnation: Incarnation,
    },
    /// A death notice for this incarnation, or a heartbeat of a newer one.
    Dead {
        /// Who.
        node: NodeId,
        /// This incarnation and all before.
        incarnation: Incarnation,
    },
    /// Answer to `Forbid`: D has passed, or a certificate was given.
    Forbidden {
        /// Who.
        node: NodeId,
        /// Which.
        incarnation: Incarnation,
    },
    /// Another node refuses this node's incarnation: take one above `above`.
    Obsolete {
        /// The largest number that is taken.
        above: Incarnation,
    },
    /// Whether this node and a peer hear each other, for links and relays.
    Hearing {
        /// Which peer.
        node: NodeId,
        /// Both ways.
        heard: bool,
    },
    /// What a peer says it hears: `reach` are the nodes that hear it and are heard by it.
    Reach {
        /// Which peer.
        node: NodeId,
        /// Its neighbours.
        reach: NodeSet,
    },
}

/// A member of a view.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Member {
    /// Who.
    pub node: NodeId,
    /// In which incarnation.
    pub incarnation: Incarnation,
    /// The boot of its machine.
    pub boot: BootId,
}

/// Numbered set of live members, identical on all nodes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct View {
    /// Goes up by one with each view.
    pub number: u64,
    /// By node.
    pub members: Vec<Member>,
}

/// What a node knows of its own replica; promotion after a power loss chooses by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ReplicaReport {
    /// Which volume.
    pub volume: VolumeId,
    /// Its store.
    pub store: StoreId,
    /// Last durable term.
    pub term: Term,
    /// Last sequence number that the store proves.
    pub seq: crate::types::Seq,
    /// The store has failed; never promote it.
    pub failed: bool,
}

/// What a primary tells everyone about the volume, for status.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeProgress {
    /// Which volume.
    pub volume: VolumeId,
    /// In which term.
    pub term: Term,
    /// Whether requests are answered.
    pub serving: bool,
    /// Of each replica that is being resynced.
    pub resyncs: Vec<ResyncProgress>,
}

/// How far a resync is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResyncProgress {
    /// Whose.
    pub replica: NodeId,
    /// Whether its link is up and copies flow.
    pub running: bool,
    /// Blocks that may still differ.
    pub blocks_left: u64,
    /// Blocks when it began.
    pub blocks_total: u64,
    /// Blocks a second, lately.
    pub rate: u64,
}

/// A change that somebody asks the log for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Proposal {
    /// A change of a volume.
    Volume {
        /// Which.
        volume: VolumeId,
        /// The entry it names.
        prev: Index,
        /// What.
        change: VolumeChange,
    },
    /// A new volume. Void if the name or the id is taken.
    Create {
        /// As it begins: term 0, no primary, every replica in sync (fresh stores are all zero).
        record: VolumeRecord,
    },
}

/// What happened, for the core.
#[derive(Clone, Debug)]
pub enum CoreEvent {
    /// The time given by `Core::deadline` has come.
    Tick,
    /// A verified message, from the node that wrote it (relays are invisible here).
    Message {
        /// Who wrote it.
        from: NodeId,
        /// As `Core` encoded it.
        bytes: Vec<u8>,
    },
    /// Everything up to this `Persist` is durable.
    Persisted {
        /// Its ticket.
        ticket: u64,
    },
    /// From the pulse.
    Pulse(PulseSignal),
    /// From a volume, a person, or the daemon at start.
    Propose(Proposal),
    /// From a volume: its replica, whenever it changes.
    Report(ReplicaReport),
    /// From a volume that this node is primary of.
    Progress(VolumeProgress),
}

/// One 4 KiB page of the log file.
#[derive(Clone, PartialEq, Eq)]
pub struct Page {
    /// Its number: byte offset / 4096.
    pub number: u32,
    /// Its bytes.
    pub bytes: Box<[u8; 4096]>,
}

impl std::fmt::Debug for Page {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Page({})", self.number)
    }
}

/// What the core wants done.
#[derive(Clone, Debug)]
pub enum CoreEffect {
    /// Send to a node (the core has chosen relays already: `to` is the next hop).
    Send {
        /// Next hop.
        to: NodeId,
        /// Sealed by the driver; at most `MESSAGE_MAX` bytes.
        bytes: Vec<u8>,
    },
    /// Write these pages, each durably (O_DSYNC), in this order; then say `Persisted`.
    Persist {
        /// Goes up by one.
        ticket: u64,
        /// In order. One page, nearly always.
        pages: Vec<Page>,
    },
    /// To the pulse: `PulseEvent::Forbid`.
    Forbid {
        /// Who.
        node: NodeId,
        /// Up to and with this incarnation.
        incarnation: Incarnation,
        /// It is known to be dead.
        certificate: bool,
    },
    /// To the pulse, and to the volumes (`Volume::set_incarnation`): this node's new incarnation.
    Adopt {
        /// Larger than before; durable.
        incarnation: Incarnation,
    },
    /// A volume's record, after each committed entry about it, in order; to the volume and status.
    Record(VolumeRecord),
    /// A new view, in order; to the volumes, the pulse (its number), status and subscribers.
    View(View),
    /// Something for the event stream.
    Note(CoreNote),
}

/// Things worth telling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CoreNote {
    /// This node became leader.
    Leader {
        /// Of this term of the log.
        term: u64,
    },
    /// A node was excluded (committed).
    Excluded {
        /// Who.
        node: NodeId,
        /// Which incarnation.
        incarnation: Incarnation,
        /// By certificate (death notice, newer incarnation) and not by silence.
        certificate: bool,
    },
    /// A node was admitted (committed).
    Admitted {
        /// Who.
        node: NodeId,
        /// Which incarnation.
        incarnation: Incarnation,
    },
    /// An entry about a volume was committed and took effect.
    Volume {
        /// The entry.
        index: Index,
        /// Which volume.
        volume: VolumeId,
        /// What.
        change: VolumeChange,
    },
    /// An entry about a volume was void: it named an older entry, or its condition did not hold.
    Void {
        /// The entry.
        index: Index,
        /// Which volume.
        volume: VolumeId,
    },
    /// A volume was created.
    Created {
        /// Which.
        volume: VolumeId,
    },
    /// Suspicion of a node began or ended, here.
    Suspicion {
        /// Who.
        node: NodeId,
        /// Began.
        suspected: bool,
    },
}

/// Most bytes of a core message: fits a datagram without fragments on Ethernet, sealed.
pub const MESSAGE_MAX: usize = 1300;

/// When the core was last asked, for status: who leads, whether a majority hears us.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CoreStatus {
    /// The leader that this node follows.
    pub leader: Option<NodeId>,
    /// Term of the log.
    pub term: u64,
    /// Last committed entry.
    pub committed: Index,
    /// Last entry of this node's log.
    pub last: Index,
    /// Newest view.
    pub view: View,
    /// This node and at least a majority of voters hear each other.
    pub quorum: bool,
    /// Nodes that this node does not suspect, itself included.
    pub alive: NodeSet,
    /// Voters.
    pub voters: NodeSet,
    /// Of each node that is known: its newest incarnation.
    pub incarnations: Vec<(NodeId, Incarnation)>,
    /// Of each volume: record and, where known, the primary's progress.
    pub volumes: Vec<(VolumeRecord, Option<VolumeProgress>)>,
    /// Of each volume without a primary, why: one plain sentence.
    pub waiting: Vec<(VolumeId, String)>,
    /// When this was taken.
    pub at: Time,
}
