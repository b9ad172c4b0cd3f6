//! Frames to bytes and back.
//!
//! A frame is a header of [`HEADER`] bytes and [`Frame::payload_len`] bytes of payload. The header
//! says how long the payload is only through its fields, which are checked before: at most 1 MiB,
//! within one region. Described byte by byte in `docs/wire-format.md`.
//!
//! Nothing here allocates. Whatever [`decode`] returns as `Ok` keeps every rule that `frame` states
//! about ranges and alignment, so that the engine may assert them.

mod kind;
mod put;
mod take;

use put::put_fields;
use take::take_fields;

use super::fields::{Reader, Writer};
use super::frame::Frame;
use crate::types::REGION;

/// Bytes of a frame's header.
pub const HEADER: usize = 96;
/// Most bytes of a frame's payload.
pub const PAYLOAD_MAX: u32 = REGION as u32;
/// Version of the frames.
pub const VERSION: u8 = 1;

const MAGIC: [u8; 4] = *b"SFfr";
const KIND_AT: usize = 5;
const PAYLOAD_LEN_AT: usize = 8;
const PAYLOAD_CRC_AT: usize = 12;
const FIELDS_AT: usize = 16;
const CRC_AT: usize = HEADER - 4;

/// Why a frame breaks the protocol. The link that brought it is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    /// It does not begin as a frame: the stream is out of step, or the peer is something else.
    Magic,
    /// Of another version.
    Version(u8),
    /// The header's checksum is wrong.
    HeaderChecksum,
    /// The payload's checksum is wrong.
    PayloadChecksum,
    /// No such kind of frame.
    Kind(u8),
    /// The payload's length is not what the fields say.
    PayloadLength(u32),
    /// A range that is empty, too long, not aligned, or beyond every volume.
    Range,
    /// A field has a value without a meaning.
    Field(&'static str),
    /// Bytes that mean nothing are not zero.
    Padding,
}

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Magic => write!(
                f,
                "the peer sent something that is not a frame: compare the nodes' versions"
            ),
            Self::Version(found) => write!(
                f,
                "the peer sent a frame of version {found}, this node speaks {VERSION}: \
                 update the older one"
            ),
            Self::HeaderChecksum => write!(
                f,
                "a frame's header has a wrong checksum: check memory and network of both machines"
            ),
            Self::PayloadChecksum => write!(
                f,
                "a frame's payload has a wrong checksum: check memory and network of both machines"
            ),
            Self::Kind(kind) => write!(
                f,
                "the peer sent a frame of the unknown kind {kind}: compare the nodes' versions"
            ),
            Self::PayloadLength(len) => {
                write!(
                    f,
                    "a frame announces {len} bytes that its fields do not allow: \
                     compare the nodes' versions"
                )
            }
            Self::Range => write!(
                f,
                "a frame names a range that no volume has: compare the nodes' versions"
            ),
            Self::Field(field) => write!(
                f,
                "a frame has an impossible {field}: compare the nodes' versions"
            ),
            Self::Padding => write!(
                f,
                "a frame has bytes of unknown meaning: compare the nodes' versions"
            ),
        }
    }
}

impl std::error::Error for Broken {}

/// CRC32 of a payload; 0 if it is empty.
#[must_use]
pub fn payload_crc(payload: &[u8]) -> u32 {
    crc32fast::hash(payload)
}

/// Whether a payload is the one that its header announced.
pub fn check_payload(crc: u32, payload: &[u8]) -> Result<(), Broken> {
    if payload_crc(payload) == crc {
        Ok(())
    } else {
        Err(Broken::PayloadChecksum)
    }
}

/// Encodes a frame's header. `payload_crc` is [`payload_crc`] of its payload, 0 without one.
pub fn encode(frame: &Frame, payload_crc: u32, header: &mut [u8; HEADER]) {
    header.fill(0);
    let mut out = Writer::new(&mut header[FIELDS_AT..CRC_AT]);
    let kind = put_fields(frame, &mut out);
    header[..4].copy_from_slice(&MAGIC);
    header[4] = VERSION;
    header[KIND_AT] = kind;
    let len = frame.payload_len();
    assert!(len <= PAYLOAD_MAX && (len > 0 || payload_crc == 0));
    header[PAYLOAD_LEN_AT..PAYLOAD_LEN_AT + 4].copy_from_slice(&len.to_le_bytes());
    header[PAYLOAD_CRC_AT..PAYLOAD_CRC_AT + 4].copy_from_slice(&payload_crc.to_le_bytes());
    let crc = crc32fast::hash(&header[..CRC_AT]);
    header[CRC_AT..].copy_from_slice(&crc.to_le_bytes());
}

/// Decodes a header: the frame, and the CRC that its payload must have.
pub fn decode(header: &[u8; HEADER]) -> Result<(Frame, u32), Broken> {
    if header[..4] != MAGIC {
        return Err(Broken::Magic);
    }
    // Magic and version keep their places in every version; the checksum may not.
    if header[4] != VERSION {
        return Err(Broken::Version(header[4]));
    }
    let mut outer = Reader::new(&header[PAYLOAD_LEN_AT..]);
    let (len, payload_crc) = (outer.u32(), outer.u32());
    if Reader::new(&header[CRC_AT..]).u32() != crc32fast::hash(&header[..CRC_AT]) {
        return Err(Broken::HeaderChecksum);
    }
    let mut fields = Reader::new(&header[FIELDS_AT..CRC_AT]);
    let frame = take_fields(header[KIND_AT], &mut fields)?;
    if frame.payload_len() != len || len > PAYLOAD_MAX || (len == 0 && payload_crc != 0) {
        return Err(Broken::PayloadLength(len));
    }
    if !fields.rest_is_zero() || header[6..PAYLOAD_LEN_AT] != [0; 2] {
        return Err(Broken::Padding);
    }
    Ok((frame, payload_crc))
}
