//! A real file system image is copied into the volume through the standby's gateway while things
//! die. The copy ends without an error, and both replicas hold exactly the image.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cluster_tests::cut::Cut;
use cluster_tests::image::{Image, image, scratch};
use cluster_tests::latency::boot_nanos;
use cluster_tests::sandbox::{Node, Sandbox, signal};
use cluster_tests::{events, replicas, tool, wait_for};
use rustix::process::Signal;

/// One sandbox at a time: each is three daemons on a small machine.
static ALONE: Mutex<()> = Mutex::new(());

struct Scene {
    sandbox: Sandbox,
    image: &'static Image,
    primary: Node,
    standby: Node,
    began: u64,
    _alone: MutexGuard<'static, ()>,
}

impl Scene {
    fn new(name: &str, more: &[&str]) -> Self {
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let image = image();
        let dir = scratch().join(name);
        drop(std::fs::remove_dir_all(&dir));
        let size = format!("{}MiB", image.size >> 20);
        let mut args = vec!["--size", &size];
        args.extend_from_slice(more);
        let began = boot_nanos();
        let sandbox = Sandbox::start(&dir, &args);
        let (primary, standby) = sandbox.pair();
        Self {
            sandbox,
            image,
            primary,
            standby,
            began,
            _alone: alone,
        }
    }

    /// Starts the copy through `node` at a pace that leaves time for a fault.
    fn copy_through(&self, node: &Node) -> Copying {
        let log = scratch().join("convert.log");
        let child = Command::new("qemu-img")
            .args([
                "convert", "-n", "-f", "raw", "-O", "raw", "-t", "none", "-W", "-r", "200M",
            ])
            .arg(&self.image.path)
            .arg(&node.nbd)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(&log).expect("log"))
            .spawn()
            .expect("qemu-img");
        Copying { child, log }
    }

    /// Stops everything and looks at both replicas.
    fn end(mut self) {
        self.sandbox.wait_healthy(Duration::from_secs(180));
        let uri = self.sandbox.node(&self.standby.name).nbd;
        let path = self.image.path.to_str().expect("path");
        tool::run(
            "qemu-img",
            &["compare", "-f", "raw", "-F", "raw", path, &uri],
        );
        self.sandbox.stop();
        let stores = replicas::of(&self.sandbox);
        assert_eq!(stores.len(), 2);
        replicas::assert_is(&stores[0], &self.image.path, self.image.size);
        replicas::assert_equal(&stores, self.image.size);
        for replica in &stores {
            replicas::assert_clean(replica);
        }
        drop(std::fs::remove_dir_all(&self.sandbox.dir));
    }

    /// The resyncs that happened copied what differed, not everything.
    fn assert_partial_resync(&self) {
        let resyncs: Vec<_> = events::since(&self.sandbox, self.began)
            .into_iter()
            .filter(|event| event.kind == "resync-began")
            .collect();
        assert!(
            !resyncs.is_empty(),
            "the node that was away came back without a resync"
        );
        for resync in resyncs {
            assert_eq!(resync.fields["full"], false, "{}", resync.text);
            let blocks = resync.fields["blocks"].as_u64().expect("blocks");
            assert!(blocks < self.image.size / 4096, "{}", resync.text);
        }
    }
}

struct Copying {
    child: Child,
    log: PathBuf,
}

impl Copying {
    fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("wait").is_none()
    }

    /// Waits until it is well under way.
    fn midway(&mut self) {
        std::thread::sleep(Duration::from_millis(1500));
        assert!(self.is_running(), "the copy was over before the fault");
    }

    fn assert_ends_well(mut self) {
        let status = wait_for("the copy to end", Duration::from_secs(240), || {
            self.child.try_wait().expect("wait")
        });
        let said = std::fs::read_to_string(&self.log).unwrap_or_default();
        assert!(status.success(), "{status}: {said}");
    }
}

#[test]
fn primary_killed() {
    let scene = Scene::new("primary-killed", &[]);
    let mut copy = scene.copy_through(&scene.standby);
    copy.midway();
    signal(&scene.primary, Signal::KILL);
    copy.assert_ends_well();
    scene.sandbox.wait_healthy(Duration::from_secs(180));
    assert_ne!(
        scene.sandbox.node(&scene.primary.name).pid,
        scene.primary.pid,
        "never restarted"
    );
    scene.assert_partial_resync();
    scene.end();
}

#[test]
fn primary_stopped_for_five_seconds() {
    let scene = Scene::new("primary-stopped", &[]);
    let mut copy = scene.copy_through(&scene.standby);
    copy.midway();
    signal(&scene.primary, Signal::STOP);
    std::thread::sleep(Duration::from_secs(5));
    signal(&scene.primary, Signal::CONT);
    copy.assert_ends_well();
    scene.sandbox.wait_healthy(Duration::from_secs(180));
    assert_eq!(
        scene.sandbox.node(&scene.primary.name).pid,
        scene.primary.pid,
        "was restarted"
    );
    scene.assert_partial_resync();
    scene.end();
}

#[test]
fn witness_killed_then_primary() {
    let scene = Scene::new("witness-killed", &[]);
    let mut copy = scene.copy_through(&scene.standby);
    copy.midway();
    signal(&scene.sandbox.witness(), Signal::KILL);
    signal(&scene.primary, Signal::KILL);
    copy.assert_ends_well();
    scene.end();
}

#[test]
fn link_between_storage_nodes_cut_for_ten_seconds() {
    let scene = Scene::new("link-cut", &[]);
    let mut copy = scene.copy_through(&scene.standby);
    copy.midway();
    let cut = Cut::between(&scene.primary.address, &scene.standby.address);
    std::thread::sleep(Duration::from_secs(10));
    assert!(copy.is_running(), "the client of the standby did not wait");
    drop(cut);
    copy.assert_ends_well();
    scene.end();
}

#[test]
fn primary_killed_while_it_is_the_only_one_in_sync() {
    let scene = Scene::new("only-in-sync", &[]);
    let mut copy = scene.copy_through(&scene.primary);
    copy.midway();
    // A standby that is cut off falls behind; its copy cannot serve when the primary dies.
    let cut = Cut::between(&scene.primary.address, &scene.standby.address);
    wait_for(
        "the standby to fall behind",
        Duration::from_secs(30),
        || {
            events::of(&scene.primary)
                .iter()
                .any(|event| event.kind == "shrunk")
                .then_some(())
        },
    );
    copy.child.kill().expect("kill");
    copy.child.wait().expect("wait");
    let mut copy = scene.copy_through(&scene.standby);
    signal(&scene.primary, Signal::KILL);
    drop(cut);
    wait_for("the primary to come back", Duration::from_secs(60), || {
        (scene.sandbox.node(&scene.primary.name).pid != scene.primary.pid).then_some(())
    });
    assert!(
        copy.is_running(),
        "the client did not wait for the only copy"
    );
    let primary = wait_for("a primary", Duration::from_secs(60), || {
        scene.sandbox.primary()
    });
    assert_eq!(
        primary, scene.primary.name,
        "a replica that was behind was promoted"
    );
    copy.assert_ends_well();
    scene.end();
}
