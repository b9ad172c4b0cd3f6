//! A sandbox cluster: `steadfast sandbox` as a child process, read through `sandbox.json`.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;
use serde_json::Value;

use crate::tool::{self, Said};
use crate::{cut, processes, wait_for};

/// One node, as `sandbox.json` has it.
#[derive(Clone, Debug, Deserialize)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// `storage` or `witness`.
    pub role: String,
    /// The daemon that serves, not its parent.
    pub pid: i32,
    /// NBD URI on that node.
    pub nbd: String,
    /// Its loopback address.
    pub address: String,
    /// Control interface.
    pub api: String,
    /// Its configuration file.
    pub config: PathBuf,
    /// Its directory.
    pub dir: PathBuf,
}

impl Node {
    /// Address of its NBD server.
    ///
    /// # Panics
    ///
    /// The URI is not `nbd://ADDRESS[:PORT]/NAME`.
    #[must_use]
    pub fn nbd_address(&self) -> SocketAddr {
        let rest = self.nbd.strip_prefix("nbd://").expect("an nbd:// URI");
        let host = rest.split('/').next().expect("a host");
        let host = if host.contains(':') {
            host.to_owned()
        } else {
            format!("{host}:10809")
        };
        host.parse().expect("an address")
    }
}

#[derive(Deserialize)]
struct Description {
    /// Of the sandbox that has written it.
    pid: u32,
    volume: Value,
    nodes: Vec<Node>,
}

/// A running sandbox; dropping it stops every process.
pub struct Sandbox {
    /// Its directory.
    pub dir: PathBuf,
    child: Child,
    /// How much earlier runs in this directory had said.
    said_before: usize,
}

impl Sandbox {
    /// Starts one in `dir` and waits until it is healthy and has said so: until then, a node that
    /// cannot run ends it.
    ///
    /// # Panics
    ///
    /// It does not come up within a minute; the message has its log.
    #[must_use]
    pub fn start(dir: &Path, args: &[&str]) -> Self {
        let sandbox = Self::launch(dir, args);
        sandbox.wait_healthy(Duration::from_secs(60));
        wait_for("the sandbox to say so", Duration::from_secs(60), || {
            let said = sandbox.said();
            let new = said.get(sandbox.said_before..)?;
            new.contains("Ctrl-C stops everything").then_some(())
        });
        sandbox
    }

    /// Starts one and waits only for `sandbox.json` and daemons with a control interface.
    ///
    /// # Panics
    ///
    /// As `start`.
    #[must_use]
    pub fn launch(dir: &Path, args: &[&str]) -> Self {
        cut::heal_leftovers();
        fs::create_dir_all(dir).expect("directory");
        let log = dir.with_extension("log");
        let said_before = fs::read(&log).map_or(0, |said| said.len());
        let output = File::options()
            .create(true)
            .append(true)
            .open(&log)
            .expect("log");
        let child = Command::new(tool::steadfast())
            .args(["sandbox", "--dir"])
            .arg(dir)
            .args(args)
            .stdin(Stdio::null())
            .stdout(output.try_clone().expect("log"))
            .stderr(output)
            .spawn()
            .expect("steadfast sandbox");
        let mut sandbox = Self {
            dir: dir.to_owned(),
            child,
            said_before,
        };
        wait_for("sandbox.json", Duration::from_secs(60), || {
            if let Ok(Some(status)) = sandbox.child.try_wait() {
                panic!(
                    "the sandbox ended: {status}\n{}",
                    fs::read_to_string(&log).unwrap_or_default()
                );
            }
            let found = sandbox.description()?;
            // Not that of an earlier run.
            let ready = found.pid == sandbox.child.id()
                && (found.nodes.iter()).all(|node| node.dir.join("api.sock").exists());
            ready.then_some(())
        });
        sandbox
    }

    fn description(&self) -> Option<Description> {
        let text = fs::read_to_string(self.dir.join("sandbox.json")).ok()?;
        serde_json::from_str(&text).ok()
    }

    fn try_nodes(&self) -> Option<Vec<Node>> {
        self.description().map(|description| description.nodes)
    }

    /// The nodes as of now (pids change when daemons restart).
    ///
    /// # Panics
    ///
    /// `sandbox.json` is missing or broken.
    #[must_use]
    pub fn nodes(&self) -> Vec<Node> {
        self.try_nodes().expect("sandbox.json")
    }

    /// The volume's name.
    ///
    /// # Panics
    ///
    /// As `nodes`.
    #[must_use]
    pub fn volume(&self) -> String {
        let volume = self.description().expect("sandbox.json").volume;
        volume
            .as_str()
            .or_else(|| volume["name"].as_str())
            .expect("a name")
            .to_owned()
    }

    /// The node of that name.
    ///
    /// # Panics
    ///
    /// There is none.
    #[must_use]
    pub fn node(&self, name: &str) -> Node {
        self.nodes()
            .into_iter()
            .find(|node| node.name == name)
            .expect("a node of that name")
    }

    /// `steadfast status --json` as seen by `node`; none while its daemon is down.
    #[must_use]
    pub fn status(&self, node: &Node) -> Option<Value> {
        let path = node.dir.join("api.sock");
        let output = Command::new(tool::steadfast())
            .args(["status", "--json", "--api"])
            .arg(path)
            .stdin(Stdio::null())
            .output()
            .ok()?;
        serde_json::from_slice(&output.stdout).ok()
    }

    /// Exit code of `steadfast status`: 0 only if every running node says so.
    #[must_use]
    pub fn status_code(&self) -> i32 {
        let codes = self.nodes().into_iter().map(|node| {
            Command::new(tool::steadfast())
                .args(["status", "--json", "--api"])
                .arg(node.dir.join("api.sock"))
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status()
                .ok()
                .and_then(|status| status.code())
                .unwrap_or(-1)
        });
        codes.fold(0, |worst, code| {
            if code < 0 || worst < 0 {
                -1
            } else {
                worst.max(code)
            }
        })
    }

    /// Waits until every node says that all is well.
    ///
    /// # Panics
    ///
    /// `patience` is over; the message has the status as each node sees it.
    pub fn wait_healthy(&self, patience: Duration) {
        let start = std::time::Instant::now();
        while self.status_code() != 0 {
            if start.elapsed() > patience {
                let seen: Vec<_> = self
                    .nodes()
                    .iter()
                    .map(|node| format!("{}: {:#?}", node.name, self.status(node)))
                    .collect();
                panic!("not healthy after {patience:?}:\n{}", seen.join("\n"));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Waits until every node says that all is well and that `name` is primary. One that was late
    /// would name another one for a moment.
    ///
    /// # Panics
    ///
    /// `patience` is over.
    pub fn wait_primary(&self, name: &str, patience: Duration) {
        wait_for("all nodes to agree on the primary", patience, || {
            self.agrees_on(name).then_some(())
        });
    }

    /// As `wait_primary`, but where another one is primary the volume is handed over.
    ///
    /// # Panics
    ///
    /// `patience` is over.
    pub fn make_primary(&self, name: &str, patience: Duration) {
        wait_for("the volume to be handed over", patience, || {
            if self.agrees_on(name) {
                return Some(());
            }
            // Refused while the node is not in sync, and tried again.
            let _asked = self.ask(&["volume", "promote", name]);
            None
        });
    }

    fn agrees_on(&self, primary: &str) -> bool {
        self.nodes().iter().all(|node| {
            self.status(node).is_some_and(|status| {
                status["health"] == "healthy" && status["volumes"][0]["primary"] == primary
            })
        })
    }

    /// Name of the primary, as any live node knows it.
    #[must_use]
    pub fn primary(&self) -> Option<String> {
        self.nodes().iter().find_map(|node| {
            self.status(node)?["volumes"][0]["primary"]
                .as_str()
                .map(str::to_owned)
        })
    }

    /// The primary and the other storage node. Waits for both.
    ///
    /// # Panics
    ///
    /// There is no primary within half a minute.
    #[must_use]
    pub fn pair(&self) -> (Node, Node) {
        let name = wait_for("a primary", Duration::from_secs(30), || self.primary());
        let other = self
            .nodes()
            .into_iter()
            .find(|node| node.role == "storage" && node.name != name)
            .expect("a second storage node");
        (self.node(&name), other)
    }

    /// The file that holds a storage node's copy of the volume.
    ///
    /// # Panics
    ///
    /// There is none.
    #[must_use]
    pub fn store(&self, node: &Node) -> PathBuf {
        let files = fs::read_dir(&node.dir).expect("node directory");
        files
            .map(|entry| entry.expect("entry").path())
            .filter(|path| path.is_file())
            .max_by_key(|path| fs::metadata(path).map(|found| found.len()).unwrap_or(0))
            .expect("a store")
    }

    /// The witness.
    ///
    /// # Panics
    ///
    /// There is none.
    #[must_use]
    pub fn witness(&self) -> Node {
        self.nodes()
            .into_iter()
            .find(|node| node.role == "witness")
            .expect("a witness")
    }

    /// Process id of the sandbox itself.
    #[must_use]
    pub fn pid(&self) -> i32 {
        Pid::from_child(&self.child).as_raw_nonzero().get()
    }

    /// Kills a node with its parent: nobody starts it again.
    ///
    /// # Panics
    ///
    /// It does not run, or does not end within a minute.
    pub fn kill_for_good(&self, node: &Node) {
        let daemon = || {
            let mut all = processes::all().into_iter();
            all.find(|process| process.pid == node.pid && process.state != 'Z')
        };
        let parent = daemon().and_then(|daemon| Pid::from_raw(daemon.parent));
        kill_process(parent.expect("a parent"), Signal::KILL).expect("kill");
        wait_for("the daemon to end", Duration::from_secs(60), || {
            daemon().is_none().then_some(())
        });
    }

    /// Sends it a signal and waits for its end.
    ///
    /// # Panics
    ///
    /// It does not end within a minute.
    pub fn end_by(&mut self, signal: Signal) -> ExitStatus {
        kill_process(Pid::from_child(&self.child), signal).expect("kill");
        wait_for("the sandbox to end", Duration::from_secs(60), || {
            self.child.try_wait().expect("wait")
        })
    }

    /// Runs `steadfast` with these arguments and `--dir` of this sandbox.
    ///
    /// # Panics
    ///
    /// It does not start.
    pub fn ask(&self, args: &[&str]) -> Said {
        let mut command = Command::new(tool::steadfast());
        command.args(args).arg("--dir").arg(&self.dir);
        Said::by(&mut command)
    }

    /// Everything that it has said on both outputs since it was made.
    #[must_use]
    pub fn said(&self) -> String {
        fs::read_to_string(self.dir.with_extension("log")).unwrap_or_default()
    }

    /// Stops everything with SIGTERM and waits for it.
    ///
    /// # Panics
    ///
    /// It does not end within a minute.
    pub fn stop(&mut self) {
        let pid = Pid::from_child(&self.child);
        if self.child.try_wait().expect("wait").is_none() {
            kill_process(pid, Signal::TERM).expect("kill");
            wait_for("the sandbox to end", Duration::from_secs(60), || {
                self.child.try_wait().expect("wait")
            });
        }
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        for node in self.try_nodes().unwrap_or_default() {
            // A daemon that a failed test left stopped could not end.
            if let Some(pid) = Pid::from_raw(node.pid) {
                let _gone = kill_process(pid, Signal::CONT);
            }
        }
        if std::thread::panicking() {
            eprintln!("left as it was for a look: {}", self.dir.display());
        }
        self.stop();
    }
}

/// Sends a signal to a node's daemon.
///
/// # Panics
///
/// There is no such process.
pub fn signal(node: &Node, signal: Signal) {
    kill_process(Pid::from_raw(node.pid).expect("a pid"), signal).expect("kill");
}
