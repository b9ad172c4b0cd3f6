//! What is shown on a terminal, and what where there is none.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use cluster_tests::client::Client;
use cluster_tests::image::scratch;
use cluster_tests::pty::{Terminal, plain};
use cluster_tests::sandbox::{Node, Sandbox, signal};
use cluster_tests::{events, processes, tool, wait_for};
use rustix::fs::{FlockOperation, flock};
use rustix::process::{Pid, Signal, kill_process};

/// One sandbox at a time: each is three daemons on a small machine.
static ALONE: Mutex<()> = Mutex::new(());
const PATIENCE: Duration = Duration::from_secs(40);
/// Columns and rows.
const WINDOW: (u16, u16) = (100, 30);

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn fresh(name: &str) -> PathBuf {
    let dir = scratch().join(name);
    drop(std::fs::remove_dir_all(&dir));
    // What one of an earlier run has said.
    drop(std::fs::remove_file(dir.with_extension("log")));
    dir
}

/// Whether some text has a colour.
fn is_coloured(raw: &str) -> bool {
    raw.contains("\u{1b}[3") || raw.contains("\u{1b}[1m")
}

/// What a terminal has to be left with: the cursor shown, wrapping on, the usual screen and no
/// colour.
#[track_caller]
fn is_clean(raw: &str) {
    for (set, reset) in [
        ("\u{1b}[?25l", "\u{1b}[?25h"),
        ("\u{1b}[?7l", "\u{1b}[?7h"),
        ("\u{1b}[?1049h", "\u{1b}[?1049l"),
    ] {
        assert!(raw.rfind(set) <= raw.rfind(reset), "{set:?} stays: {raw:?}");
    }
    let last = raw.rfind("\u{1b}[3").map(|at| &raw[at..]);
    assert!(
        last.is_none_or(|rest| rest.contains("\u{1b}[0m")),
        "a colour stays: {raw:?}"
    );
    assert!(
        raw.ends_with('\n'),
        "the prompt begins in the middle of a line: {raw:?}"
    );
}

#[test]
fn a_watched_status_follows_the_cluster() {
    let _alone = alone();
    let dir = fresh("terminal-watch");
    let mut sandbox = Sandbox::start(&dir, &["--size", "8MiB"]);
    let mut watch = Command::new(tool::steadfast());
    watch.args(["status", "--watch", "--dir"]).arg(&dir);
    let mut coloured = Terminal::run(&watch, WINDOW);
    let mut small = Terminal::run(watch.env("NO_COLOR", "1"), (60, 6));
    let seen = coloured.wait_for("healthy", 0, PATIENCE);
    // Again and again, in the same place.
    let seen = coloured.wait_for("\u{1b}[H", seen, PATIENCE);
    let witness = sandbox.witness();
    signal(&witness, Signal::STOP);
    let seen = coloured.wait_for("degraded", seen, PATIENCE);
    small.wait_for("degraded", 0, PATIENCE);
    signal(&witness, Signal::CONT);
    coloured.wait_for("healthy", seen, PATIENCE);
    coloured.interrupt();
    let (status, raw) = coloured.end(PATIENCE);
    assert_eq!(status.code(), Some(0));
    is_clean(&raw);
    assert!(is_coloured(&raw), "{raw:?}");

    small.interrupt();
    let (_, raw) = small.end(PATIENCE);
    is_clean(&raw);
    assert!(!is_coloured(&raw), "NO_COLOR: {raw:?}");
    for look in raw.split("\u{1b}[H").skip(1) {
        let lines = plain(look.split("\u{1b}[J").next().expect("text"));
        assert!(lines.matches('\n').count() <= 5, "it scrolls: {lines}");
    }
    sandbox.stop();
    drop(std::fs::remove_dir_all(&dir));
}

#[test]
fn a_watched_status_without_a_terminal_has_no_escape_codes() {
    let _alone = alone();
    let dir = fresh("terminal-none");
    let mut sandbox = Sandbox::start(&dir, &["--size", "8MiB"]);
    let said = sandbox.said();
    assert!(!said.contains('\u{1b}'), "{said:?}");
    // What is always done, as lines. What is waited for may be over before it is looked at.
    for step in ["making a sandbox", "preallocating"] {
        assert!(said.contains(step), "{said}");
    }
    let program = tool::steadfast();
    let line = format!(
        "{} status --watch --dir {} | head -40",
        program.display(),
        dir.display()
    );
    let text = tool::run("timeout", &["30", "sh", "-c", &line]);
    assert!(text.matches("healthy").count() >= 2, "{text}");
    assert!(!text.contains('\u{1b}'), "{text:?}");
    // Nor on one that understands nothing.
    let mut dumb = Command::new(&program);
    dumb.args(["status", "--dir"]).arg(&dir).env("TERM", "dumb");
    let (status, raw) = Terminal::run(&dumb, WINDOW).end(PATIENCE);
    assert_eq!(status.code(), Some(0));
    assert!(
        raw.contains("healthy") && !raw.contains('\u{1b}'),
        "{raw:?}"
    );
    sandbox.stop();
    drop(std::fs::remove_dir_all(&dir));
}

#[test]
fn a_sandbox_on_a_terminal_shows_its_progress_and_ends_by_ctrl_c() {
    let _alone = alone();
    let dir = fresh("terminal-sandbox");
    for (no_colour, from) in [("", "making a sandbox"), ("1", "found a sandbox")] {
        let mut command = Command::new(tool::steadfast());
        command
            .args(["sandbox", "--dir"])
            .arg(&dir)
            .env("NO_COLOR", no_colour);
        if no_colour.is_empty() {
            command.args(["--size", "8MiB"]);
        }
        let mut terminal = Terminal::run(&command, WINDOW);
        terminal.wait_for(from, 0, PATIENCE);
        let seen = terminal.wait_for("Ctrl-C stops everything", 0, PATIENCE);
        // Before that, the lines of the progress were drawn over each other.
        assert!(
            terminal.raw()[..seen].contains("\u{1b}["),
            "{:?}",
            terminal.raw()
        );
        terminal.interrupt();
        let (status, raw) = terminal.end(PATIENCE);
        assert_eq!(status.code(), Some(0), "{raw}");
        is_clean(&raw);
        assert_eq!(is_coloured(&raw), no_colour.is_empty(), "{raw:?}");
        assert!(plain(&raw).contains("stopping"), "{raw}");
        let left = processes::of(&dir);
        assert!(left.is_empty(), "{left:#?}");
    }
    drop(std::fs::remove_dir_all(&dir));
}

/// The processes that look after the daemons.
fn parents(sandbox: &Sandbox) -> Vec<i32> {
    let daemons: Vec<_> = sandbox.nodes().iter().map(|node| node.pid).collect();
    processes::all()
        .iter()
        .filter(|process| daemons.contains(&process.pid))
        .map(|process| process.parent)
        .collect()
}

/// Leaves a sandbox whose standby has missed so many MiB of writes, with every process killed.
fn behind(dir: &Path, args: &[&str], missed: u64) -> Node {
    let mut sandbox = Sandbox::start(dir, args);
    let (primary, standby) = sandbox.pair();
    signal(&standby, Signal::STOP);
    wait_for("the standby to be out", PATIENCE, || {
        let told = events::of(&primary);
        told.iter()
            .any(|event| event.kind == "shrunk")
            .then_some(())
    });
    let mut client = Client::connect(primary.nbd_address(), "data").expect("connect");
    let block = vec![7; 1 << 20];
    for offset in (0..missed).map(|block| block << 20) {
        client.write(offset, &block).expect("write");
    }
    for parent in parents(&sandbox) {
        kill_process(Pid::from_raw(parent).expect("pid"), Signal::KILL).expect("kill");
    }
    sandbox.end_by(Signal::KILL);
    wait_for("the daemons to end", PATIENCE, || {
        processes::of(dir).is_empty().then_some(())
    });
    standby
}

/// Keeps a node's daemon from starting: it waits for its log, and its parent is patient with that.
fn hold(node: &Node) -> File {
    let log = File::open(node.dir.join("cluster-log")).expect("log");
    // A killed one has it until its last write has landed.
    wait_for("the log", PATIENCE, || {
        flock(&log, FlockOperation::NonBlockingLockExclusive).ok()
    });
    log
}

#[test]
fn what_is_waited_for_is_shown() {
    let _alone = alone();
    let dir = fresh("terminal-wait");
    let standby = behind(&dir, &["--size", "32MiB"], 16);
    // It cannot start yet. What follows, the copy itself, may be over between two looks.
    let held = hold(&standby);
    let sentence = format!("{} is down", standby.name);
    let mut command = Command::new(tool::steadfast());
    command.args(["sandbox", "--dir"]).arg(&dir);
    let mut terminal = Terminal::run(&command, WINDOW);
    let seen = terminal.wait_for(&sentence, 0, PATIENCE);
    // Drawn again and again in its place.
    terminal.wait_for(&sentence, seen, PATIENCE);
    drop(held);
    terminal.wait_for("Ctrl-C stops everything", seen, PATIENCE);
    terminal.interrupt();
    let (_, raw) = terminal.end(PATIENCE);
    is_clean(&raw);
    drop(std::fs::remove_dir_all(&dir));
}

#[test]
fn without_a_terminal_what_is_waited_for_is_said_once() {
    let _alone = alone();
    let dir = fresh("terminal-wait-lines");
    let standby = behind(&dir, &["--size", "32MiB"], 16);
    let held = hold(&standby);
    let sentence = format!("{} is down", standby.name);
    std::fs::write(dir.with_extension("log"), "").expect("log");
    let mut sandbox = Sandbox::launch(&dir, &[]);
    let says = |words: &str| {
        wait_for(words, PATIENCE, || {
            sandbox.said().contains(words).then_some(())
        });
    };
    says(&sentence);
    // Until the next one is started, it is looked at some more times.
    signal(&sandbox.node(&standby.name), Signal::KILL);
    says(&format!("{}: started again", standby.name));
    drop(held);
    sandbox.wait_healthy(PATIENCE);
    let said = sandbox.said();
    // Something else may come between, where nodes do not know the same yet.
    let waits: Vec<_> = said
        .lines()
        .filter(|line| line.starts_with("data: ") || line.starts_with("the "))
        .collect();
    assert!(waits.windows(2).all(|two| two[0] != two[1]), "{said}");
    assert!(!said.contains('\u{1b}'), "{said:?}");
    sandbox.stop();
    drop(std::fs::remove_dir_all(&dir));
}

/// Leaves a sandbox whose standby's copy is empty, as that of a disk that was replaced.
fn replaced(dir: &Path) -> Node {
    // Slow to give a node up that does not run all the time.
    let args = ["--size", "512MiB", "--profile", "wan"];
    let standby = behind(dir, &args, 512);
    let config = standby.config.to_str().expect("path");
    std::fs::remove_file(standby.dir.join("data.store")).expect("store");
    let init = ["node", "init", "--config", config];
    tool::run(tool::steadfast().to_str().expect("path"), &init);
    standby
}

/// Sends a signal to the daemon of a sandbox in a terminal, if there is one now.
fn signal_daemon(node: &Node, signal: Signal) {
    for process in processes::of(&node.dir) {
        if process.command.contains(" node daemon ") {
            // It may have ended just now.
            let _sent = kill_process(Pid::from_raw(process.pid).expect("pid"), signal);
        }
    }
}

/// What the gauge was at, each time it was drawn: percent, and what stood behind it.
fn gauges(raw: &str) -> Vec<(u64, String)> {
    let drawn = plain(raw);
    let at = |line: &str| {
        let (percent, rest) = line.split_once(" %")?;
        let percent = percent.strip_prefix('[')?.rsplit_once("] ")?.1;
        Some((percent.trim().parse().ok()?, rest.trim_end().to_owned()))
    };
    drawn.split(['\r', '\n']).filter_map(at).collect()
}

#[test]
fn a_copy_that_is_filled_shows_percent_and_time_left() {
    let _alone = alone();
    let dir = fresh("terminal-copy");
    let standby = replaced(&dir);
    let mut command = Command::new(tool::steadfast());
    command.args(["sandbox", "--dir"]).arg(&dir);
    // As narrow as a terminal usually is.
    let mut terminal = Terminal::run(&command, (80, 24));
    let copying = |raw: &str| {
        let mut drawn = gauges(raw);
        drawn.retain(|(_, rest)| rest.contains(" left"));
        drawn
    };
    let grows = |drawn: &[(u64, String)]| {
        let midway = drawn.iter().map(|(percent, _)| *percent);
        let midway: Vec<_> = midway
            .filter(|percent| (1..100).contains(percent))
            .collect();
        midway.windows(2).any(|two| two[0] < two[1])
    };
    // In small steps, so that looks come in between, however fast the disk is.
    let began = Instant::now();
    while !grows(&copying(&terminal.raw())) {
        assert!(began.elapsed() < 3 * PATIENCE, "{:?}", terminal.raw());
        signal_daemon(&standby, Signal::CONT);
        std::thread::sleep(Duration::from_millis(10));
        signal_daemon(&standby, Signal::STOP);
        std::thread::sleep(Duration::from_millis(100));
    }
    signal_daemon(&standby, Signal::CONT);
    terminal.wait_for("Ctrl-C stops everything", 0, 3 * PATIENCE);
    terminal.interrupt();
    let (_, raw) = terminal.end(PATIENCE);
    is_clean(&raw);
    for (_, rest) in &copying(&raw) {
        let words = format!(
            " s left  data: no failure can be survived: {} is n",
            standby.name
        );
        assert!(rest.contains(&words), "{rest}: {raw:?}");
    }
    drop(std::fs::remove_dir_all(&dir));
}
