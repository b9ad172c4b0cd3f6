//! Replies to options, and the data of INFO and GO.

use crate::export::Export;
use crate::protocol::{
    BLOCK_MIN, BLOCK_PREFERRED, INFO_BLOCK_SIZE, INFO_DESCRIPTION, INFO_EXPORT, INFO_NAME,
    OPT_LIST, OPTION_REPLY_MAGIC, PAYLOAD_ADVERTISED_MAX, REP_ACK, REP_INFO, REP_SERVER,
    STRING_MAX,
};
use crate::request::Transmission;

/// Appends one reply whose data is `parts` one after the other.
pub fn reply(option: u32, kind: u32, parts: &[&[u8]], out: &mut Vec<u8>) {
    let len: usize = parts.iter().map(|part| part.len()).sum();
    out.extend(OPTION_REPLY_MAGIC.to_be_bytes());
    out.extend(option.to_be_bytes());
    out.extend(kind.to_be_bytes());
    out.extend((len as u32).to_be_bytes());
    for part in parts {
        out.extend_from_slice(part);
    }
}

/// Appends the answer to LIST.
pub fn list(exports: &[Export], out: &mut Vec<u8>) {
    for export in exports {
        let name = export.name().as_bytes();
        let len = (name.len() as u32).to_be_bytes();
        let text = export.description().as_bytes();
        reply(OPT_LIST, REP_SERVER, &[&len, name, text], out);
    }
    reply(OPT_LIST, REP_ACK, &[], out);
}

/// Why the data of INFO or GO cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// The lengths inside do not fit.
    Lengths,
    /// The name is longer than the protocol allows.
    Name,
}

/// Data of INFO and GO.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted<'a> {
    /// The export's name.
    pub name: &'a [u8],
    /// Numbers of the information asked for, two bytes each.
    infos: &'a [u8],
}

impl<'a> Wanted<'a> {
    /// Takes the data apart: length of the name, name, number of requests, requests.
    pub fn parse(data: &'a [u8]) -> Result<Self, Malformed> {
        let (len, rest) = data.split_first_chunk().ok_or(Malformed::Lengths)?;
        let len = u32::from_be_bytes(*len) as usize;
        if len > STRING_MAX {
            return Err(Malformed::Name);
        }
        let (name, rest) = rest.split_at_checked(len).ok_or(Malformed::Lengths)?;
        let (count, infos) = rest.split_first_chunk().ok_or(Malformed::Lengths)?;
        if infos.len() != 2 * usize::from(u16::from_be_bytes(*count)) {
            return Err(Malformed::Lengths);
        }
        Ok(Self { name, infos })
    }

    fn asks_for(&self, info: u16) -> bool {
        self.infos
            .chunks_exact(2)
            .any(|bytes| *bytes == info.to_be_bytes())
    }

    /// Appends what was asked for, and size and flags in any case, then an acknowledgement.
    pub fn answer(&self, option: u32, export: &Export, begun: &Transmission, out: &mut Vec<u8>) {
        let mut info = |number: u16, data: &[u8]| {
            reply(option, REP_INFO, &[&number.to_be_bytes(), data], out);
        };
        let mut size_and_flags = [0; 10];
        size_and_flags[..8].copy_from_slice(&begun.size.to_be_bytes());
        size_and_flags[8..].copy_from_slice(&begun.flags.bits().to_be_bytes());
        info(INFO_EXPORT, &size_and_flags);
        if self.asks_for(INFO_NAME) {
            info(INFO_NAME, export.name().as_bytes());
        }
        if self.asks_for(INFO_DESCRIPTION) && !export.description().is_empty() {
            info(INFO_DESCRIPTION, export.description().as_bytes());
        }
        if self.asks_for(INFO_BLOCK_SIZE) {
            // The smallest block has to divide the size.
            let aligned = begun.size.is_multiple_of(u64::from(BLOCK_MIN));
            let min = if aligned { BLOCK_MIN } else { 1 };
            let sizes = [min, BLOCK_PREFERRED, PAYLOAD_ADVERTISED_MAX].map(u32::to_be_bytes);
            info(INFO_BLOCK_SIZE, sizes.as_flattened());
        }
        reply(option, REP_ACK, &[], out);
    }
}
