//! Steps a node's volume, and carries out what it wants.

use steadfast::engine::io::{Effect, Event as EngineEvent, Note};
use steadfast::member::io::{CoreEvent, Proposal};
use steadfast::node::{Signal, ToVolume, VolumeWant, route_volume};
use steadfast::types::NodeId;

use super::event::{Event, Happening, Part, Place};
use super::{VOLUME, World};
use crate::queue::{MICRO, MILLI};
use crate::slab;

impl World {
    pub(super) fn tell_volume(&mut self, node: NodeId, to: ToVolume) {
        let truth = self.now();
        let this = &mut self.nodes[node.0 as usize];
        let now = this.clock.at(truth);
        let Some(run) = this.run.as_mut() else { return };
        let mut out = std::mem::take(&mut self.effects);
        match to {
            ToVolume::Record(record) if record.id == VOLUME => {
                run.volume.set_record(now, &record, &mut out);
            }
            ToVolume::View(view) => run.volume.set_view(now, &view, &mut out),
            ToVolume::Incarnation(incarnation) => {
                run.incarnation = incarnation;
                run.volume.set_incarnation(now, incarnation, &mut out);
            }
            ToVolume::Hearing { node, heard } => {
                run.volume
                    .step(now, EngineEvent::Hearing { node, heard }, &mut out);
            }
            ToVolume::Demote { volume, prefer } if volume == VOLUME => {
                run.volume.demote(now, prefer, &mut out);
            }
            ToVolume::Record(_) | ToVolume::Demote { .. } => {}
        }
        self.effects = out;
        self.after_volume(node);
        self.feed(node);
    }

    /// Steps the volume with what is not a client's request, and then gives it waiting requests.
    pub(super) fn reactor_event(&mut self, node: NodeId, event: EngineEvent) {
        self.step_volume(node, event);
        self.feed(node);
    }

    /// Steps the volume.
    pub(super) fn step_volume(&mut self, node: NodeId, event: EngineEvent) {
        let truth = self.now();
        let this = &mut self.nodes[node.0 as usize];
        let now = this.clock.at(truth);
        let Some(run) = this.run.as_mut() else { return };
        let mut out = std::mem::take(&mut self.effects);
        run.volume.step(now, event, &mut out);
        self.effects = out;
        self.after_volume(node);
    }

    pub(super) fn settle(&mut self, node: NodeId) {
        let truth = self.now();
        let this = &mut self.nodes[node.0 as usize];
        let now = this.clock.at(truth);
        let Some(run) = this.run.as_mut() else { return };
        let mut out = std::mem::take(&mut self.effects);
        run.volume.settle(now, run.lease, &mut out);
        self.effects = out;
        self.volume_effects(node);
        self.tell_core(node);
        self.feed(node);
        self.rewake(node, Part::Reactor);
    }

    fn after_volume(&mut self, node: NodeId) {
        self.volume_effects(node);
        self.check_able(node);
        // The end of the batch: now, or after what else the thread finds.
        if self.random.below(2) == 0 {
            self.plan_settle(node, false);
        } else {
            let truth = self.now();
            let this = &mut self.nodes[node.0 as usize];
            let now = this.clock.at(truth);
            let Some(run) = this.run.as_mut() else { return };
            let mut out = std::mem::take(&mut self.effects);
            run.volume.settle(now, run.lease, &mut out);
            self.effects = out;
            self.volume_effects(node);
        }
        self.tell_core(node);
        self.rewake(node, Part::Reactor);
    }

    pub(super) fn plan_settle(&mut self, node: NodeId, woken: bool) {
        let mean = self.options.signal;
        let this = &mut self.nodes[node.0 as usize];
        let Some(run) = this.run.as_mut() else { return };
        if std::mem::replace(&mut run.settling, true) {
            return;
        }
        let wait = if woken {
            this.random.around(mean)
        } else {
            this.random.below(10 * MICRO)
        };
        let place = Place {
            node,
            run: run.number,
            part: Part::Reactor,
        };
        self.queue.after(wait, Event::At(place, Happening::Settle));
    }

    /// Tells the core of the volume's report and progress, where they have changed.
    fn tell_core(&mut self, node: NodeId) {
        let truth = self.now();
        let this = &mut self.nodes[node.0 as usize];
        let now = this.clock.at(truth);
        let Some(run) = this.run.as_mut() else { return };
        if truth < run.told_at + 2 * MILLI {
            return;
        }
        run.told_at = truth;
        let mut events = Vec::new();
        let progress = run.volume.progress(now);
        if let Some(report) = run.volume.report() {
            run.told
                .changes(report, progress, |event| events.push(event));
        }
        for event in events {
            self.signal(node, Part::Reactor, Signal::Core(event));
        }
    }

    fn volume_effects(&mut self, node: NodeId) {
        let mut effects = std::mem::take(&mut self.effects);
        for effect in effects.drain(..) {
            match route_volume(VOLUME, effect) {
                VolumeWant::Io(io) => self.volume_io(node, io),
                VolumeWant::Signal(event) => {
                    self.trace(node, || format!("volume: {event:?}"));
                    if let CoreEvent::Propose(Proposal::Volume { prev, change, .. }) = event {
                        self.asks(node, prev, change);
                    }
                    self.signal(node, Part::Reactor, Signal::Core(event));
                }
                VolumeWant::Note(note) => {
                    self.trace(node, || format!("volume: {note:?}"));
                    self.mark_volume(note);
                }
            }
        }
        self.effects = effects;
    }

    fn mark_volume(&mut self, note: Note) {
        if let Note::ResyncBegan { replica, .. } | Note::ResyncDone { replica, .. } = note {
            self.ambush(Some(replica));
        }
        self.marks.count(match note {
            Note::Serving { .. } => "primaries served",
            Note::Stopped { .. } => "primaries stopped",
            Note::ResyncBegan { full: true, .. } => "full resyncs begun",
            Note::ResyncBegan { .. } => "partial resyncs begun",
            Note::ResyncDone { equal: 0, .. } => "resyncs done",
            Note::ResyncDone { .. } => "resyncs done, to which part was not sent but compared",
            Note::StoreFailed { .. } => "stores failed",
            Note::SessionEnded => "sessions ended",
        });
    }

    fn volume_io(&mut self, node: NodeId, effect: Effect) {
        let number = self.node(node).run.as_ref().map_or(0, |run| run.number);
        let done = match effect {
            Effect::Reply { tag, errno, buf } => {
                self.answered(node, tag, errno, buf);
                Ok(())
            }
            Effect::Disk { id, op } => self.disk_begins(node, id, op),
            Effect::Send { link, frame, buf } => {
                self.sends(node, link, frame, buf);
                Ok(())
            }
            Effect::Connect { peer } => {
                self.wants_link(node, number, peer);
                Ok(())
            }
            Effect::Close { link } => {
                self.closes(node, link);
                Ok(())
            }
            Effect::Patch {
                from,
                from_at,
                to,
                to_at,
                len,
            } => self.slab(node, |slab| slab.patch(from, from_at, to, to_at, len)),
            Effect::Clear { buf, at, len } => self.slab(node, |slab| slab.clear(buf, at, len)),
            Effect::Release { buf } => self.slab(node, |slab| slab.release(buf)),
            Effect::DisconnectClients => {
                self.disconnect_clients(node);
                Ok(())
            }
            Effect::Propose { .. } | Effect::Note(_) => unreachable!("routed elsewhere"),
        };
        if let Err(text) = done {
            self.fail("driver", format!("n{}: {text}", node.0));
        }
    }

    fn slab(
        &mut self,
        node: NodeId,
        then: impl FnOnce(&mut slab::Slab) -> Result<(), String>,
    ) -> Result<(), String> {
        let run = self.nodes[node.0 as usize].run.as_mut();
        run.map_or(Ok(()), |run| then(&mut run.slab))
    }
}
