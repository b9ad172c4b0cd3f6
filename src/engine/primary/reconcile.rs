//! Reconciling: whatever may differ between the in-sync replicas when a primary takes over is
//! overwritten on the others from its own copy, and nobody sees it before that is done. Otherwise a
//! change that nobody acknowledged, once read, could vanish at the next failover.
//!
//! Each piece is a change with a new number, so that a failure in the middle leaves it in the lists
//! of those that have it. A change that this replica itself holds keeps its origin: with the data
//! travels the word that it has been applied. One that an earlier primary had overwritten here is not
//! held any more (`Unstable::overwrite`).

use super::attach::send;
use super::op::{Kind, Op};
use super::report::region_extent;
use super::{Cx, Phase, Primary};
use crate::engine::io::Buf;
use crate::types::{Extent, SessionId};
use crate::wire::frame::{Frame, Origin};

/// Pieces in flight at once.
const DEPTH: usize = 8;

#[derive(Clone, Copy, Debug)]
struct Piece {
    extent: Extent,
    origin: Origin,
    issued: bool,
}

/// What is left to do.
#[derive(Clone, Debug)]
pub(super) struct Reconcile {
    pieces: Vec<Piece>,
    issued: usize,
}

impl Reconcile {
    pub const fn new() -> Self {
        Self {
            pieces: Vec::new(),
            issued: 0,
        }
    }

    /// Another replica may hold this in another way.
    pub fn add(&mut self, extent: Extent) {
        let covers = |piece: &Piece| {
            piece.extent.offset <= extent.offset && extent.end() <= piece.extent.end()
        };
        if !self.pieces.iter().any(covers) {
            self.pieces.push(Piece {
                extent,
                origin: Origin::default(),
                issued: false,
            });
        }
    }

    /// Whether nobody may see these blocks yet.
    pub fn blocks(&self, extent: Extent) -> bool {
        self.pieces
            .iter()
            .any(|piece| piece.extent.overlaps(extent))
    }

    /// Whether every piece is done.
    pub fn is_done(&self) -> bool {
        self.pieces.is_empty()
    }
}

impl Primary {
    /// Adds what this replica itself holds, the newest change first, and then what others hold. A
    /// piece carries what is there when it is read, so whatever newer changes left in its place must
    /// have arrived before, with their origins; that of an overlapped older change was everywhere
    /// before the newer one got its number.
    pub(super) fn collect_own(&mut self, cx: &mut Cx<'_>) {
        let canaries = &cx.config.canaries;
        if canaries.skip_reconcile {
            self.reconcile.pieces.clear();
            return;
        }
        if canaries.reconcile_without_own_window {
            return;
        }
        let others = std::mem::take(&mut self.reconcile.pieces);
        let held: Vec<_> = cx.store.unstable.iter().collect();
        let oldest_first = cx.config.canaries.oldest_piece_first;
        let order = |at| {
            if oldest_first {
                at
            } else {
                held.len() - 1 - at
            }
        };
        for held in (0..held.len()).map(|at| held[order(at)]) {
            // Its data is here: a primary since may have had no note of it.
            if held.origin.session != SessionId(0) {
                cx.store.windows.note(self.term, held.origin);
            }
            self.reconcile.pieces.push(Piece {
                extent: held.extent,
                origin: held.origin,
                issued: false,
            });
        }
        if !cx.store.unstable.is_exact() {
            for region in cx.store.active_regions() {
                if let Some(extent) = region_extent(region, cx.config.size) {
                    self.reconcile.add(extent);
                }
            }
        }
        for other in others {
            self.reconcile.add(other.extent);
        }
    }

    pub(super) fn advance_reconcile(&mut self, cx: &mut Cx<'_>) {
        if self.phase != Phase::Serving || self.shrink.is_some() || self.failing {
            return;
        }
        if self.reconcile.is_done() {
            self.tell_reconciled(cx);
            return;
        }
        if self.counting == 0 && self.reconcile.issued == 0 {
            // Nobody to bring in line: the absent ones have it in their bitmaps.
            self.reconcile.pieces.clear();
            self.retry_held(cx);
            self.tell_reconciled(cx);
            return;
        }
        for at in 0..self.reconcile.pieces.len() {
            if self.reconcile.issued == DEPTH {
                return;
            }
            let piece = &mut self.reconcile.pieces[at];
            if piece.issued {
                continue;
            }
            piece.issued = true;
            let op = Op::own(Kind::Reconcile, piece.extent, piece.origin);
            self.reconcile.issued += 1;
            let id = self.ops.insert(op);
            self.lock(id, cx);
        }
    }

    /// A piece is on every replica that counts.
    pub(super) fn reconciled(&mut self, extent: Extent, cx: &mut Cx<'_>) {
        let piece = self
            .reconcile
            .pieces
            .iter()
            .position(|piece| piece.issued && piece.extent == extent);
        if let Some(at) = piece {
            self.reconcile.pieces.remove(at);
            self.reconcile.issued -= 1;
        }
        self.retry_held(cx);
    }

    /// Tells those that count, and this store, when what they reported is dealt with.
    pub(super) fn tell_reconciled(&mut self, cx: &mut Cx<'_>) {
        if self.phase != Phase::Serving || !self.reconcile.is_done() {
            return;
        }
        if !self.told_self {
            // Every piece is on every replica that counts.
            self.told_self = true;
            cx.store.reconcile_through(self.stable);
        }
        for at in 0..self.peers.len() {
            let peer = &mut self.peers[at];
            if peer.is_live() && peer.counts && !peer.told_reconciled {
                peer.told_reconciled = true;
                let through = peer.taken_up_at;
                if let Some(link) = peer.link {
                    send(link, Frame::Reconciled { through }, Buf::NONE, cx);
                }
            }
        }
    }
}
