//! The client of the control interface.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::{Method, Request, Response, header};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;

use super::handover::Refused;

/// How long an answer may take; the daemon answers from memory.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// Speaks to one node.
#[derive(Clone, Debug)]
pub struct Client {
    socket: PathBuf,
}

/// Why there is no answer.
#[derive(Debug)]
pub enum ApiError {
    /// Nobody answers there.
    Unreachable {
        /// The socket.
        socket: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// The node refuses.
    Refused(Refused),
    /// The answer makes no sense, as from another version.
    Garbled(String),
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable { socket, error } => {
                write!(
                    f,
                    "no daemon answers at {}: {error}; start it with `steadfast node run`, or \
                     name another with --api, --config or --dir",
                    socket.display()
                )
            }
            Self::Refused(refused) => f.write_str(&refused.error),
            Self::Garbled(what) => write!(
                f,
                "the daemon's answer makes no sense ({what}); is it of another version?"
            ),
        }
    }
}

impl std::error::Error for ApiError {}

impl Client {
    /// For the node that listens on `socket`.
    #[must_use]
    pub fn new(socket: &Path) -> Self {
        Self {
            socket: socket.to_owned(),
        }
    }

    /// `GET path`, a JSON answer.
    ///
    /// # Errors
    /// Nobody answers, or something else than was asked for.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ApiError> {
        self.json(Method::GET, path, String::new()).await
    }

    /// `POST path` with a JSON body, a JSON answer.
    ///
    /// # Errors
    /// Nobody answers, it is refused, or the answer is something else than was asked for.
    pub async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &serde_json::Value,
    ) -> Result<T, ApiError> {
        self.json(Method::POST, path, body.to_string()).await
    }

    /// `GET path`, and each line of the answer as it comes, until it ends or `each` returns false.
    ///
    /// # Errors
    /// Nobody answers, or it is refused.
    pub async fn lines(
        &self,
        path: &str,
        mut each: impl FnMut(&str) -> bool,
    ) -> Result<(), ApiError> {
        let response = self
            .timed(self.send(Method::GET, path, String::new()))
            .await?;
        let mut body = checked(response).await?;
        let mut pending = Vec::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| ApiError::Garbled(error.to_string()))?;
            let Ok(data) = frame.into_data() else {
                continue;
            };
            pending.extend_from_slice(&data);
            while let Some(end) = pending.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = pending.drain(..=end).collect();
                let line = String::from_utf8_lossy(&line[..end]);
                if !each(&line) {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    async fn json<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: String,
    ) -> Result<T, ApiError> {
        self.timed(async {
            let body = checked(self.send(method, path, body).await?).await?;
            let bytes = collect(body).await?;
            serde_json::from_slice(&bytes).map_err(|error| ApiError::Garbled(error.to_string()))
        })
        .await
    }

    async fn timed<T>(
        &self,
        answer: impl Future<Output = Result<T, ApiError>>,
    ) -> Result<T, ApiError> {
        match tokio::time::timeout(ANSWER_TIMEOUT, answer).await {
            Ok(answer) => answer,
            Err(_) => Err(self.unreachable(io::Error::new(
                io::ErrorKind::TimedOut,
                format!("no answer within {} s", ANSWER_TIMEOUT.as_secs()),
            ))),
        }
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        body: String,
    ) -> Result<Response<Incoming>, ApiError> {
        let stream = UnixStream::connect(&self.socket)
            .await
            .map_err(|error| self.unreachable(error))?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| ApiError::Garbled(error.to_string()))?;
        // Ends with the last use of the connection; what it would say, the request says too.
        tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, "localhost")
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| ApiError::Garbled(error.to_string()))?;
        sender
            .send_request(request)
            .await
            .map_err(|error| self.unreachable(io::Error::other(error)))
    }

    fn unreachable(&self, error: io::Error) -> ApiError {
        ApiError::Unreachable {
            socket: self.socket.clone(),
            error,
        }
    }
}

/// The body of a success; else the refusal that it carries.
async fn checked(response: Response<Incoming>) -> Result<Incoming, ApiError> {
    if response.status().is_success() {
        return Ok(response.into_body());
    }
    let status = response.status();
    let bytes = collect(response.into_body()).await?;
    match serde_json::from_slice::<Refused>(&bytes) {
        Ok(refused) => Err(ApiError::Refused(refused)),
        Err(_) => Err(ApiError::Garbled(format!("status {status}"))),
    }
}

async fn collect(body: Incoming) -> Result<Bytes, ApiError> {
    body.collect()
        .await
        .map(http_body_util::Collected::to_bytes)
        .map_err(|error| ApiError::Garbled(error.to_string()))
}
