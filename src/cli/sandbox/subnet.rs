//! Loopback addresses that nobody uses.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};

use config::Ports;

/// How many subnets are tried.
const TRIES: u16 = 256;
/// Added to every port where something holds the usual ones on all addresses.
const PORT_OFFSETS: [u16; 3] = [0, 20_000, 30_000];

/// The first `count` addresses of a 127.x.y.0/24 on which all ports can be bound, and the ports.
/// Where the search begins depends on `seed` alone, so that sandboxes in different directories
/// rarely meet, also while they are stopped.
pub(super) fn choose(count: u8, seed: &[u8]) -> Result<(Vec<IpAddr>, Ports), String> {
    let start = hash(seed);
    for offset in PORT_OFFSETS {
        let ports = shifted(offset);
        for step in 0..TRIES {
            let addresses = subnet(start.wrapping_add(step), count);
            if addresses.iter().all(|address| free(*address, ports)) {
                return Ok((addresses, ports));
            }
        }
    }
    Err(format!(
        "no free loopback addresses in {TRIES} networks 127.x.y.0/24: the ports {:?} are taken \
         everywhere, see `ss -lntu`",
        Ports::default()
    ))
}

fn subnet(number: u16, count: u8) -> Vec<IpAddr> {
    let [x, y] = number.to_be_bytes();
    // 127.0.y has names of its own on many machines.
    let x = x.max(1);
    (1..=count)
        .map(|host| Ipv4Addr::new(127, x, y, host).into())
        .collect()
}

fn shifted(offset: u16) -> Ports {
    let ports = Ports::default();
    Ports {
        nbd: ports.nbd + offset,
        data: ports.data + offset,
        pulse: ports.pulse + offset,
        core: ports.core + offset,
    }
}

fn free(address: IpAddr, ports: Ports) -> bool {
    let tcp = |port| TcpListener::bind(SocketAddr::new(address, port)).is_ok();
    let udp = |port| UdpSocket::bind(SocketAddr::new(address, port)).is_ok();
    tcp(ports.nbd) && tcp(ports.data) && udp(ports.pulse) && udp(ports.core)
}

/// FNV-1a, folded: only spreads, protects nothing.
fn hash(seed: &[u8]) -> u16 {
    let hash = seed.iter().fold(0x811c_9dc5_u32, |hash, byte| {
        (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193)
    });
    ((hash >> 16) ^ (hash & 0xffff)) as u16
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forks::forbidden;

    #[test]
    fn a_subnet_in_use_is_passed_over() {
        let _quiet = forbidden();
        let (first, ports) = choose(3, b"/a/sandbox").unwrap();
        assert_eq!(first.len(), 3);
        assert!(first.iter().all(IpAddr::is_loopback));
        let held = TcpListener::bind(SocketAddr::new(first[1], ports.data)).unwrap();
        let (second, _) = choose(3, b"/a/sandbox").unwrap();
        assert_ne!(first, second);
        drop(held);
        let held = UdpSocket::bind(SocketAddr::new(first[2], ports.core)).unwrap();
        assert_ne!(choose(3, b"/a/sandbox").unwrap().0, first);
        drop(held);
    }

    #[test]
    fn directories_get_different_subnets() {
        assert_ne!(hash(b"/a/sandbox"), hash(b"/b/sandbox"));
        assert_eq!(subnet(0, 1), [IpAddr::from([127, 1, 0, 1])]);
    }
}
