//! Clients that are slow on purpose: with a handshake, with a request, with taking their answers.

use std::time::Duration;

use serde_json::json;
use tenure::clock::{pause, stopwatch};

use crate::{
    client::{ATTACKER, Client, FRIEND, Server, request},
    siege::with,
};

const BUFFERS: &str = "server.buffers=33554432";
const MOST: u64 = 33_554_432;

/// A page of a few hundred kilobytes, as one key may ask for.
fn long_page(server: &Server) -> Vec<u8> {
    let mut client = server.call(FRIEND);
    for number in 0..80 {
        let body = json!({ "name": "n", "ownerId": "o" });
        client.ask("PUT", &format!("/v1/subjects/s{number}"), &server.admin, Some(&body)).expect(201);
        let made = json!({ "subjectId": format!("s{number}"), "metadata": { "a": "x".repeat(4_000) } });
        client.ask("POST", "/v1/sessions", &server.admin, Some(&made)).expect(201);
    }
    request("GET", "/v1/sessions?limit=200", &with(&server.owner("o")), "", 0)
}

/// Answers lay in memory for as long as their clients took nothing, half a minute and more, however many there were: one
/// key of a few sessions took gigabytes.
#[test]
fn answers_that_nobody_takes_have_a_bound_together() {
    let server = Server::with(1_024, &[BUFFERS]);
    let page = long_page(&server);
    let length = server.call(FRIEND).try_ask(&page).unwrap().expect(200).body.len() as u64;
    assert!(length > 300_000, "{length}");
    let deaf = 3 * MOST / length;
    let mut kept: Vec<Client> = Vec::new();
    for _ in 0..deaf {
        let mut client = server.call_deaf(ATTACKER);
        // It may have been one too many.
        if client.send(&page).is_ok() {
            kept.push(client);
        }
        // Whoever takes its answer gets all of it.
        if kept.len().is_multiple_of(50) {
            assert_eq!(server.call(FRIEND).try_ask(&page).unwrap().expect(200).body.len() as u64, length);
        }
    }
    server.until("tenure_gave_way_total", |ended| ended > 0);
    server.until("tenure_taken{of=\"buffers\"}", |held| held <= MOST);
    assert_eq!(server.call(FRIEND).try_ask(&page).unwrap().expect(200).body.len() as u64, length);
    drop(kept);
    server.until("tenure_taken{of=\"buffers\"}", |held| held == 0);
}

/// The same of the answers to checks, which have a reader and a writer of their own.
#[test]
fn answers_to_checks_that_nobody_takes_are_counted_too() {
    let server = Server::with(1_024, &[BUFFERS]);
    let (_, token) = server.session("a");
    let body = json!({ "tokens": vec![token.as_str(); 100] }).to_string();
    let one = request("POST", "/v1/introspect", &with(&server.admin), &body, body.len());
    // What the system takes of the answers itself is full at some time, and the next one waits.
    let many = one.repeat(200);
    let mut kept: Vec<Client> = Vec::new();
    for _ in 0..100 {
        let mut client = server.call_deaf(ATTACKER);
        client.send_some(&many);
        kept.push(client);
    }
    server.until("tenure_taken{of=\"buffers\"}", |held| held > 0);
    server.call(FRIEND).try_ask(&one).unwrap().expect(200);
    drop(kept);
    server.until("tenure_taken{of=\"buffers\"}", |held| held == 0);
}

/// Heads that never end lay in memory too, 64 KiB for each connection.
#[test]
fn requests_that_never_end_have_a_bound_together() {
    let server = Server::with(2_048, &[BUFFERS]);
    let half = format!("GET /healthz HTTP/1.1\r\nhost: t\r\nx: {}", "a".repeat(60_000));
    let mut kept: Vec<Client> = Vec::new();
    for _ in 0..2 * MOST / 60_000 {
        let mut client = server.call(ATTACKER);
        client.send_some(half.as_bytes());
        kept.push(client);
    }
    server.until("tenure_gave_way_total", |ended| ended > 0);
    server.until("tenure_taken{of=\"buffers\"}", |held| held <= MOST);
    server.call(FRIEND).ask("GET", "/healthz", "", None).expect(200);
    drop(kept);
    server.until("tenure_taken{of=\"buffers\"}", |held| held == 0);
}

/// Behind a certificate, a client that begins a handshake and says no more held its place for as long as when there was
/// room: nobody told it that places run out.
#[test]
fn a_slow_handshake_is_given_up_sooner_when_places_run_out() {
    const PLACES: usize = 256;
    let directory = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let [cert, key] = ["tls.crt", "tls.key"].map(|name| directory.path().join(name));
    std::fs::write(&cert, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let settings = [("server.tls_cert", &cert), ("server.tls_key", &key)];
    let settings = settings.map(|(name, path)| format!("{name}={}", path.display()));
    let server = Server::with(512, &settings.each_ref().map(String::as_str));
    let mut slow = server.call(FRIEND);
    // The begin of a hello.
    slow.send(&[0x16, 3, 1, 2, 0, 1, 0]).unwrap();
    let silent: Vec<_> = (0..PLACES - 10).map(|_| server.call(FRIEND)).collect();
    pause(Duration::from_millis(2_500));
    let more: Vec<_> = (0..5)
        .map(|_| {
            pause(Duration::from_millis(50));
            server.call(FRIEND)
        })
        .collect();
    assert!((0..100).any(|_| slow.is_closed()), "it is waited for as if there were room");
    drop((silent, more));
}

/// A form of the console was waited for half a minute, from whomever it came, and gave no way.
#[test]
fn a_strangers_slow_form_is_given_up_sooner_when_places_run_out() {
    const PLACES: usize = 256;
    let server = Server::with(512, &[]);
    let form = "POST /console/sign-in HTTP/1.1\r\nhost: localhost\r\norigin: http://localhost\r\n\
                content-type: application/x-www-form-urlencoded\r\ncontent-length: 50\r\n\r\nkey=";
    let mut slow = server.call(FRIEND);
    slow.send(form.as_bytes()).unwrap();
    // Others are at work, and have shown who they are.
    let mut at_work = server.at_work(PLACES - 10);
    pause(Duration::from_secs(6));
    let (begun, mut more) = (stopwatch(), Vec::new());
    while !slow.is_closed() {
        assert!(begun.elapsed() < Duration::from_secs(12), "it is waited for as if there were room");
        pause(Duration::from_millis(50));
        more.truncate(4);
        more.push(server.call(FRIEND));
    }
    assert!(at_work.iter_mut().take(100).all(|client| !client.is_closed()));
    drop(more);
}
