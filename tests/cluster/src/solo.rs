//! A cluster of one node, for tests of `steadfast node`: made in a moment, run in a moment.

use std::fs::{self, File};
use std::net::{TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::{image, tool, wait_for};

/// Ports of every such node, in the order of the configuration: nbd, data, pulse, core.
pub const PORTS: [u16; 4] = [10809, 7410, 7411, 7412];

/// A node's files: configuration, log, store.
pub struct Solo {
    /// Its directory.
    pub dir: PathBuf,
    /// Its loopback address.
    pub address: String,
}

impl Solo {
    /// Makes one with `steadfast node init`, in a new directory of this name.
    ///
    /// # Panics
    ///
    /// That fails.
    #[must_use]
    pub fn new(name: &str) -> Self {
        let solo = Self::planned(name);
        solo.initialise();
        solo
    }

    /// `steadfast node init`
    ///
    /// # Panics
    ///
    /// It fails.
    pub fn initialise(&self) {
        tool::run(
            tool::steadfast().to_str().expect("path"),
            &[
                "node",
                "init",
                "--config",
                self.config().to_str().expect("path"),
            ],
        );
    }

    /// The configuration only.
    ///
    /// # Panics
    ///
    /// The directory cannot be made.
    #[must_use]
    pub fn planned(name: &str) -> Self {
        let dir = image::scratch().join(name);
        drop(fs::remove_dir_all(&dir));
        fs::create_dir_all(&dir).expect("directory");
        let solo = Self {
            dir,
            address: free_address(),
        };
        fs::write(solo.config(), solo.text()).expect("configuration");
        solo
    }

    /// A right configuration of this node.
    #[must_use]
    pub fn text(&self) -> String {
        let [nbd, data, pulse, core] = PORTS;
        format!(
            r#"[cluster]
name = "solo"
id = "4b2f0a4e-5f0d-4a53-9c3e-0c8f6f0f2a11"
key = "{}"

[node]
name = "n1"
dir = "."

[[nodes]]
name = "n1"
address = "{}"
role = "storage"
ports = {{ nbd = {nbd}, data = {data}, pulse = {pulse}, core = {core} }}

[[volumes]]
name = "data"
id = "0a9c6c0e-3f0e-4c2b-8f43-3d2f3f1f7a01"
size = "8MiB"

[[volumes.stores]]
node = "n1"
path = "data.store"
id = "d1a0c0f2-6a51-4b6e-9c6f-52d5d2e1f001"
"#,
            "ab".repeat(32),
            self.address
        )
    }

    /// Writes the configuration with `from` replaced by `to`.
    ///
    /// # Panics
    ///
    /// `from` is not in it.
    pub fn edit(&self, from: &str, to: &str) {
        let text = self.text();
        assert!(text.contains(from), "{from}");
        fs::write(self.config(), text.replacen(from, to, 1)).expect("configuration");
    }

    /// The configuration file.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.dir.join("n1.toml")
    }

    /// The store.
    #[must_use]
    pub fn store(&self) -> PathBuf {
        self.dir.join("data.store")
    }

    /// The cluster log.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.dir.join("cluster-log")
    }

    /// The control socket.
    #[must_use]
    pub fn api(&self) -> PathBuf {
        self.dir.join("api.sock")
    }

    /// Starts `steadfast node run`.
    ///
    /// # Panics
    ///
    /// The program does not start.
    #[must_use]
    pub fn run(&self) -> Running {
        Running::start(&self.dir.join("said"), &self.config())
    }

    /// Starts it and waits until it serves its volume.
    ///
    /// # Panics
    ///
    /// It does not within half a minute.
    #[must_use]
    pub fn serve(&self) -> Running {
        let running = self.run();
        wait_for("the node to serve", Duration::from_secs(30), || {
            (self.status_code() == Some(0)).then_some(())
        });
        running
    }

    /// Exit code of `steadfast status`.
    ///
    /// # Panics
    ///
    /// The program does not start.
    #[must_use]
    pub fn status_code(&self) -> Option<i32> {
        let output = Command::new(tool::steadfast())
            .args(["status", "--config"])
            .arg(self.config())
            .output();
        output.expect("steadfast status").status.code()
    }

    /// Every byte of log and store.
    ///
    /// # Panics
    ///
    /// They cannot be read.
    #[must_use]
    pub fn content(&self) -> [Vec<u8>; 2] {
        [self.log(), self.store()].map(|path| fs::read(path).expect("a file of the node"))
    }

    /// Removes everything.
    pub fn remove(self) {
        drop(fs::remove_dir_all(&self.dir));
    }
}

/// An address 127.x.y.1 on which nobody listens, another one at each call.
fn free_address() -> String {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = std::process::id() as u16;
    for _ in 0..256 {
        let number = first
            .wrapping_mul(61)
            .wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        let [x, y] = number.to_be_bytes();
        let address = format!("127.{}.{y}.1", x.max(1));
        let [nbd, data, pulse, core] = PORTS;
        let tcp = |port| TcpListener::bind((address.as_str(), port)).is_ok();
        let udp = |port| UdpSocket::bind((address.as_str(), port)).is_ok();
        if tcp(nbd) && tcp(data) && udp(pulse) && udp(core) {
            return address;
        }
    }
    panic!("something has the ports {PORTS:?} on every loopback address: `ss -lntup` shows what");
}

/// A running `steadfast node run`; dropping it stops it.
pub struct Running {
    child: Child,
    said: PathBuf,
}

impl Running {
    /// Starts `steadfast node run`; what it says goes to the file `said`.
    ///
    /// # Panics
    ///
    /// The program does not start.
    #[must_use]
    pub fn start(said: &Path, config: &Path) -> Self {
        let out = File::create(said).expect("log");
        let child = Command::new(tool::steadfast())
            .args(["node", "run", "--config"])
            .arg(config)
            .stdin(Stdio::null())
            .stdout(out.try_clone().expect("log"))
            .stderr(out)
            .spawn()
            .expect("steadfast node run");
        Self {
            child,
            said: said.to_owned(),
        }
    }

    /// Process id of the parent.
    #[must_use]
    pub fn pid(&self) -> i32 {
        Pid::from_child(&self.child).as_raw_nonzero().get()
    }

    /// Everything that it has said.
    #[must_use]
    pub fn said(&self) -> String {
        fs::read_to_string(&self.said).unwrap_or_default()
    }

    /// Waits until it has said all of these.
    ///
    /// # Panics
    ///
    /// It has not within `patience`; the message has what it said.
    pub fn wait_for(&self, words: &[&str], patience: Duration) {
        let start = std::time::Instant::now();
        loop {
            let said = self.said();
            if words.iter().all(|word| said.contains(word)) {
                return;
            }
            assert!(
                start.elapsed() < patience,
                "not all of {words:?} in: {said}"
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Sends a signal to the parent.
    ///
    /// # Panics
    ///
    /// There is no such process.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("kill");
    }

    /// Waits for its end.
    ///
    /// # Panics
    ///
    /// It goes on for longer than `patience`.
    pub fn end(&mut self, patience: Duration) -> ExitStatus {
        wait_for("the node to end", patience, || {
            self.child.try_wait().expect("wait")
        })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            self.signal(Signal::TERM);
            let _ended = self.child.wait();
        }
    }
}
