//! Replies of the transmission phase, written into the caller's memory.

use crate::errno::Errno;
use crate::protocol::{
    CHUNK_DONE, CHUNK_ERROR, CHUNK_NONE, CHUNK_OFFSET_DATA, SIMPLE_REPLY_MAGIC,
    STRUCTURED_REPLY_MAGIC,
};
use crate::request::{Command, Transmission};

const SIMPLE_LEN: usize = 16;
const CHUNK_LEN: usize = 20;
const OFFSET_LEN: usize = 8;
const ERROR_LEN: usize = 6;
const MESSAGE_MAX: usize = 48;

/// Most bytes that [`Transmission::data_reply`] writes.
pub const DATA_REPLY_MAX: usize = CHUNK_LEN + OFFSET_LEN;
/// Most bytes that [`Transmission::reply`] writes.
pub const REPLY_MAX: usize = CHUNK_LEN + ERROR_LEN + MESSAGE_MAX;

impl Transmission {
    /// Writes what goes before `len` bytes of data read at `offset`, and returns its length.
    ///
    /// `last`: this piece ends the answer. Several pieces, in any order, are for structured replies
    /// to requests that did not ask for one piece; each has at least one byte, none overlap, and
    /// together they are the request's range. Send a piece only when its data is there: an error
    /// could not be told any more.
    ///
    /// # Panics
    /// If `out` is shorter than [`DATA_REPLY_MAX`], `len` is 0, or a simple reply is not the last.
    #[inline]
    #[must_use]
    pub fn data_reply(
        &self,
        cookie: u64,
        offset: u64,
        len: u32,
        last: bool,
        out: &mut [u8],
    ) -> usize {
        assert!(len != 0 && (last || self.structured));
        if self.structured {
            let flags = if last { CHUNK_DONE } else { 0 };
            chunk(
                flags,
                CHUNK_OFFSET_DATA,
                cookie,
                len + OFFSET_LEN as u32,
                out,
            );
            out[CHUNK_LEN..DATA_REPLY_MAX].copy_from_slice(&offset.to_be_bytes());
            DATA_REPLY_MAX
        } else {
            simple(Errno::Ok, cookie, out)
        }
    }

    /// Writes a whole answer without data, and returns its length: of any command but a read, of
    /// a read that failed, or of a read of nothing.
    ///
    /// # Panics
    /// If `out` is shorter than [`REPLY_MAX`].
    #[inline]
    #[must_use]
    pub fn reply(&self, command: Command, cookie: u64, errno: Errno, out: &mut [u8]) -> usize {
        // Once structured replies are agreed a read never gets a simple one; others may.
        if !self.structured || command != Command::Read {
            return simple(errno, cookie, out);
        }
        if errno == Errno::Ok {
            chunk(CHUNK_DONE, CHUNK_NONE, cookie, 0, out);
            return CHUNK_LEN;
        }
        error(errno, cookie, out)
    }
}

#[inline]
fn simple(errno: Errno, cookie: u64, out: &mut [u8]) -> usize {
    out[..4].copy_from_slice(&SIMPLE_REPLY_MAGIC.to_be_bytes());
    out[4..8].copy_from_slice(&(errno as u32).to_be_bytes());
    out[8..SIMPLE_LEN].copy_from_slice(&cookie.to_be_bytes());
    SIMPLE_LEN
}

#[inline]
fn chunk(flags: u16, kind: u16, cookie: u64, len: u32, out: &mut [u8]) {
    out[..4].copy_from_slice(&STRUCTURED_REPLY_MAGIC.to_be_bytes());
    out[4..6].copy_from_slice(&flags.to_be_bytes());
    out[6..8].copy_from_slice(&kind.to_be_bytes());
    out[8..16].copy_from_slice(&cookie.to_be_bytes());
    out[16..CHUNK_LEN].copy_from_slice(&len.to_be_bytes());
}

#[cold]
fn error(errno: Errno, cookie: u64, out: &mut [u8]) -> usize {
    let message = errno.message().as_bytes();
    assert!(message.len() <= MESSAGE_MAX);
    let end = CHUNK_LEN + ERROR_LEN + message.len();
    chunk(
        CHUNK_DONE,
        CHUNK_ERROR,
        cookie,
        (end - CHUNK_LEN) as u32,
        out,
    );
    out[20..24].copy_from_slice(&(errno as u32).to_be_bytes());
    out[24..26].copy_from_slice(&(message.len() as u16).to_be_bytes());
    out[26..end].copy_from_slice(message);
    end
}
