//! The program's own documentation: help, man pages, shell completion.

use std::fs;
use std::process::Command;

use cluster_tests::tool::{self, Said};

fn steadfast(args: &[&str]) -> Said {
    Said::by(Command::new(tool::steadfast()).args(args))
}

/// Subcommands that the help of `words` lists.
fn subcommands(words: &[String]) -> Vec<Vec<String>> {
    let mut args: Vec<_> = words.iter().map(String::as_str).collect();
    args.push("--help");
    let help = steadfast(&args).out;
    let Some((_, list)) = help.split_once("Commands:\n") else {
        return Vec::new();
    };
    list.lines()
        .take_while(|line| line.starts_with("  "))
        .filter(|line| !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help")
        .map(|name| words.iter().cloned().chain([name.to_owned()]).collect())
        .collect()
}

/// Every command of the program, the bare one first.
fn commands() -> Vec<Vec<String>> {
    let mut found = vec![Vec::new()];
    let mut next = 0;
    while let Some(words) = found.get(next) {
        let more = subcommands(words);
        found.extend(more);
        next += 1;
    }
    found
}

#[test]
fn every_command_has_help_that_fits_the_window() {
    let commands = commands();
    assert!(commands.len() > 15, "{commands:?}");
    for words in &commands {
        for flag in ["--help", "-h"] {
            let mut command = Command::new(tool::steadfast());
            command.args(words).arg(flag).env("COLUMNS", "80");
            let said = Said::by(&mut command);
            said.tells(0, &["Usage: steadfast"]);
            assert_eq!(said.error, "");
            assert!(!said.out.contains('\u{1b}'), "{words:?}");
            for line in said.out.lines() {
                assert!(
                    line.chars().count() <= 80,
                    "{words:?} {flag}: too wide: {line}"
                );
            }
        }
    }
}

#[test]
fn every_shell_is_completed() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let said = steadfast(&["completion", shell]);
        said.tells(0, &["steadfast", "sandbox", "promote"]);
        assert_eq!(said.error, "");
        // What only the program itself uses is not offered.
        let offered = said.out.replace("while no daemon uses it", "");
        for hidden in ["daemon", "--report", "--parent"] {
            assert!(!offered.contains(hidden), "{shell}: {hidden}");
        }
        // Whoever reads only the beginning is no error.
        let line = format!(
            "set -o pipefail; {} completion {shell} | head -1",
            tool::steadfast().display()
        );
        let said = Said::by(Command::new("bash").args(["-c", &line]));
        said.tells(0, &[]);
        assert_eq!(said.error, "", "{shell}");
    }
    let script = steadfast(&["completion", "bash"]).out;
    let temp = tempfile::tempdir().expect("directory");
    let file = temp.path().join("steadfast.bash");
    fs::write(&file, script).expect("script");
    tool::run("bash", &["-n", file.to_str().expect("path")]);
}

#[test]
fn every_command_has_a_man_page() {
    let temp = tempfile::tempdir().expect("directory");
    let dir = temp.path().to_str().expect("path");
    let said = steadfast(&["man", dir]);
    said.tells(0, &[]);
    assert_eq!(said.error, "");
    for words in commands() {
        let name = [&["steadfast".to_owned()], words.as_slice()]
            .concat()
            .join("-");
        let page = fs::read_to_string(temp.path().join(format!("{name}.1"))).expect("page");
        for part in [".TH", ".SH NAME", ".SH SYNOPSIS"] {
            assert!(page.contains(part), "{name}: no {part}");
        }
    }
    steadfast(&["man", "/no/such/dir"]).refuses(1, &["/no/such/dir"]);
}
