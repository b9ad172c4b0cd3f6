//! Reading a file that a person named.

use std::fs::{self, File, FileType};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

/// Most bytes that are read: a device that never ends is named by mistake.
const MAX: u64 = 1 << 20;
/// Most links that are followed by hand, as the system does.
const LINKS: usize = 40;

/// The whole file, which must be text.
pub(crate) fn text(file: &Path) -> io::Result<String> {
    if let Some(kind) = endless(file, fs::metadata(file)?.file_type()) {
        let why = format!("it is {kind}, not a regular file");
        return Err(io::Error::new(ErrorKind::InvalidInput, why));
    }
    let mut bytes = Vec::new();
    File::open(file)?.take(MAX + 1).read_to_end(&mut bytes)?;
    let whole = bytes.len() as u64 <= MAX;
    match String::from_utf8(bytes) {
        Ok(text) if whole => Ok(text),
        // The end of what is too long may be in the middle of a character.
        Err(error) if whole || error.utf8_error().error_len().is_some() => {
            let at = error.utf8_error().valid_up_to();
            let why = format!("it is not text: byte {at} is not UTF-8");
            Err(io::Error::new(ErrorKind::InvalidData, why))
        }
        _ => {
            let why = format!("it has more than {MAX} bytes");
            Err(io::Error::new(ErrorKind::FileTooLarge, why))
        }
    }
}

/// What a file is that may keep whoever opens or reads it for ever; none where it does not, or was
/// opened by whoever started this process (`/dev/stdin`, `<(...)` of a shell).
fn endless(file: &Path, kind: FileType) -> Option<&'static str> {
    let kind = if kind.is_fifo() {
        "a named pipe"
    } else if kind.is_socket() {
        "a socket"
    } else if kind.is_char_device() {
        "a device"
    } else {
        return None;
    };
    (!is_open_here(file)).then_some(kind)
}

/// Whether the path leads to one of this process's own descriptors. Links are followed one by one:
/// the last one, from the descriptor to what it stands for, would tell nothing any more.
fn is_open_here(file: &Path) -> bool {
    let own = PathBuf::from(format!("/proc/{}/fd", std::process::id()));
    let mut path = file.to_owned();
    for _ in 0..LINKS {
        let dir = match path.parent() {
            Some(dir) if dir != Path::new("") => dir,
            _ => Path::new("."),
        };
        let Ok(dir) = fs::canonicalize(dir) else {
            return false;
        };
        if dir == own {
            return true;
        }
        let Ok(next) = fs::read_link(&path) else {
            return false;
        };
        path = dir.join(next);
    }
    false
}
