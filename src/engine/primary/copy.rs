//! One copy of a resync, from its data to the replica's answer.
//!
//! A full copy compares first: a replica that holds nothing of use, as far as the log knows, may
//! still hold most of the data. The data is read once, under the copy's lock, and kept until the
//! replica has said whether its own has the same digest; if not, it is sent. What is the same is as
//! volatile there as what was copied: it stays marked until the replica has flushed.

use super::attach::send;
use super::op::{Kind, Op, State};
use super::{Cx, Primary};
use crate::engine::io::{Buf, LinkId};
use crate::types::{BLOCK, Extent};
use crate::wire::frame::{Digest, Frame};

impl Primary {
    /// The replica has written these regions at some time.
    pub(super) fn reported_written(&mut self, at: usize, first: u32, regions: u32) {
        if let Some(written) = &mut self.peers[at].report_written {
            let first = u64::from(first).min(written.len);
            written.set_range(first, u64::from(regions).min(written.len - first));
        }
    }

    /// Whether a copy to the replica begins with a comparison. Where it had nothing when it reported
    /// there is nothing to compare with.
    pub(super) fn compares(&self, at: usize, extent: Extent) -> bool {
        let resync = self.peers[at].resync.as_ref();
        resync.is_some_and(|resync| resync.may_hold(extent.region()))
    }

    /// The data of a copy is here, and the replica may have the same.
    pub(super) fn send_compare(&mut self, id: u32, at: usize, digest: Digest, cx: &mut Cx<'_>) {
        let Some((link, copy)) = self.copy_target(id, at, cx) else {
            return;
        };
        let op = self.ops.at(id);
        op.state = State::Comparing;
        let frame = Frame::Compare {
            resync: self.peers[at].attach,
            id: copy,
            extent: op.blocks,
            digest,
        };
        send(link, frame, Buf::NONE, cx);
    }

    /// The replica has compared.
    pub(super) fn compared(&mut self, at: usize, copy: u32, same: bool, cx: &mut Cx<'_>) {
        self.peers[at].heard_at = cx.now;
        let Some(id) = self.find_copy(at, copy, State::Comparing) else {
            return;
        };
        if same || cx.config.canaries.trust_digest_blindly {
            let blocks = self.settle_copy(id, at, cx);
            if let Some(resync) = &mut self.peers[at].resync {
                resync.equal += blocks;
            }
        } else {
            self.send_copy(id, at, false, cx);
        }
    }

    /// Sends a copy, whose data is here.
    pub(super) fn send_copy(&mut self, id: u32, at: usize, zero: bool, cx: &mut Cx<'_>) {
        let Some((link, copy)) = self.copy_target(id, at, cx) else {
            return;
        };
        let op = self.ops.at(id);
        op.state = State::Sent;
        let frame = Frame::Copy {
            resync: self.peers[at].attach,
            id: copy,
            extent: op.blocks,
            zero,
        };
        let buf = if zero { Buf::NONE } else { op.buf };
        send(link, frame, buf, cx);
    }

    /// By which link a copy goes, and its name there. Ends it if the resync is over.
    fn copy_target(&mut self, id: u32, at: usize, cx: &mut Cx<'_>) -> Option<(LinkId, u32)> {
        let Kind::Copy { id: copy, .. } = self.ops.at(id).kind else {
            panic!("not a copy");
        };
        let peer = &self.peers[at];
        if let (Some(link), Some(_)) = (peer.link, &peer.resync) {
            return Some((link, copy));
        }
        self.finish(id, cx);
        None
    }

    /// The copy that the replica speaks of, if it is that far.
    fn find_copy(&self, at: usize, copy: u32, state: State) -> Option<u32> {
        let of = |op: &Op| matches!(op.kind, Kind::Copy { peer, id } if usize::from(peer) == at && id == copy);
        self.ops
            .iter()
            .find(|(_, op)| of(op) && op.state == state)
            .map(|(id, _)| id)
    }

    /// The replica has stored a copy.
    pub(super) fn copied(&mut self, at: usize, copy: u32, cx: &mut Cx<'_>) {
        self.peers[at].heard_at = cx.now;
        let Some(id) = self.find_copy(at, copy, State::Sent) else {
            return;
        };
        let blocks = self.settle_copy(id, at, cx);
        if let Some(resync) = &mut self.peers[at].resync {
            resync.copied += blocks;
        }
    }

    /// The replica has what was to be copied. How many blocks.
    fn settle_copy(&mut self, id: u32, at: usize, cx: &mut Cx<'_>) -> u64 {
        let extent = self.ops.at(id).blocks;
        self.finish(id, cx);
        let node = self.peers[at].node;
        if let Some(resync) = &mut self.peers[at].resync {
            resync.in_flight -= 1;
            resync.acknowledged(extent);
            if cx.config.canaries.clear_bit_before_flush {
                cx.store.clear_dirty(node, extent);
            }
        }
        u64::from(extent.len) / BLOCK
    }
}
