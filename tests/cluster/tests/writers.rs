//! Clients that check every acknowledged write, through faults that stop or disconnect them.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use cluster_tests::client::Client;
use cluster_tests::cut::Cut;
use cluster_tests::image::scratch;
use cluster_tests::latency::boot_nanos;
use cluster_tests::sandbox::{Sandbox, signal};
use cluster_tests::wait_for;
use cluster_tests::writer::Writer;
use rustix::process::Signal;

static ALONE: Mutex<()> = Mutex::new(());

fn fresh(name: &str) -> std::path::PathBuf {
    let dir = scratch().join(name);
    drop(std::fs::remove_dir_all(&dir));
    dir
}

#[test]
fn all_three_killed_at_once() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let dir = fresh("all-killed");
    let mut sandbox = Sandbox::start(&dir, &["--size", "64MiB"]);
    let (_, standby) = sandbox.pair();
    let volume = sandbox.volume();
    let writer = Writer::start(standby.nbd_address(), &volume, 0, 4096);
    wait_for("writes", Duration::from_secs(30), || {
        (writer.count() > 2000).then_some(())
    });
    let old = sandbox.nodes();
    for node in &old {
        signal(node, Signal::KILL);
    }
    wait_for(
        "the writer to be disconnected",
        Duration::from_secs(30),
        || writer.has_ended().then_some(()),
    );
    let written = writer.stop();
    assert!(written.error.is_some());
    wait_for(
        "all daemons to be restarted",
        Duration::from_secs(30),
        || {
            let now = sandbox.nodes();
            now.iter()
                .all(|node| old.iter().all(|old| old.pid != node.pid))
                .then_some(())
        },
    );
    sandbox.wait_healthy(Duration::from_secs(60));
    written.verify(sandbox.node(&standby.name).nbd_address(), &volume);
    sandbox.stop();
    drop(std::fs::remove_dir_all(&dir));
}

#[test]
fn a_cut_link_stops_the_standbys_client_and_not_the_primarys() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let dir = fresh("cut-shared");
    let mut sandbox = Sandbox::start(&dir, &["--size", "64MiB", "--shared"]);
    let (primary, standby) = sandbox.pair();
    let volume = sandbox.volume();
    let near = Writer::start(primary.nbd_address(), &volume, 0, 2048);
    let far = Writer::start(standby.nbd_address(), &volume, 2048, 2048);
    wait_for("writes of both", Duration::from_secs(30), || {
        (near.count() > 500 && far.count() > 500).then_some(())
    });
    let cut = Cut::between(&primary.address, &standby.address);
    let cut_at = boot_nanos();
    std::thread::sleep(Duration::from_secs(2));
    let (near_then, far_then) = (near.count(), far.count());
    std::thread::sleep(Duration::from_secs(8));
    wait_for(
        "the primary's client to go on",
        Duration::from_secs(30),
        || (near.count() > near_then + 500).then_some(()),
    );
    let far_now = far.count();
    drop(cut);
    assert_eq!(
        far_now, far_then,
        "the standby's client was answered across a cut link"
    );
    wait_for(
        "the standby's client to go on",
        Duration::from_secs(30),
        || (far.count() > far_now + 500).then_some(()),
    );
    let (near, far) = (near.stop(), far.stop());
    assert!(
        near.error.is_none() && far.error.is_none(),
        "{:?} {:?}",
        near.error,
        far.error
    );
    let pause = near.pause(cut_at, cut_at + 8_000_000_000).expect("writes");
    assert!(
        pause < Duration::from_secs(5),
        "the primary's client paused for {pause:?}"
    );
    sandbox.wait_healthy(Duration::from_secs(60));
    near.verify(standby.nbd_address(), &volume);
    far.verify(primary.nbd_address(), &volume);
    sandbox.stop();
    drop(std::fs::remove_dir_all(&dir));
}

#[test]
fn without_a_witness_a_dead_peer_leaves_the_volume_waiting_and_status_says_why() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let dir = fresh("no-witness");
    let mut sandbox = Sandbox::start(&dir, &["--size", "64MiB", "--no-witness"]);
    let (primary, standby) = sandbox.pair();
    let volume = sandbox.volume();
    let writer = Writer::start(primary.nbd_address(), &volume, 0, 1024);
    wait_for("writes", Duration::from_secs(30), || {
        (writer.count() > 200).then_some(())
    });
    signal(&standby, Signal::STOP);
    let status = wait_for("status to say why", Duration::from_secs(30), || {
        let status = sandbox.status(&primary)?;
        (status["quorum"] == false).then_some(status)
    });
    let volume_status = &status["volumes"][0];
    let said = volume_status["redundancy"].as_str().expect("a sentence");
    let why = [
        "no quorum".to_owned(),
        format!("waiting for {}", standby.name),
    ];
    assert!(why.iter().all(|words| said.contains(words)), "{said}");
    assert!(volume_status["primary"].is_null(), "{status}");
    let ask = ["status", "--node", &primary.name];
    sandbox.ask(&ask).tells(2, &[&why[0], &why[1]]);
    let then = writer.count();
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(
        writer.count(),
        then,
        "a write was acknowledged without a quorum"
    );
    assert!(
        !writer.has_ended(),
        "the client got an error instead of waiting"
    );
    signal(&standby, Signal::CONT);
    wait_for("writes to go on", Duration::from_secs(30), || {
        (writer.count() > then + 200).then_some(())
    });
    let written = writer.stop();
    assert!(written.error.is_none(), "{:?}", written.error);
    sandbox.wait_healthy(Duration::from_secs(60));
    written.verify(primary.nbd_address(), &volume);
    sandbox.stop();
    drop(std::fs::remove_dir_all(&dir));
}

#[test]
fn attaching_through_another_node_takes_the_volume_over() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let dir = fresh("take-over");
    let mut sandbox = Sandbox::start(&dir, &["--size", "64MiB"]);
    let (primary, standby) = sandbox.pair();
    let volume = sandbox.volume();
    let first = Writer::start(primary.nbd_address(), &volume, 0, 1024);
    wait_for("writes of the first", Duration::from_secs(30), || {
        (first.count() > 200).then_some(())
    });
    let second = Writer::start(standby.nbd_address(), &volume, 1024, 1024);
    wait_for(
        "the first to be disconnected",
        Duration::from_secs(30),
        || first.has_ended().then_some(()),
    );
    wait_for("writes of the second", Duration::from_secs(30), || {
        (second.count() > 200).then_some(())
    });
    let (first, second) = (first.stop(), second.stop());
    assert!(first.error.is_some());
    assert!(second.error.is_none(), "{:?}", second.error);
    first.verify(standby.nbd_address(), &volume);
    second.verify(standby.nbd_address(), &volume);
    sandbox.stop();
    drop(std::fs::remove_dir_all(&dir));
}

#[test]
fn a_client_of_the_witness_outlives_the_primary() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let dir = fresh("through-witness");
    let mut sandbox = Sandbox::start(&dir, &["--size", "64MiB"]);
    let (primary, standby) = sandbox.pair();
    let (volume, witness) = (sandbox.volume(), sandbox.witness().nbd_address());
    let mut client = Client::connect(witness, &volume).expect("connect");
    client.write(48 << 20, &[7; 8192]).expect("write");
    let mut data = [0; 8192];
    client.read(48 << 20, &mut data).expect("read");
    assert_eq!(data, [7; 8192]);
    drop(client);

    let writer = Writer::start(witness, &volume, 0, 4096);
    wait_for("writes", Duration::from_secs(30), || {
        (writer.count() > 1000).then_some(())
    });
    signal(&primary, Signal::KILL);
    let killed = boot_nanos();
    wait_for("the standby to be primary", Duration::from_secs(30), || {
        (sandbox.primary()? == standby.name).then_some(())
    });
    let then = writer.count();
    wait_for("writes to go on", Duration::from_secs(30), || {
        (writer.count() > then + 1000).then_some(())
    });
    let written = writer.stop();
    assert!(written.error.is_none(), "{:?}", written.error);
    let after = written.times.iter().filter(|write| write.sent > killed);
    assert!(after.count() >= 1000);
    // Read from the new primary, and from the one that was killed once it has caught up.
    written.verify(witness, &volume);
    written.verify(standby.nbd_address(), &volume);
    sandbox.wait_healthy(Duration::from_secs(60));
    sandbox.make_primary(&primary.name, Duration::from_secs(60));
    written.verify(witness, &volume);
    let mut client = Client::connect(witness, &volume).expect("connect");
    client.read(48 << 20, &mut data).expect("read");
    assert_eq!(data, [7; 8192]);
    drop(client);
    sandbox.stop();
    drop(std::fs::remove_dir_all(&dir));
}

#[test]
fn a_second_start_finds_the_old_data() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let dir = fresh("second-start");
    let mut sandbox = Sandbox::start(&dir, &["--size", "64MiB"]);
    let (primary, _) = sandbox.pair();
    let volume = sandbox.volume();
    let writer = Writer::start(primary.nbd_address(), &volume, 0, 1024);
    wait_for("writes", Duration::from_secs(30), || {
        (writer.count() > 500).then_some(())
    });
    let written = writer.stop();
    sandbox.stop();
    let mut sandbox = Sandbox::start(&dir, &[]);
    let (primary, standby) = sandbox.pair();
    written.verify(primary.nbd_address(), &volume);
    written.verify(standby.nbd_address(), &volume);
    sandbox.stop();
    drop(std::fs::remove_dir_all(&dir));
}
