//! What ARCHITECTURE.md says of the modules.

use crate::scan::read;

/// A row of its table of modules.
pub struct Row {
    /// Folder or file below the repository's root.
    pub path: String,
    /// What it may know, by name.
    pub may_know: Vec<String>,
}

/// The text of the section with this heading.
pub fn section(heading: &str) -> String {
    let text = read("ARCHITECTURE.md");
    let found = text.split("\n## ").find(|text| text.starts_with(heading));
    found
        .unwrap_or_else(|| panic!("ARCHITECTURE.md has no section {heading}"))
        .to_owned()
}

/// The table of modules.
pub fn rows() -> Vec<Row> {
    section("Modules\n")
        .lines()
        .filter(|line| line.starts_with("| `"))
        .take_while(|line| line.matches('|').count() == 5)
        .map(|line| {
            let cells: Vec<_> = line.split('|').collect();
            Row {
                path: quoted(cells[1]).concat(),
                may_know: quoted(cells[3]),
            }
        })
        .collect()
}

/// What stands between backticks.
fn quoted(text: &str) -> Vec<String> {
    text.split('`')
        .skip(1)
        .step_by(2)
        .map(str::to_owned)
        .collect()
}
