//! What is wrong with a file, where, and what would be right.

use std::fmt;
use std::io::{Error, ErrorKind};
use std::path::{Path, PathBuf};

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Line, from 1; none where it is about the file as a whole.
    pub line: Option<usize>,
    /// What is wrong.
    pub what: String,
    /// What would be right.
    pub right: String,
}

/// Everything that is wrong with a configuration file; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// The file, as it was named.
    pub file: PathBuf,
    /// In the order of lines.
    pub problems: Vec<Problem>,
}

impl ConfigError {
    /// The file could not be read.
    pub(crate) fn unreadable(file: &Path, error: &Error) -> Self {
        let right = match error.kind() {
            // It may be read, and is none.
            ErrorKind::InvalidData | ErrorKind::InvalidInput | ErrorKind::FileTooLarge => {
                "name a configuration file, such as `steadfast config example` shows"
            }
            _ => "name a configuration file that this user may read",
        };
        Self {
            file: file.to_owned(),
            problems: vec![Problem {
                line: None,
                what: format!("cannot be read: {error}"),
                right: right.into(),
            }],
        }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, problem) in self.problems.iter().enumerate() {
            if i > 0 {
                writeln!(f)?;
            }
            write!(f, "{}", self.file.display())?;
            if let Some(line) = problem.line {
                write!(f, ":{line}")?;
            }
            write!(f, ": {}", problem.what)?;
            if !problem.right.is_empty() {
                write!(f, "; {}", problem.right)?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}

/// Line, from 1, of a byte offset.
pub(crate) fn line_of(text: &str, offset: usize) -> usize {
    let end = offset.min(text.len());
    1 + text.as_bytes()[..end]
        .iter()
        .filter(|byte| **byte == b'\n')
        .count()
}
