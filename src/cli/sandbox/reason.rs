//! Why a node does not run any more, as its process and its log tell.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::ExitStatus;

use crate::daemon::exit;

/// In a few words or lines. The log counts from this byte on: what stands before is of an earlier
/// sandbox.
pub(super) fn why(status: ExitStatus, log: &Path, from: u64) -> String {
    if let Some(signal) = status.signal() {
        return format!("its `steadfast node run` was killed by signal {signal}");
    }
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    if code == Some(exit::STOPPED) {
        return "somebody asked its `steadfast node run` to stop".into();
    }
    let text = since(log, from).unwrap_or_default();
    // What is in the way is said by each try, and at last that there were enough.
    let count = if code == Some(exit::BUSY) { 2 } else { 1 };
    let errors = errors(&text);
    match errors.get(errors.len().saturating_sub(count)..) {
        Some(last) if !last.is_empty() => last.join("; "),
        _ => format!("its `steadfast node run` has ended ({status})"),
    }
}

fn since(log: &Path, from: u64) -> io::Result<String> {
    let mut file = File::open(log)?;
    file.seek(SeekFrom::Start(from))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The messages of a log that are errors, without their times; some have several lines.
fn errors(text: &str) -> Vec<String> {
    let mut errors = Vec::new();
    let mut within = false;
    for line in text.lines() {
        let begun = begin(line);
        match begun {
            Some((true, message)) => errors.push(message.to_owned()),
            None if within => {
                if let Some(last) = errors.last_mut() {
                    last.push('\n');
                    last.push_str(line);
                }
            }
            _ => {}
        }
        within = begun.map_or(within, |(error, _)| error);
    }
    errors
}

/// Whether a message begins here: whether it is an error, and its text.
fn begin(line: &str) -> Option<(bool, &str)> {
    if let Some(message) = line.strip_prefix("steadfast: ") {
        return Some((true, message));
    }
    // A panic has no time and no level.
    if line.starts_with("thread '") {
        return Some((true, line));
    }
    let (_time, rest) = line.split_once(' ')?;
    let (level, message) = rest.trim_start().split_once(' ')?;
    match level {
        "ERROR" => Some((true, message)),
        "WARN" | "INFO" | "DEBUG" | "TRACE" => Some((false, message)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "\
2026-01-01T00:00:00.1Z ERROR of an earlier run
2026-01-01T00:00:01.1Z  INFO this node is up
2026-01-01T00:00:02.1Z ERROR n1/data.store: damaged
by somebody
2026-01-01T00:00:03.1Z  WARN the daemon ended (exit status: 78)
not of an error
";

    fn ended(code: i32, from: usize) -> String {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), LOG).unwrap();
        why(ExitStatus::from_raw(code << 8), file.path(), from as u64)
    }

    #[test]
    fn the_last_error_is_the_reason() {
        assert_eq!(ended(78, 0), "n1/data.store: damaged\nby somebody");
        assert_eq!(
            ended(75, 0),
            "of an earlier run; n1/data.store: damaged\nby somebody"
        );
        let after = LOG.find("2026-01-01T00:00:03").unwrap();
        assert_eq!(
            ended(1, after),
            "its `steadfast node run` has ended (exit status: 1)"
        );
        assert!(ended(0, 0).contains("asked"));
        let killed = ExitStatus::from_raw(9);
        assert!(why(killed, Path::new("/no/such/log"), 0).contains("signal 9"));
    }

    #[test]
    fn a_configuration_that_is_refused_has_its_lines() {
        let text = "steadfast: bad configuration\nc.toml:3: wrong; right\n";
        assert_eq!(errors(text), ["bad configuration\nc.toml:3: wrong; right"]);
        assert_eq!(
            errors("thread 'main' panicked at x:\nmessage").len(),
            1,
            "a panic"
        );
        assert!(errors("hello\n\nyou").is_empty());
    }
}
