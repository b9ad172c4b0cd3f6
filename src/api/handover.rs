//! Whether, and to whom, a volume can be handed over when a person asks for it.

use serde::{Deserialize, Serialize};

use crate::status::{ReplicaShown, Status, VolumeStatus};

/// What the daemon shall do: `Volume::demote` with this preference.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Handover {
    /// Name of the volume.
    pub volume: String,
    /// Name of the node that shall be primary.
    pub to: String,
    /// The term that ends by it.
    pub term: u64,
    /// False where it is primary already and nothing is to be done.
    pub begun: bool,
}

/// Why not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// What is wrong and what would be right.
    pub error: String,
    /// The node to ask instead: only the primary can hand over.
    pub ask: Option<String>,
}

impl Refused {
    fn because(error: String) -> Self {
        Self { error, ask: None }
    }
}

/// The volume of that name.
///
/// # Errors
/// There is none.
pub fn find<'a>(status: &'a Status, volume: &str) -> Result<&'a VolumeStatus, Refused> {
    let named = status.volumes.iter().find(|known| known.name == volume);
    named.ok_or_else(|| {
        let names: Vec<_> = status.volumes.iter().map(|v| v.name.as_str()).collect();
        let there = if names.is_empty() {
            format!("{} knows of none yet", status.node)
        } else {
            format!("there is: {}", names.join(", "))
        };
        Refused::because(format!("there is no volume \"{volume}\"; {there}"))
    })
}

/// Judges a wish by the status of the node that was asked.
///
/// # Errors
/// It cannot be done, or not here.
pub fn plan(status: &Status, volume: &str, to: Option<&str>) -> Result<Handover, Refused> {
    let found = find(status, volume)?;
    let Some(primary) = &found.primary else {
        let why = found.waiting.as_deref().unwrap_or("it has no primary");
        return Err(Refused::because(format!(
            "\"{volume}\" has no primary that could hand it over: {why}"
        )));
    };
    let to = match to {
        Some(to) => to,
        None => found
            .replicas
            .iter()
            .find(|replica| replica.node != *primary && replica.state == ReplicaShown::InSync)
            .map(|replica| replica.node.as_str())
            .ok_or_else(|| {
                Refused::because(format!(
                    "no other node could take \"{volume}\" over: {}",
                    found.redundancy
                ))
            })?,
    };
    match found.replicas.iter().find(|replica| replica.node == to) {
        None => {
            let names: Vec<_> = found.replicas.iter().map(|r| r.node.as_str()).collect();
            return Err(Refused::because(format!(
                "\"{to}\" keeps no copy of \"{volume}\"; these do: {}",
                names.join(", ")
            )));
        }
        Some(replica) if replica.store_failed => {
            return Err(Refused::because(format!(
                "\"{to}\" cannot be primary of \"{volume}\": its store has failed; replace its disk"
            )));
        }
        Some(replica) if replica.state != ReplicaShown::InSync => {
            return Err(Refused::because(format!(
                "\"{to}\" cannot be primary of \"{volume}\": it is {}; wait until it is in-sync",
                replica.state.name()
            )));
        }
        Some(_) => {}
    }
    if to != primary && *primary != status.node {
        return Err(Refused {
            error: format!(
                "only {primary}, which serves \"{volume}\", can hand it over: ask there"
            ),
            ask: Some(primary.clone()),
        });
    }
    Ok(Handover {
        volume: volume.to_owned(),
        to: to.to_owned(),
        term: found.term,
        begun: to != primary,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::{Health, ReplicaStatus};

    fn replica(node: &str, state: ReplicaShown) -> ReplicaStatus {
        ReplicaStatus {
            node: node.into(),
            state,
            recorded: state,
            percent: None,
            seconds_left: None,
            bytes_per_second: None,
            bytes_left: None,
            store_failed: false,
        }
    }

    fn status(primary: Option<&str>, second: ReplicaShown) -> Status {
        Status {
            cluster: "c".into(),
            node: "n1".into(),
            version: "0".into(),
            health: Health::Healthy,
            view: 1,
            members: Vec::new(),
            quorum: true,
            lease_ms_left: 10,
            leader: None,
            log_term: 1,
            log_committed: 1,
            log_last: 1,
            nodes: Vec::new(),
            volumes: vec![VolumeStatus {
                name: "data".into(),
                id: String::new(),
                size: 4096,
                shared: false,
                primary: primary.map(str::to_owned),
                serving: true,
                term: 1,
                replicas: vec![replica("n1", ReplicaShown::InSync), replica("n2", second)],
                failures_survivable: 1,
                redundancy: "why".into(),
                waiting: primary.is_none().then(|| "no quorum".into()),
                gateways: Vec::new(),
                losses: 0,
            }],
        }
    }

    #[test]
    fn the_primary_hands_over() {
        let status = status(Some("n1"), ReplicaShown::InSync);
        let other = Handover {
            volume: "data".into(),
            to: "n2".into(),
            term: 1,
            begun: true,
        };
        assert_eq!(plan(&status, "data", None), Ok(other.clone()));
        assert_eq!(plan(&status, "data", Some("n2")), Ok(other));
        assert!(!plan(&status, "data", Some("n1")).unwrap().begun);
    }

    #[test]
    fn another_node_says_whom_to_ask() {
        let status = status(Some("n2"), ReplicaShown::InSync);
        assert_eq!(
            plan(&status, "data", Some("n1"))
                .unwrap_err()
                .ask
                .as_deref(),
            Some("n2")
        );
        assert!(!plan(&status, "data", Some("n2")).unwrap().begun);
    }

    #[test]
    fn what_cannot_be_done_is_refused_with_the_reason() {
        let behind = status(Some("n1"), ReplicaShown::Behind);
        for (status, volume, to, reason) in [
            (&behind, "date", None, "there is: data"),
            (&behind, "data", None, "no other node could take"),
            (&behind, "data", Some("n2"), "it is behind"),
            (&behind, "data", Some("w1"), "keeps no copy"),
            (
                &status(None, ReplicaShown::InSync),
                "data",
                None,
                "no quorum",
            ),
        ] {
            let refused = plan(status, volume, to).unwrap_err();
            assert!(refused.error.contains(reason), "{}", refused.error);
            assert_eq!(refused.ask, None);
        }
    }
}
