//! Which node a command speaks to.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use tokio::time::timeout;

use super::sandbox::describe::Description;
use crate::api::client::{ApiError, Client};
use crate::status::Status;

/// Where the sandbox is by default.
pub(super) const SANDBOX: &str = "sandbox";

/// How long the others may take once a node has answered, but without quorum.
const OTHERS_PATIENCE: Duration = Duration::from_millis(500);

/// How the node is named.
#[derive(Clone, Debug, Default, Args)]
pub(super) struct TargetArgs {
    /// Control socket of the node [default: $STEADFAST_API]
    #[arg(long, value_name = "SOCKET", conflicts_with_all = ["config", "dir"])]
    api: Option<PathBuf>,
    /// Configuration file of the node
    #[arg(long, value_name = "FILE", conflicts_with = "dir")]
    config: Option<PathBuf>,
    /// Directory of a sandbox [default: ./sandbox if it is there]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Node of the sandbox [default: the first that answers with quorum]
    #[arg(long, value_name = "NAME", conflicts_with_all = ["api", "config"])]
    node: Option<String>,
}

/// A node by name, and how to speak to it.
#[derive(Clone, Debug)]
pub(super) struct Peer {
    /// Its name, where it is known beforehand.
    pub name: Option<String>,
    /// Speaks to it.
    pub client: Client,
}

/// The nodes a command may speak to.
#[derive(Clone, Debug)]
pub(super) struct Target {
    peers: Vec<Peer>,
    /// All of the cluster's nodes, where they are known.
    known: Vec<Peer>,
    /// The sandbox, if it is one.
    sandbox: Option<PathBuf>,
}

impl TargetArgs {
    /// Finds the node, or the nodes of a sandbox.
    pub(super) fn resolve(&self) -> Result<Target, String> {
        let one = |socket: &Path| Target {
            peers: vec![Peer {
                name: None,
                client: Client::new(socket),
            }],
            known: Vec::new(),
            sandbox: None,
        };
        if let Some(file) = &self.config {
            let config = ::config::Config::load(file).map_err(|error| error.to_string())?;
            return Ok(one(&config.api()));
        }
        // What is said on the command line goes before the environment.
        let socket = self.api.clone().or_else(|| {
            let unsaid = self.dir.is_none() && self.node.is_none();
            std::env::var_os("STEADFAST_API")
                .filter(|socket| unsaid && !socket.is_empty())
                .map(PathBuf::from)
        });
        if let Some(socket) = socket {
            return Ok(one(&socket));
        }
        let dir = self.dir.as_deref().unwrap_or(Path::new(SANDBOX));
        let description = Description::load(dir).map_err(|error| {
            if self.dir.is_some() {
                error
            } else {
                format!(
                    "which node? name it with --api SOCKET, --config FILE or --dir SANDBOX ({error})"
                )
            }
        })?;
        let known: Vec<_> = description
            .nodes
            .iter()
            .map(|node| Peer {
                name: Some(node.name.clone()),
                client: Client::new(&node.api),
            })
            .collect();
        let peers = match &self.node {
            None => known.clone(),
            Some(name) => known
                .iter()
                .find(|peer| peer.name.as_ref() == Some(name))
                .cloned()
                .map(|peer| vec![peer])
                .ok_or_else(|| {
                    let names: Vec<_> = description.nodes.iter().map(|n| n.name.as_str()).collect();
                    format!(
                        "there is no node \"{name}\"; there is: {}",
                        names.join(", ")
                    )
                })?,
        };
        Ok(Target {
            peers,
            known,
            sandbox: Some(dir.to_owned()),
        })
    }
}

impl Target {
    /// For these nodes, by name.
    pub(super) fn of(known: Vec<Peer>) -> Self {
        Self {
            peers: known.clone(),
            known,
            sandbox: None,
        }
    }

    /// The status by the first node that answers with quorum, else by the first of those that
    /// answer. All are asked at once: one that hangs delays nobody.
    pub(super) async fn status(&self) -> Result<(Status, &Peer), String> {
        let mut asked = tokio::task::JoinSet::new();
        for (index, peer) in self.peers.iter().enumerate() {
            let client = peer.client.clone();
            asked.spawn(async move { (index, client.get::<Status>("/v1/status").await) });
        }
        let mut best: Option<(Status, &Peer)> = None;
        let mut error = ApiError::Garbled("there is no node to ask".into());
        loop {
            let next = asked.join_next();
            let next = match best {
                None => next.await,
                // A poor answer now is better than the same one later.
                Some(_) => timeout(OTHERS_PATIENCE, next).await.ok().flatten(),
            };
            let Some(Ok((index, answer))) = next else {
                break;
            };
            match answer {
                Ok(status) if status.quorum => return Ok((status, &self.peers[index])),
                Ok(status) => best = best.or(Some((status, &self.peers[index]))),
                Err(why) => error = why,
            }
        }
        best.ok_or_else(|| match (&self.sandbox, &error) {
            (Some(dir), ApiError::Unreachable { error, .. }) if self.is_chosen() => {
                self.silent(dir, error)
            }
            (Some(dir), ApiError::Unreachable { .. }) => format!(
                "no node of the sandbox in {0} answers: start it with `steadfast sandbox --dir {0}`",
                dir.display()
            ),
            _ => error.to_string(),
        })
    }

    /// Whether a person named one of several nodes.
    fn is_chosen(&self) -> bool {
        self.peers.len() < self.known.len()
    }

    /// The node that was named does not answer; the others may.
    fn silent(&self, dir: &Path, error: &io::Error) -> String {
        let names = |peers: &[Peer]| {
            let names = peers.iter().filter_map(|peer| peer.name.clone());
            names.collect::<Vec<_>>()
        };
        let asked = names(&self.peers);
        let mut others = names(&self.known);
        others.retain(|name| !asked.contains(name));
        format!(
            "{} of the sandbox in {} does not answer: {error}; leave --node away, or ask another \
             one: {}",
            asked.join(", "),
            dir.display(),
            others.join(", ")
        )
    }

    /// Whether there is more than one node to ask.
    pub(super) fn has_others(&self) -> bool {
        self.peers.len() > 1
    }

    /// The node of that name, if it is known how to reach it.
    pub(super) fn named(&self, name: &str) -> Option<&Peer> {
        self.known
            .iter()
            .find(|peer| peer.name.as_deref() == Some(name))
    }
}
