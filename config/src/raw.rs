//! The file as it is written: every value with its place, nothing judged yet.

use serde::Deserialize;
use toml::Spanned;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawConfig {
    pub cluster: Spanned<RawCluster>,
    pub node: RawThisNode,
    #[serde(default)]
    pub nodes: Vec<Spanned<RawNode>>,
    #[serde(default)]
    pub volumes: Vec<Spanned<RawVolume>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawCluster {
    pub name: Spanned<String>,
    pub id: Spanned<String>,
    pub key: Option<Spanned<String>>,
    pub key_file: Option<Spanned<String>>,
    pub profile: Option<Spanned<String>>,
    pub interval: Option<Spanned<String>>,
    pub missed: Option<Spanned<i64>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawThisNode {
    pub name: Spanned<String>,
    pub dir: Spanned<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawNode {
    pub name: Spanned<String>,
    pub address: Spanned<String>,
    pub role: Spanned<String>,
    #[serde(default = "yes")]
    pub voter: bool,
    pub ports: Option<Spanned<RawPorts>>,
}

const fn yes() -> bool {
    true
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawPorts {
    pub nbd: Option<Spanned<i64>>,
    pub data: Option<Spanned<i64>>,
    pub pulse: Option<Spanned<i64>>,
    pub core: Option<Spanned<i64>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawVolume {
    pub name: Spanned<String>,
    pub id: Spanned<String>,
    pub size: Spanned<String>,
    #[serde(default)]
    pub shared: bool,
    #[serde(default)]
    pub stores: Vec<Spanned<RawStore>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawStore {
    pub node: Spanned<String>,
    pub path: Spanned<String>,
    pub id: Spanned<String>,
}
