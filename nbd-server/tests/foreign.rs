//! Clients that others wrote, against a plain blocking server over this crate.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::Command as Process;
use std::sync::{Arc, Mutex};
use std::thread;

use steadfast_nbd_server::{
    Command, DATA_REPLY_MAX, Errno, Export, Flags, Handshake, Outcome, Parsed, REPLY_MAX,
    REQUEST_LEN, Transmission,
};

const SIZE: usize = 8 << 20;

type Disk = Arc<Mutex<Vec<u8>>>;

fn exports() -> Vec<Export> {
    let mut export = Export::new(
        "vol".into(),
        "a test".into(),
        SIZE as u64,
        Flags::DISK.with(Flags::FAST_ZERO),
    );
    export.default = true;
    vec![export]
}

/// Serves one connection until it ends.
fn serve(mut stream: UnixStream, disk: &Disk) -> io::Result<()> {
    let exports = exports();
    let mut out = Vec::new();
    let mut handshake = Handshake::new(&mut out);
    let mut bytes = Vec::new();
    let begun = loop {
        stream.write_all(&out)?;
        out.clear();
        if !receive(&mut stream, &mut bytes)? {
            return Ok(());
        }
        let (used, outcome) = handshake.input(&bytes, &exports, &mut out);
        bytes.drain(..used);
        match outcome {
            Outcome::Continue => {}
            Outcome::Transmission(begun) => break begun,
            Outcome::Close => return stream.write_all(&out),
        }
    };
    stream.write_all(&out)?;
    loop {
        match begun.next(&bytes) {
            Parsed::NeedMore => {
                if !receive(&mut stream, &mut bytes)? {
                    return Ok(());
                }
            }
            Parsed::Disconnect(_) => return Ok(()),
            Parsed::Answer {
                command,
                cookie,
                errno,
                drain,
            } => {
                take(&mut stream, &mut bytes, drain)?;
                let mut out = [0; REPLY_MAX];
                let len = begun.reply(command, cookie, errno, &mut out);
                stream.write_all(&out[..len])?;
            }
            Parsed::Request(request) => {
                let payload = take(&mut stream, &mut bytes, request.payload_len())?;
                let range = request.offset as usize..request.offset as usize + request.len as usize;
                let mut disk = disk.lock().unwrap();
                match request.command {
                    Command::Read => {
                        let answer =
                            read_reply(&begun, request.cookie, request.offset, &disk[range]);
                        stream.write_all(&answer)?;
                        continue;
                    }
                    Command::Write => disk[range].copy_from_slice(&payload),
                    Command::Trim | Command::WriteZeroes => disk[range].fill(0),
                    Command::Flush => {}
                    Command::Cache => unreachable!("never reaches the disk"),
                }
                let mut out = [0; REPLY_MAX];
                let len = begun.reply(request.command, request.cookie, Errno::Ok, &mut out);
                stream.write_all(&out[..len])?;
            }
        }
    }
}

/// The answer to a read, in two pieces where that is allowed.
fn read_reply(begun: &Transmission, cookie: u64, offset: u64, data: &[u8]) -> Vec<u8> {
    let half = if begun.structured { data.len() / 2 } else { 0 };
    let mut answer = Vec::new();
    for (at, piece, last) in [(half, &data[half..], half == 0), (0, &data[..half], true)] {
        if piece.is_empty() {
            continue;
        }
        let mut out = [0; DATA_REPLY_MAX];
        let (offset, len) = (offset + at as u64, piece.len() as u32);
        let head = begun.data_reply(cookie, offset, len, last, &mut out);
        answer.extend(&out[..head]);
        answer.extend(piece);
    }
    answer
}

fn receive(stream: &mut UnixStream, bytes: &mut Vec<u8>) -> io::Result<bool> {
    let mut more = [0; 65536];
    let len = stream.read(&mut more)?;
    bytes.extend(&more[..len]);
    Ok(len != 0)
}

/// Takes the header off, and the `len` bytes that follow it.
fn take(stream: &mut UnixStream, bytes: &mut Vec<u8>, len: u32) -> io::Result<Vec<u8>> {
    let end = REQUEST_LEN + len as usize;
    while bytes.len() < end {
        if !receive(stream, bytes)? {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(bytes.drain(..end).skip(REQUEST_LEN).collect())
}

#[test]
fn the_nbd_crate_reads_what_it_wrote() {
    let disk: Disk = Arc::new(Mutex::new(vec![0; SIZE]));
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let shared = disk.clone();
    let server = thread::spawn(move || serve(ours, &shared));
    let export = nbd::client::handshake(&mut theirs, b"vol").unwrap();
    assert_eq!(export.size, SIZE as u64);
    assert!(export.send_trim && export.send_flush && !export.readonly);
    let mut client = nbd::client::NbdClient::new(theirs, &export);
    client.seek(SeekFrom::Start(12345)).unwrap();
    client.write_all(&[0x5a; 70_000]).unwrap();
    client.flush().unwrap();
    client.seek(SeekFrom::Start(12345)).unwrap();
    let mut back = vec![0; 70_000];
    client.read_exact(&mut back).unwrap();
    assert!(back.iter().all(|byte| *byte == 0x5a));
    drop(client);
    server.join().unwrap().unwrap();
    assert!(
        disk.lock().unwrap()[12345..82345]
            .iter()
            .all(|byte| *byte == 0x5a)
    );
}

#[test]
fn an_unknown_name_is_refused_by_closing() {
    let disk: Disk = Arc::new(Mutex::new(vec![0; SIZE]));
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let server = thread::spawn(move || serve(ours, &disk));
    assert!(nbd::client::handshake(&mut theirs, b"other").is_err());
    server.join().unwrap().unwrap();
}

/// Runs a program that is not part of this project, if it is there.
fn foreign(program: &str, arguments: &[&str]) -> Option<String> {
    match Process::new(program).args(arguments).output() {
        Ok(output) => {
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            let errors = String::from_utf8_lossy(&output.stderr);
            assert!(
                output.status.success(),
                "{program} {arguments:?}: {text} {errors}"
            );
            Some(text)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            eprintln!("{program} is not installed: not tried");
            None
        }
        Err(error) => panic!("{program}: {error}"),
    }
}

fn listen(socket: &Path) {
    let listener = UnixListener::bind(socket).unwrap();
    let disk: Disk = Arc::new(Mutex::new(vec![0; SIZE]));
    thread::spawn(move || {
        for stream in listener.incoming() {
            let disk = disk.clone();
            thread::spawn(move || serve(stream.unwrap(), &disk));
        }
    });
}

#[test]
fn programs_of_qemu_and_libnbd() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("s");
    listen(&socket);
    let uri = format!("nbd+unix:///vol?socket={}", socket.display());
    if let Some(text) = foreign("nbdinfo", &[&uri]) {
        for line in [
            "using structured packets",
            "export-size: 8388608",
            "description: a test",
            "can_df: true",
            "can_fua: true",
            "can_multi_conn: true",
            "can_fast_zero: true",
            "block_size_preferred: 4096",
            "block_size_maximum: 33554432",
        ] {
            assert!(text.contains(line), "{line}: {text}");
        }
    }
    if let Some(text) = foreign("nbdinfo", &["--list", &uri]) {
        assert!(text.contains("export=\"vol\""), "{text}");
    }
    let steps = [
        "write -f -P 0x5a 64k 4k",
        "write -P 0x77 1 700",
        "write -z -u 192k 64k",
        "discard 256k 64k",
        "read -P 0x5a 64k 4k",
        "read -P 0x77 1 700",
        "read -P 0 192k 128k",
        "read -P 0 4M 4M",
    ];
    let mut arguments = vec!["-f", "raw"];
    for step in steps {
        arguments.extend(["-c", step]);
    }
    arguments.push(&uri);
    if let Some(text) = foreign("qemu-io", &arguments) {
        assert!(!text.contains("failed"), "{text}");
    }
    let listing = format!("nbd+unix:///?socket={}", socket.display());
    let image = format!(
        "driver=nbd,server.type=unix,server.path={},export=vol",
        socket.display()
    );
    foreign("qemu-img", &["info", "--image-opts", &image]);
    foreign("qemu-img", &["info", &listing]);
}
