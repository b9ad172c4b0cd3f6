//! The nodes, and which of them this machine is.

use std::collections::BTreeMap;
use std::net::IpAddr;

use toml::Spanned;

use super::{Check, SOCKET_PATH_MAX};
use crate::model::{NODES_MAX, Node, Ports, Role, ThisNode, VOTERS_MAX};
use crate::problem::{Problem, line_of};
use crate::raw::{RawNode, RawPorts, RawThisNode};

impl Check<'_> {
    pub(super) fn nodes(&mut self, raw: &[Spanned<RawNode>]) -> Option<Vec<Node>> {
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

    pub(super) fn this_node(
        &mut self,
        raw: &RawThisNode,
        nodes: &[Spanned<RawNode>],
    ) -> Option<ThisNode> {
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
}

/// Place of the node with this name.
pub(super) fn position(nodes: &[Spanned<RawNode>], name: &str) -> Option<usize> {
    nodes
        .iter()
        .position(|node| node.get_ref().name.get_ref() == name)
}

/// Every node's name, for a sentence.
pub(super) fn names(nodes: &[Spanned<RawNode>]) -> String {
    let names: Vec<_> = nodes
        .iter()
        .map(|node| node.get_ref().name.get_ref().as_str())
        .collect();
    names.join(", ")
}
