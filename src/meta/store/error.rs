//! Why a store cannot be made or used: what, where, and what to do.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::meta::Refused;

/// Something about the store at `path`. It has been left as it was.
#[derive(Debug)]
pub struct Error {
    /// Where.
    pub path: PathBuf,
    /// What.
    pub problem: Problem,
}

/// What is the matter.
#[derive(Debug)]
pub enum Problem {
    /// There is no such file or device.
    Missing,
    /// There is no such device, and no file is made among devices.
    NoDevice,
    /// There is nothing in it: it can be made a store.
    Blank,
    /// Its creation was cut off: it can be made a store.
    Unfinished,
    /// Neither a file nor a block device.
    NotAStore,
    /// What is there is not a store that may be used.
    Refused(Refused),
    /// To be made a store, but something is there already.
    Occupied {
        /// What it looks like.
        looks_like: String,
    },
    /// Another process holds it.
    InUse {
        /// So long was waited for it.
        waited: Duration,
    },
    /// No transfers past the page cache here.
    NoDirectIo,
    /// There is not enough room.
    NoRoom {
        /// Bytes that the store needs.
        needed: u64,
        /// Bytes that the device has; of a file system it is not known.
        have: Option<u64>,
    },
    /// A size that no volume can have.
    Size(u64),
    /// The operating system said no.
    Io {
        /// What was being done.
        doing: &'static str,
        /// What it said.
        source: io::Error,
    },
}

impl Error {
    pub(super) fn new(path: &Path, problem: Problem) -> Self {
        Self {
            path: path.to_owned(),
            problem,
        }
    }

    /// For `map_err`: an error of the operating system.
    pub(super) fn io<E: Into<io::Error>>(
        path: &Path,
        doing: &'static str,
    ) -> impl FnOnce(E) -> Self {
        move |source| {
            Self::new(
                path,
                Problem::Io {
                    doing,
                    source: source.into(),
                },
            )
        }
    }

    /// Whether nothing is there yet, so that `create` may make a store here.
    #[must_use]
    pub const fn is_absent(&self) -> bool {
        matches!(
            self.problem,
            Problem::Missing | Problem::Blank | Problem::Unfinished
        )
    }
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "store {}: ", self.path.display())?;
        match &self.problem {
            Problem::Missing => write!(
                f,
                "there is no such file or device. Correct the path; if the store is lost, or was \
                 never made, `steadfast node init` makes an empty one"
            ),
            Problem::NoDevice => write!(
                f,
                "there is no such device, and below /dev no file is made. Connect the disk, or \
                 correct the path"
            ),
            Problem::Blank => write!(
                f,
                "it is empty: no store has been made here; `steadfast node init` makes one"
            ),
            Problem::Unfinished => write!(
                f,
                "its creation was cut off; `steadfast node init` makes it again"
            ),
            Problem::NotAStore => write!(
                f,
                "it is neither a file nor a block device. Correct the path in the configuration"
            ),
            Problem::Refused(refused) => write!(f, "{refused}. Nothing in it was changed"),
            Problem::Occupied { looks_like } => write!(
                f,
                "no store is made here, because it is not empty ({looks_like}). Name another file \
                 or device, or, if nothing in it is needed, erase it first (blkdiscard -z for a \
                 device, rm for a file). Nothing in it was changed"
            ),
            Problem::InUse { waited } => write!(
                f,
                "another process holds it (waited {} ms). A daemon of this node may still be running, \
                 or the device is mounted or part of an array: `fuser -v {path}` and `lsblk {path}` \
                 show it",
                waited.as_millis(),
                path = self.path.display()
            ),
            Problem::NoDirectIo => write!(
                f,
                "its file system has no direct I/O (O_DIRECT). Put the store on ext4, XFS or a \
                 block device"
            ),
            Problem::NoRoom {
                needed,
                have: Some(have),
            } => write!(
                f,
                "the device has {have} bytes and the store needs {needed}. Take a larger device or \
                 a smaller volume"
            ),
            Problem::NoRoom { needed, have: None } => write!(
                f,
                "the file system has no room for the {needed} bytes of the store. Free some, or \
                 take a smaller volume"
            ),
            Problem::Size(size) => write!(
                f,
                "a volume cannot have {size} bytes: it is a multiple of 4096, at most 16 TiB"
            ),
            Problem::Io { doing, source } => write!(f, "{doing} failed: {source}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.problem {
            Problem::Io { source, .. } => Some(source),
            Problem::Refused(refused) => Some(refused),
            _ => None,
        }
    }
}
