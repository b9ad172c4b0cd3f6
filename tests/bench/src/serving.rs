//! A system that runs.

use std::fs::{self, File};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::Fault;
use crate::sandbox::Watch;
use crate::system::System;

/// How long a server may take to come up or to end.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A process of ours; ended when dropped.
#[derive(Debug)]
pub struct Server {
    child: Child,
    /// What it printed.
    log: PathBuf,
}

impl Server {
    /// Starts `command`, with its output going to the file `log`.
    pub fn start(mut command: Command, log: &Path) -> Result<Self, Fault> {
        let fault = |error| format!("{}: {error}", command.get_program().display());
        let output = File::create(log).map_err(fault)?;
        let errors = output.try_clone().map_err(fault)?;
        let started = command
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            .spawn();
        let child =
            started.map_err(|error| format!("{}: {error}", command.get_program().display()))?;
        Ok(Self {
            child,
            log: log.to_owned(),
        })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until `ready` has something, while the process lives.
    pub fn wait<T>(&mut self, mut ready: impl FnMut() -> Result<T, Fault>) -> Result<T, Fault> {
        let begin = Instant::now();
        loop {
            if let Ok(Some(status)) = self.child.try_wait() {
                let log = fs::read_to_string(&self.log).unwrap_or_default();
                return Err(format!("the server has ended ({status}): {}", log.trim()));
            }
            match ready() {
                Ok(value) => return Ok(value),
                Err(fault) if begin.elapsed() > PATIENCE => {
                    let log = fs::read_to_string(&self.log).unwrap_or_default();
                    return Err(format!(
                        "not ready after {PATIENCE:?}: {fault}; {}",
                        log.trim()
                    ));
                }
                Err(_) => std::thread::sleep(Duration::from_millis(100)),
            }
        }
    }

    /// Waits until it listens on `socket`.
    pub fn wait_for_socket(&mut self, socket: &Path) -> Result<(), Fault> {
        self.wait(|| {
            let connected = UnixStream::connect(socket);
            connected
                .map(drop)
                .map_err(|error| format!("{}: {error}", socket.display()))
        })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Asked first: a sandbox ends its nodes, then itself.
        let pid = Pid::from_child(&self.child);
        let begin = Instant::now();
        let asked = kill_process(pid, Signal::INT).is_ok();
        while asked && begin.elapsed() < PATIENCE {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        // Nothing more can be done about a process that cannot be killed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A system that serves its volume.
#[derive(Debug)]
pub struct Serving {
    system: System,
    uri: String,
    /// The one the client speaks to first; they end in this order.
    servers: Vec<Server>,
    /// How to see that one of ours is still what it should be.
    watch: Option<Watch>,
}

impl Serving {
    /// A system whose `servers` run.
    pub fn new(system: System, uri: String, servers: Vec<Server>, watch: Option<Watch>) -> Self {
        Self {
            system,
            uri,
            servers,
            watch,
        }
    }

    /// Which it is.
    pub fn system(&self) -> System {
        self.system
    }

    /// Where its volume is served.
    pub fn uri(&self) -> &str {
        &self.uri
    }

    /// The processes all of whose descendants serve, too.
    pub fn pids(&self) -> Vec<u32> {
        self.servers.iter().map(Server::pid).collect()
    }

    /// Waits until it is at rest and as redundant as it can be.
    pub fn settle(&self) -> Result<(), Fault> {
        let Some(watch) = &self.watch else {
            return Ok(());
        };
        let begin = Instant::now();
        while let Err(fault) = watch.check() {
            if begin.elapsed() > PATIENCE {
                return Err(fault);
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        Ok(())
    }

    /// Says what has changed since the start that makes a measurement worthless.
    pub fn check(&self) -> Result<(), Fault> {
        self.watch.as_ref().map_or(Ok(()), Watch::check)
    }
}
