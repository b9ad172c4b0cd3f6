//! What other threads say to the reactor.

use std::os::fd::AsRawFd;

use io_uring::{opcode, types};

use super::message::{Figures, Input};
use super::pass::Pass;
use super::token::Token;
use crate::engine::io::Event;
use crate::node::ToVolume;

impl Pass {
    pub(super) fn listen_to_inbox(&mut self) {
        let entry = opcode::Read::new(
            types::Fd(self.inbox.wake_fd().as_raw_fd()),
            self.wake.as_mut_ptr(),
            8,
        )
        .build();
        // SAFETY: `wake` is boxed and used for nothing else; it and the inbox live until `stop` has
        // seen the last completion, or for ever.
        unsafe { self.kit.ring.push(entry, Token::Wake) };
    }

    /// Takes what other threads have said.
    pub(super) fn hear(&mut self) {
        let mut inputs = std::mem::take(&mut self.inputs);
        self.inbox.take(&mut inputs);
        for input in inputs.drain(..) {
            match input {
                Input::Volume(told) => self.told(&told),
                Input::Query(answer) => {
                    // Whoever asked may have gone.
                    let _ = answer.send(self.figures());
                }
                Input::Drain => self.drain_clients(),
                Input::Stop => self.stopping = true,
            }
        }
        self.inputs = inputs;
        // The lease may have begun anew.
        for served in &mut self.volumes {
            served.stepped = true;
        }
    }

    fn told(&mut self, told: &ToVolume) {
        let now = self.kit.now;
        if let ToVolume::Incarnation(incarnation) = told {
            self.credentials.identity.incarnation = *incarnation;
        }
        for volume in 0..self.volumes.len() {
            let served = &mut self.volumes[volume];
            let out = &mut served.effects;
            match told {
                ToVolume::Record(record) if record.id == served.id => {
                    served.engine.set_record(now, record, out);
                }
                ToVolume::Demote { volume, prefer } if *volume == served.id => {
                    served.engine.demote(now, *prefer, out);
                }
                ToVolume::Record(_) | ToVolume::Demote { .. } => continue,
                ToVolume::View(view) => served.engine.set_view(now, view, out),
                ToVolume::Incarnation(incarnation) => {
                    served.engine.set_incarnation(now, *incarnation, out);
                }
                ToVolume::Hearing { node, heard } => {
                    let (node, heard) = (*node, *heard);
                    served.engine.step(now, Event::Hearing { node, heard }, out);
                }
            }
            served.stepped = true;
            self.apply(volume);
        }
        self.deliver();
    }

    fn figures(&self) -> Figures {
        Figures {
            clients: self.clients.len(),
            links: self.links.iter().filter(|(_, link)| link.is_up()).count(),
            disk: self.kit.disk.len(),
            buffers: self.kit.slab.used(),
            requests: self.requests.len(),
        }
    }
}
