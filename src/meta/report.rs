//! What `steadfast meta dump` and `meta check` say about a store: all of its metadata, read without
//! changing anything.

mod text;

use std::path::Path;

use serde::Serialize;

use super::recover::{Read, read_superblock, recover};
use super::recovered::{Bits, Recovered};
use super::superblock::Superblock;
use super::{Finding, Severity, layout, ring, store};

/// The answer of `meta check`, also its exit status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Everything is as it should be.
    Clean = 0,
    /// As a loss of power may leave it; nothing is lost.
    Suspicious = 1,
    /// Something cannot be trusted any more, or this is no store that this program can use.
    Damaged = 2,
}

impl Verdict {
    /// Exit status of the command.
    #[must_use]
    pub const fn exit_code(self) -> u8 {
        self as u8
    }
}

/// Everything that is known of a store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The file or device.
    pub path: String,
    /// Its bytes.
    pub bytes: u64,
    /// Whether a running process holds it: what follows may be in motion then.
    pub in_use: bool,
    /// The answer in a word.
    pub verdict: Verdict,
    /// Why the store would not be used, and what to do.
    pub refused: Option<String>,
    /// Both superblocks, by place.
    pub superblocks: Vec<SuperblockReport>,
    /// The rest, if the store can be used.
    pub content: Option<Content>,
    /// Everything that is not as it should be.
    pub findings: Vec<Finding>,
}

/// One superblock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SuperblockReport {
    /// Its byte offset.
    pub offset: u64,
    /// What is wrong with it, if something is.
    pub fault: Option<String>,
    /// Its content, if it is intact.
    pub content: Option<SuperblockContent>,
}

/// What a superblock says. Identifiers are hexadecimal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SuperblockContent {
    /// Counts the superblocks that were written.
    pub generation: u64,
    /// The cluster.
    pub cluster: String,
    /// The volume.
    pub volume: String,
    /// The store.
    pub store: String,
    /// The node's number.
    pub node: u8,
    /// Bytes of the volume.
    pub size: u64,
    /// Bytes that the volume may grow to.
    pub size_max: u64,
    /// The volume's term.
    pub term: u64,
    /// First byte of the data.
    pub data: u64,
    /// Dirty bitmaps in use: slot, node, entry of the cluster log that took the node out.
    pub dirty: Vec<(u32, u8, u64)>,
    /// The error number with which the store has failed, if it has.
    pub failed: Option<u16>,
}

/// What the store says besides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Content {
    /// The superblock generation that counts.
    pub generation: u64,
    /// The term.
    pub term: u64,
    /// Newest record of the intent ring.
    pub record: u64,
    /// Last sequence number that it proves.
    pub seq: u64,
    /// Slots of the intent ring.
    pub slots: u32,
    /// Active regions: slot and region.
    pub active: Vec<(u32, u32)>,
    /// Regions of the volume.
    pub regions: u64,
    /// Regions that have ever been written.
    pub written: u64,
    /// The same as runs: first region, how many.
    pub written_runs: Vec<(u64, u64)>,
    /// Blocks of the volume.
    pub blocks: u64,
    /// Dirty bitmaps.
    pub dirty: Vec<DirtyReport>,
}

/// One dirty bitmap.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DirtyReport {
    /// Its slot.
    pub slot: u32,
    /// Whose it is.
    pub node: u8,
    /// The entry of the cluster log that took the node out.
    pub since: u64,
    /// Blocks that the node misses.
    pub blocks: u64,
}

/// Reads a store's metadata, in use or not, without its lock.
pub fn inspect(path: &Path) -> Result<Report, store::Error> {
    store::inspect_with(path, |read, bytes, in_use| {
        Report::of(&path.display().to_string(), read, bytes, in_use)
    })
}

impl Report {
    /// The report on a store of `bytes` bytes.
    pub fn of(path: &str, read: &mut Read<'_>, bytes: u64, in_use: bool) -> Self {
        let superblocks = layout::SUPERBLOCKS
            .iter()
            .map(|&offset| match read_superblock(read, offset, bytes) {
                Ok(superblock) => SuperblockReport {
                    offset,
                    fault: None,
                    content: Some(SuperblockContent::of(&superblock)),
                },
                Err(fault) => SuperblockReport {
                    offset,
                    fault: Some(fault.to_string()),
                    content: None,
                },
            })
            .collect();
        let (content, findings, refused) = match recover(read, bytes) {
            Ok(recovered) => {
                let mut findings = recovered.findings.clone();
                contradictions(&recovered, &mut findings);
                (Some(Content::of(&recovered)), findings, None)
            }
            Err(refused) => (None, Vec::new(), Some(refused.to_string())),
        };
        let worst = findings.iter().map(|finding| finding.severity).max();
        let verdict = match (&refused, worst) {
            (Some(_), _) | (None, Some(Severity::Damaged)) => Verdict::Damaged,
            (None, Some(Severity::Suspicious)) => Verdict::Suspicious,
            (None, None) => Verdict::Clean,
        };
        Self {
            path: path.to_owned(),
            bytes,
            in_use,
            verdict,
            refused,
            superblocks,
            content,
            findings,
        }
    }
}

/// What is readable and cannot be true all the same.
fn contradictions(recovered: &Recovered, findings: &mut Vec<Finding>) {
    let mut active: Vec<u32> = recovered.active.iter().flatten().copied().collect();
    active.sort_unstable();
    for pair in active.windows(2).filter(|pair| pair[0] == pair[1]) {
        findings.push(Finding {
            severity: Severity::Suspicious,
            offset: recovered.layout.ring,
            what: format!("region {} is active in two slots", pair[0]),
        });
    }
    let mut absent: Vec<_> = recovered
        .dirty
        .iter()
        .flatten()
        .map(|slot| slot.replica)
        .collect();
    absent.sort_unstable();
    let twice = absent
        .windows(2)
        .filter(|pair| pair[0] == pair[1])
        .map(|pair| pair[0]);
    let own = absent
        .iter()
        .copied()
        .filter(|&node| node == recovered.node);
    for node in twice.chain(own) {
        findings.push(Finding {
            severity: Severity::Suspicious,
            offset: recovered.layout.superblock(recovered.generation),
            what: format!("a dirty bitmap for node {node} that cannot be"),
        });
    }
}

impl SuperblockContent {
    fn of(superblock: &Superblock) -> Self {
        Self {
            generation: superblock.generation,
            cluster: format!("{:032x}", superblock.cluster),
            volume: format!("{:032x}", superblock.volume.0),
            store: format!("{:032x}", superblock.store.0),
            node: superblock.node.0,
            size: superblock.size,
            size_max: superblock.layout.size_max,
            term: superblock.term.0,
            data: superblock.layout.data,
            dirty: (0..)
                .zip(superblock.dirty)
                .filter_map(|(slot, dirty)| dirty.map(|(node, since)| (slot, node.0, since.0)))
                .collect(),
            failed: superblock.failed,
        }
    }
}
impl Content {
    fn of(recovered: &Recovered) -> Self {
        Self {
            generation: recovered.generation,
            term: recovered.term.0,
            record: recovered.record,
            seq: recovered.seq.0,
            slots: ring::SLOTS as u32,
            active: (0..)
                .zip(&recovered.active)
                .filter_map(|(slot, region)| region.map(|region| (slot, region)))
                .collect(),
            regions: recovered.written.len,
            written: count(&recovered.written),
            written_runs: runs(&recovered.written),
            blocks: layout::blocks(recovered.size),
            dirty: (0..)
                .zip(&recovered.dirty)
                .filter_map(|(slot, dirty)| {
                    dirty.as_ref().map(|dirty| DirtyReport {
                        slot,
                        node: dirty.replica.0,
                        since: dirty.since.0,
                        blocks: count(&dirty.bits),
                    })
                })
                .collect(),
        }
    }
}

fn count(bits: &Bits) -> u64 {
    bits.words
        .iter()
        .map(|word| u64::from(word.count_ones()))
        .sum()
}

/// The set bits as runs.
fn runs(bits: &Bits) -> Vec<(u64, u64)> {
    let mut runs: Vec<(u64, u64)> = Vec::new();
    for bit in 0..bits.len {
        if bits.words[(bit / 64) as usize] >> (bit % 64) & 1 == 0 {
            continue;
        }
        match runs.last_mut() {
            Some((first, len)) if *first + *len == bit => *len += 1,
            _ => runs.push((bit, 1)),
        }
    }
    runs
}
