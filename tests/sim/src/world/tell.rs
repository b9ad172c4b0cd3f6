//! Short words for what a trace repeats.

use steadfast::member::io::View;
use steadfast::record::{ReplicaState, VolumeRecord};

/// A record in one line.
#[must_use]
pub fn record(record: &VolumeRecord) -> String {
    let replicas: Vec<_> = record
        .replicas
        .iter()
        .map(|replica| {
            let state = match replica.state {
                ReplicaState::InSync { boot } => format!("in sync, boot {:x}", boot.0 >> 112),
                ReplicaState::Behind { since } => format!("behind since {since}"),
                ReplicaState::New => "new".to_owned(),
            };
            format!("n{} {state}", replica.node.0)
        })
        .collect();
    let primary = record.primary.map_or_else(
        || "nobody".to_owned(),
        |grant| format!("n{} in incarnation {}", grant.node.0, grant.incarnation),
    );
    let sessions: Vec<_> = record
        .sessions
        .iter()
        .map(|session| format!("{:x} of n{}", session.id.0, session.gateway.0))
        .collect();
    format!(
        "entry {}: term {}, primary {primary}; {}; sessions {sessions:?}, {} losses",
        record.last_entry,
        record.term,
        replicas.join(", "),
        record.losses
    )
}

/// A view in one line.
#[must_use]
pub fn view(view: &View) -> String {
    let members: Vec<_> = view
        .members
        .iter()
        .map(|member| format!("n{}.{}", member.node.0, member.incarnation))
        .collect();
    format!("view {}: {}", view.number, members.join(" "))
}
