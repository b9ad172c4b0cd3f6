//! Server and client together, over a real socket.

use std::path::Path;

use serde_json::json;

use super::client::{ApiError, Client};
use super::event::News;
use super::handle::{Command, ControlSeat, control};
use super::handover::{Handover, plan};
use super::server::{Alive, listen, serve};
use crate::forks::directory;
use crate::member::io::CoreStatus;
use crate::status::{Health, Status, build};
use crate::types::{Lease, Time};

fn status() -> Status {
    let config = config::Config::parse(Path::new("/e.toml"), config::EXAMPLE).unwrap();
    build(&config, &CoreStatus::default(), Lease::default(), Time(0))
}

/// Answers as the core's driver does.
async fn sit(mut seat: ControlSeat) {
    while let Some(command) = seat.commands.recv().await {
        match command {
            Command::Status { reply } => drop(reply.send(status())),
            Command::Handover { volume, to, reply } => {
                drop(reply.send(plan(&status(), &volume, to.as_deref())));
            }
        }
    }
}

fn run(test: impl AsyncFnOnce(Client, super::handle::EventLog)) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let dir = directory();
    let socket = dir.path().join("api.sock");
    // What an earlier run left behind.
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    runtime.block_on(async {
        let (handle, seat) = control();
        let events = seat.events.clone();
        let listener = listen(&socket).unwrap();
        let server = tokio::spawn(serve(listener, handle));
        let seat = tokio::spawn(sit(seat));
        test(Client::new(&socket), events).await;
        server.abort();
        seat.abort();
    });
}

#[test]
fn status_and_health() {
    run(async |client, _| {
        let alive: Alive = client.get("/v1/health").await.unwrap();
        assert_eq!(alive.pid, std::process::id());
        let told: Status = client.get("/v1/status").await.unwrap();
        assert_eq!(told.health, Health::Unavailable);
        let volumes: Vec<crate::status::VolumeStatus> = client.get("/v1/volumes").await.unwrap();
        let [data] = &volumes[..] else {
            panic!("{volumes:?}");
        };
        assert_eq!(data.name, "data");
        assert!(data.primary.is_none() && data.replicas.is_empty() && data.waiting.is_some());
    });
}

#[test]
fn events_are_followed() {
    run(async |client, log| {
        log.push("n1", Time(1), News::new("one", "first".into()));
        let mut seen = Vec::new();
        client
            .lines("/v1/events?follow=false", |line| {
                seen.push(line.to_owned());
                true
            })
            .await
            .unwrap();
        assert_eq!(seen.len(), 1);
        let first: super::event::Event = serde_json::from_str(&seen[0]).unwrap();
        assert_eq!((first.kind.as_str(), first.boottime_ns), ("one", 1));

        let later = log.clone();
        let pushed = tokio::spawn(async move {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            later.push("n1", Time(2), News::new("two", "second".into()));
        });
        let mut kinds = Vec::new();
        client
            .lines(&format!("/v1/events?since={}", first.index), |line| {
                let event: super::event::Event = serde_json::from_str(line).unwrap();
                kinds.push(event.kind);
                false
            })
            .await
            .unwrap();
        assert_eq!(kinds, ["two"]);
        pushed.await.unwrap();
    });
}

#[test]
fn what_is_wrong_is_refused_with_a_sentence() {
    run(async |client, _| {
        async fn error(client: &Client, path: &str, body: serde_json::Value) -> String {
            match client.post::<Handover>(path, &body).await {
                Err(ApiError::Refused(refused)) => refused.error,
                other => panic!("{other:?}"),
            }
        }
        let promote = "/v1/volumes/data/promote";
        for (path, body, says) in [
            (
                "/v1/volumes/other/demote",
                json!({}),
                "there is no volume \"other\"",
            ),
            (promote, json!({"node": "n2"}), "has no primary"),
            (promote, json!({"nod": "n2"}), "send {\"node\": NAME}"),
            (promote, json!([]), "send {\"node\": NAME}"),
            ("/v1/nothing", json!({}), "GET /v1/health"),
            ("/v1/status", json!({}), "GET /v1/health"),
        ] {
            let told = error(&client, path, body).await;
            assert!(told.contains(says), "{path}: {told}");
        }
        match client.get::<Status>("/v1/events?since=x").await {
            Err(ApiError::Refused(refused)) => assert!(refused.error.contains("since")),
            other => panic!("{other:?}"),
        }
    });
}

#[test]
fn nobody_there_is_said_with_what_to_do() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let client = Client::new(Path::new("/nonexistent/api.sock"));
    let error = runtime
        .block_on(client.get::<Status>("/v1/status"))
        .unwrap_err()
        .to_string();
    assert!(error.contains("/nonexistent/api.sock") && error.contains("steadfast node run"));
}

#[test]
fn only_a_dead_socket_is_replaced() {
    let temp = directory();
    let path = temp.path().join("api.sock");
    let alive = listen(&path).unwrap();
    let error = listen(&path).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse);
    drop(alive);
    assert!(path.exists() && listen(&path).is_ok());
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, "thesis").unwrap();
    let error = listen(&path).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::AlreadyExists);
    assert_eq!(std::fs::read(&path).unwrap(), b"thesis");
}
