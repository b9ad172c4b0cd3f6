//! The first bytes of a data link: both ends prove that they hold the cluster's key.
//!
//! ```text
//! opener                                 acceptor
//!   Hello(cluster, volume, who, to, nonce)  ->
//!                  <-  Ack(cluster, volume, who, to, nonce, MAC over Hello and Ack)
//!                                            or Reject(why)
//!   Proof(MAC over Hello and Ack)           ->
//!                          frames follow, both ways
//! ```
//!
//! The MACs of the two roles have keys of their own and cover both messages whole, so that nothing
//! can be replayed (each side's nonce is new), reflected (roles and both nodes are covered), or
//! used for another volume. A `Reject` proves nothing; it only helps a person.
//!
//! Pure: nonces come from the caller, who must never use one twice.

mod refused;

pub use refused::{Refused, Rejection, Role};

use super::fields::{Reader, Writer};
use super::key::{ClusterKey, same_mac};
use crate::types::{Incarnation, NODES_MAX, NodeId, VolumeId};

/// Version of the handshake and the frames that follow.
pub const VERSION: u8 = 1;
/// Bytes of a `Hello`.
pub const HELLO: usize = 96;
/// Bytes of an `Ack` or a `Reject`.
pub const ACK: usize = 128;
/// Bytes of a `Proof`.
pub const PROOF: usize = 40;
/// Bytes of a nonce.
pub const NONCE: usize = 32;

const MAGIC: [u8; 4] = *b"SFhs";
const MAC: usize = 32;
const BODY: usize = HELLO;
const ACCEPTOR_KEY: &str = "steadfast 2026 data link acceptor";
const OPENER_KEY: &str = "steadfast 2026 data link opener";

const KIND_HELLO: u8 = 1;
const KIND_ACK: u8 = 2;
const KIND_REJECT: u8 = 3;
const KIND_PROOF: u8 = 4;

/// Who speaks.
#[derive(Clone, Debug)]
pub struct Identity {
    /// Its cluster.
    pub cluster: u128,
    /// Its place in it.
    pub node: NodeId,
    /// Its incarnation.
    pub incarnation: Incarnation,
}

/// Who was proved to be at the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The node.
    pub node: NodeId,
    /// Its incarnation.
    pub incarnation: Incarnation,
    /// The volume that the link is for.
    pub volume: VolumeId,
}

/// The fields that `Hello` and `Ack` share.
#[derive(Clone, Copy)]
struct Words {
    cluster: u128,
    volume: VolumeId,
    from: NodeId,
    to: NodeId,
    incarnation: Incarnation,
    nonce: [u8; NONCE],
}

impl Words {
    fn encode(&self, kind: u8) -> [u8; BODY] {
        let mut bytes = [0; BODY];
        let mut out = Writer::new(&mut bytes);
        out.bytes(&MAGIC);
        out.u8(VERSION);
        out.u8(kind);
        out.u8(self.from.0);
        out.u8(self.to.0);
        out.u64(self.incarnation.0);
        out.u128(self.cluster);
        out.u128(self.volume.0);
        out.bytes(&self.nonce);
        bytes
    }

    fn decode(bytes: &[u8; BODY], kind: u8) -> Result<Self, Refused> {
        let mut from = prologue(bytes, kind)?;
        let words = Self {
            from: NodeId(from.u8()),
            to: NodeId(from.u8()),
            incarnation: Incarnation(from.u64()),
            cluster: from.u128(),
            volume: VolumeId(from.u128()),
            nonce: from.array(),
        };
        let nodes = [words.from, words.to];
        if !from.rest_is_zero() || nodes.iter().any(|node| usize::from(node.0) >= NODES_MAX) {
            return Err(Refused::NotOurs);
        }
        Ok(words)
    }
}

/// Judges the first bytes of a message, as far as they have come: what speaks something else may
/// wait for an answer before it says more.
pub fn begins(bytes: &[u8]) -> Result<(), Refused> {
    let begun = bytes.len().min(MAGIC.len());
    if bytes[..begun] == MAGIC[..begun] {
        Ok(())
    } else {
        Err(Refused::NotOurs)
    }
}

/// Magic, version and kind keep their places in every version.
fn prologue(bytes: &[u8], kind: u8) -> Result<Reader<'_>, Refused> {
    let mut from = Reader::new(bytes);
    if from.array() != MAGIC {
        return Err(Refused::NotOurs);
    }
    match from.u8() {
        VERSION => {}
        other => return Err(Refused::Version(other)),
    }
    if from.u8() != kind {
        return Err(Refused::OutOfTurn);
    }
    Ok(from)
}

/// The side that opened the connection, waiting for the answer.
#[derive(Clone)]
pub struct Opener {
    key: ClusterKey,
    me: NodeId,
    cluster: u128,
    peer: NodeId,
    volume: VolumeId,
    hello: [u8; HELLO],
}

impl Opener {
    /// Begins: `Hello` is to be sent, then [`ACK`] bytes are to be read.
    #[must_use]
    pub fn new(
        key: &ClusterKey,
        me: &Identity,
        volume: VolumeId,
        peer: NodeId,
        nonce: [u8; NONCE],
    ) -> (Self, [u8; HELLO]) {
        let hello = Words {
            cluster: me.cluster,
            volume,
            from: me.node,
            to: peer,
            incarnation: me.incarnation,
            nonce,
        }
        .encode(KIND_HELLO);
        let opener = Self {
            key: key.clone(),
            me: me.node,
            cluster: me.cluster,
            peer,
            volume,
            hello,
        };
        (opener, hello)
    }

    /// Judges the answer. `Proof` is to be sent; frames may follow it at once.
    pub fn answered(&self, ack: &[u8; ACK]) -> Result<(Peer, [u8; PROOF]), Refused> {
        let (body, mac) = split(ack);
        if let Ok(mut from) = prologue(body, KIND_REJECT) {
            return Err(Refused::Rejected(match from.u8() {
                1 => Rejection::Version,
                2 => Rejection::Cluster,
                3 => Rejection::Volume,
                4 => Rejection::Node,
                _ => Rejection::Other,
            }));
        }
        if *body == self.hello {
            return Err(Refused::Reflected);
        }
        let words = Words::decode(body, KIND_ACK)?;
        if words.cluster != self.cluster {
            return Err(Refused::Cluster);
        }
        if words.volume != self.volume {
            return Err(Refused::Volume);
        }
        if words.from != self.peer || words.to != self.me {
            return Err(Refused::Node);
        }
        if !same_mac(&transcript(&self.key, ACCEPTOR_KEY, &self.hello, body), mac) {
            return Err(Refused::Key);
        }
        let mut proof = [0; PROOF];
        let mut out = Writer::new(&mut proof);
        out.bytes(&MAGIC);
        out.u8(VERSION);
        out.u8(KIND_PROOF);
        out.u16(0);
        out.bytes(&transcript(&self.key, OPENER_KEY, &self.hello, body));
        Ok((
            Peer {
                node: words.from,
                incarnation: words.incarnation,
                volume: words.volume,
            },
            proof,
        ))
    }
}

/// The side that was called, waiting for the proof.
#[derive(Clone)]
pub struct Acceptor {
    peer: Peer,
    proof: [u8; MAC],
}

impl Acceptor {
    /// Judges a `Hello`. The `Ack` is to be sent, then [`PROOF`] bytes are to be read. Nothing that
    /// the peer said counts before [`Acceptor::proved`]. On refusal [`reject`] makes the bytes that
    /// tell the peer; then the connection is closed.
    pub fn new(
        key: &ClusterKey,
        me: &Identity,
        knows: impl FnOnce(VolumeId) -> bool,
        hello: &[u8; HELLO],
        nonce: [u8; NONCE],
    ) -> Result<(Self, [u8; ACK]), Refused> {
        let words = Words::decode(hello, KIND_HELLO)?;
        if words.cluster != me.cluster {
            return Err(Refused::Cluster);
        }
        if words.to != me.node {
            return Err(Refused::Node);
        }
        if words.from == me.node || words.nonce == nonce {
            return Err(Refused::Reflected);
        }
        if !knows(words.volume) {
            return Err(Refused::Volume);
        }
        let body = Words {
            cluster: me.cluster,
            volume: words.volume,
            from: me.node,
            to: words.from,
            incarnation: me.incarnation,
            nonce,
        }
        .encode(KIND_ACK);
        let mut ack = [0; ACK];
        ack[..BODY].copy_from_slice(&body);
        ack[BODY..].copy_from_slice(&transcript(key, ACCEPTOR_KEY, hello, &body));
        let acceptor = Self {
            peer: Peer {
                node: words.from,
                incarnation: words.incarnation,
                volume: words.volume,
            },
            proof: transcript(key, OPENER_KEY, hello, &body),
        };
        Ok((acceptor, ack))
    }

    /// Judges the `Proof`: who the peer is.
    pub fn proved(&self, proof: &[u8; PROOF]) -> Result<Peer, Refused> {
        let mut from = prologue(proof, KIND_PROOF)?;
        if from.u16() != 0 {
            return Err(Refused::NotOurs);
        }
        if !same_mac(&self.proof, &from.array::<MAC>()) {
            return Err(Refused::Key);
        }
        Ok(self.peer)
    }
}

/// The expected proof does not belong in logs.
impl std::fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Acceptor({:?})", self.peer)
    }
}

/// What an acceptor sends before it closes the connection.
#[must_use]
pub fn reject(why: Refused) -> [u8; ACK] {
    let why = match why {
        Refused::Version(_) => Rejection::Version,
        Refused::Cluster => Rejection::Cluster,
        Refused::Volume => Rejection::Volume,
        Refused::Node => Rejection::Node,
        Refused::NotOurs
        | Refused::OutOfTurn
        | Refused::Key
        | Refused::Reflected
        | Refused::Rejected(_) => Rejection::Other,
    };
    let mut bytes = [0; ACK];
    let mut out = Writer::new(&mut bytes);
    out.bytes(&MAGIC);
    out.u8(VERSION);
    out.u8(KIND_REJECT);
    out.u8(why as u8);
    bytes
}

fn split(ack: &[u8; ACK]) -> (&[u8; BODY], &[u8]) {
    let (body, mac) = ack.split_at(BODY);
    (
        body.first_chunk().expect("an Ack begins with its body"),
        mac,
    )
}

fn transcript(key: &ClusterKey, role: &str, hello: &[u8; HELLO], ack: &[u8; BODY]) -> [u8; MAC] {
    let mut hasher = blake3::Hasher::new_keyed(&key.derive(role));
    hasher.update(hello);
    hasher.update(ack);
    *hasher.finalize().as_bytes()
}
