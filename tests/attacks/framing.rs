//! Where a request ends: lengths that lie, two of them, chunks that are none. Whoever makes the server and a proxy in
//! front of it disagree about that puts a request of its own into another caller's connection.

use crate::client::{ATTACKER, Answer, Client, FRIEND, Server};

/// Two routes are read by a reader of their own as long as their requests are plain, and all others by another one.
const TARGETS: [(&str, &str); 2] = [("POST", "/v1/introspect"), ("PUT", "/v1/subjects/a")];
const BODY: &str = r#"{"token":"x"}"#;

fn head(server: &Server, (method, target): (&str, &str), more: &str) -> String {
    let key = &server.admin;
    format!(
        "{method} {target} HTTP/1.1\r\nhost: t\r\nauthorization: Bearer {key}\r\n\
         content-type: application/json\r\n{more}\r\n"
    )
}

/// Every answer that comes on a connection until it is closed.
fn answers(client: &mut Client) -> Vec<Answer> {
    std::iter::from_fn(|| client.answer().ok()).collect()
}

fn statuses(server: &Server, bytes: &[u8]) -> Vec<u16> {
    let mut client = server.call(ATTACKER);
    client.send(bytes).unwrap();
    answers(&mut client).iter().map(|answer| answer.status).collect()
}

/// What would be a request of its own if the one before it ended where only one of two readers thinks.
fn smuggled(server: &Server) -> String {
    format!(
        "PUT /v1/subjects/smuggled HTTP/1.1\r\nhost: t\r\nauthorization: Bearer {}\r\n\
             content-type: application/json\r\ncontent-length: 2\r\n\r\n{{}}",
        server.admin
    )
}

#[track_caller]
fn is_refused_and_closed(server: &Server, request: &str, what: &str) {
    let seen = statuses(server, format!("{request}{}", smuggled(server)).as_bytes());
    assert!(matches!(seen[..], [400 | 413 | 431]), "{what}: {seen:?}");
    server.call(FRIEND).ask("GET", "/v1/subjects/smuggled", &server.admin, None).expect(404);
}

#[test]
fn a_request_with_two_lengths_or_none_that_is_clear_is_refused_and_nothing_behind_it_is_read() {
    let server = Server::with(512, &[]);
    for target in TARGETS {
        for more in [
            "content-length: 13\r\ncontent-length: 2\r\n",
            "content-length: 13\r\ntransfer-encoding: chunked\r\n",
            "transfer-encoding: chunked\r\ncontent-length: 13\r\n",
            "transfer-encoding: chunked, identity\r\n",
            "transfer-encoding: identity\r\ncontent-length: 13\r\n",
            "transfer-encoding: \"chunked\"\r\n",
            "transfer-encoding : chunked\r\n",
            "transfer-encoding: \u{b}chunked\r\n",
            "content-length: 2, 13\r\n",
            "content-length: +13\r\n",
            "content-length: 0xd\r\n",
            "content-length: -1\r\n",
            "content-length: 1 3\r\n",
            "content-length:\r\n 13\r\n",
            "x: a\r\n b\r\ncontent-length: 13\r\n",
            "x: a\rb\r\ncontent-length: 13\r\n",
            "x: a\0b\r\ncontent-length: 13\r\n",
            "no colon\r\ncontent-length: 13\r\n",
        ] {
            is_refused_and_closed(&server, &format!("{}{BODY}", head(&server, target, more)), more);
        }
        for chunks in ["1ffffffffffffffff\r\n", "-1\r\n", "0xd\r\n", "zz\r\n", "\r\n"] {
            let more = "transfer-encoding: chunked\r\n";
            is_refused_and_closed(&server, &format!("{}{chunks}{BODY}", head(&server, target, more)), chunks);
        }
    }
}

/// A length near the greatest number was added to that of the head: the sum was a small one, and the connection ended
/// without a word.
#[test]
fn a_length_beyond_all_memory_is_refused_in_words() {
    let server = Server::with(512, &[]);
    for target in TARGETS {
        for length in [u64::MAX, u64::MAX - 1, u64::MAX - 100, u64::MAX - 200, i64::MAX as u64, 1 << 40] {
            let request = head(&server, target, &format!("content-length: {length}\r\n"));
            is_refused_and_closed(&server, &format!("{request}{BODY}"), &request);
        }
    }
}

/// How long a head could be was a matter of the pieces in which it came, and of what had come before it on the
/// connection: some of almost twice the length were read.
#[test]
fn a_head_may_have_the_same_length_wherever_it_comes_on_its_connection() {
    const MOST: usize = 64 * 1024;
    let server = Server::with(512, &[]);
    let long = |length: usize| {
        let rest = "GET /v1/keys HTTP/1.1\r\nhost: t\r\nx: \r\n\r\n".len();
        format!("GET /v1/keys HTTP/1.1\r\nhost: t\r\nx: {}\r\n\r\n", "a".repeat(length - rest)).into_bytes()
    };
    let check = {
        let more = format!("content-length: {}\r\n", BODY.len());
        format!("{}{BODY}", head(&server, TARGETS[0], &more)).into_bytes()
    };
    // Reading grows with what has come: so the longest that is taken comes before one that is too long.
    let before: [(&str, Vec<Vec<u8>>); 4] = [
        ("the first", vec![]),
        ("behind a check", vec![check]),
        ("behind a short one", vec![long(100)]),
        ("behind long ones", vec![long(MOST), long(MOST), long(MOST)]),
    ];
    for (what, before) in &before {
        for (length, status) in [(MOST - 1, 200), (MOST, 200), (MOST + 1, 431), (MOST + 30_000, 431)] {
            for piece in [length, 1_000, 30_000] {
                let mut client = server.call(ATTACKER);
                for request in before {
                    client.try_ask(request).unwrap().expect(200);
                }
                // It may be refused before all of it was sent.
                long(length).chunks(piece).map_while(|piece| client.send(piece).ok()).for_each(drop);
                match client.answer() {
                    Ok(answer) => assert_eq!(answer.status, status, "{length} bytes, {what}, in {piece}"),
                    Err(error) => assert_eq!(status, 431, "{length} bytes, {what}, in {piece}: {error}"),
                }
            }
        }
    }
}

/// Whoever sends a thousand requests at once gets their answers in order, and the first that is none ends it.
#[test]
fn requests_that_come_at_once_are_answered_in_order_up_to_one_that_is_none() {
    let server = Server::with(512, &[]);
    let check = |name: &str| {
        let more = format!("x-request-id: {name}\r\ncontent-length: {}\r\n", BODY.len());
        format!("{}{BODY}", head(&server, TARGETS[0], &more))
    };
    let look = |name: &str| format!("GET /healthz HTTP/1.1\r\nhost: t\r\nx-request-id: {name}\r\n\r\n");
    let names: Vec<_> = (0..300).map(|number| format!("number-{number}")).collect();
    let mut all: String = names
        .iter()
        .enumerate()
        .map(|(number, name)| match number % 40 {
            39 => look(name),
            _ => check(name),
        })
        .collect();
    all.push_str("BAD\u{1}\r\n\r\n");
    all.push_str(&smuggled(&server));
    let mut client = server.call(ATTACKER);
    client.send(all.as_bytes()).unwrap();
    let answers = answers(&mut client);
    let (last, good) = answers.split_last().unwrap();
    assert_eq!((good.len(), last.status), (300, 400));
    for (answer, name) in good.iter().zip(&names) {
        assert!(
            answer.status == 200 && answer.head.contains(&format!("x-request-id: {name}\r\n")),
            "{answer:?}"
        );
    }
    server.call(FRIEND).ask("GET", "/v1/subjects/smuggled", &server.admin, None).expect(404);
}

/// Without a host, or with two, a proxy may mean another one than the server does. Checks and all else are read by two
/// different readers.
#[test]
fn a_request_without_a_host_or_with_two_is_refused() {
    let server = Server::with(512, &[]);
    let status_and_field = |(method, target): (&str, &str), version: &str, hosts: &str| {
        let length = BODY.len();
        let request = format!(
            "{method} {target} HTTP/{version}\r\n{hosts}authorization: Bearer {}\r\n\
             content-type: application/json\r\ncontent-length: {length}\r\n\r\n{BODY}",
            server.admin
        );
        let answer = server.call(ATTACKER).try_ask(request.as_bytes()).unwrap();
        (answer.status, answer.json()["errors"][0]["field"].as_str().map(str::to_owned))
    };
    let check = TARGETS[0];
    for target in [check, ("GET", "/nowhere"), ("POST", "/console/sign-in")] {
        for hosts in [
            "",
            "host: a\r\nhost: b\r\n",
            "Host: a\r\nhost: a\r\n",
            "host: a b\r\n",
            "host: http://a\r\n",
            "host: a@b\r\n",
        ] {
            let refused = status_and_field(target, "1.1", hosts);
            assert_eq!(refused, (400, Some("Host".to_owned())), "{target:?} with {hosts:?}");
        }
    }
    for (version, hosts) in [
        ("1.1", "host: a\r\n"),
        ("1.1", "Host: [::1]:7300\r\n"),
        ("1.1", "host: a.example:7300\r\n"),
        ("1.1", "host:\r\n"),
        ("1.0", ""),
        ("1.0", "host: a\r\n"),
    ] {
        assert_eq!(status_and_field(check, version, hosts), (200, None), "HTTP/{version} with {hosts:?}");
    }
    assert_eq!(status_and_field(check, "1.0", "host: a\r\nhost: a\r\n").0, 400);
}

/// A client that ended its side when it had sent its requests, as some do, was taken for one that has gone.
#[test]
fn a_client_that_has_sent_all_it_has_to_say_gets_its_answers() {
    let server = Server::with(512, &[]);
    let change = |name: &str| {
        format!(
            "PUT /v1/subjects/{name} HTTP/1.1\r\nhost: t\r\nauthorization: Bearer {}\r\n\
             content-type: application/json\r\ncontent-length: 2\r\n\r\n{{}}",
            server.admin
        )
    };
    let check = {
        let more = format!("content-length: {}\r\n", BODY.len());
        format!("{}{BODY}", head(&server, TARGETS[0], &more))
    };
    let look = "GET /openapi.json HTTP/1.1\r\nhost: t\r\n\r\n".to_owned();
    let (_, token) = server.session("renewing");
    let renewal = format!(
        "PUT /v1/sessions/{}/renew HTTP/1.1\r\nhost: t\r\nauthorization: Bearer {token}\r\n\
         content-length: 0\r\n\r\n",
        server.session("renewed").0
    );
    let many: String = (0..20).map(|number| change(&format!("of-many-{number}"))).collect();
    for (requests, expected) in [
        (check.clone(), vec![200]),
        (renewal, vec![403]),
        (change("one"), vec![201]),
        (look, vec![200]),
        (format!("{check}{}{check}", change("two")), vec![200, 201, 200]),
        (many, vec![201; 20]),
    ] {
        let mut client = server.call(ATTACKER);
        client.send(requests.as_bytes()).unwrap();
        client.says_no_more();
        let statuses: Vec<_> = answers(&mut client).iter().map(|answer| answer.status).collect();
        assert_eq!(statuses, expected, "{requests}");
    }
}

/// One that has really gone holds nothing up: its stream ends.
#[test]
fn a_stream_ends_soon_after_its_reader_has_ended_its_side() {
    let server = Server::with(512, &[]);
    let mut client = server.call(ATTACKER);
    client.listen(&server.admin).expect(200);
    assert_eq!(server.metric("tenure_taken{of=\"streams\"}"), 1);
    client.says_no_more();
    server.until("tenure_taken{of=\"streams\"}", |taken| taken == 0);
}
