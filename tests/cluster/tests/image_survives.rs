//! A real file system image is copied into the volume through the standby's gateway while things
//! die. The copy ends without an error, and both replicas hold exactly the image.

use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cluster_tests::cut::Cut;
use cluster_tests::events::{self, Event};
use cluster_tests::image::{Image, image, scratch};
use cluster_tests::latency::boot_nanos;
use cluster_tests::sandbox::{Node, Sandbox, signal};
use cluster_tests::{replicas, tool, wait_for};
use rustix::process::Signal;

/// One sandbox at a time: each is three daemons on a small machine.
static ALONE: Mutex<()> = Mutex::new(());
/// So many MiB a second are copied: slow enough for a fault in the middle, and for a node to be
/// back long before the end.
const PACE: u64 = 100;
/// MiB that may differ beyond what the pace tells: a tenth of a second's worth may come at once
/// (QEMU's throttle), 8 requests of 2 MiB are on their way, and a daemon that was killed answers for
/// whole regions of 1 MiB.
const SLACK: u64 = 64;
/// Per cent of the copy that are done when something happens to it.
const MIDWAY: f64 = 10.0;
const PATIENCE: Duration = Duration::from_secs(60);

struct Scene {
    sandbox: Sandbox,
    image: &'static Image,
    primary: Node,
    standby: Node,
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
        let sandbox = Sandbox::start(&dir, &args);
        let (primary, standby) = sandbox.pair();
        Self {
            sandbox,
            image,
            primary,
            standby,
            _alone: alone,
        }
    }

    /// Starts the copy through `node` at a pace that leaves time for a fault.
    fn copy_through(&self, node: &Node) -> Copying {
        let log = scratch().join("convert.log");
        let progress = scratch().join("convert.progress");
        let began = boot_nanos();
        let child = Command::new("qemu-img")
            .args([
                "convert", "-p", "-n", "-f", "raw", "-O", "raw", "-t", "none", "-W",
            ])
            .args(["-r", &format!("{PACE}M")])
            .arg(&self.image.path)
            .arg(&node.nbd)
            .stdin(Stdio::null())
            .stdout(File::create(&progress).expect("progress"))
            .stderr(File::create(&log).expect("log"))
            .spawn()
            .expect("qemu-img");
        Copying {
            child,
            log,
            progress,
            began,
        }
    }

    /// Waits until the copy is well under way. On a slow machine the roles may have changed since
    /// they were given out.
    fn midway(&self, copy: &mut Copying) {
        copy.reach(MIDWAY);
        self.sandbox.make_primary(&self.primary.name, PATIENCE);
        assert!(copy.is_running(), "the copy was over before the fault");
    }

    /// When `node` was taken out of the in-sync set after `from`, if it was: as `teller` says, which
    /// was not restarted since. Who was tells again what is in its log.
    fn left(teller: &Node, node: &Node, from: u64) -> Option<u64> {
        let named = |event: &Event| {
            let replicas = event.fields.get("replicas").and_then(|all| all.as_array());
            replicas.is_some_and(|all| all.iter().any(|name| *name == node.name))
        };
        let mut events = events::of(teller).into_iter();
        events
            .find(|event| event.kind == "shrunk" && event.boottime_ns >= from && named(event))
            .map(|event| event.boottime_ns)
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

    /// `node` came back with a resync of what differed: no more than what was written since `from`,
    /// at the pace of the copy, which is less than what the image has.
    fn assert_resynced(&self, node: &Node, from: u64) {
        let blocks = self.resynced(node, from, |until| PACE * (until - from) / 1_000_000_000);
        assert!(blocks > 0, "{} missed nothing", node.name);
    }

    /// `node` came back with a resync although nothing could be written after `from`.
    fn assert_hardly_resynced(&self, node: &Node, from: u64) {
        self.resynced(node, from, |_| 0);
    }

    /// Blocks of the resyncs of `node` after `from`, each of no more MiB than `limit` says for its
    /// time, until the node has caught up: a slow machine may lose it again, for some other time.
    fn resynced(&self, node: &Node, from: u64, limit: impl Fn(u64) -> u64) -> u64 {
        let mut events = events::since(&self.sandbox, from);
        events.retain(|event| {
            let replica = event.fields.get("replica");
            replica.is_some_and(|replica| *replica == node.name)
        });
        let (mut sum, mut count, mut caught_up) = (0, 0, false);
        for event in events {
            caught_up |= event.kind == "resync-done";
            if event.kind != "resync-began" {
                continue;
            }
            assert_eq!(event.fields["full"], false, "{}", event.text);
            let blocks = event.fields["blocks"].as_u64().expect("blocks");
            let limit = (limit(event.boottime_ns) + SLACK) << 20;
            assert!(
                caught_up || blocks * 4096 <= limit,
                "{}, and {} could differ",
                event.text,
                limit / 4096
            );
            sum += blocks;
            count += 1;
        }
        assert!(count > 0, "{} came back without a resync", node.name);
        sum
    }

    /// Waits until all is well, with another daemon on this node.
    fn assert_restarted(&self, node: &Node) {
        self.sandbox.wait_healthy(Duration::from_secs(180));
        // The daemon may be ready before `sandbox.json` says so.
        wait_for("another daemon", PATIENCE, || {
            (self.sandbox.node(&node.name).pid != node.pid).then_some(())
        });
    }
}

struct Copying {
    child: Child,
    log: PathBuf,
    progress: PathBuf,
    /// `CLOCK_BOOTTIME` nanoseconds.
    began: u64,
}

impl Copying {
    fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("wait").is_none()
    }

    /// How much of it is done, in per cent: what `qemu-img` said last.
    fn percent(&self) -> f64 {
        let said = std::fs::read_to_string(&self.progress).unwrap_or_default();
        let last = said
            .rsplit_once("/100%)")
            .and_then(|(before, _)| before.rsplit_once('('));
        last.and_then(|(_, percent)| percent.parse().ok())
            .unwrap_or(0.0)
    }

    /// Waits until so much is done.
    fn reach(&mut self, percent: f64) {
        wait_for("the copy to go on", Duration::from_secs(120), || {
            assert!(self.is_running(), "the copy was over at {percent} %");
            (self.percent() >= percent).then_some(())
        });
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
    let began = copy.began;
    scene.midway(&mut copy);
    let killed = boot_nanos();
    signal(&scene.primary, Signal::KILL);
    copy.assert_ends_well();
    scene.assert_restarted(&scene.primary);
    if Scene::left(&scene.standby, &scene.primary, killed).is_some() {
        // What it was writing when it died is not known, so the regions that were active count too:
        // all since the beginning.
        scene.assert_resynced(&scene.primary, began);
    } else {
        // The standby was so slow that the other was back before it served: nothing was missed.
        let back = events::of(&scene.primary)[0].boottime_ns;
        let served = events::since(&scene.sandbox, killed)
            .into_iter()
            .find(|event| event.kind == "serving" && event.node == scene.standby.name);
        let alone = served.is_some_and(|event| event.boottime_ns < back);
        assert!(!alone, "it was served without a copy that never left");
    }
    scene.end();
}

#[test]
fn primary_stopped_for_five_seconds() {
    let scene = Scene::new("primary-stopped", &[]);
    let mut copy = scene.copy_through(&scene.standby);
    scene.midway(&mut copy);
    let stopped = boot_nanos();
    signal(&scene.primary, Signal::STOP);
    std::thread::sleep(Duration::from_secs(5));
    wait_for("the primary to be left behind", PATIENCE, || {
        Scene::left(&scene.standby, &scene.primary, stopped)
    });
    copy.reach(copy.percent() + 2.0);
    signal(&scene.primary, Signal::CONT);
    copy.assert_ends_well();
    scene.sandbox.wait_healthy(Duration::from_secs(180));
    assert_eq!(
        scene.sandbox.node(&scene.primary.name).pid,
        scene.primary.pid,
        "was restarted"
    );
    // It still knows what it was writing.
    scene.assert_resynced(&scene.primary, stopped);
    scene.end();
}

#[test]
fn witness_killed_then_primary() {
    let scene = Scene::new("witness-killed", &[]);
    let mut copy = scene.copy_through(&scene.standby);
    let began = copy.began;
    scene.midway(&mut copy);
    let witness = scene.sandbox.witness();
    let killed = boot_nanos();
    signal(&witness, Signal::KILL);
    signal(&scene.primary, Signal::KILL);
    copy.assert_ends_well();
    scene.assert_restarted(&scene.primary);
    scene.assert_restarted(&witness);
    // Without a vote more than its own the standby waits for one of the two. If that is the primary,
    // then either takes over, and the other leaves unless it is heard in time.
    for node in [&scene.primary, &scene.standby] {
        if Scene::left(&scene.standby, node, killed).is_some() {
            scene.assert_resynced(node, began);
        }
    }
    scene.end();
}

#[test]
fn link_between_storage_nodes_cut_for_ten_seconds() {
    let scene = Scene::new("link-cut", &[]);
    let mut copy = scene.copy_through(&scene.standby);
    scene.midway(&mut copy);
    let from = boot_nanos();
    let cut = Cut::between(&scene.primary.address, &scene.standby.address);
    std::thread::sleep(Duration::from_secs(10));
    assert!(copy.is_running(), "the client of the standby did not wait");
    drop(cut);
    copy.assert_ends_well();
    scene.sandbox.wait_healthy(Duration::from_secs(180));
    let witness = scene.sandbox.witness();
    let [primary, standby] =
        [&scene.primary, &scene.standby].map(|node| Scene::left(&witness, node, from));
    match (primary, standby) {
        // The witness was slow as well, and took the primary for dead: the standby went on.
        (Some(at), standby) if standby.is_none_or(|other| at < other) => {
            scene.assert_resynced(&scene.primary, from);
        }
        _ => scene.assert_hardly_resynced(&scene.standby, from),
    }
    scene.end();
}

#[test]
fn primary_killed_while_it_is_the_only_one_in_sync() {
    let scene = Scene::new("only-in-sync", &[]);
    let mut copy = scene.copy_through(&scene.primary);
    let began = copy.began;
    scene.midway(&mut copy);
    // A standby that is cut off falls behind; its copy cannot serve when the primary dies.
    // One that started late may have been behind before.
    let from = boot_nanos();
    let cut = Cut::between(&scene.primary.address, &scene.standby.address);
    wait_for("the standby to fall behind", PATIENCE, || {
        Scene::left(&scene.primary, &scene.standby, from)
    });
    copy.child.kill().expect("kill");
    copy.child.wait().expect("wait");
    let mut copy = scene.copy_through(&scene.standby);
    signal(&scene.primary, Signal::KILL);
    drop(cut);
    wait_for("the primary to come back", PATIENCE, || {
        (scene.sandbox.node(&scene.primary.name).pid != scene.primary.pid).then_some(())
    });
    assert!(
        copy.is_running(),
        "the client did not wait for the only copy"
    );
    let primary = wait_for("a primary", PATIENCE, || scene.sandbox.primary());
    assert_eq!(
        primary, scene.primary.name,
        "a replica that was behind was promoted"
    );
    copy.assert_ends_well();
    scene.assert_restarted(&scene.primary);
    scene.assert_resynced(&scene.standby, began);
    scene.end();
}
