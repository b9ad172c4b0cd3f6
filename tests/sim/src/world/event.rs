//! What can happen next in a world.

use steadfast::engine::io::DiskId;
use steadfast::node::Signal;
use steadfast::types::NodeId;

use crate::net::Arm;

/// A thread of a node: what can be late or stopped by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// Heartbeats and lease.
    Pulse = 0,
    /// The cluster log.
    Core = 1,
    /// Volumes, clients, links and disk.
    Reactor = 2,
}

impl Part {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Pulse, Self::Core, Self::Reactor];
}

/// A node's thread, in one run of its daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Which node.
    pub node: NodeId,
    /// Which of its runs.
    pub run: u64,
    /// Which thread.
    pub part: Part,
}

/// What happens at a thread.
#[derive(Debug)]
pub enum Happening {
    /// A time given by `deadline` has come.
    Wake,
    /// A datagram for the pulse.
    Pulse(Vec<u8>),
    /// A datagram for the core.
    Core {
        /// Who wrote it.
        from: NodeId,
        /// What.
        bytes: Vec<u8>,
    },
    /// From another thread of the node.
    Signal(Box<Signal>),
    /// The log file has been written.
    Logged {
        /// The log file's own number.
        number: u64,
        /// The core's number.
        ticket: u64,
    },
    /// A disk operation ends.
    Disk {
        /// The disk's own number.
        number: u64,
        /// The engine's.
        id: DiskId,
    },
    /// An attempt to connect has failed.
    Unreachable {
        /// Whom to.
        peer: NodeId,
    },
    /// The lease may have changed, or a batch ends.
    Settle,
    /// A client connects.
    ClientCame {
        /// Which.
        client: usize,
        /// Which of its connections.
        connection: u32,
    },
    /// A client's connection has ended.
    ClientWent {
        /// Which connection.
        connection: u32,
    },
    /// A client's request has come: pieces of it.
    Request {
        /// Which client.
        client: usize,
        /// Which of its connections.
        connection: u32,
        /// Which request.
        request: u64,
    },
    /// Something has come by a link, or may now be taken from it.
    Link(Arm),
}

/// What happens in the world.
#[derive(Debug)]
pub enum Event {
    /// Something for a thread; nothing if that run is over.
    At(Place, Happening),
    /// A datagram arrives, for the run that is there then.
    Datagram {
        /// At which node.
        to: NodeId,
        /// For which of its threads.
        part: Part,
        /// It.
        happening: Happening,
    },
    /// A link's end is looked at (whoever receives).
    Link(Arm),
    /// A link that has been cut for so long breaks.
    LinkTimeout(u32),
    /// A connection is made, if it can be.
    Connect {
        /// Who wants it.
        from: NodeId,
        /// In which run.
        run: u64,
        /// With whom.
        to: NodeId,
    },
    /// A write of a dead daemon lands on the disk.
    DiskOrphan {
        /// Whose.
        node: NodeId,
        /// The disk's number for it.
        number: u64,
    },
    /// What a dead daemon had written to the log lands.
    LogOrphan(NodeId),
    /// The daemon starts, if it can.
    Start {
        /// Whose.
        node: NodeId,
        /// Only if nothing has started or stopped it since.
        life: u64,
    },
    /// The incarnation of a starting daemon is durable.
    Opened {
        /// Whose.
        node: NodeId,
        /// As in `Start`.
        life: u64,
        /// The log file's number.
        number: u64,
        /// The core's number.
        ticket: u64,
    },
    /// Somebody asks for the volume to be made, until it is there.
    Create,
    /// A stopped thread goes on.
    Resume(Place),
    /// A client wants to connect.
    ClientConnects(usize),
    /// A client may ask for something.
    ClientTurn {
        /// Which client.
        client: usize,
        /// In which connection.
        connection: u32,
    },
    /// A fault of this kind happens, and the next is planned.
    Fault(super::faults::Kind),
    /// A fault of this kind happens, close on something that matters.
    Strike {
        /// Which kind.
        kind: super::faults::Kind,
        /// Whom that was about.
        at: Option<NodeId>,
    },
    /// A fault ends.
    Heal(super::faults::Healing),
    /// The oracles look at everything.
    Checkpoint,
}
