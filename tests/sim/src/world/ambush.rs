//! Faults that follow closely on something that matters: at a random time hardly any would hit the few
//! microseconds in which a change is under way.

use steadfast::record::VolumeChange;
use steadfast::types::{Index, NodeId};

use super::World;
use super::event::Event;
use super::faults::Kind;
use crate::queue::{Instant, MICRO, MILLI};

/// What strikes at such a moment.
const KINDS: [Kind; 12] = [
    Kind::Crash,
    Kind::Crash,
    Kind::Power,
    Kind::Power,
    Kind::Blackout,
    Kind::Pause,
    Kind::OneWay,
    Kind::Partition,
    Kind::Reset,
    Kind::SlowDisk,
    Kind::StuckDisk,
    Kind::Late,
];
/// Proposals that are remembered.
const ASKED_MAX: usize = 12;

impl World {
    /// Something that matters has just happened, to this node if to one: a fault of a kind that this
    /// run has may follow.
    pub(super) fn ambush(&mut self, at: Option<NodeId>) {
        if !self.faulty || self.options.ambush == 0 || !self.random.chance(self.options.ambush) {
            return;
        }
        let kind = *self.random.pick(&KINDS);
        if kind.mean(&self.options.faults).is_none() {
            return;
        }
        let longest: Instant = *self.random.pick(&[50 * MICRO, 500 * MICRO, 5 * MILLI]);
        let wait = self.random.below(longest);
        self.marks.count("faults close on something that matters");
        self.queue.after(wait, Event::Strike { kind, at });
    }

    /// A volume has asked for a change.
    pub(super) fn asks(&mut self, node: NodeId, prev: Index, change: VolumeChange) {
        self.proposed = Some((node, prev, change));
        self.asked.push_back((prev, change));
        if self.asked.len() > ASKED_MAX {
            self.asked.pop_front();
        }
        // What names an older entry than the newest is void: a deposed primary may still propose.
        let newest = self
            .known
            .record()
            .map_or(Index(0), |record| record.last_entry);
        self.leaving.retain(|(after, _)| *after >= newest);
        self.joining.retain(|(after, ..)| *after >= newest);
        let about = match change {
            VolumeChange::Shrink { replicas, .. } => {
                let leaving = replicas.iter().map(|replica| (prev, replica));
                self.leaving.extend(leaving);
                replicas.iter().next()
            }
            VolumeChange::Grow { replica, store, .. } => {
                self.joining.push((prev, replica, store));
                Some(replica)
            }
            _ => Some(node),
        };
        self.ambush(about);
    }

    /// Strikes, and the node that the moment was about rather than another.
    pub(super) fn strike_at(&mut self, kind: Kind, at: Option<NodeId>) {
        if self.faulty {
            self.focus = at;
            self.strike(kind);
            self.focus = None;
        }
    }

    /// One of the last proposals reaches every core that there is, of which one may lead.
    pub(super) fn late_proposal(&mut self) {
        if self.asked.is_empty() {
            return;
        }
        let at = self.random.index(self.asked.len());
        let (prev, change) = self.asked[at];
        self.trace_world(|| format!("late: after entry {prev} {change:?}"));
        for node in 0..self.nodes.len() {
            self.propose(NodeId(node as u8), prev, change);
        }
    }
}
