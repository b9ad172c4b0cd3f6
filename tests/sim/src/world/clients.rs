//! Clients, and the blocks that belong to one of them alone.

use steadfast::types::{BLOCK, Extent, NodeId, REGION};
use steadfast::wire::frame::{Ask, Change};

use super::World;
use super::event::Event;
use crate::oracle::grid::Grid;
use crate::oracle::history::Piece;
use crate::oracle::private::Private;
use crate::queue::{Instant, MILLI};
use crate::random::Random;

/// Blocks that belong to one client alone.
pub(super) const OWN_BLOCKS: u64 = 4;

/// What a piece of a request is to the oracles.
#[derive(Clone, Copy, Debug)]
pub enum Known {
    /// A read or write of registers with different values.
    Shared(Piece),
    /// Of the client's own blocks; a change stores values with this number, 0 for zeroes.
    Own(u64),
    /// A flush.
    Flush,
}

/// A piece of a request.
#[derive(Clone, Copy, Debug)]
pub struct Pending {
    /// Whose.
    pub client: usize,
    /// By which connection.
    pub connection: u32,
    /// Of which request.
    pub request: u64,
    /// What.
    pub ask: Ask,
    /// Where.
    pub extent: Extent,
    /// For the oracles.
    pub known: Known,
    /// When it came.
    pub call: Instant,
}

/// A request of a client.
#[derive(Clone, Copy, Debug)]
pub(super) struct Request {
    pub(super) number: u64,
    pub(super) ask: Ask,
    pub(super) extent: Extent,
    pub(super) own: bool,
    /// Pieces that have not been answered; 0 until it has reached the node.
    pub(super) left: usize,
}

/// A client.
#[derive(Debug)]
pub struct Client {
    /// Where it is connected, or wants to be.
    pub node: NodeId,
    /// In which run, while connected.
    pub run: Option<u64>,
    /// Counts its connections; all clients' numbers differ.
    pub connection: u32,
    pub(super) requests: Vec<Request>,
    pub(super) next: u64,
    /// First of its own blocks.
    pub(super) own: u64,
    pub(super) own_busy: bool,
    pub(super) registers: Vec<Private>,
    /// Answers of any kind.
    pub answers: u64,
    /// Connections that ended against its will.
    pub disconnects: u64,
    /// Asks only what it is told to ask.
    pub(super) scripted: bool,
    pub(super) random: Random,
}

impl Client {
    pub(super) fn new(node: NodeId, own: u64, registers: usize, random: Random) -> Self {
        Self {
            node,
            run: None,
            connection: 0,
            requests: Vec::new(),
            next: 0,
            own,
            own_busy: false,
            registers: vec![Private::default(); registers],
            answers: 0,
            disconnects: 0,
            scripted: false,
            random,
        }
    }

    /// Whether this request of its has not been answered.
    #[must_use]
    pub fn waits_for(&self, request: u64) -> bool {
        self.requests.iter().any(|r| r.number == request)
    }

    /// Whether it has been answered since it had so many answers, or has nothing to ask.
    #[must_use]
    pub const fn progressed(&self, answers: u64) -> bool {
        self.answers > answers || (self.scripted && self.requests.is_empty())
    }

    /// Whether it waits for nothing.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.requests.is_empty()
    }

    /// Whether it is connected.
    #[must_use]
    pub const fn is_connected(&self) -> bool {
        self.run.is_some()
    }
}

impl World {
    /// Places that clients work on: around regions' borders and inside.
    pub(super) fn make_clients(&mut self) {
        let load = self.options.load;
        let size = self.options.size;
        let blocks = size / BLOCK;
        self.spots = (0..load.spots)
            .map(|_| match self.random.below(3) {
                0 if size > REGION => self.random.within(1, size / REGION - 1) * REGION - BLOCK,
                1 => self.random.below(blocks / 4) * BLOCK,
                _ => self.random.below(blocks - OWN_BLOCKS * 16) * BLOCK,
            })
            .collect();
        // Their own blocks are at the end, where no spot reaches.
        for client in 0..load.clients {
            let node = self.random.index(self.nodes.len());
            let own = blocks - OWN_BLOCKS * (client as u64 + 1);
            let registers = self.grid.count(OWN_BLOCKS * BLOCK);
            let random = self.random.fork();
            let node = NodeId(node as u8);
            self.clients.push(Client::new(node, own, registers, random));
            let at = self.random.within(20 * MILLI, 150 * MILLI);
            self.queue.push(at, Event::ClientConnects(client));
        }
    }

    /// Where the clients' own blocks begin.
    pub(super) fn own_begin(&self) -> u64 {
        self.options.size - OWN_BLOCKS * BLOCK * self.options.load.clients as u64
    }

    /// What a change does to: of a trim, a block that is trimmed only in part stays as it is.
    pub(super) fn changed_extent(ask: Ask, extent: Extent) -> Extent {
        let trim = matches!(
            ask,
            Ask::Change {
                change: Change::Trim,
                ..
            }
        );
        if !trim {
            return extent;
        }
        let offset = extent.offset.next_multiple_of(BLOCK);
        let end = extent.end() / BLOCK * BLOCK;
        Extent {
            offset,
            len: end.saturating_sub(offset) as u32,
        }
    }

    /// The client's private registers that an extent covers, as indices of its own.
    pub(super) fn own_registers(&self, client: usize, extent: Extent) -> std::ops::Range<usize> {
        if extent.len == 0 {
            return 0..0;
        }
        let base = self.clients[client].own * BLOCK;
        let local = self.grid.registers(Extent {
            offset: extent.offset - base,
            len: extent.len,
        });
        local.start as usize..local.end as usize
    }

    pub(super) fn own_value(&self, client: usize, number: u64, register: usize) -> u64 {
        if number == 0 {
            return 0;
        }
        let base = Extent {
            offset: self.clients[client].own * BLOCK,
            len: BLOCK as u32,
        };
        let first = self.grid.registers(base).start;
        Grid::value(number, first + register as u32)
    }

    /// A flush asked at `call` was answered: the clients' own blocks.
    pub(super) fn own_flushed(&mut self, call: Instant) {
        for client in &mut self.clients {
            for register in &mut client.registers {
                register.flushed(call);
            }
        }
    }

    /// Every in-sync replica lost power: the clients' own blocks.
    pub(super) fn own_crashed(&mut self, at: Instant) {
        for client in &mut self.clients {
            for register in &mut client.registers {
                register.crashed(at);
            }
        }
    }
}
