//! The threads of a node: what comes to each, when it wakes, and what one tells another.

use steadfast::engine::io::{Direction, Event as EngineEvent};
use steadfast::member::io::{CoreEvent, PulseEvent};
use steadfast::node::Signal;
use steadfast::types::{NodeId, Time};
use steadfast::wire::pulse as codec;

use super::World;
use super::event::{Event, Happening, Part, Place};
use crate::queue::{Instant, MICRO, MILLI};

impl World {
    fn runs(&self, place: Place) -> bool {
        let run = self.node(place.node).run.as_ref();
        run.is_some_and(|run| run.number == place.run)
    }

    pub(super) fn happen_at(&mut self, place: Place, happening: Happening) {
        if !self.runs(place) {
            return;
        }
        let now = self.now();
        let run = self.nodes[place.node.0 as usize].run.as_mut();
        let run = run.expect("just seen");
        if run.is_stopped(place.part, now) {
            run.inbox[place.part as usize].push_back(happening);
        } else {
            self.handle(place, happening);
        }
    }

    /// A thread that was stopped takes what has come meanwhile.
    pub(super) fn resumes(&mut self, place: Place) {
        let now = self.now();
        while self.runs(place) && self.failed.is_none() {
            let run = self.nodes[place.node.0 as usize].run.as_mut();
            let run = run.expect("just seen");
            if run.stopped[place.part as usize] > now {
                return;
            }
            let Some(happening) = run.inbox[place.part as usize].pop_front() else {
                return self.rewake(place.node, place.part);
            };
            self.handle(place, happening);
        }
    }

    fn handle(&mut self, place: Place, happening: Happening) {
        let node = place.node;
        self.mix(u64::from(node.0) << 8 | place.part as u64);
        match happening {
            Happening::Wake => self.wakes(node, place.part),
            Happening::Pulse(bytes) => match codec::decode(&bytes) {
                Ok(datagram) => self.step_pulse(node, PulseEvent::Datagram(&datagram)),
                Err(e) => self.fail("wire", format!("a pulse datagram: {e:?}")),
            },
            Happening::Core { from, bytes } => {
                self.step_core(node, CoreEvent::Message { from, bytes });
            }
            Happening::Signal(signal) => self.takes_signal(node, *signal),
            Happening::Logged { number, ticket } => {
                if self.nodes[node.0 as usize].log.finish(number) {
                    self.step_core(node, CoreEvent::Persisted { ticket });
                }
            }
            Happening::Disk { number, id } => self.disk_ends(node, number, id),
            Happening::Unreachable { peer } => {
                self.reactor_event(
                    node,
                    EngineEvent::LinkDown {
                        link: None,
                        peer,
                        direction: Direction::Out,
                    },
                );
            }
            Happening::Settle => {
                if let Some(run) = self.nodes[node.0 as usize].run.as_mut() {
                    run.settling = false;
                }
                self.settle(node);
            }
            Happening::ClientCame { client, connection } => {
                let this = &self.clients[client];
                if this.connection == connection && this.is_connected() {
                    let run = self.nodes[node.0 as usize].run.as_mut();
                    run.expect("runs").connections.insert(connection);
                    let client = Self::client_id(connection);
                    self.reactor_event(node, EngineEvent::ClientCame { client });
                }
            }
            Happening::ClientWent { connection } => {
                let run = self.nodes[node.0 as usize].run.as_mut();
                if run.expect("runs").connections.remove(&connection) {
                    let client = Self::client_id(connection);
                    self.reactor_event(node, EngineEvent::ClientWent { client });
                }
            }
            Happening::Request {
                client,
                connection,
                request,
            } => self.request_came(node, client, connection, request),
            Happening::Link(arm) => self.link_delivers(arm),
        }
    }

    fn takes_signal(&mut self, node: NodeId, signal: Signal) {
        match signal {
            Signal::Pulse(to) => self.step_pulse(node, to.event()),
            Signal::Core(event) => self.step_core(node, event),
            Signal::Volume(to) => self.tell_volume(node, to),
        }
    }

    fn wakes(&mut self, node: NodeId, part: Part) {
        let now = self.now();
        let this = &mut self.nodes[node.0 as usize];
        let shown = this.clock.at(now);
        let Some(run) = this.run.as_mut() else { return };
        if run.wake[part as usize] <= now {
            run.wake[part as usize] = Instant::MAX;
        }
        let due = match part {
            Part::Pulse => run.pulse.deadline(),
            Part::Core => run.core.deadline(),
            Part::Reactor => run.volume.deadline(),
        } <= shown;
        match part {
            Part::Pulse => {
                self.watch_data_path(node);
                if due {
                    self.step_pulse(node, PulseEvent::Tick);
                }
            }
            Part::Core if due => self.step_core(node, CoreEvent::Tick),
            Part::Reactor if due => self.reactor_event(node, EngineEvent::Tick),
            Part::Core | Part::Reactor => {}
        }
        self.rewake(node, part);
    }

    /// Sees to it that a thread is woken at its deadline, or a little later.
    pub(super) fn rewake(&mut self, node: NodeId, part: Part) {
        let now = self.now();
        let this = &mut self.nodes[node.0 as usize];
        let Some(run) = this.run.as_mut() else { return };
        let deadline = match part {
            Part::Pulse => run.pulse.deadline(),
            Part::Core => run.core.deadline(),
            Part::Reactor => run.volume.deadline(),
        };
        if deadline == Time::MAX {
            return;
        }
        let lateness = if this.random.below(300) == 0 {
            this.random.below(2 * MILLI)
        } else {
            MICRO + this.random.below(60 * MICRO)
        };
        let at = this.clock.when(deadline, now).saturating_add(lateness);
        if at < run.wake[part as usize] {
            run.wake[part as usize] = at;
            let place = Place {
                node,
                run: run.number,
                part,
            };
            self.queue.push(at, Event::At(place, Happening::Wake));
        }
    }

    pub(super) fn signal(&mut self, node: NodeId, from: Part, signal: Signal) {
        let now = self.now();
        let mean = self.options.signal;
        let part = match signal {
            Signal::Pulse(_) => Part::Pulse,
            Signal::Core(_) => Part::Core,
            Signal::Volume(_) => Part::Reactor,
        };
        let this = &mut self.nodes[node.0 as usize];
        let Some(run) = this.run.as_mut() else { return };
        let last = &mut run.signals[from as usize][part as usize];
        let at = (now + this.random.around(mean)).max(*last);
        *last = at;
        let place = Place {
            node,
            run: run.number,
            part,
        };
        self.queue
            .push(at, Event::At(place, Happening::Signal(Box::new(signal))));
    }
}
