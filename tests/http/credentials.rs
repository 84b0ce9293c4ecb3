//! API keys that end, and when each was last used (section 1). What happens in order is told by the stories.

use std::time::Duration;

use serde_json::{Value, json};
use tenure::clock::stopwatch;

use crate::server::Server;

fn listed(server: &Server, id: &str) -> Value {
    let page = server.get("/v1/credentials?limit=200").bearer(&server.admin).send().expect(200).json();
    page["items"].as_array().unwrap().iter().find(|item| item["credentialId"] == id).unwrap().clone()
}

#[test]
fn a_stream_ends_soon_after_the_end_of_its_key() {
    let server = Server::start();
    let body = json!({ "role": "auditor", "expiresIn": 60 });
    let key = server.post("/v1/credentials").bearer(&server.admin).json(&body).send().expect(201).text("key");
    let mut streams = ["/v1/events?after=latest", "/v1/notices?after=latest"]
        .map(|path| server.get(path).bearer(&key).listen());
    server.advance(59);
    server.get("/v1/credentials/self").bearer(&key).send().expect(200);
    server.advance(1);
    let begun = stopwatch();
    for stream in &mut streams {
        while stream.next().is_some() {}
    }
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    server.get("/v1/credentials/self").bearer(&key).send().refused(401, "INVALID_TOKEN");
}

/// Nobody could say which keys were still in use, so none was ever taken away.
#[test]
fn the_hour_of_the_last_use_outlives_a_stop_and_a_crash() {
    let mut server = Server::start();
    let (key, id) = server.issue_key("verifier", None);
    let use_it = |server: &Server| server.get("/v1/credentials/self").bearer(&key).send().expect(200).json();
    assert_eq!(listed(&server, &id)["lastUsedAt"], Value::Null);
    let first = use_it(&server);
    assert_eq!(first["lastUsedAt"], first["createdAt"], "no use was before the key");
    // A full hour, so that the hours are known.
    server
        .put("/v1/clock")
        .bearer(&server.admin)
        .json(&json!({ "to": "2099-01-01T10:00:00.000Z" }))
        .send()
        .expect(200);
    server.advance(3_599);
    assert_eq!(use_it(&server)["lastUsedAt"], json!("2099-01-01T10:00:00.000Z"));
    // What is recorded last says how late it is after a start.
    server.register("a", &json!({}));
    server.restart();
    assert_eq!(listed(&server, &id)["lastUsedAt"], json!("2099-01-01T10:00:00.000Z"));
    // A call that its role does not admit is a use as well.
    server.advance(1);
    server.get("/v1/events").bearer(&key).send().refused(403, "FORBIDDEN");
    assert_eq!(listed(&server, &id)["lastUsedAt"], json!("2099-01-01T11:00:00.000Z"));
    // With a clock that stands still, what is due is done when it is moved.
    server.advance(1);
    server.kill9();
    assert_eq!(listed(&server, &id)["lastUsedAt"], json!("2099-01-01T11:00:00.000Z"));
    let issued = server.events("CredentialIssued");
    assert_eq!(server.events("CredentialRevoked").len() + issued.len(), 2, "a use is no event");
    // The last event says that the key has no end; one that has says after how long.
    assert_eq!(issued[1]["data"]["expiresIn"], Value::Null);
}

#[test]
fn a_key_is_written_down_within_seconds_where_time_goes_on() {
    let mut server = Server::on_real_time();
    let (key, id) = server.issue_key("verifier", None);
    server.get("/v1/credentials/self").bearer(&key).send().expect(200);
    let file = server.data().join("credentials.used");
    let begun = stopwatch();
    while !std::fs::read_to_string(&file).is_ok_and(|text| text.contains(&id)) {
        assert!(begun.elapsed() < Duration::from_secs(10));
        tenure::clock::pause(Duration::from_millis(50));
    }
    std::fs::write(&file, b"\xff\xfenot ours").unwrap();
    server.kill9();
    assert_eq!(listed(&server, &id)["lastUsedAt"], Value::Null, "a damaged file is begun again");
}

#[test]
fn a_repeated_issue_tells_the_end_and_no_key() {
    let server = Server::start();
    let issue = || {
        let body = json!({ "role": "issuer", "name": "build", "expiresIn": 600 });
        server.post("/v1/credentials").bearer(&server.admin).key("build-1").json(&body).send().expect(201)
    };
    let first = issue().json();
    let key = first["key"].as_str().unwrap().to_owned();
    server.get("/v1/credentials/self").bearer(&key).send().expect(200);
    server.advance(5);
    let mut expected = first.clone();
    expected["key"] = Value::Null;
    assert_eq!(issue().json(), expected);
    assert_eq!(server.events("CredentialIssued")[1]["data"]["expiresIn"], json!(600));
}
