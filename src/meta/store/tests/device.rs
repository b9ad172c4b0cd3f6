//! Stores on block devices: loop devices, which not every machine can have.

use std::io::Write;
use std::process::{Command, Output};

use super::refused::{
    is_never_made_anew, is_refused_if_damaged, is_refused_if_newer, is_refused_to_others,
};
use super::*;

/// Bytes of the devices.
const DEVICE: usize = 96 << 20;

/// A loop device over a file; detached when dropped.
struct Loop {
    device: PathBuf,
}

impl Loop {
    /// Why not, where the kernel has none or this user may not make one.
    fn over(file: &Path) -> Result<Self, String> {
        let mut made = attach(file);
        if !made.status.success() {
            make_nodes();
            made = attach(file);
        }
        if !made.status.success() {
            return Err(String::from_utf8_lossy(&made.stderr).trim().to_owned());
        }
        let device = String::from_utf8(made.stdout).unwrap();
        Ok(Self {
            device: device.trim().into(),
        })
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        Command::new("losetup")
            .arg("--detach")
            .arg(&self.device)
            .status()
            .expect("losetup has run before");
    }
}

fn attach(file: &Path) -> Output {
    Command::new("losetup")
        .args(["--find", "--show"])
        .arg(file)
        .output()
        .expect("losetup, of mount")
}

/// Loads the driver and makes the files in `/dev` that a container may lack. What of it fails shows
/// when a device is made.
fn make_nodes() {
    drop(Command::new("modprobe").arg("loop").output());
    let node = |path: &str, kind: &str, major: &str, minor: &str| {
        if !Path::new(path).exists() {
            let mut mknod = Command::new("mknod");
            drop(mknod.args([path, kind, major, minor]).output());
        }
    };
    node("/dev/loop-control", "c", "10", "237");
    for number in 0..16 {
        let path = format!("/dev/loop{number}");
        node(&path, "b", "7", &number.to_string());
    }
}

/// Runs a test on a device with this content, alone. Where there can be none, it says so even if
/// the test passes: the standard error that the harness keeps to itself is that of the macros.
fn on_a_device(content: &[u8], test: impl FnOnce(&Path)) {
    let _alone = allowed();
    let directory = tempfile::tempdir().unwrap();
    let backing = directory.path().join("backing");
    fs::write(&backing, content).unwrap();
    match Loop::over(&backing) {
        Ok(device) => test(&device.device),
        Err(why) => writeln!(
            std::io::stderr(),
            "NOT TESTED: stores on block devices, since this machine has no loop devices ({why})"
        )
        .unwrap(),
    }
}

#[test]
fn a_block_device_is_made_locked_and_read_like_a_file() {
    // Rubbish in the middle must not show through.
    let mut content = vec![0; DEVICE];
    content[30 << 20..40 << 20].fill(7);
    on_a_device(&content, |path| {
        assert!(matches!(problem(path, &IDENTITY), Problem::Blank));
        let large = Identity {
            size: DEVICE as u64,
            ..IDENTITY
        };
        let error = create(path, &large, &mut |_, _| {}).unwrap_err();
        assert!(
            matches!(error.problem, Problem::NoRoom { have: Some(have), .. } if have == large.size)
        );
        let mut last = (0, 0);
        create(path, &IDENTITY, &mut |done, total| last = (done, total)).unwrap();
        assert!(last.0 == last.1 && last.0 > IDENTITY.size);
        let opened = open(path, &IDENTITY, Duration::ZERO).unwrap();
        assert!(matches!(problem(path, &IDENTITY), Problem::InUse { .. }));
        let data = opened.recovered.layout.data as usize;
        drop(opened);
        let bytes = fs::read(path).unwrap();
        assert!(
            bytes[data..data + IDENTITY.size as usize]
                .iter()
                .all(|&byte| byte == 0)
        );
        assert_eq!(inspect(path).unwrap().verdict, Verdict::Clean);
    });
}

#[test]
fn a_block_device_that_is_not_what_it_should_be_is_refused_like_a_file() {
    on_a_device(&vec![0; DEVICE], |path| {
        make(path);
        is_never_made_anew(path);
        is_refused_to_others(path);
        is_refused_if_newer(path);
        is_refused_if_damaged(path);
    });
}

#[test]
fn a_block_device_is_made_anew_only_where_it_was_not_finished() {
    on_a_device(&vec![0; DEVICE], |path| {
        make(path);
        // A creation that is cut off after its first step may be repeated; nothing else is taken
        // for one.
        scribble(path, 0, b"SFunfin\x01");
        scribble(path, 64 << 10, &[0; 4096]);
        assert!(matches!(problem(path, &IDENTITY), Problem::Unfinished));
        make(path);
        open(path, &IDENTITY, Duration::ZERO).unwrap();

        scribble(path, 1080, b"\x53\xef");
        scribble(path, 0, &[0; 512]);
        scribble(path, 64 << 10, &[0; 4096]);
        let text = create(path, &IDENTITY, &mut |_, _| {})
            .unwrap_err()
            .to_string();
        assert!(text.contains("ext4"), "{text}");
    });
}
