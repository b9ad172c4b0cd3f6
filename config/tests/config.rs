//! The shipped example is right, a written file reads back, and each mistake is named with its
//! line and what would be right.

use std::path::Path;
use std::time::Duration;

use steadfast_config::{Config, EXAMPLE, Profile, Role};

const FILE: &str = "/etc/steadfast/n1.toml";

fn parse(text: &str) -> Result<Config, String> {
    Config::parse(Path::new(FILE), text).map_err(|error| error.to_string())
}

/// The example with one piece of text replaced.
fn with(from: &str, to: &str) -> String {
    assert!(EXAMPLE.contains(from), "{from}");
    EXAMPLE.replacen(from, to, 1)
}

/// Line in which `text` first stands.
fn line(text: &str, part: &str) -> usize {
    let at = text.find(part).expect("the part is in the text");
    1 + text[..at].matches('\n').count()
}

/// Refused with exactly one problem: at the line of `at`, with all of `words`.
#[track_caller]
fn refused(text: &str, at: &str, words: &[&str]) {
    let error = parse(text).expect_err("must be refused");
    assert_eq!(error.lines().count(), 1, "one problem: {error}");
    let place = format!("{FILE}:{}: ", line(text, at));
    assert!(error.starts_with(&place), "not at {place}: {error}");
    for word in words {
        assert!(error.contains(word), "no \"{word}\" in: {error}");
    }
}

#[test]
fn the_example_is_right() {
    let config = parse(EXAMPLE).unwrap();
    assert_eq!(config.nodes.len(), 3);
    assert_eq!(config.me().name, "n1");
    assert_eq!(config.nodes[2].role, Role::Witness);
    assert_eq!(config.nodes[1].ports.nbd, 10809);
    assert_eq!(config.cluster.profile, Profile::Lan);
    assert_eq!(config.cluster.interval, Duration::from_millis(100));
    assert_eq!(config.lease(), Duration::from_millis(240));
    assert_eq!(config.volumes[0].size, 8 << 30);
    assert_eq!(config.volumes[0].store(1).unwrap().node, 1);
    assert!(config.volumes[0].store(2).is_none());
    assert_eq!(config.my_stores().count(), 1);
    assert_eq!(config.api(), Path::new("/var/lib/steadfast/api.sock"));
    assert_eq!(config.cluster.key.0[31], 0x1f);
}

#[test]
fn a_written_file_reads_back() {
    let mut config = parse(EXAMPLE).unwrap();
    config.cluster.interval = Duration::from_millis(70);
    config.cluster.missed = 5;
    config.nodes[2].voter = false;
    config.nodes[1].ports.data = 9;
    config.volumes[0].shared = true;
    config.node.dir = "/tmp/with \"quotes\" and \\".into();
    assert_eq!(parse(&config.to_toml()).unwrap(), config);
}

#[test]
fn the_key_is_not_shown() {
    let shown = format!("{:?}", parse(EXAMPLE).unwrap());
    assert!(shown.contains("Key(..)"));
    assert!(!shown.contains("000102"));
}

#[test]
fn relative_paths_begin_at_the_file() {
    let text = with("\"/var/lib/steadfast\"", "\"./state\"");
    assert_eq!(
        parse(&text).unwrap().node.dir,
        Path::new("/etc/steadfast/state")
    );
}

#[test]
fn a_key_file_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("n1.toml");
    let key = "key = \"000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\"";
    std::fs::write(&file, with(key, "key_file = \"key\"")).unwrap();
    let error = Config::load(&file).unwrap_err().to_string();
    assert!(error.contains("cannot be read"), "{error}");
    std::fs::write(dir.path().join("key"), format!("{}\n", "ab".repeat(32))).unwrap();
    assert_eq!(Config::load(&file).unwrap().cluster.key.0, [0xab; 32]);
}

#[test]
fn a_missing_file_is_named() {
    let error = Config::load(Path::new("/no/such/file.toml")).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("/no/such/file.toml: cannot be read")
    );
}

#[test]
fn what_is_no_configuration_at_all() {
    let temp = tempfile::tempdir().unwrap();
    let path = |name: &str| temp.path().join(name).to_str().unwrap().to_owned();
    let [pipe, socket, long] = ["pipe", "socket", "long"].map(path);
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    assert!(made.unwrap().success());
    let _socket = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    std::fs::write(&long, "#\u{e9}".repeat(1 << 20)).unwrap();
    for (file, words) in [
        (pipe.as_str(), "it is a named pipe, not a regular file"),
        (&socket, "it is a socket, not a regular file"),
        ("/dev/zero", "it is a device, not a regular file"),
        ("/proc/self/exe", "it is not text: byte"),
        (&long, "more than 1048576 bytes"),
    ] {
        let error = Config::load(Path::new(file)).unwrap_err().to_string();
        let begins = format!("{file}: cannot be read: ");
        assert!(
            error.starts_with(&begins) && error.contains(words),
            "{error}"
        );
        assert!(
            error.ends_with("name a configuration file, such as `steadfast config example` shows")
        );
    }
    let error = Config::load(Path::new("/")).unwrap_err().to_string();
    assert!(error.contains("directory"), "{error}");
    assert!(error.ends_with("that this user may read"), "{error}");
}

#[test]
fn syntax() {
    refused(
        &with("[node]", "[node"),
        "[node",
        &["steadfast config example"],
    );
}

#[test]
fn unknown_keys() {
    for (section, key) in [
        ("[cluster]", "colour"),
        ("[node]", "address"),
        ("[[nodes]]", "adress"),
        ("[[volumes]]", "sizes"),
        ("[[volumes.stores]]", "device"),
    ] {
        let text = with(section, &format!("{section}\n{key} = \"x\""));
        refused(&text, &format!("{key} = \"x\""), &["unknown field", key]);
    }
    let text = format!("{EXAMPLE}\n[fencing]\n");
    refused(&text, "[fencing]", &["unknown field `fencing`", "expected"]);
}

#[test]
fn missing_and_mistyped_values() {
    let text = with("size = \"8GiB\"\n", "");
    refused(&text, "[[volumes]]", &["missing field `size`"]);
    refused(
        &with("size = \"8GiB\"", "size = 8"),
        "size = 8",
        &["invalid type", "string"],
    );
}

#[test]
fn wrong_units() {
    for (size, words) in [
        ("8GB", ["unknown unit \"GB\"", "8GiB"]),
        ("8", ["no unit", "8GiB"]),
        ("big", ["number", "8GiB"]),
        ("0B", ["out of range", "4KiB"]),
        ("17TiB", ["out of range", "16TiB"]),
        ("5B", ["multiple of 4096", "use \"4KiB\" or more"]),
        ("5000B", ["multiple of 4096", "\"4KiB\" or \"8KiB\""]),
    ] {
        let text = with("\"8GiB\"", &format!("\"{size}\""));
        refused(&text, "size =", &words);
    }
    for (interval, words) in [
        ("50", ["no unit", "10ms"]),
        ("50msec", ["unknown unit", "10ms"]),
        ("9ms", ["out of range", "10ms to 1s"]),
        ("2s", ["out of range", "10ms to 1s"]),
    ] {
        let text = with(
            "[cluster]",
            &format!("[cluster]\ninterval = \"{interval}\""),
        );
        refused(&text, "interval = \"", &words);
    }
    let text = with("[cluster]", "[cluster]\nmissed = 1");
    refused(&text, "missed = 1", &["2 to 20"]);
}

#[test]
fn cluster_values() {
    refused(
        &with("profile = \"lan\"", "profile = \"quick\""),
        "profile = \"quick\"",
        &["unknown timing profile \"quick\"", "fast"],
    );
    refused(
        &with("4b2f0a4e-5f0d-4a53-9c3e-0c8f6f0f2a11", "4b2f"),
        "id = \"4b2f\"",
        &["not a cluster id", "UUID"],
    );
    refused(
        &with(
            "4b2f0a4e-5f0d-4a53-9c3e-0c8f6f0f2a11",
            "00000000-0000-0000-0000-000000000000",
        ),
        "id = \"0000",
        &["not a cluster id"],
    );
    refused(
        &with("name = \"example\"", "name = \"my cluster\""),
        "name = \"my",
        &["not a cluster name", "letters"],
    );
}

#[test]
fn keys() {
    refused(
        &with("key = \"0001", "key = \"01"),
        "key = \"01",
        &["62 digits", "64 hex"],
    );
    refused(
        &with("key = \"0001", "key = \"zz01"),
        "key = \"zz",
        &["not hexadecimal"],
    );
    refused(
        &with("key = \"0001", "key = \"+001"),
        "key = \"+0",
        &["not hexadecimal"],
    );
    let key = "key = \"000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\"\n";
    refused(&with(key, ""), "[cluster]", &["has no key", "key_file"]);
    let both = with(key, &format!("{key}key_file = \"k\"\n"));
    refused(&both, "key_file = \"k\"", &["both key and key_file"]);
}

#[test]
fn two_nodes_on_one_address() {
    let text = with("192.0.2.2", "192.0.2.1");
    let error = parse(&text).unwrap_err();
    let first = line(&text, "address = ");
    assert!(error.contains("address 192.0.2.1 is already"), "{error}");
    assert!(error.contains(&format!("line {first}")), "{error}");
    assert!(error.contains("an address of its own"), "{error}");
}

#[test]
fn addresses() {
    for (address, what) in [
        ("n1.example", "not an IP address"),
        ("192.0.2.1:80", "not an IP address"),
        ("0.0.0.0", "every address"),
        ("224.0.0.1", "multicast"),
        ("255.255.255.255", "broadcast"),
    ] {
        let text = with("192.0.2.1", address);
        refused(&text, "address = ", &[what, "192.0.2.1"]);
    }
}

#[test]
fn names_are_unique() {
    let text = with("name = \"n2\"", "name = \"n1\"");
    assert!(
        parse(&text)
            .unwrap_err()
            .contains("node \"n1\" is already in line")
    );
    let text = with("name = \"n2\"", "name = \"N1\"");
    assert!(
        parse(&text)
            .unwrap_err()
            .contains("node \"N1\" is already in line")
    );
    let volumes = &EXAMPLE[EXAMPLE.find("[[volumes]]").unwrap()..];
    let text = format!("{EXAMPLE}\n{}", volumes.replace("-partlabel", "-label"));
    let error = parse(&text).unwrap_err();
    assert!(error.contains("volume \"data\" is already"), "{error}");
    assert!(
        error.contains("id \"0a9c6c0e-3f0e-4c2b-8f43-3d2f3f1f7a01\" is already"),
        "{error}"
    );
}

#[test]
fn ports() {
    for (port, what) in [
        ("0", "not a port"),
        ("65536", "not a port"),
        ("-1", "not a port"),
    ] {
        let text = with("data = 7410", &format!("data = {port}"));
        refused(&text, "ports =", &[what, "1 to 65535"]);
    }
    let text = with("data = 7410", "data = 10809");
    refused(&text, "ports =", &["nbd and data are both port 10809"]);
}

#[test]
fn this_node_must_be_listed() {
    let text = with("[node]\n", "[node]\n# \n");
    let text = text.replacen("name = \"n1\"", "name = \"n9\"", 1);
    refused(
        &text,
        "name = \"n9\"",
        &["not among the nodes", "n1, n2, w1"],
    );
}

#[test]
fn roles_and_votes() {
    refused(
        &with("role = \"witness\"", "role = \"arbiter\""),
        "role = \"arbiter\"",
        &["unknown role", "storage"],
    );
    let text = EXAMPLE.replace("role = ", "voter = false\nrole = ");
    assert!(parse(&text).unwrap_err().contains("no node votes"));
    let mut text = EXAMPLE.to_owned();
    for n in 4..=8 {
        text += &format!(
            "\n[[nodes]]\nname = \"n{n}\"\naddress = \"192.0.2.{n}\"\nrole = \"storage\"\n"
        );
    }
    let error = parse(&text).unwrap_err();
    assert!(error.contains("more than 7 nodes vote"), "{error}");
    assert!(error.contains("voter = false"), "{error}");
}

#[test]
fn no_nodes() {
    let text = &EXAMPLE[..EXAMPLE.find("[[nodes]]").unwrap()];
    assert!(
        parse(text)
            .unwrap_err()
            .contains("0 nodes are listed; list 1 to 128")
    );
}

#[test]
fn long_directories() {
    let text = with("/var/lib/steadfast", &format!("/{}", "d".repeat(120)));
    refused(&text, "dir = ", &["too long", "at most 107"]);
    refused(
        &with("/var/lib/steadfast", ""),
        "dir = \"\"",
        &["dir is empty"],
    );
}

#[test]
fn stores() {
    refused(
        &with("node = \"n2\"", "node = \"n7\""),
        "node = \"n7\"",
        &["no node", "n1, n2, w1"],
    );
    refused(
        &with("node = \"n2\"", "node = \"w1\""),
        "node = \"w1\"",
        &["witness"],
    );
    let twice = with("node = \"n2\"", "node = \"n1\"");
    let error = parse(&twice).unwrap_err();
    assert!(error.contains("store on node \"n1\" is already"), "{error}");
    assert!(error.contains("is already the store of line"), "{error}");
    let first = "d1a0c0f2-6a51-4b6e-9c6f-52d5d2e1f001";
    let error = parse(&with("d1a0c0f2-6a51-4b6e-9c6f-52d5d2e1f002", first)).unwrap_err();
    assert!(
        error.contains(&format!("id \"{first}\" is already in line")),
        "{error}"
    );
}

#[test]
fn a_volume_needs_a_store() {
    let text = &EXAMPLE[..EXAMPLE.find("[[volumes.stores]]").unwrap()];
    refused(text, "[[volumes]]", &["volume \"data\" has 0 stores"]);
}

#[test]
fn every_problem_is_told_in_the_order_of_lines() {
    let text = with("profile = \"lan\"", "profile = \"x\"");
    let text = text.replace("8GiB", "8GB").replace("192.0.2.3", "::");
    let error = parse(&text).unwrap_err();
    let lines: Vec<_> = error.lines().collect();
    assert_eq!(lines.len(), 3, "{error}");
    assert!(lines[0].contains("profile") && lines[1].contains("::") && lines[2].contains("8GB"));
}
