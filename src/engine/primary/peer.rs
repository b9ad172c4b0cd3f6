//! A replica as its primary sees it.

use super::resync::Resync;
use crate::engine::io::LinkId;
use crate::meta::recovered::Bits;
use crate::record::{ReplicaRecord, ReplicaState};
use crate::types::{BootId, Index, NodeId, Seq, StoreId, Time};
use crate::wire::frame::Purpose;

/// How far the link is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// No link.
    Down,
    /// Asked for.
    Connecting,
    /// `Attach` was sent, the report is coming.
    Attaching,
    /// Takes changes.
    Live,
}

/// Why a replica that counts must leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// Not reachable for too long, or excluded.
    Gone,
    /// Its store has failed.
    Store,
    /// It is not the replica that the record means: other boot, other store.
    Other,
    /// It owes an acknowledgement for too long.
    Stalled,
}

/// Grow has been proposed, or is about to be: the replica counts until that is decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Grow {
    /// The boot in which it caught up.
    pub boot: BootId,
    /// The store.
    pub store: StoreId,
}

/// A replica other than this node's.
#[derive(Clone, Debug)]
pub(super) struct Peer {
    pub node: NodeId,
    pub store: StoreId,
    pub state: ReplicaState,
    pub link: Option<LinkId>,
    pub stage: Stage,
    /// Names the newest attach; answers of others are dropped.
    pub attach: u32,
    pub purpose: Purpose,
    /// Its acknowledgements are needed.
    pub counts: bool,
    pub fault: Option<Fault>,
    /// Since when it has no link that works.
    pub down_since: Time,
    /// Since when it is not heard.
    pub unheard_since: Option<Time>,
    /// Since when the view does not have it.
    pub excluded_since: Option<Time>,
    pub retry_at: Time,
    /// Of the newest report.
    pub boot: BootId,
    pub report_store: StoreId,
    pub report_exact: bool,
    /// Whether this report's changes and regions are to be taken in.
    pub report_counts: bool,
    /// Of the newest report, where the replica holds nothing of use: the regions that it has written,
    /// until its resync begins.
    pub report_written: Option<Bits>,
    /// In sync: its first report in this term has been taken in.
    pub reported: bool,
    /// Not in sync: what it reported in this boot is in its bitmap here.
    pub incorporated: Option<(StoreId, BootId)>,
    /// Answers to `Mark*` and `DirtyRunsEnd` that are to come.
    pub configures: u32,
    /// The newest change that had been given out when it was taken up: what it brought along is
    /// dealt with once that is stable and the pieces are done.
    pub taken_up_at: Seq,
    /// `Reconciled` was sent by this link.
    pub told_reconciled: bool,
    pub resync: Option<Box<Resync>>,
    pub grow: Option<Grow>,
    /// When it last acknowledged something, or owed nothing.
    pub heard_at: Time,
}

impl Peer {
    pub fn new(record: &ReplicaRecord, now: Time) -> Self {
        Self {
            node: record.node,
            store: record.store,
            state: record.state,
            link: None,
            stage: Stage::Down,
            attach: 0,
            purpose: Purpose::InSync,
            counts: record.state.is_in_sync(),
            fault: None,
            down_since: now,
            unheard_since: None,
            excluded_since: None,
            retry_at: now,
            boot: BootId(0),
            report_store: StoreId(0),
            report_exact: false,
            report_counts: false,
            report_written: None,
            reported: false,
            incorporated: None,
            configures: 0,
            taken_up_at: Seq(0),
            told_reconciled: false,
            resync: None,
            grow: None,
            heard_at: now,
        }
    }

    pub fn is_live(&self) -> bool {
        self.stage == Stage::Live
    }

    /// The entry since which it is absent; 0 for one that holds nothing of use.
    pub fn since(&self) -> Option<Index> {
        since(self.state)
    }

    /// The link has ended.
    pub fn unlink(&mut self, now: Time) {
        self.link = None;
        if self.stage == Stage::Live {
            self.down_since = now;
        }
        self.stage = Stage::Down;
        self.configures = 0;
        self.told_reconciled = false;
    }
}

/// The entry since which a replica in this state is absent; 0 for one that holds nothing of use.
pub(super) fn since(state: ReplicaState) -> Option<Index> {
    match state {
        ReplicaState::InSync { .. } => None,
        ReplicaState::Behind { since } => Some(since),
        ReplicaState::New => Some(Index(0)),
    }
}
