//! Requests in flight, and what they may record.

use std::{
    net::Ipv4Addr,
    sync::atomic::{AtomicU8, Ordering},
    time::Duration,
};

use serde_json::json;
use tenure::clock::{pause, stopwatch};

use crate::client::{ATTACKER, Client, FRIEND, Server, request};

/// Begins a request that waits for its body, and so is in flight.
///
/// From many addresses, none of which has many connections that have yet to show their credential.
fn slow(server: &Server, key: &str) -> Client {
    static NEXT: AtomicU8 = AtomicU8::new(0);
    let mut client = server.call(Ipv4Addr::new(127, 0, 1, NEXT.fetch_add(1, Ordering::Relaxed)));
    // Its body is asked for when it is in flight: one that comes meanwhile, of the metrics, would count beside it.
    let more = format!("authorization: Bearer {key}\r\nexpect: 100-continue\r\n");
    client.send(&request("POST", "/v1/sessions", &more, "", 50)).unwrap();
    client.is_asked_for_its_body();
    client.send(b"{").unwrap();
    client
}

/// One credential could have as many requests in flight as there were connections, and checks and revocations had no
/// place of their own among them.
#[test]
fn requests_in_flight_are_shared_and_checks_and_ends_come_first() {
    let server = Server::with(512, &["security.limit_loopback=true"]);
    let (session, token) = server.session("a");
    let keys: Vec<_> = (0..4).map(|_| server.key("issuer")).collect();
    let in_flight = "tenure_in_flight{class=\"change\"}";
    let mut all: Vec<_> = (0..128).map(|_| slow(&server, &keys[0])).collect();
    server.until(in_flight, |taken| taken == 128);
    slow(&server, &keys[0]).answer().unwrap().refused(429, "RATE_LIMITED");
    // Its checks are its own affair too.
    let check = json!({ "token": token });
    let mut own = server.call(ATTACKER);
    own.ask("POST", "/v1/introspect", &keys[0], Some(&check)).refused(429, "RATE_LIMITED");
    let mut friend = server.call(FRIEND);
    friend.ask("PUT", "/v1/subjects/b", &keys[1], Some(&json!({}))).expect(201);
    // Others have their share each, until only what is kept for checks and ends is left.
    for (key, count) in [(&keys[1], 64), (&keys[2], 12)] {
        all.extend((0..count).map(|_| slow(&server, key)));
    }
    server.until(in_flight, |taken| taken == 204);
    slow(&server, &keys[3]).answer().unwrap().refused(503, "OVERLOADED");
    friend.ask("GET", "/v1/sessions", &keys[3], None).refused(503, "OVERLOADED");
    for _ in 0..20 {
        friend.ask("POST", "/v1/introspect", &keys[3], Some(&check)).expect(200);
    }
    friend.ask("DELETE", &format!("/v1/sessions/{session}"), &keys[3], None).expect(200);
    assert_eq!(server.metric("tenure_taken{of=\"in_flight\"}"), 205);
}

#[test]
fn what_was_in_flight_is_free_again_when_its_caller_has_gone() {
    let server = Server::with(512, &["security.limit_loopback=true"]);
    let key = server.key("issuer");
    let all: Vec<_> = (0..140).map(|_| slow(&server, &key)).collect();
    server.until("tenure_in_flight{class=\"change\"}", |taken| taken == 128);
    drop(all);
    server.until("tenure_in_flight{class=\"change\"}", |taken| taken == 0);
    server.call(ATTACKER).ask("PUT", "/v1/subjects/b", &key, Some(&json!({}))).expect(201);
}

fn usage(client: &mut Client, session: &str, key: &str) -> crate::client::Answer {
    let body = json!({ "operation": "read" });
    client.ask("POST", &format!("/v1/sessions/{session}/usage"), key, Some(&body))
}

/// One agent's token recorded 14,000 uses a second, 40 GB an hour, until the disk was full and nobody could be revoked.
#[test]
fn a_session_records_usage_at_a_rate() {
    let server = Server::with(512, &["security.limit_loopback=true"]);
    let (session, token) = server.session("a");
    let (other, _) = server.session("b");
    let mut client = server.call(ATTACKER);
    let mut friend = server.call(FRIEND);
    let begun = stopwatch();
    // On its behalf it is the same session: the two share one rate.
    let codes: Vec<_> = (0..200)
        .flat_map(|_| {
            [usage(&mut client, &session, &token), usage(&mut friend, &session, &server.admin)]
                .map(|answer| answer.status)
        })
        .collect();
    let most = 101 + begun.elapsed().as_millis() / 50;
    let recorded = codes.iter().filter(|status| **status == 200).count();
    assert!(recorded >= 100 && recorded as u128 <= most, "{recorded} of at most {most}");
    assert!(codes.iter().all(|status| [200, 429].contains(status)), "{codes:?}");
    // Another session has a rate of its own.
    usage(&mut friend, &other, &server.admin).expect(200);
    let check = json!({ "token": token });
    friend.ask("POST", "/v1/introspect", &server.admin, Some(&check)).expect(200);
    pause(Duration::from_millis(200));
    usage(&mut client, &session, &token).expect(200);
    let refused = server.metric("tenure_refused_by_share_total{share=\"usage.per_second\"}");
    assert!(refused >= 2, "{refused}");
}

#[test]
fn loopback_has_no_shares_and_no_rate_by_default() {
    let server = Server::with(512, &["usage.per_second=1", "usage.burst=1"]);
    let (session, token) = server.session("a");
    let mut client = server.call(ATTACKER);
    for _ in 0..50 {
        usage(&mut client, &session, &token).expect(200);
    }
    let key = server.key("issuer");
    let all: Vec<_> = (0..150).map(|_| slow(&server, &key)).collect();
    server.until("tenure_in_flight{class=\"change\"}", |taken| taken == 150);
    drop(all);
}

/// While there is room for all, a busy importer is not slowed.
#[test]
fn appends_have_a_rate_only_while_more_than_half_is_taken() {
    let server = Server::with(512, &["security.limit_loopback=true", "shares.appends_per_second=1"]);
    let importer = server.key("issuer");
    let busy: Vec<_> = (0..16).map(|_| server.key("issuer")).collect();
    let mut client = server.call(FRIEND);
    let mut put =
        |number: u32| client.ask("PUT", &format!("/v1/subjects/s{number}"), &importer, Some(&json!({})));
    for number in 0..50 {
        put(number).expect(201);
    }
    let all: Vec<_> = (0..128).map(|n| slow(&server, &busy[n % 16])).collect();
    server.until("tenure_in_flight{class=\"change\"}", |taken| taken == 128);
    let begun = stopwatch();
    let meanwhile: Vec<_> = (50..60).map(&mut put).collect();
    let put_meanwhile = meanwhile.iter().filter(|answer| answer.status == 201).count();
    assert!(put_meanwhile as u64 <= 2 + begun.elapsed().as_secs(), "{meanwhile:?}");
    meanwhile.into_iter().find(|answer| answer.status != 201).unwrap().refused(429, "RATE_LIMITED");
    drop(all);
    server.until("tenure_in_flight{class=\"change\"}", |taken| taken == 0);
    put(60).expect(201);
}

/// A sign-in to the console records a session, and had no share: one key filled the log by way of it while the API
/// refused it everything.
#[test]
fn a_sign_in_counts_among_what_its_key_appends() {
    let server = Server::with(512, &["security.limit_loopback=true", "shares.appends_per_second=1"]);
    let key = server.key("auditor");
    let busy: Vec<_> = (0..16).map(|_| server.key("issuer")).collect();
    let _busy: Vec<_> = (0..128).map(|n| slow(&server, &busy[n % 16])).collect();
    server.until("tenure_in_flight{class=\"change\"}", |taken| taken == 128);

    let form = format!("key={key}");
    let more = "origin: http://localhost\r\nsec-fetch-site: same-origin\r\ncontent-type: application/x-www-form-urlencoded\r\n";
    let length = form.len();
    let request = format!(
        "POST /console/sign-in HTTP/1.1\r\nhost: localhost\r\n{more}content-length: {length}\r\n\r\n{form}"
    );
    let mut client = server.call(FRIEND);
    let begun = stopwatch();
    let answers: Vec<_> = (0..10).map(|_| client.try_ask(request.as_bytes()).unwrap()).collect();
    let signed_in = answers.iter().filter(|answer| answer.status == 303).count();
    assert!(signed_in as u64 <= 2 + begun.elapsed().as_secs(), "{answers:?}");
    let refused = answers.iter().find(|answer| answer.status != 303).unwrap();
    assert_eq!((refused.status, refused.head.contains("retry-after: ")), (429, true), "{refused:?}");
}
