//! Two routes are answered by a reader of their own as long as their requests are plain (`serve/plain`). A caller
//! must not be able to tell which one answered.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

use serde_json::{Value, json};

use crate::server::{Reply, Request, Server};

/// The same request, which is not plain any more and says nothing else.
fn unusual(request: &Request) -> Request {
    request.clone().header("te", "trailers")
}

/// What of a reply does not depend on when it was made.
fn lasting(reply: &Reply) -> (u16, Vec<(String, String)>, Value) {
    let changing =
        |name: &str| ["date", "x-tenure-time", "x-tenure-position", "content-length"].contains(&name);
    let shown = |(name, value): &(String, String)| {
        (name.clone(), if changing(name) { String::new() } else { value.clone() })
    };
    let mut headers: Vec<_> = reply.headers.iter().map(shown).collect();
    headers.sort();
    (reply.status, headers, reply.json())
}

#[test]
fn a_plain_request_and_an_unusual_one_get_the_same_answer() {
    let server = Server::start();
    let session = server.session("a", 3_600);
    // That a renewal came too early is recorded once, and this is not what is compared.
    server.renew(&session).send().refused(403, "RENEWAL_TOO_EARLY");
    let asked = || server.post("/v1/introspect").header("x-request-id", "same");
    let admin = || asked().bearer(&server.admin);
    let long = "x".repeat(100_000);
    let requests = [
        admin().json(&json!({ "token": session.token })),
        admin().json(&json!({ "token": "tnr_sess_v4.local.none" })),
        admin().json(&json!({ "tokens": [session.token, "", session.token] })),
        admin().json(&json!({ "token": session.token, "include": ["metadata"] })),
        admin().json(&json!({ "token": session.token, "more": 1 })),
        admin().json(&json!({ "token": long })),
        admin().json_text("{\"token\""),
        admin().json_text(""),
        admin().body("{}"),
        admin().key("").json(&json!({ "token": session.token })),
        asked().json(&json!({ "token": session.token })),
        asked().bearer("tnr_key_none").json(&json!({ "token": session.token })),
        asked().bearer(&session.token).json(&json!({ "token": session.token })),
        admin().bearer(&server.admin).json(&json!({ "token": session.token })),
        server.renew(&session).header("x-request-id", "same"),
        server.renew(&session).header("x-request-id", "same").json_text("{}"),
        server.put(&format!("/v1/sessions/{}/renew", session.id)).header("x-request-id", "same"),
    ];
    for request in requests {
        let (plain, other) = (request.send(), unusual(&request).send());
        assert_eq!(lasting(&plain), lasting(&other), "{request:?}");
        assert_eq!(plain.header("content-length"), Some(plain.body.len().to_string().as_str()));
    }
}

#[test]
fn a_renewal_is_granted_in_the_same_words_both_ways() {
    let server = Server::start();
    let sessions = [server.session("a", 3_600), server.session("b", 3_600)];
    server.advance(1_800);
    let requests = [server.renew(&sessions[0]), unusual(&server.renew(&sessions[1]))];
    let replies = requests.map(|request| request.send().expect(200));
    let names = replies.each_ref().map(|reply| {
        let members: Vec<_> = reply.json().as_object().unwrap().keys().cloned().collect();
        let mut headers: Vec<_> = reply.headers.iter().map(|(name, _)| name.clone()).collect();
        headers.sort();
        (members, headers)
    });
    assert_eq!(names[0], names[1]);
    for (reply, session) in replies.iter().zip(&sessions) {
        assert_eq!(server.introspect(&reply.text("token")).json()["renewalCount"], 1);
        assert_eq!(server.introspect(&session.token).json()["code"], "TOKEN_SUPERSEDED");
    }
}

/// A request that leaves the connection open.
fn kept_open(request: &Request) -> Vec<u8> {
    let bytes = String::from_utf8(request.bytes()).unwrap();
    bytes.replace("connection: close\r\n", "").into_bytes()
}

/// The next reply on a connection, one byte after the other.
fn next_reply(stream: &mut TcpStream) -> Reply {
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let mut bytes = Vec::new();
    let mut read = |bytes: &mut Vec<u8>| {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        bytes.push(byte[0]);
    };
    while !bytes.ends_with(b"\r\n\r\n") {
        read(&mut bytes);
    }
    let length: usize = Reply::parse(&bytes).unwrap().header("content-length").unwrap().parse().unwrap();
    (0..length).for_each(|_| read(&mut bytes));
    Reply::parse(&bytes).unwrap()
}

#[test]
fn requests_of_all_kinds_are_answered_in_order_on_one_connection() {
    let server = Server::start();
    let session = server.session("a", 3_600);
    let check = server.post("/v1/introspect").bearer(&server.admin).json(&json!({ "token": session.token }));
    let others = [server.get("/healthz"), unusual(&check), server.get("/v1/none").bearer(&server.admin)];
    let all = [&check, &check, &others[0], &check, &others[1], &others[2], &check].map(kept_open).concat();
    // All at once, and byte by byte.
    for piece in [all.len(), 1, 1_000] {
        let mut stream = server.connect();
        stream.set_nodelay(true).unwrap();
        all.chunks(piece).for_each(|piece| stream.write_all(piece).unwrap());
        let statuses: Vec<_> = (0..7).map(|_| next_reply(&mut stream).status).collect();
        assert_eq!(statuses, [200, 200, 200, 200, 200, 404, 200], "in pieces of {piece}");
    }
}

#[test]
fn a_body_that_does_not_come_is_waited_for_as_on_every_route() {
    let server = Server::start();
    let session = server.session("a", 3_600);
    let check = server.post("/v1/introspect").bearer(&server.admin).json(&json!({ "token": session.token }));
    let bytes = kept_open(&check);
    let mut stream = server.connect();
    stream.write_all(&bytes[..bytes.len() - 1]).unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(1_500))).unwrap();
    assert!(stream.read(&mut [0]).is_err(), "it waits, and longer than a plain request is waited for");
    stream.write_all(&bytes[bytes.len() - 1..]).unwrap();
    assert_eq!(next_reply(&mut stream).expect(200).json()["active"], true);
}

#[test]
fn a_connection_that_rests_does_not_hold_up_a_stop() {
    let mut server = Server::start();
    let session = server.session("a", 3_600);
    let check = server.post("/v1/introspect").bearer(&server.admin).json(&json!({ "token": session.token }));
    let mut stream = server.connect();
    stream.write_all(&kept_open(&check)).unwrap();
    next_reply(&mut stream).expect(200);
    assert!(server.stop().success());
    assert_eq!(stream.read(&mut [0]).unwrap(), 0, "it was closed");
}
