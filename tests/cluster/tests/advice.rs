//! What a sandbox says can be tried works as it says.

use std::fs;
use std::process::Command;
use std::time::Duration;

use cluster_tests::image::scratch;
use cluster_tests::sandbox::Sandbox;
use cluster_tests::tool::{self, Said};
use cluster_tests::wait_for;
use cluster_tests::writer::Writer;

const PATIENCE: Duration = Duration::from_secs(60);

/// The lines of the advice that are commands, without what explains them.
fn advised(said: &str) -> Vec<String> {
    let (_, advice) = said.split_once("Try (").expect("advice");
    let commands = advice.lines().filter_map(|line| line.strip_prefix("  "));
    commands
        .map(|line| line.split("     #").next().unwrap_or(line).to_owned())
        .collect()
}

/// Runs one as a person would, who ends what does not end by itself.
fn follow(command: &str) -> Said {
    let said =
        Said::by(Command::new("timeout").args(["-k", "30", "-s", "INT", "5", "sh", "-c", command]));
    assert!(
        matches!(said.code, Some(0 | 124)),
        "{command}: {:?}\n{}{}",
        said.code,
        said.out,
        said.error
    );
    said
}

#[test]
fn what_is_advised_works_and_takes_the_volume_from_nobody() {
    // With a space: what is advised goes into a shell.
    let dir = scratch().join("sandbox advice");
    drop(fs::remove_dir_all(&dir));
    // What one of an earlier run has said.
    drop(fs::remove_file(dir.with_extension("log")));
    let mut sandbox = Sandbox::start(&dir, &["--size", "8MiB"]);
    let said = wait_for("the advice", PATIENCE, || {
        let said = sandbox.said();
        said.contains("Ctrl-C stops everything").then_some(said)
    });
    let (primary, standby) = sandbox.pair();
    for node in sandbox.nodes() {
        assert!(said.contains(&format!("  {}  {}", node.name, node.nbd)));
    }
    let warning = "a client of another node takes the volume over";
    assert!(
        said.contains(warning) && said.contains("--shared"),
        "{said}"
    );
    let (me, uri) = (tool::steadfast().display().to_string(), &standby.nbd);
    let here = format!("--dir '{}'", dir.display());
    let expected = [
        format!("nbdinfo {uri}"),
        format!("qemu-img convert -n -p -f raw -O raw IMAGE {uri}"),
        format!(
            "fio --name=try --ioengine=nbd --uri={uri} --rw=randwrite --bs=4k --iodepth=32 \
             --time_based --runtime=30"
        ),
        format!("{me} status --watch {here}"),
        format!("{me} events --follow {here}"),
        format!("{me} volume list {here}"),
        format!("kill -9 {}", primary.pid),
        format!("{me} volume promote {} data {here}", standby.name),
    ];
    assert_eq!(advised(&said), expected);

    // In the upper half, which nothing else writes.
    let image = dir.with_extension("image");
    fs::write(&image, vec![7; 1 << 20]).expect("image");
    let writer = Writer::start(standby.nbd_address(), "data", 1024, 256);
    let [info, convert, fio, watch, events, list, kill, promote] = expected;
    assert!(follow(&info).out.contains("export-size: 8388608"));
    follow(&convert.replace("IMAGE", &format!("'{}'", image.display())));
    follow(&format!(
        "cd '{}' && {} --size=4m",
        dir.display(),
        fio.replace("--runtime=30", "--runtime=1")
    ));
    assert!(follow(&watch).out.contains("healthy"));
    assert!(follow(&events).out.contains("data was created"));
    assert!(follow(&list).out.contains("data"));
    follow(&kill);
    let then = writer.count();
    wait_for("writes after it", PATIENCE, || {
        assert!(!writer.has_ended(), "the client was disconnected");
        (writer.count() > then + 200).then_some(())
    });
    sandbox.wait_healthy(PATIENCE);
    wait_for("the new process to be written down", PATIENCE, || {
        (sandbox.node(&primary.name).pid != primary.pid).then_some(())
    });
    follow(&promote);
    assert_eq!(sandbox.primary().as_ref(), Some(&standby.name));
    let written = writer.stop();
    assert!(written.error.is_none(), "{:?}", written.error);
    written.verify(standby.nbd_address(), "data");
    sandbox.stop();
    drop(fs::remove_file(&image));
    drop(fs::remove_dir_all(&dir));
}
