//! Why a log file is not used.

/// Why a log file is not used. Nothing was written to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogRefused {
    /// Zeroes only, or its making was cut off.
    Blank,
    /// Something else than a log of ours.
    Foreign,
    /// Of a version that this program does not know.
    Version {
        /// Which.
        found: u16,
    },
    /// Of another cluster.
    Cluster {
        /// Which.
        found: u128,
    },
    /// Of another node of this cluster.
    Node {
        /// Which.
        found: u8,
    },
    /// The file is shorter than its header says.
    Short {
        /// Bytes that it has.
        bytes: usize,
        /// Bytes that it should have.
        expected: usize,
    },
    /// A page that counts is damaged.
    Damaged {
        /// Which page of the file.
        page: u32,
        /// What should be there.
        what: &'static str,
    },
}

impl std::fmt::Display for LogRefused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Blank => write!(
                f,
                "the cluster log is blank: its making was cut off. Remove the file and make it again \
                 with `steadfast node init`"
            ),
            Self::Foreign => write!(
                f,
                "this is no cluster log. It was left as it is; name another file"
            ),
            Self::Version { found } => write!(
                f,
                "the cluster log has version {found}, which this program does not know: another \
                 release wrote it; use that one"
            ),
            Self::Cluster { found } => write!(
                f,
                "the cluster log belongs to another cluster ({found:032x}): the file or the \
                 configuration is the wrong one"
            ),
            Self::Node { found } => write!(
                f,
                "the cluster log belongs to node number {found} of this cluster: the file or the \
                 configuration is the wrong one"
            ),
            Self::Short { bytes, expected } => write!(
                f,
                "the cluster log has {bytes} bytes where {expected} are needed: it was cut off"
            ),
            Self::Damaged { page, what } => write!(
                f,
                "the cluster log is damaged: page {page}, {what}, fails its checksum. A voter that \
                 lost its memory could break its word; move the file away, and `steadfast node init` \
                 makes a new one, which votes when the others have brought it up to date"
            ),
        }
    }
}

impl std::error::Error for LogRefused {}
