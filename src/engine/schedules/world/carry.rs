//! Steps volumes and carries out what they want.

use super::*;

impl World {
    pub(super) fn with(&mut self, at: usize, act: impl FnOnce(&mut Volume, Time, &mut Effects)) {
        let mut out = std::mem::take(&mut self.out);
        assert!(out.is_empty());
        let now = self.now;
        if let Some(volume) = &mut self.nodes[at].volume {
            act(volume, now, &mut out);
            self.nodes[at].unsettled = true;
        }
        let late = self.rng.once_in(8);
        self.carry_out(at, &mut out);
        self.out = out;
        if !late {
            self.settle(at);
        }
    }

    pub(super) fn event(&mut self, at: usize, event: Event) {
        if self.options.trace {
            println!("    n{at} < {event:?}");
        }
        self.with(at, |volume, now, out| volume.step(now, event, out));
    }

    pub(super) fn settle(&mut self, at: usize) {
        let node = &mut self.nodes[at];
        node.unsettled = false;
        let lease = Lease {
            incarnation: node.incarnation,
            until: if node.lease { Time::MAX } else { Time::ZERO },
        };
        let mut out = std::mem::take(&mut self.effects);
        if let Some(volume) = &mut node.volume {
            volume.settle(self.now, lease, &mut out);
        }
        self.carry_out(at, &mut out);
        self.effects = out;
    }

    pub(super) fn carry_out(&mut self, at: usize, out: &mut Effects) {
        for effect in out.drain(..) {
            if self.options.trace {
                println!("    n{at} > {effect:?}");
            }
            self.effect(at, effect);
        }
    }

    pub(super) fn effect(&mut self, at: usize, effect: Effect) {
        match effect {
            Effect::Reply { tag, errno, buf } => self.replied(at, tag, errno, buf),
            Effect::Disk { id, op } => self.disk_begins(at, id, op),
            Effect::Send { link, frame, buf } => self.send(at, link, frame, buf),
            Effect::Connect { peer } => self.nodes[at].connecting.push(peer),
            Effect::Close { link } => self.close(at, link),
            Effect::Patch {
                from,
                from_at,
                to,
                to_at,
                len,
            } => {
                let from = self.buffer(at, from);
                let to = self.buffer(at, to);
                let (from_at, to_at, len) = (from_at as usize, to_at as usize, len as usize);
                let bytes = from.borrow()[from_at..from_at + len].to_vec();
                to.borrow_mut()[to_at..to_at + len].copy_from_slice(&bytes);
            }
            Effect::Clear {
                buf,
                at: first,
                len,
            } => {
                let first = first as usize;
                self.buffer(at, buf).borrow_mut()[first..first + len as usize].fill(0);
            }
            Effect::Release { buf } => {
                let known = self.nodes[at].buffers.remove(&buf.0);
                assert!(known.is_some(), "n{at} released {buf:?} twice");
            }
            Effect::DisconnectClients => {
                let node = &mut self.nodes[at];
                node.gone.extend(std::mem::take(&mut node.clients));
            }
            Effect::Propose { prev, change } => {
                if !self.nodes[at].isolated {
                    self.proposals.push((at, prev, change));
                }
            }
            Effect::Note(_) => {}
        }
    }

    pub(super) fn buffer(&self, at: usize, buf: Buf) -> Bytes {
        match self.nodes[at].buffers.get(&buf.0) {
            Some(bytes) => bytes.clone(),
            None => panic!("n{at} uses {buf:?}, which it does not have"),
        }
    }

    pub(super) fn new_buffer(&mut self, at: usize, bytes: Vec<u8>) -> Buf {
        let node = &mut self.nodes[at];
        node.next += 1;
        node.buffers.insert(node.next, Rc::new(RefCell::new(bytes)));
        Buf(node.next)
    }
}
