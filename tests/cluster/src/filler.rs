//! Files made up for an image, the same at every run, where a machine has too few of its own.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, symlink};
use std::path::Path;

/// Bytes and number of files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amount {
    /// Bytes of content, without holes.
    pub bytes: u64,
    /// Files, directories and links.
    pub files: u64,
}

impl Amount {
    /// Whether it is at least that much, in both.
    #[must_use]
    pub const fn reaches(self, least: Self) -> bool {
        self.bytes >= least.bytes && self.files >= least.files
    }
}

impl std::ops::AddAssign for Amount {
    fn add_assign(&mut self, more: Self) {
        self.bytes += more.bytes;
        self.files += more.files;
    }
}

/// Entries of one directory.
const SMALL_FILES: u64 = 200;
/// Most bytes of a small file.
const SMALL: u64 = 6000;
/// Most bytes of a large one.
const LARGE: u64 = 24 << 20;
/// Between the pieces of a sparse file.
const HOLE: u64 = 3 << 20;
/// Bytes of such a piece.
const PIECE: u64 = 16 << 10;

/// Makes up directories in `dir` until there is at least so much in them; gives how much there is.
///
/// Each has small files, one with holes, links to both, and a large file for the bytes that these
/// do not have: what is asked for is reached in both, and not passed by much in either.
///
/// # Errors
///
/// A file cannot be written.
pub fn fill(dir: &Path, least: Amount) -> io::Result<Amount> {
    let mut noise = Noise(0x9e37_79b9_7f4a_7c15);
    let mut made = Amount::default();
    let mut number = 0;
    while !made.reaches(least) {
        // A tree, not a row: ten in each.
        let dir = dir.join(format!("{}/{number}", number / 10));
        fs::create_dir_all(&dir)?;
        made.files += 1;
        let large = least.bytes.saturating_sub(made.bytes).min(LARGE);
        let missing = least.files.saturating_sub(made.files).min(SMALL_FILES);
        made += small_files(&dir, missing, &mut noise)?;
        made += sparse_file(&dir, &mut noise)?;
        made += links(&dir)?;
        if large > 0 {
            made += large_file(&dir, large, &mut noise)?;
        }
        number += 1;
    }
    Ok(made)
}

fn small_files(dir: &Path, count: u64, noise: &mut Noise) -> io::Result<Amount> {
    let mut made = Amount::default();
    for number in 0..count {
        // Empty ones are files too.
        let bytes = noise.below(SMALL);
        fs::write(
            dir.join(format!("small-{number:03}")),
            noise.bytes(bytes as usize),
        )?;
        made += Amount { bytes, files: 1 };
    }
    Ok(made)
}

fn sparse_file(dir: &Path, noise: &mut Noise) -> io::Result<Amount> {
    let file = File::create(dir.join("sparse"))?;
    let pieces = 1 + noise.below(4);
    for piece in 0..pieces {
        let at = (piece + 1) * HOLE + noise.below(HOLE - PIECE);
        file.write_all_at(&noise.bytes(PIECE as usize), at)?;
    }
    // It ends with a hole.
    file.set_len((pieces + 2) * HOLE)?;
    Ok(Amount {
        bytes: pieces * PIECE,
        files: 1,
    })
}

fn links(dir: &Path) -> io::Result<Amount> {
    symlink("sparse", dir.join("link"))?;
    symlink("..", dir.join("up"))?;
    symlink("nothing/there", dir.join("dangling"))?;
    Ok(Amount { bytes: 0, files: 3 })
}

fn large_file(dir: &Path, bytes: u64, noise: &mut Noise) -> io::Result<Amount> {
    let mut file = File::create(dir.join("large"))?;
    let mut left = bytes;
    while left > 0 {
        let some = left.min(1 << 20);
        file.write_all(&noise.bytes(some as usize))?;
        left -= some;
    }
    Ok(Amount { bytes, files: 1 })
}

/// Numbers that look random, always the same ones.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, end: u64) -> u64 {
        (self.next() >> 8) % end
    }

    fn bytes(&mut self, len: usize) -> Vec<u8> {
        let words = std::iter::repeat_with(|| self.next().to_le_bytes());
        let mut bytes: Vec<u8> = words.take(len.div_ceil(8)).flatten().collect();
        bytes.truncate(len);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::os::unix::fs::MetadataExt;
    use std::path::PathBuf;

    use super::*;

    /// Everything below a directory: what a file or link holds, none for a directory.
    fn tree(dir: &Path) -> BTreeMap<PathBuf, Option<Vec<u8>>> {
        let mut found = BTreeMap::new();
        let mut ahead = vec![dir.to_owned()];
        while let Some(next) = ahead.pop() {
            for entry in fs::read_dir(next).expect("directory") {
                let path = entry.expect("entry").path();
                let content = if path.is_symlink() {
                    let target = fs::read_link(&path).expect("link");
                    Some(target.into_os_string().into_encoded_bytes())
                } else if path.is_dir() {
                    ahead.push(path.clone());
                    None
                } else {
                    Some(fs::read(&path).expect("file"))
                };
                let name = path.strip_prefix(dir).expect("below it").to_owned();
                found.insert(name, content);
            }
        }
        found
    }

    fn filled(least: Amount) -> (tempfile::TempDir, Amount) {
        let dir = tempfile::tempdir().expect("directory");
        let made = fill(dir.path(), least).expect("room");
        assert!(made.reaches(least), "{made:?} of {least:?}");
        (dir, made)
    }

    #[test]
    fn what_is_asked_for_is_reached_and_not_passed_by_much() {
        for (bytes, files) in [(0, 0), (1, 0), (0, 1), (40 << 20, 3), (100_000, 1000)] {
            let (dir, made) = filled(Amount { bytes, files });
            // Of the last directory: its links and sparse file, and what its small files hold.
            let spare = SMALL_FILES * SMALL + files * SMALL + 4 * PIECE;
            assert!(made.bytes <= bytes + spare, "{made:?} of {bytes}");
            assert!(made.files <= files + files / 20 + 12, "{made:?} of {files}");
            let tree = tree(dir.path());
            // Beside those that were counted there are the directories of ten.
            let parents = tree.keys().filter(|path| path.components().count() == 1);
            assert_eq!(tree.len() - parents.count(), made.files as usize);
        }
    }

    #[test]
    fn there_is_some_of_everything_and_it_is_the_same_again() {
        let least = Amount {
            bytes: 3 << 20,
            files: 500,
        };
        let (first, made) = filled(least);
        let (second, again) = filled(least);
        assert_eq!(made, again);
        let tree_of_first = tree(first.path());
        assert!(tree_of_first == tree(second.path()));
        let small = |path: &&PathBuf| path.to_string_lossy().contains("small-");
        assert!(tree_of_first.keys().filter(small).count() > 400);
        let links = tree_of_first
            .keys()
            .filter(|path| first.path().join(path).is_symlink());
        assert!(links.count() > 3);
        let sparse = fs::metadata(first.path().join("0/0/sparse")).expect("a sparse file");
        assert!(sparse.blocks() * 512 < sparse.size() / 2, "{sparse:?}");
        let contents: Vec<_> = tree_of_first.values().flatten().collect();
        assert!(contents.iter().map(|content| content.len()).max() > Some(2 << 20));
    }
}
