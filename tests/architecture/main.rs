//! The layout is the architecture: what a module may not know, it may not name.
//!
//! `table` allows each folder or file the modules and packages that it may use; the table in
//! ARCHITECTURE.md says the same in words, and the last tests hold the two together.

mod document;
mod scan;
mod table;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use scan::{Named, code, named, product_code, read, root, sources, test_modules};
use table::{MODULES, Module};

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

/// Packages of this repository that others may use, as Rust and as people call them.
const OWN: &[(&str, &str)] = &[
    ("config", "config"),
    ("fence", "fence"),
    ("nbd_server", "nbd-server"),
];

/// Folders of the workspace's other packages.
fn members() -> Vec<String> {
    let manifest = read("Cargo.toml");
    let list = manifest.split("members = [").nth(1).expect("members");
    let list = list.split(']').next().unwrap_or_default();
    list.split('"')
        .skip(1)
        .step_by(2)
        .map(str::to_owned)
        .collect()
}

/// Every package that one of ours depends on, as Rust calls it.
fn dependencies() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let folders = members().into_iter().map(|member| member + "/");
    for folder in folders.chain([String::new()]) {
        let mut listed = false;
        for line in read(&format!("{folder}Cargo.toml")).lines() {
            if line.starts_with('[') {
                listed = line.ends_with("dependencies]");
            } else if listed && let Some((name, _)) = line.split_once(['.', ' ', '=']) {
                found.insert(name.replace('-', "_"));
            }
        }
    }
    found
}

/// The modules of `steadfast` that these paths name, in a file of this module.
fn modules_of(named: &[Named], module: &Module) -> BTreeSet<String> {
    let rest = |path: &str| {
        let path = path.trim_start_matches("::");
        let own = path.strip_prefix("crate::");
        let own = own.filter(|_| module.path.starts_with("src/"));
        own.or(path.strip_prefix("steadfast::")).map(str::to_owned)
    };
    named.iter().filter_map(|named| rest(&named.path)).collect()
}

/// The dependencies that these paths name in a file with this code.
fn crates_of(named: &[Named], code: &str, dependencies: &BTreeSet<String>) -> BTreeSet<String> {
    let first = |path: &str| path.split("::").next().unwrap_or_default().to_owned();
    // `config` may as well be a module of ours.
    let local = |name: &str| {
        let bound =
            |named: &&Named| named.bound.as_deref() == Some(name) && first(&named.path) != name;
        code.contains(&format!("mod {name};")) || named.iter().any(|named| bound(&named))
    };
    let names = named
        .iter()
        .filter_map(|named| match named.path.strip_prefix("::") {
            Some(global) => Some(first(global)),
            None => Some(first(&named.path)).filter(|name| !local(name)),
        });
    names
        .filter(|name| name != "steadfast" && dependencies.contains(name))
        .collect()
}

/// Whether a file climbs by `super::super` out of the folder that its module has at the root.
fn climbs_out(file: &Path, named: &[Named]) -> bool {
    let Ok(below) = file.strip_prefix(root().join("src")) else {
        return false;
    };
    let own = below.with_extension("");
    let depth = own.iter().filter(|part| *part != "mod").count();
    let steps = |path: &str| path.split("::").take_while(|part| *part == "super").count();
    named.iter().any(|named| steps(&named.path) >= depth)
}

/// Whether this is what the other one names, or a part of it.
fn is_part(name: &str, of: &str) -> bool {
    let rest = name.strip_prefix(of);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

/// What the files of a module name: modules of `steadfast`, other packages.
struct Used {
    file: PathBuf,
    modules: BTreeSet<String>,
    crates: BTreeSet<String>,
}

/// One for each file of the module; also what is wrong with them beside that.
fn used(module: &Module, wrong: &mut Vec<String>) -> Vec<Used> {
    let (dependencies, test_modules) = (dependencies(), test_modules());
    let files = sources(module.path);
    assert!(!files.is_empty(), "{} has no sources", module.path);
    let look = |file: PathBuf| {
        let code = if module.is_for_tests() {
            code(&file)
        } else {
            product_code(&file, &test_modules)
        };
        let named = named(&code);
        if climbs_out(&file, &named) {
            wrong.push(format!("{}: climbs to the root by super::", file.display()));
        }
        for banned in IMPURE.iter().filter(|_| module.pure) {
            if code.contains(banned) {
                wrong.push(format!("{}: {banned}", file.display()));
            }
        }
        Used {
            modules: modules_of(&named, module),
            crates: crates_of(&named, &code, &dependencies),
            file,
        }
    };
    files.into_iter().map(look).collect()
}

#[test]
fn no_module_names_what_it_may_not_know() {
    let mut wrong = Vec::new();
    for module in MODULES {
        for used in used(module, &mut wrong) {
            let mut allowed = module.own().into_iter().collect::<Vec<_>>();
            allowed.extend(module.modules);
            let modules = used
                .modules
                .iter()
                .filter(|name| !allowed.iter().any(|of| is_part(name, of)));
            let crates = used
                .crates
                .iter()
                .filter(|name| !module.crates.contains(&name.as_str()));
            wrong.extend(
                modules
                    .chain(crates)
                    .map(|name| format!("{}: {name}", used.file.display())),
            );
        }
    }
    assert!(
        wrong.is_empty(),
        "modules name what they may not know:\n{}",
        wrong.join("\n")
    );
}

#[test]
fn nothing_is_allowed_that_is_not_used() {
    let mut unused = Vec::new();
    for module in MODULES {
        let used = used(module, &mut Vec::new());
        let modules = module.modules.iter().filter(|of| {
            let mut names = used.iter().flat_map(|used| &used.modules);
            !names.any(|name| is_part(name, of))
        });
        let crates = module
            .crates
            .iter()
            .filter(|name| !used.iter().any(|used| used.crates.contains(**name)));
        unused.extend(
            modules
                .chain(crates)
                .map(|name| format!("{}: {name}", module.path)),
        );
    }
    assert!(unused.is_empty(), "allowed for nothing: {unused:?}");
}

#[test]
fn every_source_has_a_row() {
    let packages = members()
        .into_iter()
        .filter(|member| !member.starts_with("tests/"));
    let folders = ["src", "tests", "examples"].map(str::to_owned);
    let folders = packages.map(|package| package + "/src").chain(folders);
    let files = folders.flat_map(|folder| sources(&folder));
    let covered = |file: &Path| {
        MODULES
            .iter()
            .any(|module| file.starts_with(root().join(module.path)))
    };
    let missing: Vec<_> = files.filter(|file| !covered(file)).collect();
    assert!(missing.is_empty(), "in no row of MODULES: {missing:?}");
}

#[test]
fn unsafe_code_lives_in_one_folder() {
    let folders = ["src", "nbd-server", "fence", "config", "tests", "examples"];
    let files = folders.into_iter().flat_map(sources);
    let wrong: Vec<_> = files
        .filter(|file| !file.starts_with(root().join("src/uring")))
        .filter(|file| !file.starts_with(root().join("tests/architecture")))
        .filter(|file| code(file).contains("unsafe "))
        .collect();
    assert!(wrong.is_empty(), "unsafe outside src/uring: {wrong:?}");
}

#[test]
fn the_document_has_the_same_table() {
    let rows = document::rows();
    let is = |path: &str, module: &Module| module.path.trim_end_matches("/src") == path;
    for module in MODULES {
        let row = rows.iter().find(|row| is(&row.path, module));
        let row = row.unwrap_or_else(|| panic!("{} is not in ARCHITECTURE.md", module.path));
        let own = OWN.iter().filter(|(name, _)| module.crates.contains(name));
        let own = own.map(|(_, called)| *called);
        let known: BTreeSet<_> = module.modules.iter().copied().chain(own).collect();
        let told: BTreeSet<_> = row.may_know.iter().map(String::as_str).collect();
        assert_eq!(told, known, "what {} may know", module.path);
    }
    for row in rows {
        let exists = MODULES.iter().any(|module| is(&row.path, module));
        assert!(
            exists || sources(&row.path).is_empty(),
            "{} is not in MODULES",
            row.path
        );
    }
}

#[test]
fn every_direct_dependency_has_its_reason() {
    let text = document::section("Dependencies\n");
    let ours = |name: &str| name == "steadfast" || OWN.iter().any(|(own, _)| *own == name);
    let missing: Vec<_> = dependencies()
        .into_iter()
        .filter(|name| !ours(name))
        .filter(|name| {
            let row = |name: &str| text.contains(&format!("\n| `{name}` |"));
            !row(name) && !row(&name.replace('_', "-"))
        })
        .collect();
    assert!(
        missing.is_empty(),
        "no reason in ARCHITECTURE.md for: {missing:?}"
    );
}

/// The list of counter-examples has numbers without gaps; a row whose schedule is not written yet
/// says so.
#[test]
fn every_counter_example_has_a_schedule_or_a_reason() {
    let scenarios = read("tests/sim/src/scenarios.rs");
    let list = scenarios.split("\nscenarios! {").nth(1).expect("the list");
    let number = |text: &str| {
        text.trim_start_matches(|c: char| !c.is_ascii_digit())
            .split(|c: char| !c.is_ascii_digit())
            .next()
            .and_then(|digits| digits.parse::<u32>().ok())
    };
    let played: BTreeSet<_> = list
        .lines()
        .filter_map(|line| line.strip_prefix("    \""))
        // Other rules have schedules too, without a number.
        .filter(|row| !row.starts_with('-'))
        .filter_map(number)
        .collect();
    let reasons = document::section("Counter-examples without a schedule\n");
    let told: BTreeSet<_> = reasons
        .lines()
        .filter(|line| line.starts_with("| "))
        .filter_map(number)
        .collect();
    let last = *played.last().expect("schedules");
    let missing: BTreeSet<_> = (1..=last).filter(|row| !played.contains(row)).collect();
    assert_eq!(told, missing);
}

#[test]
fn the_scanner_sees_what_it_should() {
    let code = "use crate::{a::b, c::{self, d as e}};\npub(crate) use f::{\n    g,\n};\n\
        fn x() -> ::h::I { j::k::<l::M>(1, $crate::n::O) }";
    let found = named(code);
    let paths: Vec<_> = found.iter().map(|named| named.path.as_str()).collect();
    let expected = [
        "crate::a::b",
        "crate::c",
        "crate::c::d",
        "f::g",
        "::h::I",
        "j::k",
        "l::M",
        "crate::n::O",
    ];
    assert_eq!(paths, expected);
    assert_eq!(found[2].bound.as_deref(), Some("e"));
    let dependencies = ["f", "h", "j"].map(str::to_owned).into();
    let crates = |code: &str| {
        crates_of(&named(code), code, &dependencies)
            .into_iter()
            .collect::<Vec<_>>()
    };
    assert_eq!(crates(code), ["f", "h", "j"]);
    assert_eq!(
        crates("mod f;\nuse f::g;\nuse super::j;\nuse h;\nlet x = j::k;"),
        ["h"]
    );
}
