//! What the pulse says, as bytes. Goes into a sealed datagram (`seal`). Nothing here allocates.

use super::fields::{Reader, Writer};
use crate::member::io::{Acknowledgement, DeathNotice, Heard, Heartbeat, PulseDatagram};
use crate::types::{BootId, Incarnation, NODES_MAX, NodeId};

/// Most bytes of a message.
pub const MESSAGE_MAX: usize = HEARTBEAT + NODES_MAX * HEARD;

const HEARTBEAT: usize = 1 + 1 + 8 + 16 + 8 + 1 + 8 + 1;
const HEARD: usize = 8 + 8 + 1;
const ACKNOWLEDGEMENT: usize = 1 + 1 + 8 + 1 + 8 + 8 + 8;
const DEATH_NOTICE: usize = 1 + 1 + 8;

const _: () = assert!(MESSAGE_MAX <= super::seal::PAYLOAD_MAX);

const KIND_HEARTBEAT: u8 = 1;
const KIND_ACKNOWLEDGEMENT: u8 = 2;
const KIND_DEATH_NOTICE: u8 = 3;

const SUSPECTED: u8 = 1;
const REFUSED: u8 = 2;

/// The message makes no sense, although a node of this cluster sealed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

impl std::fmt::Display for Malformed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "a pulse message that makes no sense")
    }
}

impl std::error::Error for Malformed {}

/// Encodes a message into `out`, of at least [`MESSAGE_MAX`] bytes (less where it is known to be
/// smaller); returns its length. Of `Heartbeat::heard` only the first `nodes` entries are sent.
pub fn encode(message: &PulseDatagram, out: &mut [u8]) -> usize {
    match message {
        PulseDatagram::Heartbeat(heartbeat) => encode_heartbeat(heartbeat, out),
        PulseDatagram::Acknowledgement(acknowledgement) => {
            encode_acknowledgement(acknowledgement, out)
        }
        PulseDatagram::DeathNotice(notice) => encode_death_notice(notice, out),
    }
}

/// Encodes a heartbeat; see [`encode`].
pub fn encode_heartbeat(heartbeat: &Heartbeat, out: &mut [u8]) -> usize {
    let mut out = Writer::new(out);
    out.u8(KIND_HEARTBEAT);
    out.u8(heartbeat.from.0);
    out.u64(heartbeat.incarnation.0);
    out.u128(heartbeat.boot.0);
    out.u64(heartbeat.sequence);
    out.u8(u8::from(heartbeat.silent));
    out.u64(heartbeat.view);
    out.u8(heartbeat.nodes);
    for heard in &heartbeat.heard[..usize::from(heartbeat.nodes)] {
        out.u64(heard.incarnation.0);
        out.u64(heard.sequence);
        out.u8(
            if heard.suspected { SUSPECTED } else { 0 } | if heard.refused { REFUSED } else { 0 }
        );
    }
    out.len()
}

/// Encodes an acknowledgement; see [`encode`].
pub fn encode_acknowledgement(acknowledgement: &Acknowledgement, out: &mut [u8]) -> usize {
    let mut out = Writer::new(out);
    out.u8(KIND_ACKNOWLEDGEMENT);
    out.u8(acknowledgement.from.0);
    out.u64(acknowledgement.incarnation.0);
    out.u8(acknowledgement.to.0);
    out.u64(acknowledgement.to_incarnation.0);
    out.u64(acknowledgement.sequence);
    out.u64(acknowledgement.configuration);
    out.len()
}

/// Encodes a death notice; see [`encode`].
pub fn encode_death_notice(notice: &DeathNotice, out: &mut [u8]) -> usize {
    let mut out = Writer::new(out);
    out.u8(KIND_DEATH_NOTICE);
    out.u8(notice.node.0);
    out.u64(notice.incarnation.0);
    out.len()
}

/// Decodes a message whose seal has been checked.
pub fn decode(bytes: &[u8]) -> Result<PulseDatagram, Malformed> {
    match bytes.first() {
        Some(&KIND_HEARTBEAT) => heartbeat(bytes),
        Some(&KIND_ACKNOWLEDGEMENT) if bytes.len() == ACKNOWLEDGEMENT => {
            let mut from = Reader::new(&bytes[1..]);
            Ok(PulseDatagram::Acknowledgement(Acknowledgement {
                from: node(&mut from)?,
                incarnation: Incarnation(from.u64()),
                to: node(&mut from)?,
                to_incarnation: Incarnation(from.u64()),
                sequence: from.u64(),
                configuration: from.u64(),
            }))
        }
        Some(&KIND_DEATH_NOTICE) if bytes.len() == DEATH_NOTICE => {
            let mut from = Reader::new(&bytes[1..]);
            Ok(PulseDatagram::DeathNotice(DeathNotice {
                node: node(&mut from)?,
                incarnation: Incarnation(from.u64()),
            }))
        }
        _ => Err(Malformed),
    }
}

fn heartbeat(bytes: &[u8]) -> Result<PulseDatagram, Malformed> {
    let nodes = *bytes.get(HEARTBEAT - 1).ok_or(Malformed)?;
    if usize::from(nodes) > NODES_MAX || bytes.len() != HEARTBEAT + usize::from(nodes) * HEARD {
        return Err(Malformed);
    }
    let mut from = Reader::new(&bytes[1..]);
    let mut heartbeat = Heartbeat {
        from: node(&mut from)?,
        incarnation: Incarnation(from.u64()),
        boot: BootId(from.u128()),
        sequence: from.u64(),
        silent: match from.u8() {
            0 => false,
            1 => true,
            _ => return Err(Malformed),
        },
        view: from.u64(),
        nodes: from.u8(),
        heard: [Heard::default(); NODES_MAX],
    };
    for heard in &mut heartbeat.heard[..usize::from(nodes)] {
        heard.incarnation = Incarnation(from.u64());
        heard.sequence = from.u64();
        let flags = from.u8();
        if flags & !(SUSPECTED | REFUSED) != 0 {
            return Err(Malformed);
        }
        heard.suspected = flags & SUSPECTED != 0;
        heard.refused = flags & REFUSED != 0;
    }
    Ok(PulseDatagram::Heartbeat(heartbeat))
}

fn node(from: &mut Reader<'_>) -> Result<NodeId, Malformed> {
    let node = from.u8();
    if usize::from(node) < NODES_MAX {
        Ok(NodeId(node))
    } else {
        Err(Malformed)
    }
}
