//! The program as a person or a script meets it: what it says, and how it ends.

use std::path::Path;
use std::process::{Command, Output};

fn steadfast(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_steadfast"))
        .args(args)
        .env_remove("STEADFAST_API")
        .current_dir(std::env::temp_dir())
        .output()
        .expect("steadfast starts")
}

/// Ends with this code, having said these words on the standard error.
#[track_caller]
fn ends(args: &[&str], code: i32, words: &[&str]) {
    let output = steadfast(args);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{args:?}: {said}");
    for word in words {
        assert!(said.contains(word), "{args:?}: no \"{word}\" in: {said}");
    }
}

fn path(path: &Path) -> &str {
    path.to_str().expect("a path of plain text")
}

#[test]
fn a_configuration_is_checked() {
    let temp = tempfile::tempdir().unwrap();
    let file = temp.path().join("c.toml");
    let example = steadfast(&["config", "example"]);
    assert!(example.status.success());
    std::fs::write(&file, &example.stdout).unwrap();
    let right = steadfast(&["config", "check", path(&file)]);
    assert!(right.status.success());
    assert!(String::from_utf8_lossy(&right.stdout).contains("this is n1"));

    let wrong = String::from_utf8(example.stdout)
        .unwrap()
        .replace("8GiB", "8GB");
    std::fs::write(&file, wrong).unwrap();
    ends(
        &["config", "check", path(&file)],
        1,
        &["c.toml:", "8GB", "8GiB"],
    );
    ends(
        &["config", "check", "/no/such/file"],
        1,
        &["/no/such/file", "cannot be read"],
    );
    ends(
        &["node", "run", "--config", path(&file)],
        78,
        &["bad configuration", "8GB"],
    );
    ends(
        &["node", "init", "--config", path(&file)],
        78,
        &["bad configuration", "8GB"],
    );
}

#[test]
fn wrong_arguments_have_a_code_of_their_own() {
    ends(&["frobnicate"], 64, &["frobnicate"]);
    ends(&["sandbox", "--size", "2GB"], 64, &["unknown unit", "8GiB"]);
    ends(
        &["sandbox", "--storage-nodes", "0"],
        64,
        &["--storage-nodes"],
    );
    ends(
        &["sandbox", "--profile", "quick"],
        64,
        &["fast, lan or wan"],
    );
    assert!(steadfast(&["--help"]).status.success());
    assert!(steadfast(&["--version"]).status.success());
}

#[test]
fn nobody_to_speak_to() {
    ends(
        &["status", "--api", "/no/such/socket"],
        3,
        &["/no/such/socket", "steadfast node run"],
    );
    ends(
        &["status", "--dir", "/no/such/dir"],
        3,
        &["no sandbox has run in /no/such/dir"],
    );
    ends(
        &["events", "--api", "/no/such/socket"],
        1,
        &["/no/such/socket"],
    );
    ends(
        &["volume", "list", "--dir", "/no/such/dir"],
        1,
        &["/no/such/dir"],
    );
    let by_environment = Command::new(env!("CARGO_BIN_EXE_steadfast"))
        .arg("status")
        .env("STEADFAST_API", "/no/such/default")
        .output()
        .unwrap();
    assert!(String::from_utf8_lossy(&by_environment.stderr).contains("/no/such/default"));
    let temp = tempfile::tempdir().unwrap();
    std::fs::write(temp.path().join("sandbox.json"), "[]").unwrap();
    ends(
        &["status", "--dir", path(temp.path())],
        3,
        &["sandbox.json is not a sandbox's"],
    );
}

#[test]
fn a_sandbox_in_a_directory_of_something_else() {
    let temp = tempfile::tempdir().unwrap();
    std::fs::write(temp.path().join("thesis.tex"), "x").unwrap();
    ends(
        &["sandbox", "--dir", path(temp.path())],
        1,
        &["is not a sandbox", "thesis.tex", "--dir"],
    );
}

#[test]
fn a_store_that_is_none() {
    let temp = tempfile::tempdir().unwrap();
    let file = temp.path().join("f");
    std::fs::write(&file, vec![b'x'; 1 << 20]).unwrap();
    assert_eq!(
        steadfast(&["meta", "check", path(&file)]).status.code(),
        Some(2)
    );
    assert_eq!(
        steadfast(&["meta", "dump", "--json", path(&file)])
            .status
            .code(),
        Some(2)
    );
    ends(&["meta", "check", "/no/such/store"], 2, &["/no/such/store"]);
}

#[test]
fn completions_and_man_pages() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = steadfast(&["completion", shell]);
        assert!(output.status.success());
        assert!(
            String::from_utf8_lossy(&output.stdout).contains("sandbox"),
            "{shell}"
        );
    }
    let temp = tempfile::tempdir().unwrap();
    assert!(steadfast(&["man", path(temp.path())]).status.success());
    let page = std::fs::read_to_string(temp.path().join("steadfast-status.1")).unwrap();
    assert!(page.contains("degraded"));
    assert!(temp.path().join("steadfast.1").exists());
    assert!(!temp.path().join("steadfast-node-daemon.1").exists());
    ends(&["man", "/no/such/dir"], 1, &["/no/such/dir"]);
}
