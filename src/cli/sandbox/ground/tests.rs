use super::*;
use crate::forks::directory;

fn layout() -> Layout {
    Layout {
        volume: "data".into(),
        size: 1 << 20,
        storage_nodes: 2,
        witness: true,
        shared: false,
        profile: "lan".into(),
    }
}

/// A directory as a complete first start leaves it, with empty files for log and stores.
fn complete(dir: &Path) {
    let addresses: Vec<_> = (1..4u8).map(|host| [127, 200, 1, host].into()).collect();
    let configs = plan::configurations(&layout(), &addresses, config::Ports::default(), [9; 32]);
    for config in configs {
        let node = dir.join(&config.node.name);
        fs::create_dir_all(&node).unwrap();
        fs::write(node.join(CONFIG_FILE), config.to_toml()).unwrap();
        fs::write(node.join("cluster-log"), "").unwrap();
        fs::write(node.join("data.store"), "").unwrap();
    }
    let file = LayoutFile {
        steadfast_sandbox: FORMAT,
        state: State::Complete,
        layout: Some(layout()),
    };
    fs::write(dir.join(LAYOUT_FILE), serde_json::to_string(&file).unwrap()).unwrap();
}

/// Everything below `dir` but the lock, with its content.
fn content(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut all = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.extend(content(&path));
        } else if !path.ends_with(LOCK_FILE) {
            all.push((path.clone(), fs::read(&path).unwrap()));
        }
    }
    all.sort();
    all
}

/// Refused with these words, naming the directory, and nothing is touched.
#[track_caller]
fn refused(dir: &Path, words: &[&str]) {
    let before = content(dir);
    let error = Ground::enter(dir).unwrap_err();
    for word in words {
        assert!(error.contains(word), "no \"{word}\" in: {error}");
    }
    assert!(error.contains(dir.to_str().unwrap()), "{error}");
    assert!(before == content(dir), "something was touched");
}

#[test]
fn a_new_directory_is_made() {
    let temp = directory();
    let dir = temp.path().join("a/b");
    let ground = Ground::enter(&dir).unwrap();
    assert!(ground.layout().is_none() && dir.is_dir());
    drop(ground);
    // What a start that ended at once left behind is as good as nothing.
    assert!(Ground::enter(&dir).unwrap().layout().is_none());
}

#[test]
fn a_start_that_was_cut_off_before_it_made_anything_is_repeated() {
    let temp = directory();
    let new = temp.path().join(LAYOUT_NEW);
    fs::write(&new, "{").unwrap();
    // Without the lock it is somebody else's.
    refused(temp.path(), &["is not a sandbox", LAYOUT_NEW]);
    fs::write(temp.path().join(LOCK_FILE), "").unwrap();
    assert!(Ground::enter(temp.path()).unwrap().layout().is_none());
}

#[test]
fn a_complete_sandbox_is_found_again() {
    let temp = directory();
    complete(temp.path());
    let ground = Ground::enter(temp.path()).unwrap();
    assert_eq!(ground.layout(), Some(&layout()));
    let names: Vec<_> = ground
        .nodes()
        .iter()
        .map(|n| n.node.name.as_str())
        .collect();
    assert_eq!(names, ["n1", "n2", "w1"]);
    assert_eq!(ground.nodes()[0].node.dir, temp.path().join("n1"));
}

#[test]
fn it_may_be_moved() {
    let temp = directory();
    let old = temp.path().join("old");
    fs::create_dir(&old).unwrap();
    complete(&old);
    let new = temp.path().join("new");
    fs::rename(&old, &new).unwrap();
    let ground = Ground::enter(&new).unwrap();
    assert_eq!(ground.nodes()[1].node.dir, new.join("n2"));
}

#[test]
fn another_sandbox_on_it_is_refused() {
    let temp = directory();
    complete(temp.path());
    let held = Ground::enter(temp.path()).unwrap();
    let error = Ground::enter(temp.path()).unwrap_err();
    let me = format!("process {}", std::process::id());
    assert!(error.contains("runs in") && error.contains(&me), "{error}");
    assert!(
        error.contains("--dir") && error.contains("Ctrl-C"),
        "{error}"
    );
    drop(held);
    assert!(Ground::enter(temp.path()).is_ok());
}

#[test]
fn a_directory_of_something_else() {
    let temp = directory();
    fs::write(temp.path().join("thesis.tex"), "x").unwrap();
    refused(temp.path(), &["is not a sandbox", "thesis.tex", "--dir"]);
    assert!(!temp.path().join(LOCK_FILE).exists());
}

#[test]
fn a_file() {
    let temp = directory();
    let file = temp.path().join("f");
    fs::write(&file, "x").unwrap();
    let error = Ground::enter(&file).unwrap_err();
    assert!(
        error.contains("is not a directory") && error.contains("--dir"),
        "{error}"
    );
}

#[test]
fn a_half_written_one() {
    let temp = directory();
    let text = r#"{"steadfast_sandbox":1,"state":"creating","layout":null}"#;
    fs::write(temp.path().join(LAYOUT_FILE), text).unwrap();
    fs::create_dir(temp.path().join("n1")).unwrap();
    refused(temp.path(), &["never completed", "rm -r"]);
}

#[test]
fn a_foreign_or_garbled_layout() {
    let temp = directory();
    let path = temp.path().join(LAYOUT_FILE);
    for text in [
        "",
        "{",
        "[]",
        "{\"rows\": 3}",
        r#"{"steadfast_sandbox":1,"state":"complete","layout":null}"#,
        r#"{"steadfast_sandbox":1,"state":"odd","layout":null}"#,
    ] {
        fs::write(&path, text).unwrap();
        refused(temp.path(), &["is not a sandbox's", "--dir"]);
    }
    fs::write(&path, [0xff, 0xfe]).unwrap();
    refused(temp.path(), &[LAYOUT_FILE]);
}

#[test]
fn one_of_a_newer_version() {
    let temp = directory();
    let text = r#"{"steadfast_sandbox":2,"state":"complete","layout":null}"#;
    fs::write(temp.path().join(LAYOUT_FILE), text).unwrap();
    refused(temp.path(), &["newer version"]);
}

#[test]
fn one_with_something_missing_or_damaged() {
    let temp = directory();
    let dir = temp.path();
    for lost in ["n2/config.toml", "n1/cluster-log", "n2/data.store"] {
        complete(dir);
        fs::remove_file(dir.join(lost)).unwrap();
        refused(
            dir,
            &["is damaged", lost.rsplit('/').next().unwrap(), "rm -r"],
        );
    }
    complete(dir);
    let file = dir.join("n1/config.toml");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, &text[..text.len() / 2]).unwrap();
    refused(dir, &["is damaged", "n1/config.toml:"]);
    complete(dir);
    fs::copy(dir.join("n1/config.toml"), dir.join("n2/config.toml")).unwrap();
    refused(dir, &["is damaged", "n2/config.toml is of node n1"]);
}

#[test]
fn a_path_too_long_for_sockets_leaves_nothing_behind() {
    let temp = directory();
    let dir = temp.path().join("d".repeat(100));
    let error = Ground::enter(&dir).unwrap_err();
    assert!(error.contains("too long for the sockets"), "{error}");
    assert!(!dir.exists());
}

#[test]
fn the_end_of_a_log() {
    let temp = directory();
    let file = temp.path().join("l");
    let text: String = (0..20).map(|n| format!("line {n}\n")).collect();
    fs::write(&file, text).unwrap();
    let end = tail(&file);
    assert!(
        end.starts_with("line 12\n") && end.ends_with("line 19"),
        "{end}"
    );
    assert_eq!(tail(&temp.path().join("none")), "");
}
