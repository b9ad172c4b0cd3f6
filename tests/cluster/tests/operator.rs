//! What an operator does with a running cluster: looks, moves volumes, follows events.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use cluster_tests::image::scratch;
use cluster_tests::sandbox::{Node, Sandbox, signal};
use cluster_tests::tool::{self, Said};
use cluster_tests::wait_for;
use cluster_tests::writer::Writer;
use rustix::process::Signal;
use serde_json::Value;

/// One sandbox at a time: each is three daemons on a small machine.
static ALONE: Mutex<()> = Mutex::new(());
const PATIENCE: Duration = Duration::from_secs(30);

fn start(name: &str) -> (Sandbox, MutexGuard<'static, ()>) {
    let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let dir = scratch().join(name);
    drop(std::fs::remove_dir_all(&dir));
    // A slow machine takes nobody for dead so soon.
    let args = ["--size", "64MiB", "--profile", "wan"];
    (Sandbox::start(&dir, &args), alone)
}

/// Waits until each of these nodes, asked alone, ends `status` with this code and says these words:
/// one that is late would answer with what was before.
fn wait_said(sandbox: &Sandbox, nodes: &[&Node], code: i32, words: &[&str]) {
    let start = Instant::now();
    for node in nodes {
        loop {
            let said = sandbox.ask(&["status", "--node", &node.name]);
            if said.code == Some(code) && words.iter().all(|word| said.out.contains(word)) {
                break;
            }
            let late = start.elapsed() > PATIENCE;
            assert!(!late, "no {code} and {words:?} in: {said:?}");
        }
    }
}

fn remove(mut sandbox: Sandbox) {
    sandbox.stop();
    drop(std::fs::remove_dir_all(&sandbox.dir));
}

fn json(said: &Said) -> Value {
    serde_json::from_str(&said.out).unwrap_or_else(|error| panic!("{error}: {said:?}"))
}

#[test]
fn volumes_are_moved_under_a_client_that_sees_no_error() {
    let (sandbox, _alone) = start("operator-move");
    let (primary, standby) = sandbox.pair();
    let writer = Writer::start(standby.nbd_address(), "data", 0, 1024);
    let writes = |more: u64| {
        let then = writer.count();
        wait_for("writes", PATIENCE, || {
            assert!(!writer.has_ended(), "the client was disconnected");
            (writer.count() >= then + more).then_some(())
        });
    };
    writes(200);
    let list = sandbox.ask(&["volume", "list"]);
    list.tells(
        0,
        &["data", "64 MiB", &primary.name, "1 failure can be survived"],
    );
    let list = json(&sandbox.ask(&["volume", "list", "--json"]));
    assert_eq!(list[0]["name"], "data");
    assert_eq!(list[0]["primary"], primary.name.as_str());
    assert_eq!(list[0]["failures_survivable"], 1);

    let moved = format!("{} is primary of data", standby.name);
    sandbox
        .ask(&["volume", "promote", &standby.name])
        .tells(0, &[&moved]);
    sandbox.wait_primary(&standby.name, PATIENCE);
    writes(200);
    let already = format!("{moved} already");
    sandbox
        .ask(&["volume", "promote", &standby.name, "data"])
        .tells(0, &[&already]);
    let back = json(&sandbox.ask(&["volume", "demote", "--json"]));
    assert_eq!(back["volume"], "data");
    assert_eq!(back["to"], primary.name.as_str());
    assert_eq!(back["begun"], true);
    sandbox.wait_primary(&primary.name, PATIENCE);
    writes(200);
    sandbox
        .ask(&["volume", "demote", "data"])
        .tells(0, &[&moved]);
    sandbox.wait_primary(&standby.name, PATIENCE);
    writes(200);

    let written = writer.stop();
    assert!(written.error.is_none(), "{:?}", written.error);
    written.verify(primary.nbd_address(), "data");
    written.verify(standby.nbd_address(), "data");
    remove(sandbox);
}

#[test]
fn wrong_names_are_told_from_right_ones() {
    let (sandbox, _alone) = start("operator-names");
    let (primary, standby) = sandbox.pair();
    let keeps = ["keeps no copy of \"data\"", "n1, n2"];
    sandbox.ask(&["volume", "promote", "n9"]).refuses(1, &keeps);
    sandbox
        .ask(&["volume", "promote", "w1", "data"])
        .refuses(1, &keeps);
    for name in ["date", "da ta", "../data", "däta", "", "%64ata"] {
        let why = [&*format!("no volume \"{name}\""), "there is: data"];
        sandbox
            .ask(&["volume", "promote", "n1", name])
            .refuses(1, &why);
        sandbox.ask(&["volume", "demote", name]).refuses(1, &why);
    }
    sandbox
        .ask(&["volume", "list", "--node", "n9"])
        .refuses(1, &["no node \"n9\"", "n1, n2, w1"]);

    // Only the primary can hand over, and who is asked says so.
    let mut elsewhere = Command::new(tool::steadfast());
    elsewhere.args(["volume", "promote", &standby.name, "--api", &standby.api]);
    Said::by(&mut elsewhere).refuses(1, &[&format!("only {}", primary.name), "ask there"]);
    let nowhere = tempfile::tempdir().expect("directory");
    let mut nobody = Command::new(tool::steadfast());
    nobody.args(["volume", "list"]).current_dir(nowhere.path());
    Said::by(&mut nobody).refuses(1, &["which node?", "--api", "--config", "--dir"]);
    let mut by_file = Command::new(tool::steadfast());
    by_file
        .args(["volume", "list", "--config"])
        .arg(&primary.config);
    Said::by(&mut by_file).tells(0, &["data"]);
    assert_eq!(
        sandbox.primary().as_ref(),
        Some(&primary.name),
        "it was moved"
    );
    remove(sandbox);
}

#[test]
fn less_than_healthy_is_said_and_has_a_code_of_its_own() {
    let (mut sandbox, _alone) = start("operator-degraded");
    let (primary, standby) = sandbox.pair();
    let writer = Writer::start(primary.nbd_address(), "data", 0, 256);
    sandbox
        .ask(&["status"])
        .tells(0, &["healthy", "1 failure can be survived"]);
    assert_eq!(
        json(&sandbox.ask(&["status", "--json"]))["health"],
        "healthy"
    );

    signal(&standby, Signal::STOP);
    let why = [
        &*format!("{} is down", standby.name),
        "no failure can be survived",
    ];
    // It may be known to be behind before it is known to be down.
    let witness = sandbox.witness();
    wait_said(&sandbox, &[&primary, &witness], 1, &why);
    sandbox
        .ask(&["status"])
        .tells(1, &["degraded", why[0], why[1]]);
    sandbox
        .ask(&["volume", "list"])
        .tells(0, &[&primary.name, why[0], why[1]]);
    sandbox.ask(&["volume", "promote", &standby.name]).refuses(
        1,
        &["cannot be primary", "offline", "wait until it is in-sync"],
    );
    sandbox
        .ask(&["volume", "demote"])
        .refuses(1, &["no other node could take \"data\" over", why[0]]);

    signal(&witness, Signal::STOP);
    wait_said(&sandbox, &[&primary], 2, &["no quorum"]);
    sandbox
        .ask(&["status"])
        .tells(2, &["unavailable", "no quorum"]);
    let list = json(&sandbox.ask(&["volume", "list", "--json"]));
    assert_eq!(list[0]["primary"], Value::Null);
    let silent = format!("{} of the sandbox in", standby.name);
    let others = format!("another one: {}, w1", primary.name);
    let words = [&*silent, "does not answer", &others];
    let named = ["--node", &standby.name];
    let to_named = |command: &[&'static str]| sandbox.ask(&[command, &named].concat());
    to_named(&["status"]).refuses(3, &words);
    to_named(&["events"]).refuses(1, &words);
    to_named(&["volume", "demote"]).refuses(1, &words);
    for command in [&["volume", "promote", "n1"][..], &["volume", "demote"]] {
        let no_quorum = ["\"data\" has no primary", "no quorum"];
        sandbox.ask(command).refuses(1, &no_quorum);
    }
    // Both at once, so that three who all take the others for dead have to agree.
    signal(&standby, Signal::CONT);
    signal(&witness, Signal::CONT);
    sandbox.wait_healthy(Duration::from_secs(60));
    sandbox.ask(&["status"]).tells(0, &["healthy"]);
    let written = writer.stop();
    assert!(written.error.is_none(), "{:?}", written.error);
    written.verify(primary.nbd_address(), "data");

    sandbox.stop();
    sandbox
        .ask(&["status"])
        .refuses(3, &["no node of the sandbox", "steadfast sandbox --dir"]);
    sandbox
        .ask(&["volume", "list"])
        .refuses(1, &["no node of the sandbox"]);
    remove(sandbox);
}

/// `steadfast events --follow` and the lines that it prints.
struct Follower {
    child: Child,
    lines: Receiver<String>,
}

impl Follower {
    fn new(sandbox: &Sandbox, more: &[&str]) -> Self {
        let mut child = Command::new(tool::steadfast())
            .args(["events", "--follow", "--dir"])
            .arg(&sandbox.dir)
            .args(more)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("steadfast events");
        let out = BufReader::new(child.stdout.take().expect("pipe"));
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Self { child, lines }
    }

    /// The next line that has all of these in it.
    #[track_caller]
    fn next(&self, words: &[&str]) -> String {
        let mut others = Vec::new();
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) if words.iter().all(|word| line.contains(word)) => return line,
                Ok(line) => others.push(line),
                Err(error) => panic!("{words:?}: {error}: {others:#?}"),
            }
        }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _ended = self.child.wait();
    }
}

#[test]
fn a_promotion_is_told_as_it_happens_also_when_the_teller_dies_or_stops() {
    let (sandbox, _alone) = start("operator-events");
    let (primary, standby) = sandbox.pair();
    let people = Follower::new(&sandbox, &["--node", &primary.name]);
    let programs = Follower::new(&sandbox, &["--json"]);
    people.next(&["promoted", &primary.name]);
    programs.next(&["promoted"]);
    sandbox
        .ask(&["volume", "promote", &standby.name])
        .tells(0, &[]);
    sandbox.wait_primary(&standby.name, PATIENCE);
    let sentence = format!("data: {} is primary", standby.name);
    people.next(&["promoted", &sentence]);
    let line = programs.next(&["\"promoted\"", &sentence]);
    let event: Value = serde_json::from_str(&line).expect("JSON");
    assert_eq!(event["kind"], "promoted");
    assert_eq!(event["fields"]["primary"], standby.name.as_str());

    // Every node is killed once, so also the one that is listened to.
    let mut told = 1;
    for name in ["n1", "n2", "w1"] {
        let node = sandbox.node(name);
        let was_primary = sandbox.primary().as_deref() == Some(name);
        signal(&node, Signal::KILL);
        wait_for("a new run of the daemon", PATIENCE, || {
            (sandbox.node(name).pid != node.pid).then_some(())
        });
        sandbox.wait_healthy(Duration::from_secs(60));
        if was_primary {
            told += 1;
            programs.next(&["\"promoted\""]);
        }
    }
    assert!(told > 1, "no primary was killed");
    let now = sandbox.primary().expect("a primary");
    let other = if now == "n1" { "n2" } else { "n1" };
    sandbox.ask(&["volume", "promote", other]).tells(0, &[]);
    let sentence = format!("data: {other} is primary");
    let line = programs.next(&["\"promoted\"", &sentence]);
    people.next(&["promoted", &sentence]);

    // One that is stopped as a whole still holds the connection, and tells nothing.
    let event: Value = serde_json::from_str(&line).expect("JSON");
    let teller = sandbox.node(event["node"].as_str().expect("a node"));
    signal(&teller, Signal::STOP);
    let sentence = format!("{} was excluded", teller.name);
    let line = programs.next(&["\"excluded\"", &sentence]);
    signal(&teller, Signal::CONT);
    let event: Value = serde_json::from_str(&line).expect("JSON");
    assert_ne!(event["node"], teller.name.as_str());
    sandbox.wait_healthy(Duration::from_secs(60));
    drop((people, programs));
    remove(sandbox);
}

#[test]
fn a_follower_ends_when_nobody_reads_it() {
    let (sandbox, _alone) = start("operator-pipe");
    let dir = sandbox.dir.to_str().expect("path");
    let program = tool::steadfast();
    for flags in ["", "--json"] {
        let line = format!(
            "set -o pipefail; {} events --follow {flags} --dir {dir} | head -1",
            program.display()
        );
        let said = Said::by(Command::new("timeout").args(["20", "bash", "-c", &line]));
        said.tells(0, &[]);
        assert_eq!(said.out.lines().count(), 1, "{said:?}");
        assert_eq!(said.error, "");
    }
    // Also where nothing more happens that could be written.
    let events = sandbox.ask(&["events", "--json", "--node", "n1"]);
    let last: Value =
        serde_json::from_str(events.out.lines().last().expect("events")).expect("JSON");
    let since = last["index"].as_u64().expect("index").to_string();
    let mut quiet = Command::new(&program)
        .args([
            "events", "--follow", "--node", "n1", "--since", &since, "--dir", dir,
        ])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .expect("steadfast events");
    drop(quiet.stdout.take());
    let status = wait_for("the follower to end", PATIENCE, || {
        quiet.try_wait().expect("wait")
    });
    assert_eq!(status.code(), Some(0));
    remove(sandbox);
}
