//! Events: what happened, for people and for programs. Made from the notes of core and engine.

use config::Config;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::engine::io::Note;
use crate::member::io::{CoreNote, View};
use crate::record::VolumeChange;
use crate::types::{NodeId, VolumeId};

/// One event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Its number: grows, also from one run of the daemon to the next.
    pub index: u64,
    /// Nanoseconds since 1970 by this node's clock.
    pub unix_ns: u64,
    /// Nanoseconds of this machine's `CLOCK_BOOTTIME`.
    pub boottime_ns: u64,
    /// The node that tells it.
    pub node: String,
    /// What kind, one word.
    pub kind: String,
    /// One plain sentence.
    pub text: String,
    /// The particulars, by kind.
    pub fields: Map<String, Value>,
}

/// An event before it has a number, a time and a place.
#[derive(Clone, Debug, PartialEq)]
pub struct News {
    /// What kind, one word.
    pub kind: &'static str,
    /// One plain sentence.
    pub text: String,
    /// The particulars.
    pub fields: Map<String, Value>,
}

impl News {
    /// News without particulars.
    #[must_use]
    pub fn new(kind: &'static str, text: String) -> Self {
        Self {
            kind,
            text,
            fields: Map::new(),
        }
    }

    /// With one more of them.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.fields.insert(key.to_owned(), value.into());
        self
    }

    /// What the core noted.
    #[must_use]
    pub fn of_core(config: &Config, note: &CoreNote) -> Self {
        match *note {
            CoreNote::Leader { term } => Self::new(
                "leader",
                format!("{} leads the cluster log", config.node.name),
            )
            .with("log_term", term),
            CoreNote::View(ref view) => Self::of_view(config, view),
            CoreNote::Excluded {
                node,
                incarnation,
                certificate,
            } => {
                let name = node_name(config, node);
                let how = if certificate { "known dead" } else { "silent" };
                Self::new("excluded", format!("{name} was excluded ({how})"))
                    .with("peer", name)
                    .with("incarnation", incarnation.0)
                    .with("certificate", certificate)
            }
            CoreNote::Admitted { node, incarnation } => {
                let name = node_name(config, node);
                Self::new("admitted", format!("{name} was admitted"))
                    .with("peer", name)
                    .with("incarnation", incarnation.0)
            }
            CoreNote::Enrolled { node } => {
                let name = node_name(config, node);
                let text = format!("{name} votes with a new cluster log");
                Self::new("enrolled", text).with("peer", name)
            }
            CoreNote::Volume {
                index,
                volume,
                change,
            } => Self::of_change(config, volume, change).with("entry", index.0),
            CoreNote::Void { index, volume } => {
                let name = volume_name(config, volume);
                Self::new("void", format!("{name}: entry {index} came too late"))
                    .with("volume", name)
                    .with("entry", index.0)
            }
            CoreNote::Created { volume } => {
                let name = volume_name(config, volume);
                Self::new("created", format!("{name} was created")).with("volume", name)
            }
            CoreNote::Suspicion { node, suspected } => {
                let name = node_name(config, node);
                if suspected {
                    Self::new("suspected", format!("{name} is silent")).with("peer", name)
                } else {
                    Self::new("heard", format!("{name} is heard again")).with("peer", name)
                }
            }
        }
    }

    fn of_change(config: &Config, volume: VolumeId, change: VolumeChange) -> Self {
        let name = volume_name(config, volume);
        match change {
            VolumeChange::Promote {
                grant,
                after_power_loss,
            } => {
                let primary = node_name(config, grant.node);
                Self::new("promoted", format!("{name}: {primary} is primary"))
                    .with("volume", name)
                    .with("primary", primary)
                    .with("incarnation", grant.incarnation.0)
                    .with("after_power_loss", after_power_loss)
            }
            VolumeChange::Demote { term, prefer } => {
                let prefer = prefer.map(|node| node_name(config, node));
                Self::new("demoted", format!("{name}: the primary gave it up"))
                    .with("volume", name)
                    .with("term", term.0)
                    .with("prefer", json!(prefer))
            }
            VolumeChange::Shrink { term, replicas } => {
                let names: Vec<_> = replicas
                    .iter()
                    .map(|node| node_name(config, node))
                    .collect();
                let are = if names.len() == 1 { "is" } else { "are" };
                let who = names.join(" and ");
                Self::new("shrunk", format!("{name}: {who} {are} no longer in sync"))
                    .with("volume", name)
                    .with("term", term.0)
                    .with("replicas", json!(names))
            }
            VolumeChange::Grow { term, replica, .. } => {
                let replica = node_name(config, replica);
                Self::new("grown", format!("{name}: {replica} is in sync"))
                    .with("volume", name)
                    .with("term", term.0)
                    .with("replica", replica)
            }
            VolumeChange::Replace { replica, .. } => {
                let replica = node_name(config, replica);
                Self::new("replaced", format!("{name}: {replica} has a new store"))
                    .with("volume", name)
                    .with("replica", replica)
            }
            VolumeChange::OpenSession { session } => {
                let gateway = node_name(config, session.gateway);
                Self::new(
                    "session-opened",
                    format!("{name}: opened through {gateway}"),
                )
                .with("volume", name)
                .with("gateway", gateway)
                .with("session", session.id.0)
            }
        }
    }

    /// A new view.
    #[must_use]
    fn of_view(config: &Config, view: &View) -> Self {
        let members: Vec<_> = view
            .members
            .iter()
            .map(|member| node_name(config, member.node))
            .collect();
        Self::new(
            "view",
            format!("view {}: {}", view.number, members.join(", ")),
        )
        .with("view", view.number)
        .with("members", members)
    }

    /// What a volume's engine noted.
    #[must_use]
    pub fn of_volume(config: &Config, volume: VolumeId, note: Note) -> Self {
        let name = volume_name(config, volume);
        let me = &config.node.name;
        let news = match note {
            Note::Serving { term } => {
                Self::new("serving", format!("{name}: {me} serves it")).with("term", term.0)
            }
            Note::Stopped { term } => {
                Self::new("stopped", format!("{name}: {me} serves it no more")).with("term", term.0)
            }
            Note::ResyncBegan {
                replica,
                blocks,
                full,
            } => {
                let replica = node_name(config, replica);
                let what = if full { "everything" } else { "differences" };
                Self::new(
                    "resync-began",
                    format!("{name}: {replica} gets {what}, {blocks} blocks"),
                )
                .with("replica", replica)
                .with("blocks", blocks)
                .with("full", full)
            }
            Note::ResyncDone {
                replica,
                copied,
                equal,
            } => {
                let replica = node_name(config, replica);
                let had = if equal > 0 {
                    format!(", {equal} were the same")
                } else {
                    String::new()
                };
                Self::new(
                    "resync-done",
                    format!("{name}: {replica} has caught up, {copied} blocks were copied{had}"),
                )
                .with("replica", replica)
                .with("copied", copied)
                .with("equal", equal)
            }
            Note::StoreFailed { errno } => Self::new(
                "store-failed",
                format!(
                    "{name}: the store on {me} failed: {}",
                    std::io::Error::from_raw_os_error(i32::from(errno))
                ),
            )
            .with("errno", errno),
            Note::SessionEnded => Self::new(
                "session-ended",
                format!("{name}: clients of {me} were disconnected"),
            ),
        };
        news.with("volume", name)
    }
}

/// A node's name; a number for one that the configuration does not have.
fn node_name(config: &Config, node: NodeId) -> String {
    match config.nodes.get(usize::from(node.0)) {
        Some(entry) => entry.name.clone(),
        None => format!("node {node}"),
    }
}

/// A volume's name; its id for one that the configuration does not have.
fn volume_name(config: &Config, volume: VolumeId) -> String {
    match config.volumes.iter().find(|entry| entry.id == volume.0) {
        Some(entry) => entry.name.clone(),
        None => uuid::Uuid::from_u128(volume.0).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::record::Grant;
    use crate::types::{BootId, Incarnation, Index, Term};

    fn configuration() -> Config {
        Config::parse(Path::new("/e.toml"), config::EXAMPLE).unwrap()
    }

    #[test]
    fn a_promotion_names_node_and_volume() {
        let config = configuration();
        let note = CoreNote::Volume {
            index: Index(12),
            volume: VolumeId(config.volumes[0].id),
            change: VolumeChange::Promote {
                grant: Grant {
                    node: NodeId(1),
                    incarnation: Incarnation(4),
                    boot: BootId(1),
                },
                after_power_loss: false,
            },
        };
        let news = News::of_core(&config, &note);
        assert_eq!(news.kind, "promoted");
        assert_eq!(news.text, "data: n2 is primary");
        assert_eq!(news.fields["primary"], "n2");
        assert_eq!(news.fields["volume"], "data");
        assert_eq!(news.fields["entry"], 12);
    }

    #[test]
    fn a_node_or_volume_that_is_not_configured_has_a_number() {
        let config = configuration();
        let note = CoreNote::Suspicion {
            node: NodeId(9),
            suspected: true,
        };
        assert_eq!(News::of_core(&config, &note).text, "node 9 is silent");
        let news = News::of_volume(&config, VolumeId(1), Note::Serving { term: Term(3) });
        assert_eq!(
            news.fields["volume"],
            "00000000-0000-0000-0000-000000000001"
        );
    }

    #[test]
    fn a_failed_store_says_why() {
        let config = configuration();
        let volume = VolumeId(config.volumes[0].id);
        let news = News::of_volume(&config, volume, Note::StoreFailed { errno: 5 });
        assert!(
            news.text
                .starts_with("data: the store on n1 failed: Input/output error")
        );
    }
}
