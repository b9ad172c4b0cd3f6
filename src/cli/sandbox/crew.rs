//! The processes of a sandbox: one parent (`steadfast node run`) for each node, which starts the
//! node's daemon and starts it again when it dies.

use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use config::Role;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::describe::Description;
use super::ending::{self, Parent};
use super::ground::Ground;
use super::reason;
use crate::daemon::stop::Stop;

/// How long the first daemons may take to be started (not: to be ready).
const START_PATIENCE: Duration = Duration::from_secs(10);

/// What became of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Report {
    /// Its daemon runs again.
    Started {
        /// The node.
        name: String,
        /// The daemon.
        pid: u32,
    },
    /// Its daemon has ended; another will be started.
    Died {
        /// The node.
        name: String,
        /// The daemon that was.
        pid: u32,
    },
    /// Its parent has ended: it does not run any more.
    GaveUp {
        /// The node.
        name: String,
        /// Where it says why.
        log: PathBuf,
        /// What it says there last, or how it ended.
        why: String,
    },
}

/// What a parent says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Line {
    Pid(u32),
    Gone,
    End,
}

/// The running processes.
pub(super) struct Crew {
    parents: Vec<Child>,
    lines: mpsc::Receiver<(usize, Line)>,
    description: Description,
    dir: PathBuf,
    logs: Vec<Log>,
    /// Has said that it ends, and is waited for.
    ending: Option<usize>,
}

/// Where a node's messages go, and where those of this sandbox begin.
struct Log {
    path: PathBuf,
    begin: u64,
}

impl Crew {
    /// Starts every node, and returns when every daemon has been started once and `sandbox.json`
    /// says so.
    pub(super) async fn start(ground: &Ground, stop: &mut Stop) -> Result<Self, String> {
        let (sender, lines) = mpsc::channel(16);
        let mut crew = Self {
            parents: Vec::new(),
            lines,
            description: Description::new(ground),
            dir: ground.dir().to_owned(),
            logs: Vec::new(),
            ending: None,
        };
        let program =
            std::env::current_exe().map_err(|error| format!("this program's path: {error}"))?;
        for (index, config) in ground.nodes().iter().enumerate() {
            let log = ground.log_file(&config.node.name);
            let begin = std::fs::metadata(&log).map_or(0, |found| found.len());
            let mut parent = File::options()
                .create(true)
                .append(true)
                .open(&log)
                .and_then(|out| {
                    Command::new(&program)
                        .args(["node", "run", "--report", "--parent"])
                        .arg(std::process::id().to_string())
                        .arg("--config")
                        .arg(ground.config_file(&config.node.name))
                        .stdin(Stdio::null())
                        .stdout(Stdio::piped())
                        .stderr(out)
                        // Ctrl-C is for the sandbox, which then asks them.
                        .process_group(0)
                        .spawn()
                })
                .map_err(|error| format!("{}: {error}", config.node.name))?;
            let Some(pipe) = parent.stdout.take() else {
                return Err(format!("{}: no pipe", config.node.name));
            };
            let sender = sender.clone();
            tokio::spawn(async move {
                let mut pipe = BufReader::new(pipe).lines();
                while let Ok(Some(text)) = pipe.next_line().await {
                    if let Some(line) = parse(&text)
                        && sender.send((index, line)).await.is_err()
                    {
                        return;
                    }
                }
                // The crew is gone where this fails.
                let _ = sender.send((index, Line::End)).await;
            });
            crew.parents.push(parent);
            crew.logs.push(Log { path: log, begin });
        }
        if let Err(error) = crew.all_started().await {
            crew.stop(stop).await;
            return Err(error);
        }
        Ok(crew)
    }

    async fn all_started(&mut self) -> Result<(), String> {
        let wait = async {
            while self.description.nodes.iter().any(|node| node.pid == 0) {
                if let Report::GaveUp { name, log, .. } = self.report().await? {
                    let end = super::ground::tail(&log);
                    return Err(format!(
                        "{name} cannot run; the end of {}:\n{end}",
                        log.display()
                    ));
                }
            }
            Ok(())
        };
        match timeout(START_PATIENCE, wait).await {
            Ok(done) => done?,
            Err(_) => return Err("the daemons do not start".into()),
        }
        self.describe()
    }

    /// What runs where, now.
    pub(super) const fn description(&self) -> &Description {
        &self.description
    }

    /// What becomes of a node next; `sandbox.json` says it already.
    pub(super) async fn next(&mut self) -> Result<Report, String> {
        let report = self.report().await?;
        self.describe()?;
        Ok(report)
    }

    /// Safe to drop while it waits.
    async fn report(&mut self) -> Result<Report, String> {
        let (index, line) = match self.ending {
            Some(index) => (index, Line::End),
            None => self
                .lines
                .recv()
                .await
                .ok_or("every node has ended for good")?,
        };
        let node = &mut self.description.nodes[index];
        let name = node.name.clone();
        Ok(match line {
            Line::Pid(pid) => {
                node.pid = pid;
                node.running = true;
                Report::Started { name, pid }
            }
            Line::Gone => {
                node.running = false;
                Report::Died {
                    name,
                    pid: node.pid,
                }
            }
            Line::End => {
                // Before it waits: what is dropped goes on here.
                self.ending = Some(index);
                let status = self.parents[index].wait().await;
                self.ending = None;
                self.gave_up(index, status)
            }
        })
    }

    fn gave_up(&mut self, index: usize, status: io::Result<ExitStatus>) -> Report {
        let node = &mut self.description.nodes[index];
        node.running = false;
        let log = &self.logs[index];
        Report::GaveUp {
            name: node.name.clone(),
            log: log.path.clone(),
            why: match status {
                Ok(status) => reason::why(status, &log.path, log.begin),
                Err(error) => error.to_string(),
            },
        }
    }

    fn describe(&self) -> Result<(), String> {
        self.description
            .store(&self.dir)
            .map_err(|error| format!("{}: sandbox.json: {error}", self.dir.display()))
    }

    /// Asks every node to stop, and waits until all have; being asked once more by `stop`, it waits
    /// no longer. Witnesses stop first: with them, of two copies the one could still be taken out
    /// that merely stops a little sooner.
    pub(super) async fn stop(&mut self, stop: &mut Stop) {
        let mut groups = [Vec::new(), Vec::new()];
        for (process, node) in self.parents.drain(..).zip(&self.description.nodes) {
            let witness = node.role == Role::Witness.name();
            groups[usize::from(!witness)].push(Parent {
                name: node.name.clone(),
                process,
            });
        }
        ending::end(groups, stop).await;
        for node in &mut self.description.nodes {
            node.running = false;
        }
        if let Err(error) = self.describe() {
            complain!("steadfast: {error}");
        }
    }
}

fn parse(text: &str) -> Option<Line> {
    match text.split_once(' ') {
        Some(("pid", number)) => number.parse().ok().map(Line::Pid),
        None if text == "gone" => Some(Line::Gone),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_a_parent() {
        assert_eq!(parse("pid 12"), Some(Line::Pid(12)));
        assert_eq!(parse("gone"), Some(Line::Gone));
        for other in ["", "pid", "pid x", "pid -1", "gone 1", "hello"] {
            assert_eq!(parse(other), None, "{other}");
        }
    }
}
