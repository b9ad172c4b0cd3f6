//! What the cluster decides and tells.

use super::*;

impl World {
    pub(super) fn tell(&mut self, at: usize) {
        let node = &mut self.nodes[at];
        // Hearing is told by another thread than records are.
        let hearing = node
            .told
            .iter()
            .position(|told| matches!(told, Told::Hearing(..)))
            .filter(|_| node.isolated || self.rng.once_in(2));
        let Some(told) = node.told.remove(hearing.unwrap_or(0)) else {
            return;
        };
        match told {
            Told::Record(record) => {
                // A node that was far behind takes a snapshot.
                if self.rng.once_in(10) && node.told.iter().any(|t| matches!(t, Told::Record(_))) {
                    return;
                }
                self.with(at, |volume, now, out| volume.set_record(now, &record, out));
            }
            Told::View(view) => self.with(at, |volume, now, out| volume.set_view(now, &view, out)),
            Told::Incarnation(incarnation) => {
                self.nodes[at].incarnation = incarnation;
                self.nodes[at].lease = false;
                self.with(at, |volume, now, out| {
                    volume.set_incarnation(now, incarnation, out);
                });
            }
            Told::Hearing(node, heard) => self.event(at, Event::Hearing { node, heard }),
        }
    }

    pub(super) fn publish(&mut self, told: &Told) {
        for node in &mut self.nodes {
            if node.volume.is_some() {
                node.told.push_back(told.clone());
            }
        }
    }

    pub(super) fn publish_record(&mut self) {
        let record = Told::Record(self.log.record.clone());
        self.publish(&record);
    }

    pub(super) fn view(&self) -> View {
        View {
            number: self.log.view,
            members: self
                .log
                .members
                .iter()
                .map(|(node, (incarnation, boot))| Member {
                    node: *node,
                    incarnation: *incarnation,
                    boot: *boot,
                })
                .collect(),
        }
    }

    pub(super) fn propose(&mut self, nth: usize) {
        let (_, prev, change) = self.proposals.swap_remove(nth);
        if self.rng.once_in(8) && !self.quiet {
            return;
        }
        if self.rng.once_in(8) {
            // A copy that comes late.
            self.proposals.push((0, prev, change));
        }
        if self.log.apply(prev, change) {
            if self.options.trace {
                println!("    log: {change:?} -> {:?}", self.log.record);
            }
            self.publish_record();
        }
    }

    pub(super) fn admit(&mut self, at: usize) {
        let node = &mut self.nodes[at];
        if node.excluded {
            let next = Incarnation(node.incarnation.0 + 1);
            node.excluded = false;
            node.told.push_back(Told::Incarnation(next));
        } else if !node.told.iter().any(|t| matches!(t, Told::Incarnation(_))) {
            node.lease = true;
            let (incarnation, boot) = (node.incarnation, node.boot);
            self.log.admit(NodeId(at as u8), incarnation, boot);
            let view = Told::View(self.view());
            self.publish(&view);
        }
    }

    pub(super) fn exclude(&mut self, at: usize) {
        if self.options.trace {
            println!("    exclude n{at}");
        }
        // The promise of the lease: it ends before the exclusion is in the log.
        self.nodes[at].lease = false;
        self.nodes[at].excluded = self.nodes[at].volume.is_some();
        self.log.exclude(NodeId(at as u8));
        let view = Told::View(self.view());
        self.publish(&view);
    }

    pub(super) fn promote(&mut self) {
        let record = &self.log.record;
        let heard = |node: NodeId| {
            let one = &self.nodes[node.0 as usize];
            let up = one.volume.is_some() && !one.paused && !one.isolated;
            up && self.is_member(node.0 as usize)
        };
        let kept = |replica: &&ReplicaRecord| {
            let boot = self.nodes[replica.node.0 as usize].boot;
            heard(replica.node) && replica.state == ReplicaState::InSync { boot }
        };
        let fit: Vec<NodeId> = record.in_sync().filter(kept).map(|r| r.node).collect();
        let all_heard = record.in_sync().all(|r| heard(r.node));
        let (node, after_power_loss) = match self.rng.pick(&fit) {
            Some(node) => (node, false),
            None if all_heard => {
                let best = record.in_sync().max_by_key(|replica| {
                    let volume = self.nodes[replica.node.0 as usize].volume.as_ref();
                    let report = volume.and_then(Volume::report).expect("no report");
                    (report.term, report.seq, std::cmp::Reverse(replica.node))
                });
                (best.expect("nobody in sync").node, true)
            }
            None => return,
        };
        let one = &self.nodes[node.0 as usize];
        let grant = Grant {
            node,
            incarnation: one.incarnation,
            boot: one.boot,
        };
        let change = VolumeChange::Promote {
            grant,
            after_power_loss,
        };
        let done = self.log.apply(self.log.record.last_entry, change);
        assert!(done, "a promotion that is void");
        if self.options.trace {
            println!("    log: {change:?} -> {:?}", self.log.record);
        }
        if after_power_loss {
            self.all_lost(node.0 as usize);
        }
        self.publish_record();
    }
}
