//! Stores that are not what they should be, as files; `device` has the same as block devices.

use super::*;

/// A store at `path` that is whole is not made anew.
pub(super) fn is_never_made_anew(path: &Path) {
    let before = fs::read(path).unwrap();
    let error = create(path, &IDENTITY, &mut |_, _| {}).unwrap_err();
    assert!(matches!(error.problem, Problem::Occupied { .. }));
    assert!(error.to_string().contains("a Steadfast store"), "{error}");
    assert_eq!(fs::read(path).unwrap(), before);
}

/// A store at `path` is refused by everybody whose it is not.
pub(super) fn is_refused_to_others(path: &Path) {
    let before = fs::read(path).unwrap();
    let refused = |identity| refusal(path, &identity);
    assert!(matches!(
        refused(Identity {
            cluster: 2,
            ..IDENTITY
        }),
        Refused::OtherCluster {
            found: 0xc1,
            expected: 2
        }
    ));
    assert!(matches!(
        refused(Identity {
            volume: VolumeId(2),
            ..IDENTITY
        }),
        Refused::OtherVolume { .. }
    ));
    assert!(matches!(
        refused(Identity {
            node: NodeId(2),
            ..IDENTITY
        }),
        Refused::OtherNode { .. }
    ));
    assert!(matches!(
        refused(Identity {
            store: StoreId(2 << 64),
            ..IDENTITY
        }),
        Refused::OtherStore { .. }
    ));
    assert!(matches!(
        refused(Identity {
            size: 128 << 20,
            ..IDENTITY
        }),
        Refused::OtherSize { .. }
    ));
    assert_eq!(fs::read(path).unwrap(), before);
}

/// A store at `path` is refused, untouched, if a newer program has written it.
pub(super) fn is_refused_if_newer(path: &Path) {
    let old = fs::read(path).unwrap()[..4096].to_vec();
    let mut page = old.clone();
    page[8] = 2;
    page[16..20].fill(0);
    let crc = crc32fast::hash(&page);
    page[16..20].copy_from_slice(&crc.to_le_bytes());
    scribble(path, 0, &page);
    let before = fs::read(path).unwrap();
    let refused = refusal(path, &IDENTITY);
    assert_eq!(refused, Refused::NewerVersion { found: 2 });
    assert!(refused.to_string().contains("newer steadfast"));
    assert!(create(path, &IDENTITY, &mut |_, _| {}).is_err());
    assert_eq!(fs::read(path).unwrap(), before);
    scribble(path, 0, &old);
    open(path, &IDENTITY, Duration::ZERO).unwrap();
}

/// A store at `path` is refused, untouched, if either superblock is damaged, or both.
pub(super) fn is_refused_if_damaged(path: &Path) {
    let whole = fs::read(path).unwrap();
    let restore = |place: u64| {
        let page = place as usize..place as usize + 4096;
        scribble(path, place, &whole[page]);
    };
    for place in [0, 64 << 10] {
        scribble(path, place + 100, b"scribble");
        let before = fs::read(path).unwrap();
        let refused = refusal(path, &IDENTITY);
        assert!(
            matches!(refused, Refused::SuperblockDamaged { offset, .. } if offset == place),
            "{refused}"
        );
        assert!(refused.to_string().contains("wrong checksum"));
        assert!(create(path, &IDENTITY, &mut |_, _| {}).is_err());
        assert_eq!(fs::read(path).unwrap(), before);
        assert_eq!(inspect(path).unwrap().verdict, Verdict::Damaged);
        restore(place);
        assert_eq!(inspect(path).unwrap().verdict, Verdict::Clean);
    }
    scribble(path, 64 << 10, b"scribble");
    scribble(path, 200, b"scribble");
    let before = fs::read(path).unwrap();
    let refused = refusal(path, &IDENTITY);
    assert!(matches!(refused, Refused::SuperblocksDamaged { .. }));
    assert!(refused.to_string().contains("wrong checksum"));
    assert_eq!(fs::read(path).unwrap(), before);
    restore(0);
    restore(64 << 10);
    open(path, &IDENTITY, Duration::ZERO).unwrap();
}

#[test]
fn an_existing_store_is_never_made_anew() {
    let (_directory, path) = store();
    is_never_made_anew(&path);
}

#[test]
fn a_store_of_somebody_else_is_refused_by_name() {
    let (_directory, path) = store();
    is_refused_to_others(&path);
}

#[test]
fn a_newer_version_is_refused_by_name() {
    let (_directory, path) = store();
    is_refused_if_newer(&path);
}

#[test]
fn a_damage_in_either_superblock_is_refused_and_nothing_is_written() {
    let (_directory, path) = store();
    is_refused_if_damaged(&path);
}
