//! The configuration, as the parts of the node take it.

use config::Config;

use crate::member::io::Timing;
use crate::types::{BootId, NodeId, NodeSet};
use crate::wire::seal::Seal;

/// What all parts of the node are made from.
pub(super) struct Parts<'a> {
    pub(super) config: &'a Config,
    pub(super) me: NodeId,
    pub(super) boot: BootId,
    pub(super) timing: Timing,
    pub(super) seal: Seal,
}

/// The cluster's timing as the state machines take it.
pub(super) fn timing(config: &Config) -> Timing {
    let mut timing = Timing::every(config.cluster.interval);
    timing.missed = config.cluster.missed;
    timing.lease = config.lease();
    timing
}

/// The nodes that vote.
pub(super) fn voters(config: &Config) -> NodeSet {
    let nodes = config.nodes.iter().enumerate();
    nodes
        .filter(|(_, node)| node.voter)
        .map(|(index, _)| NodeId(index as u8))
        .collect()
}
