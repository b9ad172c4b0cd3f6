//! Carries out what the engines want done.

use super::kit::Kit;
use super::message::Output;
use super::pass::Pass;
use super::requests::Next;
use crate::engine::io::{Buf, Effect, Tag};
use crate::node::{VolumeWant, route_volume};

impl Pass {
    /// Carries out everything that a volume wants done, in order.
    pub(super) fn apply(&mut self, volume: usize) {
        while !self.volumes[volume].effects.is_empty() {
            let mut effects = std::mem::take(&mut self.spare);
            std::mem::swap(&mut effects, &mut self.volumes[volume].effects);
            for effect in effects.drain(..) {
                self.carry_out(volume, effect);
            }
            self.spare = effects;
        }
    }

    fn carry_out(&mut self, volume: usize, effect: Effect) {
        match effect {
            Effect::Reply { tag, errno, buf } => self.reply(volume, tag, errno, buf),
            Effect::Disk { id, op } => {
                let (owner, work) = self.volumes[volume].disk_work(volume, id, op);
                let Kit {
                    ring,
                    slab,
                    disk,
                    now,
                } = &mut self.kit;
                disk.begin(ring, slab, *now, owner, work);
            }
            Effect::Send { link, frame, buf } => self.send(link, &frame, buf),
            Effect::Connect { peer } => self.connect(volume, peer),
            Effect::Close { link } => self.close(link),
            Effect::Patch {
                from,
                from_at,
                to,
                to_at,
                len,
            } => self
                .kit
                .slab
                .copy(from, from_at as usize, to, to_at as usize, len as usize),
            Effect::Clear { buf, at, len } => self
                .kit
                .slab
                .bytes_mut(buf, at as usize, len as usize)
                .fill(0),
            Effect::Release { buf } => self.kit.slab.release(buf),
            Effect::DisconnectClients => self.disconnect_clients(volume),
            Effect::Propose { .. } | Effect::Note(_) => {
                let id = self.volumes[volume].id;
                match route_volume(id, effect) {
                    VolumeWant::Signal(event) => (self.output)(Output::Core(event)),
                    VolumeWant::Note(note) => (self.output)(Output::Note {
                        volume: id,
                        at: self.kit.now,
                        note,
                    }),
                    VolumeWant::Io(_) => unreachable!("I/O is carried out above"),
                }
            }
        }
    }

    /// A piece of a client's request has been answered.
    fn reply(&mut self, volume: usize, tag: Tag, errno: u16, buf: Buf) {
        self.room = true;
        match self.requests.answered(&mut self.kit.slab, tag, errno, buf) {
            Next::Wait => {}
            Next::More(request) => self.volumes[volume].listed.push_back(request),
            Next::Done(request) => {
                if let Some(answer) = self.requests.finish(&mut self.kit.slab, request) {
                    let slot = answer.client;
                    self.clients[slot].answer(&mut self.requests, answer);
                    self.client_sends(slot);
                }
            }
        }
    }
}
