//! The one validator: from the text of a file to a `Config`, or to everything that is wrong.

mod cluster;
mod nodes;
mod value;
mod volumes;

use std::ops::Range;
use std::path::Path;

pub use self::value::is_name;
use crate::model::Config;
use crate::problem::{ConfigError, Problem, line_of};
use crate::raw::RawConfig;

/// Longest path of a Unix socket (`sun_path`, less its end mark).
pub const SOCKET_PATH_MAX: usize = 107;

/// Checks a whole file; `base` is what relative paths begin at.
pub(crate) fn check(file: &Path, text: &str, base: &Path) -> Result<Config, ConfigError> {
    let mut check = Check {
        text,
        base,
        problems: Vec::new(),
    };
    let config = match toml::from_str::<RawConfig>(text) {
        Ok(raw) => check.config(&raw),
        Err(error) => {
            check.syntax(&error);
            None
        }
    };
    let mut problems = check.problems;
    match config {
        Some(config) if problems.is_empty() => Ok(config),
        _ => {
            problems.sort_by_key(|problem| problem.line);
            assert!(!problems.is_empty(), "a refused file has a reason");
            Err(ConfigError {
                file: file.to_owned(),
                problems,
            })
        }
    }
}

struct Check<'a> {
    text: &'a str,
    base: &'a Path,
    problems: Vec<Problem>,
}

impl Check<'_> {
    fn problem(&mut self, at: Range<usize>, what: impl Into<String>, right: impl Into<String>) {
        self.problems.push(Problem {
            line: Some(line_of(self.text, at.start)),
            what: what.into(),
            right: right.into(),
        });
    }

    fn syntax(&mut self, error: &toml::de::Error) {
        self.problems.push(Problem {
            line: error.span().map(|span| line_of(self.text, span.start)),
            what: error.message().trim().replace('\n', ", "),
            right: "see `steadfast config example` for a file that is right".into(),
        });
    }

    fn config(&mut self, raw: &RawConfig) -> Option<Config> {
        let cluster = self.cluster(raw.cluster.get_ref(), raw.cluster.span());
        let nodes = self.nodes(&raw.nodes);
        let node = self.this_node(&raw.node, &raw.nodes);
        let volumes = self.volumes(&raw.volumes, &raw.nodes);
        Some(Config {
            cluster: cluster?,
            node: node?,
            nodes: nodes?,
            volumes: volumes?,
        })
    }
}
