//! What goes into the core, and what comes out.

use serde::{Deserialize, Serialize};

use super::pulse::PulseSignal;
use crate::record::{VolumeChange, VolumeRecord};
use crate::types::{
    BootId, Incarnation, Index, NodeId, NodeSet, Seq, StoreId, Term, Time, VolumeId,
};

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
    pub seq: Seq,
    /// The store has failed; never promote it.
    pub failed: bool,
}

/// Why a replica's store cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreFault {
    /// It has failed.
    Failed,
    /// It is not the one that is in sync.
    Another,
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
    /// To the pulse: `PulseEvent::Enrolled`.
    Enrolled(bool),
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
    /// Who takes part has changed (committed).
    View(View),
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
    /// A voter's new log counts from now on, in the place of one that was lost (committed).
    Enrolled {
        /// Whose.
        node: NodeId,
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
    /// This node and at least a majority of the voters, with logs that count, hear each other.
    pub quorum: bool,
    /// Why there is no quorum, if so: one plain sentence.
    pub no_quorum: Option<String>,
    /// Why nothing can be agreed on although there is quorum, if so: one plain sentence.
    pub undecided: Option<String>,
    /// Voters that this node leads and hears, but that do not answer it.
    pub silent: NodeSet,
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
    /// Replicas on members of the view whose stores cannot be used.
    pub store_faults: Vec<(VolumeId, NodeId, StoreFault)>,
    /// When this was taken.
    pub at: Time,
}
