//! What goes into the pulse, and what comes out.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::types::{BootId, Incarnation, Lease, NODES_MAX, NodeId, NodeSet};

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
    /// From the core: whether this node's log is the one that counts. A voter whose log was made anew
    /// does not know what it has promised, and acknowledges nothing until it does.
    Enrolled(bool),
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
    Lease(Lease),
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
