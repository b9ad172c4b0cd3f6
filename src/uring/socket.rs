//! Sockets: listeners, and links to peers.

use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, connect, getpeername, listen,
    socket_with, sockopt,
};

use super::config::NbdAddress;

/// Bytes that a Unix socket takes before its reader does.
const UNIX_SEND_BUFFER: usize = 2 << 20;
/// Connections that wait to be accepted.
const BACKLOG: i32 = 128;

/// Listens for NBD clients.
///
/// # Errors
/// The address cannot be had; the message names it.
pub(super) fn listen_nbd(address: &NbdAddress) -> io::Result<OwnedFd> {
    match address {
        NbdAddress::Tcp(address) => listen_tcp(*address),
        NbdAddress::Unix(path) => listen_unix(path)
            .map_err(|error| named(&error, "cannot listen on the socket", &path.display())),
    }
}

/// Listens on a TCP address.
///
/// # Errors
/// The address cannot be had; the message names it.
pub(super) fn listen_tcp(address: SocketAddr) -> io::Result<OwnedFd> {
    let open = || -> io::Result<OwnedFd> {
        let socket = stream(family(address.ip()))?;
        // A daemon that starts again gets its port although connections of its last run linger.
        sockopt::set_socket_reuseaddr(&socket, true)?;
        bind(&socket, &address)?;
        listen(&socket, BACKLOG)?;
        Ok(socket)
    };
    open().map_err(|error| named(&error, "cannot listen on", &address))
}

fn listen_unix(path: &Path) -> io::Result<OwnedFd> {
    let socket = stream(AddressFamily::UNIX)?;
    let address = SocketAddrUnix::new(path)?;
    match bind(&socket, &address) {
        Err(Errno::ADDRINUSE) => {
            // Of an earlier run, unless somebody still answers there. Never anything but a socket.
            let stale = fs::symlink_metadata(path)?.file_type().is_socket()
                && UnixStream::connect(path)
                    .is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused);
            if !stale {
                return Err(Errno::ADDRINUSE.into());
            }
            fs::remove_file(path)?;
            bind(&socket, &address)?;
        }
        bound => bound?,
    }
    listen(&socket, BACKLOG)?;
    Ok(socket)
}

fn named(error: &io::Error, what: &str, address: &dyn std::fmt::Display) -> io::Error {
    io::Error::new(error.kind(), format!("{what} {address}: {error}"))
}

fn family(address: IpAddr) -> AddressFamily {
    if address.is_ipv4() {
        AddressFamily::INET
    } else {
        AddressFamily::INET6
    }
}

fn stream(family: AddressFamily) -> io::Result<OwnedFd> {
    Ok(socket_with(
        family,
        SocketType::STREAM,
        SocketFlags::CLOEXEC,
        None,
    )?)
}

/// Begins to connect to a peer, from this node's own address. Whether that succeeds is known when
/// the socket becomes writable: see `connected`.
///
/// # Errors
/// The peer cannot be reached, as far as that is known at once.
pub(super) fn begin_connect(
    own: IpAddr,
    peer: SocketAddr,
    user_timeout: Duration,
) -> io::Result<OwnedFd> {
    let socket = stream(family(peer.ip()))?;
    prepare_link(&socket, user_timeout)?;
    bind(&socket, &SocketAddr::new(own, 0))?;
    fcntl_setfl(&socket, fcntl_getfl(&socket)? | OFlags::NONBLOCK)?;
    match connect(&socket, &peer) {
        Ok(()) | Err(Errno::INPROGRESS) => Ok(socket),
        Err(error) => Err(error.into()),
    }
}

/// Ends what `begin_connect` began, once the socket is writable. From then on it blocks: the ring
/// and `MSG_DONTWAIT` decide what waits.
///
/// # Errors
/// Why there is no connection.
pub(super) fn connected(socket: impl AsFd) -> io::Result<()> {
    let socket = socket.as_fd();
    sockopt::socket_error(socket)??;
    fcntl_setfl(socket, fcntl_getfl(socket)? - OFlags::NONBLOCK)?;
    Ok(())
}

/// Who has connected.
///
/// # Errors
/// The connection has ended already.
pub(super) fn remote(socket: impl AsFd) -> io::Result<SocketAddr> {
    let address = getpeername(socket)?.ok_or(Errno::NOTCONN)?;
    Ok(address.try_into()?)
}

/// Options of a data link: no delay, and an end when the peer does not acknowledge.
///
/// # Errors
/// The kernel refuses an option.
pub(super) fn prepare_link(socket: impl AsFd, user_timeout: Duration) -> io::Result<()> {
    let socket = socket.as_fd();
    sockopt::set_tcp_nodelay(socket, true)?;
    sockopt::set_tcp_user_timeout(socket, user_timeout.as_millis() as u32)?;
    // A peer whose machine is gone is noticed even when nothing is being sent.
    sockopt::set_socket_keepalive(socket, true)?;
    sockopt::set_tcp_keepidle(socket, Duration::from_secs(5))?;
    sockopt::set_tcp_keepintvl(socket, Duration::from_secs(5))?;
    Ok(())
}

/// Options of a client's connection. None of them is needed: it is served without.
pub(super) fn prepare_client(socket: impl AsFd) {
    let socket = socket.as_fd();
    if sockopt::socket_domain(socket) == Ok(AddressFamily::UNIX) {
        // The answers to 32 reads of 4 KiB do not fit the default, as the kernel counts. TCP finds
        // the right size by itself. Root may have more than the system's limit.
        let _ = sockopt::set_socket_send_buffer_size_force(socket, UNIX_SEND_BUFFER)
            .or_else(|_| sockopt::set_socket_send_buffer_size(socket, UNIX_SEND_BUFFER));
    } else {
        let _ = sockopt::set_tcp_nodelay(socket, true);
        let _ = sockopt::set_socket_keepalive(socket, true);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forks::directory;

    #[test]
    fn a_port_in_use_is_named() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        let error = listen_tcp(address).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        assert!(error.to_string().contains(&address.to_string()), "{error}");
    }

    #[test]
    fn a_stale_socket_is_replaced_and_a_live_one_or_a_file_is_not() {
        let dir = directory();
        let path = NbdAddress::Unix(dir.path().join("s"));
        drop(listen_nbd(&path).unwrap());
        let live = listen_nbd(&path).unwrap();
        assert!(listen_nbd(&path).is_err());
        drop(live);
        let file = dir.path().join("file");
        fs::write(&file, "mine").unwrap();
        assert!(listen_nbd(&NbdAddress::Unix(file.clone())).is_err());
        assert_eq!(fs::read(&file).unwrap(), b"mine");
    }
}
