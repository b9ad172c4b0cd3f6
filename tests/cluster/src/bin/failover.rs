//! `failover`: how long clients wait when the primary dies, measured over many deaths.
//!
//! A client of the standby's gateway writes 4 KiB at queue depth 1 through every one of them and
//! afterwards every acknowledged write is read back.

use std::time::Duration;

use clap::{Parser, ValueEnum};
use cluster_tests::latency::{Lateness, boot_nanos, quantile};
use cluster_tests::sandbox::{Sandbox, signal};
use cluster_tests::writer::Writer;
use cluster_tests::{events, image, wait_for};
use rustix::process::Signal;

/// How the primary dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum How {
    /// kill -9 of the daemon: its parent sees it at once.
    Kill,
    /// SIGSTOP of the daemon, SIGCONT a second later: only the detector sees it.
    Stop,
}

/// Measures client-visible pause and decision time at failover.
#[derive(Parser)]
struct Options {
    /// Deaths for each profile and kind.
    #[arg(long, default_value_t = 50)]
    kills: usize,
    /// Timing profiles to measure.
    #[arg(long, value_delimiter = ',', default_value = "fast,lan,wan")]
    profile: Vec<String>,
    /// Kinds of death to measure.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "kill,stop")]
    how: Vec<How>,
}

/// What one death cost.
struct Death {
    pause: Duration,
    decision: Option<Duration>,
}

fn one(sandbox: &Sandbox, how: How) -> Death {
    let (primary, standby) = sandbox.pair();
    let volume = sandbox.volume();
    let writer = Writer::start(standby.nbd_address(), &volume, 0, 2048);
    wait_for("the first writes", Duration::from_secs(30), || {
        (writer.count() > 200).then_some(())
    });
    let died = boot_nanos();
    match how {
        How::Kill => signal(&primary, Signal::KILL),
        How::Stop => signal(&primary, Signal::STOP),
    }
    let before = writer.count();
    wait_for("writes to go on", Duration::from_secs(60), || {
        assert!(
            !writer.has_ended(),
            "the client of the standby was disconnected"
        );
        (writer.count() > before + 200).then_some(())
    });
    let resumed = boot_nanos();
    if how == How::Stop {
        std::thread::sleep(Duration::from_secs(1));
        signal(&primary, Signal::CONT);
    }
    let decision = events::of(&standby)
        .into_iter()
        .find(|event| event.kind == "promoted" && event.boottime_ns >= died)
        .map(|event| Duration::from_nanos(event.boottime_ns - died));
    sandbox.wait_healthy(Duration::from_secs(120));
    let written = writer.stop();
    assert!(
        written.error.is_none(),
        "the client saw an error: {:?}",
        written.error
    );
    written.verify(standby.nbd_address(), &volume);
    Death {
        pause: written
            .pause(died, resumed)
            .expect("writes around the death"),
        decision,
    }
}

fn milliseconds(span: Duration) -> String {
    format!("{:.1} ms", span.as_secs_f64() * 1e3)
}

fn main() {
    let options = Options::parse();
    println!(
        "| profile | death | n | pause median | pause worst | decision median | decision worst | timer lateness p99 / max |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    for profile in &options.profile {
        for &how in &options.how {
            let dir = image::scratch().join(format!("failover-{profile}-{how:?}").to_lowercase());
            drop(std::fs::remove_dir_all(&dir));
            let mut sandbox = Sandbox::start(&dir, &["--size", "256MiB", "--profile", profile]);
            let lateness = Lateness::start();
            let deaths: Vec<_> = (1..=options.kills)
                .map(|number| {
                    let death = one(&sandbox, how);
                    let (pause, decision) = (milliseconds(death.pause), death.decision);
                    let decision = decision.map_or("not told".to_owned(), milliseconds);
                    eprintln!("{profile} {how:?} {number}: pause {pause}, decision {decision}");
                    death
                })
                .collect();
            let late = lateness.stop();
            let mut pauses: Vec<_> = deaths.iter().map(|death| death.pause).collect();
            pauses.sort();
            let mut decisions: Vec<_> = deaths.iter().filter_map(|death| death.decision).collect();
            decisions.sort();
            assert_eq!(
                decisions.len(),
                deaths.len(),
                "a promotion was not told as an event"
            );
            println!(
                "| {profile} | {} | {} | {} | {} | {} | {} | {} / {} |",
                match how {
                    How::Kill => "kill -9",
                    How::Stop => "SIGSTOP",
                },
                deaths.len(),
                milliseconds(quantile(&pauses, 0.5)),
                milliseconds(quantile(&pauses, 1.0)),
                milliseconds(quantile(&decisions, 0.5)),
                milliseconds(quantile(&decisions, 1.0)),
                milliseconds(quantile(&late, 0.99)),
                milliseconds(quantile(&late, 1.0)),
            );
            sandbox.stop();
            drop(std::fs::remove_dir_all(&dir));
        }
    }
}
