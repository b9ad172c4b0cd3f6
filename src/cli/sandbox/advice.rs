//! What to try next.

use std::fmt::Write as _;
use std::path::Path;

use config::{Config, Role};

use super::describe::Description;
use super::ground::Ground;
use crate::cli::style::Paint;
use crate::cli::target::SANDBOX;
use crate::status::Status;

/// Printed once the sandbox is ready.
pub(super) fn text(
    paint: Paint,
    ground: &Ground,
    status: &Status,
    running: &Description,
) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = write(&mut out, paint, ground, status, running);
    out
}

fn write(
    out: &mut String,
    paint: Paint,
    ground: &Ground,
    status: &Status,
    running: &Description,
) -> std::fmt::Result {
    let me = std::env::current_exe().map_or_else(|_| "steadfast".into(), |path| word(&path));
    let given = std::env::current_dir().is_ok_and(|here| here.join(SANDBOX) == ground.dir());
    let dir = if given {
        String::new()
    } else {
        format!(" --dir {}", word(ground.dir()))
    };
    writeln!(out, "\n{}", crate::cli::status::show(paint, status))?;
    let Some(volume) = status.volumes.first() else {
        return Ok(());
    };
    let uri = |config: &Config| format!("nbd://{}/{}", config.me().nbd(), volume.name);
    writeln!(out, "{}", paint.bold("The volume, on each node:"))?;
    for config in ground.nodes() {
        let role = match config.me().role {
            Role::Storage => "",
            Role::Witness => "  (keeps no copy, still serves clients)",
        };
        writeln!(out, "  {}  {}{role}", config.node.name, uri(config))?;
    }
    let attach = if volume.shared {
        "Clients of all of them are served at once."
    } else {
        "Attach at one of them at a time: a client of another node takes the volume over, and the \
         first\nis disconnected. A sandbox that is made with --shared serves all at once."
    };
    writeln!(out, "{attach}")?;
    // Through a node that is not primary, so that the demonstration survives the kill; and all
    // through the same one, so that no command takes the volume from another.
    let storage = |config: &&Config| config.me().role == Role::Storage;
    let gateway = ground
        .nodes()
        .iter()
        .filter(storage)
        .find(|config| volume.primary.as_ref() != Some(&config.node.name))
        .or(ground.nodes().first());
    let Some(gateway) = gateway else {
        return Ok(());
    };
    let uri = uri(gateway);
    let try_it = "Try (apt-get install libnbd-bin qemu-utils fio):";
    writeln!(out, "\n{}", paint.bold(try_it))?;
    writeln!(out, "  nbdinfo {uri}")?;
    writeln!(
        out,
        "  qemu-img convert -n -p -f raw -O raw IMAGE {uri}     # IMAGE of at most {} bytes",
        volume.size
    )?;
    writeln!(
        out,
        "  fio --name=try --ioengine=nbd --uri={uri} --rw=randwrite --bs=4k --iodepth=32 \
         --time_based --runtime=30"
    )?;
    writeln!(out, "  {me} status --watch{dir}")?;
    writeln!(out, "  {me} events --follow{dir}")?;
    writeln!(out, "  {me} volume list{dir}     # a look without a client")?;
    if let Some(primary) = &volume.primary {
        writeln!(
            out,
            "\n{}",
            paint.bold(
                "While something runs, kill the primary; the client sees a pause and no error:"
            )
        )?;
        if let Some(node) = running.nodes.iter().find(|node| node.name == *primary) {
            writeln!(
                out,
                "  kill -9 {}     # {primary}; started again after 1 s, see sandbox.json",
                node.pid
            )?;
        }
        if gateway.node.name != *primary {
            writeln!(
                out,
                "  {me} volume promote {} {}{dir}     # or hand it over",
                gateway.node.name, volume.name
            )?;
        }
    }
    writeln!(
        out,
        "\nCtrl-C stops everything; the data stays in {}",
        ground.dir().display()
    )?;
    Ok(())
}

/// A path as a shell takes it for one word.
fn word(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_alphanumeric() || "/._-+,:@".contains(c);
    if text.chars().all(plain) {
        text
    } else {
        format!("'{}'", text.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_one_word_for_a_shell() {
        assert_eq!(word(Path::new("/a/b-1.2")), "/a/b-1.2");
        assert_eq!(word(Path::new("/a b/$c")), "'/a b/$c'");
        assert_eq!(word(Path::new("/it's")), "'/it'\\''s'");
    }
}
