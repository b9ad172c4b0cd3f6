//! Taking replicas out of the in-sync set.
//!
//! From the first step to the last nothing is acknowledged: the remaining replicas flush, the log
//! decides, every remaining replica marks what the one that left may miss. A replica that comes back
//! in the middle leaves all the same, and is resynced.

use super::rounds::RoundUser;
use super::{Cx, Phase, Primary};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// The remaining replicas flush.
    Flush { round: u32 },
    /// The log decides, on all of them at once: whoever remains has flushed.
    Propose,
    /// The remaining replicas mark what they hold.
    Mark,
}

/// A shrink under way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shrink {
    /// Who leaves, by place.
    leaving: u8,
    step: Step,
}

impl Shrink {
    /// Whether those who remain have flushed.
    pub fn is_flushed(self) -> bool {
        !matches!(self.step, Step::Flush { .. })
    }
}

impl Primary {
    pub(super) fn advance_shrink(&mut self, cx: &mut Cx<'_>) {
        if self.phase != Phase::Serving || self.failing {
            return;
        }
        let mut faulty = 0;
        for (at, peer) in self.peers.iter().enumerate() {
            if at != self.me && peer.counts && peer.fault.is_some() {
                faulty |= 1 << at;
            }
        }
        let Some(mut shrink) = self.shrink else {
            if faulty != 0 {
                self.begin_shrink(faulty, cx);
            }
            return;
        };
        // One more that fails is shrunk out as well: the flush of the others covers all that was
        // acknowledged before.
        shrink.leaving = (shrink.leaving | faulty) & self.counting;
        if let Step::Flush { round } = shrink.step {
            let leaving = shrink.leaving;
            for of in &mut self.rounds {
                if of.user == RoundUser::Shrink {
                    of.waiting &= self.counting & !leaving;
                }
            }
            self.advance_rounds(cx);
            if self.is_flushed(round) {
                shrink.step = Step::Propose;
                self.propose_at = cx.now;
            }
        }
        if shrink.step == Step::Propose && shrink.leaving == 0 {
            shrink.step = Step::Mark;
        }
        if shrink.step == Step::Mark {
            if shrink.leaving != 0 {
                shrink.step = Step::Propose;
                self.propose_at = cx.now;
            } else if self.is_marked_everywhere() {
                self.shrink = None;
                self.sweep(cx);
                return;
            }
        }
        self.shrink = Some(shrink);
    }

    fn begin_shrink(&mut self, leaving: u8, cx: &mut Cx<'_>) {
        let step = if cx.config.canaries.shrink_without_flush {
            Step::Propose
        } else {
            let round = self.begin_round(RoundUser::Shrink, self.counting & !leaving, cx);
            Step::Flush { round }
        };
        self.propose_at = cx.now;
        self.shrink = Some(Shrink { leaving, step });
    }

    fn is_marked_everywhere(&self) -> bool {
        let configuring = |peer: &super::peer::Peer| peer.counts && peer.configures > 0;
        !self.unmarked && !self.peers.iter().any(configuring)
    }

    /// The replicas whose leaving is to be proposed now, by place.
    pub(super) fn leaving(&self) -> Option<u8> {
        let shrink = self.shrink.filter(|shrink| shrink.step == Step::Propose)?;
        (shrink.leaving != 0).then_some(shrink.leaving)
    }
}
