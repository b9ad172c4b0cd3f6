//! What is shown on a terminal, and what where there is none.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cluster_tests::client::Client;
use cluster_tests::image::scratch;
use cluster_tests::pty::{Terminal, plain};
use cluster_tests::sandbox::{Node, Sandbox, signal};
use cluster_tests::{events, processes, tool, wait_for};
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

/// Leaves a sandbox whose standby has missed writes, with every process killed.
fn behind(dir: &Path) -> Node {
    let mut sandbox = Sandbox::start(dir, &["--size", "32MiB"]);
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
    for offset in (0..16_u64).map(|block| block << 20) {
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

/// Keeps a node's daemon from starting. A killed one has its port until its last write has landed.
fn hold(node: &Node) -> TcpListener {
    wait_for("the port", PATIENCE, || {
        TcpListener::bind(node.nbd_address()).ok()
    })
}

#[test]
fn what_is_waited_for_is_shown() {
    let _alone = alone();
    let dir = fresh("terminal-wait");
    let standby = behind(&dir);
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
    let standby = behind(&dir);
    let held = hold(&standby);
    let sentence = format!("{} is down", standby.name);
    std::fs::write(dir.with_extension("log"), "").expect("log");
    let mut sandbox = Sandbox::launch(&dir, &[]);
    // So often was it started in vain, and looked at more often.
    let restarts = format!("{}: started again", standby.name);
    wait_for("a second start", PATIENCE, || {
        let said = sandbox.said();
        (said.contains(&sentence) && said.contains(&restarts)).then_some(())
    });
    drop(held);
    sandbox.wait_healthy(PATIENCE);
    let said = sandbox.said();
    assert_eq!(said.matches(&sentence).count(), 1, "{said}");
    assert!(!said.contains('\u{1b}'), "{said:?}");
    sandbox.stop();
    drop(std::fs::remove_dir_all(&dir));
}

/// Leaves a stopped sandbox whose second copy is empty, as that of a disk that was replaced.
fn replaced(dir: &Path) {
    let mut sandbox = Sandbox::start(dir, &["--size", "1GiB"]);
    let (primary, _) = sandbox.pair();
    let mut client = Client::connect(primary.nbd_address(), "data").expect("connect");
    let block = vec![7; 1 << 20];
    for offset in (0..1024_u64).map(|block| block << 20) {
        client.write(offset, &block).expect("write");
    }
    drop(client);
    sandbox.stop();
    let config = dir.join("n2/config.toml");
    std::fs::remove_file(dir.join("n2/data.store")).expect("store");
    let init = ["node", "init", "--config", config.to_str().expect("path")];
    tool::run(tool::steadfast().to_str().expect("path"), &init);
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
    replaced(&dir);
    let mut command = Command::new(tool::steadfast());
    command.args(["sandbox", "--dir"]).arg(&dir);
    // As narrow as a terminal usually is.
    let mut terminal = Terminal::run(&command, (80, 24));
    let seen = terminal.wait_for("Ctrl-C stops everything", 0, PATIENCE);
    terminal.interrupt();
    let (_, raw) = terminal.end(PATIENCE);
    is_clean(&raw);
    let mut copying = gauges(&raw[..seen]);
    copying.retain(|(_, rest)| rest.contains(" left"));
    for (_, rest) in &copying {
        let words = " s left  data: no failure can be survived: n2 is n";
        assert!(rest.contains(words), "{rest}: {copying:?}");
    }
    let midway = |(percent, _): &(u64, String)| (1..100).contains(percent);
    assert!(copying.iter().any(midway), "{raw:?}");
    assert!(
        copying.is_sorted_by_key(|(percent, _)| *percent),
        "{copying:?}"
    );
    drop(std::fs::remove_dir_all(&dir));
}
