mod device;
mod refused;

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Identity, Problem, create, open};
use crate::forks::{Directory, allowed, directory};
use crate::meta::{Refused, Verdict, inspect};
use crate::types::{NodeId, StoreId, VolumeId};

const IDENTITY: Identity = Identity {
    cluster: 0xc1,
    volume: VolumeId(0x70),
    store: StoreId(0x51),
    node: NodeId(1),
    size: 64 << 20,
};

fn make(path: &Path) {
    create(path, &IDENTITY, &mut |_, _| {}).unwrap();
}

fn problem(path: &Path, identity: &Identity) -> Problem {
    open(path, identity, Duration::ZERO).unwrap_err().problem
}

fn refusal(path: &Path, identity: &Identity) -> Refused {
    match problem(path, identity) {
        Problem::Refused(refused) => refused,
        other => panic!("{other:?}"),
    }
}

fn store() -> (Directory, PathBuf) {
    let directory = directory();
    let path = directory.path().join("store");
    make(&path);
    (directory, path)
}

fn scribble(path: &Path, offset: u64, bytes: &[u8]) {
    let file = fs::OpenOptions::new().write(true).open(path).unwrap();
    file.write_all_at(bytes, offset).unwrap();
}

#[test]
fn a_new_store_opens_empty_and_reads_as_zeroes() {
    let (_directory, path) = store();
    let opened = open(&path, &IDENTITY, Duration::ZERO).unwrap();
    let recovered = &opened.recovered;
    assert_eq!(recovered.store, IDENTITY.store);
    assert_eq!(recovered.findings, vec![]);
    let data = recovered.layout.data;
    let bytes = fs::read(&path).unwrap();
    assert_eq!(bytes.len() as u64, data + IDENTITY.size);
    assert!(bytes[data as usize..].iter().all(|&byte| byte == 0));
    // All of it is reserved.
    let blocks = std::os::unix::fs::MetadataExt::blocks(&fs::metadata(&path).unwrap());
    assert!(blocks * 512 >= data + IDENTITY.size);
    assert!(!path.with_file_name("store.unfinished").exists());
}

#[test]
fn what_is_missing_or_empty_is_told_and_can_be_made() {
    let directory = directory();
    let missing = directory.path().join("missing");
    assert!(matches!(problem(&missing, &IDENTITY), Problem::Missing));
    let empty = directory.path().join("empty");
    fs::write(&empty, b"").unwrap();
    assert!(matches!(problem(&empty, &IDENTITY), Problem::Blank));
    let sparse = directory.path().join("sparse");
    fs::File::create(&sparse).unwrap().set_len(1 << 30).unwrap();
    assert!(matches!(problem(&sparse, &IDENTITY), Problem::Blank));
    let zeroes = directory.path().join("zeroes");
    fs::write(&zeroes, vec![0; 5_000_001]).unwrap();
    assert!(matches!(problem(&zeroes, &IDENTITY), Problem::Blank));
    for path in [missing, empty, sparse, zeroes] {
        assert!(
            open(&path, &IDENTITY, Duration::ZERO)
                .unwrap_err()
                .is_absent()
        );
        make(&path);
        open(&path, &IDENTITY, Duration::ZERO).unwrap();
    }
}

#[test]
fn a_disk_that_is_not_there_is_not_replaced_by_a_file() {
    let path = Path::new("/dev/steadfast-no-such-disk");
    let error = create(path, &IDENTITY, &mut |_, _| {}).unwrap_err();
    assert!(error.to_string().contains("Connect the disk"), "{error}");
    assert!(!path.exists() && !path.with_extension("unfinished").exists());
}

#[test]
fn what_belongs_to_others_is_refused_by_name_and_untouched() {
    let directory = directory();
    let path = directory.path().join("foreign");
    let signatures: [(usize, &[u8], &str); 13] = [
        (1080, b"\x53\xef", "ext4"),
        (0, b"XFSB", "XFS"),
        (65600, b"_BHRfS_M", "btrfs"),
        (512, b"LABELONE", "LVM"),
        (0, b"LUKS\xba\xbe", "LUKS"),
        (4086, b"SWAPSPACE2", "swap"),
        ((1 << 20) - 4096 + 60, b"\x83\x74\x02\x6d", "DRBD"),
        (512, b"EFI PART", "GPT"),
        (510, b"\x55\xaa", "partition table"),
        (0, b"SFstore\x07", "Steadfast store"),
        (0, b"SFLOGHDR", "cluster log, which must not be lost"),
        (700_000, b"x", "unknown content"),
        ((1 << 20) - 1, b"x", "unknown content"),
    ];
    for (offset, bytes, name) in signatures {
        let mut content = vec![0; 1 << 20];
        content[offset..offset + bytes.len()].copy_from_slice(bytes);
        fs::write(&path, &content).unwrap();
        let error = create(&path, &IDENTITY, &mut |_, _| {}).unwrap_err();
        assert!(!error.is_absent());
        let text = error.to_string();
        assert!(matches!(error.problem, Problem::Occupied { .. }));
        assert!(text.contains(name), "{text}");
        let error = open(&path, &IDENTITY, Duration::ZERO).unwrap_err();
        assert!(!error.is_absent(), "{error}");
        let text = error.to_string();
        assert!(text.contains(name) || name == "unknown content", "{text}");
        assert_eq!(fs::read(&path).unwrap(), content, "{name}");
        assert_eq!(inspect(&path).unwrap().verdict, Verdict::Damaged);
    }
}

#[test]
fn what_is_shorter_than_a_block_is_told() {
    let directory = directory();
    let path = directory.path().join("short");
    for (bytes, words) in [(0, "it is empty"), (100, "ends within its first block")] {
        fs::write(&path, vec![b'x'; bytes]).unwrap();
        let report = inspect(&path).unwrap();
        assert_eq!(report.verdict, Verdict::Damaged);
        let refused = report.refused.unwrap();
        assert!(refused.contains(words), "{refused}");
    }
}

#[test]
fn a_real_file_system_is_refused() {
    let _alone = allowed();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("ext4");
    fs::File::create(&path).unwrap().set_len(16 << 20).unwrap();
    let made = std::process::Command::new("mkfs.ext4")
        .args(["-q", "-F"])
        .arg(&path)
        .status()
        .expect("mkfs.ext4, of e2fsprogs");
    assert!(made.success());
    let before = fs::read(&path).unwrap();
    let text = create(&path, &IDENTITY, &mut |_, _| {})
        .unwrap_err()
        .to_string();
    assert!(text.contains("ext4"), "{text}");
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[test]
fn a_shortened_store_is_refused() {
    let (_directory, path) = store();
    let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    let whole = fs::metadata(&path).unwrap().len();
    for len in [whole - 4096, whole / 2, 1 << 20, 140 << 10, 68 << 10] {
        file.set_len(len).unwrap();
        assert!(
            matches!(refusal(&path, &IDENTITY), Refused::TooSmall { .. }),
            "{len}"
        );
        assert_eq!(fs::metadata(&path).unwrap().len(), len);
    }
    file.set_len(4096).unwrap();
    assert!(matches!(
        refusal(&path, &IDENTITY),
        Refused::SuperblockDamaged { .. }
    ));
    file.set_len(100).unwrap();
    assert!(matches!(refusal(&path, &IDENTITY), Refused::Foreign { .. }));
}

#[test]
fn a_held_store_is_waited_for_and_then_told() {
    let (_directory, path) = store();
    let first = open(&path, &IDENTITY, Duration::ZERO).unwrap();
    assert!(inspect(&path).unwrap().in_use);
    let error = open(&path, &IDENTITY, Duration::from_millis(20)).unwrap_err();
    assert!(
        matches!(error.problem, Problem::InUse { waited } if waited >= Duration::from_millis(20))
    );
    assert!(error.to_string().contains("fuser"));
    let waiting = {
        let path = path.clone();
        std::thread::spawn(move || open(&path, &IDENTITY, Duration::from_secs(60)).map(|_| ()))
    };
    drop(first);
    waiting.join().unwrap().unwrap();
    assert!(!inspect(&path).unwrap().in_use);
}

#[test]
fn what_a_cut_off_creation_left_is_replaced() {
    let directory = directory();
    let path = directory.path().join("store");
    fs::write(path.with_file_name("store.unfinished"), b"half a store").unwrap();
    make(&path);
    open(&path, &IDENTITY, Duration::ZERO).unwrap();
    assert!(!path.with_file_name("store.unfinished").exists());
}

#[test]
fn impossible_requests_are_refused() {
    let directory = directory();
    let path = directory.path().join("store");
    for size in [0, 1, 4097, (16 << 40) + 4096, u64::MAX] {
        let identity = Identity { size, ..IDENTITY };
        let error = create(&path, &identity, &mut |_, _| {}).unwrap_err();
        assert!(matches!(error.problem, Problem::Size(_)));
    }
    let huge = Identity {
        size: 16 << 40,
        ..IDENTITY
    };
    let error = create(&path, &huge, &mut |_, _| {}).unwrap_err();
    assert!(
        matches!(error.problem, Problem::NoRoom { have: None, .. }),
        "{error}"
    );
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    let error = create(directory.path(), &IDENTITY, &mut |_, _| {}).unwrap_err();
    assert!(matches!(error.problem, Problem::NotAStore));
}

#[test]
fn the_report_names_everything() {
    let (_directory, path) = store();
    let report = inspect(&path).unwrap();
    assert_eq!(report.verdict, Verdict::Clean);
    assert!(report.check().ends_with(": clean\n"));
    let dump = report.dump();
    for part in [
        "generation 1",
        "term 0",
        "0 of 4096 slots",
        "0 of 64 regions",
        "node 1",
    ] {
        assert!(dump.contains(part), "{part} in {dump}");
    }
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["verdict"], "clean");
    assert_eq!(json["superblocks"][1]["content"]["generation"], 1);
    assert_eq!(json["content"]["record"], 16);
}
