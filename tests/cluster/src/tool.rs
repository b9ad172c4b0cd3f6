//! Programs: the one under test and those that test it.

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

/// The `steadfast` binary that was built together with this test.
///
/// # Panics
///
/// It has not been built: `cargo build` (with the same profile) does.
#[must_use]
pub fn steadfast() -> PathBuf {
    let mut path = std::env::current_exe().expect("own path");
    path.pop();
    if path.ends_with("deps") {
        path.pop();
    }
    path.push("steadfast");
    assert!(
        path.exists(),
        "{} is missing: build the workspace first",
        path.display()
    );
    path
}

/// Runs a program to its end.
///
/// # Panics
///
/// It cannot be started or fails; the message has its output.
pub fn run(program: &str, args: &[&str]) -> String {
    let output = output(program, args);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{program} {args:?}: {}\n{text}{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    text
}

/// Runs a program to its end and returns what it said.
///
/// # Panics
///
/// It cannot be started.
pub fn output(program: &str, args: &[&str]) -> Output {
    Command::new(program)
        .args(args)
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("{program}: {error} (tests/run installs what is needed)"))
}

/// What a command said, and how it ended.
#[derive(Clone, Debug)]
pub struct Said {
    /// Exit code; none where a signal ended it.
    pub code: Option<i32>,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub error: String,
}

impl Said {
    /// Runs the command to its end.
    ///
    /// # Panics
    ///
    /// It cannot be started.
    pub fn by(command: &mut Command) -> Self {
        let output = command
            .stdin(Stdio::null())
            .env_remove("STEADFAST_API")
            .output()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        Self {
            code: output.status.code(),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            error: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Panics unless it ended with this code and said these words on the standard output.
    ///
    /// # Panics
    ///
    /// It did not; the message has what it said.
    #[track_caller]
    pub fn tells(&self, code: i32, words: &[&str]) {
        assert_eq!(self.code, Some(code), "{}{}", self.out, self.error);
        for word in words {
            assert!(self.out.contains(word), "no \"{word}\" in: {}", self.out);
        }
    }

    /// Panics unless it ended with this code and said these words on the standard error.
    ///
    /// # Panics
    ///
    /// It did not; the message has what it said.
    #[track_caller]
    pub fn refuses(&self, code: i32, words: &[&str]) {
        assert_eq!(self.code, Some(code), "{}{}", self.out, self.error);
        for word in words {
            assert!(
                self.error.contains(word),
                "no \"{word}\" in: {}",
                self.error
            );
        }
    }
}
