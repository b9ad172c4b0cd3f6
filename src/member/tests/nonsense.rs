//! Messages that no node of the cluster would send, by somebody who holds its key: they may cost
//! the cluster its peace, and no node its life.

use super::cluster::CLUSTER;
use super::network::Random;
use crate::member::Canaries;
use crate::member::core::{Core, CoreConfig};
use crate::member::io::{CoreEffect, CoreEvent, PulseSignal, Timing};
use crate::member::log::{self, Birth, Geometry};
use crate::member::message::{Envelope, Message};
use crate::types::{BootId, Incarnation, LogId, NodeId, Time};

const ME: NodeId = NodeId(0);

/// A node of three that starts for the first time.
fn core(now: Time) -> (Core, Vec<CoreEffect>) {
    let pages = Geometry::DAEMON.pages() as usize;
    let mut disk = vec![0; pages * 4096];
    let birth = Birth {
        id: LogId(1),
        used: Incarnation(0),
    };
    for page in log::format(CLUSTER, ME, Geometry::DAEMON, birth) {
        let at = page.number as usize * 4096;
        disk[at..at + 4096].copy_from_slice(&page.bytes[..]);
    }
    let recovered = log::recover(&disk, CLUSTER, ME).unwrap();
    let config = CoreConfig {
        me: ME,
        names: ["n1", "n2", "n3"].map(String::from).to_vec(),
        voters: (0..3).map(NodeId).collect(),
        timing: Timing::every(std::time::Duration::from_millis(10)),
        boot: BootId(1),
        canaries: Canaries::default(),
    };
    let mut effects = Vec::new();
    let core = Core::new(config, recovered, now, &mut effects);
    (core, effects)
}

/// A number as postcard writes it: mostly a small one, now and then an enormous one.
fn number(random: &mut Random, bytes: &mut Vec<u8>) {
    match random.below(12) {
        0 => {
            bytes.extend([0xff; 9]);
            bytes.push(1);
        }
        1 => bytes.extend([0xfe, 0xff, 0xff, 0xff, 0x0f]),
        2..=5 => bytes.push(random.below(2) as u8),
        _ => bytes.push(random.below(6) as u8),
    }
}

/// Bytes that are a message, whatever it says.
fn message(random: &mut Random) -> Vec<u8> {
    loop {
        let mut bytes = vec![random.below(11) as u8];
        for _ in 0..400 {
            number(random, &mut bytes);
        }
        if let Ok((message, _)) = postcard::take_from_bytes::<Message>(&bytes)
            && let Some(bytes) = message.encode()
        {
            return bytes;
        }
    }
}

#[test]
fn messages_out_of_turn_end_no_core() {
    let mut kinds = [0; 11];
    for seed in 0..3000 {
        let mut random = Random::new(seed);
        let mut now = Time(1_000_000_000);
        let (mut core, mut effects) = core(now);
        for _ in 0..60 {
            // The disk is fast.
            for effect in std::mem::take(&mut effects) {
                if let CoreEffect::Persist { ticket, .. } = effect {
                    core.step(now, CoreEvent::Persisted { ticket }, &mut effects);
                }
            }
            now = now.after(std::time::Duration::from_micros(random.below(20_000)));
            let node = NodeId(1 + random.below(2) as u8);
            let incarnation = Incarnation(1 + random.below(3));
            let event = match random.below(10) {
                0 => CoreEvent::Tick,
                1 => CoreEvent::Pulse(PulseSignal::Heard {
                    node,
                    incarnation,
                    boot: BootId(1),
                }),
                2 => CoreEvent::Pulse(PulseSignal::Suspected { node, incarnation }),
                _ => {
                    let body = message(&mut random);
                    kinds[usize::from(body[0])] += 1;
                    let envelope = Envelope {
                        from: node,
                        to: ME,
                        relayed: random.percent(50),
                        body: &body,
                    };
                    let bytes = envelope.seal();
                    CoreEvent::Message { from: node, bytes }
                }
            };
            core.step(now, event, &mut effects);
        }
    }
    assert!(kinds.iter().all(|&count| count > 100), "{kinds:?}");
}
