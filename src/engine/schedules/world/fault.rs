//! Daemons die, machines lose power, networks are cut.

use super::*;

impl World {
    pub(super) fn fault(&mut self) {
        self.faults += 1;
        let count = self.nodes.len() as u64;
        let at = self.rng.below(count) as usize;
        let other = self.rng.below(count) as usize;
        match self.rng.below(11) {
            0 | 1 => self.crash(at, false),
            2 if self.options.power => self.crash(at, true),
            3 if self.options.power && self.rng.once_in(3) => {
                for at in 0..self.nodes.len() {
                    self.crash(at, true);
                }
            }
            4 if at != other => {
                self.cuts.insert((at.min(other), at.max(other)));
                self.hear();
            }
            5 => {
                self.cuts.clear();
                self.hear();
            }
            6 => {
                self.nodes[at].isolated ^= true;
                self.nodes[at].since = self.now;
            }
            7 if !self.pipes.is_empty() => {
                let pipe = self.rng.below(self.pipes.len() as u64) as usize;
                self.break_pipe(pipe);
            }
            8 if self.nodes[at].volume.is_some() => {
                self.nodes[at].paused = true;
                self.nodes[at].since = self.now;
                self.hear();
            }
            9 if !self.nodes[at].paused => {
                let prefer = self.rng.once_in(2).then_some(NodeId(other as u8));
                self.with(at, |volume, now, out| volume.demote(now, prefer, out));
            }
            10 if self.options.disk_errors && self.nodes[at].image.is_some() => {
                self.bad_disk.get_or_insert(at);
            }
            _ => {}
        }
    }

    /// The daemon dies, with its machine if `power`.
    pub(super) fn crash(&mut self, at: usize, power: bool) {
        if self.options.trace {
            println!("    crash n{at}, power {power}");
        }
        self.nodes[at].clients.clear();
        self.nodes[at].gone.clear();
        let gone: Vec<(usize, u32)> = self
            .requests
            .range((at, 0)..(at + 1, 0))
            .map(|r| *r.0)
            .collect();
        for key in gone {
            self.give_up(key);
        }
        for pipe in 0..self.pipes.len() {
            for side in 0..2 {
                if self.pipes[pipe].ends[side].0 == at {
                    self.pipes[pipe].closed[side] = true;
                    self.break_pipe(pipe);
                }
            }
        }
        self.sweep();
        let node = &mut self.nodes[at];
        let data = layout(layout_size()).data;
        for (_, running) in std::mem::take(&mut node.disk) {
            let Some(image) = &mut node.image else {
                continue;
            };
            // What was on its way has happened, or not, or in part where the machine went down.
            let part = power && self.rng.once_in(2);
            if !part && self.rng.once_in(2) {
                continue;
            }
            match (running.op, running.bytes, running.meta) {
                (DiskOp::Write { extent, .. }, Some(bytes), _) => {
                    let bytes = &bytes.borrow()[..extent.len as usize];
                    if part {
                        image.write_torn(data + extent.offset, bytes, &mut self.rng);
                    } else {
                        image.write(data + extent.offset, bytes);
                    }
                }
                (DiskOp::Zero { extent, .. }, ..) => {
                    image.write(data + extent.offset, &vec![0; extent.len as usize]);
                }
                (DiskOp::Meta { offset, .. }, _, Some(bytes)) => {
                    if part {
                        image.write_torn(offset, &*bytes, &mut self.rng);
                        let torn = image.page(offset);
                        image.write_durable(offset, &torn);
                    } else {
                        image.write_durable(offset, &bytes);
                    }
                }
                _ => {}
            }
        }
        if power {
            self.boots += 1;
            node.boot = BootId(self.boots);
            if let Some(image) = &mut node.image {
                image.lose_power(&mut self.rng);
            }
        }
        node.volume = None;
        node.paused = false;
        node.lease = false;
        node.buffers.clear();
        node.told.clear();
        node.connecting.clear();
        node.heard.clear();
        node.since = self.now;
        self.hear();
    }

    pub(super) fn start(&mut self, at: usize) {
        let node = &mut self.nodes[at];
        let recovered = node.image.as_ref().map(|image| {
            let mut read = |offset: u64, into: &mut [u8]| {
                image.read(offset, into);
                Ok(())
            };
            meta::recover(&mut read, image.bytes).expect("refused")
        });
        node.incarnation.0 += 1;
        node.excluded = false;
        let config = VolumeConfig {
            me: NodeId(at as u8),
            boot: node.boot,
            incarnation: node.incarnation,
            id: VOLUME,
            name: "v".into(),
            size: SIZE,
            shared: self.options.shared,
            timing: Timing::for_suspicion(SUSPICION),
            canaries: self.options.canaries,
        };
        node.volume = Some(Volume::new(config, recovered, self.now));
        node.told.push_back(Told::Record(self.log.record.clone()));
        let view = self.view();
        self.nodes[at].told.push_back(Told::View(view));
        self.hear();
    }

    pub(super) fn heal(&mut self) {
        if let Some(at) = self.bad_disk.take() {
            // Somebody has replaced the cable, and takes the store as it is: these disks still
            // have what a failed flush did not make durable.
            self.crash(at, false);
            self.take_as_it_is(at);
        }
        self.cuts.clear();
        for node in &mut self.nodes {
            node.isolated = false;
            node.paused = false;
        }
        self.hear();
    }

    fn take_as_it_is(&mut self, at: usize) {
        let Some(image) = &mut self.nodes[at].image else {
            return;
        };
        let places = layout(layout_size()).superblocks;
        let read = |offset| Superblock::decode(&image.page(offset)).expect("a superblock");
        let newest = places.map(read).into_iter().max_by_key(|s| s.generation);
        if let Some(failed) = newest.filter(|superblock| superblock.failed.is_some()) {
            let good = Superblock {
                generation: failed.generation + 1,
                failed: None,
                ..failed
            };
            let mut page = [0; PAGE];
            good.encode(&mut page);
            image.write_durable(good.layout.superblock(good.generation), &page);
        }
    }

    /// Tells everybody who hears whom.
    pub(super) fn hear(&mut self) {
        for at in 0..self.nodes.len() {
            for to in (0..self.nodes.len()).filter(|to| *to != at) {
                let up = |node: &Node| node.volume.is_some() && !node.paused;
                let heard = up(&self.nodes[at]) && up(&self.nodes[to]) && !self.is_cut(at, to);
                let id = NodeId(to as u8);
                let node = &mut self.nodes[at];
                if node.volume.is_some() && node.heard.contains(&id) != heard {
                    if heard {
                        node.heard.insert(id);
                    } else {
                        node.heard.remove(&id);
                    }
                    node.told.push_back(Told::Hearing(id, heard));
                }
            }
        }
    }
}
