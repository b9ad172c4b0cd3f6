//! How things are, for people.

use super::{Core, waiting};
use crate::member::io::CoreStatus;
use crate::types::Time;

impl Core {
    /// How things are, as this node knows it.
    #[must_use]
    pub fn status(&self, now: Time) -> CoreStatus {
        let mut incarnations: Vec<_> = self.liveness.incarnations().collect();
        incarnations.push((self.config.me, self.incarnation));
        incarnations.sort_unstable();
        let volumes = self.state.volumes.values().map(|volume| {
            let progress = self.progress(now, volume.record.id);
            (volume.record.clone(), progress)
        });
        CoreStatus {
            leader: self.leader,
            term: self.log.ballot().term,
            committed: self.commit,
            last: self.log.last().index,
            view: self.state.view.clone(),
            quorum: self.has_quorum(),
            alive: self.liveness.alive(),
            voters: self.config.voters,
            incarnations,
            volumes: volumes.collect(),
            waiting: waiting::waiting(self, now),
            store_faults: waiting::store_faults(self),
            at: now,
        }
    }

    /// Whether this node and at least a majority of the voters hear each other.
    pub(super) fn has_quorum(&self) -> bool {
        self.liveness.voters_hearing() >= self.config.voters.majority()
    }
}
