//! What is recorded for those who want nothing recorded, and those who end something meanwhile.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use serde_json::json;
use tenure::clock::{pause, stopwatch};

use super::{Seen, Siege, by_many, flood, with};
use crate::client::{ATTACKER, FRIEND, Server, request};

/// One agent's token recorded 14,000 uses a second: a full disk, on which nothing could be ended any more.
#[test]
fn one_session_records_usage_without_end() {
    let siege = Siege::of("usage of one session", &[]);
    let (own, token) = siege.server.session("attacker");
    let body = json!({ "operation": "read" }).to_string();
    let usage = request("POST", &format!("/v1/sessions/{own}/usage"), &with(&token), &body, body.len());
    let (begun, first) = (stopwatch(), siege.server.metric("tenure_position"));
    siege.hold(&|server, stop| flood(server, stop, &usage));
    let recorded = siege.server.metric("tenure_position") - first;
    // Those of the writer beside it are some fifty a second.
    let most = 200 + begun.elapsed().as_secs() * 80;
    assert!(recorded <= most, "{recorded} events in {:?}", begun.elapsed());
}

#[test]
fn one_key_checks_without_end() {
    let siege = Siege::of("checks by one key", &[]);
    let body = json!({ "token": siege.token }).to_string();
    let check = request("POST", "/v1/introspect", &with(&siege.server.key("issuer")), &body, body.len());
    siege.hold(&|server, stop| flood(server, stop, &check));
}

#[test]
fn one_key_changes_a_profile_without_end() {
    let siege = Siege::of("changes by one key", &[]);
    let profile = json!({ "name": "x" }).to_string();
    let key = siege.server.key("issuer");
    let change = request("PUT", "/v1/subjects/attacker", &with(&key), &profile, profile.len());
    siege.hold(&|server, stop| flood(server, stop, &change));
}

/// The session's end, and how long it took.
fn ended(server: &Server, session: &str) -> Duration {
    let (mut client, begun) = (server.call(FRIEND), stopwatch());
    client.ask("DELETE", &format!("/v1/sessions/{session}"), &server.admin, None).expect(200);
    begun.elapsed()
}

/// A batch of 512 sessions for subjects with thousands of them took a third of a second, and who ended a session waited.
#[test]
fn ends_wait_behind_creates_for_crowded_subjects() {
    let settings = ["limits.per_subject=10000", "limits.on_limit=evict_oldest"];
    let siege = Siege::of_crowded("creates for a crowded subject", &settings);
    let key = siege.server.key("issuer");
    let body = json!({ "subjectId": "crowded" }).to_string();
    let create = request("POST", "/v1/sessions", &with(&key), &body, body.len());
    let sessions: Vec<_> = (0..20).map(|_| siege.server.session("victim").0).collect();
    let (created, times) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let ends = |server: &Server, _: &AtomicBool| {
        for session in &sessions {
            times.lock().unwrap().push(ended(server, session));
            pause(Duration::from_millis(20));
        }
    };
    siege.hold_beside(&ends, &|server, stop| {
        by_many(stop, 60, || {
            let Ok(mut client) = server.try_call(ATTACKER) else { return };
            while !stop.load(Ordering::Relaxed) && client.try_ask(&create).is_ok() {
                created.fetch_add(1, Ordering::Relaxed);
            }
        });
    });
    let mut times = times.into_inner().unwrap();
    times.sort_unstable();
    siege.is_bounded("an end", &Seen(times), siege.bound);
    assert!(created.into_inner() > 100);
}

/// One session's token used up the memory of idempotency keys, and a repeated request did its work twice.
#[test]
fn one_session_uses_up_the_memory_of_idempotency_keys() {
    let settings = ["idempotency.max=1000", "usage.per_second=100000", "usage.burst=100000"];
    let siege = Siege::of("idempotency keys of one session", &settings);
    let (own, token) = siege.server.session("attacker");
    let issuer = siege.server.key("issuer");
    let body = json!({ "operation": "read" }).to_string();
    let (target, number) = (format!("/v1/sessions/{own}/usage"), AtomicUsize::new(0));
    let create = || {
        let more = format!("{}idempotency-key: lost\r\n", with(&issuer));
        let mut client = siege.server.call(FRIEND);
        client.ask_saying("POST", "/v1/sessions", &more, Some(&json!({ "subjectId": "attacker" })))
    };
    let first = create().expect(201).json();
    siege.hold(&|server, stop| {
        let mut client = server.call(ATTACKER);
        // On a slow machine it takes longer than the siege until there are more keys than there is room for.
        while !stop.load(Ordering::Relaxed) || number.load(Ordering::Relaxed) <= 1_000 {
            let key = number.fetch_add(1, Ordering::Relaxed);
            let more = format!("{}idempotency-key: k{key}\r\n", with(&token));
            client.try_ask(&request("POST", &target, &more, &body, body.len())).unwrap();
        }
    });
    assert_eq!(create().expect(201).json()["sessionId"], first["sessionId"], "it is still the same request");
}
