//! The programs that a bench needs.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Fault;
use crate::system::System;

/// Says everything that is missing, and how to get it.
pub fn check(systems: &[System]) -> Result<(), Fault> {
    let mut needed = vec![("fio", "fio")];
    if systems.contains(&System::QemuNbd) {
        needed.push(("qemu-nbd", "qemu-utils"));
    }
    if systems.contains(&System::Quorum) {
        needed.push(("qemu-storage-daemon", "qemu-utils"));
    }
    let missing: Vec<_> = needed
        .into_iter()
        .filter(|(program, _)| !is_there(program))
        .collect();
    if !missing.is_empty() {
        let programs: Vec<_> = missing.iter().map(|(program, _)| *program).collect();
        let mut packages: Vec<_> = missing.iter().map(|(_, package)| *package).collect();
        packages.dedup();
        return Err(format!(
            "missing: {}; on Debian: apt-get install {}",
            programs.join(", "),
            packages.join(" ")
        ));
    }
    let engines = Command::new("fio").arg("--enghelp").output();
    let engines = engines.map_err(|error| format!("fio: {error}"))?;
    let has_nbd = String::from_utf8_lossy(&engines.stdout)
        .lines()
        .any(|line| line.trim() == "nbd");
    has_nbd
        .then_some(())
        .ok_or_else(|| "this fio was built without its nbd engine".to_owned())
}

fn is_there(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(program).is_file())
}

/// Builds the program, so that what is measured is what lies in the working tree.
pub fn build() -> Result<PathBuf, Fault> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let built = Command::new(cargo)
        .args(["build", "--release", "--quiet", "--bin", "steadfast"])
        .current_dir(&root)
        .status()
        .map_err(|error| format!("cargo: {error}"))?;
    if !built.success() {
        return Err("steadfast does not build; name a built one with --steadfast".to_owned());
    }
    // This program lies beside it, wherever the target directory is.
    let own = std::env::current_exe().map_err(|error| format!("own path: {error}"))?;
    let beside = own.with_file_name("steadfast");
    let target = root.join("target/release/steadfast");
    [beside, target]
        .into_iter()
        .filter(|file| file.parent().is_some_and(|dir| dir.ends_with("release")))
        .find(|file| file.is_file())
        .ok_or_else(|| "cannot find the built program; name it with --steadfast".to_owned())
}
