//! The volumes and their stores.

use std::collections::BTreeMap;
use std::path::PathBuf;

use toml::Spanned;

use super::Check;
use super::nodes::{names, position};
use crate::model::{REPLICAS_MAX, Role, Store, VOLUME_SIZE_MAX, Volume};
use crate::problem::line_of;
use crate::raw::{RawNode, RawStore, RawVolume};
use crate::unit;

impl Check<'_> {
    pub(super) fn volumes(
        &mut self,
        raw: &[Spanned<RawVolume>],
        nodes: &[Spanned<RawNode>],
    ) -> Option<Vec<Volume>> {
        let mut volume_names = BTreeMap::new();
        let mut ids = BTreeMap::new();
        let mut paths = BTreeMap::new();
        let mut volumes = Vec::new();
        for entry in raw {
            let volume = entry.get_ref();
            self.unique("volume", &volume.name, &mut volume_names);
            self.unique("id", &volume.id, &mut ids);
            let name = self.name("volume", &volume.name);
            let id = self.id("volume", &volume.id);
            let size = self.size(&volume.size);
            if volume.stores.is_empty() || volume.stores.len() > REPLICAS_MAX {
                self.problem(
                    entry.span(),
                    format!(
                        "volume \"{}\" has {} stores",
                        volume.name.get_ref(),
                        volume.stores.len()
                    ),
                    format!("give it 1 to {REPLICAS_MAX} with [[volumes.stores]]"),
                );
            }
            let mut keepers = BTreeMap::new();
            let mut stores = Vec::new();
            for store in &volume.stores {
                self.unique("store on node", &store.get_ref().node, &mut keepers);
                self.unique("id", &store.get_ref().id, &mut ids);
                stores.push(self.store(store.get_ref(), nodes, &mut paths));
            }
            volumes.push((|| {
                let mut stores = stores.into_iter().collect::<Option<Vec<_>>>()?;
                stores.sort_by_key(|store| store.node);
                Some(Volume {
                    name: name?,
                    id: id?,
                    size: size?,
                    shared: volume.shared,
                    stores,
                })
            })());
        }
        volumes.into_iter().collect()
    }

    fn store(
        &mut self,
        raw: &RawStore,
        nodes: &[Spanned<RawNode>],
        paths: &mut BTreeMap<(usize, PathBuf), usize>,
    ) -> Option<Store> {
        let node = position(nodes, raw.node.get_ref());
        match node {
            None => self.problem(
                raw.node.span(),
                format!("a store is on \"{}\", which is no node", raw.node.get_ref()),
                format!("use one of: {}", names(nodes)),
            ),
            Some(index) if nodes[index].get_ref().role.get_ref() == Role::Witness.name() => self
                .problem(
                    raw.node.span(),
                    format!("a store is on the witness \"{}\"", raw.node.get_ref()),
                    "a witness keeps no data: use a storage node",
                ),
            Some(_) => {}
        }
        let path = self.path("path", &raw.path);
        let id = self.id("store", &raw.id);
        if let (Some(node), Some(path)) = (node, &path) {
            let line = line_of(self.text, raw.path.span().start);
            if let Some(first) = paths.insert((node, path.clone()), line) {
                self.problem(
                    raw.path.span(),
                    format!("{} is already the store of line {first}", path.display()),
                    "every store needs a file or device of its own",
                );
            }
        }
        Some(Store {
            node: node?,
            path: path?,
            id: id?,
        })
    }

    fn size(&mut self, text: &Spanned<String>) -> Option<u64> {
        match unit::parse_size(text.get_ref()) {
            Ok(size) if size == 0 || size > VOLUME_SIZE_MAX => self.problem(
                text.span(),
                format!("size \"{}\" is out of range", text.get_ref()),
                format!("use 4KiB to {}", unit::format_size(VOLUME_SIZE_MAX)),
            ),
            Ok(size) if !size.is_multiple_of(4096) => self.problem(
                text.span(),
                format!("size \"{}\" is not a multiple of 4096", text.get_ref()),
                match size / 4096 {
                    0 => "use \"4KiB\" or more".to_owned(),
                    whole => format!(
                        "use \"{}\" or \"{}\"",
                        unit::format_size(whole * 4096),
                        unit::format_size((whole + 1) * 4096)
                    ),
                },
            ),
            Ok(size) => return Some(size),
            Err(error) => self.problem(text.span(), error, ""),
        }
        None
    }
}
