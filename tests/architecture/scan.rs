//! What a source file names, found without a compiler.

use std::fs;
use std::path::{Path, PathBuf};

/// The repository.
pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

pub fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// All sources below a folder of the repository, or this one file.
pub fn sources(path: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    collect(&root().join(path), &mut found);
    found.sort();
    found
}

fn collect(path: &Path, found: &mut Vec<PathBuf>) {
    if path.is_dir() {
        let entries = fs::read_dir(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        for entry in entries {
            collect(&entry.expect("directory entry").path(), found);
        }
    } else if path.extension().is_some_and(|extension| extension == "rs") {
        found.push(path.to_owned());
    }
}

/// A file without its comments.
pub fn code(file: &Path) -> String {
    let text = fs::read_to_string(file).expect("source");
    text.lines()
        .map(|line| line.split("//").next().unwrap_or_default())
        .fold(String::new(), |mut code, line| {
            code.push_str(line);
            code.push('\n');
            code
        })
}

/// Modules that only tests see, as paths without an extension.
pub fn test_modules() -> Vec<PathBuf> {
    let mut found = Vec::new();
    for folder in ["src", "nbd-server/src", "fence/src", "config/src"] {
        for file in sources(folder) {
            let text = code(&file);
            for after in text.split("#[cfg(test)]\n").skip(1) {
                let item = after.split([';', '{']).next().unwrap_or_default();
                if let Some((_, name)) = item.split_once("mod ") {
                    found.push(children(&file).join(name.trim()));
                }
            }
        }
    }
    found
}

/// The folder in which a module's own modules lie.
fn children(file: &Path) -> PathBuf {
    match file.file_name().and_then(|name| name.to_str()) {
        Some("mod.rs" | "lib.rs" | "main.rs") => file.parent().expect("a folder").to_owned(),
        _ => file.with_extension(""),
    }
}

/// The code of a file without what only tests see.
pub fn product_code(file: &Path, test_modules: &[PathBuf]) -> String {
    let own = file.with_extension("");
    if test_modules.iter().any(|module| own.starts_with(module)) {
        return String::new();
    }
    let code = code(file);
    let product = code.split("#[cfg(test)]\nmod tests {").next();
    product.unwrap_or_default().to_owned()
}

/// A path that some code names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// All of it, with `crate`, `super` or `::` at its beginning if that is there.
    pub path: String,
    /// What `use` makes of it in this file.
    pub bound: Option<String>,
}

/// Every path of at least two names, and everything that a `use` names.
pub fn named(code: &str) -> Vec<Named> {
    let mut found = Vec::new();
    let mut rest = String::new();
    let mut declaration: Option<String> = None;
    for line in code.lines() {
        if let Some(name) = line.trim_start().strip_prefix("extern crate ") {
            let path = format!("::{}", name.trim_end_matches(';'));
            found.push(Named { path, bound: None });
        }
        if declaration.is_none() && begins_use(line) {
            declaration = Some(String::new());
        }
        let Some(text) = &mut declaration else {
            rest.push_str(line);
            rest.push('\n');
            continue;
        };
        text.push_str(line);
        text.push(' ');
        if line.contains(';') {
            let (_, tree) = text.split_once("use ").expect("it begins so");
            let tree = tree.split(';').next().unwrap_or_default();
            flatten(tree, "", &mut found);
            declaration = None;
        }
    }
    expressions(&rest, &mut found);
    found
}

/// Whether this line begins a `use`, also a `pub(in some::module) use`.
fn begins_use(line: &str) -> bool {
    let line = line.trim_start();
    let item = match line.strip_prefix("pub") {
        Some(rest) if rest.starts_with('(') => rest.split_once(')').map_or("", |(_, item)| item),
        Some(rest) => rest,
        None => line,
    };
    item.trim_start().starts_with("use ")
}

/// Takes `a::{b, c::d}` apart.
fn flatten(tree: &str, prefix: &str, found: &mut Vec<Named>) {
    let mut depth = 0_usize;
    let items = tree.split(|c| {
        match c {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        c == ',' && depth == 0
    });
    for item in items.map(str::trim).filter(|item| !item.is_empty()) {
        if let (Some(open), Some(close)) = (item.find('{'), item.rfind('}')) {
            let prefix = format!("{prefix}{}", item[..open].trim());
            flatten(&item[open + 1..close], &prefix, found);
            continue;
        }
        let (item, alias) = match item.split_once(" as ") {
            Some((item, alias)) => (item.trim(), Some(alias.trim())),
            None => (item, None),
        };
        let path = match item {
            "self" => prefix.trim_end_matches("::").to_owned(),
            _ => format!("{prefix}{item}"),
        };
        let bound = alias
            .or_else(|| path.rsplit("::").next())
            .map(str::to_owned);
        found.push(Named { path, bound });
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Paths of at least two names, wherever they stand.
fn expressions(code: &str, found: &mut Vec<Named>) {
    let mut rest = code;
    while let Some(start) = rest.find(is_word) {
        let gap = &rest[..start];
        rest = &rest[start..];
        let mut end = 0;
        loop {
            end += rest[end..]
                .find(|c| !is_word(c))
                .unwrap_or(rest.len() - end);
            let next = rest[end..].strip_prefix("::");
            if !next.is_some_and(|next| next.starts_with(is_word)) {
                break;
            }
            end += 2;
        }
        // `<T as Trait>::Item` is no path from the root, `::tokio::spawn` is.
        let global = gap.ends_with("::") && !gap.ends_with(">::");
        let path = &rest[..end];
        if path.contains("::") {
            let path = if global {
                format!("::{path}")
            } else {
                path.to_owned()
            };
            found.push(Named { path, bound: None });
        }
        rest = &rest[end..];
    }
}
