//! `steadfast events`

use std::io::Write;
use std::process::ExitCode;

use clap::Args as ClapArgs;

use super::style::{Mood, Paint};
use super::target::TargetArgs;
use super::{FAILED, fail, runtime};
use crate::api::event::Event;

#[derive(Debug, ClapArgs)]
pub(super) struct Args {
    #[command(flatten)]
    target: TargetArgs,
    /// Go on as more happens, until Ctrl-C
    #[arg(long, short)]
    follow: bool,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
    /// Only events with a larger index
    #[arg(long, value_name = "INDEX", default_value_t = 0)]
    since: u64,
}

pub(super) fn run(args: &Args) -> ExitCode {
    let follow = async {
        let target = args.target.resolve()?;
        let (_, peer) = target.status().await?;
        let path = format!("/v1/events?since={}&follow={}", args.since, args.follow);
        let paint = Paint::stdout();
        let mut out = std::io::stdout().lock();
        peer.client
            .lines(&path, |line| {
                let line = if args.json {
                    line.to_owned()
                } else {
                    match serde_json::from_str::<Event>(line) {
                        Ok(event) => show(paint, &event),
                        Err(_) => line.to_owned(),
                    }
                };
                // A reader that has gone (as `head` does) ends it.
                writeln!(out, "{line}").and_then(|()| out.flush()).is_ok()
            })
            .await
            .map_err(|error| error.to_string())
    };
    let done = runtime()
        .map_err(|error| error.to_string())
        .and_then(|runtime| runtime.block_on(follow));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(FAILED, error),
    }
}

fn show(paint: Paint, event: &Event) -> String {
    let seconds = event.unix_ns / 1_000_000_000;
    let (hours, minutes) = (seconds / 3600 % 24, seconds / 60 % 60);
    let millis = event.unix_ns / 1_000_000 % 1000;
    let mood = match event.kind.as_str() {
        "excluded" | "suspected" | "shrunk" | "stopped" | "session-ended" | "demoted" => {
            Mood::Worry
        }
        "store-failed" => Mood::Bad,
        _ => Mood::Good,
    };
    format!(
        "{hours:02}:{minutes:02}:{:02}.{millis:03}Z {} {} {}",
        seconds % 60,
        event.node,
        paint.mood(mood, &format!("{:<14}", event.kind)),
        event.text
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_for_people() {
        let event = Event {
            index: 1,
            unix_ns: 3_661_234_000_000,
            boottime_ns: 0,
            node: "n1".into(),
            kind: "promoted".into(),
            text: "data: n2 is primary".into(),
            fields: serde_json::Map::new(),
        };
        assert_eq!(
            show(Paint::plain(), &event),
            "01:01:01.234Z n1 promoted       data: n2 is primary"
        );
    }
}
