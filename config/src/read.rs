//! Reading a file that a person named.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// Most bytes that are read: a device that never ends is named by mistake.
const MAX: u64 = 1 << 20;

/// The whole file, which must be text.
pub(crate) fn text(file: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(file)?.take(MAX + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MAX {
        let why = format!("it has more than {MAX} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, why));
    }
    Ok(text)
}
