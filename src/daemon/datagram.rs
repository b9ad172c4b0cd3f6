//! A datagram of the core: the number of its sender and a message, under the cluster's seal.

use crate::member::io::MESSAGE_MAX;
use crate::types::NodeId;
use crate::wire::seal::{HEADER, Kind, OVERHEAD, Refused, Seal};

/// Bytes of the largest one.
pub(super) const DATAGRAM_MAX: usize = OVERHEAD + 1 + MESSAGE_MAX;

/// Seals a message into `datagram` and returns its length.
pub(super) fn seal(
    seal: &Seal,
    from: NodeId,
    message: &[u8],
    datagram: &mut [u8; DATAGRAM_MAX],
) -> usize {
    let len = 1 + message.len();
    datagram[HEADER] = from.0;
    datagram[HEADER + 1..HEADER + len].copy_from_slice(message);
    seal.seal_in_place(Kind::Core, len, datagram)
}

/// Who sent a datagram, and the message; `nodes` is how many there are.
pub(super) fn open<'a>(
    seal: &Seal,
    nodes: usize,
    datagram: &'a [u8],
) -> Result<(NodeId, &'a [u8]), Refused> {
    let payload = seal.open(Kind::Core, datagram)?;
    match payload.split_first() {
        Some((&from, message)) if usize::from(from) < nodes => Ok((NodeId(from), message)),
        // Whoever holds the key and sends this has another version or another list of nodes.
        _ => Err(Refused::Content),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::key::ClusterKey;

    fn sealed(payload: &[u8]) -> Vec<u8> {
        let mut datagram = vec![0; DATAGRAM_MAX];
        let len = cluster().seal(Kind::Core, payload, &mut datagram);
        datagram.truncate(len);
        datagram
    }

    fn cluster() -> Seal {
        Seal::new(&ClusterKey::new([1; 32]), 0xc1)
    }

    #[test]
    fn what_was_sealed_is_opened() {
        let mut datagram = [0; DATAGRAM_MAX];
        let len = seal(&cluster(), NodeId(2), b"message", &mut datagram);
        let opened = open(&cluster(), 3, &datagram[..len]);
        assert_eq!(opened, Ok((NodeId(2), &b"message"[..])));
    }

    #[test]
    fn one_without_a_possible_sender_is_refused() {
        let refused = |payload: &[u8]| open(&cluster(), 3, &sealed(payload)).map(|_| ());
        assert_eq!(refused(&[]), Err(Refused::Content));
        assert_eq!(refused(&[3, 1, 2]), Err(Refused::Content));
        assert_eq!(refused(&[u8::MAX]), Err(Refused::Content));
        assert_eq!(refused(&[2, 1, 2]), Ok(()));
    }
}
