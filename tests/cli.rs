//! The program as a person or a script meets it: what it says, and how it ends.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

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

/// `steadfast config check FILE` with this standard input.
fn check(file: &str, input: impl Into<Stdio>) -> Output {
    Command::new(env!("CARGO_BIN_EXE_steadfast"))
        .args(["config", "check", file])
        .stdin(input)
        .output()
        .expect("steadfast starts")
}

#[test]
fn a_configuration_that_is_no_file() {
    let temp = tempfile::tempdir().unwrap();
    let pipe = temp.path().join("pipe");
    let made = Command::new("mkfifo").arg(&pipe).status();
    assert!(made.unwrap().success());
    let words = [path(&pipe), "named pipe"];
    ends(&["config", "check", words[0]], 1, &words);
    for command in ["run", "init"] {
        ends(&["node", command, "--config", words[0]], 78, &words);
    }
    ends(&["status", "--config", words[0]], 3, &words);

    // What is handed over by a shell is read to its end, whatever it is.
    let example = steadfast(&["config", "example"]).stdout;
    for file in ["/dev/stdin", "/dev/fd/0", "/proc/self/fd/0"] {
        let (reader, mut writer) = std::io::pipe().unwrap();
        let text = example.clone();
        let writing = std::thread::spawn(move || {
            let (first, second) = text.split_at(100);
            writer.write_all(first).unwrap();
            // So that the reader has to wait.
            std::thread::sleep(Duration::from_millis(50));
            writer.write_all(second).unwrap();
        });
        let checked = check(file, reader);
        assert!(checked.status.success(), "{file}: {checked:?}");
        writing.join().unwrap();
    }
    let kept = temp.path().join("c.toml");
    std::fs::write(&kept, &example).unwrap();
    let checked = check("/dev/stdin", File::open(&kept).unwrap());
    assert!(checked.status.success(), "{checked:?}");
}

#[test]
fn a_sandbox_whose_path_is_no_text() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join(OsStr::from_bytes(b"s\xff"));
    let output = Command::new(env!("CARGO_BIN_EXE_steadfast"))
        .args(["sandbox", "--dir"])
        .arg(&dir)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("not UTF-8") && said.contains("--dir"),
        "{said}"
    );
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(output.stdout.is_empty(), "{output:?}");
    assert!(!dir.exists());
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
