//! `/v1/events` and `/v1/notices` as server-sent events (sections 5 and 6): history, then live, without gap or
//! repeat, for as long as the credential is good.

use std::{sync::Mutex, time::Duration};

use serde_json::json;
use tenure::clock::{pause, stopwatch};

use crate::server::{Listener, PATIENCE, Server};

fn ids(listener: &mut Listener, count: usize) -> Vec<String> {
    listener.take(count).into_iter().map(|(id, _)| id).collect()
}

#[test]
fn a_stream_begins_with_history_and_goes_on_live() {
    let server = Server::start();
    let first = server.session("a", 1000);
    let mut listener = server.get("/v1/events?subjectId=a").bearer(&server.admin).listen();
    let history = listener.take(2);
    assert_eq!(history[0].1["kind"], "SubjectRegistered");
    assert_eq!(history[1].1["sessionId"], json!(first.id));
    let second = server.create(&json!({ "subjectId": "a" }));
    server.session("b", 1000);
    server.delete(&second.path()).bearer(&server.admin).send().expect(200);
    let live = listener.take(2);
    assert_eq!([&live[0].1["sessionId"], &live[1].1["sessionId"]], [&json!(second.id), &json!(second.id)]);
    assert_eq!(live[1].1["kind"], "SessionRevoked");
    for (id, event) in history.iter().chain(&live) {
        assert_eq!(json!(id.parse::<u64>().unwrap()), event["position"]);
    }
}

#[test]
fn a_stream_has_what_a_page_has() {
    let server = Server::start();
    server.session("a", 1000);
    for path in ["/v1/events", "/v1/notices"] {
        let page = server.get(path).bearer(&server.admin).send().expect(200).json();
        let items = page["items"].as_array().unwrap();
        let streamed = server.get(path).bearer(&server.admin).listen().take(items.len());
        assert_eq!(streamed.into_iter().map(|(_, item)| item).collect::<Vec<_>>(), *items, "{path}");
    }
}

#[test]
fn a_stream_says_that_nobody_may_keep_it_or_hold_it_up() {
    let server = Server::start();
    let reply = server.get("/v1/events?after=latest").bearer(&server.admin).listen().reply;
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    assert_eq!(reply.header("x-accel-buffering"), Some("no"));
    assert!(reply.header("x-request-id").is_some());
}

#[test]
fn latest_is_live_only() {
    let server = Server::start();
    server.session("a", 1000);
    let mut listener = server.get("/v1/notices?after=latest").bearer(&server.admin).listen();
    listener.heartbeat();
    let session = server.create(&json!({ "subjectId": "a" }));
    assert_eq!(listener.next().unwrap().1["sessionId"], json!(session.id));
}

#[test]
fn the_last_id_that_was_heard_resumes_and_goes_before_after() {
    let server = Server::start();
    let session = server.session("a", 300);
    server.advance(150);
    // A renewal that leaves few others is told in two notices of one event.
    let few = server.create(&json!({ "subjectId": "a", "maxRenewals": 2, "ttl": 300 }));
    server.advance(150);
    server.renew(&few).send().expect(200);
    server.renew(&session).send().refused(401, "TOKEN_EXPIRED");
    let all = server.get("/v1/notices").bearer(&server.admin).send().expect(200).json();
    let all: Vec<_> =
        all["items"].as_array().unwrap().iter().map(|notice| notice["noticeId"].as_str().unwrap()).collect();
    assert!(all.iter().any(|id| id.ends_with(".2")), "{all:?}");
    for (index, id) in all.iter().enumerate() {
        let resumed = server.get("/v1/notices?after=0").bearer(&server.admin).header("last-event-id", *id);
        let rest = ids(&mut resumed.listen(), all.len() - index - 1);
        assert_eq!(rest, all[index + 1..]);
        let after = server.get(&format!("/v1/notices?after={id}")).bearer(&server.admin);
        let page = after.send().expect(200).json();
        assert_eq!(page["items"].as_array().unwrap().len(), rest.len());
    }
}

#[test]
fn what_does_not_say_where_to_begin_is_refused() {
    let server = Server::start();
    for text in ["x", "-1", "1.", "1.x", "+1", "1e3", "18446744073709551616"] {
        let stream = server.get(&format!("/v1/notices?after={text}")).bearer(&server.admin);
        let reply = stream.clone().header("accept", "text/event-stream").send();
        assert_eq!(reply.refused(400, "INVALID_REQUEST").fields(), ["after"]);
        assert_eq!(stream.send().refused(400, "INVALID_REQUEST").fields(), ["after"]);
        let resumed = server.get("/v1/events").bearer(&server.admin).header("last-event-id", text);
        let reply = resumed.clone().header("accept", "text/event-stream").send();
        assert_eq!(reply.refused(400, "INVALID_REQUEST").fields(), ["Last-Event-ID"]);
    }
    let page = server.get("/v1/events?after=latest").bearer(&server.admin);
    assert_eq!(page.send().refused(400, "INVALID_REQUEST").fields(), ["after"]);
    let paged = server.get("/v1/events?limit=5").bearer(&server.admin).header("accept", "text/event-stream");
    assert_eq!(paged.send().refused(400, "INVALID_REQUEST").fields(), ["limit"]);
}

#[test]
fn an_owner_hears_of_its_own_and_ownership_follows_the_subject_at_once() {
    let server = Server::start();
    let (alice, _) = server.issue_key("owner", Some("alice"));
    server.register("a", &json!({ "ownerId": "alice" }));
    server.register("b", &json!({ "ownerId": "bob" }));
    let mut listener = server.get("/v1/notices").bearer(&alice).listen();
    server.create(&json!({ "subjectId": "b" }));
    server.create(&json!({ "subjectId": "a" }));
    let (_, notice) = listener.next().unwrap();
    assert_eq!((&notice["subjectId"], &notice["ownerId"]), (&json!("a"), &json!("alice")));
    server.register("b", &json!({ "ownerId": "alice" }));
    server.create(&json!({ "subjectId": "b" }));
    assert_eq!(listener.next().unwrap().1["subjectId"], "b");
    let events = server.get("/v1/events").bearer(&alice).send().expect(200).json();
    assert!(events["items"].as_array().unwrap().iter().all(|event| !event["subjectId"].is_null()));
}

#[test]
fn a_stream_ends_when_its_credential_is_revoked() {
    let server = Server::start();
    let (key, id) = server.issue_key("auditor", None);
    let mut listener = server.get("/v1/events?after=latest").bearer(&key).listen();
    listener.heartbeat();
    server.delete(&format!("/v1/credentials/{id}")).bearer(&server.admin).send().expect(200);
    let revoked = stopwatch();
    while listener.next().is_some() {}
    assert!(revoked.elapsed() < Duration::from_secs(10), "{:?}", revoked.elapsed());
}

#[test]
fn an_idle_stream_has_a_heartbeat() {
    let server = Server::start();
    let mut listener = server.get("/v1/notices").bearer(&server.admin).listen();
    listener.heartbeat();
    let begun = stopwatch();
    listener.heartbeat();
    assert!((14..25).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
}

#[test]
fn a_stop_ends_the_streams_and_is_quick() {
    let mut server = Server::start();
    let mut listener = server.get("/v1/events").bearer(&server.admin).listen();
    listener.take(1);
    let begun = stopwatch();
    assert!(server.stop().success());
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
    while listener.next().is_some() {}
}

/// Readers come and go, the server dies twice, and each hears each position once, in order.
#[test]
fn readers_that_resume_hear_everything_once_also_through_kill_9() {
    let mut server = Server::start();
    let heard = Mutex::new(Vec::new());
    for round in 0..3 {
        let target = (round + 1) * 40;
        let running = &server;
        std::thread::scope(|scope| {
            let writers: Vec<_> = (0..4)
                .map(|writer| {
                    scope.spawn(move || {
                        (0..10).for_each(|n| running.register(&format!("s{round}-{writer}-{n}"), &json!({})));
                    })
                })
                .collect();
            let begun = stopwatch();
            while heard.lock().unwrap().len() < target {
                assert!(begun.elapsed() < PATIENCE, "{:?}", heard.lock().unwrap());
                let last = heard.lock().unwrap().last().map_or(0, |(position, _)| *position);
                let request = running.get("/v1/events?kinds=SubjectRegistered").bearer(&running.admin);
                let mut listener = request.header("last-event-id", last.to_string()).listen();
                let missing = target - heard.lock().unwrap().len();
                for (id, event) in listener.take(missing.min(7)) {
                    heard.lock().unwrap().push((id.parse::<u64>().unwrap(), event["subjectId"].clone()));
                }
            }
            for writer in writers {
                writer.join().unwrap();
            }
        });
        if round < 2 {
            server.kill9();
        }
    }
    let before = heard.into_inner().unwrap();
    assert!(before.is_sorted_by(|a, b| a.0 < b.0), "{before:?}");
    let subjects: std::collections::BTreeSet<_> = before.iter().map(|(_, id)| id.to_string()).collect();
    assert_eq!(subjects.len(), 120);
    server.kill9();
    let again = server.get("/v1/events?kinds=SubjectRegistered").bearer(&server.admin).listen().take(120);
    let again: Vec<_> =
        again.into_iter().map(|(id, event)| (id.parse().unwrap(), event["subjectId"].clone())).collect();
    assert_eq!(again, before);
}

/// A reader that connects, asks, and never takes a byte.
fn never_reads(server: &Server, target: &str) -> socket2::Socket {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    // What the system would buffer for it must not hide that it does not read.
    socket.set_recv_buffer_size(4_096).unwrap();
    socket.connect(&server.address().into()).unwrap();
    let request = server.get(target).bearer(&server.admin).header("accept", "text/event-stream");
    assert!(socket.send(&request.bytes()).unwrap() > 0);
    socket
}

fn subscribers(server: &Server) -> u64 {
    let metrics = server.get("/metrics").bearer(&server.admin).send().expect(200);
    let line = metrics.body.lines().find_map(|line| line.strip_prefix("tenure_subscribers "));
    line.unwrap().parse().unwrap()
}

#[test]
fn a_reader_that_never_reads_costs_little_and_is_cut_off_after_half_a_minute() {
    const READERS: u64 = 40;
    let server = Server::with(&["limits.per_subject=10000"]);
    server.register("a", &json!({}));
    let session = json!({ "subjectId": "a", "metadata": { "text": "x".repeat(4_000) } });
    let grown_by_a_thousand = || {
        let before = server.resident_kibibytes();
        for _ in 0..1_000 {
            server.create(&session);
        }
        server.resident_kibibytes().saturating_sub(before)
    };
    grown_by_a_thousand();
    // What is kept once, however many read, is no reader's cost.
    let first: Vec<_> = (0..READERS / 2).map(|_| never_reads(&server, "/v1/events")).collect();
    grown_by_a_thousand();
    drop(first);
    // First the memory that those readers gave back is used again.
    grown_by_a_thousand();
    grown_by_a_thousand();
    let alone = grown_by_a_thousand() + grown_by_a_thousand();
    let others = subscribers(&server);
    let before = server.resident_kibibytes();
    let begun = stopwatch();
    // Half of them stop in the middle of the history, half wait for what is to come and do not take it.
    let readers: Vec<_> = (0..READERS)
        .map(|n| never_reads(&server, if n % 2 == 0 { "/v1/events" } else { "/v1/events?after=latest" }))
        .collect();
    while subscribers(&server) < others + READERS {
        assert!(begun.elapsed() < PATIENCE, "{} came", subscribers(&server) - others);
        pause(Duration::from_millis(20));
    }
    grown_by_a_thousand();
    grown_by_a_thousand();
    let with_readers = server.resident_kibibytes().saturating_sub(before);
    // Each holds 32 events of about 10 KiB at most, and the buffers of its connection: with what the allocator keeps
    // beside them, one or two mebibytes. Of those that wait, each would hold the 20 that came if nothing bounded it.
    let cost = with_readers.saturating_sub(alone);
    assert!(cost < READERS * 4_096, "{READERS} readers that do not read cost {cost} KiB");
    while subscribers(&server) > others {
        assert!(begun.elapsed() < Duration::from_mins(3), "{} are still there", subscribers(&server));
        pause(Duration::from_millis(200));
    }
    assert!(begun.elapsed() > Duration::from_secs(29), "{:?}", begun.elapsed());
    drop(readers);
}
