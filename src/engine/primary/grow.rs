//! The end of a resync: the replica counts, catches up with what is under way, flushes, and is
//! proposed to the log; until that is decided it counts.

use super::attach::send;
use super::peer::Grow;
use super::resync::Step;
use super::{Cx, Primary};
use crate::engine::bits::Run;
use crate::engine::io::{Buf, Effect, Note};
use crate::wire::frame::Frame;

impl Primary {
    /// Nothing is left to be copied: the replica counts from now on.
    pub(super) fn begin_counting(&mut self, at: usize, cx: &mut Cx<'_>) {
        let Some(link) = self.peers[at].link else {
            return;
        };
        self.hand_windows(link, cx);
        if !cx.config.canaries.skip_grow_bitmaps {
            self.hand_bitmaps(at, cx);
        }
        let entry = cx.record.last_entry;
        send(link, Frame::DirtyRunsEnd { entry }, Buf::NONE, cx);
        let upto = self.seq;
        let peer = &mut self.peers[at];
        peer.configures += 1;
        peer.counts = true;
        peer.told_reconciled = true;
        if let Some(resync) = &mut peer.resync {
            resync.step = Step::Catching { upto };
        }
        send(link, Frame::Reconciled { through: upto }, Buf::NONE, cx);
        self.refresh(cx);
    }

    fn hand_bitmaps(&self, at: usize, cx: &mut Cx<'_>) {
        let Some(link) = self.peers[at].link else {
            return;
        };
        for (other, peer) in self.peers.iter().enumerate() {
            if other == at || other == self.me {
                continue;
            }
            let Some((since, bits)) = cx.store.dirty(peer.node) else {
                continue;
            };
            let absent = peer.node;
            let mut from = Some(Run { first: 0, count: 0 });
            while let Some(Run { first, count }) = from {
                cx.out.push(Effect::Send {
                    link,
                    frame: Frame::DirtyRun {
                        absent,
                        since,
                        first,
                        blocks: count,
                    },
                    buf: Buf::NONE,
                });
                from = bits.next_run(first + count, u64::MAX / 2, u64::MAX / 2);
            }
        }
    }

    /// Everything up to the moment it began to count is durable there.
    pub(super) fn caught_up(&mut self, at: usize, cx: &mut Cx<'_>) {
        let peer = &mut self.peers[at];
        let Some(resync) = peer.resync.take() else {
            return;
        };
        peer.grow = Some(Grow {
            boot: peer.boot,
            store: peer.report_store,
        });
        self.propose_at = cx.now;
        cx.out.push(Effect::Note(Note::ResyncDone {
            replica: peer.node,
            copied: resync.copied,
            equal: resync.equal,
        }));
    }

    /// The log says that the replica is in sync.
    pub(super) fn grown(&mut self, at: usize, cx: &mut Cx<'_>) {
        let peer = &mut self.peers[at];
        peer.grow = None;
        peer.counts = true;
        peer.reported = true;
        let node = self.node_of(at);
        cx.store.end_absent(node, cx.out);
        for other in 0..self.peers.len() {
            if other != self.me && self.peers[other].counts && self.peers[other].is_live() {
                self.send_mark(other, at, cx);
            }
        }
    }
}
