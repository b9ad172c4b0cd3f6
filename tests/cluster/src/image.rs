//! A real ext4 image of a directory tree, made once for all tests of a run: of what this machine
//! has, and of files made up where that is too little.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::filler::{Amount, fill};
use crate::tool;

/// What the image must hold at least.
const LEAST: Amount = Amount {
    bytes: 1 << 30,
    files: 20_000,
};

/// An image file.
#[derive(Clone, Debug)]
pub struct Image {
    /// Where it is.
    pub path: PathBuf,
    /// Its size in bytes, a multiple of 1 MiB.
    pub size: u64,
}

/// A directory larger than this is not copied whole: the next one will do.
const PART_MAX: u64 = 300 << 20;

/// Directories of this machine that are copied, in this order, until the image is large enough.
fn sources() -> Vec<PathBuf> {
    let home = std::env::var("HOME").unwrap_or_else(|_| "/root".into());
    let rustup = std::env::var("RUSTUP_HOME").unwrap_or_else(|_| format!("{home}/.rustup"));
    let cargo = std::env::var("CARGO_HOME").unwrap_or_else(|_| format!("{home}/.cargo"));
    let parents = [
        "/usr/share".into(),
        "/usr/include".into(),
        format!("{cargo}/registry/src"),
        "/usr/lib".into(),
        "/usr/lib/x86_64-linux-gnu".into(),
        format!("{rustup}/toolchains"),
    ];
    let mut parts: Vec<_> = parents
        .iter()
        .filter_map(|parent| fs::read_dir(parent).ok())
        .flat_map(|entries| {
            let mut entries: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
            entries.sort();
            entries
        })
        .filter(|path| path.is_dir() && !path.is_symlink())
        .collect();
    // A machine with little else may have the toolchain that built this.
    let toolchains = PathBuf::from(format!("{rustup}/toolchains"));
    parts.extend(toolchains.is_dir().then_some(toolchains));
    parts
}

fn disk_usage(path: &Path) -> Amount {
    let path = path.to_str().expect("path");
    // It fails where a file has vanished meanwhile, and has counted the rest all the same.
    let count = |unit| -> u64 {
        let said = tool::output("du", &["-sx", unit, path]);
        let text = String::from_utf8_lossy(&said.stdout);
        let word = text.split_whitespace().next();
        word.and_then(|word| word.parse().ok())
            .unwrap_or_else(|| panic!("du {path}: {said:?}"))
    };
    Amount {
        bytes: count("--block-size=1"),
        files: count("--inodes"),
    }
}

/// Copies directories of the machine into `tree` until there is enough, and makes up the rest.
fn gather(tree: &Path, sources: &[PathBuf], least: Amount) -> Amount {
    let mut held = Amount::default();
    for (place, source) in sources.iter().enumerate() {
        if held.reaches(least) {
            return held;
        }
        if place + 1 < sources.len() && disk_usage(source).bytes > PART_MAX {
            continue;
        }
        let to = tree.join(place.to_string());
        // Files may vanish while they are copied; what counts is what arrived.
        let copied = Command::new("cp")
            .arg("-a")
            .arg(source)
            .arg(&to)
            .output()
            .expect("cp");
        drop(copied);
        if to.exists() {
            held += disk_usage(&to);
        }
    }
    let missing = Amount {
        bytes: least.bytes.saturating_sub(held.bytes),
        files: least.files.saturating_sub(held.files),
    };
    let made_up = tree.join("made-up");
    held += fill(&made_up, missing).expect("room for files");
    held
}

fn build(dir: &Path) -> Image {
    let tree = dir.join("tree");
    fs::create_dir_all(&tree).expect("directory");
    let Amount { bytes, files } = gather(&tree, &sources(), LEAST);
    let size = (bytes + bytes / 5 + files * 512).next_multiple_of(64 << 20);
    let path = dir.join("image.ext4");
    tool::run(
        "mkfs.ext4",
        &[
            "-q",
            "-F",
            "-d",
            tree.to_str().expect("path"),
            path.to_str().expect("path"),
            &format!("{}k", size / 1024),
        ],
    );
    fs::remove_dir_all(&tree).expect("tree");
    Image { path, size }
}

/// The image; the first call makes it.
///
/// # Panics
///
/// It cannot be made: no room, `mkfs.ext4` missing.
pub fn image() -> &'static Image {
    static IMAGE: OnceLock<Image> = OnceLock::new();
    IMAGE.get_or_init(|| {
        let dir = scratch().join("image");
        let image = Image {
            path: dir.join("image.ext4"),
            size: 0,
        };
        match fs::metadata(&image.path) {
            Ok(found) if dir.join("complete").exists() => Image {
                size: found.len(),
                ..image
            },
            _ => {
                drop(fs::remove_dir_all(&dir));
                let image = build(&dir);
                fs::write(dir.join("complete"), "").expect("mark");
                image
            }
        }
    })
}

/// Where large files of tests go: beside the binaries, on a real disk.
///
/// # Panics
///
/// It cannot be made.
#[must_use]
pub fn scratch() -> PathBuf {
    let mut path = tool::steadfast();
    path.pop();
    path.push("cluster-tests");
    fs::create_dir_all(&path).expect("directory");
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_with_few_files_gets_more_made_up() {
        let dir = tempfile::tempdir().expect("directory");
        let own = dir.path().join("own");
        fs::create_dir(&own).expect("directory");
        fs::write(own.join("file"), vec![1; 300_000]).expect("file");
        let gone = dir.path().join("gone");
        let least = Amount {
            bytes: 2 << 20,
            files: 100,
        };
        for sources in [vec![], vec![own.clone()], vec![own, gone.clone()]] {
            let tree = dir.path().join("tree");
            fs::create_dir(&tree).expect("directory");
            let held = gather(&tree, &sources, least);
            assert!(held.reaches(least), "{held:?}");
            assert!(disk_usage(&tree).files >= least.files);
            assert_eq!(tree.join("0").exists(), !sources.is_empty());
            fs::remove_dir_all(&tree).expect("tree");
        }
    }

    #[test]
    fn nothing_is_made_up_where_there_is_enough() {
        let dir = tempfile::tempdir().expect("directory");
        let own = dir.path().join("own");
        fs::create_dir(&own).expect("directory");
        fs::write(own.join("file"), vec![1; 300_000]).expect("file");
        let tree = dir.path().join("tree");
        fs::create_dir(&tree).expect("directory");
        let least = Amount {
            bytes: 100_000,
            files: 2,
        };
        gather(&tree, &[own], least);
        assert!(!tree.join("made-up").exists());
    }
}
