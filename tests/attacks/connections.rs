//! Places for connections and streams.

use std::time::Duration;

use serde_json::json;
use tenure::clock::{pause, stopwatch};

use crate::client::{ATTACKER, Client, FRIEND, OTHER, PROXY, Server, request};

/// With 512 descriptors there are so many places.
const PLACES: usize = 256;

/// Asks on a new connection, which has to be answered at once.
#[track_caller]
fn is_served_at_once(server: &Server) {
    let begun = stopwatch();
    server.call(FRIEND).ask("GET", "/v1/sessions", &server.admin, None).expect(200);
    assert!(begun.elapsed() < Duration::from_secs(1), "it took {:?}", begun.elapsed());
}

/// How many of them the server has not closed.
fn still_open(clients: &mut [Client]) -> usize {
    clients.iter_mut().map(|client| usize::from(!client.is_closed())).sum()
}

/// Connections were taken in the order in which they came: whoever opened them all had the service to himself, and each
/// new caller waited until one of them was given up.
#[test]
fn an_address_that_takes_all_the_places_it_can_leaves_some_for_others() {
    let server = Server::with(512, &["security.limit_loopback=true"]);
    let mut silent: Vec<_> = (0..2 * PLACES).filter_map(|_| server.try_call(ATTACKER).ok()).collect();
    for _ in 0..20 {
        is_served_at_once(&server);
    }
    let open = still_open(&mut silent);
    assert!(open <= PLACES / 2, "{open} of the attacker's are open");
    assert!(server.metric("tenure_refused_by_share_total{share=\"shares.connections_per_address\"}") >= 256);
    // Each further address has its share, and no more, while more than half is taken.
    let mut others: Vec<_> = (0..PLACES).filter_map(|_| server.try_call(OTHER).ok()).collect();
    is_served_at_once(&server);
    let open = still_open(&mut others);
    assert!((1..=PLACES / 8).contains(&open), "{open} of another's are open");
    drop((silent, others));
    server.until("tenure_taken{of=\"connections\"}", |taken| taken < 10);
}

#[test]
fn a_connection_that_has_shown_a_good_credential_does_not_count_for_its_address() {
    let server = Server::with(512, &["security.limit_loopback=true"]);
    let mut fleet: Vec<Client> = Vec::new();
    for _ in 0..200 {
        let mut client = server.call(OTHER);
        client.ask("GET", "/v1/credentials/self", &server.admin, None).expect(200);
        fleet.push(client);
    }
    for client in &mut fleet {
        client.ask("GET", "/v1/credentials/self", &server.admin, None).expect(200);
    }
    // A wrong one is none.
    let mut wrong: Vec<_> = (0..60)
        .filter_map(|_| {
            let mut client = server.try_call(ATTACKER).ok()?;
            client.try_ask(&request("GET", "/v1/sessions", "authorization: Bearer x\r\n", "", 0)).ok()?;
            Some(client)
        })
        .collect();
    assert!(still_open(&mut wrong) <= PLACES / 8);
}

#[test]
fn a_fleet_behind_a_trusted_proxy_is_refused_nothing() {
    let settings = ["security.limit_loopback=true", "server.trusted_proxies=127.0.0.3"];
    let server = Server::with(512, &settings);
    let mut fleet: Vec<_> = (0..200).map(|_| server.call(PROXY)).collect();
    for round in 0..3 {
        for (number, client) in fleet.iter_mut().enumerate() {
            let more = format!(
                "authorization: Bearer {}\r\nx-forwarded-for: 192.0.2.{}\r\n",
                server.admin,
                number % 4
            );
            let token = json!({ "token": format!("tnr_sess_{round}") });
            client.ask_saying("POST", "/v1/introspect", &more, Some(&token)).expect(200);
        }
    }
    assert_eq!(server.metric("tenure_gave_way_total"), 0);
}

/// Keep-alive connections that nobody used held their places for as long as they were allowed to rest.
#[test]
fn connections_that_rest_give_way_and_those_at_work_do_not() {
    let server = Server::with(512, &[]);
    let (subject, body) = ("a", json!({ "name": "Ada" }).to_string());
    let half_of_a_request = |client: &mut Client| {
        let more = format!("authorization: Bearer {}\r\n", server.admin);
        let half = request("PUT", &format!("/v1/subjects/{subject}"), &more, &body[..5], body.len());
        client.send(&half).unwrap();
    };
    let mut at_work = server.call(FRIEND);
    half_of_a_request(&mut at_work);
    let mut resting: Vec<Client> = Vec::new();
    for _ in 0..2 * PLACES {
        let begun = stopwatch();
        let mut client = server.call(FRIEND);
        client.ask("GET", "/healthz", "", None).expect(200);
        assert!(begun.elapsed() < Duration::from_secs(1), "number {} waited", resting.len());
        resting.push(client);
    }
    is_served_at_once(&server);
    assert!(server.metric("tenure_gave_way_total") >= 256);
    let closed: Vec<_> = resting.iter_mut().map(Client::is_closed).collect();
    assert!(closed[..200].iter().all(|closed| *closed), "those that rested longest go first: {closed:?}");
    assert!(closed[2 * PLACES - 150..].iter().all(|closed| !closed), "{closed:?}");
    at_work.send(&body.as_bytes()[5..]).unwrap();
    at_work.answer().unwrap().expect(201);
}

#[test]
fn a_slow_head_is_given_up_sooner_when_places_run_out() {
    let server = Server::with(512, &[]);
    let mut slow = server.call(FRIEND);
    slow.send(b"GET /healthz HTTP/1.1\r\n").unwrap();
    let silent: Vec<_> = (0..PLACES - 10).map(|_| server.call(FRIEND)).collect();
    pause(Duration::from_secs(1));
    assert!(!slow.is_closed());
    pause(Duration::from_millis(1_200));
    is_served_at_once(&server);
    pause(Duration::from_millis(100));
    assert!(slow.is_closed());
    drop(silent);
}

/// A client that asks for much and reads nothing of it is answered for as long as its socket may be blocked, and what is
/// being answered gives no way.
#[test]
fn answers_that_nobody_takes_give_way_when_places_run_out() {
    let server = Server::with(512, &[]);
    let many = request("GET", "/openapi.json", "", "", 0).repeat(100);
    // All others stay.
    let at_work = server.at_work(PLACES - 8);
    let deaf: Vec<_> = (0..8)
        .map(|_| {
            let mut client = server.call_deaf(ATTACKER);
            client.send(&many).unwrap();
            client
        })
        .collect();
    // The client waits for 20 s at most; a socket may be blocked for 30.
    server.call(FRIEND).ask("GET", "/healthz", "", None).expect(200);
    assert!(server.metric("tenure_gave_way_total") > 0);
    drop((at_work, deaf));
}

/// Whoever needs no credential could let the server wait half a minute for a body that no route takes.
#[test]
fn a_body_where_none_is_due_is_not_waited_for() {
    let server = Server::with(512, &[]);
    let begun = stopwatch();
    for target in ["/healthz", "/readyz", "/v1/keys", "/openapi.json"] {
        let mut client = server.call(ATTACKER);
        let answer = client.try_ask(&request("GET", target, "", "", 50)).unwrap();
        assert_eq!((answer.status, answer.json()["errors"][0]["field"].as_str()), (400, Some("body")));
        let mut client = server.call(ATTACKER);
        client.try_ask(&request("GET", target, "", "", 100_000)).unwrap().expect(413);
    }
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
}

/// A body in chunks has no length that could be refused at once: whoever needs no credential held a place for half a
/// minute with one that never came.
#[test]
fn a_body_in_chunks_where_none_is_due_has_a_moment_to_end() {
    let server = Server::with(512, &[]);
    let head = "GET /v1/keys HTTP/1.1\r\nhost: t\r\ntransfer-encoding: chunked\r\n\r\n";
    let begun = stopwatch();
    for begin in ["", "1\r\nx\r\n"] {
        let mut client = server.call(ATTACKER);
        let answer = client.try_ask(format!("{head}{begin}").as_bytes()).unwrap();
        assert_eq!((answer.status, answer.json()["errors"][0]["field"].as_str()), (400, Some("body")));
        while !client.is_closed() {
            assert!(begun.elapsed() < Duration::from_secs(5), "its place is free");
        }
    }
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    let mut honest = server.call(FRIEND);
    for _ in 0..2 {
        honest.try_ask(format!("{head}0\r\n\r\n").as_bytes()).unwrap().expect(200);
    }
    honest.try_ask(&request("GET", "/v1/keys", "", "", 0)).unwrap().expect(200);
}

#[test]
fn a_proxy_that_may_ask_without_a_key_has_no_share_of_connections() {
    let server = Server::with(512, &["security.limit_loopback=true", "forward_auth.trusted=127.0.0.3"]);
    let mut silent: Vec<_> = (0..200).map(|_| server.call(PROXY)).collect();
    let answer = silent[199].ask("GET", "/v1/forward-auth", "", None);
    assert_eq!(answer.status, 401, "{answer:?}");
    assert_eq!(still_open(&mut silent), 200);
}

/// One owner's key opened 10,000 streams and kept them; nobody else got a connection any more.
#[test]
fn streams_of_one_credential_leave_room_for_those_of_others() {
    let settings = ["security.limit_loopback=true", "shares.streams_per_credential=8"];
    let server = Server::with(512, &settings);
    let keys: Vec<_> = (0..10).map(|_| server.key("auditor")).collect();
    let open = |key: &str| {
        let mut client = server.call(ATTACKER);
        let answer = client.listen(key);
        (client, answer)
    };
    let mut streams: Vec<_> = (0..PLACES / 4).map(|_| open(&keys[0])).collect();
    assert!(streams.iter().all(|(_, answer)| answer.status == 200));
    open(&keys[0]).1.refused(429, "RATE_LIMITED");
    for key in &keys[1..9] {
        streams.extend((0..8).map(|_| open(key)));
    }
    assert!(streams.iter().all(|(_, answer)| answer.status == 200));
    assert_eq!(server.metric("tenure_taken{of=\"streams\"}"), 128);
    open(&keys[9]).1.refused(503, "OVERLOADED");
    is_served_at_once(&server);
    streams.truncate(10);
    server.until("tenure_taken{of=\"streams\"}", |taken| taken == 10);
    assert_eq!(open(&keys[9]).1.status, 200);
    assert_eq!(server.metric("tenure_refused_by_share_total{share=\"shares.streams_per_credential\"}"), 1);
}
