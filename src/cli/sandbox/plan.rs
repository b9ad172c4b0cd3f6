//! From what was asked for to the configuration of each node.

use std::net::IpAddr;
use std::path::PathBuf;

use config::{Cluster, Config, Key, Node, Ports, Profile, Role, Store, ThisNode, Volume};

use super::ground::Layout;

/// Name of the configuration file in a node's directory.
pub(super) const CONFIG_FILE: &str = "config.toml";

/// Names and roles of the nodes, in their order.
pub(super) fn nodes(layout: &Layout) -> Vec<(String, Role)> {
    let storage = (1..=layout.storage_nodes).map(|n| (format!("n{n}"), Role::Storage));
    let witness = layout.witness.then(|| ("w1".to_owned(), Role::Witness));
    storage.chain(witness).collect()
}

/// One configuration for each node. Paths are relative to the node's directory, so that the sandbox
/// may be moved.
pub(super) fn configurations(
    layout: &Layout,
    addresses: &[IpAddr],
    ports: Ports,
    key: [u8; 32],
) -> Vec<Config> {
    let named = nodes(layout);
    assert_eq!(named.len(), addresses.len(), "an address for each node");
    let profile = Profile::named(&layout.profile).unwrap_or(Profile::Lan);
    let cluster = Cluster {
        name: "sandbox".into(),
        id: random_id(),
        key: Key(key),
        profile,
        interval: profile.interval(),
        missed: profile.missed(),
    };
    let nodes: Vec<_> = named
        .iter()
        .zip(addresses)
        .map(|((name, role), address)| Node {
            name: name.clone(),
            address: *address,
            role: *role,
            voter: true,
            ports,
        })
        .collect();
    let volume = Volume {
        name: layout.volume.clone(),
        id: random_id(),
        size: layout.size,
        shared: layout.shared,
        stores: named
            .iter()
            .enumerate()
            .filter(|(_, (_, role))| *role == Role::Storage)
            .map(|(node, (name, _))| Store {
                node,
                path: PathBuf::from(format!("../{name}/{}.store", layout.volume)),
                id: random_id(),
            })
            .collect(),
    };
    (0..nodes.len())
        .map(|index| {
            let mut volume = volume.clone();
            for own in volume.stores.iter_mut().filter(|store| store.node == index) {
                own.path = PathBuf::from(format!("{}.store", layout.volume));
            }
            Config {
                cluster: cluster.clone(),
                node: ThisNode {
                    index,
                    name: nodes[index].name.clone(),
                    dir: ".".into(),
                },
                nodes: nodes.clone(),
                volumes: vec![volume],
            }
        })
        .collect()
}

fn random_id() -> u128 {
    uuid::Uuid::new_v4().as_u128()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn what_is_planned_is_a_right_configuration() {
        let layout = Layout {
            volume: "v".into(),
            size: 8192,
            storage_nodes: 2,
            witness: true,
            shared: true,
            profile: "fast".into(),
        };
        let addresses: Vec<IpAddr> = (1..4).map(|host| [127, 9, 9, host].into()).collect();
        let configs = configurations(&layout, &addresses, Ports::default(), [7; 32]);
        assert_eq!(configs.len(), 3);
        for (config, name) in configs.iter().zip(["n1", "n2", "w1"]) {
            let file = PathBuf::from(format!("/s/{name}/config.toml"));
            let read = Config::parse(&file, &config.to_toml()).unwrap();
            assert_eq!(read.node.name, name);
            assert_eq!(read.node.dir, Path::new("/s").join(name));
            assert_eq!(read.cluster, config.cluster);
            assert_eq!(read.cluster.profile, Profile::Fast);
            assert!(read.volumes[0].shared && read.volumes[0].size == 8192);
            assert_eq!(read.my_stores().count(), usize::from(name != "w1"));
        }
        assert_ne!(
            configs[0].volumes[0].stores[0].id,
            configs[0].volumes[0].stores[1].id
        );
    }
}
