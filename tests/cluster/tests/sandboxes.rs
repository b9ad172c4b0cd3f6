//! `steadfast sandbox` on directories that are not as it left them: a plain error or a proper
//! start, and nothing lost.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use cluster_tests::client::Client;
use cluster_tests::image::scratch;
use cluster_tests::sandbox::{Sandbox, signal};
use cluster_tests::tool::{self, Said};
use cluster_tests::writer::Writer;
use cluster_tests::{processes, wait_for};
use rustix::process::Signal;
use serde_json::Value;

/// One sandbox at a time: each is three daemons on a small machine.
static ALONE: Mutex<()> = Mutex::new(());
const PATIENCE: Duration = Duration::from_secs(60);

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn fresh(name: &str) -> PathBuf {
    let dir = scratch().join(name);
    drop(fs::remove_dir_all(&dir));
    // What one of an earlier run has said.
    drop(fs::remove_file(dir.with_extension("log")));
    dir
}

/// A sandbox that has run, with something in its volume.
fn made(name: &str) -> PathBuf {
    let dir = fresh(name);
    let mut sandbox = Sandbox::start(&dir, &["--size", "8MiB"]);
    let (primary, _) = sandbox.pair();
    let mut client = Client::connect(primary.nbd_address(), "data").expect("connect");
    client.write(8192, &[42; 4096]).expect("write");
    sandbox.stop();
    dir
}

/// It starts, and the data is there.
fn starts(dir: &Path) {
    let mut sandbox = Sandbox::start(dir, &[]);
    let (primary, _) = sandbox.pair();
    let mut client = Client::connect(primary.nbd_address(), "data").expect("connect");
    let mut data = [0; 4096];
    client.read(8192, &mut data).expect("read");
    assert_eq!(data, [42; 4096]);
    sandbox.stop();
}

/// Everything below `dir`, but what a lock holds.
fn content(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut all = Vec::new();
    for entry in fs::read_dir(dir).expect("directory") {
        let path = entry.expect("entry").path();
        if path.is_dir() {
            all.extend(content(&path));
        } else if path.is_file() && !path.ends_with("lock") {
            let bytes = fs::read(&path).expect("file");
            all.push((path, bytes));
        }
    }
    all.sort();
    all
}

fn try_on(dir: &Path) -> Said {
    Said::by(
        Command::new(tool::steadfast())
            .args(["sandbox", "--dir"])
            .arg(dir),
    )
}

/// Does not start, says these words, and touches nothing.
#[track_caller]
fn refused(dir: &Path, words: &[&str]) {
    let before = content(dir);
    let said = try_on(dir);
    said.refuses(1, &[dir.to_str().expect("path")]);
    said.refuses(1, words);
    assert!(before == content(dir), "something was touched: {said:?}");
}

#[test]
fn every_option_is_followed_and_written_down() {
    let _alone = alone();
    let dir = fresh("sandbox-options");
    let args = "--size 16MiB --storage-nodes 3 --profile wan --volume v.1 --shared";
    let mut sandbox = Sandbox::start(&dir, &args.split(' ').collect::<Vec<_>>());
    let text = fs::read_to_string(dir.join("sandbox.json")).expect("sandbox.json");
    let described: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(described["volume"], "v.1");
    let nodes = sandbox.nodes();
    let named = ["n1", "n2", "n3", "w1"];
    assert!(nodes.iter().map(|node| &node.name).eq(named));
    for (place, node) in nodes.iter().enumerate() {
        let storage = node.name != "w1";
        assert_eq!(node.role, if storage { "storage" } else { "witness" });
        let begin = format!("nbd://{}:", node.address);
        assert!(node.nbd.starts_with(&begin) && node.nbd.ends_with("/v.1"));
        let others = nodes[..place].iter().map(|other| &other.address);
        assert!(others.into_iter().all(|other| *other != node.address));
        let config = fs::read_to_string(&node.config).expect("configuration");
        assert!(config.contains("profile = \"wan\""), "{config}");
        assert_eq!(node.dir.join("v.1.store").exists(), storage);
        assert!(Path::new(&node.api).exists());
    }
    let (primary, standby) = sandbox.pair();
    let status = sandbox.status(&nodes[3]).expect("status");
    let volume = &status["volumes"][0];
    assert_eq!(volume["name"], "v.1");
    assert_eq!(
        (&volume["size"], &volume["shared"]),
        (&(16 << 20).into(), &true.into())
    );
    let replicas = volume["replicas"].as_array().expect("replicas");
    assert_eq!(replicas.len(), 3);
    assert_eq!(volume["redundancy"], "1 failure can be survived");

    let writer = Writer::start(standby.nbd_address(), "v.1", 0, 256);
    let writes = |more: u64| {
        let then = writer.count();
        wait_for("writes", PATIENCE, || {
            assert!(!writer.has_ended(), "the client was disconnected");
            (writer.count() >= then + more).then_some(())
        });
    };
    writes(200);
    signal(&primary, Signal::KILL);
    writes(200);
    let written = writer.stop();
    assert!(written.error.is_none(), "{:?}", written.error);
    sandbox.wait_healthy(PATIENCE);
    written.verify(sandbox.node(&primary.name).nbd_address(), "v.1");
    sandbox.stop();
    drop(fs::remove_dir_all(&dir));
}

#[test]
fn what_can_be_made_anew_is() {
    let _alone = alone();
    let dir = made("sandbox-anew");
    fs::remove_file(dir.join("sandbox.json")).expect("remove");
    fs::write(dir.join("n1/data.store.unfinished"), "half").expect("write");
    starts(&dir);
    let text = fs::read_to_string(dir.join("sandbox.json")).expect("sandbox.json");
    fs::write(dir.join("sandbox.json"), &text[..text.len() / 2]).expect("write");
    fs::write(dir.join("layout.json.new"), "{").expect("write");
    let status = Said::by(
        Command::new(tool::steadfast())
            .args(["status", "--dir"])
            .arg(&dir),
    );
    status.refuses(3, &["sandbox.json is not a sandbox's"]);
    starts(&dir);
    drop(fs::remove_dir_all(&dir));
}

#[test]
fn what_cannot_is_refused_until_it_is_back() {
    let _alone = alone();
    let dir = made("sandbox-half");
    for (name, words) in [
        (
            "n2/config.toml",
            ["is damaged", "config.toml: cannot be read"],
        ),
        (
            "n1/data.store",
            ["is damaged", "data.store is missing; `steadfast node init"],
        ),
        ("w1/cluster-log", ["is damaged", "cluster-log is missing"]),
    ] {
        let (there, away) = (dir.join(name), dir.with_extension("away"));
        fs::rename(&there, &away).expect("away");
        refused(&dir, &[words[0], words[1], "put it back"]);
        fs::rename(&away, &there).expect("back");
    }
    for (name, words) in [
        ("n1/config.toml", ["is damaged", "n1/config.toml:"]),
        ("layout.json", ["layout.json is not a sandbox's", "--dir"]),
    ] {
        let path = dir.join(name);
        let text = fs::read_to_string(&path).expect("read");
        fs::write(&path, &text[..text.len() / 2]).expect("write");
        refused(&dir, &words);
        fs::write(&path, &text).expect("write");
    }
    // As kill -9 leaves a first start.
    let path = dir.join("layout.json");
    let text = fs::read_to_string(&path).expect("read");
    fs::write(&path, text.replace("complete", "creating")).expect("write");
    refused(&dir, &["was never completed", "rm -r"]);
    fs::write(&path, &text).expect("write");
    starts(&dir);
    drop(fs::remove_dir_all(&dir));
}

#[test]
fn a_store_that_is_damaged_is_told_with_the_node() {
    let _alone = alone();
    let dir = made("sandbox-damaged");
    let path = dir.join("n1/data.store");
    let whole = fs::read(&path).expect("read");
    let mut damaged = whole.clone();
    damaged[90] ^= 1;
    fs::write(&path, &damaged).expect("write");
    let said = try_on(&dir);
    said.refuses(1, &["n1 cannot run", "superblock at byte 0 is damaged"]);
    assert!(fs::read(&path).expect("read") == damaged);
    fs::write(&path, &whole).expect("write");
    starts(&dir);
    drop(fs::remove_dir_all(&dir));
}

#[test]
fn directories_of_something_else_stay_as_they_are() {
    let dir = fresh("sandbox-foreign");
    fs::create_dir_all(dir.join("n1")).expect("directory");
    fs::write(dir.join("n1/data.store"), "thesis").expect("write");
    refused(&dir, &["is not a sandbox", "n1", "--dir"]);
    assert!(!dir.join("lock").exists());
    let said = try_on(&dir.join("n1/data.store"));
    said.refuses(1, &["is not a directory", "--dir"]);
    drop(fs::remove_dir_all(&dir));
}

#[test]
fn a_directory_that_may_not_be_written() {
    // For root everything may be written; so as nobody, who can come as far as temporary files.
    let root = rustix::process::geteuid().is_root();
    let temp = tempfile::tempdir().expect("directory");
    fs::set_permissions(temp.path(), fs::Permissions::from_mode(0o755)).expect("mode");
    let program = temp.path().join("steadfast");
    // By another process: while this one writes to it, every child that a test starts has it open
    // too for a moment, and what is open for writing cannot be executed.
    let (from, to) = (tool::steadfast(), program.to_str().expect("path"));
    tool::run("cp", &[from.to_str().expect("path"), to]);
    let dir = temp.path().join("sandbox");
    fs::create_dir(&dir).expect("directory");
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o555)).expect("mode");
    let mut command = if root {
        let mut command = Command::new("setpriv");
        command
            .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
            .arg(&program);
        command
    } else {
        Command::new(&program)
    };
    let said = Said::by(command.args(["sandbox", "--dir"]).arg(&dir));
    said.refuses(
        1,
        &[dir.to_str().expect("path"), "Permission denied", "--dir"],
    );
    assert_eq!(fs::read_dir(&dir).expect("directory").count(), 0);
    assert_eq!(fs::metadata(&dir).expect("directory").mode() & 0o777, 0o555);
}

#[test]
fn a_second_one_on_the_same_directory_disturbs_nobody() {
    let _alone = alone();
    let dir = fresh("sandbox-twice");
    let mut sandbox = Sandbox::start(&dir, &["--size", "8MiB"]);
    let pids =
        |sandbox: &Sandbox| -> Vec<_> { sandbox.nodes().iter().map(|node| node.pid).collect() };
    let before = pids(&sandbox);
    let me = format!("process {}", sandbox.pid());
    try_on(&dir).refuses(1, &["runs in", &me, "steadfast status --dir", "--dir"]);
    sandbox.wait_healthy(PATIENCE);
    assert_eq!(pids(&sandbox), before);
    sandbox.stop();
    let mut other = Command::new(tool::steadfast());
    other
        .args(["sandbox", "--size", "16MiB", "--dir"])
        .arg(&dir);
    Said::by(&mut other).refuses(1, &["was made with --size 8MiB", "leave --size away"]);
    drop(fs::remove_dir_all(&dir));
}

/// Starts a sandbox and kills it with -9 as soon as `moment` is there, a file of its directory, or
/// at the latest with `last`.
fn kill_at(dir: &Path, moment: &str, last: &str) {
    let mut child = Command::new(tool::steadfast())
        .args(["sandbox", "--size", "8MiB", "--dir"])
        .arg(dir)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("steadfast sandbox");
    let (file, last) = (dir.join(moment), dir.join(last));
    let began = Instant::now();
    // Without a pause between two looks: some of these files are there for less than a millisecond.
    // One that was missed is followed by the next thing that is made.
    while !file.exists() && !last.exists() {
        assert!(began.elapsed() < PATIENCE, "no {moment}");
    }
    child.kill().expect("kill");
    child.wait().expect("wait");
    wait_for("the nodes to end with it", PATIENCE, || {
        processes::of(dir).is_empty().then_some(())
    });
}

/// Starts a sandbox that the system kills as soon as one of its files grows beyond `bytes`.
fn kill_beyond(dir: &Path, bytes: u64) {
    let status = Command::new("env")
        .args(["--default-signal=XFSZ", "prlimit", "--core=0"])
        .arg(format!("--fsize={bytes}"))
        .arg(tool::steadfast())
        .args(["sandbox", "--size", "8MiB", "--dir"])
        .arg(dir)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .expect("env");
    let ended = status.signal().map(Signal::from_named_raw);
    assert_eq!(ended, Some(Some(Signal::XFSZ)), "{bytes}: {status}");
}

/// What a first start that was killed has left is refused by name, or started; whether it was
/// refused.
fn again(dir: &Path, moment: &str) -> bool {
    let layout = fs::read_to_string(dir.join("layout.json")).unwrap_or_default();
    if layout.contains("creating") {
        let remove = format!("rm -r {}", dir.display());
        refused(dir, &["was never completed", &remove]);
        return true;
    }
    // What is there is whole, or there is nothing.
    let config = || fs::read_to_string(dir.join("n1/config.toml")).ok();
    let before = config();
    assert_eq!(before.is_some(), layout.contains("complete"), "{moment}");
    let size: &[&str] = if before.is_some() {
        &[]
    } else {
        &["--size", "8MiB"]
    };
    Sandbox::start(dir, size).stop();
    assert!(
        before.is_none() || before == config(),
        "{moment}: made anew, with another key"
    );
    false
}

#[test]
fn a_first_start_that_is_killed_is_refused_by_name_or_repeated() {
    let _alone = alone();
    let dir = fresh("sandbox-killed");
    // In the lock, in the layout, in a configuration, in a store.
    for (bytes, refused) in [(0, false), (20, false), (400, true), (1 << 20, true)] {
        drop(fs::remove_dir_all(&dir));
        kill_beyond(&dir, bytes);
        assert!(dir.join("lock").exists());
        let moment = format!("a file of {bytes} bytes");
        assert_eq!(again(&dir, &moment), refused, "{moment}");
    }
    // Anywhere else, as far as this is quick enough.
    for moment in [
        "lock",
        "layout.json.new",
        "layout.json",
        "n1",
        "n1/config.toml",
        "w1/config.toml",
        "n1/data.store.unfinished",
        "n1/data.store",
        "n1/cluster-log.unfinished",
        "n2/cluster-log",
        "w1/cluster-log.unfinished",
        "w1/cluster-log",
        "sandbox.json",
    ] {
        drop(fs::remove_dir_all(&dir));
        kill_at(&dir, moment, "sandbox.json");
        again(&dir, moment);
    }
    drop(fs::remove_dir_all(&dir));
}

#[test]
fn a_later_start_that_is_killed_loses_nothing() {
    let _alone = alone();
    let dir = made("sandbox-killed-later");
    for moment in ["lock", "sandbox.json", "n1/api.sock", "w1/api.sock"] {
        drop(fs::remove_file(dir.join(moment)));
        kill_at(&dir, moment, moment);
        starts(&dir);
    }
    drop(fs::remove_dir_all(&dir));
}
