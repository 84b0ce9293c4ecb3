//! Connections, and what is asked on them by those who have no credential or hardly any right.

use super::{Siege, crowd, flood, once, with};
use crate::client::request;

/// A thousand connections that said nothing used up the descriptors, of which the log needed one for each commit: it
/// stopped, and stayed stopped when they had gone.
#[test]
fn silent_connections_outnumber_the_descriptors() {
    let siege = Siege::of("silent connections", &[]);
    siege.hold(&|server, stop| crowd(server, stop, |_| Ok(())));
    assert!(
        siege.server.metric("tenure_refused_by_share_total{share=\"shares.connections_per_address\"}") > 0
    );
}

#[test]
fn heads_drip() {
    let siege = Siege::of("heads that drip", &[]);
    siege.hold(&|server, stop| crowd(server, stop, |client| client.send(b"GET / HT")));
}

#[test]
fn bodies_never_come() {
    let siege = Siege::of("bodies that never come", &[]);
    let slow = request("POST", "/v1/sessions", &with(&siege.server.key("issuer")), "{", 50);
    siege.hold(&|server, stop| crowd(server, stop, |client| client.send(&slow)));
}

/// Whoever opened all places, with streams of one key or with nothing, had the service to himself.
#[test]
fn one_key_opens_streams_without_end() {
    let siege = Siege::of("streams of one key", &[]);
    let listening = format!("{}accept: text/event-stream\r\n", with(&siege.server.key("auditor")));
    let stream = request("GET", "/v1/events?after=latest", &listening, "", 0);
    siege.hold(&|server, stop| crowd(server, stop, |client| client.send(&stream)));
    let refused = "tenure_refused_by_share_total{share=\"shares.streams_per_credential\"}";
    assert!(siege.server.metric(refused) > 0);
}

/// Each name of a query was compared with all before it, and told as unknown: 64 KiB took a quarter of a second, on a
/// thread that answers checks, and the answer was 28 times as long.
#[test]
fn queries_have_thousands_of_names() {
    let siege = Siege::of("queries of thousands of names", &[]);
    let names: Vec<_> = (0..16_000).map(|number| format!("{number:x}")).collect();
    let query = &names.join("&")[..60_000];
    let long = request("GET", &format!("/healthz?{query}"), "", "", 0);
    siege.hold(&|server, stop| flood(server, stop, &long));
    let answer = once(&siege.server, &long).unwrap().expect(400);
    assert!(answer.body.len() < 4_096, "{} bytes to {}", answer.body.len(), long.len());
    let fault = answer.json()["errors"][0].clone();
    assert_eq!(fault["field"], "query", "it was read: {answer:?}");
}

#[test]
fn credentials_are_guessed() {
    let siege = Siege::of("wrong credentials", &["security.wrong_credentials_per_minute=0"]);
    let wrong = request("GET", "/v1/sessions", &with("tnr_key_made-up"), "", 0);
    siege.hold(&|server, stop| flood(server, stop, &wrong));
}
