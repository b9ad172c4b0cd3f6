//! What the pulse knows of one node.

use crate::member::io::Heartbeat;
use crate::types::{Incarnation, NodeSet, Time};

/// One node, as heard; of this node itself only what it promises itself.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Peer {
    /// The newest heard; 0 before anything was.
    pub(super) incarnation: Incarnation,
    /// Newest heartbeat of this incarnation.
    pub(super) sequence: u64,
    /// When that came, or when we began to listen.
    pub(super) heard_at: Time,
    /// Silent for D, or says that it counts as silent.
    pub(super) suspected: bool,
    /// It hears us, by its newest heartbeat.
    pub(super) hears_us: bool,
    /// Who it hears, by its newest heartbeat.
    pub(super) reach: NodeSet,
    /// What was last told with `Hearing`.
    pub(super) hearing: bool,
    /// When we last acknowledged a heartbeat of its.
    pub(super) acknowledged_at: Option<Time>,
    /// Promised: no incarnation up to this one is acknowledged.
    pub(super) forbidden: Incarnation,
    /// Known to be dead up to this incarnation.
    pub(super) dead: Incarnation,
    /// `Forbidden` is owed for this incarnation.
    pub(super) owed: Option<Incarnation>,
}

impl Peer {
    /// A node that was never heard.
    pub(super) fn unheard(now: Time) -> Self {
        Self {
            heard_at: now,
            ..Self::default()
        }
    }

    /// Heard, and not silent since.
    pub(super) const fn is_heard(&self) -> bool {
        self.incarnation.0 > 0 && !self.suspected
    }

    /// Incarnations up to this one are over: no heartbeat of theirs is acknowledged.
    pub(super) fn over(&self) -> Incarnation {
        self.forbidden.max(self.dead)
    }

    /// Whether the incarnation is known to be over without our doing: it is dead, or the node has a
    /// newer one, and who takes a newer one has ended the older one first.
    pub(super) fn has_ended(&self, incarnation: Incarnation) -> bool {
        self.dead >= incarnation || self.incarnation > incarnation
    }

    /// Whether the heartbeat is no replay, not overtaken by a newer one, and not of a dead run.
    pub(super) fn is_news(&self, heartbeat: &Heartbeat) -> bool {
        let newer = (self.incarnation, self.sequence) < (heartbeat.incarnation, heartbeat.sequence);
        newer && heartbeat.incarnation > self.dead
    }
}
