use proptest::prelude::*;

use super::hex;
use crate::types::{BootId, Extent, Index, NodeId, Seq, SessionId, StoreId, Term};
use crate::wire::codec::{Broken, HEADER, PAYLOAD_MAX, check_payload, decode, encode, payload_crc};
use crate::wire::frame::{Ask, Change, Digest, Frame, Origin, Purpose, Refusal, SessionWindow};

const EXTENT: Extent = Extent {
    offset: 5 << 20,
    len: 8192,
};
const ORIGIN: Origin = Origin {
    session: SessionId(7),
    number: 9,
    confirmed: 8,
};
const WINDOW: SessionWindow = SessionWindow {
    session: SessionId(7),
    confirmed: 3,
    applied: [1, 2, 3, u64::MAX],
};

/// One of each kind.
fn all() -> Vec<Frame> {
    vec![
        Frame::Attach {
            term: Term(3),
            entry: Index(4),
            purpose: Purpose::Resync,
            resync: 5,
        },
        Frame::Change {
            seq: Seq(30),
            stable: Seq(20),
            flushed: Seq(10),
            change: Change::Write,
            extent: EXTENT,
            origin: ORIGIN,
            absent: 0b101,
        },
        Frame::Copy {
            resync: 5,
            id: 6,
            extent: EXTENT,
            zero: true,
        },
        Frame::Flush { id: 1 },
        Frame::Watermark {
            stable: Seq(2),
            flushed: Seq(1),
        },
        Frame::Window(WINDOW),
        Frame::WindowsEnd,
        Frame::MarkAbsent {
            replica: NodeId(2),
            entry: Index(44),
            record: Index(43),
        },
        Frame::MarkPresent {
            replica: NodeId(2),
            entry: Index(45),
        },
        Frame::DirtyRun {
            absent: NodeId(2),
            since: Index(44),
            first: 1,
            blocks: 2,
        },
        Frame::DirtyRunsEnd { entry: Index(46) },
        Frame::ReportBegin {
            resync: 5,
            store: StoreId(1 << 100),
            boot: BootId(2 << 100),
            seq: Seq(12),
            exact: true,
            windows: false,
        },
        Frame::ReportChange {
            seq: Seq(11),
            extent: EXTENT,
        },
        Frame::ReportActive {
            first: 1,
            regions: 2,
        },
        Frame::ReportWritten {
            first: 3,
            regions: 4,
        },
        Frame::ReportWindow(WINDOW),
        Frame::ReportEnd { resync: 5 },
        Frame::Changed {
            seq: Seq(30),
            errno: 5,
        },
        Frame::Copied {
            resync: 5,
            id: 6,
            errno: 0,
        },
        Frame::Flushed { id: 1, errno: 0 },
        Frame::Configured {
            entry: Index(44),
            errno: 0,
        },
        Frame::Refused {
            why: Refusal::OldTerm,
            term: Term(9),
        },
        Frame::Enter {
            session: SessionId(7),
        },
        Frame::Request {
            tag: 77,
            ask: Ask::Change {
                change: Change::Write,
                fua: true,
            },
            extent: Extent {
                offset: 4097,
                len: 3,
            },
            origin: ORIGIN,
        },
        Frame::Welcome { term: Term(3) },
        Frame::NotNow {
            why: Refusal::TooEarly,
            term: Term(3),
        },
        Frame::Done {
            tag: 77,
            errno: 0,
            len: 512,
            skip: 1024,
        },
        Frame::Reconciled { through: Seq(9) },
        Frame::Compare {
            resync: 5,
            id: 6,
            extent: EXTENT,
            digest: Digest(std::array::from_fn(|at| at as u8)),
        },
        Frame::Compared {
            resync: 5,
            id: 6,
            same: true,
            errno: 0,
        },
    ]
}

fn bytes(frame: &Frame) -> [u8; HEADER] {
    let mut header = [0xaa; HEADER];
    let crc = if frame.payload_len() > 0 {
        0x1234_5678
    } else {
        0
    };
    encode(frame, crc, &mut header);
    header
}

/// The header after a change, with its checksum made right again.
fn forged(frame: &Frame, at: usize, new: &[u8]) -> [u8; HEADER] {
    let mut header = bytes(frame);
    header[at..at + new.len()].copy_from_slice(new);
    let crc = crc32fast::hash(&header[..HEADER - 4]);
    header[HEADER - 4..].copy_from_slice(&crc.to_le_bytes());
    header
}

#[test]
fn every_frame_comes_back() {
    for frame in all() {
        let (back, crc) = decode(&bytes(&frame)).unwrap();
        assert_eq!(back, frame);
        assert_eq!(
            crc,
            if frame.payload_len() > 0 {
                0x1234_5678
            } else {
                0
            }
        );
    }
}

#[test]
fn no_two_kinds_share_a_number() {
    let mut kinds: Vec<u8> = all().iter().map(|frame| bytes(frame)[5]).collect();
    kinds.sort_unstable();
    let len = kinds.len();
    kinds.dedup();
    assert_eq!((kinds.len(), len), (30, 30));
}

/// What older nodes expect: a change here is a new version.
#[test]
fn golden_change() {
    assert_eq!(
        hex(&bytes(&all()[1])),
        concat!(
            "53466672",
            "01",
            "02",
            "0000",
            "00200000",
            "78563412", // magic .. payload CRC
            "1e00000000000000",
            "1400000000000000",
            "0a00000000000000", // seq, stable, flushed
            "0000500000000000",
            "00200000", // extent
            "0700000000000000",
            "0900000000000000",
            "0800000000000000", // origin
            "01",
            "05",
            "0000000000000000000000000000",
            "b655f812", // write, absent
        )
    );
}

#[test]
fn golden_comparison() {
    let fields = |at: usize| hex(&bytes(&all()[at])[..HEADER - 4]);
    assert_eq!(
        fields(28),
        concat!(
            "5346667201",
            "0d",
            "0000",
            "0000000000000000", // no payload
            "0500000006000000", // resync, id
            "000050000000000000200000",
            "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
            "000000000000000000000000000000000000000000000000",
        )
    );
    assert_eq!(
        fields(29),
        concat!(
            "5346667201",
            "2b",
            "0000",
            "0000000000000000",
            "0500000006000000",
            "0000", // errno
            "01",   // same
            "0000000000000000000000000000000000000000000000000000000000000000",
            "0000000000000000000000000000000000000000000000000000000000000000",
            "00",
        )
    );
}

#[test]
fn golden_hash_of_all_frames() {
    // Not a CRC: each header ends with its own, which makes the CRC of the whole a constant.
    let hash = |frames: &[Frame]| {
        let bytes: Vec<u8> = frames.iter().flat_map(bytes).collect();
        hex(&blake3::hash(&bytes).as_bytes()[..8])
    };
    // A new kind comes last, and changes none of the others.
    assert_eq!(hash(&all()[..28]), "eeb40985555a1fa9");
    assert_eq!(hash(&all()), "ba80cbeaf6fa1de5");
}

#[test]
fn every_flipped_bit_of_a_header_is_refused() {
    for frame in all() {
        let good = bytes(&frame);
        for bit in 0..HEADER * 8 {
            let mut bad = good;
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(decode(&bad).is_err(), "{frame:?} bit {bit}");
        }
    }
}

#[test]
fn a_newer_version_is_named_before_its_checksum_is_looked_at() {
    let mut header = bytes(&Frame::WindowsEnd);
    header[4] = 2;
    assert_eq!(decode(&header), Err(Broken::Version(2)));
}

#[test]
fn lengths_are_checked_against_the_fields() {
    let done = Frame::Done {
        tag: 1,
        errno: 0,
        len: PAYLOAD_MAX,
        skip: 0,
    };
    assert!(decode(&bytes(&done)).is_ok());
    for len in [PAYLOAD_MAX + 1, 1 << 31, u32::MAX] {
        // In the field and in the header.
        let mut header = forged(&done, 20, &len.to_le_bytes());
        header[8..12].copy_from_slice(&len.to_le_bytes());
        let crc = crc32fast::hash(&header[..HEADER - 4]);
        header[HEADER - 4..].copy_from_slice(&crc.to_le_bytes());
        assert_eq!(decode(&header), Err(Broken::PayloadLength(len)));
        // In the header alone.
        assert_eq!(
            decode(&forged(&done, 8, &len.to_le_bytes())),
            Err(Broken::PayloadLength(len))
        );
    }
    // The data would not fit at its place.
    for skip in [1_u16, 4096, u16::MAX] {
        let header = forged(&done, 26, &skip.to_le_bytes());
        assert_eq!(decode(&header), Err(Broken::Range), "{skip}");
    }
    // A failed request has no data.
    assert_eq!(
        decode(&forged(&done, 24, &5_u16.to_le_bytes())),
        Err(Broken::PayloadLength(PAYLOAD_MAX))
    );
}

#[test]
fn ranges_are_checked() {
    let change = all()[1];
    // The extent of a change begins at byte 40.
    let with = |offset: u64, len: u32| {
        let mut header = forged(&change, 40, &offset.to_le_bytes());
        header[48..52].copy_from_slice(&len.to_le_bytes());
        header[8..12].copy_from_slice(&len.to_le_bytes());
        let crc = crc32fast::hash(&header[..HEADER - 4]);
        header[HEADER - 4..].copy_from_slice(&crc.to_le_bytes());
        decode(&header).map(|_| ())
    };
    assert_eq!(with(0, 1 << 20), Ok(()));
    assert_eq!(with((16 << 40) - 4096, 4096), Ok(()));
    for (offset, len) in [
        (0, 0),
        (0, 4095),
        (1, 4096),
        (4096, 1 << 20),
        (0, u32::MAX),
        (0, (1 << 20) + 4096),
        (16 << 40, 4096),
        (u64::MAX - 4095, 4096),
        (u64::MAX, u32::MAX),
    ] {
        assert_eq!(with(offset, len), Err(Broken::Range), "{offset} {len}");
    }
}

#[test]
fn what_is_compared_lies_in_one_region() {
    let compare = all()[28];
    // The extent of a comparison begins at byte 24.
    let with = |offset: u64, len: u32| {
        let mut extent = [0; 12];
        extent[..8].copy_from_slice(&offset.to_le_bytes());
        extent[8..].copy_from_slice(&len.to_le_bytes());
        decode(&forged(&compare, 24, &extent)).map(|_| ())
    };
    assert_eq!(with(0, 1 << 20), Ok(()));
    for (offset, len) in [(0, 0), (1, 4096), (4096, 1 << 20), (16 << 40, 4096)] {
        assert_eq!(with(offset, len), Err(Broken::Range), "{offset} {len}");
    }
}

#[test]
fn runs_and_nodes_are_checked() {
    let run = all()[9];
    let max = u64::MAX.to_le_bytes();
    assert_eq!(decode(&forged(&run, 24, &max)), Err(Broken::Range));
    assert_eq!(decode(&forged(&run, 32, &max)), Err(Broken::Range));
    assert_eq!(
        decode(&forged(&run, 40, &[128])),
        Err(Broken::Field("node"))
    );
    let active = all()[13];
    assert_eq!(
        decode(&forged(&active, 20, &u32::MAX.to_le_bytes())),
        Err(Broken::Range)
    );
}

#[test]
fn unknown_values_are_refused() {
    let forge = |index: usize, at, value| decode(&forged(&all()[index], at, &[value])).map(|_| ());
    assert_eq!(forge(6, 5, 99), Err(Broken::Kind(99)));
    assert_eq!(forge(6, 16, 1), Err(Broken::Padding));
    assert_eq!(forge(6, 6, 1), Err(Broken::Padding));
    assert_eq!(forge(0, 36, 3), Err(Broken::Field("purpose")));
    assert_eq!(forge(1, 76, 5), Err(Broken::Field("change")));
    assert_eq!(forge(21, 24, 7), Err(Broken::Field("refusal")));
    assert_eq!(forge(23, 56, 4), Err(Broken::Field("request")));
    assert_eq!(forge(23, 58, 2), Err(Broken::Field("flag")));
    // A read with data, a flush with a range.
    assert_eq!(forge(23, 56, 1), Err(Broken::Field("request")));
    assert_eq!(forge(29, 26, 2), Err(Broken::Field("flag")));
    // What could not be read is the same.
    assert_eq!(forge(29, 24, 5), Err(Broken::Field("comparison")));
}

#[test]
fn a_payload_is_checked() {
    let payload = vec![7; 4096];
    let crc = payload_crc(&payload);
    assert_eq!(check_payload(crc, &payload), Ok(()));
    assert_eq!(
        check_payload(crc, &payload[1..]),
        Err(Broken::PayloadChecksum)
    );
    assert_eq!(payload_crc(&[]), 0);
}

proptest! {
    #[test]
    fn any_bytes_are_a_frame_or_refused(random in prop::collection::vec(any::<u8>(), HEADER - 5), kind in any::<u8>()) {
        let mut header = [0; HEADER];
        header[..4].copy_from_slice(b"SFfr");
        header[4] = 1;
        header[5..].copy_from_slice(&random);
        header[5] = kind % 100;
        let crc = crc32fast::hash(&header[..HEADER - 4]);
        header[HEADER - 4..].copy_from_slice(&crc.to_le_bytes());
        if let Ok((frame, crc)) = decode(&header) {
            // Whatever is taken has one encoding only.
            let mut again = [0; HEADER];
            encode(&frame, crc, &mut again);
            prop_assert_eq!(again, header);
        }
    }
}
