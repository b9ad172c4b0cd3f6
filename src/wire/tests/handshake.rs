use proptest::prelude::*;

use super::hex;
use crate::types::{Incarnation, NodeId, VolumeId};
use crate::wire::handshake::{
    ACK, Acceptor, HELLO, Identity, Opener, PROOF, Peer, Refused, Rejection, Role, begins, reject,
};
use crate::wire::key::ClusterKey;

const KEY: ClusterKey = ClusterKey::new([1; 32]);
const VOLUME: VolumeId = VolumeId(0xabc);

fn node(node: u8) -> Identity {
    Identity {
        cluster: 0xc1,
        node: NodeId(node),
        incarnation: Incarnation(u64::from(node) + 10),
    }
}

fn hello() -> (Opener, [u8; HELLO]) {
    Opener::new(&KEY, &node(0), VOLUME, NodeId(1), [2; 32])
}

fn accept(hello: &[u8; HELLO]) -> Result<(Acceptor, [u8; ACK]), Refused> {
    Acceptor::new(&KEY, &node(1), |volume| volume == VOLUME, hello, [3; 32])
}

/// A whole handshake between two that may differ from what they should be.
fn shake(opener: (Opener, [u8; HELLO]), key: &ClusterKey, me: &Identity) -> Result<Peer, Refused> {
    let (opener, hello) = opener;
    let (acceptor, ack) = Acceptor::new(key, me, |volume| volume == VOLUME, &hello, [3; 32])?;
    let (_, proof) = opener.answered(&ack)?;
    acceptor.proved(&proof)
}

#[test]
fn both_learn_who_the_other_is() {
    let (opener, hello) = hello();
    let (acceptor, ack) = accept(&hello).unwrap();
    let (peer, proof) = opener.answered(&ack).unwrap();
    let with = |node, incarnation| Peer {
        node: NodeId(node),
        incarnation: Incarnation(incarnation),
        volume: VOLUME,
    };
    assert_eq!(peer, with(1, 11));
    assert_eq!(acceptor.proved(&proof), Ok(with(0, 10)));
}

#[test]
fn strangers_are_refused_by_name() {
    let other_key = ClusterKey::new([9; 32]);
    let other_cluster = Identity {
        cluster: 0xc2,
        ..node(1)
    };
    assert_eq!(shake(hello(), &other_key, &node(1)), Err(Refused::Key));
    assert_eq!(shake(hello(), &KEY, &other_cluster), Err(Refused::Cluster));
    assert_eq!(shake(hello(), &KEY, &node(2)), Err(Refused::Node));
    let wrong_volume = Opener::new(&KEY, &node(0), VolumeId(1), NodeId(1), [2; 32]);
    assert_eq!(shake(wrong_volume, &KEY, &node(1)), Err(Refused::Volume));
    let wrong_peer = Opener::new(&KEY, &node(0), VOLUME, NodeId(5), [2; 32]);
    assert_eq!(shake(wrong_peer, &KEY, &node(1)), Err(Refused::Node));
}

#[test]
fn an_opener_without_the_key_proves_nothing() {
    let (_, hello) = hello();
    let (acceptor, _) = accept(&hello).unwrap();
    let (opener, hello_again) = Opener::new(
        &ClusterKey::new([9; 32]),
        &node(0),
        VOLUME,
        NodeId(1),
        [2; 32],
    );
    assert_eq!(hello_again, hello);
    let (_, ack) = Acceptor::new(
        &ClusterKey::new([9; 32]),
        &node(1),
        |_| true,
        &hello,
        [3; 32],
    )
    .unwrap();
    let (_, proof) = opener.answered(&ack).unwrap();
    assert_eq!(acceptor.proved(&proof), Err(Refused::Key));
}

#[test]
fn another_version_is_named_by_both() {
    let (opener, mut hello) = hello();
    let (_, mut ack) = accept(&hello).unwrap();
    hello[4] = 2;
    assert_eq!(accept(&hello).unwrap_err(), Refused::Version(2));
    ack[4] = 2;
    assert_eq!(opener.answered(&ack).unwrap_err(), Refused::Version(2));
    let told = reject(Refused::Version(2));
    assert_eq!(
        opener.answered(&told).unwrap_err(),
        Refused::Rejected(Rejection::Version)
    );
}

#[test]
fn a_reflection_is_refused() {
    let (opener, hello) = hello();
    // Our own words come back.
    let mut ack = [0; ACK];
    ack[..HELLO].copy_from_slice(&hello);
    assert_eq!(opener.answered(&ack).unwrap_err(), Refused::Reflected);
    // They are brought to our own acceptor.
    assert_eq!(
        Acceptor::new(&KEY, &node(0), |_| true, &hello, [3; 32]).map(|_| ()),
        Err(Refused::Node)
    );
    let (_, to_self) = Opener::new(&KEY, &node(0), VOLUME, NodeId(0), [2; 32]);
    assert_eq!(
        Acceptor::new(&KEY, &node(0), |_| true, &to_self, [3; 32]).map(|_| ()),
        Err(Refused::Reflected)
    );
    // The acceptor's MAC comes back as the opener's proof.
    let (acceptor, ack) = accept(&hello).unwrap();
    let mut proof = [0; PROOF];
    proof[..8].copy_from_slice(b"SFhs\x01\x04\0\0");
    proof[8..].copy_from_slice(&ack[HELLO..]);
    assert_eq!(acceptor.proved(&proof), Err(Refused::Key));
}

#[test]
fn a_replay_is_refused() {
    let (opener, first) = hello();
    let (_, ack) = accept(&first).unwrap();
    let (_, proof) = opener.answered(&ack).unwrap();
    // All the opener said, to the same acceptor once more: its nonce is another.
    let (acceptor, _) = Acceptor::new(&KEY, &node(1), |_| true, &first, [4; 32]).unwrap();
    assert_eq!(acceptor.proved(&proof), Err(Refused::Key));
    // All the acceptor said, to the same opener once more.
    let (opener, _) = Opener::new(&KEY, &node(0), VOLUME, NodeId(1), [5; 32]);
    assert_eq!(opener.answered(&ack).unwrap_err(), Refused::Key);
}

#[test]
fn every_flipped_bit_is_refused() {
    let (opener, hello) = hello();
    let (acceptor, ack) = accept(&hello).unwrap();
    let (_, proof) = opener.answered(&ack).unwrap();
    for bit in 0..HELLO * 8 {
        let mut bad = hello;
        bad[bit / 8] ^= 1 << (bit % 8);
        let shaken = Acceptor::new(&KEY, &node(1), |volume| volume == VOLUME, &bad, [3; 32])
            .and_then(|(acceptor, ack)| {
                let (_, proof) = opener.answered(&ack)?;
                acceptor.proved(&proof)
            });
        assert!(shaken.is_err(), "hello bit {bit}");
    }
    for bit in 0..ACK * 8 {
        let mut bad = ack;
        bad[bit / 8] ^= 1 << (bit % 8);
        assert!(opener.answered(&bad).is_err(), "ack bit {bit}");
    }
    for bit in 0..PROOF * 8 {
        let mut bad = proof;
        bad[bit / 8] ^= 1 << (bit % 8);
        assert!(acceptor.proved(&bad).is_err(), "proof bit {bit}");
    }
}

/// What older nodes expect: a change here is a new version.
#[test]
fn golden_messages() {
    let (opener, hello) = hello();
    let (_, ack) = accept(&hello).unwrap();
    let (_, proof) = opener.answered(&ack).unwrap();
    assert_eq!(
        hex(&hello),
        format!(
            "53466873010100010a00000000000000{}{}{}{}",
            "c1000000000000000000000000000000",
            "bc0a0000000000000000000000000000",
            "02".repeat(32),
            "00".repeat(16)
        )
    );
    assert_eq!(
        hex(&ack[HELLO..]),
        "b5b24f7c62c943e0bd68bf485bc96494d71ac35829dbd2cffe35093bcfe69533"
    );
    assert_eq!(
        hex(&proof),
        "5346687301040000204f3e13024028e266b6527f9468ec876030fc94fbd5d61f4bd80578bc319559"
    );
}

proptest! {
    #[test]
    fn any_bytes_are_refused(random in prop::collection::vec(any::<u8>(), ACK), kind in 0_u8..6) {
        let mut ack: [u8; ACK] = *random.first_chunk().unwrap();
        ack[..6].copy_from_slice(b"SFhs\x01\x00");
        ack[5] = kind;
        let (opener, hello) = hello();
        let (acceptor, _) = accept(&hello).unwrap();
        prop_assert!(opener.answered(&ack).is_err());
        prop_assert!(accept(ack.first_chunk().unwrap()).is_err());
        prop_assert!(acceptor.proved(ack.first_chunk().unwrap()).is_err());
    }
}

#[test]
fn another_protocol_is_told_by_its_first_bytes() {
    let (opener, hello) = hello();
    let (_, ack) = accept(&hello).unwrap();
    let (_, proof) = opener.answered(&ack).unwrap();
    for len in 0..=PROOF {
        for message in [&hello[..len], &ack[..len], &proof[..len]] {
            assert_eq!(begins(message), Ok(()));
        }
    }
    for other in [&b"G"[..], b"SSH-2.0-OpenSSH", b"SFh\0", b"\0\0\0\0\0"] {
        assert_eq!(begins(other), Err(Refused::NotOurs));
    }
}

#[test]
fn the_words_fit_the_end_that_refuses() {
    let both = |why: Refused| [Role::Opener, Role::Acceptor].map(|role| why.by(role).to_string());
    let [opener, acceptor] = both(Refused::NotOurs);
    assert!(opener.starts_with("what listens there does not speak Steadfast's protocol"));
    assert!(acceptor.starts_with("what connected does not speak Steadfast's protocol"));
    assert!(acceptor.contains("keep other programs away"));
    let [opener, acceptor] = both(Refused::Key);
    assert_eq!(opener, acceptor);
    let refusals = [
        Refused::Version(9),
        Refused::OutOfTurn,
        Refused::Cluster,
        Refused::Volume,
        Refused::Node,
        Refused::Reflected,
        Refused::Rejected(Rejection::Version),
        Refused::Rejected(Rejection::Other),
    ];
    for why in refusals {
        for words in both(why) {
            assert!(words.contains(": "), "what, and what to do: {words}");
        }
    }
}
