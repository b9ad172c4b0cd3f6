//! The sandbox's directory: whose it is, what is in it, and who may use it.
//!
//! `layout.json` says that it is a sandbox and whether it is complete: it is written first with
//! `creating` and last, in place of that, with `complete`. So what a start that was cut short left
//! behind is told from a sandbox, and both from anything else.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use config::Config;
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use super::plan::{self, CONFIG_FILE};
use super::subnet;
use crate::cli::progress::Progress;

const LAYOUT_FILE: &str = "layout.json";
/// What `replace` writes before there is a `LAYOUT_FILE`.
const LAYOUT_NEW: &str = "layout.json.new";
const LOCK_FILE: &str = "lock";
/// Of `layout.json`: larger ones are not understood.
const FORMAT: u32 = 1;

/// What the sandbox consists of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Layout {
    /// Name of the volume.
    pub volume: String,
    /// Its bytes.
    pub size: u64,
    /// Nodes with a copy.
    pub storage_nodes: u8,
    /// Whether there is a witness.
    pub witness: bool,
    /// Whether clients of all nodes are served at once.
    pub shared: bool,
    /// Name of the timing profile.
    pub profile: String,
}

#[derive(Serialize, Deserialize)]
struct LayoutFile {
    steadfast_sandbox: u32,
    state: State,
    layout: Option<Layout>,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum State {
    Creating,
    Complete,
}

/// The directory, locked while this lives.
#[derive(Debug)]
pub(super) struct Ground {
    dir: PathBuf,
    layout: Option<Layout>,
    nodes: Vec<Config>,
    /// Held for its lock.
    _lock: File,
}

/// What is in a directory.
enum Found {
    Nothing,
    Complete(Layout),
}

impl Ground {
    /// Takes the directory: an empty or missing one, or a sandbox that is complete.
    ///
    /// # Errors
    /// It is something else, half written, damaged or in use.
    pub(super) fn enter(dir: &Path) -> Result<Self, String> {
        let dir = std::path::absolute(dir).map_err(|error| said(dir, &error))?;
        if dir.to_str().is_none() {
            return Err(format!(
                "{}: this path is not UTF-8, which the files of a sandbox are; name another \
                 directory with --dir",
                dir.display()
            ));
        }
        // Judged before anything is touched, and again under the lock.
        if let Found::Nothing = find(&dir)? {
            fits_sockets(&dir)?;
        }
        fs::create_dir_all(&dir).map_err(|error| said(&dir, &error))?;
        let lock = lock(&dir)?;
        let layout = match find(&dir)? {
            Found::Nothing => None,
            Found::Complete(layout) => Some(layout),
        };
        let mut ground = Self {
            dir,
            layout,
            nodes: Vec::new(),
            _lock: lock,
        };
        if ground.layout.is_some() {
            ground.nodes = ground.load()?;
        }
        Ok(ground)
    }

    /// The directory, absolute.
    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// What is there; none in a directory that is empty yet.
    pub(super) const fn layout(&self) -> Option<&Layout> {
        self.layout.as_ref()
    }

    /// The nodes' configurations.
    pub(super) fn nodes(&self) -> &[Config] {
        &self.nodes
    }

    /// The configuration file of a node.
    pub(super) fn config_file(&self, node: &str) -> PathBuf {
        self.dir.join(node).join(CONFIG_FILE)
    }

    /// Where a node's messages go.
    pub(super) fn log_file(&self, node: &str) -> PathBuf {
        self.dir.join(node).join("daemon.log")
    }

    /// Fills the empty directory. What was made is removed again where that fails.
    pub(super) fn make(&mut self, layout: Layout, progress: &Progress) -> Result<(), String> {
        let made = self.try_make(&layout, progress);
        progress.clear();
        if made.is_err() {
            self.clean(&layout);
            return made;
        }
        self.layout = Some(layout);
        Ok(())
    }

    fn try_make(&mut self, layout: &Layout, progress: &Progress) -> Result<(), String> {
        let names = plan::nodes(layout);
        self.write_layout(State::Creating, None)?;
        let count = u8::try_from(names.len()).map_err(|_| "too many nodes")?;
        let (addresses, ports) = subnet::choose(count, self.dir.as_os_str().as_encoded_bytes())?;
        let mut key = [0; 32];
        getrandom::fill(&mut key).map_err(|error| format!("random numbers: {error}"))?;
        for config in plan::configurations(layout, &addresses, ports, key) {
            let dir = self.dir.join(&config.node.name);
            fs::create_dir(&dir).map_err(|error| said(&dir, &error))?;
            let file = dir.join(CONFIG_FILE);
            // The key is in it.
            File::options()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&file)
                .and_then(|mut out| out.write_all(config.to_toml().as_bytes()))
                .map_err(|error| said(&file, &error))?;
        }
        self.nodes = names
            .iter()
            .map(|(name, _)| self.load_node(name))
            .collect::<Result<_, _>>()?;
        for config in &self.nodes {
            crate::daemon::init::init(config, &mut |_, done, all| {
                progress.making(&format!("the files of {}", config.node.name), done, all);
            })?;
        }
        self.write_layout(State::Complete, Some(layout))
    }

    fn clean(&self, layout: &Layout) {
        // Best effort: what cannot be removed is told as half written by the next start. The
        // marker goes last.
        for (name, _) in plan::nodes(layout) {
            let _ = fs::remove_dir_all(self.dir.join(name));
        }
        let _ = fs::remove_file(self.dir.join(LAYOUT_FILE));
    }

    fn write_layout(&self, state: State, layout: Option<&Layout>) -> Result<(), String> {
        let file = LayoutFile {
            steadfast_sandbox: FORMAT,
            state,
            layout: layout.cloned(),
        };
        let path = self.dir.join(LAYOUT_FILE);
        let text = serde_json::to_string_pretty(&file).map_err(|error| error.to_string())?;
        replace(&path, &text).map_err(|error| said(&path, &error))
    }

    fn load(&self) -> Result<Vec<Config>, String> {
        let Some(layout) = &self.layout else {
            return Ok(Vec::new());
        };
        plan::nodes(layout)
            .iter()
            .map(|(name, _)| {
                let config = self.load_node(name)?;
                let log = config.log();
                if !log.exists() {
                    return Err(self.damaged(&format!("{} is missing", log.display())));
                }
                if let Some(lost) = lost_store(&config) {
                    return Err(self.damaged(&format!(
                        "{} is missing; `steadfast node init --config {}` makes an empty one, which \
                         is filled from another node",
                        lost.display(),
                        self.config_file(name).display()
                    )));
                }
                Ok(config)
            })
            .collect()
    }

    fn load_node(&self, name: &str) -> Result<Config, String> {
        let config = Config::load(&self.config_file(name))
            .map_err(|error| self.damaged(&error.to_string()))?;
        if config.node.name == name {
            Ok(config)
        } else {
            let file = self.config_file(name);
            Err(self.damaged(&format!(
                "{} is of node {}",
                file.display(),
                config.node.name
            )))
        }
    }

    fn damaged(&self, what: &str) -> String {
        let dir = self.dir.display();
        format!("the sandbox in {dir} is damaged: {what}\nput it back, or begin anew: rm -r {dir}")
    }
}

/// A store of the node that is not there.
fn lost_store(config: &Config) -> Option<PathBuf> {
    let mut stores = config.my_stores().map(|(_, store)| store.path.clone());
    stores.find(|path| !path.exists())
}

/// Whether the paths of the nodes' sockets are short enough for the system.
fn fits_sockets(dir: &Path) -> Result<(), String> {
    let longest = dir.join("n1").join("api.sock").as_os_str().len();
    if longest > config::SOCKET_PATH_MAX {
        return Err(format!(
            "{}: this path is too long for the sockets in it by {} bytes; use a shorter one",
            dir.display(),
            longest - config::SOCKET_PATH_MAX
        ));
    }
    Ok(())
}

/// What is in `dir`.
fn find(dir: &Path) -> Result<Found, String> {
    let mut entries = Vec::new();
    match fs::read_dir(dir) {
        Ok(listing) => {
            for entry in listing {
                entries.push(entry.map_err(|error| said(dir, &error))?.file_name());
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Nothing),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
            return Err(format!(
                "{} is not a directory: name another with --dir",
                dir.display()
            ));
        }
        Err(error) => return Err(said(dir, &error)),
    }
    let path = dir.join(LAYOUT_FILE);
    if !entries.iter().any(|name| name == LAYOUT_FILE) {
        // A start that was cut off in its first moments leaves these two, and has made nothing yet.
        let locked = entries.iter().any(|name| name == LOCK_FILE);
        let ours = |name: &OsString| name == LOCK_FILE || (locked && name == LAYOUT_NEW);
        return match entries.iter().find(|name| !ours(name)) {
            None => Ok(Found::Nothing),
            Some(other) => Err(format!(
                "{} is not a sandbox: there is {} in it, and no {LAYOUT_FILE}; name an empty or a \
                 new directory with --dir",
                dir.display(),
                Path::new(other).display()
            )),
        };
    }
    let text = fs::read_to_string(&path).map_err(|error| said(&path, &error))?;
    let foreign = |why: &str| {
        format!(
            "{} is not a sandbox's ({why}); name another directory with --dir",
            path.display()
        )
    };
    let file: LayoutFile =
        serde_json::from_str(&text).map_err(|error| foreign(&error.to_string()))?;
    if file.steadfast_sandbox > FORMAT {
        return Err(format!(
            "{} is of a newer version of steadfast: use that one, or name another directory with \
             --dir",
            path.display()
        ));
    }
    match (file.state, file.layout) {
        (State::Complete, Some(layout)) => Ok(Found::Complete(layout)),
        (State::Complete, None) => Err(foreign("it says nothing")),
        (State::Creating, _) => Err(format!(
            "the sandbox in {dir} was never completed: its first start was interrupted, or is \
             under way; if not, remove it and start again: rm -r {dir}",
            dir = dir.display()
        )),
    }
}

fn lock(dir: &Path) -> Result<File, String> {
    let path = dir.join(LOCK_FILE);
    let mut file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(|error| said(&path, &error))?;
    if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
        let holder = fs::read_to_string(&path).unwrap_or_default();
        return Err(format!(
            "a sandbox runs in {} already (process {}): look at it with `steadfast status --dir \
             {}`, stop it with Ctrl-C, or use another directory with --dir",
            dir.display(),
            holder.trim(),
            dir.display()
        ));
    }
    file.set_len(0)
        .and_then(|()| writeln!(file, "{}", std::process::id()))
        .map_err(|error| said(&path, &error))?;
    Ok(file)
}

/// Replaces a file as a whole: whoever reads it sees the old or the new text.
pub(super) fn replace(path: &Path, text: &str) -> io::Result<()> {
    let mut new = path.to_owned().into_os_string();
    new.push(".new");
    let mut file = File::create(&new)?;
    file.write_all(text.as_bytes())?;
    file.write_all(b"\n")?;
    file.sync_all()?;
    fs::rename(&new, path)
}

/// The last lines of a text file.
pub(super) fn tail(path: &Path) -> String {
    let text = fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<_> = text.lines().rev().take(8).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join("\n")
}

fn said(path: &Path, error: &io::Error) -> String {
    let advice = match error.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            "; name a directory that this user may write with --dir"
        }
        io::ErrorKind::StorageFull => "; make room, or name another directory with --dir",
        _ => "",
    };
    format!("{}: {error}{advice}", path.display())
}

#[cfg(test)]
mod tests;
