//! A node that is stopped under load sees its clients off: every answer arrives whole, and then the
//! end of the stream, over TCP too.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use cluster_tests::image::scratch;
use cluster_tests::sandbox::{Sandbox, signal};
use rustix::process::Signal;

/// Bytes of each request; large, so that answers wait for the network.
const LEN: u32 = 1 << 20;
/// Requests in flight.
const DEPTH: u64 = 16;

/// Connects to the default export with simple replies (EXPORT_NAME, no zeroes).
fn connect(address: std::net::SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(address).expect("connect");
    let timeout = Some(Duration::from_secs(60));
    stream.set_read_timeout(timeout).expect("timeout");
    stream.read_exact(&mut [0; 18]).expect("greeting");
    stream.write_all(&3_u32.to_be_bytes()).expect("flags");
    stream
        .write_all(b"IHAVEOPT\0\0\0\x01\0\0\0\0")
        .expect("option");
    stream.read_exact(&mut [0; 10]).expect("export");
    stream
}

fn ask(stream: &mut TcpStream, cookie: u64) -> Result<(), std::io::Error> {
    let read = cookie.is_multiple_of(2);
    let mut bytes = 0x2560_9513_u32.to_be_bytes().to_vec();
    bytes.extend(0_u16.to_be_bytes());
    bytes.extend(u16::from(!read).to_be_bytes());
    bytes.extend(cookie.to_be_bytes());
    bytes.extend((cookie % 8 * u64::from(LEN)).to_be_bytes());
    bytes.extend(LEN.to_be_bytes());
    if !read {
        bytes.resize(bytes.len() + LEN as usize, 7);
    }
    stream.write_all(&bytes)
}

/// Reads a whole answer; none at the end of the stream.
fn answer(stream: &mut TcpStream) -> Option<u64> {
    let mut head = [0; 16];
    match stream.read(&mut head[..1]) {
        Ok(0) => return None,
        Ok(_) => {}
        Err(error) => panic!("no answer and no end: {error}"),
    }
    stream.read_exact(&mut head[1..]).expect("a whole answer");
    assert_eq!(head[..8], [0x67, 0x44, 0x66, 0x98, 0, 0, 0, 0], "no error");
    let cookie = u64::from_be_bytes(head[8..].try_into().expect("8 bytes"));
    if cookie.is_multiple_of(2) {
        let mut data = vec![0; LEN as usize];
        stream.read_exact(&mut data).expect("all of the data");
    }
    Some(cookie)
}

#[test]
fn a_node_that_stops_loses_no_answer() {
    let dir = scratch().join("stopping");
    drop(std::fs::remove_dir_all(&dir));
    let mut sandbox = Sandbox::start(&dir, &["--size", "16MiB"]);
    for round in 0..3 {
        sandbox.wait_healthy(Duration::from_secs(60));
        let (primary, _) = sandbox.pair();
        let mut stream = connect(primary.nbd_address());
        let mut sender = stream.try_clone().expect("clone");
        let sending = std::thread::spawn(move || {
            for cookie in 0.. {
                // It never waits for answers: the server stops to read when it has enough.
                if let Err(error) = ask(&mut sender, cookie) {
                    return error.kind();
                }
            }
            ErrorKind::Other
        });
        let mut answers = 0;
        let began = Instant::now();
        while answers < DEPTH * (round + 2) {
            answer(&mut stream).expect("it runs");
            answers += 1;
        }
        signal(&primary, Signal::TERM);
        // A slow reader: what was answered waits in the kernel.
        std::thread::sleep(Duration::from_millis(50));
        while answer(&mut stream).is_some() {}
        assert!(began.elapsed() < Duration::from_secs(60));
        drop(stream.shutdown(std::net::Shutdown::Both));
        let ended = sending.join().expect("the sender");
        assert_ne!(ended, ErrorKind::Other);
        // Its parent was not asked to stop.
        sandbox.wait_healthy(Duration::from_secs(60));
    }
    sandbox.stop();
    drop(std::fs::remove_dir_all(&dir));
}
