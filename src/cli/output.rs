//! The standard output: where every command writes what it was asked for.

use std::fmt::Display;
use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;

use super::fail;

/// Writes all of `text`, and says whether somebody still reads: a reader that has gone (as `head`
/// does) has what it wanted, so that is no error.
pub(super) fn write(text: impl Display) -> Result<bool, String> {
    let mut out = io::stdout().lock();
    judge(write!(out, "{text}").and_then(|()| out.flush()))
}

/// What became of something that was written on the standard output, as `write` says it.
pub(super) fn judge(written: io::Result<()>) -> Result<bool, String> {
    match written {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(format!("the standard output cannot be written: {error}")),
    }
}

/// Ends a command by the text that it was asked for, and a line's end: with `code`, or with
/// `failed` where the text could not be written.
pub(super) fn finish(text: impl Display, code: u8, failed: u8) -> ExitCode {
    match write(format_args!("{text}\n")) {
        Ok(_) => ExitCode::from(code),
        Err(error) => fail(failed, error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_that_has_gone_is_no_error() {
        assert_eq!(judge(Ok(())), Ok(true));
        assert_eq!(judge(Err(ErrorKind::BrokenPipe.into())), Ok(false));
        let full = judge(Err(ErrorKind::StorageFull.into())).unwrap_err();
        assert!(full.starts_with("the standard output"), "{full}");
    }
}
