//! A run from beginning to end: faults, then health, in which a sound core must make progress while
//! the rest stays broken, then rest, in which everything is compared.

use steadfast::engine::io::LinkId;
use steadfast::record::ReplicaState;
use steadfast::types::{Extent, NodeId};

use super::World;
use super::event::{Event, Part};
use crate::disk::PAGE;
use crate::queue::{Instant, MILLI, SECOND};

/// Without faults everything is served again after this at the latest.
const PATIENCE: Instant = 6 * SECOND;
/// Events after which a run is taken to spin.
const EVENTS_MAX: u64 = 6_000_000;

impl World {
    /// The whole run.
    pub fn run(&mut self) {
        let end = self.options.faulty;
        self.go(end, |_| false);
        self.heal();
        let limit = self.now() + PATIENCE;
        let answers: Vec<u64> = self.clients.iter().map(|client| client.answers).collect();
        let served = self.go(limit, |world| world.is_healthy(&answers));
        if !served && self.failed.is_none() {
            let text = self.why_unhealthy(&answers);
            self.fail("progress", text);
        }
        self.stopping = true;
        let limit = self.now() + PATIENCE;
        let rested = self.go(limit, Self::is_at_rest);
        if !rested && self.failed.is_none() {
            let text = self.why_restless();
            self.fail("progress", text);
        }
        self.check_end();
    }

    /// As `run_until`, but looks seldom, and notices a run that spins.
    fn go(&mut self, limit: Instant, mut done: impl FnMut(&Self) -> bool) -> bool {
        let mut look = self.now();
        loop {
            let now = self.now();
            if now >= look {
                if done(self) {
                    return true;
                }
                look = now + 3 * MILLI;
            }
            if self.queue.counted() > EVENTS_MAX {
                self.fail("progress", format!("{EVENTS_MAX} events: the run spins"));
            }
            if self.queue.peek().is_none_or(|at| at > limit) || !self.step() {
                return false;
            }
        }
    }

    /// Ends all faults; what is dead starts again, but for one node that the others can do without.
    fn heal(&mut self) {
        self.trace_world(|| "faults are over".to_owned());
        self.faulty = false;
        self.net.calm();
        self.cuts.clear();
        let now = self.now();
        for node in 0..self.nodes.len() {
            let node = NodeId(node as u8);
            self.disk_heals(node);
            if let Some(disk) = &mut self.nodes[node.0 as usize].disk {
                disk.forgive();
            }
            let Some(run) = self.nodes[node.0 as usize].run.as_mut() else {
                continue;
            };
            let number = run.number;
            run.stopped = [0; 3];
            for part in Part::ALL {
                let place = self.place(node, number, part);
                self.queue.push(now, Event::Resume(place));
            }
        }
        self.look_at_failed_stores();
        if self.options.forsake {
            self.forsake();
        }
        for node in 0..self.nodes.len() {
            let this = &self.nodes[node];
            if this.run.is_none() && this.opening.is_none() && !this.forsaken {
                let wait = self.random.within(MILLI, 40 * MILLI);
                self.plan_start(NodeId(node as u8), wait);
            }
        }
    }

    /// One node stays dead, where the rest has a majority and an in-sync replica.
    fn forsake(&mut self) {
        let nodes = self.nodes.len();
        let node = NodeId(self.random.index(nodes) as u8);
        if (nodes - 1) * 2 <= nodes {
            return;
        }
        let lost = self.nodes.iter().any(|node| node.lost_logs > 0);
        if !self.is_spare(node) || (lost && !self.others_remember(node)) {
            return;
        }
        if self.random.chance(500) {
            self.crash(node, false);
        } else {
            self.power_off(node);
        }
        let this = &mut self.nodes[node.0 as usize];
        this.forsaken = true;
        this.life += 1;
        this.opening = None;
        self.marks.count("runs that end with a node dead");
        for client in 0..self.clients.len() {
            if self.clients[client].node == node {
                self.clients[client].node = NodeId(u8::from(node.0 == 0));
            }
        }
    }

    /// Every client has been answered since, and every replica that lives is in sync.
    fn is_healthy(&self, answers: &[u64]) -> bool {
        let Some(record) = self.known.record() else {
            return false;
        };
        let in_sync = record.replicas.iter().all(|replica| {
            let node = self.node(replica.node);
            node.forsaken
                || (replica.state == ReplicaState::InSync { boot: node.boot }
                    && node.store == Some(replica.store))
        });
        let exclusive = !self.options.shared;
        let mut progressed = self
            .clients
            .iter()
            .zip(answers)
            .map(|(client, before)| client.progressed(*before));
        let served = if exclusive {
            self.clients.is_empty() || progressed.any(|p| p)
        } else {
            progressed.all(|p| p)
        };
        served && in_sync && self.primary().is_some()
    }

    fn why_unhealthy(&self, answers: &[u64]) -> String {
        let stuck: Vec<_> = self
            .clients
            .iter()
            .zip(answers)
            .filter(|(client, before)| !client.progressed(**before))
            .map(|(client, _)| format!("client at n{} {:?}", client.node.0, client.run))
            .collect();
        format!(
            "no health {PATIENCE} ns after the last fault: primary {:?}, not served {stuck:?}, {:?}\n{}",
            self.primary(),
            self.known.record(),
            self.statuses()
        )
    }

    /// What each node's core says.
    #[must_use]
    pub fn statuses(&self) -> String {
        let now = self.now();
        self.nodes
            .iter()
            .map(|node| match &node.run {
                Some(run) => {
                    let status = run.core.status(node.clock.at(now));
                    format!(
                        "n{}: leader {:?} term {} committed {} last {} quorum {} alive {:?} view {:?} waiting {:?} serving {:?} lease {:?} at {:?} progress {:?}\n",
                        node.id.0,
                        status.leader,
                        status.term,
                        status.committed,
                        status.last,
                        status.quorum,
                        status.alive.iter().map(|n| n.0).collect::<Vec<_>>(),
                        status.view,
                        status.waiting,
                        run.volume.serving(),
                        run.lease,
                        node.clock.at(now),
                        run.volume.progress(node.clock.at(now)),
                    )
                }
                None => format!("n{}: dead, powered {}\n", node.id.0, node.powered),
            })
            .collect()
    }

    fn is_at_rest(&self) -> bool {
        self.clients.iter().all(super::clients::Client::is_idle)
            && self.nodes.iter().all(|node| {
                node.run.as_ref().is_none_or(|run| {
                    run.volume.at_rest() && run.jobs.is_empty() && run.backlog.is_empty()
                })
            })
            && self.known.record().is_some_and(|record| {
                record
                    .replicas
                    .iter()
                    .all(|replica| self.node(replica.node).forsaken || replica.state.is_in_sync())
            })
    }

    fn why_restless(&self) -> String {
        let busy: Vec<_> = self
            .nodes
            .iter()
            .filter_map(|node| {
                let run = node.run.as_ref()?;
                Some(format!(
                    "n{}: volume at rest {}, {} disk operations, {} waiting",
                    node.id.0,
                    run.volume.at_rest(),
                    run.jobs.len(),
                    run.backlog.len()
                ))
            })
            .collect();
        format!(
            "no rest: {busy:?}; {:?}\n{}",
            self.known.record(),
            self.statuses()
        )
    }

    fn check_end(&mut self) {
        if self.failed.is_some() {
            return;
        }
        self.check_stores();
        self.check_equal();
        for node in 0..self.nodes.len() {
            let Some(run) = self.nodes[node].run.as_ref() else {
                continue;
            };
            if run.slab.owned() > 0 {
                let text = format!("n{node} still owns {} buffers at rest", run.slab.owned());
                self.fail("buffers", text);
            }
            if run_tags(&self.nodes[node]) > 0 {
                self.fail("answers", format!("n{node} owes answers at rest"));
            }
        }
        if self.failed.is_none() {
            self.read_at_rest();
        }
        if self.failed.is_none()
            && let Err(anomaly) = self.history.check()
        {
            let text = format!("register {}: {}", anomaly.register, anomaly.text);
            self.fail("linearizable", text);
        }
    }

    /// A last read of every block, past the engine: what the disk of an in-sync replica holds.
    fn read_at_rest(&mut self) {
        let Some(record) = self.known.record() else {
            return;
        };
        let replica = record.in_sync().find(|replica| {
            let node = self.node(replica.node);
            matches!(replica.state, ReplicaState::InSync { boot } if boot == node.boot)
        });
        let Some(node) = replica.map(|replica| replica.node) else {
            return;
        };
        let first = (self.layout.data / PAGE as u64) as u32;
        let own = (self.own_begin() / PAGE as u64) as u32;
        let now = self.now() + 1;
        let disk = self.nodes[node.0 as usize].disk.as_ref().expect("a store");
        let mut wrong = None;
        for page in disk.touched() {
            if page < first || page - first >= own {
                continue;
            }
            let extent = Extent {
                offset: u64::from(page - first) * PAGE as u64,
                len: PAGE as u32,
            };
            let piece = self.history.call(extent, false, false, now);
            if let Err(text) = self.history.ret(piece, disk.page(page), now + 1) {
                wrong = Some(text);
                break;
            }
        }
        if let Some(text) = wrong {
            self.fail("linearizable", format!("at rest on n{}: {text}", node.0));
        }
    }

    /// Links between two nodes that are up, for scenarios.
    #[must_use]
    pub fn links_between(&self, a: NodeId, b: NodeId) -> Vec<(u32, LinkId)> {
        self.net
            .links()
            .filter(|(_, link)| link.ends[0].node == a && link.ends[1].node == b)
            .map(|(number, link)| (number, link.ends[0].id))
            .collect()
    }
}

fn run_tags(node: &super::node::Node) -> usize {
    node.run
        .as_ref()
        .map_or(0, |run| run.pending.iter().flatten().count())
}
