//! Values that several sections have: names, ids, paths, and that each is there once.

use std::collections::BTreeMap;
use std::path::PathBuf;

use toml::Spanned;
use uuid::Uuid;

use super::Check;
use crate::problem::line_of;

impl Check<'_> {
    pub(super) fn name(&mut self, of: &str, text: &Spanned<String>) -> Option<String> {
        let name = text.get_ref();
        let good = is_name(name);
        if !good {
            self.problem(
                text.span(),
                format!("\"{}\" is not a {of} name", name.escape_debug()),
                "use 1 to 63 letters, digits, '.', '_' and '-', not beginning with '.' or '-'",
            );
        }
        good.then(|| name.clone())
    }

    pub(super) fn id(&mut self, of: &str, text: &Spanned<String>) -> Option<u128> {
        match Uuid::parse_str(text.get_ref()) {
            Ok(id) if !id.is_nil() => Some(id.as_u128()),
            _ => {
                self.problem(
                    text.span(),
                    format!("\"{}\" is not a {of} id", text.get_ref()),
                    "use a random UUID, for example from `uuidgen -r`",
                );
                None
            }
        }
    }

    pub(super) fn path(&mut self, key: &str, text: &Spanned<String>) -> Option<PathBuf> {
        let path = text.get_ref();
        if path.is_empty() || path.contains('\0') {
            self.problem(
                text.span(),
                format!("{key} is empty or has a NUL in it"),
                "write a path, as in \"/var/lib/steadfast\"",
            );
            return None;
        }
        // Without "." in it, so that one file cannot hide under two spellings.
        Some(self.base.join(path).components().collect())
    }

    pub(super) fn unique(
        &mut self,
        of: &str,
        text: &Spanned<String>,
        seen: &mut BTreeMap<String, usize>,
    ) {
        let line = line_of(self.text, text.span().start);
        let key = text.get_ref().to_lowercase();
        if let Some(first) = seen.insert(key, line) {
            self.problem(
                text.span(),
                format!("{of} \"{}\" is already in line {first}", text.get_ref()),
                "each may be there once",
            );
        }
    }
}

/// Whether a cluster, a node or a volume may be called so.
#[must_use]
pub fn is_name(name: &str) -> bool {
    (1..=63).contains(&name.len())
        && !name.starts_with(['.', '-'])
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}
