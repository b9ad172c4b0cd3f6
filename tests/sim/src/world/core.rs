//! Steps a node's core, and carries out what it wants.

use std::rc::Rc;

use steadfast::member::io::{CoreEffect, CoreEvent, CoreNote};
use steadfast::node::{CoreIo, route_core};
use steadfast::record::VolumeChange;
use steadfast::types::NodeId;

use super::World;
use super::event::{Event, Happening, Part, Place};
use crate::queue::MICRO;

impl World {
    /// Steps the core.
    pub(super) fn step_core(&mut self, node: NodeId, event: CoreEvent) {
        let truth = self.now();
        let this = &mut self.nodes[node.0 as usize];
        let now = this.clock.at(truth);
        let Some(run) = this.run.as_mut() else { return };
        let mut effects = std::mem::take(&mut self.core_effects);
        run.core.step(now, event, &mut effects);
        for effect in effects.drain(..) {
            self.core_effect(node, effect);
        }
        self.core_effects = effects;
        self.saw_entries(node);
        self.rewake(node, Part::Core);
    }

    pub(super) fn core_effect(&mut self, node: NodeId, effect: CoreEffect) {
        let mut ios = Vec::new();
        let mut signals = Vec::new();
        route_core(effect, |io| ios.push(io), |signal| signals.push(signal));
        for io in ios {
            self.core_io(node, io);
        }
        for signal in signals {
            self.signal(node, Part::Core, signal);
        }
    }

    fn core_io(&mut self, node: NodeId, io: CoreIo) {
        let now = self.now();
        match io {
            CoreIo::Send { to, bytes } => {
                for at in self.net.datagram(node, to, now).into_iter().flatten() {
                    let happening = Happening::Core {
                        from: node,
                        bytes: bytes.clone(),
                    };
                    let datagram = Event::Datagram {
                        to,
                        part: Part::Core,
                        happening,
                    };
                    self.queue.push(at, datagram);
                }
            }
            CoreIo::Persist { ticket, pages } => {
                let mean = self.options.disk.page;
                let this = &mut self.nodes[node.0 as usize];
                let Some(run) = this.run.as_mut() else { return };
                let mut took = 0;
                for _ in &pages {
                    took += 5 * MICRO + this.random.around(mean);
                }
                let pages = pages
                    .into_iter()
                    .map(|page| (page.number, Rc::from(page.bytes)))
                    .collect();
                let number = this.log.submit(pages);
                run.log_free = run.log_free.max(now) + took;
                let place = Place {
                    node,
                    run: run.number,
                    part: Part::Core,
                };
                self.queue.push(
                    run.log_free,
                    Event::At(place, Happening::Logged { number, ticket }),
                );
            }
            CoreIo::Record(record) => {
                self.trace(node, || super::tell::record(&record));
                self.saw_record(node, record);
            }
            CoreIo::View(view) => {
                self.trace(node, || super::tell::view(&view));
                self.saw_view(node, view);
            }
            CoreIo::Note(note) => {
                self.trace(node, || format!("core: {note:?}"));
                self.mark_core(node, &note);
            }
        }
    }

    fn mark_core(&mut self, node: NodeId, note: &CoreNote) {
        if matches!(note, CoreNote::Suspicion { .. } | CoreNote::Leader { .. }) {
            self.ambush(Some(node));
        }
        self.marks.count(match note {
            CoreNote::Leader { .. } => "leaders elected",
            CoreNote::View(_) => "views told of",
            CoreNote::Excluded {
                certificate: true, ..
            } => "exclusions seen, by certificate",
            CoreNote::Excluded { .. } => "exclusions seen, by silence",
            CoreNote::Admitted { .. } => "admissions seen",
            CoreNote::Enrolled { .. } => "new logs enrolled, seen",
            CoreNote::Volume { change, .. } => match change {
                VolumeChange::Promote {
                    after_power_loss: true,
                    ..
                } => "promotions seen, after a loss of power",
                VolumeChange::Promote { .. } => "promotions seen",
                VolumeChange::Demote { .. } => "demotions seen",
                VolumeChange::Shrink { .. } => "shrinks seen",
                VolumeChange::Grow { .. } => "grows seen",
                VolumeChange::Replace { .. } => "replaced stores seen",
                VolumeChange::OpenSession { .. } => "sessions opened, seen",
            },
            CoreNote::Void { .. } => "void entries seen",
            CoreNote::Created { .. } => "volumes created, seen",
            CoreNote::Suspicion {
                suspected: true, ..
            } => "suspicions",
            CoreNote::Suspicion { .. } => "suspicions ended",
        });
    }
}
