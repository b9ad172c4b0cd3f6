//! The only errors that the protocol knows.

/// Outcome of a request as it goes over the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum Errno {
    /// Success.
    Ok = 0,
    /// The export is read-only.
    NotPermitted = 1,
    /// The disk failed.
    Io = 5,
    /// No memory.
    NoMemory = 12,
    /// The request breaks a rule or reaches past the end.
    Invalid = 22,
    /// A change reaches past the end, or the store is full.
    NoSpace = 28,
    /// Longer than can be answered in one piece.
    Overflow = 75,
    /// A fast zero would be slow; no other request may get this.
    NotSupported = 95,
    /// The server is shutting down.
    Shutdown = 108,
}

impl Errno {
    /// What Linux's `errno` (positive; 0 is success) becomes on the wire.
    ///
    /// Errors that the protocol reserves for special cases (`EOPNOTSUPP`, `EOVERFLOW`) and unknown
    /// ones become `Io`.
    #[inline]
    #[must_use]
    pub const fn from_linux(errno: u16) -> Self {
        match errno {
            0 => Self::Ok,
            // EPERM, EACCES, EROFS
            1 | 13 | 30 => Self::NotPermitted,
            12 => Self::NoMemory,
            22 => Self::Invalid,
            // EFBIG, ENOSPC, EDQUOT
            27 | 28 | 122 => Self::NoSpace,
            108 => Self::Shutdown,
            _ => Self::Io,
        }
    }

    /// A short text for people, sent with structured errors.
    #[must_use]
    pub const fn message(self) -> &'static str {
        match self {
            Self::Ok => "",
            Self::NotPermitted => "the export is read-only",
            Self::Io => "the disk failed",
            Self::NoMemory => "out of memory",
            Self::Invalid => "the request is malformed or out of range",
            Self::NoSpace => "no space, or past the end of the export",
            Self::Overflow => "the request is too long",
            Self::NotSupported => "zeroes cannot be written fast here",
            Self::Shutdown => "the server is shutting down",
        }
    }
}
