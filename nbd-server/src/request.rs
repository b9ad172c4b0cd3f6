//! Requests of the transmission phase: parsed in place and judged.

use crate::errno::Errno;
use crate::export::{Export, Flags};
use crate::protocol::{
    CMD_CACHE, CMD_DISC, CMD_FLAG_DF, CMD_FLAG_FAST_ZERO, CMD_FLAG_FUA, CMD_FLAG_NO_HOLE,
    CMD_FLUSH, CMD_READ, CMD_TRIM, CMD_WRITE, CMD_WRITE_ZEROES, PAYLOAD_ACCEPTED_MAX,
    PAYLOAD_DRAINED_MAX, REQUEST_MAGIC,
};

/// Bytes of a request before its payload.
pub const REQUEST_LEN: usize = 28;

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Command {
    /// Read.
    Read,
    /// Write the payload.
    Write,
    /// Make durable what was answered before, on all connections.
    Flush,
    /// The content is no longer wanted.
    Trim,
    /// Store zeroes.
    WriteZeroes,
    /// Prefetch; always answered without the disk.
    Cache,
}

/// A request that is allowed and in range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// Echoed in the answer.
    pub cookie: u64,
    /// First byte; 0 for a flush.
    pub offset: u64,
    /// Bytes, any alignment. 0 only for a flush. Up to `PAYLOAD_ACCEPTED_MAX` for a read or
    /// write; not limited but by the export's end for a trim or zero.
    pub len: u32,
    /// What; never `Cache`.
    pub command: Command,
    /// Durable before the answer. Legal, and without meaning, on commands that change nothing.
    pub fua: bool,
    /// Zeroes: keep the space allocated.
    pub no_hole: bool,
    /// Zeroes: answer `Errno::NotSupported` at once rather than be slow.
    pub fast_zero: bool,
    /// Read: answer in one piece.
    pub one_piece: bool,
}

impl Request {
    /// Bytes that follow the header.
    #[inline]
    #[must_use]
    pub const fn payload_len(&self) -> u32 {
        match self.command {
            Command::Write => self.len,
            Command::Read
            | Command::Flush
            | Command::Trim
            | Command::WriteZeroes
            | Command::Cache => 0,
        }
    }
}

/// Why a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disconnect {
    /// The client asked: finish what is in flight, then close.
    Asked,
    /// The bytes are not a request: the stream cannot be followed any further.
    BadMagic,
    /// A write longer than is worth swallowing, of this many bytes.
    TooLong(u32),
}

/// What the bytes at the head of the receive buffer are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// Less than a header.
    NeedMore,
    /// A request for the disk. [`REQUEST_LEN`] bytes, then [`Request::payload_len`].
    Request(Request),
    /// Answered without the disk: a refusal, or nothing to do. [`REQUEST_LEN`] bytes, then `drain`
    /// bytes to throw away, then the answer may go out.
    Answer {
        /// What it asked for, as [`Transmission::reply`] wants to know; `Cache` where unknown.
        command: Command,
        /// Echoed in the answer.
        cookie: u64,
        /// The answer.
        errno: Errno,
        /// Bytes of payload to throw away, up to `PAYLOAD_DRAINED_MAX`.
        drain: u32,
    },
    /// End this connection.
    Disconnect(Disconnect),
}

/// The transmission phase of one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transmission {
    /// Which of the exports that the handshake was given.
    pub export: usize,
    /// Bytes of the export. A driver may raise it when the export grows.
    pub size: u64,
    /// What was told to the client.
    pub flags: Flags,
    /// Whether reads are answered by structured replies.
    pub structured: bool,
}

impl Transmission {
    /// The phase as it begins for `exports[export]`.
    #[must_use]
    pub fn new(export: usize, of: &Export, structured: bool) -> Self {
        let flags = if structured {
            of.flags
        } else {
            of.flags.without(Flags::DF)
        };
        Self {
            export,
            size: of.size,
            flags,
            structured,
        }
    }

    /// Parses and judges the request at the head of `bytes`.
    #[inline]
    #[must_use]
    pub fn next(&self, bytes: &[u8]) -> Parsed {
        let Some(header) = bytes.first_chunk::<REQUEST_LEN>() else {
            return Parsed::NeedMore;
        };
        if u32::from_be_bytes(part(header, 0)) != REQUEST_MAGIC {
            return Parsed::Disconnect(Disconnect::BadMagic);
        }
        let flags = u16::from_be_bytes(part(header, 4));
        let number = u16::from_be_bytes(part(header, 6));
        let cookie = u64::from_be_bytes(part(header, 8));
        let offset = u64::from_be_bytes(part(header, 16));
        let len = u32::from_be_bytes(part(header, 24));

        let command = match number {
            CMD_READ => Command::Read,
            CMD_WRITE => Command::Write,
            CMD_FLUSH => Command::Flush,
            CMD_TRIM => Command::Trim,
            CMD_CACHE => Command::Cache,
            CMD_WRITE_ZEROES => Command::WriteZeroes,
            CMD_DISC => return Parsed::Disconnect(Disconnect::Asked),
            _ => {
                let errno = Errno::Invalid;
                return Parsed::Answer {
                    command: Command::Cache,
                    cookie,
                    errno,
                    drain: 0,
                };
            }
        };
        // Whatever is wrong with a write, its payload follows, and has to be got out of the way.
        let drain = if command == Command::Write { len } else { 0 };
        if drain > PAYLOAD_DRAINED_MAX {
            return Parsed::Disconnect(Disconnect::TooLong(len));
        }
        let errno = self.judge(command, flags, offset, len);
        if errno != Errno::Ok
            || command == Command::Cache
            || (len == 0 && command != Command::Flush)
        {
            return Parsed::Answer {
                command,
                cookie,
                errno,
                drain,
            };
        }
        Parsed::Request(Request {
            cookie,
            offset,
            len,
            command,
            fua: flags & CMD_FLAG_FUA != 0,
            no_hole: flags & CMD_FLAG_NO_HOLE != 0,
            fast_zero: flags & CMD_FLAG_FAST_ZERO != 0,
            one_piece: flags & CMD_FLAG_DF != 0,
        })
    }

    /// The one validator of requests: everything behind it may assert.
    #[inline]
    fn judge(&self, command: Command, flags: u16, offset: u64, len: u32) -> Errno {
        let (served_if, own_flags, past_end) = match command {
            Command::Read => (Flags::NONE, CMD_FLAG_DF, Errno::Invalid),
            Command::Write => (Flags::NONE, 0, Errno::NoSpace),
            Command::Flush => (Flags::FLUSH, 0, Errno::Invalid),
            Command::Trim => (Flags::TRIM, 0, Errno::Invalid),
            Command::Cache => (Flags::CACHE, 0, Errno::Invalid),
            Command::WriteZeroes => (
                Flags::WRITE_ZEROES,
                CMD_FLAG_NO_HOLE | CMD_FLAG_FAST_ZERO,
                Errno::NoSpace,
            ),
        };
        if !self.flags.contains(served_if) {
            return Errno::Invalid;
        }
        // A flag is legal if the command knows it and the export offers it; FUA is on every one.
        if flags & !(own_flags | CMD_FLAG_FUA) != 0
            || (flags & CMD_FLAG_FUA != 0 && !self.flags.contains(Flags::FUA))
            || (flags & CMD_FLAG_DF != 0 && !self.flags.contains(Flags::DF))
            || (flags & CMD_FLAG_FAST_ZERO != 0 && !self.flags.contains(Flags::FAST_ZERO))
        {
            return Errno::Invalid;
        }
        let changes = matches!(
            command,
            Command::Write | Command::Trim | Command::WriteZeroes
        );
        if changes && self.flags.contains(Flags::READ_ONLY) {
            return Errno::NotPermitted;
        }
        if command == Command::Flush {
            // Reserved by the protocol: must be zero.
            return if offset == 0 && len == 0 {
                Errno::Ok
            } else {
                Errno::Invalid
            };
        }
        if matches!(command, Command::Read | Command::Write) && len > PAYLOAD_ACCEPTED_MAX {
            return Errno::Invalid;
        }
        match offset.checked_add(u64::from(len)) {
            Some(end) if end <= self.size => Errno::Ok,
            Some(_) | None => past_end,
        }
    }
}

/// `N` bytes of a request's header.
#[inline]
fn part<const N: usize>(header: &[u8; REQUEST_LEN], at: usize) -> [u8; N] {
    let mut bytes = [0; N];
    bytes.copy_from_slice(&header[at..at + N]);
    bytes
}
