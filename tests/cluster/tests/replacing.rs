//! A node that has lost its disk or its log gets an empty one: it counts for nothing until the others
//! have brought it up to date.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cluster_tests::client::Client;
use cluster_tests::image::scratch;
use cluster_tests::replicas;
use cluster_tests::sandbox::{Node, Sandbox};
use cluster_tests::tool::{self, Said};
use cluster_tests::wait_for;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// One sandbox at a time: each is three daemons on a small machine.
static ALONE: Mutex<()> = Mutex::new(());
const SIZE: u64 = 16 << 20;
const PATIENCE: Duration = Duration::from_secs(60);

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What the volume holds: some of every region.
fn data(at: u64) -> [u8; 4096] {
    [(at >> 20) as u8 + 1; 4096]
}

fn places() -> impl Iterator<Item = u64> {
    (0..SIZE).step_by(1 << 20)
}

/// A sandbox that has run, with something in its volume, and with both copies in sync to the end.
fn made(name: &str) -> PathBuf {
    let dir = scratch().join(name);
    drop(fs::remove_dir_all(&dir));
    // A slow machine takes nobody for dead so soon.
    let mut sandbox = Sandbox::start(&dir, &["--size", "16MiB", "--profile", "wan"]);
    let (primary, standby) = sandbox.pair();
    let mut client = Client::connect(primary.nbd_address(), "data").expect("connect");
    for at in places() {
        client.write(at, &data(at)).expect("write");
    }
    // Once it is durable everywhere, nothing but the store itself tells that it is needed.
    for node in [&primary, &standby] {
        let store = sandbox.store(node);
        wait_for("the intents to be cleared", PATIENCE, || {
            let dump = ["meta", "dump", store.to_str().expect("path")];
            let dump = tool::output(tool::steadfast().to_str().expect("path"), &dump);
            let said = String::from_utf8_lossy(&dump.stdout).into_owned();
            said.contains(" 0 of 4096 slots").then_some(())
        });
    }
    sandbox.wait_healthy(PATIENCE);
    sandbox.stop();
    dir
}

fn init(dir: &Path, node: &str) -> Said {
    Said::by(
        Command::new(tool::steadfast())
            .args(["node", "init", "--config"])
            .arg(dir.join(node).join("config.toml")),
    )
}

fn holds_all(node: &Node) {
    let mut client = Client::connect(node.nbd_address(), "data").expect("connect");
    let mut found = [0; 4096];
    for at in places() {
        client.read(at, &mut found).expect("read");
        assert!(found == data(at), "byte {at} through {}", node.name);
    }
}

/// It becomes healthy, everything is there, and both disks say the same.
fn recovers(dir: &Path) {
    let mut sandbox = Sandbox::start(dir, &[]);
    let (primary, standby) = sandbox.pair();
    holds_all(&primary);
    holds_all(&standby);
    let second = ["volume", "promote", &standby.name];
    sandbox.ask(&second).tells(0, &[]);
    sandbox.wait_primary(&standby.name, PATIENCE);
    holds_all(&standby);
    sandbox.stop();
    let stores = replicas::of(&sandbox);
    assert_eq!(stores.len(), 2);
    replicas::assert_equal(&stores, SIZE);
    drop(fs::remove_dir_all(dir));
}

#[test]
fn the_only_copy_that_was_replaced_is_named_until_it_is_put_back() {
    let _alone = alone();
    let dir = made("replaced-only");
    let mut sandbox = Sandbox::start(&dir, &[]);
    let (primary, standby) = sandbox.pair();
    sandbox.kill_for_good(&standby);
    let mut client = Client::connect(primary.nbd_address(), "data").expect("connect");
    let after = [99; 4096];
    client
        .write(4096, &after)
        .expect("a write without the standby");
    sandbox.stop();

    let store = dir.join(&primary.name).join("data.store");
    let aside = store.with_extension("aside");
    fs::rename(&store, &aside).expect("rename");
    init(&dir, &primary.name).tells(0, &["created", "data.store"]);
    let mut sandbox = Sandbox::launch(&dir, &[]);
    let words = format!(
        "{} now has another store; the one that was in sync has to be put back",
        primary.name
    );
    wait_for("the status to say so", PATIENCE, || {
        let status = sandbox.status(&standby)?;
        let volume = &status["volumes"][0];
        let mut replicas = volume["replicas"].as_array()?.iter();
        let replaced = replicas.find(|replica| replica["node"] == primary.name.as_str())?;
        let shown = (replaced["state"].as_str()?, replaced["recorded"].as_str()?);
        let said = volume["redundancy"].as_str()?.contains(&words);
        (said && shown == ("new", "in-sync") && volume["primary"].is_null()).then_some(())
    });
    assert_eq!(sandbox.status_code(), 2);
    sandbox.stop();

    fs::rename(&aside, &store).expect("rename");
    let mut sandbox = Sandbox::start(&dir, &[]);
    for node in [&primary, &standby] {
        holds_all(node);
        let mut client = Client::connect(node.nbd_address(), "data").expect("connect");
        let mut found = [0; 4096];
        client.read(4096, &mut found).expect("read");
        assert!(found == after, "through {}", node.name);
    }
    sandbox.stop();
    drop(fs::remove_dir_all(&dir));
}

#[test]
fn a_node_that_lost_everything_is_filled() {
    let _alone = alone();
    for node in ["n1", "n2"] {
        let dir = made("replaced-node");
        for file in ["data.store", "cluster-log"] {
            fs::remove_file(dir.join(node).join(file)).expect("file");
        }
        init(&dir, node).tells(0, &["created", "data.store", "cluster-log"]);
        recovers(&dir);
    }
}

#[test]
fn a_voter_that_lost_its_log_is_taken_in_again() {
    let _alone = alone();
    for node in ["n1", "n2", "w1"] {
        let dir = made("replaced-log");
        fs::remove_file(dir.join(node).join("cluster-log")).expect("file");
        let said = init(&dir, node);
        said.tells(0, &["created", "cluster-log"]);
        assert!(!said.out.contains("data.store"), "the store is kept");
        recovers(&dir);
    }
}

/// A node that runs without a sandbox around it.
struct Running(Child);

impl Running {
    fn new(dir: &Path, node: &str) -> Self {
        let mut command = Command::new(tool::steadfast());
        command.args(["node", "run", "--config"]);
        command.arg(dir.join(node).join("config.toml"));
        command.stdin(Stdio::null()).stderr(Stdio::null());
        Self(command.spawn().expect("steadfast node run"))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        kill_process(Pid::from_child(&self.0), Signal::TERM).expect("kill");
        self.0.wait().expect("wait");
    }
}

fn status(dir: &Path, node: &str) -> (Option<i32>, Value) {
    let mut command = Command::new(tool::steadfast());
    command.args(["status", "--json", "--config"]);
    command.arg(dir.join(node).join("config.toml"));
    let said = Said::by(&mut command);
    let status = serde_json::from_str(&said.out).unwrap_or_default();
    (said.code, status)
}

/// The voters that are left remember what the new log cannot know: with only one of them nothing is
/// decided, and status says what is waited for.
#[test]
fn a_new_log_does_not_vote_in_the_place_of_a_lost_one() {
    let _alone = alone();
    let dir = made("replaced-silent");
    fs::remove_file(dir.join("n2").join("cluster-log")).expect("file");
    init(&dir, "n2").tells(0, &["created", "cluster-log"]);
    let pair = ["n1", "n2"].map(|node| Running::new(&dir, node));
    let words = "n2 has a new cluster log and cannot vote before; waiting for w1";
    wait_for("the status to say so", PATIENCE, || {
        let (code, status) = status(&dir, "n1");
        let volume = &status["volumes"][0];
        let said = volume["redundancy"].as_str()?.contains(words);
        let waits = code == Some(2) && status["quorum"] == false && volume["primary"].is_null();
        (said && waits).then_some(())
    });
    drop(pair);
    recovers(&dir);
}

#[test]
fn a_store_that_was_lost_is_made_anew_and_filled() {
    let _alone = alone();
    // Each in its turn, as whichever is promoted first must not be the empty one.
    for node in ["n1", "n2"] {
        let dir = made("replaced-store");
        let store = dir.join(node).join("data.store");
        fs::remove_file(&store).expect("store");
        init(&dir, node).tells(0, &["created", "data.store"]);
        init(&dir, node).refuses(78, &["was made before", "nothing was changed"]);
        recovers(&dir);
    }
}
