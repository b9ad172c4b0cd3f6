//! Comparing what this store holds with what a primary holds, by digests.

use super::{Done, Store};
use crate::engine::disk::DiskUse;
use crate::engine::io::{Content, Effects, Fate, LinkId, Probe};
use crate::types::Extent;
use crate::wire::frame::Digest;

/// A primary's question whether this store holds the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) struct Compare {
    /// By which link, and its name there.
    pub link: LinkId,
    pub resync: u32,
    pub id: u32,
    /// Whole blocks within one region.
    pub extent: Extent,
    /// Of the primary's data, which is not all zero.
    pub digest: Digest,
}

impl Store {
    /// Compares; `done` tells the outcome. No change of these blocks is under way: the primary has
    /// them locked until every earlier one was acknowledged, and sends none before it has the answer.
    pub fn compare(&mut self, compare: Compare, out: &mut Effects) {
        let errno = self.broken.unwrap_or(0);
        if errno != 0 || !self.is_written(compare.extent.region()) {
            // What was never written reads as zeroes.
            let same = false;
            self.done.push(Done::Compared {
                compare,
                same,
                errno,
            });
            return;
        }
        let at = self.compares.insert(compare);
        let what = DiskUse::Compare(at);
        self.read(what, compare.extent, Probe::Digest, Fate::Dropped, out);
    }

    /// The data of a comparison was read.
    pub fn compared(&mut self, at: u32, errno: u16, content: Content) {
        let compare = self.compares.remove(at);
        let same = errno == 0 && content == Content::Digest(compare.digest);
        if same {
            self.overwritten(compare.extent);
        }
        self.done.push(Done::Compared {
            compare,
            same,
            errno,
        });
    }
}
