//! How everything ends: by being asked to, and by kill -9 of what looks after it.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use cluster_tests::client::Client;
use cluster_tests::image::scratch;
use cluster_tests::processes::{self, Process};
use cluster_tests::sandbox::{Sandbox, signal};
use cluster_tests::solo::{PORTS, Running, Solo};
use cluster_tests::{tool, wait_for};
use rustix::io::ioctl_fionread;
use rustix::process::{Pid, Signal, kill_process};

/// One sandbox at a time: each is three daemons on a small machine.
static ALONE: Mutex<()> = Mutex::new(());
const PATIENCE: Duration = Duration::from_secs(30);
/// Before a daemon that died is started again.
const PAUSE: Duration = Duration::from_secs(1);

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// SIGHUP; where it is ignored (under `nohup`), by what is started here too, SIGTERM once more.
fn hang_up() -> Signal {
    let status = std::fs::read_to_string("/proc/self/status").expect("status");
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = u64::from_str_radix(ignored.expect("SigIgn").trim(), 16).expect("a mask");
    if ignored & 1 << (Signal::HUP.as_raw() - 1) == 0 {
        Signal::HUP
    } else {
        Signal::TERM
    }
}

fn write(sandbox: &Sandbox, fill: u8) {
    let (_, standby) = sandbox.pair();
    let mut client = Client::connect(standby.nbd_address(), "data").expect("connect");
    client
        .write(u64::from(fill) * 4096, &[fill; 4096])
        .expect("write");
}

fn verify(sandbox: &Sandbox, fill: u8) {
    let (primary, _) = sandbox.pair();
    let mut client = Client::connect(primary.nbd_address(), "data").expect("connect");
    let mut data = [0; 4096];
    for fill in 1..=fill {
        client
            .read(u64::from(fill) * 4096, &mut data)
            .expect("read");
        assert_eq!(data, [fill; 4096]);
    }
}

/// Everything of `dir` has ended within `patience`.
#[track_caller]
fn ends(dir: &Path, patience: Duration) {
    let start = Instant::now();
    loop {
        let left = processes::of(dir);
        if left.is_empty() {
            return;
        }
        assert!(start.elapsed() < patience, "still there: {left:#?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_sandbox_ends_with_all_of_its_processes_and_is_found_again() {
    let _alone = alone();
    let dir = scratch().join("signals-sandbox");
    drop(std::fs::remove_dir_all(&dir));
    for (fill, signal) in [(1, Signal::TERM), (2, Signal::INT), (3, hang_up())] {
        let mut sandbox = Sandbox::start(&dir, if fill == 1 { &["--size", "8MiB"] } else { &[] });
        verify(&sandbox, fill - 1);
        write(&sandbox, fill);
        // Three parents and their daemons, and the sandbox itself.
        let running = processes::of(&dir);
        assert!(running.len() >= 7, "{running:#?}");
        assert!(running.iter().all(|process| process.state != 'Z'));
        let status = sandbox.end_by(signal);
        assert_eq!(status.code(), Some(0), "{signal:?}: {}", sandbox.said());
        // At once: it waits for them.
        let left = processes::of(&dir);
        assert!(left.is_empty(), "{signal:?}: {left:#?}");
        assert!(
            sandbox.said().trim_end().ends_with("stopping"),
            "{}",
            sandbox.said()
        );
    }
    let mut sandbox = Sandbox::start(&dir, &[]);
    verify(&sandbox, 3);
    sandbox.stop();
    drop(std::fs::remove_dir_all(&dir));
}

/// Waits until the sandbox has said this.
fn says(sandbox: &Sandbox, words: &str) {
    wait_for(words, PATIENCE, || {
        sandbox.said().contains(words).then_some(())
    });
}

fn send(sandbox: &Sandbox, signal: Signal) {
    let pid = Pid::from_raw(sandbox.pid()).expect("a process id");
    kill_process(pid, signal).expect("kill");
}

#[test]
fn a_sandbox_says_for_whom_it_waits_and_kills_where_one_insists() {
    let _alone = alone();
    let dir = scratch().join("signals-insist");
    drop(std::fs::remove_dir_all(&dir));
    for (first, second) in [(Signal::INT, Signal::TERM), (Signal::TERM, Signal::INT)] {
        drop(std::fs::remove_file(dir.with_extension("log")));
        let mut sandbox = Sandbox::start(&dir, &["--size", "8MiB"]);
        let (primary, _) = sandbox.pair();
        signal(&primary, Signal::STOP);
        send(&sandbox, first);
        let start = Instant::now();
        says(&sandbox, "another Ctrl-C");
        let told = start.elapsed();
        assert!(told >= Duration::from_secs(2), "{told:?}");
        let waiting = format!("still waiting for {} to stop", primary.name);
        assert!(sandbox.said().contains(&waiting), "{}", sandbox.said());
        let start = Instant::now();
        let status = sandbox.end_by(second);
        assert_eq!(status.code(), Some(0), "{}", sandbox.said());
        // Long before it would have been killed without that.
        ends(&dir, Duration::from_secs(5).saturating_sub(start.elapsed()));
        let killing = format!("killing {}", primary.name);
        assert!(sandbox.said().contains(&killing), "{}", sandbox.said());
    }
    let mut sandbox = Sandbox::start(&dir, &[]);
    sandbox.stop();
    drop(std::fs::remove_dir_all(&dir));
}

#[test]
fn a_node_that_does_not_run_any_more_is_told_once_with_the_reason() {
    let _alone = alone();
    let dir = scratch().join("signals-lost");
    drop(std::fs::remove_dir_all(&dir));
    drop(std::fs::remove_file(dir.with_extension("log")));
    let mut sandbox = Sandbox::start(&dir, &["--size", "8MiB"]);
    let (primary, standby) = sandbox.pair();
    let store = sandbox.store(&standby);
    let mut byte = [0];
    let file = File::options().read(true).write(true).open(&store);
    let file = file.expect("store");
    file.read_exact_at(&mut byte, 90).expect("read");
    file.write_all_at(&[byte[0] ^ 1], 90).expect("write");
    drop(file);
    signal(&standby, Signal::KILL);
    let lost = format!("{} does not run any more: ", standby.name);
    says(&sandbox, &lost);
    says(&sandbox, "superblock at byte 0 is damaged");
    says(&sandbox, "the sandbox goes on without it");
    // It was started again once, in vain.
    let again = format!("{}: started again", standby.name);
    let dead = "a new one starts in 1 s";
    let count = |words: &str| sandbox.said().matches(words).count();
    assert_eq!((count(&again), count(dead)), (1, 1), "{}", sandbox.said());

    let witness = sandbox.witness();
    sandbox.kill_for_good(&witness);
    says(
        &sandbox,
        "w1 does not run any more: its `steadfast node run` was killed by signal 9",
    );
    assert!(sandbox.status(&primary).is_some());
    let count = |words: &str| sandbox.said().matches(words).count();
    assert_eq!((count(&lost), count("any more")), (1, 2));
    sandbox.stop();
    drop(std::fs::remove_dir_all(&dir));
}

#[test]
fn without_the_sandbox_its_processes_end_too() {
    let _alone = alone();
    let dir = scratch().join("signals-killed");
    drop(std::fs::remove_dir_all(&dir));
    let mut sandbox = Sandbox::start(&dir, &["--size", "8MiB"]);
    write(&sandbox, 1);
    assert_eq!(sandbox.end_by(Signal::KILL).code(), None);
    ends(&dir, PATIENCE);
    drop(sandbox);
    let mut sandbox = Sandbox::start(&dir, &[]);
    verify(&sandbox, 1);
    sandbox.stop();
    drop(std::fs::remove_dir_all(&dir));
}

/// The daemon that this parent runs.
fn daemon(parent: i32) -> Process {
    wait_for("a daemon", PATIENCE, || {
        processes::children(parent)
            .into_iter()
            .find(|child| child.command.contains(" node daemon "))
    })
}

/// Whether it has not ended. One that lost its parent may stay a zombie: in a container the first
/// process may be one that reaps nobody.
fn exists(process: &Process) -> bool {
    processes::all()
        .iter()
        .any(|other| other.pid == process.pid && other.state != 'Z')
}

#[test]
fn a_node_ends_with_its_daemon() {
    let solo = Solo::new("signals-node");
    let address = format!("{}:{}", solo.address, PORTS[0])
        .parse()
        .expect("address");
    for (fill, signal) in [(1, Signal::TERM), (2, Signal::INT), (3, hang_up())] {
        let mut running = solo.serve();
        let daemon = daemon(running.pid());
        let mut client = Client::connect(address, "data").expect("connect");
        let mut data = [0; 4096];
        client.read(0, &mut data).expect("read");
        assert_eq!(data, [fill - 1; 4096]);
        client.write(0, &[fill; 4096]).expect("write");
        running.signal(signal);
        assert_eq!(
            running.end(PATIENCE).code(),
            Some(0),
            "{signal:?}: {}",
            running.said()
        );
        assert!(!exists(&daemon), "{signal:?}: {daemon:?}");
    }
    let mut running = solo.serve();
    let daemon = daemon(running.pid());
    running.signal(Signal::KILL);
    assert_eq!(running.end(PATIENCE).code(), None);
    wait_for("the daemon to end", PATIENCE, || {
        (!exists(&daemon)).then_some(())
    });
    drop(running);
    let running = solo.serve();
    let mut client = Client::connect(address, "data").expect("connect");
    let mut data = [0; 4096];
    client.read(0, &mut data).expect("read");
    assert_eq!(data, [3; 4096]);
    drop((client, running));
    solo.remove();
}

#[test]
fn a_daemon_that_was_killed_is_there_again_after_a_second() {
    let solo = Solo::new("signals-again");
    let running = solo.serve();
    let first = daemon(running.pid());
    let start = Instant::now();
    let pid = Pid::from_raw(first.pid).expect("a process id");
    kill_process(pid, Signal::KILL).expect("kill");
    wait_for("the daemon to end", PATIENCE, || {
        (!exists(&first)).then_some(())
    });
    let second = daemon(running.pid());
    let pause = start.elapsed();
    assert!(second.pid != first.pid && pause >= PAUSE, "{pause:?}");
    drop(running);
    solo.remove();
}

#[test]
fn a_node_that_waits_can_be_stopped() {
    let solo = Solo::new("signals-waiting");
    let _held = std::net::UdpSocket::bind((solo.address.as_str(), PORTS[2])).expect("bind");
    for signal in [Signal::TERM, Signal::INT] {
        let mut running = solo.run();
        running.wait_for(&["started again"], PATIENCE);
        running.signal(signal);
        assert_eq!(running.end(PATIENCE).code(), Some(0));
    }
    solo.remove();
}

#[test]
fn a_node_whose_messages_nobody_takes_goes_on() {
    let solo = Solo::new("unheard");
    // As on a disk that is full.
    let mut running = Running::start(Path::new("/dev/full"), &solo.config());
    wait_for("the node to serve", PATIENCE, || {
        (solo.status_code() == Some(0)).then_some(())
    });
    running.signal(Signal::TERM);
    assert_eq!(running.end(PATIENCE).code(), Some(0));
    drop(running);
    solo.remove();
}

/// What a pipe holds that nobody reads.
const PIPE: u64 = 64 << 10;

#[test]
fn a_watch_that_nobody_reads_can_be_ended() {
    let solo = Solo::new("signals-watch");
    let running = solo.serve();
    let (reader, writer) = std::io::pipe().expect("a pipe");
    let mut filler = writer.try_clone().expect("a descriptor");
    let filler = std::thread::spawn(move || filler.write_all(&[0; 2 * PIPE as usize]));
    wait_for("the pipe to be full", PATIENCE, || {
        let held = ioctl_fionread(&reader).expect("a pipe");
        (held == PIPE).then_some(())
    });
    for signal in [Signal::INT, Signal::TERM, hang_up()] {
        let mut watch = Command::new(tool::steadfast());
        watch.args(["status", "--watch", "--json", "--config"]);
        watch
            .arg(solo.config())
            .stdout(writer.try_clone().expect("a descriptor"));
        let mut watch = watch.spawn().expect("steadfast");
        let tasks = format!("/proc/{}/task", watch.id());
        // A second thread writes.
        wait_for("the first look", PATIENCE, || {
            let tasks = std::fs::read_dir(&tasks).expect("it runs");
            (tasks.count() > 1).then_some(())
        });
        kill_process(Pid::from_child(&watch), signal).expect("kill");
        let ended = wait_for("the watch to end", PATIENCE, || {
            watch.try_wait().expect("wait")
        });
        assert!(ended.code().is_some(), "{signal:?}: {ended}");
    }
    drop(reader);
    assert!(filler.join().expect("no panic").is_err());
    drop(running);
    solo.remove();
}
