//! Clients: what they ask, and what they are told.

use super::*;

impl World {
    pub(super) fn come_or_go(&mut self) {
        let total: usize = self.nodes.iter().map(|node| node.clients.len()).sum();
        let at = self.rng.below(self.nodes.len() as u64) as usize;
        let node = &self.nodes[at];
        if node.volume.is_none() || node.paused {
            return;
        }
        // Clients of another node take an unshared volume over: seldom.
        let fits = self.options.shared || total == 0 || self.rng.once_in(20);
        if (total as u64) < self.options.clients && fits {
            self.client_count += 1;
            let client = self.client_count;
            self.nodes[at].clients.insert(client);
            self.event(
                at,
                Event::ClientCame {
                    client: ClientId(client),
                },
            );
        } else if self.rng.once_in(10)
            && let Some(client) = self.nodes[at].clients.pop_first()
        {
            let client = ClientId(client);
            self.event(at, Event::ClientWent { client });
        }
    }

    pub(super) fn ask(&mut self, at: usize, client: u32) {
        self.tags += 1;
        let tag = self.tags;
        let sectors = BLOCK / SECTOR as u64;
        let region = self.rng.below(3);
        let first = self.rng.below(self.options.blocks * sectors);
        let most = self.options.blocks * sectors - first;
        let mut count = 1 + self.rng.below(most.min(2 * sectors));
        let mut offset = region * REGION + first * SECTOR as u64;
        if self.rng.once_in(2) {
            // Whole blocks.
            offset = offset / BLOCK * BLOCK;
            count = count.next_multiple_of(sectors);
        }
        let mut extent = Extent {
            offset,
            len: count as u32 * SECTOR as u32,
        };
        let fua = self.rng.once_in(8);
        let ask = match self.rng.below(16) {
            0..6 => Ask::Read,
            6 => Ask::Flush,
            7 if !self.options.power => Ask::Change {
                change: match self.rng.below(3) {
                    0 => Change::Trim,
                    1 => Change::Zero,
                    _ => Change::ZeroAllocated,
                },
                fua,
            },
            _ => Ask::Change {
                change: Change::Write,
                fua,
            },
        };
        if ask == Ask::Flush {
            extent = Extent::default();
        }
        let write = matches!(
            ask,
            Ask::Change {
                change: Change::Write,
                ..
            }
        );
        let value = if write { u64::from(tag) } else { 0 };
        let mut buf = Buf::NONE;
        if write {
            let skip = (extent.offset % BLOCK) as usize;
            let len = extent.len as usize;
            let mut bytes = vec![0xdd; (skip + len).next_multiple_of(PAGE)];
            for sector in bytes[skip..skip + len].chunks_mut(SECTOR) {
                for word in sector.chunks_mut(8) {
                    word.copy_from_slice(&value.to_le_bytes());
                }
            }
            buf = self.new_buffer(at, bytes);
        }
        self.requests.insert(
            (at, tag),
            Request {
                ask,
                extent,
                value,
                call: self.clock,
                client,
                spans: false,
            },
        );
        self.event(
            at,
            Event::Request {
                tag: Tag(tag),
                ask,
                extent,
                buf,
            },
        );
    }

    pub(super) fn replied(&mut self, at: usize, tag: Tag, errno: u16, buf: Buf) {
        let key = (at, tag.0);
        let Some(request) = self.requests.remove(&key) else {
            panic!("n{at}: second answer to {tag:?}");
        };
        self.clock += 1;
        let wanted = self.nodes[at].clients.contains(&request.client);
        if !wanted || errno != 0 {
            let bad = self.options.disk_errors && errno == EIO;
            assert!(!wanted || bad, "errno {errno}");
            self.indeterminate(&request);
            return;
        }
        self.answered += 1;
        let ret = self.clock;
        match request.ask {
            Ask::Flush if !request.spans => self.history.flushed(request.call, ret),
            Ask::Read if !request.spans => {
                let bytes = self.buffer(at, buf);
                let bytes = bytes.borrow();
                let skip = (request.extent.offset % BLOCK) as usize;
                for (nth, sector) in sectors(request.extent).enumerate() {
                    let value = value(&bytes[skip + nth * SECTOR..skip + (nth + 1) * SECTOR]);
                    let op = Op {
                        write: false,
                        value,
                        call: request.call,
                        ret,
                        fua: false,
                    };
                    self.history.add(sector, op);
                }
            }
            Ask::Change { fua, .. } if !request.spans => {
                for sector in affected(request.ask, request.extent) {
                    let op = Op {
                        write: true,
                        value: request.value,
                        call: request.call,
                        ret,
                        fua,
                    };
                    self.history.add(sector, op);
                }
            }
            Ask::Flush | Ask::Read | Ask::Change { .. } => self.indeterminate(&request),
        }
    }

    pub(super) fn give_up(&mut self, key: (usize, u32)) {
        if let Some(request) = self.requests.remove(&key) {
            self.indeterminate(&request);
        }
    }

    pub(super) fn indeterminate(&mut self, request: &Request) {
        for (sector, op) in pending(request) {
            self.history.add(sector, op);
        }
    }

    /// All in-sync replicas lost power; what `at` has is what is left.
    pub(super) fn all_lost(&mut self, at: usize) {
        self.losses += 1;
        let open: Vec<(u64, Op)> = self.requests.values().flat_map(pending).collect();
        for request in self.requests.values_mut() {
            request.spans = true;
        }
        let image = self.nodes[at].image.clone().expect("no store");
        let left = |sector: u64| content(&image, sector);
        let checked = self.history.lose_power(self.clock, left, &open);
        if let Err(why) = checked {
            panic!("after a loss of power: {why}");
        }
    }
}
