//! Foreign programs that speak NBD; the README says what to install.

use std::process::Command;

/// Runs a program; it has to succeed. Gives its output.
pub fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program)
        .args(arguments)
        .output()
        .unwrap_or_else(|error| panic!("{program} is needed for this test: {error}"));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {}\n{text}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    text
}

/// Lets fio write all of the first `mib` with mixed sizes at any multiple of 512, and check it.
pub fn fio_verify(uri: &str, mib: u64, extra: &[&str]) {
    let uri = format!("--uri={uri}");
    let size = format!("--size={mib}m");
    let mut arguments = vec![
        "--name=verify",
        "--ioengine=nbd",
        &uri,
        "--rw=randwrite",
        "--bsrange=512-128k",
        "--blockalign=512",
        "--iodepth=16",
        &size,
        "--verify=crc32c",
        "--verify_fatal=1",
        "--do_verify=1",
        "--verify_state_save=0",
        "--thread",
    ];
    arguments.extend(extra);
    let output = run("fio", &arguments);
    assert!(output.contains("err= 0"), "{output}");
}
