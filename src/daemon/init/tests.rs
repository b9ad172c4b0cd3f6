use super::*;
use crate::forks::directory;
use crate::meta::superblock::Superblock;

/// n1 of the example, with its files below `dir`.
fn configuration(dir: &Path) -> Config {
    let mut config = Config::parse(Path::new("/e.toml"), config::EXAMPLE).unwrap();
    config.node.dir = dir.join("state");
    config.volumes[0].size = 4 << 20;
    config.volumes[0].stores[0].path = dir.join("data.store");
    config
}

fn quietly(config: &Config) -> Result<Vec<PathBuf>, String> {
    init(config, &mut |_, _, _| {})
}

#[test]
fn a_foreign_file_in_the_place_of_a_store_is_refused() {
    let temp = directory();
    let config = configuration(temp.path());
    std::fs::write(temp.path().join("data.store"), "my thesis").unwrap();
    let error = quietly(&config).unwrap_err();
    assert!(
        error.contains("data.store") && error.contains("not empty"),
        "{error}"
    );
    assert!(!config.log().exists());
    let kept = std::fs::read(temp.path().join("data.store")).unwrap();
    assert_eq!(kept, b"my thesis");
}

#[test]
fn a_node_that_was_made_is_refused() {
    let temp = directory();
    let config = configuration(temp.path());
    quietly(&config).unwrap();
    let store = temp.path().join("data.store");
    for content in [std::fs::read(&store).unwrap(), b"my thesis".to_vec()] {
        std::fs::write(&store, &content).unwrap();
        let error = quietly(&config).unwrap_err();
        assert!(error.contains("cluster-log is there already"), "{error}");
        assert!(error.contains("steadfast node run"), "{error}");
        assert_eq!(std::fs::read(&store).unwrap(), content);
    }
}

#[test]
fn a_store_that_is_made_anew_is_another_one() {
    let temp = directory();
    let config = configuration(temp.path());
    quietly(&config).unwrap();
    let volume = &config.volumes[0];
    let path = &volume.stores[0].path;
    let named = identity(&config, volume, &volume.stores[0]);
    let id = || {
        let opened = store::open(path, &named, Duration::ZERO).unwrap();
        opened.recovered.store
    };
    let first = id();
    assert_eq!(first.name(), named.store.name());
    std::fs::remove_file(path).unwrap();
    let log = std::fs::read(config.log()).unwrap();
    assert_eq!(quietly(&config).unwrap(), [path.as_path()]);
    assert_eq!(id().name(), first.name());
    assert_ne!(id(), first);
    assert!(std::fs::read(config.log()).unwrap() == log);
}

#[test]
fn everything_is_made_once() {
    let temp = directory();
    let config = configuration(temp.path());
    let made = quietly(&config).unwrap();
    assert_eq!(made, [temp.path().join("data.store"), config.log()]);
    let image = std::fs::read(config.log()).unwrap();
    assert_eq!(image.len(), Geometry::DAEMON.pages() as usize * PAGE);
    assert!(log::recover(&image, config.cluster.id, NodeId(0)).is_ok());
    let volume = &config.volumes[0];
    let identity = identity(&config, volume, &volume.stores[0]);
    drop(store::open(&volume.stores[0].path, &identity, Duration::ZERO).unwrap());

    assert!(quietly(&config).unwrap_err().contains("is there already"));
    assert!(std::fs::read(config.log()).unwrap() == image);
}

#[test]
fn an_attempt_that_was_cut_off_is_repeated() {
    let temp = directory();
    let config = configuration(temp.path());
    quietly(&config).unwrap();
    std::fs::rename(config.log(), config.node.dir.join("cluster-log.unfinished")).unwrap();
    assert_eq!(quietly(&config).unwrap(), [config.log()]);
    assert!(quietly(&config).is_err());
}

#[test]
fn the_store_of_another_volume_is_refused() {
    let temp = directory();
    let mut config = configuration(temp.path());
    quietly(&config).unwrap();
    std::fs::remove_file(config.log()).unwrap();
    config.volumes[0].id += 1;
    let error = quietly(&config).unwrap_err();
    assert!(error.contains("not empty"), "{error}");
    assert!(!config.log().exists());
}

#[test]
fn a_witness_gets_only_a_log() {
    let temp = directory();
    let mut config = configuration(temp.path());
    config.node.index = 2;
    assert_eq!(quietly(&config).unwrap(), [config.log()]);
}

#[test]
fn a_node_that_is_made_later_begins_with_a_later_incarnation() {
    let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    assert_eq!(incarnations_used(at(0)), Incarnation(0));
    assert_eq!(incarnations_used(at(YEAR_2026 + 7)), Incarnation(7));
    assert!(incarnations_used(at(1 << 62)) < INCARNATION_MAX);
    let temp = directory();
    let config = configuration(temp.path());
    let before = incarnations_used(SystemTime::now());
    quietly(&config).unwrap();
    let image = std::fs::read(config.log()).unwrap();
    // In the header, behind everything that does not change.
    let begins = Incarnation(u64::from_le_bytes(image[44..52].try_into().unwrap()));
    assert!(begins >= before && begins < INCARNATION_MAX, "{begins}");
    assert!(log::recover(&image, config.cluster.id, NodeId(0)).is_ok());
}

/// Not even where a first attempt was cut off after it was made.
#[test]
fn a_store_that_has_failed_does_not_count_as_just_made() {
    let temp = directory();
    let config = configuration(temp.path());
    quietly(&config).unwrap();
    let volume = &config.volumes[0];
    let path = &volume.stores[0].path;
    let mut bytes = std::fs::read(path).unwrap();
    let page = bytes[65_536..].first_chunk().unwrap();
    let superblock = Superblock {
        generation: 2,
        failed: Some(5),
        ..Superblock::decode(page).unwrap()
    };
    superblock.encode(bytes.first_chunk_mut().unwrap());
    std::fs::write(path, &bytes).unwrap();
    std::fs::remove_file(config.log()).unwrap();
    let error = quietly(&config).unwrap_err();
    assert!(error.contains("data.store"), "{error}");
    assert!(std::fs::read(path).unwrap() == bytes);
}
