//! The processes of a sandbox: one parent (`steadfast node run`) for each node, which starts the
//! node's daemon and starts it again when it dies.

use std::fs::File;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use config::Role;
use rustix::process::{Pid, Signal};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::describe::Description;
use super::ground::Ground;

/// Longer than a parent gives its daemon.
const STOP_PATIENCE: Duration = Duration::from_secs(20);
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
    logs: Vec<PathBuf>,
}

impl Crew {
    /// Starts every node, and returns when every daemon has been started once and `sandbox.json`
    /// says so.
    pub(super) async fn start(ground: &Ground) -> Result<Self, String> {
        let (sender, lines) = mpsc::channel(16);
        let mut crew = Self {
            parents: Vec::new(),
            lines,
            description: Description::new(ground),
            dir: ground.dir().to_owned(),
            logs: Vec::new(),
        };
        let program =
            std::env::current_exe().map_err(|error| format!("this program's path: {error}"))?;
        for (index, config) in ground.nodes().iter().enumerate() {
            let log = ground.log_file(&config.node.name);
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
            crew.logs.push(log);
        }
        if let Err(error) = crew.all_started().await {
            crew.stop().await;
            return Err(error);
        }
        Ok(crew)
    }

    async fn all_started(&mut self) -> Result<(), String> {
        let wait = async {
            while self.description.nodes.iter().any(|node| node.pid == 0) {
                if let Report::GaveUp { name, log } = self.report().await? {
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
        let (index, line) = self
            .lines
            .recv()
            .await
            .ok_or("every node has ended for good")?;
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
                node.running = false;
                Report::GaveUp {
                    name,
                    log: self.logs[index].clone(),
                }
            }
        })
    }

    fn describe(&self) -> Result<(), String> {
        self.description
            .store(&self.dir)
            .map_err(|error| format!("{}: sandbox.json: {error}", self.dir.display()))
    }

    /// Asks every node to stop, and waits until all have. Witnesses stop first: with them, of two
    /// copies the one could still be taken out that merely stops a little sooner.
    pub(super) async fn stop(&mut self) {
        let nodes = self.parents.drain(..).zip(&self.description.nodes);
        let (witnesses, storage): (Vec<_>, Vec<_>) =
            nodes.partition(|(_, node)| node.role == Role::Witness.name());
        for group in [witnesses, storage] {
            stop_all(group.into_iter().map(|(parent, _)| parent)).await;
        }
        for node in &mut self.description.nodes {
            node.running = false;
        }
        if let Err(error) = self.describe() {
            complain!("steadfast: {error}");
        }
    }
}

/// Asks them all at once, and waits until all have ended.
async fn stop_all(parents: impl Iterator<Item = Child>) {
    let mut ends = JoinSet::new();
    for mut parent in parents {
        let pid = parent
            .id()
            .and_then(|pid| i32::try_from(pid).ok())
            .and_then(Pid::from_raw);
        if let Some(pid) = pid {
            // It may have ended just now.
            let _ = rustix::process::kill_process(pid, Signal::TERM);
        }
        ends.spawn(async move {
            if timeout(STOP_PATIENCE, parent.wait()).await.is_err() {
                // Its daemon is killed with it.
                let _ = parent.kill().await;
            }
        });
    }
    while ends.join_next().await.is_some() {}
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
