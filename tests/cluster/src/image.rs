//! A real ext4 image of a real directory tree, made once for all tests of a run.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::tool;

/// Bytes of files that the image must hold at least.
const CONTENT_MIN: u64 = 1 << 30;
/// Files that it must hold at least.
const FILES_MIN: u64 = 20_000;

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
    // A machine with little else has at least the toolchain that built this.
    parts.push(PathBuf::from(format!("{rustup}/toolchains")));
    parts
}

fn disk_usage(path: &Path) -> (u64, u64) {
    let path = path.to_str().expect("path");
    // It fails where a file has vanished meanwhile, and has counted the rest all the same.
    let count = |unit| -> u64 {
        let said = tool::output("du", &["-sx", unit, path]);
        let text = String::from_utf8_lossy(&said.stdout);
        let word = text.split_whitespace().next();
        word.and_then(|word| word.parse().ok())
            .unwrap_or_else(|| panic!("du {path}: {said:?}"))
    };
    (count("--block-size=1"), count("--inodes"))
}

fn build(dir: &Path) -> Image {
    let tree = dir.join("tree");
    fs::create_dir_all(&tree).expect("directory");
    let (mut bytes, mut files) = (0, 0);
    let sources = sources();
    let last = sources.len() - 1;
    for (place, source) in sources.iter().enumerate() {
        if bytes >= CONTENT_MIN && files >= FILES_MIN {
            break;
        }
        if place != last && disk_usage(source).0 > PART_MAX {
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
        let (more_bytes, more_files) = disk_usage(&to);
        bytes += more_bytes;
        files += more_files;
    }
    assert!(
        bytes >= CONTENT_MIN,
        "only {bytes} bytes of files found on this machine"
    );
    assert!(
        files >= FILES_MIN,
        "only {files} files found on this machine"
    );
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
/// It cannot be made: too few files on this machine, no room, `mkfs.ext4` missing.
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
