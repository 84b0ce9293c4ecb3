//! Pages that stay open: what keeping them up to date costs, who shares it, and what is never shared.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

use serde_json::json;
use tenure::clock::{pause, stopwatch};

use crate::form_client::{FormClient, form, origin, renewed, text};
use crate::server::{Reply, Server};

/// What an open page asks for when it looks whether there is something new.
fn look(forms: &FormClient<'_>, path: &str) -> Reply {
    let request = forms.server.get(path).header("host", forms.server.address().to_string());
    request.header("cookie", forms.cookie.clone()).header("x-tenure-live", "1").send()
}

/// How often the subjects were listed.
fn listed(server: &Server) -> u64 {
    let metrics = server.get("/metrics").bearer(&server.admin).send().expect(200).body;
    let counts = metrics.lines().filter(|line| {
        line.starts_with("tenure_http_requests_total{") && line.contains("route=\"/v1/subjects\"")
    });
    counts.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
}

/// Each open page was made anew for each of its readers, every five seconds.
#[test]
fn a_page_that_many_watch_is_made_once_a_second_at_most() {
    let server = Server::start();
    renewed(&server, "agent");
    let key = |_| server.issue_key("auditor", None).0;
    let desks: Vec<_> = (0..3).map(key).map(|key| FormClient::sign_in(&server, &key)).collect();
    let (before, begun) = (listed(&server), stopwatch());
    for _ in 0..20 {
        for forms in &desks {
            assert!(text(&look(forms, "/console/agents").expect(200)).contains("Night shift"));
        }
    }
    let made = listed(&server) - before;
    assert!((1..=begun.elapsed().as_secs() + 1).contains(&made), "60 looks made the page {made} times");
    for forms in &desks {
        forms.get("/console/agents").expect(200);
    }
    assert_eq!(listed(&server) - before, made + 3, "a page that is opened is new");
}

#[test]
fn a_shared_page_has_the_mark_of_each_reader_and_nobody_elses() {
    let server = Server::start();
    let session = renewed(&server, "agent");
    let desks = [FormClient::sign_in(&server, &server.admin), FormClient::sign_in(&server, &server.admin)];
    let marks = [desks[0].mark(), desks[1].mark()];
    for path in ["/console", "/console/agents"] {
        for (own, other) in [(0, 1), (1, 0)] {
            let page = text(&look(&desks[own], path).expect(200));
            assert!(page.contains(&marks[own]) && !page.contains(&marks[other]), "{path}: {page}");
            assert!(!page.contains('\u{1}'), "{path}: {page}");
        }
    }
    // What stands in its place is the mark of nobody.
    let path = format!("/console/sessions/{}/veto", session.id);
    for mark in ["\u{1}mark\u{1}", "mark", ""] {
        let request = server.post(&path).header("host", server.address().to_string());
        let request = request.header("cookie", desks[0].cookie.clone()).header("origin", origin(&server));
        request.header("x-tenure-live", "1").body(form(&[("mark", mark)])).send().expect(403);
    }
    assert!(server.events("SessionRevoked").is_empty());
}

/// Fifty open pages took the same bytes again and again.
#[test]
fn a_watched_page_that_has_not_changed_is_not_sent_again() {
    let server = Server::start();
    renewed(&server, "agent");
    let forms = FormClient::sign_in(&server, &server.admin);
    let look_again = |tag: &str| {
        let request = server.get("/console/agents").header("host", server.address().to_string());
        let request = request.header("cookie", forms.cookie.clone()).header("x-tenure-live", "1");
        request.header("if-none-match", tag).send()
    };
    let first = look_again("").expect(200);
    let tag = first.header("etag").unwrap().to_owned();
    let again = look_again(&tag).expect(304);
    assert!(again.body.is_empty() && again.header("etag") == Some(&*tag), "{again:?}");
    assert_eq!(again.header("cache-control"), Some("no-store"));
    let session = renewed(&server, "another");
    let mut later = look_again(&tag);
    for _ in 0..600 {
        if later.status != 304 {
            break;
        }
        pause(Duration::from_millis(50));
        later = look_again(&tag);
    }
    let later = later.expect(200);
    assert!(later.body.contains(&session.id), "{later:?}");
    assert_ne!(later.header("etag"), Some(&*tag));
}

/// The forms of a page that stayed open were refused after another sign-in in its browser: it kept the mark of the former
/// one for as long as nothing else changed.
#[test]
fn a_page_that_stays_open_gets_the_mark_of_a_later_sign_in() {
    let server = Server::start();
    let session = renewed(&server, "agent");
    let (before, after) =
        (FormClient::sign_in(&server, &server.admin), FormClient::sign_in(&server, &server.admin));
    let tag = look(&before, "/console/agents").expect(200).header("etag").unwrap().to_owned();
    let request = server.get("/console/agents").header("host", server.address().to_string());
    let request = request.header("cookie", after.cookie.clone()).header("x-tenure-live", "1");
    let page = request.header("if-none-match", tag).send().expect(200);
    let (_, mark) = page.body.split_once(r#"name="mark" value=""#).unwrap();
    let mark = mark.split('"').next().unwrap();
    let path = format!("/console/sessions/{}/veto", session.id);
    after.post_unmarked(&path, &[("mark", mark)], &origin(&server)).expect(303);
    assert_eq!(server.events("SessionRevoked").len(), 1);
}

#[test]
fn what_is_shared_is_shared_by_those_with_equal_rights_alone() {
    let server = Server::start();
    let session = renewed(&server, "agent-of-alice");
    server.register("agent-of-bob", &json!({ "name": "Day shift", "ownerId": "bob" }));
    let veto = format!("/console/sessions/{}/veto", session.id);
    for (role, owner, alices, bobs, vetoes) in [
        ("owner", Some("alice"), true, false, true),
        ("owner", Some("bob"), false, true, false),
        ("auditor", None, true, true, false),
        ("issuer", None, true, true, false),
        ("owner", Some("alice"), true, false, true),
    ] {
        let (key, _) = server.issue_key(role, owner);
        let page = text(&look(&FormClient::sign_in(&server, &key), "/console/agents").expect(200));
        let seen = ["/agent-of-alice\"", "/agent-of-bob\"", &veto].map(|it| page.contains(it));
        assert_eq!(seen, [alices, bobs, vetoes], "{role} {owner:?}: {page}");
    }
    let admin = FormClient::sign_in(&server, &server.admin);
    look(&admin, "/console").expect(200);
    let (owner, _) = server.issue_key("owner", Some("alice"));
    look(&FormClient::sign_in(&server, &owner), "/console").expect(303);
    let request = server.get("/console").header("host", server.address().to_string());
    request.header("x-tenure-live", "1").send().expect(401);
    admin.post("/console/sign-out", &[]).expect(303);
    look(&admin, "/console").expect(401);
}

/// The live tail of a log, as its pieces come.
struct Tail {
    socket: TcpStream,
    bytes: Vec<u8>,
}

impl Tail {
    fn of(forms: &FormClient<'_>) -> Self {
        let mut socket = forms.server.connect();
        socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let request = forms.server.get("/console/log/stream?after=latest&kinds=SubjectRegistered");
        let request = request.header("host", forms.server.address().to_string());
        socket.write_all(&request.header("cookie", forms.cookie.clone()).bytes()).unwrap();
        let mut tail = Self { socket, bytes: Vec::new() };
        let head = tail.until(b"\r\n\r\n");
        let head = String::from_utf8(head).unwrap().to_lowercase();
        assert!(head.contains("text/event-stream") && head.contains("cache-control: no-store"), "{head}");
        tail
    }

    fn more(&mut self) {
        let mut part = [0; 16_384];
        let count = self.socket.read(&mut part).unwrap();
        assert!(count > 0, "the stream ended");
        self.bytes.extend(&part[..count]);
    }

    fn until(&mut self, end: &[u8]) -> Vec<u8> {
        loop {
            if let Some(at) = self.bytes.windows(end.len()).position(|part| part == end) {
                return self.bytes.drain(..at + end.len()).collect();
            }
            self.more();
        }
    }

    /// One piece, as the server wrote it.
    fn piece(&mut self) -> String {
        let length = String::from_utf8(self.until(b"\r\n")).unwrap();
        let length = usize::from_str_radix(length.trim(), 16).unwrap() + 2;
        while self.bytes.len() < length {
            self.more();
        }
        String::from_utf8(self.bytes.drain(..length).collect()).unwrap()
    }
}

/// Every event was a write to every open log.
#[test]
fn what_is_recorded_in_quick_succession_comes_to_an_open_log_together() {
    let server = Server::start();
    let forms = FormClient::sign_in(&server, &server.admin);
    let mut tail = Tail::of(&forms);
    assert!(tail.piece().starts_with(':'), "the first piece says that it is heard");
    let begun = stopwatch();
    let count = 100;
    for number in 0..count {
        server.register(&format!("agent-{number}"), &json!({}));
    }
    let (mut pieces, mut heard) = (0, Vec::new());
    while heard.len() < count {
        let piece = tail.piece();
        let events = piece.lines().filter_map(|line| line.strip_prefix("data: "));
        let events = events.map(|data| serde_json::from_str::<serde_json::Value>(data).unwrap());
        heard.extend(events.map(|event| event["subjectId"].as_str().unwrap().to_owned()));
        pieces += usize::from(piece.contains("data: "));
    }
    let quarters = usize::try_from(begun.elapsed().as_millis() / 250).unwrap();
    assert!(
        pieces <= quarters + 2,
        "{count} events came in {pieces} pieces in {quarters} quarters of a second"
    );
    let expected: Vec<_> = (0..count).map(|number| format!("agent-{number}")).collect();
    assert_eq!(heard, expected);
}
