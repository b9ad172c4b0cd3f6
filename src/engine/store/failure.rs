//! What failed writes and flushes come to: in this run, and, by a mark on the disk, in later ones.

use super::Store;
use crate::engine::disk::DiskUse;
use crate::engine::io::Effects;

/// No room on the device, or no more of it for this user; no memory.
const ENOSPC: u16 = 28;
const EDQUOT: u16 = 122;
const ENOMEM: u16 = 12;

/// Whether the disk is to keep that the store has failed for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FailedMark {
    /// It has not failed.
    None,
    /// As soon as no other superblock is being written.
    Wanted,
    /// The disk has been asked, or has it from an earlier run.
    Asked,
}

impl Store {
    /// A write of metadata has failed: nothing more is promised. Never retried, in a later run
    /// neither, if the disk takes the mark, for with the write a flush has failed; but one that found
    /// no room has not come so far.
    pub(super) fn fail(&mut self, errno: u16, out: &mut Effects) {
        if matches!(errno, ENOSPC | EDQUOT | ENOMEM) {
            self.break_down(errno, out);
        } else {
            self.fail_for_good(errno, out);
        }
    }

    /// A flush has failed: it may have dropped what it was about, and the next one would succeed
    /// without it.
    pub(super) fn fail_for_good(&mut self, errno: u16, out: &mut Effects) {
        self.break_down(errno, out);
        if self.failed_mark == FailedMark::None {
            self.failed_mark = FailedMark::Wanted;
            self.write_failed_mark(out);
        }
    }

    /// Asks the disk, once, to keep that the store has failed. `generation` stays as it is: nothing
    /// that waits for a superblock may take this one for it.
    pub(super) fn write_failed_mark(&mut self, out: &mut Effects) {
        if self.generation_writing.is_none() && self.failed_mark == FailedMark::Wanted {
            self.failed_mark = FailedMark::Asked;
            self.write_next_superblock(DiskUse::FailedMark, out);
        }
    }

    /// Nothing more is promised in this run, as what is on the disk is not what was asked for. Data
    /// that could not be read or written has lost nothing else, and an intent tells of it: a later
    /// run may go on.
    pub fn break_down(&mut self, errno: u16, out: &mut Effects) {
        assert!(errno != 0);
        self.broken.get_or_insert(errno);
        self.fail_waiting(errno, out);
        self.end_flushes();
    }
}
