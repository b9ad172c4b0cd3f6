//! What clients are told, and what the oracles make of it.

use steadfast::engine::io::{Buf, Tag};
use steadfast::types::{BLOCK, Extent, NodeId};
use steadfast::wire::frame::Ask;

use super::World;
use super::clients::{Known, Pending};
use super::event::Event;
use crate::oracle::grid::Grid;
use crate::queue::{Instant, MICRO};
use crate::slab;

/// `EIO`
const EIO: u16 = 5;
/// `ESHUTDOWN`
const ESHUTDOWN: u16 = 108;

impl World {
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
}
