//! `steadfast status`

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args as ClapArgs;

use super::style::{self, Mood, Paint};
use super::target::{Target, TargetArgs};
use super::{fail, output, runtime};
use crate::daemon::stop::Stop;
use crate::status::{NodeStatus, ReplicaShown, ReplicaStatus, Status, VolumeStatus};

/// No node answers, or its answer cannot be written: not one of the codes that say how the cluster
/// is.
const UNKNOWN: u8 = 3;
/// Between two looks of `--watch`.
const WATCH_INTERVAL: Duration = Duration::from_millis(500);

/// Exit code: 0 healthy (as redundant as configured), 1 degraded, 2 no quorum or no primary,
/// 3 no node answers, or its answer cannot be written.
#[derive(Debug, ClapArgs)]
pub(super) struct Args {
    #[command(flatten)]
    target: TargetArgs,
    /// As JSON (one object a line with --watch)
    #[arg(long)]
    json: bool,
    /// Look again and again, until Ctrl-C
    #[arg(long, short)]
    watch: bool,
}

pub(super) fn run(args: &Args) -> ExitCode {
    let target = match args.target.resolve() {
        Ok(target) => target,
        Err(error) => return fail(UNKNOWN, error),
    };
    match runtime() {
        Ok(runtime) => {
            let code = runtime.block_on(async {
                if args.watch {
                    watch(&target, args.json).await
                } else {
                    once(&target, args.json).await
                }
            });
            // What is being written may never be read.
            runtime.shutdown_background();
            code
        }
        Err(error) => fail(UNKNOWN, error),
    }
}

async fn once(target: &Target, json: bool) -> ExitCode {
    match target.status().await {
        Ok((status, _)) => {
            let text = if json {
                serde_json::to_string_pretty(&status).unwrap_or_default()
            } else {
                show(Paint::stdout(), &status)
            };
            // The exit code tells it even where the reader has gone.
            output::finish(text.trim_end(), status.health.exit_code(), UNKNOWN)
        }
        Err(error) => fail(UNKNOWN, error),
    }
}

async fn watch(target: &Target, json: bool) -> ExitCode {
    // One for the whole time: a signal that comes between two waits is not lost.
    let mut stop = match Stop::new() {
        Ok(stop) => stop,
        Err(error) => return fail(UNKNOWN, format!("signals: {error}")),
    };
    let paint = Paint::stdout();
    let screen = style::is_screen(&std::io::stdout()) && !json;
    let mut code = ExitCode::from(UNKNOWN);
    loop {
        let look = tokio::select! {
            biased;
            () = stop.asked() => return leave(screen, code),
            look = target.status() => look,
        };
        let text = match look {
            Ok((status, _)) => {
                code = ExitCode::from(status.health.exit_code());
                if json {
                    serde_json::to_string(&status).unwrap_or_default() + "\n"
                } else {
                    show(paint, &status)
                }
            }
            Err(error) => {
                code = ExitCode::from(UNKNOWN);
                if json {
                    format!("{}\n", serde_json::json!({ "error": error.to_string() }))
                } else {
                    format!("{error}\n")
                }
            }
        };
        // A terminal that is held, or a pipe that nobody reads, must not keep it from ending.
        let written = tokio::task::spawn_blocking(move || draw(screen, &text));
        tokio::select! {
            biased;
            () = stop.asked() => return code,
            written = written => match written {
                Ok(written) => match output::judge(written) {
                    Ok(true) => {}
                    Ok(false) => return code,
                    Err(error) => return fail(UNKNOWN, error),
                },
                Err(_) => return code,
            },
        }
        tokio::select! {
            biased;
            () = stop.asked() => return leave(screen, code),
            () = tokio::time::sleep(WATCH_INTERVAL) => {}
        }
    }
}

/// One look, on a screen in the place of the one before.
fn draw(screen: bool, text: &str) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    if screen {
        // Home, text with every line cleared to its end, then clear below: no flicker.
        let text = style::fit(text, style::window()).replace('\n', "\x1b[K\n");
        write!(out, "\x1b[H{text}\x1b[J")?;
    } else {
        write!(out, "{text}")?;
    }
    out.flush()
}

/// The last look stays on the screen; what follows, as the prompt, begins on a line of its own.
fn leave(screen: bool, code: ExitCode) -> ExitCode {
    if screen {
        say!("");
    }
    code
}

/// The status for people.
pub(super) fn show(paint: Paint, status: &Status) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = write_status(&mut out, paint, status);
    out
}

fn write_status(out: &mut String, paint: Paint, status: &Status) -> std::fmt::Result {
    let health = format!("{:?}", status.health).to_lowercase();
    writeln!(
        out,
        "{}, seen by {}: {}",
        paint.bold(&status.cluster),
        status.node,
        paint.mood(Mood::of(status.health), &health)
    )?;
    let quorum = if status.quorum {
        paint.mood(Mood::Good, "quorum")
    } else {
        paint.mood(Mood::Bad, "no quorum")
    };
    let lease = match status.lease_ms_left {
        0 => paint.mood(Mood::Worry, "no lease"),
        left => format!("lease for {left} ms"),
    };
    let leader = match &status.leader {
        Some(leader) => format!("{leader} leads"),
        None => "nobody leads".into(),
    };
    writeln!(
        out,
        "view {}: {}; {quorum}; {lease}; {leader}\n",
        status.view,
        status.members.join(", ")
    )?;
    writeln!(out, "{}\n", nodes(paint, &status.nodes))?;
    writeln!(out, "{}\n", volumes(paint, &status.volumes))?;
    for volume in &status.volumes {
        let mood = match (&volume.primary, volume.failures_survivable) {
            (None, _) => Mood::Bad,
            (Some(_), 0) => Mood::Worry,
            (Some(_), _) => Mood::Good,
        };
        writeln!(
            out,
            "{}: {}",
            volume.name,
            paint.mood(mood, &volume.redundancy)
        )?;
    }
    Ok(())
}

fn nodes(paint: Paint, nodes: &[NodeStatus]) -> String {
    let mut table = paint.table(&["NODE", "ROLE", "ADDRESS", "STATE", "INCARNATION"]);
    for node in nodes {
        let state = match (node.alive, node.heard) {
            (true, true) => paint.cell(Mood::Good, "up"),
            (true, false) => paint.cell(Mood::Worry, "up, not heard here"),
            (false, true) => paint.cell(Mood::Worry, "joining"),
            (false, false) => paint.cell(Mood::Bad, "down"),
        };
        let incarnation = node
            .incarnation
            .map_or_else(|| "-".into(), |number| number.to_string());
        table.add_row(vec![
            node.name.as_str().into(),
            node.role.as_str().into(),
            node.address.as_str().into(),
            state,
            incarnation.into(),
        ]);
    }
    table.trim_fmt()
}

fn volumes(paint: Paint, volumes: &[VolumeStatus]) -> String {
    let mut table = paint.table(&["VOLUME", "SIZE", "TERM", "REPLICA", "STATE", "PROGRESS"]);
    for volume in volumes {
        for (i, replica) in volume.replicas.iter().enumerate() {
            let first = i == 0;
            let text = |text: String| if first { text } else { String::new() };
            table.add_row(vec![
                text(volume.name.clone()).into(),
                text(style::bytes(volume.size)).into(),
                text(volume.term.to_string()).into(),
                replica.node.as_str().into(),
                state(paint, volume, replica),
                progress(replica).into(),
            ]);
        }
    }
    table.trim_fmt()
}

fn state(paint: Paint, volume: &VolumeStatus, replica: &ReplicaStatus) -> comfy_table::Cell {
    let mood = match replica.state {
        ReplicaShown::InSync => Mood::Good,
        ReplicaShown::Resyncing | ReplicaShown::Behind | ReplicaShown::New => Mood::Worry,
        ReplicaShown::Offline => Mood::Bad,
    };
    let role = match (&volume.primary, volume.serving) {
        (Some(primary), true) if *primary == replica.node => ", primary",
        (Some(primary), false) if *primary == replica.node => ", primary, getting ready",
        _ => "",
    };
    paint.cell(mood, &format!("{}{role}", replica.state.name()))
}

fn progress(replica: &ReplicaStatus) -> String {
    let (ReplicaShown::Resyncing, Some(percent)) = (replica.state, replica.percent) else {
        return String::new();
    };
    let mut text = format!("{percent:.1} %");
    if let Some(rate) = replica.bytes_per_second {
        let _ = write!(text, ", {}/s", style::bytes(rate));
    }
    if let Some(seconds) = replica.seconds_left {
        let _ = write!(text, ", {seconds} s left");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::Health;

    fn sample() -> Status {
        let replica = |node: &str, state| ReplicaStatus {
            node: node.into(),
            state,
            recorded: state,
            percent: Some(41.2),
            seconds_left: Some(12),
            bytes_per_second: Some(30 << 20),
            bytes_left: Some(1),
            store_failed: false,
        };
        let node = |name: &str, alive, heard| NodeStatus {
            name: name.into(),
            role: "storage".into(),
            address: "127.1.2.3".into(),
            voter: true,
            alive,
            heard,
            incarnation: alive.then_some(3),
        };
        Status {
            cluster: "sandbox".into(),
            node: "n1".into(),
            version: "0".into(),
            health: Health::Degraded,
            view: 4,
            members: vec!["n1".into(), "n2".into()],
            quorum: true,
            lease_ms_left: 180,
            leader: Some("n1".into()),
            log_term: 1,
            log_committed: 1,
            log_last: 1,
            nodes: vec![
                node("n1", true, true),
                node("n2", true, false),
                node("w1", false, false),
            ],
            volumes: vec![VolumeStatus {
                name: "data".into(),
                id: String::new(),
                size: 1 << 30,
                shared: false,
                primary: Some("n1".into()),
                serving: true,
                term: 2,
                replicas: vec![
                    replica("n1", ReplicaShown::InSync),
                    replica("n2", ReplicaShown::Resyncing),
                ],
                failures_survivable: 0,
                redundancy: "no failure can be survived: n2 is behind, 41 %, 12 s left".into(),
                waiting: None,
                gateways: Vec::new(),
                losses: 0,
            }],
        }
    }

    #[test]
    fn for_people() {
        let expected = "\
sandbox, seen by n1: degraded
view 4: n1, n2; quorum; lease for 180 ms; n1 leads

NODE  ROLE     ADDRESS    STATE               INCARNATION
n1    storage  127.1.2.3  up                  3
n2    storage  127.1.2.3  up, not heard here  3
w1    storage  127.1.2.3  down                -

VOLUME  SIZE   TERM  REPLICA  STATE             PROGRESS
data    1 GiB  2     n1       in-sync, primary
                     n2       resyncing         41.2 %, 30 MiB/s, 12 s left

data: no failure can be survived: n2 is behind, 41 %, 12 s left
";
        assert_eq!(show(Paint::plain(), &sample()), expected);
    }
}
