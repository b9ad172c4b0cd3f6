//! What the cluster log says of a volume, and the only changes it may say.
//!
//! Both the membership core (which agrees on it) and the engine (which obeys it) speak these words;
//! neither knows the other.

use serde::{Deserialize, Serialize};

use crate::types::{
    BootId, Incarnation, Index, NodeId, NodeSet, SessionId, StoreId, Term, VolumeId,
};

/// The right to be primary. Whoever has restarted since does not own it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Grant {
    /// The node.
    pub node: NodeId,
    /// Its incarnation when it was granted.
    pub incarnation: Incarnation,
    /// The boot of its machine when it was granted.
    pub boot: BootId,
}

/// What the log knows of one replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ReplicaState {
    /// Acknowledges every write. Counts only while the machine is still in this boot.
    InSync {
        /// The boot in which it became, or was confirmed, in sync.
        boot: BootId,
    },
    /// Left the in-sync set with this entry; resync needs what was written since.
    Behind {
        /// The entry that took it out.
        since: Index,
    },
    /// Holds nothing of use: needs a full copy.
    New,
}

impl ReplicaState {
    /// Whether the replica counts for acknowledgements.
    #[must_use]
    pub const fn is_in_sync(self) -> bool {
        matches!(self, Self::InSync { .. })
    }
}

/// One replica of a volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ReplicaRecord {
    /// The node that keeps it.
    pub node: NodeId,
    /// The store it lives in.
    pub store: StoreId,
    /// Its state.
    pub state: ReplicaState,
}

/// One gateway's session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SessionRecord {
    /// The session.
    pub id: SessionId,
    /// The node whose gateway holds it.
    pub gateway: NodeId,
}

/// A volume as the log has it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct VolumeRecord {
    /// The volume.
    pub id: VolumeId,
    /// Its name, also the NBD export's.
    pub name: String,
    /// Bytes; a multiple of the block.
    pub size: u64,
    /// Whether gateways of several nodes may have it open at once.
    pub shared: bool,
    /// The newest entry about this volume; the next one must name it.
    pub last_entry: Index,
    /// Goes up with each promotion.
    pub term: Term,
    /// Who may serve it, if anyone.
    pub primary: Option<Grant>,
    /// The replicas, in the order of their nodes. At least one is in sync.
    pub replicas: Vec<ReplicaRecord>,
    /// Open sessions, at most one for each gateway, at most one in all unless `shared`.
    pub sessions: Vec<SessionRecord>,
    /// How often a session was opened: a gateway that finds its own gone and this unchanged knows
    /// that nobody else has used the volume since.
    pub openings: u64,
    /// How often all in-sync replicas lost power together: acknowledged, unflushed writes of
    /// sessions opened before the newest loss may be gone.
    pub losses: u64,
}

impl VolumeRecord {
    /// The replica on `node`.
    #[must_use]
    pub fn replica(&self, node: NodeId) -> Option<&ReplicaRecord> {
        self.replicas.iter().find(|replica| replica.node == node)
    }

    /// Replicas that count for acknowledgements.
    pub fn in_sync(&self) -> impl Iterator<Item = &ReplicaRecord> {
        self.replicas
            .iter()
            .filter(|replica| replica.state.is_in_sync())
    }
}

/// The changes the log may make to a volume. Each is void unless it names the volume's newest
/// entry, and void where its own condition (given with each) does not hold when it is applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum VolumeChange {
    /// Make a node primary, `term + 1`. The node is an in-sync replica and a member in this
    /// incarnation; nobody else is primary, or the primary's incarnation is no longer a member.
    /// With `after_power_loss` (every in-sync replica was heard and none kept its power) the
    /// promoted one alone stays in sync, under its new boot; the others become behind since this
    /// entry, every session ends and `losses` goes up. Without it the boot must be the in-sync one.
    Promote {
        /// Who.
        grant: Grant,
        /// Whether all in-sync replicas lost power.
        after_power_loss: bool,
    },
    /// The primary of `term` has stopped serving and said so.
    Demote {
        /// The term it served.
        term: Term,
        /// The node that should be promoted next, if it can be.
        prefer: Option<NodeId>,
    },
    /// Proposed by the primary: these replicas are no longer in sync. At least the primary remains,
    /// and all that remain have flushed what was acknowledged before.
    Shrink {
        /// Proposed in this term.
        term: Term,
        /// Who leaves, all with this one entry; become behind since it. Were they to leave one after
        /// the other, then one that has not flushed would remain for a while, and count as much as
        /// those that have if everything lost its power then.
        replicas: NodeSet,
    },
    /// Proposed by the primary: `replica` has caught up, drained and flushed.
    Grow {
        /// Proposed in this term.
        term: Term,
        /// Who joins.
        replica: NodeId,
        /// The boot in which it caught up.
        boot: BootId,
        /// The store it caught up in.
        store: StoreId,
    },
    /// The store on `replica` is another one than the log has: it becomes new. Not in sync unless
    /// it is the only one that is lost for good (then a person decides; not by this entry).
    Replace {
        /// Whose store.
        replica: NodeId,
        /// The store that it has now.
        store: StoreId,
    },
    /// A gateway opens its session; it ends that gateway's older one, and every other one unless
    /// the volume is shared. `openings` goes up.
    OpenSession {
        /// The new session.
        session: SessionRecord,
    },
}
