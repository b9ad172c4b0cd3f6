//! Steps the three parts of a node as its threads would, and carries out what they want.

use std::rc::Rc;

use steadfast::engine::io::{
    Buf, Content, DiskId, DiskOp, Effect, Event as EngineEvent, Note, Probe,
};
use steadfast::member::io::{CoreEffect, CoreEvent, CoreNote, Proposal, PulseDatagram, PulseEvent};
use steadfast::node::{CoreIo, PulseIo, Signal, ToVolume, VolumeWant};
use steadfast::node::{route_core, route_pulse, route_volume};
use steadfast::record::VolumeChange;
use steadfast::types::{Extent, NodeId, Time};
use steadfast::wire::digest::digest;
use steadfast::wire::pulse as codec;

use super::event::{Event, Happening, Part, Place};
use super::life::STALL;
use super::node::{Health, Job};
use super::{VOLUME, World};
use crate::disk::{self, PAGE};
use crate::queue::{Instant, MICRO, MILLI, SECOND};
use crate::slab;

/// `EIO`
const EIO: u16 = 5;
/// Room for any datagram of the pulse.
const PULSE_MAX: usize = 8192;

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
                        direction: steadfast::engine::io::Direction::Out,
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

    /// Tells the pulse when the data path makes no progress although work waits.
    fn watch_data_path(&mut self, node: NodeId) {
        let now = self.now();
        let Some(run) = self.nodes[node.0 as usize].run.as_mut() else {
            return;
        };
        let oldest = run.jobs.values().map(|job| job.since).min();
        let waiting = !run.inbox[Part::Reactor as usize].is_empty();
        let stopped = waiting.then_some(run.stopped_since);
        let since = oldest.into_iter().chain(stopped).min();
        let stalled = since.is_some_and(|since| now > since + STALL);
        if std::mem::replace(&mut run.stalled, stalled) != stalled {
            self.trace(node, || format!("data path stalled: {stalled}"));
            self.step_pulse(node, PulseEvent::Stalled(stalled));
        }
    }

    fn signal(&mut self, node: NodeId, from: Part, signal: Signal) {
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

    /// Steps the pulse.
    pub(super) fn step_pulse(&mut self, node: NodeId, event: PulseEvent<'_>) {
        let truth = self.now();
        let this = &mut self.nodes[node.0 as usize];
        let now = this.clock.at(truth);
        let Some(run) = this.run.as_mut() else { return };
        let mut effects = std::mem::take(&mut self.pulse_effects);
        run.pulse.step(now, event, &mut effects);
        for effect in effects.drain(..) {
            let mut io = None;
            let mut signals = [None, None];
            route_pulse(
                effect,
                |wanted| io = Some(wanted),
                |signal| {
                    let free = usize::from(signals[0].is_some());
                    signals[free] = Some(signal);
                },
            );
            if let Some(io) = io {
                self.pulse_io(node, io);
            }
            for signal in signals.into_iter().flatten() {
                self.trace(node, || format!("pulse: {signal:?}"));
                self.signal(node, Part::Pulse, signal);
            }
        }
        self.pulse_effects = effects;
        self.rewake(node, Part::Pulse);
    }

    fn pulse_io(&mut self, node: NodeId, io: PulseIo) {
        let mut bytes = [0; PULSE_MAX];
        let Some(run) = self.nodes[node.0 as usize].run.as_mut() else {
            return;
        };
        match io {
            PulseIo::Heartbeat { to } => {
                let len = codec::encode_heartbeat(&run.pulse.heartbeat(to), &mut bytes);
                self.pulse_datagram(node, to, &bytes[..len]);
            }
            PulseIo::Acknowledgement {
                to,
                acknowledgement,
            } => {
                let len = codec::encode_acknowledgement(&acknowledgement, &mut bytes);
                self.pulse_datagram(node, to, &bytes[..len]);
            }
            PulseIo::Lease(lease) => {
                run.lease = lease;
                self.check_able(node);
                self.plan_settle(node, true);
            }
        }
    }

    pub(super) fn pulse_datagram(&mut self, from: NodeId, to: NodeId, bytes: &[u8]) {
        let now = self.now();
        for at in self.net.datagram(from, to, now).into_iter().flatten() {
            let Some(run) = self.node(to).run.as_ref() else {
                continue;
            };
            let place = self.place(to, run.number, Part::Pulse);
            let happening = Happening::Pulse(bytes.to_vec());
            self.queue.push(at, Event::At(place, happening));
        }
    }

    /// The parent of a dead daemon tells everyone.
    pub(super) fn death_notice(&mut self, notice: steadfast::member::io::DeathNotice) {
        let mut bytes = [0; PULSE_MAX];
        let len = codec::encode(&PulseDatagram::DeathNotice(notice), &mut bytes);
        for to in 0..self.nodes.len() {
            let to = NodeId(to as u8);
            if to != notice.node {
                self.pulse_datagram(notice.node, to, &bytes[..len]);
            }
        }
    }

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
                    let Some(run) = self.node(to).run.as_ref() else {
                        continue;
                    };
                    let place = self.place(to, run.number, Part::Core);
                    let happening = Happening::Core {
                        from: node,
                        bytes: bytes.clone(),
                    };
                    self.queue.push(at, Event::At(place, happening));
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
                self.mark_core(&note);
            }
        }
    }

    fn mark_core(&mut self, note: &CoreNote) {
        self.marks.count(match note {
            CoreNote::Leader { .. } => "leaders elected",
            CoreNote::Excluded {
                certificate: true, ..
            } => "exclusions seen, by certificate",
            CoreNote::Excluded { .. } => "exclusions seen, by silence",
            CoreNote::Admitted { .. } => "admissions seen",
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

    fn tell_volume(&mut self, node: NodeId, to: ToVolume) {
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

    fn settle(&mut self, node: NodeId) {
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

    fn plan_settle(&mut self, node: NodeId, woken: bool) {
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
                        self.proposed = Some((node, prev, change));
                        if let VolumeChange::Shrink { replica, .. } = change {
                            self.leaving.retain(|(after, _)| *after == prev);
                            self.leaving.push((prev, replica));
                        }
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

    fn disk_begins(&mut self, node: NodeId, id: DiskId, op: DiskOp) -> Result<(), String> {
        let now = self.now();
        let times = self.options.disk;
        let size = self.options.size;
        let this = &mut self.nodes[node.0 as usize];
        let Some(run) = this.run.as_mut() else {
            return Ok(());
        };
        let disk = this.disk.as_mut().ok_or("a disk effect without a store")?;
        let data = (self.layout.data / PAGE as u64) as u32;
        let pages = |extent: Extent| -> Result<(u32, u32), String> {
            if !extent.is_aligned() || extent.len == 0 || extent.end() > size {
                return Err(format!("{op:?} is not of whole blocks inside the volume"));
            }
            let first = (extent.offset / PAGE as u64) as u32;
            Ok((data + first, extent.len / PAGE as u32))
        };
        let mut lent = None;
        let mut probe = Probe::Nothing;
        let mut where_to = Extent::default();
        let mut mean = times.io;
        let job = match op {
            DiskOp::Read {
                extent,
                probe: asked,
            } => {
                probe = asked;
                where_to = extent;
                let (page, count) = pages(extent)?;
                disk::Job::Read { page, count }
            }
            DiskOp::Write { extent, buf } => {
                let (page, count) = pages(extent)?;
                let bytes = run.slab.lend(buf)?;
                lent = Some(buf);
                if bytes.len() < count as usize * PAGE {
                    return Err(format!("{op:?} has too small a buffer"));
                }
                let bytes = if bytes.len() == count as usize * PAGE {
                    bytes
                } else {
                    Rc::new(bytes[..count as usize * PAGE].to_vec())
                };
                disk::Job::Write { page, bytes }
            }
            DiskOp::Zero { extent, .. } => {
                let (page, count) = pages(extent)?;
                disk::Job::Zero { page, count }
            }
            DiskOp::Flush => {
                mean = times.flush;
                disk::Job::Flush
            }
            DiskOp::Meta { offset, page } => {
                mean = times.page;
                if !offset.is_multiple_of(PAGE as u64) || offset >= self.layout.data {
                    return Err(format!("{op:?} is not a page of metadata"));
                }
                let bytes = Rc::new(*run.volume.page(page));
                disk::Job::Meta {
                    page: (offset / PAGE as u64) as u32,
                    bytes,
                }
            }
        };
        let mut took = 2 * MICRO + this.random.around(mean);
        let mut errno = 0;
        match this.health {
            Health::Well => {}
            Health::Slow(times) => took *= times,
            Health::Stuck => took = 1000 * SECOND,
            Health::Bad(permille) => {
                if this.random.chance(permille) {
                    errno = EIO;
                    self.disks_failed = true;
                    self.marks.count("disk operations failed");
                }
            }
        }
        let number = disk.submit(job, errno);
        let before = run.jobs.insert(
            id.0,
            Job {
                number,
                lent,
                extent: where_to,
                probe,
                since: now,
            },
        );
        if before.is_some() {
            return Err(format!("{op:?} uses the number {id:?} twice"));
        }
        let place = Place {
            node,
            run: run.number,
            part: Part::Reactor,
        };
        self.trace(node, || format!("disk {} {op:?}", id.0));
        self.queue
            .after(took, Event::At(place, Happening::Disk { number, id }));
        Ok(())
    }

    fn disk_ends(&mut self, node: NodeId, number: u64, id: DiskId) {
        let this = &mut self.nodes[node.0 as usize];
        let Some(run) = this.run.as_mut() else { return };
        let Some(job) = run.jobs.get(&id.0).copied() else {
            return;
        };
        if job.number != number {
            // The disk was stuck and is not any more: this one has ended already.
            return;
        }
        run.jobs.remove(&id.0);
        let Some(disk) = this.disk.as_mut() else {
            return;
        };
        let Some(finished) = disk.finish(number, &mut this.random) else {
            return;
        };
        if let Some(buf) = job.lent {
            run.slab.back(buf);
        }
        let mut content = Content::Data;
        let buf = finished.bytes.map_or(Buf::NONE, |bytes| {
            let zero = || bytes.iter().all(|byte| *byte == 0);
            content = match job.probe {
                Probe::Zero | Probe::Digest if zero() => Content::Zero,
                Probe::Digest => Content::Digest(digest(&bytes)),
                Probe::Nothing | Probe::Zero => Content::Data,
            };
            run.slab.give(Rc::new(bytes))
        });
        self.reactor_event(
            node,
            EngineEvent::Disk {
                id,
                errno: finished.errno,
                buf,
                content,
            },
        );
    }
}
