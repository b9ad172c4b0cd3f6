use super::*;
use crate::forks::allowed;
use crate::member::io::PulseDatagram;
use crate::wire::pulse;

const MINUTE: Duration = Duration::from_secs(60);

/// n1 of the example, on loopback addresses; `w1` is told by the socket that is returned.
fn configuration() -> (Config, UdpSocket) {
    let mut config = Config::parse(Path::new("/e.toml"), config::EXAMPLE).unwrap();
    let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
    peer.set_read_timeout(Some(MINUTE / 2)).unwrap();
    for node in &mut config.nodes {
        node.address = [127, 0, 0, 1].into();
        node.ports.pulse = 9;
    }
    config.nodes[2].ports.pulse = peer.local_addr().unwrap().port();
    (config, peer)
}

/// Runs this shell script as the daemon until the parent gives up; none if it does not. It is
/// started again after a moment: most tests need no more.
fn supervise(config: &Config, script: &str) -> Option<u8> {
    supervise_after(Duration::from_millis(1), config, script)
}

/// The same with this pause before the script is started again.
fn supervise_after(restart_delay: Duration, config: &Config, script: &str) -> Option<u8> {
    let _alone = allowed();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let daemon = Daemon {
            program: "/bin/sh".into(),
            arguments: vec!["-c".into(), script.into()],
            restart_delay,
        };
        let mut supervisor = Supervisor::new(config, daemon, Options::default()).unwrap();
        let ended = timeout(MINUTE, supervisor.run()).await;
        ended.ok().map(Result::unwrap)
    })
}

fn next_notice(config: &Config, peer: &UdpSocket) -> DeathNotice {
    let seal = Seal::new(&ClusterKey::new(config.cluster.key.0), config.cluster.id);
    let mut buffer = [0; 2048];
    let len = peer.recv(&mut buffer).unwrap();
    let payload = seal.open(Kind::Pulse, &buffer[..len]).unwrap();
    match pulse::decode(payload) {
        Ok(PulseDatagram::DeathNotice(notice)) => notice,
        other => panic!("{other:?}"),
    }
}

/// Nothing more has come.
fn is_quiet(peer: &UdpSocket) {
    let short = Duration::from_millis(20);
    peer.set_read_timeout(Some(short)).unwrap();
    assert!(peer.recv(&mut [0; 64]).is_err());
}

#[test]
fn wrong_configuration_is_not_tried_again() {
    let temp = tempfile::tempdir().unwrap();
    let runs = temp.path().join("runs");
    let (config, _peer) = configuration();
    let script = format!("echo >>{}; exit 78", runs.display());
    assert_eq!(supervise(&config, &script), Some(exit::CONFIG));
    assert_eq!(std::fs::read(&runs).unwrap().len(), 1);
}

#[test]
fn what_is_in_the_way_is_waited_for_but_not_for_ever() {
    let temp = tempfile::tempdir().unwrap();
    let runs = temp.path().join("runs");
    let (config, _peer) = configuration();
    let script = format!("echo >>{}; exit 75", runs.display());
    assert_eq!(supervise(&config, &script), Some(exit::BUSY));
    assert_eq!(std::fs::read(&runs).unwrap().len(), BUSY_TRIES as usize);
}

#[test]
fn a_crash_is_started_again_and_again() {
    let temp = tempfile::tempdir().unwrap();
    let runs = temp.path().join("runs");
    let (config, _peer) = configuration();
    // The 31st run ends it.
    let script = format!(
        "echo >>{0}; [ $(wc -l <{0}) -gt 30 ] && exit 78; exit 101",
        runs.display()
    );
    assert_eq!(supervise(&config, &script), Some(exit::CONFIG));
    assert_eq!(std::fs::read(&runs).unwrap().len(), 31);
}

#[test]
fn what_is_started_again_waits_for_a_second() {
    let delay = Daemon::of(Path::new("e.toml")).unwrap().restart_delay;
    assert_eq!(delay, Duration::from_secs(1));
    let temp = tempfile::tempdir().unwrap();
    let ran = temp.path().join("ran");
    let (config, _peer) = configuration();
    // The second run ends it: one pause.
    let script = format!("[ -e {0} ] && exit 78; >{0}; kill -9 $$", ran.display());
    let start = std::time::Instant::now();
    assert_eq!(supervise_after(delay, &config, &script), Some(exit::CONFIG));
    assert!(start.elapsed() >= delay, "{:?}", start.elapsed());
}

#[test]
fn the_newest_incarnation_is_told_dead_several_times() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().display();
    let (config, peer) = configuration();
    // The second run says nothing, and lasts until every copy has come.
    let script = format!(
        r"if [ -e {dir}/ran ]; then until [ -e {dir}/told ]; do sleep 0.01; done; exit 78; fi
        >{dir}/ran; printf '\005\0\0\0\0\0\0\0\007\0\0\0\0\0\0\0'; kill -9 $$"
    );
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for _ in NOTICE_COPIES {
                let expected = DeathNotice {
                    node: NodeId(0),
                    incarnation: Incarnation(7),
                };
                assert_eq!(next_notice(&config, &peer), expected);
            }
            std::fs::write(temp.path().join("told"), "").unwrap();
        });
        assert_eq!(supervise(&config, &script), Some(exit::CONFIG));
    });
    is_quiet(&peer);
}

#[test]
fn without_an_incarnation_nothing_is_told() {
    let (config, peer) = configuration();
    let script = r"printf '\005\0\0'; exit 78";
    assert_eq!(supervise(&config, script), Some(exit::CONFIG));
    is_quiet(&peer);
}

#[test]
fn incarnations_may_come_in_pieces() {
    let mut incarnations = Incarnations::new(None);
    let mut bytes = Vec::new();
    for number in [5u64, 9, 7] {
        bytes.extend_from_slice(&number.to_le_bytes());
    }
    incarnations.pending.extend_from_slice(&bytes[..11]);
    incarnations.take();
    assert_eq!(incarnations.newest, Some(Incarnation(5)));
    assert_eq!(incarnations.pending.len(), 3);
    incarnations.pending.extend_from_slice(&bytes[11..]);
    incarnations.take();
    assert_eq!(incarnations.newest, Some(Incarnation(9)));
    assert!(incarnations.pending.is_empty());
}

#[test]
fn every_other_node_is_told() {
    let (config, _peer) = configuration();
    let herald = Herald::new(&config).unwrap();
    assert_eq!(
        herald.peers,
        [config.nodes[1].pulse(), config.nodes[2].pulse()]
    );
}
