//! Commands whose standard output takes nothing: they say so, and never end as if they had told.

use std::fs::File;
use std::process::{Command, Stdio};
use std::time::Duration;

use cluster_tests::solo::Solo;
use cluster_tests::{tool, wait_for};
use rustix::process::Signal;

/// The code and what is said on the standard error, where the standard output goes to `out`.
fn ends(args: &[&str], out: impl Into<Stdio>) -> (Option<i32>, String) {
    let mut child = Command::new(tool::steadfast())
        .args(args)
        .env_remove("STEADFAST_API")
        .stdin(Stdio::null())
        .stdout(out)
        .stderr(Stdio::piped())
        .spawn()
        .expect("steadfast");
    wait_for("the command to end", Duration::from_secs(20), || {
        child.try_wait().expect("wait")
    });
    let output = child.wait_with_output().expect("output");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code(), said)
}

/// As on a disk that is full.
fn full() -> File {
    File::options()
        .write(true)
        .open("/dev/full")
        .expect("/dev/full")
}

/// A pipe whose reader has gone.
fn closed() -> std::io::PipeWriter {
    let (_, writer) = std::io::pipe().expect("a pipe");
    writer
}

#[test]
fn what_cannot_be_written_is_an_error_and_a_reader_that_has_gone_is_none() {
    let solo = Solo::new("output");
    let other = Solo::new("output-store");
    let store = other.store();
    let store = store.to_str().expect("path");
    let config = solo.config();
    let config = config.to_str().expect("path");
    let mut running = solo.serve();
    // Each with its code where it can write, and where it cannot.
    for (args, told, untold) in [
        (&["status", "--config", config][..], 0, 3),
        (&["status", "--json", "--config", config], 0, 3),
        (&["status", "--watch", "--config", config], 0, 3),
        (&["status", "--watch", "--json", "--config", config], 0, 3),
        (&["volume", "list", "--config", config], 0, 1),
        (&["volume", "list", "--json", "--config", config], 0, 1),
        (&["events", "--config", config], 0, 1),
        (&["events", "--json", "--config", config], 0, 1),
        (&["events", "--follow", "--config", config], 0, 1),
        (&["config", "example"], 0, 1),
        (&["config", "check", config], 0, 1),
        (&["meta", "dump", store], 0, 2),
        (&["meta", "dump", "--json", store], 0, 2),
        (&["meta", "check", store], 0, 2),
        (&["completion", "bash"], 0, 1),
        (&["--help"], 0, 1),
        (&["--version"], 0, 1),
    ] {
        let (code, said) = ends(args, full());
        assert_eq!(code, Some(untold), "{args:?}: {said}");
        assert!(
            said.contains("standard output") && said.contains("No space left"),
            "{args:?}: {said}"
        );
        assert_eq!(said.lines().count(), 1, "{args:?}: {said}");
        let quiet = (Some(told), String::new());
        assert_eq!(ends(args, closed()), quiet, "{args:?}");
    }
    running.signal(Signal::TERM);
    assert_eq!(running.end(Duration::from_secs(30)).code(), Some(0));
    drop(running);
    solo.remove();
    other.remove();
}
