use std::time::Duration;

use super::*;
use crate::member::io::{Acknowledgement, DeathNotice, Heard};
use crate::member::tests::network::Random;
use crate::types::{INCARNATION_MAX, NODES_MAX};

const ME: NodeId = NodeId(0);
const OTHER: NodeId = NodeId(1);

fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

fn pulse(me: NodeId, incarnation: u64, now: Time) -> Pulse {
    let config = PulseConfig {
        me,
        nodes: 3,
        voters: (0..3).map(NodeId).collect(),
        configuration: 1,
        timing: Timing::every(ms(10)),
        boot: BootId(1),
        incarnation: Incarnation(incarnation),
        forbidden: Vec::new(),
        enrolled: true,
        canaries: Canaries::default(),
    };
    Pulse::new(config, now)
}

/// Both beat, and hear each other.
fn beat(this: &mut Pulse, other: &mut Pulse, now: Time, out: &mut Vec<PulseEffect>) {
    this.step(now, PulseEvent::Tick, out);
    other.step(now, PulseEvent::Tick, &mut Vec::new());
    let datagram = PulseDatagram::Heartbeat(this.heartbeat(OTHER));
    other.step(now, PulseEvent::Datagram(&datagram), &mut Vec::new());
    let datagram = PulseDatagram::Heartbeat(other.heartbeat(ME));
    this.step(now, PulseEvent::Datagram(&datagram), out);
}

fn promises(out: &[PulseEffect]) -> Vec<(NodeId, Incarnation)> {
    out.iter()
        .filter_map(|effect| match effect {
            PulseEffect::Signal(PulseSignal::Forbidden { node, incarnation }) => {
                Some((*node, *incarnation))
            }
            _ => None,
        })
        .collect()
}

/// Two that have heard each other for a while, and the first has just been told to forbid the second.
fn told_to_forbid() -> (Pulse, Pulse, Time, Vec<PulseEffect>) {
    let mut now = Time(1_000_000_000);
    let (mut this, mut other) = (pulse(ME, 1, now), pulse(OTHER, 1, now));
    for _ in 0..10 {
        beat(&mut this, &mut other, now, &mut Vec::new());
        now = now.after(ms(10));
    }
    let forbid = PulseEvent::Forbid {
        node: OTHER,
        incarnation: Incarnation(1),
        certificate: false,
    };
    let mut out = Vec::new();
    this.step(now, forbid, &mut out);
    (this, other, now, out)
}

#[test]
fn a_promise_is_given_although_a_newer_incarnation_is_acknowledged() {
    let (mut this, mut other, mut now, mut out) = told_to_forbid();
    assert_eq!(promises(&out), [], "it has been acknowledged just now");
    // The node goes on in a new incarnation, which is heard and acknowledged ever after.
    other.step(
        now,
        PulseEvent::Adopt {
            incarnation: Incarnation(2),
        },
        &mut Vec::new(),
    );
    for _ in 0..10 {
        now = now.after(ms(10));
        beat(&mut this, &mut other, now, &mut out);
    }
    assert_eq!(promises(&out), [(OTHER, Incarnation(1))]);
}

#[test]
fn a_promise_is_given_when_the_last_acknowledgement_is_old_enough() {
    let (mut this, mut other, now, mut out) = told_to_forbid();
    // It goes on beating, which changes nothing. The last acknowledgement was 10 ms ago.
    beat(&mut this, &mut other, now.after(ms(5)), &mut out);
    let due = now.after(this.config.timing.suspicion() - ms(10));
    this.step(Time(due.0 - 1), PulseEvent::Tick, &mut out);
    assert_eq!(promises(&out), []);
    this.step(due, PulseEvent::Tick, &mut out);
    assert_eq!(promises(&out), [(OTHER, Incarnation(1))]);
}

#[test]
fn what_was_heard_before_keeps_nobody_alive() {
    let mut now = Time(1_000_000_000);
    let (mut this, mut other) = (pulse(ME, 1, now), pulse(OTHER, 1, now));
    let mut heard = Vec::new();
    for _ in 0..10 {
        beat(&mut this, &mut other, now, &mut Vec::new());
        heard.push(PulseDatagram::Heartbeat(other.heartbeat(ME)));
        now = now.after(ms(10));
    }
    // The other is gone; somebody sends all that it ever said, and this node's own words.
    heard.push(PulseDatagram::Heartbeat(this.heartbeat(OTHER)));
    let mut out = Vec::new();
    for _ in 0..10 {
        for datagram in &heard {
            this.step(now, PulseEvent::Datagram(datagram), &mut out);
        }
        this.step(now, PulseEvent::Tick, &mut out);
        now = now.after(ms(10));
    }
    let told =
        |wanted: fn(&PulseEffect) -> bool| out.iter().filter(|effect| wanted(effect)).count();
    assert_eq!(
        told(|effect| matches!(effect, PulseEffect::SendAcknowledgement { .. })),
        0
    );
    assert_eq!(
        told(|effect| matches!(effect, PulseEffect::Signal(PulseSignal::Heard { .. }))),
        0
    );
    assert_eq!(
        told(|effect| matches!(
            effect,
            PulseEffect::Signal(PulseSignal::Suspected { node: OTHER, .. })
        )),
        1
    );
}

#[test]
fn an_acknowledgement_of_another_configuration_keeps_no_lease_alive() {
    let now = Time(1_000_000_000);
    let mut this = pulse(ME, 1, now);
    let mut out = Vec::new();
    this.step(now, PulseEvent::Tick, &mut out);
    let sequence = this.heartbeat(OTHER).sequence;
    let mut told = |configuration| {
        let datagram = PulseDatagram::Acknowledgement(Acknowledgement {
            from: OTHER,
            incarnation: Incarnation(1),
            to: ME,
            to_incarnation: Incarnation(1),
            sequence,
            configuration,
        });
        out.clear();
        this.step(now, PulseEvent::Datagram(&datagram), &mut out);
        (this.lease().until, out.len())
    };
    // What comes after the change of voters, and what is left from before it.
    for another in [2, 0, u64::MAX] {
        assert_eq!(told(another), (Time::ZERO, 0), "of {another}");
    }
    // The same in every other word: with this node's own it is two of three.
    let lease = Timing::every(ms(10)).lease;
    assert_eq!(told(1), (now.after(lease), 1));
}

/// A number, now and then an enormous one.
fn number(random: &mut Random) -> u64 {
    match random.below(6) {
        0 => u64::MAX - random.below(3),
        1 => (1 << 40) - 2 + random.below(4),
        _ => random.below(6),
    }
}

fn nonsense(random: &mut Random) -> PulseDatagram {
    let from = NodeId(random.below(5) as u8);
    let incarnation = Incarnation(number(random));
    match random.below(3) {
        0 => PulseDatagram::DeathNotice(DeathNotice {
            node: from,
            incarnation,
        }),
        1 => PulseDatagram::Acknowledgement(Acknowledgement {
            from,
            incarnation,
            to: NodeId(random.below(3) as u8),
            to_incarnation: Incarnation(number(random)),
            sequence: number(random),
            configuration: random.below(3),
        }),
        _ => {
            let mut heard = [Heard::default(); NODES_MAX];
            for heard in &mut heard[..5] {
                *heard = Heard {
                    incarnation: Incarnation(number(random)),
                    sequence: number(random),
                    suspected: random.percent(50),
                    refused: random.percent(50),
                };
            }
            PulseDatagram::Heartbeat(Heartbeat {
                from,
                incarnation,
                boot: BootId(random.below(3).into()),
                sequence: number(random),
                silent: random.percent(20),
                view: number(random),
                nodes: random.below(6) as u8,
                heard,
            })
        }
    }
}

#[test]
fn datagrams_out_of_turn_end_no_pulse() {
    for seed in 0..2000 {
        let mut random = Random::new(seed);
        let mut now = Time(1_000_000_000);
        let mut this = pulse(ME, 1, now);
        let mut out = Vec::new();
        for _ in 0..60 {
            now = now.after(Duration::from_micros(random.below(15_000)));
            let node = NodeId(1 + random.below(2) as u8);
            let incarnation = Incarnation(random.below(6));
            let datagram = nonsense(&mut random);
            let event = match random.below(8) {
                0 => PulseEvent::Tick,
                1 => PulseEvent::Forbid {
                    node,
                    incarnation,
                    certificate: random.percent(50),
                },
                _ => PulseEvent::Datagram(&datagram),
            };
            this.step(now, event, &mut out);
            // As the core does: above what is refused, while there is room.
            for effect in std::mem::take(&mut out) {
                if let PulseEffect::Signal(PulseSignal::Obsolete { above }) = effect
                    && above < INCARNATION_MAX
                {
                    let incarnation = Incarnation(above.0 + 1);
                    this.step(now, PulseEvent::Adopt { incarnation }, &mut out);
                }
            }
        }
    }
}
