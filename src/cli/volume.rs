//! `steadfast volume`

use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Subcommand;
use serde_json::json;

use super::style::{self, Mood, Paint};
use super::target::{Peer, Target, TargetArgs};
use super::{FAILED, fail, output, runtime};
use crate::api::client::ApiError;
use crate::api::handover::{self, Handover, Refused};
use crate::status::VolumeStatus;

/// How long a handover may take before the command gives up waiting for it.
const HANDOVER_PATIENCE: Duration = Duration::from_secs(60);

#[derive(Debug, Subcommand)]
pub(super) enum Args {
    /// Make a node primary of a volume (the primary hands it over; clients see a short pause)
    Promote {
        /// The node
        #[arg(value_name = "NODE")]
        to: String,
        /// The volume [default: the only one]
        volume: Option<String>,
        /// What was done, as JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        target: TargetArgs,
    },
    /// Let another in-sync node become primary of a volume
    Demote {
        /// The volume [default: the only one]
        volume: Option<String>,
        /// What was done, as JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        target: TargetArgs,
    },
    /// List the volumes
    List {
        /// As JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        target: TargetArgs,
    },
}

pub(super) fn run(args: &Args) -> ExitCode {
    let done = runtime()
        .map_err(|error| error.to_string())
        .and_then(|runtime| runtime.block_on(act(args)));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(FAILED, error),
    }
}

async fn act(args: &Args) -> Result<(), String> {
    match args {
        Args::Promote {
            to,
            volume,
            json,
            target,
        } => {
            let done = hand_over(target, volume.as_deref(), Some(to)).await?;
            tell(&done, *json)
        }
        Args::Demote {
            volume,
            json,
            target,
        } => {
            let done = hand_over(target, volume.as_deref(), None).await?;
            tell(&done, *json)
        }
        Args::List { json, target } => list(target, *json).await,
    }
}

async fn list(target: &TargetArgs, json: bool) -> Result<(), String> {
    let target = target.resolve()?;
    let (status, _) = target.status().await?;
    let text = if json {
        serde_json::to_string_pretty(&status.volumes).map_err(|error| error.to_string())?
    } else {
        table(Paint::stdout(), &status.volumes)
    };
    output::write(text + "\n").map(drop)
}

fn table(paint: Paint, volumes: &[VolumeStatus]) -> String {
    let mut table = paint.table(&["VOLUME", "SIZE", "PRIMARY", "SHARED", "REDUNDANCY"]);
    for volume in volumes {
        let primary = match &volume.primary {
            Some(primary) => paint.cell(Mood::Good, primary),
            None => paint.cell(Mood::Bad, "none"),
        };
        table.add_row(vec![
            volume.name.as_str().into(),
            style::bytes(volume.size).into(),
            primary,
            if volume.shared { "yes" } else { "no" }.into(),
            volume.redundancy.as_str().into(),
        ]);
    }
    table.trim_fmt()
}

fn tell(done: &Handover, json: bool) -> Result<(), String> {
    let already = if done.begun { "" } else { " already" };
    let sentence = format!("{} is primary of {}{already}", done.to, done.volume);
    let text = if json {
        serde_json::to_string_pretty(done).map_err(|error| error.to_string())?
    } else {
        sentence.clone()
    };
    match output::write(text + "\n") {
        Ok(_) => Ok(()),
        // So that nobody does it again.
        Err(error) => Err(format!("{error}; {sentence}")),
    }
}

/// Returns when the volume is served by the node that was asked for.
async fn hand_over(
    target: &TargetArgs,
    volume: Option<&str>,
    to: Option<&str>,
) -> Result<Handover, String> {
    let target = target.resolve()?;
    let (status, peer) = target.status().await?;
    let volume = match (volume, status.volumes.as_slice()) {
        (Some(name), _) => name.to_owned(),
        (None, [only]) => only.name.clone(),
        (None, []) => return Err(format!("{} knows of no volume yet", status.node)),
        (None, _) => return Err("which volume? name it after the node".into()),
    };
    // Also because a name that is none of ours may not even be a part of a path.
    let known = handover::find(&status, &volume).map_err(|refused| refused.error)?;
    // Only the primary can do it: asked there at once where it is known how.
    let named = |name: &String| target.named(name);
    let primary = known.primary.as_ref().and_then(named).unwrap_or(peer);
    let answer = match ask(primary, &volume, to).await {
        // It has moved since.
        Err(ApiError::Refused(Refused { error, ask: there })) => {
            match there.as_ref().and_then(named) {
                Some(primary) => ask(primary, &volume, to).await,
                None => return Err(error),
            }
        }
        answer => answer,
    };
    let handover = answer.map_err(|error| error.to_string())?;
    if handover.begun {
        wait(&target, &handover).await?;
    }
    Ok(handover)
}

async fn ask(peer: &Peer, volume: &str, to: Option<&str>) -> Result<Handover, ApiError> {
    match to {
        Some(node) => {
            let path = format!("/v1/volumes/{volume}/promote");
            peer.client.post(&path, &json!({ "node": node })).await
        }
        None => {
            let path = format!("/v1/volumes/{volume}/demote");
            peer.client.post(&path, &json!({})).await
        }
    }
}

/// Until the volume is served elsewhere.
async fn wait(target: &Target, handover: &Handover) -> Result<(), String> {
    let start = Instant::now();
    let mut last = String::from("nothing answers");
    while start.elapsed() < HANDOVER_PATIENCE {
        if let Ok((status, _)) = target.status().await
            && let Some(volume) = status
                .volumes
                .iter()
                .find(|known| known.name == handover.volume)
        {
            if volume.serving && volume.primary.as_ref() == Some(&handover.to) {
                return Ok(());
            }
            // The next term was the one that was asked for.
            if volume.serving && volume.term > handover.term + 1 {
                return Err(format!(
                    "{} has gone to {} since: somebody else has moved it, or a node has failed",
                    handover.volume,
                    volume.primary.as_deref().unwrap_or("another node")
                ));
            }
            last.clone_from(&volume.redundancy);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Err(format!(
        "{} is not primary of {} after {} s: {last}",
        handover.to,
        handover.volume,
        HANDOVER_PATIENCE.as_secs()
    ))
}
