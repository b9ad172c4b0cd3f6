//! What others may ask of the primary: whether it serves, what is its own, how far it is.

use super::{Phase, Primary};
use crate::engine::io::LinkId;
use crate::member::io::{ResyncProgress, VolumeProgress};
use crate::types::{Term, Time, VolumeId};

impl Primary {
    /// The term.
    pub fn term(&self) -> Term {
        self.term
    }

    /// Whether requests are taken.
    pub fn is_serving(&self) -> bool {
        self.phase == Phase::Serving
    }

    /// Whether clients may be answered, with a lease: not once it has asked to be replaced.
    pub fn may_answer(&self) -> bool {
        let handing_over = self.demote.is_some() && self.is_quiet();
        self.is_serving() && !self.failing && !handing_over
    }

    /// Whether disk operations of this epoch are this one's.
    pub fn is_epoch(&self, epoch: u32) -> bool {
        self.epoch == epoch
    }

    /// Whether the link is one of this primary to a replica.
    pub fn owns(&self, link: LinkId) -> bool {
        self.peers.iter().any(|peer| peer.link == Some(link))
    }

    /// Whether nothing is in flight.
    pub fn at_rest(&self) -> bool {
        self.phase == Phase::Serving
            && self.ops.len() == 0
            && self.answers.is_empty()
            && self.rounds.is_empty()
            && self.shrink.is_none()
            && self
                .peers
                .iter()
                .all(|p| p.resync.is_none() && p.grow.is_none())
            && self.changed_at.is_none()
            && self.clear_at.is_none()
    }

    /// What is to be told everyone.
    pub fn progress(&self, cx_now: Time, volume: VolumeId) -> VolumeProgress {
        VolumeProgress {
            volume,
            term: self.term,
            serving: self.phase == Phase::Serving && !self.failing,
            resyncs: self
                .peers
                .iter()
                .filter_map(|peer| {
                    let resync = peer.resync.as_deref()?;
                    let mut progress: ResyncProgress = resync.progress(cx_now, peer.node);
                    progress.running = peer.is_live();
                    Some(progress)
                })
                .collect(),
        }
    }
}
