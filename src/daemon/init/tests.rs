use super::*;

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
    let temp = tempfile::tempdir().unwrap();
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
    let temp = tempfile::tempdir().unwrap();
    let config = configuration(temp.path());
    std::fs::create_dir(&config.node.dir).unwrap();
    std::fs::write(config.log(), "x").unwrap();
    let error = quietly(&config).unwrap_err();
    assert!(error.contains("cluster-log is there already"), "{error}");
    assert!(error.contains("steadfast node run"), "{error}");
    assert!(!temp.path().join("data.store").exists());
}
