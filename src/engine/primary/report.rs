//! What replicas say by their links.

use super::peer::{Fault, Stage};
use super::{Cx, Primary};
use crate::engine::io::{Effect, LinkId};
use crate::meta::recovered::Bits;
use crate::record::{ReplicaState, VolumeChange};
use crate::types::{BLOCK, Extent, NodeId, REGION};
use crate::wire::frame::{Frame, Purpose, Refusal};

/// What came of a frame, for the facade.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) enum Heard {
    /// Go on.
    Fine,
    /// A replica has seen a higher term: this primary is over.
    Superseded,
}

impl Primary {
    /// A frame of a replica has come by its link. It carries no payload.
    pub fn frame(&mut self, link: LinkId, frame: Frame, cx: &mut Cx<'_>) -> Heard {
        let Some(at) = self.peer_of(link) else {
            panic!("another's link");
        };
        if self.peers[at].stage == Stage::Connecting {
            // It answers what was not asked.
            self.hang_up(at, cx);
            return Heard::Fine;
        }
        match frame {
            Frame::ReportBegin {
                resync,
                store,
                boot,
                exact,
                ..
            } if resync == self.peers[at].attach => {
                let peer = &mut self.peers[at];
                peer.report_store = store;
                peer.boot = boot;
                peer.report_exact = exact;
                self.report_begins(at, cx);
            }
            Frame::ReportChange { extent, .. } => self.reported(at, extent, cx),
            Frame::ReportActive { first, regions } => {
                for region in first..first.saturating_add(regions) {
                    if let Some(extent) = region_extent(region, cx.config.size) {
                        self.reported(at, extent, cx);
                    }
                }
            }
            Frame::ReportWritten { first, regions } => {
                // Only one that holds nothing of use can have data where nobody else has.
                if self.peers[at].state == ReplicaState::New {
                    self.reported_written(at, first, regions);
                    for region in first..first.saturating_add(regions) {
                        if let Some(extent) = region_extent(region, cx.config.size) {
                            self.reported(at, extent, cx);
                        }
                    }
                }
            }
            Frame::ReportEnd { resync } if resync == self.peers[at].attach => {
                self.report_ends(at, cx);
            }
            Frame::Changed { seq, errno } => {
                if errno == 0 {
                    self.acknowledged(at, seq, cx);
                } else {
                    self.peer_failed(at, cx);
                }
            }
            Frame::Copied { resync, id, errno } => {
                if errno != 0 {
                    self.peer_failed(at, cx);
                } else if resync == self.peers[at].attach {
                    self.copied(at, id, cx);
                }
            }
            Frame::Compared {
                resync,
                id,
                same,
                errno,
            } => {
                if errno != 0 {
                    self.peer_failed(at, cx);
                } else if resync == self.peers[at].attach {
                    self.compared(at, id, same, cx);
                }
            }
            Frame::Flushed { id, errno } => {
                if errno == 0 {
                    self.flushed_by(at, id, cx);
                } else {
                    self.peer_failed(at, cx);
                }
            }
            Frame::Configured { errno, .. } => {
                if errno == 0 {
                    let peer = &mut self.peers[at];
                    peer.configures = peer.configures.saturating_sub(1);
                    if peer.configures == 0 {
                        self.sweep(cx);
                    }
                } else {
                    self.peer_failed(at, cx);
                }
            }
            Frame::Refused { why, term } => match why {
                Refusal::OldTerm if term > self.term => return Heard::Superseded,
                Refusal::StoreFailed | Refusal::NoStore => self.peer_failed(at, cx),
                Refusal::OldTerm | Refusal::TooEarly | Refusal::NotPrimary | Refusal::NoSession => {
                    self.hang_up(at, cx);
                }
            },
            // An echo of an earlier attach, or of windows that this primary does not take.
            Frame::ReportBegin { .. } | Frame::ReportEnd { .. } | Frame::ReportWindow(_) => {}
            // It breaks the protocol.
            _ => self.hang_up(at, cx),
        }
        self.pump(cx);
        Heard::Fine
    }

    fn report_begins(&mut self, at: usize, cx: &mut Cx<'_>) {
        let new = self.is_new_to(at, cx);
        let peer = &mut self.peers[at];
        let who = (peer.report_store, peer.boot);
        peer.report_counts = match peer.purpose {
            Purpose::InSync => !peer.reported,
            // What it held in this boot was taken in already, and is in its bitmap.
            Purpose::Resync => peer.incorporated != Some(who),
        };
        peer.report_written = (peer.state == ReplicaState::New)
            .then(|| Bits::zeroes(cx.config.size.div_ceil(REGION)));
        if new {
            // A copy of everything, begun for this store.
            self.begin_absent(at, crate::types::Index(0), cx);
            self.refresh(cx);
        }
    }

    /// Whether a replica that holds nothing of use has come with another store than the one that
    /// its bitmap is about.
    fn is_new_to(&self, at: usize, _cx: &Cx<'_>) -> bool {
        let peer = &self.peers[at];
        peer.state == ReplicaState::New
            && peer.purpose == Purpose::Resync
            && peer
                .incorporated
                .is_some_and(|(store, _)| store != peer.report_store)
    }

    fn reported(&mut self, at: usize, extent: Extent, cx: &mut Cx<'_>) {
        let peer = &self.peers[at];
        if !peer.report_counts || extent.end() > cx.config.size {
            return;
        }
        match peer.purpose {
            Purpose::InSync => self.reconcile.add(extent),
            Purpose::Resync => {
                let node = peer.node;
                cx.store.mark_reported(node, extent);
            }
        }
    }

    fn report_ends(&mut self, at: usize, cx: &mut Cx<'_>) {
        if self.peers[at].stage != Stage::Attaching {
            self.hang_up(at, cx);
            return;
        }
        let peer = &mut self.peers[at];
        let store_is_known = peer.report_store == peer.store;
        match peer.purpose {
            Purpose::InSync => {
                let boot = match (peer.state, peer.grow) {
                    (ReplicaState::InSync { boot }, _) => Some(boot),
                    (_, Some(grow)) => Some(grow.boot),
                    _ => None,
                };
                let boot_is_known = boot == Some(peer.boot) || cx.config.canaries.ignore_boot;
                if store_is_known && boot_is_known {
                    peer.reported = true;
                    self.take_up(at, cx);
                } else {
                    // It has lost what it had not flushed, or all.
                    self.give_up(at, Fault::Other, cx);
                    if self.peers[at].link.is_some() {
                        self.hang_up(at, cx);
                    }
                }
            }
            Purpose::Resync if store_is_known => {
                peer.incorporated = Some((peer.report_store, peer.boot));
                self.begin_resync(at, cx);
            }
            Purpose::Resync => {
                // The record must say first that it is another replica.
                let (replica, store) = (peer.node, peer.report_store);
                cx.out.push(Effect::Propose {
                    prev: cx.record.last_entry,
                    change: VolumeChange::Replace { replica, store },
                });
                self.hang_up(at, cx);
                self.peers[at].retry_at = cx.now.after(cx.config.timing.propose_every);
            }
        }
    }

    /// A replica has failed to do what it was asked.
    pub(super) fn peer_failed(&mut self, at: usize, cx: &mut Cx<'_>) {
        self.give_up(at, Fault::Store, cx);
        if self.peers[at].link.is_some() {
            self.hang_up(at, cx);
        }
        // Its disk will not be better at once.
        self.peers[at].retry_at = cx.now.after(cx.config.timing.stall / 4);
    }

    /// The node of a peer, for effects.
    pub(super) fn node_of(&self, at: usize) -> NodeId {
        self.peers[at].node
    }
}

/// The bytes of a region of a volume of that size.
pub(in crate::engine) fn region_extent(region: u32, size: u64) -> Option<Extent> {
    let offset = u64::from(region) * REGION;
    (offset < size).then(|| Extent {
        offset,
        len: (size - offset).min(REGION) as u32,
    })
}

const _: () = assert!(REGION.is_multiple_of(BLOCK));
