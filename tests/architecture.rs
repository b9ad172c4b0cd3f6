//! The layout is the architecture: what a module may not know, it may not name.
//!
//! Each row allows a folder (or file) the crate modules and external crates that it may use; the
//! table in ARCHITECTURE.md says the same in words, and the last tests hold the two together.

use std::fs;
use std::path::{Path, PathBuf};

/// One module and what it may know.
struct Module {
    /// Folder or file below the repository's root.
    path: &'static str,
    /// Modules of the `steadfast` package that it may name.
    modules: &'static [&'static str],
    /// External crates, `std` apart.
    crates: &'static [&'static str],
    /// Whether it is pure: no clock, socket, file, thread, hash order, randomness.
    pure: bool,
}

const MODULES: &[Module] = &[
    Module {
        path: "src/types.rs",
        modules: &[],
        crates: &["serde"],
        pure: true,
    },
    Module {
        path: "src/record.rs",
        modules: &["types"],
        crates: &["serde"],
        pure: true,
    },
    Module {
        path: "src/seldom.rs",
        modules: &["types"],
        crates: &[],
        pure: true,
    },
    Module {
        path: "src/wire",
        modules: &["types", "member::io", "wire"],
        crates: &["blake3", "crc32fast"],
        pure: true,
    },
    Module {
        path: "src/meta",
        modules: &["types", "meta"],
        crates: &["crc32fast", "rustix", "serde", "serde_json"],
        pure: false,
    },
    Module {
        path: "src/engine",
        modules: &[
            "types",
            "record",
            "wire::frame",
            "meta",
            "member::io",
            "engine",
        ],
        crates: &[],
        pure: true,
    },
    Module {
        path: "src/member",
        modules: &["types", "record", "member"],
        crates: &["crc32fast", "postcard", "serde"],
        pure: true,
    },
    Module {
        path: "src/node.rs",
        modules: &["types", "record", "engine", "member", "meta"],
        crates: &[],
        pure: true,
    },
    Module {
        path: "src/status",
        modules: &["types", "record", "member::io", "status"],
        crates: &["config", "serde", "uuid"],
        pure: true,
    },
    Module {
        path: "nbd-server/src",
        modules: &[],
        crates: &[],
        pure: true,
    },
    Module {
        path: "fence/src",
        modules: &[],
        crates: &[],
        pure: true,
    },
    Module {
        path: "config/src",
        modules: &[],
        crates: &["serde", "toml", "uuid"],
        pure: false,
    },
];

/// Names that a pure module may not contain: each would make a run depend on more than its events.
const IMPURE: &[&str] = &[
    "std::fs",
    "std::net",
    "std::thread",
    "std::process",
    "std::sync",
    "std::env",
    "std::io",
    "Instant::now",
    "SystemTime",
    "HashMap",
    "HashSet",
    "RandomState",
    "getrandom",
    "thread_rng",
    "async fn",
    ".await",
];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn sources(path: &Path, found: &mut Vec<PathBuf>) {
    if path.is_file() {
        found.push(path.to_owned());
        return;
    }
    let entries = fs::read_dir(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    for entry in entries {
        let path = entry.expect("directory entry").path();
        if path.is_dir() || path.extension().is_some_and(|extension| extension == "rs") {
            sources(&path, found);
        }
    }
    found.sort();
}

/// Names of the modules that are declared for tests only.
fn test_modules() -> Vec<String> {
    let mut files = Vec::new();
    for folder in ["src", "nbd-server/src", "fence/src", "config/src"] {
        sources(&root().join(folder), &mut files);
    }
    let mut names = vec!["tests".to_owned()];
    for file in files {
        let text = fs::read_to_string(file).expect("source");
        for after in text.split("#[cfg(test)]\nmod ").skip(1) {
            if let Some((name, _)) = after.split_once(';')
                && name.chars().all(|c| c.is_alphanumeric() || c == '_')
            {
                names.push(name.to_owned());
            }
        }
    }
    names
}

/// The code of a file: without comments, and without what only tests see.
fn code(path: &Path) -> String {
    let test_only = test_modules();
    let own = path.with_extension("");
    let mut parts = own.components();
    if parts.any(|part| {
        test_only
            .iter()
            .any(|name| part.as_os_str() == name.as_str())
    }) {
        return String::new();
    }
    let text = fs::read_to_string(path).expect("source");
    let text = text
        .split("#[cfg(test)]\nmod tests {")
        .next()
        .unwrap_or_default();
    text.lines()
        .map(|line| line.split("//").next().unwrap_or_default())
        .fold(String::new(), |mut code, line| {
            code.push_str(line);
            code.push('\n');
            code
        })
}

/// Paths that begin with `crate::`, with groups like `crate::{a::b, c}` taken apart.
fn named_modules(code: &str) -> Vec<String> {
    let mut named = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        // `$crate::` and `my_crate::` are not ours.
        if code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '$') {
            continue;
        }
        let rest = &code[at + "crate::".len()..];
        if let Some(group) = rest.strip_prefix('{') {
            let mut depth = 0_usize;
            let mut item = String::new();
            for c in group.chars() {
                match c {
                    '{' => depth += 1,
                    '}' if depth == 0 => break,
                    '}' => depth -= 1,
                    ',' if depth == 0 => {
                        named.push(item.trim().to_owned());
                        item.clear();
                        continue;
                    }
                    _ => {}
                }
                item.push(c);
            }
            named.push(item.trim().to_owned());
        } else {
            named.push(
                rest.chars()
                    .take_while(|c| c.is_alphanumeric() || "_:".contains(*c))
                    .collect(),
            );
        }
    }
    named.retain(|name| !name.is_empty());
    named
}

#[test]
fn no_module_names_what_it_may_not_know() {
    let mut wrong = Vec::new();
    for module in MODULES {
        let mut files = Vec::new();
        sources(&root().join(module.path), &mut files);
        assert!(!files.is_empty(), "{} has no sources", module.path);
        for file in files {
            let code = code(&file);
            for name in named_modules(&code) {
                let allowed = !module.path.starts_with("src/")
                    || module.modules.iter().any(|allowed| {
                        name == *allowed || name.starts_with(&format!("{allowed}::"))
                    });
                if !allowed {
                    wrong.push(format!("{}: crate::{name}", file.display()));
                }
            }
            for other in [
                "axum",
                "blake3",
                "clap",
                "config",
                "crc32fast",
                "fence",
                "getrandom",
                "hyper",
                "io_uring",
                "nbd_server",
                "postcard",
                "rustix",
                "serde",
                "serde_json",
                "tokio",
                "toml",
                "tracing",
                "uuid",
            ] {
                // `engine::config` and the like are modules of ours.
                if code.contains(&format!("mod {other};")) {
                    continue;
                }
                let named = code.lines().any(|line| {
                    line.starts_with(&format!("use {other}::"))
                        || line.contains(&format!(" {other}::"))
                        || line.contains(&format!("({other}::"))
                });
                if named && !module.crates.contains(&other) {
                    wrong.push(format!("{}: {other}", file.display()));
                }
            }
            if module.pure {
                for banned in IMPURE {
                    if code.contains(banned) {
                        wrong.push(format!("{}: {banned}", file.display()));
                    }
                }
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "modules name what they may not know:\n{}",
        wrong.join("\n")
    );
}

#[test]
fn unsafe_code_lives_in_one_folder() {
    let mut files = Vec::new();
    for folder in ["src", "nbd-server", "fence", "config", "tests"] {
        sources(&root().join(folder), &mut files);
    }
    let wrong: Vec<_> = files
        .iter()
        .filter(|file| !file.starts_with(root().join("src/uring")))
        .filter(|file| !file.ends_with("tests/architecture.rs"))
        .filter(|file| code(file).lines().any(|line| line.contains("unsafe ")))
        .collect();
    assert!(wrong.is_empty(), "unsafe outside src/uring: {wrong:?}");
}

#[test]
fn every_module_has_its_job_written_down() {
    let text = fs::read_to_string(root().join("ARCHITECTURE.md")).expect("ARCHITECTURE.md");
    let mut missing = Vec::new();
    for entry in fs::read_dir(root().join("src")).expect("src") {
        let name = entry
            .expect("entry")
            .file_name()
            .to_string_lossy()
            .into_owned();
        if !["main.rs", "lib.rs"].contains(&name.as_str()) && !text.contains(&format!("src/{name}"))
        {
            missing.push(name);
        }
    }
    for module in MODULES {
        if !text.contains(module.path.trim_end_matches("/src")) {
            missing.push(module.path.to_owned());
        }
    }
    assert!(missing.is_empty(), "not in ARCHITECTURE.md: {missing:?}");
}

#[test]
fn every_direct_dependency_has_its_reason() {
    let text = fs::read_to_string(root().join("ARCHITECTURE.md")).expect("ARCHITECTURE.md");
    let manifest = fs::read_to_string(root().join("Cargo.toml")).expect("Cargo.toml");
    let section = manifest
        .split("[workspace.dependencies]")
        .nth(1)
        .expect("dependencies");
    let missing: Vec<_> = section
        .split("\n[")
        .next()
        .unwrap_or_default()
        .lines()
        .filter(|line| !line.contains("path = "))
        .filter_map(|line| line.split_once(" = ").map(|(name, _)| name))
        .filter(|name| !text.contains(&format!("`{name}`")))
        .collect();
    assert!(
        missing.is_empty(),
        "no reason in ARCHITECTURE.md for: {missing:?}"
    );
}

#[test]
fn the_scanner_sees_what_it_should() {
    let found = named_modules("use crate::{a::b, c::{d, e}};\nlet x = crate::f::g(1); $crate::h");
    assert_eq!(found, ["a::b", "c::{d, e}", "f::g"]);
}
