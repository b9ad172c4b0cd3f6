//! The files of a node, made for a new cluster, or in place of those that were lost.
//!
//! The log is made last: where it is, everything was. So an attempt that was cut off may simply be
//! repeated, and finds the stores that it made before. A store or a log that is made later draws a
//! number of its own, by which the cluster knows that it is another one and empty.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use config::{Config, Store, Volume};
use rustix::fs::{CWD, RenameFlags, renameat_with};

use crate::member::log::{self, Birth, Geometry};
use crate::meta::PAGE;
use crate::meta::store::{self, Identity, Opened};
use crate::types::{INCARNATION_MAX, Incarnation, LogId, NodeId, StoreId, VolumeId};

// What the configuration accepts, everything else can hold.
const _: () = assert!(
    config::NODES_MAX == crate::types::NODES_MAX
        && config::VOTERS_MAX <= crate::types::VOTERS_MAX
        && config::REPLICAS_MAX == crate::types::REPLICAS_MAX
        && config::VOLUME_SIZE_MAX <= crate::types::VOLUME_MAX
);

/// Its beginning, in seconds since 1970.
const YEAR_2026: u64 = 1_767_225_600;

/// Told, while a store is made: its path, how many of its bytes are ready, and of how many.
pub type Progress<'a> = dyn FnMut(&Path, u64, u64) + 'a;

/// Creates the directory, the stores and the log that the configuration gives this node, and
/// returns what was made. What holds something already is refused and left alone. Of a node that
/// was made before only what is missing of its stores is made.
///
/// # Errors
/// In one sentence: what, where, and what to do.
pub fn init(config: &Config, progress: &mut Progress<'_>) -> Result<Vec<PathBuf>, String> {
    let log = config.log();
    if log.symlink_metadata().is_ok() {
        let made = make_lost(config, progress)?;
        if made.is_empty() {
            return Err(format!(
                "{} is there already: this node was made before. Start it with `steadfast node \
                 run`; nothing was changed",
                log.display()
            ));
        }
        return Ok(made);
    }
    std::fs::create_dir_all(&config.node.dir)
        .map_err(|error| format!("{}: {error}", config.node.dir.display()))?;
    let mut made = Vec::new();
    for (volume, store) in config.my_stores() {
        if make_store(config, volume, store, progress)? {
            made.push(store.path.clone());
        }
    }
    make_log(config, &log)?;
    made.push(log);
    Ok(made)
}

/// Whose store it is.
#[must_use]
pub fn identity(config: &Config, volume: &Volume, store: &Store) -> Identity {
    Identity {
        cluster: config.cluster.id,
        volume: VolumeId(volume.id),
        store: StoreId(store.id),
        node: node_id(store.node),
        size: volume.size,
    }
}

/// Makes the stores that are not there any more.
fn make_lost(config: &Config, progress: &mut Progress<'_>) -> Result<Vec<PathBuf>, String> {
    let mut made = Vec::new();
    for (volume, store) in config.my_stores() {
        let found = store::open(
            &store.path,
            &identity(config, volume, store),
            Duration::ZERO,
        );
        if found.is_err_and(|error| error.is_absent())
            && make_store(config, volume, store, progress)?
        {
            made.push(store.path.clone());
        }
    }
    Ok(made)
}

fn node_id(index: usize) -> NodeId {
    NodeId(u8::try_from(index).expect("a configuration has at most `NODES_MAX` nodes"))
}

/// Whether it was made now; otherwise this node has it already.
fn make_store(
    config: &Config,
    volume: &Volume,
    store: &Store,
    progress: &mut Progress<'_>,
) -> Result<bool, String> {
    let mut identity = identity(config, volume, store);
    let drawn = getrandom::u64().map_err(|error| format!("random numbers: {error}"))?;
    identity.store = identity.store.made(drawn);
    let mut told = |done, all| progress(&store.path, done, all);
    match store::create(&store.path, &identity, &mut told) {
        Ok(()) => Ok(true),
        // Made by an attempt that was cut off, or by a node that has lost its log since.
        Err(error) => match store::open(&store.path, &identity, Duration::ZERO) {
            Ok(Opened { recovered, .. }) if recovered.failed.is_none() => Ok(false),
            _ => Err(error.to_string()),
        },
    }
}

/// Writes the whole log under another name and renames it at the end. Every page is written, the
/// empty ones too: a write to a page that the file system has only reserved would cost a journal
/// entry beside it.
fn make_log(config: &Config, path: &Path) -> Result<(), String> {
    let said = |error: io::Error| format!("{}: {error}", path.display());
    let mut image = vec![0; Geometry::DAEMON.pages() as usize * PAGE];
    let node = node_id(config.node.index);
    let drawn = getrandom::u64().map_err(|error| format!("random numbers: {error}"))?;
    let birth = Birth {
        id: LogId(drawn),
        used: incarnations_used(SystemTime::now()),
    };
    for page in log::format(config.cluster.id, node, Geometry::DAEMON, birth) {
        let start = page.number as usize * PAGE;
        image[start..start + PAGE].copy_from_slice(&page.bytes[..]);
    }
    let mut unfinished = path.to_owned().into_os_string();
    unfinished.push(".unfinished");
    File::create(&unfinished)
        .and_then(|mut file| {
            file.write_all(&image)?;
            file.sync_all()?;
            // Never over another one, not even one that has just come.
            renameat_with(CWD, &unfinished, CWD, path, RenameFlags::NOREPLACE)?;
            File::open(&config.node.dir)?.sync_all()
        })
        .map_err(said)
}

/// A node that lost its log must not begin with an incarnation that it had before, whose rights the
/// others may still remember. It had less than one for each second since this program exists.
fn incarnations_used(now: SystemTime) -> Incarnation {
    let first = SystemTime::UNIX_EPOCH + Duration::from_secs(YEAR_2026);
    let seconds = now.duration_since(first).unwrap_or_default().as_secs();
    Incarnation(seconds.min(INCARNATION_MAX.0 / 2))
}

#[cfg(test)]
mod tests;
