//! Sockets that a node cannot have: which, why, and what to do.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::path::Path;

use config::Config;

use super::exit;
use super::stopped::Stopped;

/// A UDP socket of this node; `of` says what for.
pub(super) fn udp(address: SocketAddr, of: &str) -> Result<UdpSocket, Stopped> {
    UdpSocket::bind(address).map_err(|error| {
        let what = format!("cannot listen on {address}: {error}");
        refused(error.kind(), &what, Some(of))
    })
}

/// Why the reactor has not got one of its sockets. Its message names the address.
pub(super) fn of_reactor(config: &Config, error: &io::Error) -> Stopped {
    let what = error.to_string();
    let me = config.me();
    let of = [
        (me.nbd().to_string(), "NBD, port \"nbd\""),
        (
            me.data().to_string(),
            "the links of other nodes, port \"data\"",
        ),
        (
            config.nbd_socket().display().to_string(),
            "NBD on this machine",
        ),
    ];
    let of = of
        .iter()
        .find(|(address, _)| what.contains(&format!(" {address}: ")))
        .map(|(_, of)| *of);
    refused(error.kind(), &what, of)
}

fn refused(kind: io::ErrorKind, what: &str, of: Option<&str>) -> Stopped {
    let of = of.map(|of| format!(" ({of})")).unwrap_or_default();
    let (code, advice) = match kind {
        io::ErrorKind::AddrInUse => (
            exit::BUSY,
            "another process has it: `ss -lntup` (`ss -lxp` for a file) shows which. Stop that, or \
             give this node another in the configuration of every node",
        ),
        // It may still be on its way up, as while the machine boots.
        io::ErrorKind::AddrNotAvailable => (
            1,
            "this machine does not have the address: `ip address` shows those that it has. Add it, \
             or correct this node's address in the configuration of every node",
        ),
        io::ErrorKind::PermissionDenied => (
            exit::CONFIG,
            "it needs more rights: run it as root, or use a port above 1023 and a directory that \
             this user may write",
        ),
        _ => (1, "see the error"),
    };
    Stopped {
        why: format!("{what}{of}; {advice}"),
        code,
    }
}

/// Why there is no control interface. The message does not name the socket.
pub(super) fn of_control(socket: &Path, error: &io::Error) -> Stopped {
    let what = format!("cannot listen on {}: {error}", socket.display());
    let of = Some("the control interface");
    match error.kind() {
        io::ErrorKind::AlreadyExists => Stopped {
            why: format!("{what}; move it away, or give this node another dir"),
            code: exit::CONFIG,
        },
        kind => refused(kind, &what, of),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn configuration() -> Config {
        Config::parse(Path::new("/e.toml"), config::EXAMPLE).unwrap()
    }

    #[test]
    fn a_port_in_use_is_named() {
        let held = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = held.local_addr().unwrap();
        let stopped = udp(address, "heartbeats, port \"pulse\"").unwrap_err();
        assert_eq!(stopped.code, exit::BUSY);
        for word in [&address.to_string(), "heartbeats", "ss -lntup"] {
            assert!(stopped.why.contains(word), "{}", stopped.why);
        }
    }

    #[test]
    fn an_address_that_is_not_there_is_tried_again() {
        let stopped = udp("192.0.2.1:9".parse().unwrap(), "heartbeats").unwrap_err();
        assert_eq!(stopped.code, 1);
        assert!(stopped.why.contains("ip address"), "{}", stopped.why);
    }

    #[test]
    fn the_reactors_sockets_are_told_apart() {
        let config = configuration();
        for (address, word) in [
            (config.me().nbd().to_string(), "port \"nbd\""),
            (config.me().data().to_string(), "port \"data\""),
            (config.nbd_socket().display().to_string(), "on this machine"),
        ] {
            let error = io::Error::new(
                io::ErrorKind::AddrInUse,
                format!("cannot listen on {address}: taken"),
            );
            let stopped = of_reactor(&config, &error);
            assert_eq!(stopped.code, exit::BUSY);
            assert!(stopped.why.contains(word), "{}", stopped.why);
        }
    }
}
