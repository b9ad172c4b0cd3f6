//! What is offered to clients.

use crate::protocol::STRING_MAX;

/// Transmission flags: what an export can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Flags(u16);

impl Flags {
    const HAS_FLAGS: Self = Self(1);
    /// Nothing but reading and writing.
    pub const NONE: Self = Self::HAS_FLAGS;
    /// Changes are refused.
    pub const READ_ONLY: Self = Self(1 << 1);
    /// FLUSH is served.
    pub const FLUSH: Self = Self(1 << 2);
    /// FUA is honoured.
    pub const FUA: Self = Self(1 << 3);
    /// TRIM is served.
    pub const TRIM: Self = Self(1 << 5);
    /// WRITE_ZEROES is served.
    pub const WRITE_ZEROES: Self = Self(1 << 6);
    /// DF is honoured. Told only to clients with structured replies.
    pub const DF: Self = Self(1 << 7);
    /// A flush on one connection covers all of them, and all see the same data.
    pub const MULTI_CONN: Self = Self(1 << 8);
    /// CACHE is served.
    pub const CACHE: Self = Self(1 << 10);
    /// Zeroes marked as fast are fast or fail at once. Only with `WRITE_ZEROES`.
    pub const FAST_ZERO: Self = Self(1 << 11);
    /// A writable disk with everything but `FAST_ZERO`, which depends on the store.
    pub const DISK: Self = Self::NONE
        .with(Self::FLUSH)
        .with(Self::FUA)
        .with(Self::TRIM)
        .with(Self::WRITE_ZEROES)
        .with(Self::DF)
        .with(Self::MULTI_CONN)
        .with(Self::CACHE);

    /// Both.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// These without `other`.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0 | Self::HAS_FLAGS.0)
    }

    /// Whether all of `other` are set.
    #[inline]
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// As on the wire.
    #[must_use]
    pub const fn bits(self) -> u16 {
        self.0 | Self::HAS_FLAGS.0
    }
}

/// One export.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Export {
    name: String,
    description: String,
    /// Bytes.
    pub size: u64,
    /// What it can do.
    pub flags: Flags,
    /// Whether the empty name means this one. The first one that says so wins.
    pub default: bool,
}

impl Export {
    /// An export that is not the default.
    ///
    /// # Panics
    /// If `name` is empty, or a text is longer than the protocol's [`STRING_MAX`]: both come from
    /// the configuration, which has been checked.
    #[must_use]
    pub fn new(name: String, description: String, size: u64, flags: Flags) -> Self {
        assert!(!name.is_empty() && name.len() <= STRING_MAX);
        assert!(description.len() <= STRING_MAX);
        assert!(!flags.contains(Flags::FAST_ZERO) || flags.contains(Flags::WRITE_ZEROES));
        Self {
            name,
            description,
            size,
            flags,
            default: false,
        }
    }

    /// The name clients ask for.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A text for people.
    #[must_use]
    pub fn description(&self) -> &str {
        &self.description
    }

    /// Which export a client means by `name`.
    #[must_use]
    pub fn find(exports: &[Self], name: &[u8]) -> Option<usize> {
        if name.is_empty() {
            exports.iter().position(|export| export.default)
        } else {
            exports
                .iter()
                .position(|export| export.name.as_bytes() == name)
        }
    }
}
