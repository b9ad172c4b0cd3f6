//! What a driver does: carries out the effects of pulses and cores.

use super::{Cluster, Happening};
use crate::member::io::{CoreEffect, CoreEvent, CoreNote, PulseDatagram, PulseEvent};
use crate::node::{CoreIo, PulseIo, Signal, route_core, route_pulse};
use crate::record::VolumeRecord;
use crate::types::NodeId;

impl Cluster {
    pub(super) fn pulse(&mut self, node: usize, event: PulseEvent<'_>) {
        let now = self.local(node);
        let Some(run) = &mut self.nodes[node].run else {
            return;
        };
        let mut effects = Vec::new();
        run.pulse.step(now, event, &mut effects);
        for effect in effects {
            let (mut io, mut signals) = (None, Vec::new());
            route_pulse(
                effect,
                |wanted| io = Some(wanted),
                |signal| signals.push(signal),
            );
            match (io, &mut self.nodes[node].run) {
                (Some(PulseIo::Heartbeat { to }), Some(run)) => {
                    let heartbeat = run.pulse.heartbeat(to);
                    let to = usize::from(to.0);
                    self.datagram(node, to, |()| {
                        Happening::Pulse(Box::new(PulseDatagram::Heartbeat(heartbeat)))
                    });
                }
                (
                    Some(PulseIo::Acknowledgement {
                        to,
                        acknowledgement,
                    }),
                    _,
                ) => {
                    let to = usize::from(to.0);
                    self.datagram(node, to, |()| {
                        Happening::Pulse(Box::new(PulseDatagram::Acknowledgement(acknowledgement)))
                    });
                }
                (Some(PulseIo::Lease(lease)), Some(run)) => run.lease = lease,
                _ => {}
            }
            for signal in signals {
                if let Signal::Core(event) = signal {
                    self.signal(node, false, Happening::ToCore(event));
                }
            }
        }
    }

    pub(super) fn core(&mut self, node: usize, event: CoreEvent) {
        let now = self.local(node);
        let Some(run) = &mut self.nodes[node].run else {
            return;
        };
        let mut effects = Vec::new();
        run.core.step(now, event, &mut effects);
        self.perform(node, effects);
    }

    pub(super) fn perform(&mut self, node: usize, effects: Vec<CoreEffect>) {
        for effect in effects {
            let (mut ios, mut signals) = (Vec::new(), Vec::new());
            route_core(effect, |io| ios.push(io), |signal| signals.push(signal));
            for io in ios {
                self.perform_io(node, io);
            }
            for signal in signals {
                if let Signal::Pulse(message) = signal {
                    self.signal(node, true, Happening::ToPulse(message));
                }
            }
        }
    }

    fn perform_io(&mut self, node: usize, io: CoreIo) {
        match io {
            CoreIo::Send { to, bytes } => {
                let (from, to) = (NodeId(node as u8), usize::from(to.0));
                self.datagram(node, to, |()| {
                    Happening::ToCore(CoreEvent::Message {
                        from,
                        bytes: bytes.clone(),
                    })
                });
            }
            CoreIo::Persist { ticket, pages } => {
                let at = self.now.after(self.write_time);
                self.enqueue(at, node, Happening::Written(ticket, pages));
            }
            CoreIo::Record(record) => self.recorded(node, record),
            CoreIo::View(view) => {
                let known = self
                    .views
                    .entry(view.number)
                    .or_insert_with(|| view.clone());
                if *known != view {
                    let wrong = format!("view {} differs on node {node}", view.number);
                    self.violations.push(wrong);
                }
            }
            CoreIo::Note(note) => {
                if let CoreNote::Leader { term } = note {
                    let leader = *self.leaders.entry(term).or_insert(node);
                    if leader != node {
                        let wrong = format!("{leader} and {node} both lead term {term}");
                        self.violations.push(wrong);
                    }
                }
                self.notes.push((self.now, node, note));
            }
        }
    }

    fn recorded(&mut self, node: usize, record: VolumeRecord) {
        let known = self
            .records
            .entry(record.last_entry)
            .or_insert_with(|| record.clone());
        if *known != record {
            let wrong = format!("entry {} differs on node {node}", record.last_entry);
            self.violations.push(wrong);
        }
        // What a volume does: makes the term durable before it serves.
        let primary = record
            .primary
            .is_some_and(|grant| usize::from(grant.node.0) == node);
        if let (true, Some(report)) = (primary, &mut self.nodes[node].report)
            && report.term < record.term
        {
            report.term = record.term;
            let report = *report;
            self.signal(node, false, Happening::ToCore(CoreEvent::Report(report)));
        }
        if let Some(run) = &mut self.nodes[node].run {
            run.record = Some(record);
        }
    }
}
