//! The one validator: from the text of a file to a `Config`, or to everything that is wrong.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::Spanned;
use uuid::Uuid;

use crate::model::{
    Cluster, Config, Key, NODES_MAX, Node, Ports, Profile, REPLICAS_MAX, Role, Store, ThisNode,
    VOTERS_MAX, Volume,
};
use crate::problem::{ConfigError, Problem, line_of};
use crate::raw::{RawCluster, RawConfig, RawNode, RawPorts, RawStore, RawThisNode, RawVolume};
use crate::unit;

const SIZE_MAX: u64 = crate::model::VOLUME_SIZE_MAX;
/// Longest path of a Unix socket (`sun_path`, less its end mark).
pub const SOCKET_PATH_MAX: usize = 107;

/// Checks a whole file; `base` is what relative paths begin at.
pub(crate) fn check(file: &Path, text: &str, base: &Path) -> Result<Config, ConfigError> {
    let mut check = Check {
        text,
        base,
        problems: Vec::new(),
    };
    let config = match toml::from_str::<RawConfig>(text) {
        Ok(raw) => check.config(&raw),
        Err(error) => {
            check.syntax(&error);
            None
        }
    };
    let mut problems = check.problems;
    match config {
        Some(config) if problems.is_empty() => Ok(config),
        _ => {
            problems.sort_by_key(|problem| problem.line);
            assert!(!problems.is_empty(), "a refused file has a reason");
            Err(ConfigError {
                file: file.to_owned(),
                problems,
            })
        }
    }
}

struct Check<'a> {
    text: &'a str,
    base: &'a Path,
    problems: Vec<Problem>,
}

impl Check<'_> {
    fn problem(&mut self, at: Range<usize>, what: impl Into<String>, right: impl Into<String>) {
        self.problems.push(Problem {
            line: Some(line_of(self.text, at.start)),
            what: what.into(),
            right: right.into(),
        });
    }

    fn syntax(&mut self, error: &toml::de::Error) {
        self.problems.push(Problem {
            line: error.span().map(|span| line_of(self.text, span.start)),
            what: error.message().trim().replace('\n', ", "),
            right: "see `steadfast config example` for a file that is right".into(),
        });
    }

    fn config(&mut self, raw: &RawConfig) -> Option<Config> {
        let cluster = self.cluster(raw.cluster.get_ref(), raw.cluster.span());
        let nodes = self.nodes(&raw.nodes);
        let node = self.this_node(&raw.node, &raw.nodes);
        let volumes = self.volumes(&raw.volumes, &raw.nodes);
        Some(Config {
            cluster: cluster?,
            node: node?,
            nodes: nodes?,
            volumes: volumes?,
        })
    }

    fn cluster(&mut self, raw: &RawCluster, span: Range<usize>) -> Option<Cluster> {
        let name = self.name("cluster", &raw.name);
        let id = self.id("cluster", &raw.id);
        let key = self.key(raw, span);
        let profile = match &raw.profile {
            None => Some(Profile::Lan),
            Some(text) => {
                let profile = Profile::named(text.get_ref());
                if profile.is_none() {
                    self.problem(
                        text.span(),
                        format!("unknown timing profile \"{}\"", text.get_ref()),
                        "use \"fast\", \"lan\" or \"wan\"",
                    );
                }
                profile
            }
        };
        let interval = match &raw.interval {
            None => profile.map(Profile::interval),
            Some(text) => self.interval(text),
        };
        let missed = match &raw.missed {
            None => profile.map(Profile::missed),
            Some(missed) => self.missed(missed),
        };
        Some(Cluster {
            name: name?,
            id: id?,
            key: key?,
            profile: profile?,
            interval: interval?,
            missed: missed?,
        })
    }

    fn interval(&mut self, text: &Spanned<String>) -> Option<Duration> {
        match unit::parse_duration(text.get_ref()) {
            Ok(time) if (Duration::from_millis(10)..=Duration::from_secs(1)).contains(&time) => {
                Some(time)
            }
            Ok(_) => {
                self.problem(
                    text.span(),
                    format!("interval \"{}\" is out of range", text.get_ref()),
                    "use 10ms to 1s",
                );
                None
            }
            Err(error) => {
                self.problem(text.span(), error, "");
                None
            }
        }
    }

    fn missed(&mut self, missed: &Spanned<i64>) -> Option<u32> {
        match *missed.get_ref() {
            value @ 2..=20 => u32::try_from(value).ok(),
            value => {
                self.problem(
                    missed.span(),
                    format!("missed = {value} is out of range"),
                    "use 2 to 20",
                );
                None
            }
        }
    }

    fn key(&mut self, raw: &RawCluster, span: Range<usize>) -> Option<Key> {
        const RIGHT: &str = "a key is 64 hexadecimal digits (32 bytes), for example from \
                             `openssl rand -hex 32`";
        let (text, at) = match (&raw.key, &raw.key_file) {
            (Some(key), None) => (key.get_ref().clone(), key.span()),
            (None, Some(path)) => {
                let file = self.base.join(path.get_ref());
                match std::fs::read_to_string(&file) {
                    Ok(text) => (text.trim().to_owned(), path.span()),
                    Err(error) => {
                        self.problem(
                            path.span(),
                            format!("key file {} cannot be read: {error}", file.display()),
                            RIGHT,
                        );
                        return None;
                    }
                }
            }
            (None, None) => {
                self.problem(span, "the cluster has no key", "give key or key_file");
                return None;
            }
            (Some(_), Some(file)) => {
                self.problem(
                    file.span(),
                    "both key and key_file are given",
                    "give one of them",
                );
                return None;
            }
        };
        let key = decode_key(&text);
        if key.is_none() {
            let what = if text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                format!("the key has {} digits", text.len())
            } else {
                "the key is not hexadecimal".into()
            };
            self.problem(at, what, RIGHT);
        }
        key
    }

    fn nodes(&mut self, raw: &[Spanned<RawNode>]) -> Option<Vec<Node>> {
        if raw.is_empty() || raw.len() > NODES_MAX {
            self.problems.push(Problem {
                line: None,
                what: format!("{} nodes are listed", raw.len()),
                right: format!("list 1 to {NODES_MAX} with [[nodes]]"),
            });
        }
        let mut names = BTreeMap::new();
        let mut addresses: BTreeMap<IpAddr, usize> = BTreeMap::new();
        let mut nodes = Vec::new();
        let mut voters = 0;
        for entry in raw {
            let node = entry.get_ref();
            self.unique("node", &node.name, &mut names);
            voters += usize::from(node.voter);
            if node.voter && voters == VOTERS_MAX + 1 {
                self.problem(
                    entry.span(),
                    format!("more than {VOTERS_MAX} nodes vote"),
                    "set voter = false on the others",
                );
            }
            let address = self.address(&node.address);
            if let Some(address) = address {
                let line = line_of(self.text, node.address.span().start);
                if let Some(first) = addresses.insert(address, line) {
                    self.problem(
                        node.address.span(),
                        format!("address {address} is already the node's of line {first}"),
                        "every node needs an address of its own",
                    );
                }
            }
            let role = self.role(&node.role);
            let ports = self.ports(node.ports.as_ref());
            let name = self.name("node", &node.name);
            nodes.push((|| {
                Some(Node {
                    name: name?,
                    address: address?,
                    role: role?,
                    voter: node.voter,
                    ports: ports?,
                })
            })());
        }
        if !raw.is_empty() && voters == 0 {
            self.problems.push(Problem {
                line: None,
                what: "no node votes".into(),
                right: format!("leave voter away on up to {VOTERS_MAX} of them"),
            });
        }
        nodes.into_iter().collect()
    }

    fn address(&mut self, text: &Spanned<String>) -> Option<IpAddr> {
        let what = match text.get_ref().parse::<IpAddr>() {
            Err(_) => "is not an IP address",
            Ok(address) if address.is_unspecified() => "means every address",
            Ok(address) if address.is_multicast() => "is a multicast address",
            Ok(IpAddr::V4(address)) if address.is_broadcast() => "is the broadcast address",
            Ok(address) => return Some(address),
        };
        self.problem(
            text.span(),
            format!("\"{}\" {what}", text.get_ref()),
            "write the node's own address without a port, as in \"192.0.2.1\"",
        );
        None
    }

    fn role(&mut self, text: &Spanned<String>) -> Option<Role> {
        let role = [Role::Storage, Role::Witness]
            .into_iter()
            .find(|role| role.name() == text.get_ref());
        if role.is_none() {
            self.problem(
                text.span(),
                format!("unknown role \"{}\"", text.get_ref()),
                "use \"storage\" or \"witness\"",
            );
        }
        role
    }

    fn ports(&mut self, raw: Option<&Spanned<RawPorts>>) -> Option<Ports> {
        let mut ports = Ports::default();
        let Some(raw) = raw else {
            return Some(ports);
        };
        let mut good = true;
        let values = raw.get_ref();
        for (place, value) in [
            (&mut ports.nbd, &values.nbd),
            (&mut ports.data, &values.data),
            (&mut ports.pulse, &values.pulse),
            (&mut ports.core, &values.core),
        ] {
            let Some(value) = value else { continue };
            match u16::try_from(*value.get_ref()) {
                Ok(port) if port != 0 => *place = port,
                _ => {
                    good = false;
                    self.problem(
                        value.span(),
                        format!("{} is not a port", value.get_ref()),
                        "use 1 to 65535",
                    );
                }
            }
        }
        let all = [
            ("nbd", ports.nbd),
            ("data", ports.data),
            ("pulse", ports.pulse),
            ("core", ports.core),
        ];
        for (i, (name, port)) in all.iter().enumerate() {
            if let Some((other, _)) = all[..i].iter().find(|(_, before)| before == port) {
                good = false;
                self.problem(
                    raw.span(),
                    format!("{other} and {name} are both port {port}"),
                    "give each a port of its own",
                );
            }
        }
        good.then_some(ports)
    }

    fn this_node(&mut self, raw: &RawThisNode, nodes: &[Spanned<RawNode>]) -> Option<ThisNode> {
        let index = position(nodes, raw.name.get_ref());
        if index.is_none() {
            self.problem(
                raw.name.span(),
                format!(
                    "this node \"{}\" is not among the nodes",
                    raw.name.get_ref()
                ),
                format!("use one of: {}", names(nodes)),
            );
        }
        let dir = self.path("dir", &raw.dir);
        if let Some(dir) = &dir {
            let socket = dir.join("api.sock");
            let len = socket.as_os_str().len();
            if len > SOCKET_PATH_MAX {
                self.problem(
                    raw.dir.span(),
                    format!(
                        "dir is too long: {} would have {len} bytes",
                        socket.display()
                    ),
                    format!("a socket's path has at most {SOCKET_PATH_MAX}: use a shorter dir"),
                );
            }
        }
        Some(ThisNode {
            index: index?,
            name: raw.name.get_ref().clone(),
            dir: dir?,
        })
    }

    fn volumes(
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
            Ok(size) if size == 0 || size > SIZE_MAX => self.problem(
                text.span(),
                format!("size \"{}\" is out of range", text.get_ref()),
                format!("use 4KiB to {}", unit::format_size(SIZE_MAX)),
            ),
            Ok(size) if !size.is_multiple_of(4096) => self.problem(
                text.span(),
                format!("size \"{}\" is not a multiple of 4096", text.get_ref()),
                format!(
                    "use \"{}\" or \"{}\"",
                    unit::format_size((size / 4096).max(1) * 4096),
                    unit::format_size((size / 4096 + 1) * 4096)
                ),
            ),
            Ok(size) => return Some(size),
            Err(error) => self.problem(text.span(), error, ""),
        }
        None
    }

    fn name(&mut self, of: &str, text: &Spanned<String>) -> Option<String> {
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

    fn id(&mut self, of: &str, text: &Spanned<String>) -> Option<u128> {
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

    fn path(&mut self, key: &str, text: &Spanned<String>) -> Option<PathBuf> {
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

    fn unique(&mut self, of: &str, text: &Spanned<String>, seen: &mut BTreeMap<String, usize>) {
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

fn position(nodes: &[Spanned<RawNode>], name: &str) -> Option<usize> {
    nodes
        .iter()
        .position(|node| node.get_ref().name.get_ref() == name)
}

fn names(nodes: &[Spanned<RawNode>]) -> String {
    let names: Vec<_> = nodes
        .iter()
        .map(|node| node.get_ref().name.get_ref().as_str())
        .collect();
    names.join(", ")
}

fn decode_key(text: &str) -> Option<Key> {
    let mut key = [0; 32];
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    for (byte, pair) in key.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        let pair = std::str::from_utf8(pair).ok()?;
        if pair.starts_with('+') {
            return None;
        }
        *byte = u8::from_str_radix(pair, 16).ok()?;
    }
    Some(Key(key))
}
