use proptest::prelude::*;

use super::hex;
use crate::member::io::{Acknowledgement, DeathNotice, Heard, Heartbeat, PulseDatagram};
use crate::types::{BootId, Incarnation, NODES_MAX, NodeId};
use crate::wire::key::ClusterKey;
use crate::wire::pulse::{MESSAGE_MAX, Malformed, decode, encode};
use crate::wire::seal::{Kind, OVERHEAD, PAYLOAD_MAX, Refused, Seal};

fn heartbeat(nodes: u8) -> Heartbeat {
    let mut heard = [Heard::default(); NODES_MAX];
    for (index, heard) in heard[..usize::from(nodes)].iter_mut().enumerate() {
        *heard = Heard {
            incarnation: Incarnation(index as u64 + 1),
            sequence: index as u64 + 100,
            suspected: index % 2 == 1,
            refused: index % 3 == 2,
        };
    }
    Heartbeat {
        from: NodeId(1),
        incarnation: Incarnation(2),
        boot: BootId(3),
        sequence: 4,
        silent: true,
        view: 5,
        nodes,
        heard,
    }
}

fn messages() -> Vec<PulseDatagram> {
    vec![
        PulseDatagram::Heartbeat(heartbeat(3)),
        PulseDatagram::Acknowledgement(Acknowledgement {
            from: NodeId(1),
            incarnation: Incarnation(2),
            to: NodeId(3),
            to_incarnation: Incarnation(4),
            sequence: 5,
            configuration: 6,
        }),
        PulseDatagram::DeathNotice(DeathNotice {
            node: NodeId(1),
            incarnation: Incarnation(2),
        }),
        PulseDatagram::Heartbeat(heartbeat(0)),
        PulseDatagram::Heartbeat(heartbeat(NODES_MAX as u8)),
    ]
}

fn bytes(message: &PulseDatagram) -> Vec<u8> {
    let mut out = [0; MESSAGE_MAX];
    let len = encode(message, &mut out);
    out[..len].to_vec()
}

fn seal() -> Seal {
    Seal::new(&ClusterKey::new([1; 32]), 0xc1)
}

fn sealed(payload: &[u8]) -> Vec<u8> {
    let mut out = vec![0; payload.len() + OVERHEAD];
    let len = seal().seal(Kind::Pulse, payload, &mut out);
    assert_eq!(len, out.len());
    out
}

#[test]
fn every_message_comes_back() {
    for message in messages() {
        assert_eq!(decode(&bytes(&message)), Ok(message));
    }
}

#[test]
fn only_the_nodes_that_are_there_are_sent() {
    assert_eq!(bytes(&messages()[3]).len(), 44);
    assert_eq!(bytes(&messages()[0]).len(), 44 + 3 * 17);
    assert_eq!(bytes(&messages()[4]).len(), MESSAGE_MAX);
}

#[test]
fn truncated_and_lengthened_messages_are_refused() {
    for message in messages() {
        let whole = bytes(&message);
        for len in 0..whole.len() {
            assert_eq!(decode(&whole[..len]), Err(Malformed), "{len}");
        }
        let mut longer = whole;
        longer.push(0);
        assert_eq!(decode(&longer), Err(Malformed));
    }
}

#[test]
fn impossible_nodes_and_counts_are_refused() {
    let mut message = bytes(&messages()[0]);
    message[1] = 128;
    assert_eq!(decode(&message), Err(Malformed));
    let mut message = bytes(&messages()[4]);
    message[43] = 129;
    assert_eq!(decode(&message), Err(Malformed));
}

/// What older nodes expect: a change here is a new version.
#[test]
fn golden_messages() {
    assert_eq!(
        hex(&bytes(&messages()[0])),
        concat!(
            "01",
            "01",
            "0200000000000000",
            "03000000000000000000000000000000",
            "0400000000000000",
            "01",
            "0500000000000000",
            "03",
            "0100000000000000",
            "6400000000000000",
            "00",
            "0200000000000000",
            "6500000000000000",
            "01",
            "0300000000000000",
            "6600000000000000",
            "02",
        )
    );
    assert_eq!(
        hex(&bytes(&messages()[1])),
        concat!(
            "02",
            "01",
            "0200000000000000",
            "03",
            "0400000000000000",
            "0500000000000000",
            "0600000000000000",
        )
    );
    assert_eq!(hex(&bytes(&messages()[2])), "03010200000000000000");
    assert_eq!(
        hex(&sealed(&bytes(&messages()[2]))),
        "5346646701010a00c10000000000000003010200000000000000afd8683e2ee55bd0e7473c92dd74158c"
    );
}

#[test]
fn a_sealed_datagram_opens() {
    for payload in [&b""[..], b"x", &[7; 1300], &[8; PAYLOAD_MAX]] {
        assert_eq!(seal().open(Kind::Pulse, &sealed(payload)), Ok(payload));
    }
}

#[test]
fn datagrams_of_others_are_refused_by_name() {
    let datagram = sealed(b"hello");
    let other_cluster = Seal::new(&ClusterKey::new([1; 32]), 0xc2);
    let other_key = Seal::new(&ClusterKey::new([2; 32]), 0xc1);
    assert_eq!(
        other_cluster.open(Kind::Pulse, &datagram),
        Err(Refused::Cluster)
    );
    assert_eq!(other_key.open(Kind::Pulse, &datagram), Err(Refused::Key));
    assert_eq!(seal().open(Kind::Core, &datagram), Err(Refused::Kind(1)));
    assert_eq!(
        seal().open(
            Kind::Pulse,
            b"GET / HTTP/1.1\r\nHost: somewhere.example\r\n"
        ),
        Err(Refused::NotOurs)
    );
    let mut newer = datagram;
    newer[4] = 2;
    assert_eq!(seal().open(Kind::Pulse, &newer), Err(Refused::Version(2)));
}

#[test]
fn every_flipped_bit_and_every_truncation_is_refused() {
    let whole = sealed(b"some payload");
    for bit in 0..whole.len() * 8 {
        let mut bad = whole.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        assert!(seal().open(Kind::Pulse, &bad).is_err(), "bit {bit}");
    }
    for len in 0..whole.len() {
        assert!(seal().open(Kind::Pulse, &whole[..len]).is_err());
    }
    let mut longer = whole;
    longer.push(0);
    assert_eq!(seal().open(Kind::Pulse, &longer), Err(Refused::Length));
}

#[test]
fn an_oversized_datagram_is_refused() {
    let mut huge = vec![0; PAYLOAD_MAX + 1 + OVERHEAD];
    huge[..6].copy_from_slice(b"SFdg\x01\x01");
    huge[6..8].copy_from_slice(&((PAYLOAD_MAX + 1) as u16).to_le_bytes());
    assert_eq!(seal().open(Kind::Pulse, &huge), Err(Refused::Length));
}

proptest! {
    #[test]
    fn any_bytes_are_a_message_or_refused(mut random in prop::collection::vec(any::<u8>(), 0..200), kind in 0_u8..5, nodes in 0_u8..9) {
        if let Some(first) = random.first_mut() {
            *first = kind;
        }
        if let Some(count) = random.get_mut(43) {
            *count = nodes;
        }
        if random.len() > 43 {
            random.resize(44 + usize::from(nodes) * 17, 1);
        }
        if let Ok(message) = decode(&random) {
            prop_assert_eq!(bytes(&message), random);
        }
    }

    #[test]
    fn any_datagram_is_refused(random in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(seal().open(Kind::Pulse, &random).is_err());
    }
}
