//! Clients: what they ask, what they are told, where they connect.

use std::rc::Rc;

use steadfast::engine::io::{Buf, ClientId, Event as EngineEvent, Tag};
use steadfast::types::{BLOCK, Extent, NodeId, REGION};
use steadfast::wire::frame::{Ask, Change};

use super::World;
use super::event::{Event, Happening, Part, Place};
use crate::disk::SECTOR;
use crate::oracle::grid::Grid;
use crate::oracle::history::Piece;
use crate::oracle::private::Private;
use crate::queue::{Instant, MICRO, MILLI};
use crate::random::Random;
use crate::slab::{self, GARBAGE};

/// `EIO`
const EIO: u16 = 5;
/// `ESHUTDOWN`
const ESHUTDOWN: u16 = 108;
/// Blocks that belong to one client alone.
const OWN_BLOCKS: u64 = 4;

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
struct Request {
    number: u64,
    ask: Ask,
    extent: Extent,
    own: bool,
    /// Pieces that have not been answered; 0 until it has reached the node.
    left: usize,
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
    requests: Vec<Request>,
    next: u64,
    /// First of its own blocks.
    own: u64,
    own_busy: bool,
    registers: Vec<Private>,
    /// Answers of any kind.
    pub answers: u64,
    /// Connections that ended against its will.
    pub disconnects: u64,
    /// Asks only what it is told to ask.
    scripted: bool,
    random: Random,
}

impl Client {
    fn new(node: NodeId, own: u64, registers: usize, random: Random) -> Self {
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
    fn changed_extent(ask: Ask, extent: Extent) -> Extent {
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
    fn own_registers(&self, client: usize, extent: Extent) -> std::ops::Range<usize> {
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

    pub(super) fn client_connects(&mut self, client: usize) {
        if self.stopping || self.clients[client].is_connected() {
            return;
        }
        let node = self.clients[client].node;
        let Some(run) = self.node(node).run.as_ref().map(|run| run.number) else {
            // Refused: another node, or the same later.
            let mut wait = self.clients[client].random.within(MILLI, 20 * MILLI);
            if self.clients[client].random.chance(600) {
                self.client_moves(client);
                wait /= 4;
            }
            self.queue.after(wait, Event::ClientConnects(client));
            return;
        };
        self.connections += 1;
        let connection = self.connections;
        self.clients[client].connection = connection;
        self.clients[client].run = Some(run);
        let place = self.place(node, run, Part::Reactor);
        let came = Happening::ClientCame { client, connection };
        self.queue.after(50 * MICRO, Event::At(place, came));
        let scripted = self.clients[client].scripted;
        for _ in 0..if scripted { 0 } else { self.options.load.depth } {
            let wait = 60 * MICRO + self.clients[client].random.below(MILLI);
            self.queue
                .after(wait, Event::ClientTurn { client, connection });
        }
    }

    fn client_moves(&mut self, client: usize) {
        let nodes = self.nodes.len();
        // Where only one gateway may have the volume, clients mostly gather.
        let gather = !self.options.shared && self.clients[client].random.chance(800);
        let node = if gather {
            self.clients[0].node
        } else {
            NodeId(self.clients[client].random.index(nodes) as u8)
        };
        self.clients[client].node = node;
    }

    /// The connection is over; what was asked may have happened or not.
    pub(super) fn client_dropped(&mut self, client: usize, wanted: bool) {
        let this = &mut self.clients[client];
        if this.run.take().is_none() {
            return;
        }
        if !wanted {
            this.disconnects += 1;
        }
        this.own_busy = false;
        this.requests.clear();
        let wait = this.random.within(MILLI, 60 * MILLI);
        if this
            .random
            .chance(if self.options.shared { 400 } else { 150 })
        {
            self.client_moves(client);
        }
        self.queue.after(wait, Event::ClientConnects(client));
    }

    /// The client goes of its own will, perhaps in the middle of its requests.
    pub(super) fn client_leaves(&mut self, client: usize) {
        let this = &self.clients[client];
        let Some(run) = this.run else { return };
        let connection = this.connection;
        let place = self.place(this.node, run, Part::Reactor);
        self.queue.after(
            30 * MICRO,
            Event::At(place, Happening::ClientWent { connection }),
        );
        self.abandon(client);
        self.client_dropped(client, true);
    }

    /// What the client has asked of its own blocks and is not going to hear of.
    fn abandon(&mut self, client: usize) {
        let (node, run) = (self.clients[client].node, self.clients[client].run);
        let connection = self.clients[client].connection;
        let mut lost = Vec::new();
        if let Some(running) = self.node(node).run.as_ref()
            && Some(running.number) == run
        {
            let all = running.pending.iter().flatten().chain(&running.backlog);
            lost.extend(all.filter(|p| p.connection == connection).copied());
        }
        for piece in lost {
            self.unanswered(&piece);
        }
    }

    /// A piece that will not be answered (any more).
    pub(super) fn unanswered(&mut self, piece: &Pending) {
        if self.clients[piece.client].connection != piece.connection
            || self.clients[piece.client].run.is_none()
        {
            return;
        }
        if let (Known::Own(number), Ask::Change { .. }) = (piece.known, piece.ask) {
            let extent = Self::changed_extent(piece.ask, piece.extent);
            for register in self.own_registers(piece.client, extent) {
                let value = self.own_value(piece.client, number, register);
                self.clients[piece.client].registers[register].lost(value);
            }
        }
    }

    fn own_value(&self, client: usize, number: u64, register: usize) -> u64 {
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

    pub(super) fn client_turn(&mut self, client: usize, connection: u32) {
        let this = &self.clients[client];
        if self.stopping || this.connection != connection || !this.is_connected() || this.scripted {
            return;
        }
        let (ask, extent, own) = self.client_thinks(client);
        self.client_asks(client, ask, extent, own);
    }

    /// A client that only asks what a script says, at a node.
    pub fn add_client(&mut self, node: NodeId) -> usize {
        let client = self.clients.len();
        let random = self.random.fork();
        let mut made = Client::new(node, 0, 0, random);
        made.scripted = true;
        self.clients.push(made);
        self.queue.push(self.now(), Event::ClientConnects(client));
        client
    }

    /// The client asks; gives the request's number.
    pub fn client_asks(&mut self, client: usize, ask: Ask, extent: Extent, own: bool) -> u64 {
        let this = &mut self.clients[client];
        let connection = this.connection;
        let place = Place {
            node: this.node,
            run: this.run.unwrap_or(0),
            part: Part::Reactor,
        };
        this.next += 1;
        let request = this.next;
        this.own_busy |= own;
        this.requests.push(Request {
            number: request,
            ask,
            extent,
            own,
            left: 0,
        });
        let happening = Happening::Request {
            client,
            connection,
            request,
        };
        let way = 5 * MICRO + this.random.below(20 * MICRO);
        self.queue.after(way, Event::At(place, happening));
        request
    }

    fn client_thinks(&mut self, client: usize) -> (Ask, Extent, bool) {
        let load = self.options.load;
        let (grid, size, own_begin) = (self.grid, self.options.size, self.own_begin());
        let spots = &self.spots;
        let this = &mut self.clients[client];
        let random = &mut this.random;
        if random.chance(load.flushes) {
            return (Ask::Flush, Extent::default(), false);
        }
        let sector = SECTOR as u64;
        let own = !this.own_busy && random.chance(load.private);
        let (base, room) = if own {
            (this.own * BLOCK, OWN_BLOCKS * BLOCK)
        } else {
            let spot = *random.pick(spots);
            (spot, (own_begin - spot).min(16 * BLOCK))
        };
        let shift = if random.chance(700) { grid.shift } else { 0 };
        let (mut first, mut sectors) = if random.chance(400) {
            // Whole blocks.
            let blocks = room / BLOCK;
            let first = random.below(blocks.min(4));
            let count = random.within(1, (blocks - first).min(4));
            (first * 8, count * 8)
        } else {
            let first = random.below((room / sector).min(24) - 1);
            let count = random.within(1, (room / sector - first - 1).min(12));
            (first, count)
        };
        if !own && random.chance(load.large) {
            first = 0;
            sectors = random.within(8, 520).min((own_begin - base) / sector - 1);
        }
        let extent = Extent {
            offset: base
                + first * sector
                + if sectors % 8 == 0 && first % 8 == 0 {
                    0
                } else {
                    shift
                },
            len: (sectors * sector) as u32,
        };
        assert!(extent.end() <= size, "requests stay inside");
        let ask = if random.chance(load.reads) {
            Ask::Read
        } else {
            let change = if own {
                *random.pick(&[
                    Change::Write,
                    Change::Write,
                    Change::Zero,
                    Change::ZeroAllocated,
                    Change::Trim,
                ])
            } else {
                Change::Write
            };
            Ask::Change {
                change,
                fua: random.chance(load.fua),
            }
        };
        (ask, extent, own)
    }

    /// A request has reached its node: it is cut into pieces.
    pub(super) fn request_came(
        &mut self,
        node: NodeId,
        client: usize,
        connection: u32,
        request: u64,
    ) {
        if self.clients[client].connection != connection || !self.clients[client].is_connected() {
            return;
        }
        let now = self.now();
        let Some(at) = self.clients[client]
            .requests
            .iter()
            .position(|r| r.number == request)
        else {
            return;
        };
        let Request {
            ask, extent, own, ..
        } = self.clients[client].requests[at];
        let mut pieces = Vec::new();
        let mut offset = extent.offset;
        loop {
            let end = extent.end().min((offset / REGION + 1) * REGION);
            pieces.push(Extent {
                offset,
                len: (end - offset) as u32,
            });
            offset = end;
            if offset >= extent.end() {
                break;
            }
        }
        self.clients[client].requests[at].left = pieces.len();
        for extent in pieces {
            let known = match ask {
                Ask::Flush => Known::Flush,
                Ask::Read if own => Known::Own(0),
                Ask::Change { change, .. } if own => {
                    self.own_writes += 1;
                    let number = (1 << 38) + self.own_writes;
                    Known::Own(if change == Change::Write { number } else { 0 })
                }
                Ask::Read => Known::Shared(self.history.call(extent, false, false, now)),
                Ask::Change { fua, .. } => Known::Shared(self.history.call(extent, true, fua, now)),
            };
            let pending = Pending {
                client,
                connection,
                request,
                ask,
                extent,
                known,
                call: now,
            };
            let run = self.nodes[node.0 as usize].run.as_mut();
            run.expect("the request reached a run")
                .backlog
                .push_back(pending);
        }
        self.feed(node);
    }

    /// Gives waiting pieces to the engine while it has room.
    pub(super) fn feed(&mut self, node: NodeId) {
        loop {
            let grid = self.grid;
            let own = |client: usize| self.clients[client].own;
            let Some(run) = self.nodes[node.0 as usize].run.as_mut() else {
                return;
            };
            if run.backlog.is_empty() || run.volume.room() == 0 {
                return;
            }
            let piece = run.backlog.pop_front().expect("just seen");
            let mut buf = Buf::NONE;
            if let Ask::Change {
                change: Change::Write,
                ..
            } = piece.ask
            {
                let mut bytes = vec![GARBAGE; slab::size_of(piece.extent)];
                let place = slab::place(piece.extent);
                let data = &mut bytes[place..place + piece.extent.len as usize];
                match piece.known {
                    Known::Shared(known) => self.history.fill(known, data),
                    Known::Own(number) => {
                        assert!(piece.extent.offset >= own(piece.client) * BLOCK);
                        for register in grid.registers(piece.extent) {
                            let (offset, len) = grid.extent(register);
                            let at = (offset - piece.extent.offset) as usize;
                            Grid::fill(&mut data[at..at + len], Grid::value(number, register));
                        }
                    }
                    Known::Flush => {}
                }
                buf = run.slab.give(Rc::new(bytes));
            }
            let tag = run.tags.pop().unwrap_or_else(|| {
                run.pending.push(None);
                (run.pending.len() - 1) as u32
            });
            run.pending[tag as usize] = Some(piece);
            self.step_volume(
                node,
                EngineEvent::Request {
                    tag: Tag(tag),
                    ask: piece.ask,
                    extent: piece.extent,
                    buf,
                },
            );
        }
    }

    /// The engine has answered a piece.
    pub(super) fn answered(&mut self, node: NodeId, tag: Tag, errno: u16, buf: Buf) {
        let now = self.now();
        let Some(run) = self.nodes[node.0 as usize].run.as_mut() else {
            return;
        };
        let Some(piece) = run.pending.get_mut(tag.0 as usize).and_then(Option::take) else {
            return self.fail("driver", format!("n{} answers tag {} twice", node.0, tag.0));
        };
        run.tags.push(tag.0);
        let ret = run.answered.unwrap_or(now);
        let bytes = if buf.is_some() {
            match run.slab.bytes(buf, "Reply") {
                Ok(bytes) => Some(bytes),
                Err(e) => return self.fail("driver", e),
            }
        } else {
            None
        };
        self.trace(node, || {
            format!(
                "answers {:?} {:?} {:?} with {errno}",
                piece.ask, piece.extent, piece.known
            )
        });
        let here = self.clients[piece.client].connection == piece.connection
            && self.clients[piece.client].is_connected();
        if !here {
            return;
        }
        if errno != 0 {
            if errno == EIO && !self.disks_failed {
                self.fail("errors", format!("EIO although no disk failed: {piece:?}"));
            } else if errno != EIO && errno != ESHUTDOWN {
                self.fail("errors", format!("errno {errno} for {piece:?}"));
            }
            self.unanswered(&piece);
        } else if let Err(text) = self.account(&piece, ret, bytes.as_deref().map(Vec::as_slice)) {
            self.fail("linearizable", format!("n{} {piece:?}: {text}", node.0));
        }
        let client = &mut self.clients[piece.client];
        client.answers += 1;
        let Some(at) = client
            .requests
            .iter()
            .position(|r| r.number == piece.request)
        else {
            return;
        };
        client.requests[at].left -= 1;
        if client.requests[at].left == 0 {
            let done = client.requests.swap_remove(at);
            if done.own {
                client.own_busy = false;
            }
            let wait = 10 * MICRO + client.random.around(self.options.load.think);
            self.queue.after(
                wait,
                Event::ClientTurn {
                    client: piece.client,
                    connection: piece.connection,
                },
            );
        }
    }

    /// Tells the oracles of a successful answer.
    fn account(
        &mut self,
        piece: &Pending,
        ret: Instant,
        bytes: Option<&[u8]>,
    ) -> Result<(), String> {
        let data = if piece.ask == Ask::Read {
            let place = slab::place(piece.extent);
            let bytes = bytes.ok_or("a read was answered without data")?;
            bytes
                .get(place..place + piece.extent.len as usize)
                .ok_or("a read was answered with too little data")?
        } else {
            &[]
        };
        match piece.known {
            Known::Shared(known) => self.history.ret(known, data, ret),
            Known::Flush => {
                self.history.flushed(piece.call, ret);
                self.own_flushed(piece.call);
                Ok(())
            }
            Known::Own(number) => {
                self.own_operations += 1;
                let last_crash = self.history.crashes().last().copied();
                let extent = Self::changed_extent(piece.ask, piece.extent);
                for register in self.own_registers(piece.client, extent) {
                    let value = self.own_value(piece.client, number, register);
                    let here = &mut self.clients[piece.client].registers[register];
                    // An answer from before the loss of power that arrives after it.
                    let stale = last_crash.is_some_and(|at| ret <= at);
                    if let Ask::Change { fua, .. } = piece.ask {
                        if stale && !fua {
                            here.lost(value);
                        } else {
                            here.changed(value, ret);
                        }
                        if fua {
                            here.forced();
                        }
                        continue;
                    }
                    if stale {
                        continue;
                    }
                    let base = self.clients[piece.client].own * BLOCK;
                    let local = self.grid.extent(register as u32);
                    let at = (base + local.0 - piece.extent.offset) as usize;
                    let first = self.grid.registers(Extent {
                        offset: base,
                        len: BLOCK as u32,
                    });
                    let place = first.start + register as u32;
                    let value = Grid::parse(&data[at..at + local.1], place)?;
                    let here = &mut self.clients[piece.client].registers[register];
                    here.read(value, ret)
                        .map_err(|e| format!("own register {place}: {e}"))?;
                }
                Ok(())
            }
        }
    }

    /// The engine ends all connections of this node.
    pub(super) fn disconnect_clients(&mut self, node: NodeId) {
        let Some(run) = self.nodes[node.0 as usize].run.as_mut() else {
            return;
        };
        let connections = std::mem::take(&mut run.connections);
        let number = run.number;
        for client in 0..self.clients.len() {
            let this = &self.clients[client];
            if this.node == node
                && this.run == Some(number)
                && connections.contains(&this.connection)
            {
                self.abandon(client);
                self.client_dropped(client, false);
                self.marks.count("clients disconnected");
            }
        }
        if let Some(run) = self.nodes[node.0 as usize].run.as_mut() {
            run.backlog.retain(|p| !connections.contains(&p.connection));
        }
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

    /// The engine's number of a connection.
    #[must_use]
    pub(super) const fn client_id(connection: u32) -> ClientId {
        ClientId(connection)
    }
}
