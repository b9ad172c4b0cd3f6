//! The control interface while the daemon runs, and the handover when it is asked to stop.

use std::os::unix::net::UnixListener;
use std::sync::mpsc;
use std::time::Duration;

use config::Config;
use tokio::signal::unix::{SignalKind, signal};

use super::core_thread::CoreInput;
use super::stopped::Stopped;
use super::wake::Post;
use crate::api::handle::{ControlHandle, ControlSeat};
use crate::api::server;
use crate::uring::{Handle, Input};

/// How long a stop waits for the volumes to be handed over to other nodes.
const HANDOVER_PATIENCE: Duration = Duration::from_secs(5);
/// And then for what clients have asked to be answered.
const DRAIN_PATIENCE: Duration = Duration::from_secs(2);

/// Serves the control interface until a signal asks the daemon to stop, or the core has ended.
pub(super) fn serve(
    config: &Config,
    listener: UnixListener,
    control: &ControlHandle,
    seat: ControlSeat,
    post: &Post<CoreInput>,
    reactor: &Handle,
    core_ended: tokio::sync::oneshot::Receiver<()>,
) -> Result<(), Stopped> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .map_err(|error| Stopped::crash("tokio", error))?;
    let post = post.clone();
    runtime.block_on(async {
        let mut terminate =
            signal(SignalKind::terminate()).map_err(|error| Stopped::crash("signals", error))?;
        let mut interrupt =
            signal(SignalKind::interrupt()).map_err(|error| Stopped::crash("signals", error))?;
        let mut commands = seat.commands;
        tokio::spawn(async move {
            while let Some(command) = commands.recv().await {
                if !post.send(CoreInput::Command(command)) {
                    return;
                }
            }
        });
        let server = tokio::spawn(server::serve(listener, control.clone()));
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            _ = core_ended => return Ok(()),
            ended = server => {
                return Err(Stopped::crash("control interface", format_args!("{ended:?}")));
            }
        }
        // It may take too long, or be impossible; the others then take the volumes over.
        let handed_over = hand_over(config, control);
        if tokio::time::timeout(HANDOVER_PATIENCE, handed_over)
            .await
            .is_err()
        {
            tracing::warn!("stopping although this node is still primary");
        }
        drain(reactor).await;
        Ok(())
    })
}

/// Sees this node's NBD clients off: what they have asked is answered, by the next primary perhaps, and
/// they are disconnected without having to guess. What waits for longer may be sent again by whoever
/// connects again.
async fn drain(reactor: &Handle) {
    let until = tokio::time::Instant::now() + DRAIN_PATIENCE;
    reactor.send(Input::Drain);
    let (ask, answers) = mpsc::channel();
    while tokio::time::Instant::now() < until {
        reactor.send(Input::Query(ask.clone()));
        tokio::time::sleep(Duration::from_millis(5)).await;
        if answers.try_iter().any(|figures| figures.clients == 0) {
            return;
        }
    }
    tracing::warn!("stopping although NBD clients wait for answers");
}

/// Gives the volumes that this node serves to other in-sync nodes, as far as there are any.
async fn hand_over(config: &Config, control: &ControlHandle) {
    for volume in &config.volumes {
        // Refused where this node is not primary, or nobody else could be.
        if !matches!(control.handover(volume.name.clone(), None).await, Ok(Ok(plan)) if plan.begun)
        {
            continue;
        }
        loop {
            let Ok(status) = control.status().await else {
                return;
            };
            let mine = status.volumes.iter().any(|known| {
                known.name == volume.name && known.primary.as_ref() == Some(&status.node)
            });
            if !mine {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}
