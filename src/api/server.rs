//! The server of the control interface.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use axum::Json;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{Path as UrlPath, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use futures_util::Stream;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::event::Event;
use super::handle::{ControlHandle, EventLog, Gone};
use super::handover::{Handover, Refused};
use crate::status::Status;

/// Answer of `GET /v1/health`: the daemon runs and answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alive {
    /// Process id of the daemon.
    pub pid: u32,
    /// Its version.
    pub version: String,
}

/// Begins to listen. A socket that an earlier run left behind is replaced, nothing else is.
///
/// # Errors
/// Somebody listens there (`AddrInUse`), it is something else (`AlreadyExists`), or as the system
/// says.
pub fn listen(socket: &Path) -> io::Result<UnixListener> {
    let error = |kind, what| Err(io::Error::new(kind, what));
    match socket.symlink_metadata() {
        Err(missing) if missing.kind() == io::ErrorKind::NotFound => {}
        Err(other) => return Err(other),
        Ok(there) if !there.file_type().is_socket() => {
            return error(
                io::ErrorKind::AlreadyExists,
                "there is something that is no socket, and it was left alone",
            );
        }
        Ok(_) => {
            let dead = UnixStream::connect(socket)
                .is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused);
            if !dead {
                return error(io::ErrorKind::AddrInUse, "somebody listens there");
            }
            std::fs::remove_file(socket)?;
        }
    }
    let listener = UnixListener::bind(socket)?;
    listener.set_nonblocking(true)?;
    // Whoever may write to it controls the node.
    std::fs::set_permissions(socket, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Serves until the task is dropped.
///
/// # Errors
/// As the system says.
pub async fn serve(listener: UnixListener, handle: ControlHandle) -> io::Result<()> {
    let listener = tokio::net::UnixListener::from_std(listener)?;
    axum::serve(listener, router(handle)).await
}

fn router(handle: ControlHandle) -> Router {
    Router::new()
        .route("/v1/health", get(health))
        .route("/v1/status", get(status))
        .route("/v1/volumes", get(volumes))
        .route("/v1/volumes/{name}/promote", post(promote))
        .route("/v1/volumes/{name}/demote", post(demote))
        .route("/v1/events", get(events))
        .fallback(unknown)
        .method_not_allowed_fallback(unknown)
        .with_state(handle)
}

/// An answer that is an error, with the sentence for the person.
struct Failure(StatusCode, Refused);

impl Failure {
    fn new(code: StatusCode, error: impl Into<String>) -> Self {
        Self(
            code,
            Refused {
                error: error.into(),
                ask: None,
            },
        )
    }
}

impl From<Gone> for Failure {
    fn from(_: Gone) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "the daemon is stopping")
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        (self.0, Json(self.1)).into_response()
    }
}

async fn unknown() -> Failure {
    Failure::new(
        StatusCode::NOT_FOUND,
        "there is no such thing; there is: GET /v1/health, /v1/status, /v1/volumes, \
         /v1/events?since=N&follow=true, POST /v1/volumes/NAME/promote, /v1/volumes/NAME/demote",
    )
}

async fn health() -> Json<Alive> {
    Json(Alive {
        pid: std::process::id(),
        version: env!("CARGO_PKG_VERSION").into(),
    })
}

async fn status(State(handle): State<ControlHandle>) -> Result<Json<Status>, Failure> {
    Ok(Json(handle.status().await?))
}

async fn volumes(State(handle): State<ControlHandle>) -> Result<Response, Failure> {
    Ok(Json(handle.status().await?.volumes).into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Promote {
    node: String,
}

async fn promote(
    State(handle): State<ControlHandle>,
    UrlPath(volume): UrlPath<String>,
    body: Result<Json<Promote>, JsonRejection>,
) -> Result<Json<Handover>, Failure> {
    let Json(body) = body.map_err(|error| {
        let error = format!("{}; send {{\"node\": NAME}}", error.body_text());
        Failure::new(StatusCode::BAD_REQUEST, error)
    })?;
    handover(&handle, volume, Some(body.node)).await
}

async fn demote(
    State(handle): State<ControlHandle>,
    UrlPath(volume): UrlPath<String>,
) -> Result<Json<Handover>, Failure> {
    handover(&handle, volume, None).await
}

async fn handover(
    handle: &ControlHandle,
    volume: String,
    to: Option<String>,
) -> Result<Json<Handover>, Failure> {
    handle
        .handover(volume, to)
        .await?
        .map(Json)
        .map_err(|refused| Failure(StatusCode::CONFLICT, refused))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Since {
    #[serde(default)]
    since: u64,
    #[serde(default = "yes")]
    follow: bool,
}

const fn yes() -> bool {
    true
}

async fn events(
    State(handle): State<ControlHandle>,
    query: Result<Query<Since>, QueryRejection>,
) -> Result<Response, Failure> {
    let Query(query) =
        query.map_err(|error| Failure::new(StatusCode::BAD_REQUEST, error.body_text()))?;
    let follower = Follower {
        newest: handle.events().watch(),
        log: handle.events().clone(),
        after: query.since,
        follow: query.follow,
        ready: VecDeque::new(),
    };
    let body = Body::from_stream(lines(follower));
    Ok(([(header::CONTENT_TYPE, "application/x-ndjson")], body).into_response())
}

/// A reader of the event log.
struct Follower {
    log: EventLog,
    newest: watch::Receiver<u64>,
    after: u64,
    follow: bool,
    ready: VecDeque<Event>,
}

impl Follower {
    /// The next event; none at the end, which does not come while it follows.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                self.after = event.index;
                return Some(event);
            }
            // Marked as seen before it is read, so that no event falls between.
            self.newest.mark_unchanged();
            let batch = self.log.since(self.after);
            if batch.missed {
                tracing::warn!("a follower of the events was too slow and misses some");
            }
            self.ready = batch.events.into();
            if !self.ready.is_empty() {
                continue;
            }
            if !self.follow || self.newest.changed().await.is_err() {
                return None;
            }
        }
    }
}

/// Each event as a line of JSON.
fn lines(follower: Follower) -> impl Stream<Item = Result<Bytes, Infallible>> + Send {
    futures_util::stream::unfold(follower, |mut follower| async move {
        let event = follower.next().await?;
        let mut line = serde_json::to_vec(&event).unwrap_or_default();
        line.push(b'\n');
        Some((Ok(Bytes::from(line)), follower))
    })
}
