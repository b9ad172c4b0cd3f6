//! The lease of this node: which of its heartbeats a majority has acknowledged, and when those were
//! sent.

use crate::types::{Incarnation, Lease, NODES_MAX, NodeId, NodeSet, Time};
use std::time::Duration;

/// Send times that are remembered: an acknowledgement that is later than so many intervals extends
/// no lease anyway.
const SENT_MAX: u64 = 64;

/// Keeps this node's lease.
#[derive(Clone, Debug)]
pub(super) struct LeaseKeeper {
    voters: NodeSet,
    /// L.
    span: Duration,
    /// Number of the newest heartbeat sent.
    sequence: u64,
    /// When each of the last heartbeats was sent, by number.
    sent: [Time; SENT_MAX as usize],
    /// Newest heartbeat of this incarnation that each voter has acknowledged.
    acknowledged: [u64; NODES_MAX],
    lease: Lease,
}

impl LeaseKeeper {
    /// No lease yet.
    pub(super) const fn new(voters: NodeSet, span: Duration, incarnation: Incarnation) -> Self {
        Self {
            voters,
            span,
            sequence: 0,
            sent: [Time::ZERO; SENT_MAX as usize],
            acknowledged: [0; NODES_MAX],
            lease: Lease {
                incarnation,
                until: Time::ZERO,
            },
        }
    }

    /// As last published.
    pub(super) const fn lease(&self) -> Lease {
        self.lease
    }

    /// Number of the newest heartbeat sent.
    pub(super) const fn sequence(&self) -> u64 {
        self.sequence
    }

    /// The next heartbeat is being sent; its number.
    pub(super) const fn send(&mut self, now: Time) -> u64 {
        self.sequence += 1;
        self.sent[(self.sequence % SENT_MAX) as usize] = now;
        self.sequence
    }

    /// A voter has acknowledged a heartbeat of this incarnation. The lease, if that extends it.
    pub(super) fn acknowledge(&mut self, voter: NodeId, sequence: u64) -> Option<Lease> {
        if sequence > self.sequence || !self.voters.contains(voter) {
            return None;
        }
        let newest = &mut self.acknowledged[usize::from(voter.0)];
        *newest = (*newest).max(sequence);
        let until = self.sent_at(self.by_majority())?.after(self.span);
        (until > self.lease.until).then(|| {
            self.lease.until = until;
            self.lease
        })
    }

    /// A new incarnation: nothing that was acknowledged for the old one earns it a lease.
    pub(super) const fn adopt(&mut self, incarnation: Incarnation) -> Lease {
        self.acknowledged = [0; NODES_MAX];
        self.lease = Lease {
            incarnation,
            until: Time::ZERO,
        };
        self.lease
    }

    /// The newest heartbeat that a majority of the voters has acknowledged (it, or a later one).
    fn by_majority(&self) -> u64 {
        let of = |voter: NodeId| self.acknowledged[usize::from(voter.0)];
        // At most seven voters: counting beats sorting.
        let reached = |sequence| self.voters.iter().filter(|&v| of(v) >= sequence).count();
        let numbers = self.voters.iter().map(of);
        numbers
            .filter(|&sequence| reached(sequence) >= self.voters.majority())
            .max()
            .unwrap_or(0)
    }

    fn sent_at(&self, sequence: u64) -> Option<Time> {
        let known = sequence > 0 && self.sequence - sequence < SENT_MAX;
        known.then(|| self.sent[(sequence % SENT_MAX) as usize])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keeper() -> LeaseKeeper {
        let voters = [NodeId(0), NodeId(1), NodeId(2)].into_iter().collect();
        LeaseKeeper::new(voters, Duration::from_nanos(24), Incarnation(1))
    }

    #[test]
    fn runs_from_the_send_time_of_what_a_majority_acknowledged() {
        let mut keeper = keeper();
        for at in [10, 20, 30] {
            keeper.send(Time(at));
        }
        assert_eq!(keeper.acknowledge(NodeId(0), 3), None, "one of three");
        let lease = keeper.acknowledge(NodeId(2), 1).unwrap();
        assert_eq!(lease.until, Time(34));
        let lease = keeper.acknowledge(NodeId(1), 2).unwrap();
        assert_eq!(lease.until, Time(44));
        assert_eq!(keeper.acknowledge(NodeId(2), 1), None, "never back");
    }

    #[test]
    fn ignores_strangers_and_the_future() {
        let mut keeper = keeper();
        keeper.send(Time(10));
        keeper.acknowledge(NodeId(0), 1);
        assert_eq!(keeper.acknowledge(NodeId(7), 1), None);
        assert_eq!(keeper.acknowledge(NodeId(1), 2), None);
    }

    #[test]
    fn a_new_incarnation_begins_without_a_lease() {
        let mut keeper = keeper();
        keeper.send(Time(10));
        keeper.acknowledge(NodeId(0), 1);
        keeper.acknowledge(NodeId(1), 1);
        assert_eq!(keeper.adopt(Incarnation(2)).until, Time::ZERO);
        let sequence = keeper.send(Time(20));
        keeper.acknowledge(NodeId(0), sequence);
        let lease = keeper.acknowledge(NodeId(1), sequence).unwrap();
        assert_eq!((lease.incarnation, lease.until), (Incarnation(2), Time(44)));
    }
}
