//! What `images` has for real machines fits the program.

use std::fs;
use std::path::Path;
use std::process::Command;

use cluster_tests::tool::{self, Said};

const UNIT: &str = include_str!("../../../images/systemd/steadfast.service");
/// Where the unit expects the program.
const INSTALLED: &str = "/usr/bin/steadfast";

/// The one value of a setting.
fn setting(name: &str) -> &'static str {
    let values: Vec<_> = UNIT
        .lines()
        .filter_map(|line| line.strip_prefix(name)?.strip_prefix('='))
        .collect();
    assert_eq!(values.len(), 1, "{name}: {values:?}");
    values[0]
}

/// What systemd would run, with this configuration.
fn exec_start(config: &Path) -> Said {
    let words: Vec<_> = setting("ExecStart").split(' ').collect();
    let [INSTALLED, args @ .., file] = words.as_slice() else {
        panic!("{words:?}");
    };
    assert_eq!(*file, "/etc/steadfast/steadfast.toml");
    Said::by(Command::new(tool::steadfast()).args(args).arg(config))
}

#[test]
fn the_unit_runs_a_command_that_the_program_has() {
    let temp = tempfile::tempdir().expect("directory");
    let file = temp.path().join("steadfast.toml");
    let name = file.to_str().expect("path");
    // What only a person can put right must not be tried again and again.
    exec_start(&file).refuses(78, &[name]);
    fs::write(&file, "[cluster]\nnome = 1\n").expect("configuration");
    exec_start(&file).refuses(78, &[name, "nome"]);
    assert_eq!(setting("RestartPreventExitStatus"), "75 78");
    // Wrong arguments would end it otherwise.
    Said::by(Command::new(tool::steadfast()).args(["node", "run", "--file", name]))
        .refuses(64, &["--file"]);
}

#[test]
fn the_unit_restarts_for_ever_and_lets_heartbeats_wait_for_nothing() {
    for (name, value) in [
        ("Type", "exec"),
        ("Restart", "always"),
        ("RestartSec", "1s"),
        ("StartLimitIntervalSec", "0"),
        ("KillMode", "mixed"),
        ("LimitMEMLOCK", "infinity"),
        ("LimitRTPRIO", "99"),
        ("OOMScoreAdjust", "-1000"),
    ] {
        assert_eq!(setting(name), value, "{name}");
    }
    assert!(setting("After").contains("network-online.target"));
    assert!(setting("Wants").contains("network-online.target"));
    // The directory that the example configuration names.
    let example = Said::by(Command::new(tool::steadfast()).args(["config", "example"]));
    let dir = format!("dir = \"/var/lib/{}\"", setting("StateDirectory"));
    example.tells(0, &[&dir]);
}

#[test]
fn systemd_takes_the_unit() {
    let temp = tempfile::tempdir().expect("directory");
    let file = temp.path().join("steadfast.service");
    let program = tool::steadfast().display().to_string();
    fs::write(&file, UNIT.replace(INSTALLED, &program)).expect("unit");
    let mut verify = Command::new("systemd-analyze");
    let said = Said::by(verify.args(["verify", "--man=no"]).arg(&file));
    assert_eq!((said.code, said.error.as_str()), (Some(0), ""), "{said:?}");
}
