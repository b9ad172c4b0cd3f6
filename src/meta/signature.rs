//! Whose data is this? Enough of the common signatures that a person is told what a wrong path
//! leads to. A store is only ever made where there is nothing, so what is missing here costs a
//! name, not data.

use super::recover::Read;

/// One signature: bytes at an offset.
struct Signature {
    name: &'static str,
    offset: u64,
    bytes: &'static [u8],
}

const fn signature(name: &'static str, offset: u64, bytes: &'static [u8]) -> Signature {
    Signature {
        name,
        offset,
        bytes,
    }
}

const SIGNATURES: [Signature; 27] = [
    signature("a Steadfast store", 0, b"SFstore"),
    signature("a Steadfast store", 64 << 10, b"SFstore"),
    signature(
        "a Steadfast store whose creation was cut off",
        0,
        b"SFunfin",
    ),
    signature(
        "a node's cluster log, which must not be lost",
        0,
        b"SFLOGHDR",
    ),
    signature("a LUKS volume", 0, b"LUKS\xba\xbe"),
    signature("an XFS file system", 0, b"XFSB"),
    signature("a QCOW image", 0, b"QFI\xfb"),
    signature("a squashfs file system", 0, b"hsqs"),
    signature("a BitLocker volume", 3, b"-FVE-FS-"),
    signature("an NTFS file system", 3, b"NTFS    "),
    signature("an exFAT file system", 3, b"EXFAT   "),
    signature("an LVM physical volume", 0, b"LABELONE"),
    signature("an LVM physical volume", 512, b"LABELONE"),
    signature("an LVM physical volume", 1024, b"LABELONE"),
    signature("an LVM physical volume", 1536, b"LABELONE"),
    signature("a GPT partition table", 512, b"EFI PART"),
    signature("a GPT partition table", 4096, b"EFI PART"),
    signature("an ext2, ext3 or ext4 file system", 1080, b"\x53\xef"),
    signature("an F2FS file system", 1024, b"\x10\x20\xf5\xf2"),
    signature("swap space", 4086, b"SWAPSPACE2"),
    signature("swap space", 4086, b"SWAP-SPACE"),
    signature("an MD RAID member", 0, b"\xfc\x4e\x2b\xa9"),
    signature("an MD RAID member", 4096, b"\xfc\x4e\x2b\xa9"),
    signature("a bcache device", 4120, b"\xc6\x85\x73\xf6\x4e\x1a\x45\xca"),
    signature("an ISO 9660 image", 32769, b"CD001"),
    signature("a btrfs file system", 65600, b"_BHRfS_M"),
    // Below the others: many of them leave a boot sector behind.
    signature("a partition table or boot sector", 510, b"\x55\xaa"),
];

/// Bytes at the head that `recognise` looks at.
const HEAD: usize = 68 << 10;
/// DRBD keeps its metadata in the last 4 KiB block of the device; its magic begins at byte 60.
const DRBD_MAGIC_AT: usize = 60;
/// Of format 8.3, of 8.4 while in use, and of 9.
const DRBD_MAGICS: [[u8; 4]; 3] = [
    *b"\x83\x74\x02\x6b",
    *b"\x83\x74\x02\x6c",
    *b"\x83\x74\x02\x6d",
];

/// What the content looks like, if it looks like anything.
pub fn recognise(read: &mut Read<'_>, bytes: u64) -> Option<&'static str> {
    let mut head = vec![0; HEAD];
    let have = HEAD.min((bytes / 4096 * 4096) as usize);
    if read(0, &mut head[..have]).is_err() {
        return None;
    }
    for signature in &SIGNATURES {
        let at = signature.offset as usize;
        if head.get(at..at + signature.bytes.len()) == Some(signature.bytes) {
            return Some(signature.name);
        }
    }
    let mut tail = vec![0; 4096];
    let last = (bytes / 4096).checked_sub(1)? * 4096;
    read(last, &mut tail).ok()?;
    let magic = tail[DRBD_MAGIC_AT..].first_chunk()?;
    DRBD_MAGICS.contains(magic).then_some("a DRBD device")
}
