//! Attackers beside a probe that checks one token every millisecond: what the probe notices, before, during and after.
//!
//! `cargo test --test attacks siege -- --nocapture` prints it. `TENURE_SIEGE_SECONDS` makes each attack longer than the
//! short form, and holds the probe to 50 ms, which a machine that builds at the same time cannot promise.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use serde_json::json;
use tenure::clock::{pause, stopwatch};

use crate::client::{ATTACKER, Client, FRIEND, Server, request};

/// What the short form holds the probe to.
const BOUND: Duration = Duration::from_millis(500);
const LONG_BOUND: Duration = Duration::from_millis(50);
/// So much memory the server has at most, whoever attacks.
const MOST_MEBIBYTES: u64 = 400;
/// How long after an attack all is as before.
const RECOVERY: Duration = Duration::from_secs(5);

#[expect(clippy::disallowed_methods, reason = "how long it takes is for whoever runs it to say")]
fn length() -> Option<u64> {
    std::env::var("TENURE_SIEGE_SECONDS").ok()?.parse().ok()
}

/// How long checks took.
struct Seen(Vec<Duration>);

impl Seen {
    fn at(&self, percent: usize) -> Duration {
        self.0[(self.0.len() - 1) * percent / 100]
    }

    fn told(&self) -> String {
        let millis = |time: Duration| time.as_secs_f64() * 1e3;
        format!("{:>8.2} {:>8.2} {:>6}", millis(self.at(50)), millis(self.at(99)), self.0.len())
    }
}

/// Checks one token each millisecond on a connection of its own, and once in a while on a new one, which must work too.
fn probe(server: &Server, token: &str, goes_on: impl Fn() -> bool) -> Seen {
    let body = json!({ "token": token }).to_string();
    let more = format!("authorization: Bearer {}\r\n", server.admin);
    let check = request("POST", "/v1/introspect", &more, &body, body.len());
    let mut client = server.call(FRIEND);
    let mut seen = Vec::new();
    while seen.is_empty() || goes_on() {
        if seen.len() % 100 == 99 {
            client = server.call(FRIEND);
        }
        let begun = stopwatch();
        let answer = client.try_ask(&check).unwrap().expect(200);
        assert_eq!(answer.json()["active"], true, "{answer:?}");
        seen.push(begun.elapsed());
        pause(Duration::from_millis(1));
    }
    seen.sort_unstable();
    Seen(seen)
}

fn probe_for(server: &Server, token: &str, length: Duration) -> Seen {
    let begun = stopwatch();
    probe(server, token, || begun.elapsed() < length)
}

/// What an attacker does until it is told to stop; connections that end are opened again.
type Attack<'a> = &'a (dyn Fn(&Server, &AtomicBool) + Sync);

#[expect(clippy::print_stdout, reason = "it is for whoever lets it run to see")]
fn under(name: &str, server: &Server, token: &str, attack: Attack<'_>, length: Duration, bound: Duration) {
    let stop = AtomicBool::new(false);
    let before = probe_for(server, token, length);
    let during = std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| attack(server, &stop));
        }
        let during = probe_for(server, token, length);
        // Writes go on as well.
        let put = server.call(FRIEND).ask("PUT", "/v1/subjects/meanwhile", &server.admin, Some(&json!({})));
        assert!([200, 201].contains(&put.status), "{name}: {put:?}");
        stop.store(true, Ordering::Relaxed);
        during
    });
    pause(if bound == BOUND { Duration::from_millis(500) } else { RECOVERY });
    let after = probe_for(server, token, length);
    let memory = server.resident_mebibytes();
    println!("{name:<28} {} | {} | {} | {memory:>4} MiB", before.told(), during.told(), after.told());
    assert!(during.at(99) <= bound, "{name}: the 99th percentile is {:?}", during.at(99));
    assert!(memory <= MOST_MEBIBYTES, "{name}: {memory} MiB");
}

/// Opens some thousand connections a second, does something with each and keeps the newest of them.
fn crowd(server: &Server, stop: &AtomicBool, begin: impl Fn(&mut Client) -> std::io::Result<()>) {
    let mut kept = std::collections::VecDeque::new();
    while !stop.load(Ordering::Relaxed) {
        if let Ok(mut client) = server.try_call(ATTACKER)
            && begin(&mut client).is_ok()
        {
            kept.push_back(client);
        }
        if kept.len() > 300 {
            kept.pop_front();
            pause(Duration::from_millis(1));
        }
    }
}

/// Asks the same on one connection as fast as it goes.
fn flood(server: &Server, stop: &AtomicBool, bytes: &[u8]) {
    while !stop.load(Ordering::Relaxed) {
        let Ok(mut client) = server.try_call(ATTACKER) else { continue };
        while !stop.load(Ordering::Relaxed) && client.try_ask(bytes).is_ok() {}
    }
}

#[test]
fn a_probe_does_not_notice_a_siege() {
    let settings = ["security.limit_loopback=true", "security.wrong_credentials_per_minute=0"];
    let server = Server::with(1_024, &settings);
    let (session, token) = server.session("victim");
    let (own, own_token) = server.session("attacker");
    let (issuer, auditor) = (server.key("issuer"), server.key("auditor"));
    assert_ne!(session, own);
    let (length, bound) = length()
        .map_or((Duration::from_secs(1), BOUND), |seconds| (Duration::from_secs(seconds), LONG_BOUND));
    let with = |key: &str| format!("authorization: Bearer {key}\r\n");
    let listening = format!("{}accept: text/event-stream\r\n", with(&auditor));
    let stream = request("GET", "/v1/events?after=latest", &listening, "", 0);
    let slow = request("POST", "/v1/sessions", &with(&issuer), "{", 50);
    let body = json!({ "operation": "read" }).to_string();
    let target = format!("/v1/sessions/{own}/usage");
    let usage = request("POST", &target, &with(&own_token), &body, body.len());
    let body = json!({ "token": own_token }).to_string();
    let check = request("POST", "/v1/introspect", &with(&issuer), &body, body.len());
    let wrong = request("GET", "/v1/sessions", &with("tnr_key_made-up"), "", 0);
    let profile = json!({ "name": "x" }).to_string();
    let change = request("PUT", "/v1/subjects/attacker", &with(&issuer), &profile, profile.len());
    println!("{:<28} {:>24} | {:>24} | {:>24}", "ms: p50, p99, checks", "before", "during", "after");
    let attacks: [(&str, Attack<'_>); 8] = [
        ("silent connections", &|server, stop| crowd(server, stop, |_| Ok(()))),
        ("heads that drip", &|server, stop| crowd(server, stop, |client| client.send(b"GET / HT"))),
        ("streams of one key", &|server, stop| crowd(server, stop, |client| client.send(&stream))),
        ("bodies that never come", &|server, stop| crowd(server, stop, |client| client.send(&slow))),
        ("usage of one session", &|server, stop| flood(server, stop, &usage)),
        ("checks by one key", &|server, stop| flood(server, stop, &check)),
        ("wrong credentials", &|server, stop| flood(server, stop, &wrong)),
        ("changes by one key", &|server, stop| flood(server, stop, &change)),
    ];
    for (name, attack) in attacks {
        under(name, &server, &token, attack, length, bound);
    }
}
