//! Steps a node's pulse, and carries out what it wants.

use steadfast::member::io::{DeathNotice, PulseDatagram, PulseEvent};
use steadfast::node::{PulseIo, route_pulse};
use steadfast::types::NodeId;
use steadfast::wire::pulse as codec;

use super::World;
use super::event::{Event, Happening, Part};
use super::life::STALL;

/// Room for any datagram of the pulse.
const PULSE_MAX: usize = 8192;

impl World {
    /// Tells the pulse when the data path makes no progress although work waits.
    pub(super) fn watch_data_path(&mut self, node: NodeId) {
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
            let datagram = Event::Datagram {
                to,
                part: Part::Pulse,
                happening: Happening::Pulse(bytes.to_vec()),
            };
            self.queue.push(at, datagram);
        }
    }

    /// The parent of a dead daemon tells everyone.
    pub(super) fn death_notice(&mut self, notice: DeathNotice) {
        let mut bytes = [0; PULSE_MAX];
        let len = codec::encode(&PulseDatagram::DeathNotice(notice), &mut bytes);
        for to in 0..self.nodes.len() {
            let to = NodeId(to as u8);
            if to != notice.node {
                self.pulse_datagram(notice.node, to, &bytes[..len]);
            }
        }
    }
}
