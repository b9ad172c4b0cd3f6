//! What is measured side by side.

use std::path::Path;

use crate::Fault;
use crate::peer;
use crate::sandbox;
use crate::serving::Serving;
use crate::size::Size;

/// A system under test.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum System {
    /// qemu-nbd on one file.
    QemuNbd,
    /// Steadfast with one replica.
    OursOne,
    /// QEMU's quorum of two storage daemons, both copies written.
    Quorum,
    /// Steadfast with two replicas.
    OursTwo,
}

impl System {
    /// All of them, each of ours after its peer.
    pub const ALL: [Self; 4] = [Self::QemuNbd, Self::OursOne, Self::Quorum, Self::OursTwo];

    /// As shown, and as named to `--only`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::QemuNbd => "qemu-nbd",
            Self::OursOne => "ours-1",
            Self::Quorum => "quorum",
            Self::OursTwo => "ours-2",
        }
    }

    /// Whether it is this project's.
    pub const fn is_ours(self) -> bool {
        self.peer().is_some()
    }

    /// Whom one of ours is compared with: as many copies, made by others.
    pub const fn peer(self) -> Option<Self> {
        match self {
            Self::OursOne => Some(Self::QemuNbd),
            Self::OursTwo => Some(Self::Quorum),
            Self::QemuNbd | Self::Quorum => None,
        }
    }

    /// Starts it on a new volume in `dir`; it serves when this returns.
    pub fn start(self, dir: &Path, size: Size, steadfast: &Path) -> Result<Serving, Fault> {
        match self {
            Self::QemuNbd => peer::qemu_nbd(dir, size),
            Self::Quorum => peer::quorum(dir, size),
            Self::OursOne => sandbox::start(self, dir, size, steadfast, 1),
            Self::OursTwo => sandbox::start(self, dir, size, steadfast, 2),
        }
    }
}
