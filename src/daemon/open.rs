//! What a node keeps: its log and its stores, locked and read.

use std::fmt::Display;
use std::io;
use std::path::Path;
use std::time::Duration;

use super::log_file::LogFile;
use super::parts::{Parts, voters};
use super::stopped::Stopped;
use super::{clock, exit, init};
use crate::member::Canaries;
use crate::member::core::{Core, CoreConfig};
use crate::member::io::{CoreEffect, CoreEvent};
use crate::meta::store::{self, Identity, Opened, Problem};
use crate::types::VolumeId;
use crate::uring::{Store, VolumeSetup};

/// How long a start waits for a store that a killed run still writes to.
const STORE_PATIENCE: Duration = Duration::from_secs(10);
/// How long it does so without a word.
const STORE_QUIET: Duration = Duration::from_secs(1);

/// The log, locked and read; the core, with its next incarnation durable.
pub(super) fn open_log(parts: &Parts<'_>) -> Result<(LogFile, Core, Vec<CoreEffect>), Stopped> {
    let path = parts.config.log();
    let refuse = |code, error: &dyn Display| Stopped::new(code, path.display(), error);
    let log = LogFile::open(&path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => refuse(
            exit::CONFIG,
            &"there is no cluster log. If this node had one, and it is not lost, put it back; else `steadfast \
              node init` makes one",
        ),
        io::ErrorKind::ResourceBusy => refuse(exit::BUSY, &error),
        io::ErrorKind::PermissionDenied
        | io::ErrorKind::IsADirectory
        | io::ErrorKind::ReadOnlyFilesystem => refuse(
            exit::CONFIG,
            &format_args!("{error}; this user must be able to read and write this file"),
        ),
        _ => refuse(1, &error),
    })?;
    let bytes = log.read().map_err(|error| refuse(1, &error))?;
    let config = CoreConfig {
        me: parts.me,
        names: parts
            .config
            .nodes
            .iter()
            .map(|node| node.name.clone())
            .collect(),
        voters: voters(parts.config),
        timing: parts.timing,
        boot: parts.boot,
        canaries: Canaries::default(),
    };
    let recovered = crate::member::log::recover(&bytes, parts.config.cluster.id, parts.me)
        .map_err(|error| refuse(exit::CONFIG, &error))?;
    drop(bytes);
    let mut effects = Vec::new();
    let mut core = Core::new(config, recovered, clock::now(), &mut effects);
    // The incarnation must be durable before anything is heard of it: written here and now.
    let mut rest = Vec::new();
    for effect in effects {
        match effect {
            CoreEffect::Persist { ticket, pages } => {
                log.write(&pages).map_err(|error| refuse(1, &error))?;
                core.step(clock::now(), CoreEvent::Persisted { ticket }, &mut rest);
            }
            other => rest.push(other),
        }
    }
    Ok((log, core, rest))
}

/// The volumes of the cluster, with this node's stores locked and read.
pub(super) fn open_stores(parts: &Parts<'_>) -> Result<Vec<VolumeSetup>, Stopped> {
    let mut volumes = Vec::new();
    for volume in &parts.config.volumes {
        let mut setup = VolumeSetup {
            id: VolumeId(volume.id),
            name: volume.name.clone(),
            size: volume.size,
            shared: volume.shared,
            store: None,
        };
        if let Some(mine) = volume.store(parts.config.node.index) {
            let identity = init::identity(parts.config, volume, mine);
            let opened = open_store(&mine.path, &identity).map_err(|error| {
                let busy = matches!(error.problem, Problem::InUse { .. });
                let code = if busy { exit::BUSY } else { exit::CONFIG };
                Stopped {
                    why: error.to_string(),
                    code,
                }
            })?;
            if let Some(errno) = opened.recovered.failed {
                tracing::error!(
                    "{}: this store has failed (error {errno}) and is not used any more; where \
                     another copy is in sync, take it away and make a new one by `steadfast node \
                     init`",
                    mine.path.display()
                );
            }
            setup.store = Some(Store {
                file: opened.file,
                recovered: opened.recovered,
            });
        }
        volumes.push(setup);
    }
    Ok(volumes)
}

/// Says in time what it waits for.
fn open_store(path: &Path, identity: &Identity) -> Result<Opened, store::Error> {
    match store::open(path, identity, STORE_QUIET) {
        Err(error) if matches!(error.problem, Problem::InUse { .. }) => {
            tracing::warn!("waiting for it: {error}");
            store::open(path, identity, STORE_PATIENCE - STORE_QUIET)
        }
        opened => opened,
    }
}
