//! Which processes there are, by what they were started with.

use std::fs;
use std::path::Path;

/// A process.
#[derive(Clone, Debug)]
pub struct Process {
    /// Its id.
    pub pid: i32,
    /// Its parent's.
    pub parent: i32,
    /// `R`, `S`, `Z` and the like.
    pub state: char,
    /// Its arguments, with spaces between.
    pub command: String,
}

/// Every process of this machine.
#[must_use]
pub fn all() -> Vec<Process> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| {
            // It may end while it is looked at.
            let pid = entry.file_name().to_str()?.parse().ok()?;
            let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
            // The name in brackets may have anything in it.
            let mut words = stat.rsplit_once(')')?.1.split_whitespace();
            let state = words.next()?.chars().next()?;
            let parent = words.next()?.parse().ok()?;
            let command = fs::read(entry.path().join("cmdline")).ok()?;
            let command = String::from_utf8_lossy(&command).replace('\0', " ");
            Some(Process {
                pid,
                parent,
                state,
                command,
            })
        })
        .collect()
}

/// The processes that were started with `dir`, or with something below it.
///
/// # Panics
///
/// The path is no plain text.
#[must_use]
pub fn of(dir: &Path) -> Vec<Process> {
    let dir = dir.to_str().expect("path");
    let within = [format!("{dir}/"), format!("{dir} ")];
    all()
        .into_iter()
        .filter(|process| within.iter().any(|part| process.command.contains(part)))
        .collect()
}

/// The children of a process, zombies too.
#[must_use]
pub fn children(parent: i32) -> Vec<Process> {
    all()
        .into_iter()
        .filter(|process| process.parent == parent)
        .collect()
}
