//! What clients ask, and its way into the engine.

use std::rc::Rc;

use steadfast::engine::io::{Buf, Event as EngineEvent, Tag};
use steadfast::types::{BLOCK, Extent, NodeId, REGION};
use steadfast::wire::frame::{Ask, Change};

use super::World;
use super::clients::{Known, OWN_BLOCKS, Pending, Request};
use super::event::{Event, Happening, Part, Place};
use crate::disk::SECTOR;
use crate::oracle::grid::Grid;
use crate::queue::MICRO;
use crate::slab::{self, GARBAGE};

impl World {
    pub(super) fn client_turn(&mut self, client: usize, connection: u32) {
        let this = &self.clients[client];
        if self.stopping || this.connection != connection || !this.is_connected() || this.scripted {
            return;
        }
        let (ask, extent, own) = self.client_thinks(client);
        self.client_asks(client, ask, extent, own);
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
}
