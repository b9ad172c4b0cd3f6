//! The parent of a daemon: starts it, waits for it, tells the cluster at once when it has died, and
//! starts it again.
//!
//! May not know: what the daemon does. It reads the incarnations that the child writes on its
//! standard output and how the child ends, nothing else.

use std::ffi::OsString;
use std::io::{self, Write};
use std::net::{SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use config::Config;
use rustix::process::{Pid, Signal};
use tokio::io::AsyncReadExt;
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::{sleep, timeout};

use super::exit;
use super::stop::Stop;
use crate::member::io::DeathNotice;
use crate::types::{Incarnation, NodeId};
use crate::wire::key::ClusterKey;
use crate::wire::seal::{Kind, OVERHEAD, Seal};

/// Before a daemon that died is started again.
const RESTART_DELAY: Duration = Duration::from_secs(1);
/// How long a daemon that was asked to stop may take to hand its volumes over.
const STOP_PATIENCE: Duration = Duration::from_secs(15);
/// Tries in a row that may end in `exit::BUSY`: the writes of a run that was killed, and the
/// sockets that they use, are gone long before.
const BUSY_TRIES: u32 = 10;
/// When copies of a death notice are sent: datagrams get lost, and a peer may be busy.
const NOTICE_COPIES: [Duration; 5] = [
    Duration::ZERO,
    Duration::from_millis(2),
    Duration::from_millis(10),
    Duration::from_millis(50),
    Duration::from_millis(250),
];
const DEATH_NOTICE_BYTES: usize = 64;

/// What a parent is told beside the configuration.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Say on the standard output, a line each, `pid N` when a daemon was started and `gone` when
    /// it has ended and another will be.
    pub report: bool,
}

/// Runs the daemon of this configuration until it is asked to stop, or cannot run. The exit code
/// is 0 or one of `exit`.
///
/// # Errors
/// The system refuses what a parent needs.
pub fn run(file: &Path, config: &Config, options: Options) -> io::Result<u8> {
    // One thread: the child's death signal is tied to the thread that started it.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let daemon = Daemon::of(file)?;
        Supervisor::new(config, daemon, options)?.run().await
    })
}

/// What is started.
struct Daemon {
    program: PathBuf,
    arguments: Vec<OsString>,
    restart_delay: Duration,
}

impl Daemon {
    /// This program, with this configuration and this process as its parent.
    fn of(file: &Path) -> io::Result<Self> {
        Ok(Self {
            program: std::env::current_exe()?,
            arguments: vec![
                "node".into(),
                "daemon".into(),
                "--parent".into(),
                std::process::id().to_string().into(),
                "--config".into(),
                std::path::absolute(file)?.into(),
            ],
            restart_delay: RESTART_DELAY,
        })
    }
}

struct Supervisor {
    daemon: Daemon,
    herald: Herald,
    options: Options,
    stop: Stop,
}

/// How a run of the daemon ended.
struct End {
    /// As the system says.
    status: ExitStatus,
    /// A person asked for it.
    asked: bool,
}

impl Supervisor {
    fn new(config: &Config, daemon: Daemon, options: Options) -> io::Result<Self> {
        Ok(Self {
            daemon,
            herald: Herald::new(config)?,
            options,
            stop: Stop::new()?,
        })
    }

    async fn run(&mut self) -> io::Result<u8> {
        let mut busy = 0;
        loop {
            let end = self.once().await?;
            if end.asked {
                return Ok(exit::STOPPED);
            }
            let code = end.status.code().and_then(|code| u8::try_from(code).ok());
            match code {
                Some(exit::CONFIG) => return Ok(exit::CONFIG),
                // Only a start ends so, also one that came as far as an incarnation.
                Some(exit::BUSY) => {
                    busy += 1;
                    if busy == BUSY_TRIES {
                        tracing::error!("what is in the way stays there; giving up");
                        return Ok(exit::BUSY);
                    }
                }
                _ => busy = 0,
            }
            self.report("gone");
            tracing::warn!(
                "the daemon ended ({}); it is started again in {:?}",
                end.status,
                self.daemon.restart_delay
            );
            tokio::select! {
                () = sleep(self.daemon.restart_delay) => {}
                () = self.stop.asked() => return Ok(exit::STOPPED),
            }
        }
    }

    /// One run of the daemon, from its start to its death notice.
    async fn once(&mut self) -> io::Result<End> {
        let mut child = Command::new(&self.daemon.program)
            .args(&self.daemon.arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            // A group of its own: Ctrl-C in a terminal is for the parent, who then asks the child.
            .process_group(0)
            .spawn()?;
        let pipe = child.stdout.take();
        let mut incarnations = Incarnations::new(pipe);
        self.report(&format!("pid {}", child.id().unwrap_or(0)));
        let mut asked = false;
        let status = loop {
            tokio::select! {
                // Its death first: everything else can wait.
                biased;
                status = child.wait() => break status?,
                () = self.stop.asked(), if !asked => asked = true,
                () = incarnations.read() => continue,
            }
            break stop(&mut child, &mut incarnations).await?;
        };
        // It is dead: what it wrote is in the pipe, and nothing follows.
        incarnations.drain().await;
        if let Some(incarnation) = incarnations.newest {
            self.herald.tell(incarnation);
        }
        Ok(End { status, asked })
    }

    fn report(&self, line: &str) {
        if self.options.report {
            let mut out = io::stdout().lock();
            // Whoever wanted the lines may be gone; the daemon matters more.
            let _ = writeln!(out, "{line}").and_then(|()| out.flush());
        }
    }
}

/// Asks a child to stop, and ends it if it does not.
async fn stop(child: &mut Child, incarnations: &mut Incarnations) -> io::Result<ExitStatus> {
    if let Some(pid) = child
        .id()
        .and_then(|pid| i32::try_from(pid).ok())
        .and_then(Pid::from_raw)
    {
        // It may have ended by itself just now.
        let _ = rustix::process::kill_process(pid, Signal::TERM);
    }
    let deadline = sleep(STOP_PATIENCE);
    tokio::pin!(deadline);
    loop {
        tokio::select! {
            biased;
            status = child.wait() => return status,
            () = &mut deadline => break,
            () = incarnations.read() => {}
        }
    }
    tracing::warn!(
        "the daemon did not stop within {} s and is killed",
        STOP_PATIENCE.as_secs()
    );
    child.start_kill()?;
    child.wait().await
}

/// What the child writes: its incarnations.
struct Incarnations {
    pipe: Option<ChildStdout>,
    pending: Vec<u8>,
    newest: Option<Incarnation>,
}

impl Incarnations {
    const fn new(pipe: Option<ChildStdout>) -> Self {
        Self {
            pipe,
            pending: Vec::new(),
            newest: None,
        }
    }

    /// Reads once; never returns after the end. Safe to drop while it waits.
    async fn read(&mut self) {
        let Some(pipe) = &mut self.pipe else {
            return std::future::pending().await;
        };
        match pipe.read_buf(&mut self.pending).await {
            Ok(0) | Err(_) => self.pipe = None,
            Ok(_) => self.take(),
        }
    }

    /// Reads what is left of a child that has died. The limit is for a grandchild that would keep
    /// the pipe open.
    async fn drain(&mut self) {
        let rest = async {
            while self.pipe.is_some() {
                self.read().await;
            }
        };
        if timeout(Duration::from_millis(20), rest).await.is_err() {
            tracing::warn!("something still holds the pipe of the daemon that died");
        }
    }

    fn take(&mut self) {
        let whole = self.pending.len() / 8 * 8;
        for bytes in self.pending.drain(..whole).as_slice().chunks_exact(8) {
            let mut number = [0; 8];
            number.copy_from_slice(bytes);
            let incarnation = Incarnation(u64::from_le_bytes(number));
            self.newest = self.newest.max(Some(incarnation));
        }
    }
}

/// Tells every other node that an incarnation is dead.
struct Herald {
    node: NodeId,
    seal: Seal,
    from: SocketAddr,
    peers: Vec<SocketAddr>,
}

impl Herald {
    fn new(config: &Config) -> io::Result<Self> {
        let node = u8::try_from(config.node.index)
            .map_err(|_| io::Error::other("node number out of range"))?;
        let peers = config.nodes.iter().enumerate();
        Ok(Self {
            node: NodeId(node),
            seal: Seal::new(&ClusterKey::new(config.cluster.key.0), config.cluster.id),
            from: SocketAddr::new(config.me().address, 0),
            peers: peers
                .filter(|(index, _)| *index != config.node.index)
                .map(|(_, peer)| peer.pulse())
                .collect(),
        })
    }

    fn tell(&self, incarnation: Incarnation) {
        let datagram = self.notice(incarnation);
        let socket = match UdpSocket::bind(self.from) {
            Ok(socket) => socket,
            Err(error) => {
                tracing::warn!("no death notice: {}: {error}", self.from);
                return;
            }
        };
        let peers = self.peers.clone();
        // The first copies now; the rest beside whatever the parent does next.
        send(&socket, &datagram, &peers);
        tokio::spawn(async move {
            let mut before = NOTICE_COPIES[0];
            for at in &NOTICE_COPIES[1..] {
                sleep(*at - before).await;
                before = *at;
                send(&socket, &datagram, &peers);
            }
        });
    }

    fn notice(&self, incarnation: Incarnation) -> Vec<u8> {
        let notice = DeathNotice {
            node: self.node,
            incarnation,
        };
        let mut payload = [0; DEATH_NOTICE_BYTES];
        let len = crate::wire::pulse::encode_death_notice(&notice, &mut payload);
        let mut datagram = vec![0; len + OVERHEAD];
        let len = self.seal.seal(Kind::Pulse, &payload[..len], &mut datagram);
        datagram.truncate(len);
        datagram
    }
}

fn send(socket: &UdpSocket, datagram: &[u8], peers: &[SocketAddr]) {
    for peer in peers {
        // A peer that is not there is told by silence anyway.
        let _ = socket.send_to(datagram, peer);
    }
}

#[cfg(test)]
mod tests;
