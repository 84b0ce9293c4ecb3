//! Readers that come back to a history that is shorter than what they have read: the authority was put back from a
//! backup. Silence is the one answer that they cannot tell from "nothing happened".

use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::json;

use crate::server::{PATIENCE, Reply, Server};

#[track_caller]
fn is_beyond(reply: Reply, end: u64) {
    let reply = reply.refused(409, "POSITION_BEYOND_END");
    let body = reply.json();
    assert_eq!((&body["end"], &body["retryable"]), (&json!(end), &json!(false)), "{reply:?}");
    assert!(body["detail"].as_str().unwrap().contains(&end.to_string()), "{reply:?}");
    assert!(reply.header("x-tenure-time").is_some(), "{reply:?}");
}

/// A stream was opened with 200, and nothing of the next 35 events came; pages were empty lists.
#[test]
fn who_goes_on_beyond_the_end_is_told_where_it_is() {
    let server = Server::start();
    server.register("a", &json!({}));
    let head = server.get("/v1/audit/head").bearer(&server.admin).send().expect(200).json();
    let end = head["size"].as_u64().unwrap();
    let get = |target: &str| server.get(target).bearer(&server.admin);
    let cursor = |list: &str, place: u64| URL_SAFE_NO_PAD.encode(format!("{list}:{place}"));
    for list in ["/v1/events", "/v1/notices"] {
        for beyond in [end + 1, 4_000_000, u64::MAX] {
            is_beyond(get(&format!("{list}?after={beyond}")).send(), end);
            let name = list.rsplit('/').next().unwrap();
            is_beyond(get(&format!("{list}?cursor={}", cursor(name, beyond))).send(), end);
            let stream = get(&format!("{list}?after={beyond}")).header("accept", "text/event-stream");
            is_beyond(stream.send(), end);
            let stream = get(list).header("accept", "text/event-stream");
            is_beyond(stream.header("last-event-id", beyond.to_string()).send(), end);
        }
        get(&format!("{list}?after={end}")).send().expect(200);
        get(&format!("{list}?after={end}")).listen().heartbeat();
    }
    is_beyond(get(&format!("/v1/notices?after={}.0", end + 1)).send(), end);
    is_beyond(get(&format!("/v1/sessions?cursor={}", cursor("sessions", end + 1))).send(), end);
    is_beyond(get(&format!("/v1/revocations/feed?after={}", end + 1)).send(), end);
    get(&format!("/v1/revocations/feed?after={end}")).send().expect(200);
    // A fault of form comes first, and a position that is waited for is waited for.
    let reply = get(&format!("/v1/events?after={}&limit=0", end + 1)).send().refused(400, "INVALID_REQUEST");
    assert_eq!(reply.fields(), ["limit"]);
    let awaited = get(&format!("/v1/events?after={}&minPosition={}", end + 1, end + 1));
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| awaited.send().expect(200));
        server.register("b", &json!({}));
        assert_eq!(waiting.join().unwrap().json()["items"], json!([]));
    });
}

/// The 409 was in the pages and in no operation of the document: generated clients did not know it.
#[test]
fn every_route_that_may_say_so_is_described_with_it() {
    let server = Server::start();
    let document = server.get("/openapi.json").send().expect(200).json();
    let is_described = |method: &str, path: &str| {
        let said = &document["paths"][path][method]["responses"]["409"]["description"];
        said.as_str().is_some_and(|codes| codes.contains("POSITION_BEYOND_END"))
    };
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            let parameters = operation["parameters"].as_array().into_iter().flatten();
            let resumes =
                parameters.map(|one| &one["name"]).any(|name| name == "after" || name == "Last-Event-ID");
            assert!(!resumes || is_described(method, path), "{method} {path}");
        }
    }
    assert!(
        is_described("get", "/v1/sessions") && is_described("post", "/v1/webhooks/{webhookId}/redeliver")
    );
    assert!(is_described("get", "/v1/webhooks/{webhookId}/deliveries"));
    assert_eq!(document["components"]["schemas"]["Problem"]["properties"]["end"]["type"], "integer");
}

#[test]
fn the_commands_that_follow_say_so_and_end() {
    let server = Server::start();
    let url = format!("http://{}", server.address());
    for arguments in [
        &["watch", "--after", "4000"][..],
        &["events", "--follow", "--after", "4000"],
        &["events", "--after", "4000"],
    ] {
        let mut child = Command::new(env!("CARGO_BIN_EXE_tenure"))
            .args(arguments)
            .args(["--url", &url])
            .env_clear()
            .env("TENURE_KEY", &server.admin)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let said: Vec<_> = stderr.lines().map_while(Result::ok).collect();
        let begun = tenure::clock::stopwatch();
        assert_eq!(child.wait().unwrap().code(), Some(5), "{arguments:?}: {said:?}");
        assert!(begun.elapsed() < PATIENCE && said.join(" ").contains("the history ends at"), "{said:?}");
    }
}
