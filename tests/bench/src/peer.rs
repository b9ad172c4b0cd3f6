//! The peers: QEMU's servers.

use std::fs::File;
use std::path::Path;
use std::process::Command;

use rustix::fs::{FallocateFlags, fallocate};

use crate::Fault;
use crate::serving::{Server, Serving};
use crate::size::Size;
use crate::system::System;

/// Ways of doing disk I/O, best first; which ones work depends on how QEMU was built.
const AIO: [&str; 3] = ["io_uring", "native", "threads"];

/// qemu-nbd on one file.
pub fn qemu_nbd(dir: &Path, size: Size) -> Result<Serving, Fault> {
    let image = image(dir, "qemu-nbd.img", size)?;
    let socket = dir.join("qemu-nbd.sock");
    let server = best(|aio| {
        let mut command = Command::new("qemu-nbd");
        command.args(["-t", "-e", "16", "-x", "vol", "-f", "raw", "--cache=none"]);
        command
            .arg(format!("--aio={aio}"))
            .arg("-k")
            .arg(&socket)
            .arg(&image);
        let mut server = Server::start(command, &dir.join("qemu-nbd.log"))?;
        server.wait_for_socket(&socket)?;
        Ok(server)
    })?;
    Ok(Serving::new(
        System::QemuNbd,
        uri(&socket),
        vec![server],
        None,
    ))
}

/// Two storage daemons; the first writes every block to its own file and to the second.
///
/// They speak over a Unix socket: over TCP QEMU's client stalls 43 ms on a delayed acknowledgement,
/// which would be no fair peer.
pub fn quorum(dir: &Path, size: Size) -> Result<Serving, Fault> {
    let local = image(dir, "quorum-local.img", size)?;
    let remote = image(dir, "quorum-remote.img", size)?;
    let peer_socket = dir.join("quorum-peer.sock");
    let socket = dir.join("quorum.sock");
    let peer = best(|aio| {
        let mut command = storage_daemon(&remote, aio);
        serve(&mut command, &peer_socket, "disk", "peer");
        let mut server = Server::start(command, &dir.join("quorum-peer.log"))?;
        server.wait_for_socket(&peer_socket)?;
        Ok(server)
    })?;
    let primary = best(|aio| {
        let mut command = storage_daemon(&local, aio);
        command.arg("--blockdev").arg(format!(
            "driver=nbd,node-name=other,server.type=unix,server.path={},export=peer,\
             reconnect-delay=0,discard=unmap",
            peer_socket.display()
        ));
        command.arg("--blockdev").arg(
            "driver=quorum,node-name=both,children.0=disk,children.1=other,vote-threshold=2,\
             read-pattern=fifo,discard=unmap",
        );
        serve(&mut command, &socket, "both", "vol");
        let mut server = Server::start(command, &dir.join("quorum.log"))?;
        server.wait_for_socket(&socket)?;
        Ok(server)
    })?;
    Ok(Serving::new(
        System::Quorum,
        uri(&socket),
        vec![primary, peer],
        None,
    ))
}

fn storage_daemon(image: &Path, aio: &str) -> Command {
    let mut command = Command::new("qemu-storage-daemon");
    command.arg("--blockdev").arg(format!(
        "driver=file,node-name=file,filename={},cache.direct=on,aio={aio},discard=unmap",
        image.display()
    ));
    command
        .arg("--blockdev")
        .arg("driver=raw,node-name=disk,file=file,discard=unmap");
    command
}

fn serve(command: &mut Command, socket: &Path, node: &str, name: &str) {
    let socket = socket.display();
    command
        .arg("--nbd-server")
        .arg(format!("addr.type=unix,addr.path={socket}"));
    command.arg("--export").arg(format!(
        "type=nbd,id=export,node-name={node},name={name},writable=on"
    ));
}

/// The first way of disk I/O that works.
fn best(mut start: impl FnMut(&str) -> Result<Server, Fault>) -> Result<Server, Fault> {
    let mut faults = Vec::new();
    for aio in AIO {
        match start(aio) {
            Ok(server) => {
                if !faults.is_empty() {
                    eprintln!("bench: this QEMU uses aio={aio}: {}", faults.join("; "));
                }
                return Ok(server);
            }
            Err(fault) => faults.push(fault),
        }
    }
    Err(faults.join("; "))
}

/// A new file with all its blocks allocated.
fn image(dir: &Path, name: &str, size: Size) -> Result<std::path::PathBuf, Fault> {
    let path = dir.join(name);
    let fault = |error: std::io::Error| format!("{}: {error}", path.display());
    let file = File::create_new(&path).map_err(fault)?;
    fallocate(&file, FallocateFlags::empty(), 0, size.bytes())
        .map_err(|error| fault(error.into()))?;
    Ok(path)
}

fn uri(socket: &Path) -> String {
    format!("nbd+unix:///vol?socket={}", socket.display())
}
