//! `steadfast events`

use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args as ClapArgs;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use tokio::time::timeout;

use super::style::{Mood, Paint};
use super::target::{Peer, Target, TargetArgs};
use super::{FAILED, fail, output, runtime};
use crate::api::client::{ApiError, Client};
use crate::api::event::Event;
use crate::status::Status;

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

/// How long a follower waits for a node that answers again.
const RETURN_PATIENCE: Duration = Duration::from_secs(15);
/// Between two looks for one.
const RETURN_INTERVAL: Duration = Duration::from_millis(100);

/// Between two looks whether the node that tells is still there.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);
/// How long its answer may take.
const LOOK_PATIENCE: Duration = Duration::from_secs(1);

pub(super) fn run(args: &Args) -> ExitCode {
    let tell = async {
        let target = args.target.resolve()?;
        let mut teller = Teller::new(args);
        tokio::select! {
            told = teller.tell(&target) => told,
            () = reader_gone() => Ok(()),
        }
    };
    let done = runtime()
        .map_err(|error| error.to_string())
        .and_then(|runtime| runtime.block_on(tell));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(FAILED, error),
    }
}

/// Prints events, and knows what it has printed.
struct Teller {
    follow: bool,
    json: bool,
    paint: Paint,
    /// The newest event of the node that is listened to.
    index: u64,
    /// When the newest event that was printed happened.
    unix_ns: u64,
    /// On a node that is new: what happened until then has been told by the one before.
    told_until: u64,
    /// How the last line was taken: as long as this is `Ok(true)`, there is a reader.
    read: Result<bool, String>,
}

impl Teller {
    fn new(args: &Args) -> Self {
        Self {
            follow: args.follow,
            json: args.json,
            paint: Paint::stdout(),
            index: args.since,
            unix_ns: 0,
            told_until: 0,
            read: Ok(true),
        }
    }

    /// To the end, which does not come while it follows: when the node ends, it goes on with the
    /// next run of its daemon, or with another node where others are known.
    async fn tell(&mut self, target: &Target) -> Result<(), String> {
        let (status, mut peer) = target.status().await?;
        let mut node = status.node;
        loop {
            let path = format!("/v1/events?since={}&follow={}", self.index, self.follow);
            let others = self.follow && target.has_others();
            let told = tokio::select! {
                told = peer.client.lines(&path, |line| self.line(line)) => told,
                () = silent(&peer.client), if others => Ok(()),
            };
            if self.read != Ok(true) {
                return self.read.clone().map(drop);
            }
            match told {
                Err(error @ ApiError::Refused(_)) => return Err(error.to_string()),
                told if !self.follow => return told.map_err(|error| error.to_string()),
                // It has ended, or is about to.
                _ => tokio::time::sleep(RETURN_INTERVAL).await,
            }
            let (next, there) = another(target).await?;
            if next != node {
                // The numbers of one node say nothing on another.
                self.index = 0;
                self.told_until = self.unix_ns;
                complain!("{node} does not answer any more; going on with {next}");
                node = next;
            }
            peer = there;
        }
    }

    /// Whether somebody still reads.
    fn line(&mut self, line: &str) -> bool {
        let event = serde_json::from_str::<Event>(line);
        if let Ok(event) = &event {
            self.index = event.index;
            if event.unix_ns <= self.told_until {
                return true;
            }
            self.told_until = 0;
            self.unix_ns = event.unix_ns;
        }
        let text = match event {
            Ok(event) if !self.json => show(self.paint, &event),
            _ => line.to_owned(),
        };
        self.read = output::write(text + "\n");
        self.read == Ok(true)
    }
}

/// Returns when the node does not answer although its connection stands, as that of a daemon that
/// is stopped as a whole does.
async fn silent(client: &Client) {
    loop {
        tokio::time::sleep(LOOK_INTERVAL).await;
        let answer = client.get::<Status>("/v1/status");
        if !matches!(timeout(LOOK_PATIENCE, answer).await, Ok(Ok(_))) {
            return;
        }
    }
}

/// A node that answers, and its name.
async fn another(target: &Target) -> Result<(String, &Peer), String> {
    let start = Instant::now();
    loop {
        match target.status().await {
            Ok((status, peer)) => return Ok((status.node, peer)),
            Err(error) if start.elapsed() > RETURN_PATIENCE => return Err(error),
            Err(_) => tokio::time::sleep(RETURN_INTERVAL).await,
        }
    }
}

/// Returns when nobody reads the standard output any more: without anything to write, no write
/// would tell.
async fn reader_gone() {
    let (tell, gone) = tokio::sync::oneshot::channel();
    // A thread that the end of the process ends: nothing else would wake it.
    std::thread::spawn(move || {
        let out = std::io::stdout();
        let mut fds = [PollFd::new(&out, PollFlags::empty())];
        loop {
            match poll(&mut fds, None) {
                Err(Errno::INTR) => {}
                Ok(_) => return tell.send(()),
                // It cannot be told; a write will.
                Err(_) => return Ok(()),
            }
        }
    });
    if gone.await.is_err() {
        std::future::pending::<()>().await;
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
