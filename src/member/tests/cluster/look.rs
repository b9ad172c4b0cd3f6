//! How a cluster is, and what must hold of it at any time.

use super::{Cluster, log_id};
use crate::member::io::{CoreNote, CoreStatus, View};
use crate::record::VolumeRecord;
use crate::types::{Incarnation, NodeId, Term, Time};

impl Cluster {
    /// What must hold at any time.
    pub(super) fn check(&mut self) {
        let answering: Vec<usize> = (0..self.nodes.len())
            .filter(|&n| self.may_answer(n))
            .collect();
        if answering.len() > 1 {
            let wrong = format!("{answering:?} may all answer at {:?}", self.now);
            self.violations.push(wrong);
        }
    }

    /// Whether the node holds the grant, as far as it knows, and the lease.
    pub(in crate::member::tests) fn may_answer(&self, node: usize) -> bool {
        let Some(run) = &self.nodes[node].run else {
            return false;
        };
        let served = run
            .record
            .as_ref()
            .filter(|record| record.term > run.stopped);
        let grant = served.and_then(|record| record.primary);
        grant.is_some_and(|grant| {
            usize::from(grant.node.0) == node
                && grant.boot == self.nodes[node].boot
                && run.lease.covers(grant.incarnation, self.local(node))
        })
    }

    /// A primary stops to serve, before it says so.
    pub(in crate::member::tests) fn stop_serving(&mut self, node: usize) {
        if let Some(run) = &mut self.nodes[node].run {
            run.stopped = run.record.as_ref().map_or(Term(0), |record| record.term);
        }
    }

    /// Whether the node is primary of a term that it has stopped to serve.
    pub(in crate::member::tests) fn has_stopped(&self, node: usize) -> bool {
        let run = self.nodes[node].run.as_ref();
        run.is_some_and(|run| {
            let record = run.record.as_ref();
            record.is_some_and(|record| record.primary.is_some() && record.term == run.stopped)
        })
    }

    /// The volume as the node knows it.
    pub(in crate::member::tests) fn known(&self, node: usize) -> Option<&VolumeRecord> {
        self.nodes[node].run.as_ref()?.record.as_ref()
    }

    pub(in crate::member::tests) fn running(&self) -> impl Iterator<Item = usize> {
        (0..self.nodes.len()).filter(|&node| self.nodes[node].run.is_some())
    }

    /// Whether the node's pulse acknowledges no heartbeat of what it has heard of `of` so far.
    pub(in crate::member::tests) fn refuses(&self, node: usize, of: usize) -> bool {
        let run = self.nodes[node].run.as_ref().unwrap();
        run.pulse.heartbeat(NodeId(of as u8)).heard[of].refused
    }

    /// Whether the voter's present log counts for the node.
    pub(in crate::member::tests) fn counts(&self, node: usize, voter: usize) -> bool {
        let log = log_id(voter, self.nodes[voter].lost);
        let run = self.nodes[node].run.as_ref();
        run.is_some_and(|run| run.core.is_counted(NodeId(voter as u8), log))
    }

    pub(in crate::member::tests) fn incarnation(&self, node: usize) -> Incarnation {
        self.nodes[node].run.as_ref().unwrap().core.incarnation()
    }

    pub(in crate::member::tests) fn status(&self, node: usize) -> CoreStatus {
        self.nodes[node]
            .run
            .as_ref()
            .unwrap()
            .core
            .status(self.local(node))
    }

    pub(in crate::member::tests) fn view(&self, node: usize) -> View {
        self.status(node).view
    }

    /// The leader of the newest term that still runs.
    pub(in crate::member::tests) fn leader(&self) -> Option<usize> {
        let leaders = self.running().filter(|&node| {
            let status = self.status(node);
            status.leader == Some(NodeId(node as u8))
        });
        leaders.max_by_key(|&node| self.status(node).term)
    }

    /// The newest record that anybody knows.
    pub(in crate::member::tests) fn record(&self) -> Option<&VolumeRecord> {
        self.records.last_key_value().map(|(_, record)| record)
    }

    /// The primary by the newest record, if it is running in that incarnation.
    pub(in crate::member::tests) fn primary(&self) -> Option<usize> {
        let grant = self.record()?.primary?;
        let node = usize::from(grant.node.0);
        let runs = self.nodes[node].run.is_some();
        (runs && self.incarnation(node) == grant.incarnation).then_some(node)
    }

    /// Time of the newest note that fits.
    pub(in crate::member::tests) fn noted(&self, fits: impl Fn(&CoreNote) -> bool) -> Option<Time> {
        let notes = self.notes.iter().rev();
        notes
            .clone()
            .find(|(_, _, note)| fits(note))
            .map(|(at, _, _)| *at)
    }

    /// The log of every running node, as its disk has it, agrees with every other up to what is
    /// committed.
    pub(in crate::member::tests) fn assert_sound(&self) {
        assert_eq!(self.violations, Vec::<String>::new());
        let committed: Vec<_> = self
            .running()
            .map(|node| self.status(node).committed)
            .collect();
        assert!(!committed.is_empty());
    }
}
