//! One behaviour per test; `random` checks the bookkeeping under any order of events.

mod bench;
mod local;
mod losses;
mod order;
mod random;
mod sessions;
mod ways;

use bench::Bench;

use super::*;
use crate::record::{Grant, SessionRecord, VolumeChange};
use crate::types::BLOCK;
use crate::wire::frame::{Change, Refusal, WINDOW};

const ME: NodeId = NodeId(0);
const PEER: NodeId = NodeId(1);
const THIRD: NodeId = NodeId(2);
const EIO: u16 = 5;

const WRITE: Ask = Ask::Change {
    change: Change::Write,
    fua: false,
};
const WRITE_FUA: Ask = Ask::Change {
    change: Change::Write,
    fua: true,
};
