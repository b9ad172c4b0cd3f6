//! `steadfast node run` where something is in the way or wrong: it says what, where and what to do,
//! ends with the code that tells whether another try may help, and overwrites nothing.

use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::unix::net::UnixListener;
use std::process::Command;
use std::time::Duration;

use cluster_tests::client::Client;
use cluster_tests::solo::{PORTS, Running, Solo};
use cluster_tests::{tool, wait_for};
use rustix::process::Signal;

/// What a person must change first.
const CONFIG: i32 = 78;
/// What is in the way may go away.
const BUSY: i32 = 75;
const SOON: Duration = Duration::from_secs(30);
/// Ten starts with a second between, and a machine that is slow.
const PATIENCE: Duration = Duration::from_secs(90);

/// Ends with `CONFIG`, having said these words, and log and store are as they were.
#[track_caller]
fn refused(solo: &Solo, words: &[&str]) {
    let before = solo.content();
    let mut running = solo.run();
    let code = running.end(SOON).code();
    let said = running.said();
    assert_eq!(code, Some(CONFIG), "{said}");
    for word in words {
        assert!(said.contains(word), "no \"{word}\" in: {said}");
    }
    assert!(before == solo.content(), "something was written: {said}");
}

/// As `refused`, but for the log, which a start writes before it looks at the stores.
#[track_caller]
fn store_refused(solo: &Solo, words: &[&str]) {
    let before = fs::read(solo.store()).expect("store");
    let mut running = solo.run();
    let code = running.end(SOON).code();
    let said = running.said();
    assert_eq!(code, Some(CONFIG), "{said}");
    for word in words.iter().chain(&["data.store"]) {
        assert!(said.contains(word), "no \"{word}\" in: {said}");
    }
    assert!(
        before == fs::read(solo.store()).expect("store"),
        "the store was written: {said}"
    );
}

fn stops(mut running: Running) {
    running.signal(Signal::TERM);
    assert_eq!(running.end(SOON).code(), Some(0), "{}", running.said());
}

/// While `held` is: waits, and says for what. Afterwards it serves.
fn waits<T>(solo: &Solo, held: T, words: &[&str]) {
    let before = fs::read(solo.store()).expect("store");
    let running = solo.run();
    running.wait_for(words, SOON);
    assert!(before == fs::read(solo.store()).expect("store"));
    drop(held);
    wait_for("the node to serve", PATIENCE, || {
        (solo.status_code() == Some(0)).then_some(())
    });
    stops(running);
}

/// As `waits`, for a port that `bind` holds.
fn waits_for_port<T>(port: u16, name: &str, bind: fn(SocketAddr) -> io::Result<T>) {
    let solo = Solo::new(&format!("port-{name}"));
    let address = solo.address.parse().expect("address");
    let held = bind(SocketAddr::new(address, port)).expect("bind");
    let words = [
        &format!("{address}:{port}"),
        &format!("port \"{name}\""),
        "ss -lntup",
        "status: 75",
    ];
    waits(&solo, held, &words);
    solo.remove();
}

#[test]
fn a_port_in_use_is_waited_for() {
    let [nbd, data, pulse, core] = PORTS;
    std::thread::scope(|scope| {
        for (port, name) in [(nbd, "nbd"), (data, "data")] {
            scope.spawn(move || waits_for_port(port, name, TcpListener::bind));
        }
        for (port, name) in [(pulse, "pulse"), (core, "core")] {
            scope.spawn(move || waits_for_port(port, name, UdpSocket::bind));
        }
        for (name, words) in [
            ("api.sock", "the control interface"),
            ("nbd.sock", "NBD on this machine"),
        ] {
            scope.spawn(move || {
                let solo = Solo::new(&format!("port-{name}"));
                let path = solo.dir.join(name);
                let held = UnixListener::bind(&path).expect("bind");
                let said = path.to_str().expect("path");
                waits(&solo, held, &[said, words, "ss -lxp", "status: 75"]);
                solo.remove();
            });
        }
    });
}

#[test]
fn a_port_that_stays_in_use_ends_it() {
    let solo = Solo::new("port-stays");
    let _held = UdpSocket::bind((solo.address.as_str(), PORTS[3])).expect("bind");
    let mut running = solo.run();
    assert_eq!(
        running.end(PATIENCE).code(),
        Some(BUSY),
        "{}",
        running.said()
    );
    assert!(running.said().contains("giving up"), "{}", running.said());
    drop(running);
    solo.remove();
}

#[test]
fn a_file_in_the_place_of_the_control_socket_stays() {
    let solo = Solo::new("api-file");
    fs::write(solo.api(), "thesis").expect("file");
    store_refused_for(&solo, &["api.sock", "no socket", "move it away"]);
    assert_eq!(fs::read(solo.api()).expect("file"), b"thesis");
    solo.remove();
}

/// As `store_refused`, where the store is not what is wrong.
#[track_caller]
fn store_refused_for(solo: &Solo, words: &[&str]) {
    let before = fs::read(solo.store()).expect("store");
    let mut running = solo.run();
    let code = running.end(SOON).code();
    let said = running.said();
    assert_eq!(code, Some(CONFIG), "{said}");
    for word in words {
        assert!(said.contains(word), "no \"{word}\" in: {said}");
    }
    assert!(before == fs::read(solo.store()).expect("store"));
}

#[test]
fn an_address_of_another_machine_is_named() {
    let solo = Solo::new("address-elsewhere");
    solo.edit(&solo.address, "192.0.2.77");
    let running = solo.run();
    running.wait_for(&["192.0.2.77", "ip address", "status: 1"], SOON);
    stops(running);
    solo.remove();
}

#[test]
fn what_a_running_daemon_holds_is_left_to_it() {
    let solo = Solo::new("locked");
    let first = solo.serve();
    let address = format!("{}:{}", solo.address, PORTS[0])
        .parse()
        .expect("address");
    let mut client = Client::connect(address, "data").expect("connect");
    client.write(4096, &[7; 4096]).expect("write");

    // The same node once more.
    let second = Running::start(&solo.dir.join("second"), &solo.config());
    second.wait_for(
        &["cluster-log", "another process holds", "running already"],
        SOON,
    );
    stops(second);
    // Another node whose configuration names the same store.
    let other = Solo::new("locked-other");
    other.edit("data.store", solo.store().to_str().expect("path"));
    let third = other.run();
    third.wait_for(&["data.store", "another process holds it", "fuser"], SOON);
    stops(third);

    let mut data = [0; 4096];
    client.read(4096, &mut data).expect("read");
    assert_eq!(data, [7; 4096]);
    assert_eq!(solo.status_code(), Some(0));
    stops(first);
    other.remove();
    solo.remove();
}

#[test]
fn a_store_of_somebody_else() {
    let solo = Solo::new("foreign");
    let size = fs::metadata(solo.store()).expect("store").len();
    fs::write(solo.store(), vec![b'x'; 9 << 20]).expect("store");
    store_refused(
        &solo,
        &["not a Steadfast store", "Nothing in it was changed"],
    );
    fs::write(solo.store(), "").expect("store");
    let file = fs::File::options().write(true).open(solo.store());
    file.and_then(|file| file.set_len(size)).expect("store");
    let store = solo.store();
    tool::run("mkfs.ext4", &["-q", "-F", store.to_str().expect("path")]);
    store_refused(&solo, &["ext4", "Nothing in it was changed"]);
    fs::remove_file(solo.store()).expect("store");
    let mut running = solo.run();
    assert_eq!(running.end(SOON).code(), Some(CONFIG), "{}", running.said());
    assert!(
        running.said().contains("there is no such file"),
        "{}",
        running.said()
    );
    assert!(!solo.store().exists());
    drop(running);
    solo.remove();
}

#[test]
fn a_store_of_another_cluster_or_volume() {
    let solo = Solo::new("other-cluster");
    let other = Solo::planned("other-cluster-2");
    other.edit("4b2f0a4e", "4b2f0a4f");
    other.initialise();
    fs::copy(other.store(), solo.store()).expect("copy");
    store_refused(
        &solo,
        &["belongs to cluster 4b2f0a4f", "this node to 4b2f0a4e"],
    );
    fs::copy(other.log(), solo.log()).expect("copy");
    refused(&solo, &["cluster-log", "4b2f0a4f"]);
    other.remove();
    solo.remove();

    let solo = Solo::new("other-volume");
    solo.edit("0a9c6c0e", "0a9c6c0f");
    store_refused(&solo, &["belongs to volume 0a9c6c0e", "0a9c6c0f"]);
    solo.edit("d1a0c0f2", "d1a0c0f3");
    store_refused(&solo, &["this is store d1a0c0f2", "d1a0c0f3"]);
    solo.edit("8MiB", "4MiB");
    store_refused(
        &solo,
        &["8388608 bytes", "4194304", "Correct the volume's size"],
    );
    solo.remove();
}

#[test]
fn a_store_that_is_damaged() {
    let solo = Solo::new("damaged");
    let whole = fs::read(solo.store()).expect("store");
    fs::write(solo.store(), &whole[..whole.len() / 2]).expect("store");
    store_refused(&solo, &["needs", &whole.len().to_string(), "full copy"]);

    let mut damaged = whole.clone();
    damaged[90] ^= 1;
    fs::write(solo.store(), &damaged).expect("store");
    store_refused(
        &solo,
        &[
            "superblock at byte 0 is damaged",
            "Do not repair it by hand",
        ],
    );

    damaged[(64 << 10) + 90] ^= 1;
    fs::write(solo.store(), &damaged).expect("store");
    store_refused(&solo, &["both superblocks are damaged"]);

    let mut newer = whole.clone();
    for start in [0, 64 << 10] {
        let page = &mut newer[start..start + 4096];
        page[8] += 1;
        page[16..20].fill(0);
        let crc = crc32(page);
        page[16..20].copy_from_slice(&crc.to_le_bytes());
    }
    fs::write(solo.store(), &newer).expect("store");
    store_refused(&solo, &["format version 2", "Run a newer steadfast"]);

    fs::write(solo.store(), &whole).expect("store");
    stops(solo.serve());
    solo.remove();
}

/// The checksum of IEEE 802.3, as zip has it.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg())
        })
    })
}

#[test]
fn a_log_that_is_damaged_or_missing() {
    let solo = Solo::new("log");
    let whole = fs::read(solo.log()).expect("log");
    fs::write(solo.log(), vec![b'x'; whole.len()]).expect("log");
    refused(&solo, &["cluster-log"]);
    fs::write(solo.log(), &whole[..whole.len() / 2]).expect("log");
    refused(&solo, &["cluster-log"]);
    let mut other = whole.clone();
    other[8] += 1;
    fs::write(solo.log(), &other).expect("log");
    refused(&solo, &["cluster-log", "version 3", "another release"]);
    fs::remove_file(solo.log()).expect("log");
    store_refused_for(&solo, &["there is no cluster log", "steadfast node init"]);
    assert!(!solo.log().exists());
    fs::create_dir(solo.log()).expect("directory");
    store_refused_for(&solo, &["cluster-log", "directory"]);
    solo.remove();
}

#[test]
fn a_configuration_that_is_wrong() {
    let solo = Solo::new("config");
    let second = format!(
        "[[nodes]]\nname = \"n2\"\naddress = \"{}\"\nrole = \"storage\"\n\n[[volumes]]",
        solo.address
    );
    for (from, to, words) in [
        ("size = ", "sizes = ", ["unknown field `sizes`", "n1.toml:"]),
        ("8MiB", "8MB", ["unknown unit \"MB\"", "\"8GiB\""]),
        (
            "[[volumes]]",
            &second,
            ["is already the node's of line", "an address of its own"],
        ),
        ("[node]", "[node", ["n1.toml:", "steadfast config example"]),
    ] {
        solo.edit(from, to);
        refused(&solo, &[words[0], words[1], "bad configuration"]);
    }
    fs::remove_file(solo.config()).expect("configuration");
    refused(
        &solo,
        &["n1.toml", "cannot be read", "name a configuration file"],
    );
    solo.remove();
}

#[test]
fn making_a_node_touches_nothing_that_is_there() {
    let solo = Solo::new("init");
    let before = solo.content();
    let config = solo.config();
    let init = || {
        Command::new(tool::steadfast())
            .args(["node", "init", "--config"])
            .arg(&config)
            .output()
            .expect("steadfast node init")
    };
    let again = init();
    assert_eq!(again.status.code(), Some(CONFIG));
    let said = String::from_utf8_lossy(&again.stderr).into_owned();
    assert!(
        said.contains("was made before") && said.contains("nothing was changed"),
        "{said}"
    );
    assert!(before == solo.content());

    fs::remove_file(solo.log()).expect("log");
    fs::write(solo.store(), vec![b'x'; 1 << 20]).expect("store");
    let foreign = init();
    assert_eq!(foreign.status.code(), Some(CONFIG));
    let said = String::from_utf8_lossy(&foreign.stderr).into_owned();
    assert!(
        said.contains("not empty") && said.contains("Nothing in it was changed"),
        "{said}"
    );
    assert_eq!(fs::read(solo.store()).expect("store"), vec![b'x'; 1 << 20]);
    assert!(!solo.log().exists());
    solo.remove();
}
