//! Costly reads take nothing from checks: they pass through a gate, each caller has a share of it, and what nobody waits
//! for any more is not done.

use std::{
    io::{BufRead, BufReader, Write},
    process::{Command, Stdio},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::Duration,
};

use serde_json::json;
use tenure::{
    clock::{pause, stopwatch},
    core::SessionId,
};
use tenure_testing::history::append_fleet;

use crate::server::{PATIENCE, Request, Server, all_at_once};

/// Sessions in the history: folding it takes a while, and whoever asks meanwhile meets the gate.
const SESSIONS: u64 = 30_000;

/// A server with a long history: many subjects of an owner `fleet` with a session each.
fn server_with_history() -> Server {
    server_with_history_and(&[])
}

/// The same, with some settings.
fn server_with_history_and(settings: &[&str]) -> Server {
    let mut server = Server::with(settings);
    assert!(server.stop().success());
    append_fleet(&server.data(), SESSIONS);
    server.start_again();
    server
}

/// A number of the metrics; 0 when there is no such line yet.
fn metric(server: &Server, name: &str) -> u64 {
    let text = server.get("/metrics").bearer(&server.admin).send().expect(200).body;
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ').map(str::to_owned));
    line.map_or(0, |value| value.parse().unwrap())
}

fn until(what: &str, is_so: impl Fn() -> bool) {
    let begun = stopwatch();
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE, "{what}");
        pause(Duration::from_millis(5));
    }
}

fn past(server: &Server, key: &str, position: u64) -> Request {
    server.get(&format!("/v1/sessions?asOfPosition={position}&limit=1")).bearer(key)
}

/// Says at its end that it is over.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Introspects until it is over; gives back how often. Each answer must be right.
fn probed<T>(server: &Server, beside: impl FnOnce() -> T) -> (T, u64) {
    let session = server.session("probe", 86_400);
    let (is_over, answers) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        let probe = scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                assert_eq!(server.introspect(&session.token).json()["active"], json!(true));
                answers.fetch_add(1, Ordering::Relaxed);
            }
        });
        let result = {
            // Whether it succeeds or not: the scope waits for the probe.
            let _over = Over(&is_over);
            beside()
        };
        probe.join().unwrap();
        (result, answers.load(Ordering::Relaxed))
    })
}

/// Sixty-four reads of the past by one key folded the whole history sixty-four times, at once: gigabytes, and no check
/// was answered meanwhile.
#[test]
fn reads_of_the_past_wait_for_one_another_and_beyond_a_share_or_the_gate_are_refused() {
    let server = server_with_history();
    let head = metric(&server, "tenure_position");
    let (auditor, _) = server.issue_key("auditor", None);
    past(&server, &auditor, head).send().expect(200);
    let resident = server.resident_kibibytes();

    let asked: Vec<_> = (0..64).map(|back| past(&server, &auditor, head - back)).collect();
    let (replies, answers) = probed(&server, || all_at_once(&asked));
    for reply in &replies {
        if reply.status == 200 {
            assert_eq!(reply.json()["items"].as_array().unwrap().len(), 1);
        } else {
            reply.clone().refused(429, "RATE_LIMITED");
            assert!(reply.header("retry-after").is_some(), "{reply:?}");
        }
    }
    let refused = replies.iter().filter(|reply| reply.status == 429).count();
    assert!((24..=55).contains(&refused), "one key has half of the places: {refused} of 64 were refused");
    assert_eq!(metric(&server, "tenure_costly_beyond_share_total"), refused as u64);
    assert!(answers > 0, "checks go on beside them");

    // Of many keys: two at work, sixteen that wait, and the others come again later.
    let keys: Vec<_> = (0..32).map(|_| server.issue_key("auditor", None).0).collect();
    let head = head - 64;
    let asked: Vec<_> =
        (0..64).map(|number| past(&server, &keys[number / 2], head - number as u64)).collect();
    let (replies, answers) = probed(&server, || all_at_once(&asked));
    let of = |status: u16| replies.iter().filter(|reply| reply.status == status).count();
    assert_eq!(of(200) + of(503), 64, "{replies:?}");
    assert!(of(200) >= 18, "{}", of(200));
    assert!(of(503) >= 20, "{}", of(503));
    let refused = replies.iter().find(|reply| reply.status == 503).unwrap();
    assert!(refused.header("retry-after").is_some(), "{refused:?}");
    refused.clone().refused(503, "OVERLOADED");
    // Some of them where the time of their position is looked up.
    let refused = ["whole", "parts"].map(|gate| format!("tenure_costly_refused_total{{gate=\"{gate}\"}}"));
    assert_eq!(refused.iter().map(|name| metric(&server, name)).sum::<u64>(), of(503) as u64);
    assert!(answers > 0, "checks go on beside them");
    let grown = server.resident_kibibytes().saturating_sub(resident) / 1_024;
    assert!(grown < 150, "two states at once are in memory, not 64: {grown} MiB more");
}

/// What was asked went on to be folded when its caller had left.
#[test]
fn a_read_of_the_past_ends_when_its_caller_has_gone() {
    let server = server_with_history();
    let head = metric(&server, "tenure_position");
    let (auditor, _) = server.issue_key("auditor", None);
    let running = || metric(&server, "tenure_costly_running{gate=\"whole\"}");
    let mut connection = server.connect();
    connection.write_all(&past(&server, &auditor, head).bytes()).unwrap();
    until("the history is being folded", || running() == 1);
    // Not merely its own side is over.
    socket2::SockRef::from(&connection).set_linger(Some(Duration::ZERO)).unwrap();
    drop(connection);
    until("it is given up", || running() == 0);
    assert_eq!(metric(&server, "tenure_costly_abandoned_total{gate=\"whole\"}"), 1);
    assert_eq!(metric(&server, "tenure_costly_folded_events_total"), 0, "it was folded to its end");
}

#[test]
fn equal_questions_about_the_past_are_answered_together() {
    let server = server_with_history();
    let head = metric(&server, "tenure_position");
    let keys: Vec<_> = (0..6).map(|_| server.issue_key("auditor", None).0).collect();
    // Two others are at work, so that all of the equal ones meet in the queue.
    let busy: Vec<_> = (0..2).map(|back| past(&server, &server.admin, head - 1 - back)).collect();
    let replies = std::thread::scope(|scope| {
        let busy = scope.spawn(|| all_at_once(&busy));
        until("both threads are at work", || metric(&server, "tenure_costly_running{gate=\"whole\"}") == 2);
        let equal: Vec<_> = (0..12)
            .map(|number| {
                let what = ["/v1/sessions?", "/v1/sessions?status=all&limit=2&", "/v1/subjects?"][number % 3];
                server.get(&format!("{what}asOfPosition={head}")).bearer(&keys[number / 2])
            })
            .collect();
        let replies = all_at_once(&equal);
        assert!(busy.join().unwrap().iter().all(|reply| reply.status == 200));
        replies
    });
    for (number, reply) in replies.into_iter().enumerate() {
        let items = reply.expect(200).json()["items"].as_array().unwrap().len();
        assert_eq!(items, [50, 2, 50][number % 3], "each reads what it asked for");
    }
    assert_eq!(metric(&server, "tenure_costly_shared_total{gate=\"whole\"}"), 11);
}

/// Each page of a list of the past folded the whole history again, to read the next few lines of the same answer.
#[test]
fn the_next_page_of_the_past_goes_on_from_the_fold_of_the_first() {
    let server = server_with_history();
    let (auditor, _) = server.issue_key("auditor", None);
    let head = metric(&server, "tenure_position");
    let folded = || metric(&server, "tenure_costly_folded_events_total");
    let page = |list: &str, key: &str| {
        server.get(&format!("/v1/{list}limit=40&asOfPosition={head}")).bearer(key).send().expect(200).json()
    };
    let mut cursor = page("sessions?", &auditor)["nextCursor"].clone();
    assert_eq!(folded(), head);
    for _ in 0..5 {
        let next = page(&format!("sessions?cursor={}&", cursor.as_str().unwrap()), &auditor);
        assert_eq!(next["items"].as_array().unwrap().len(), 40);
        assert!(next["nextCursor"] != cursor, "{next}");
        cursor = next["nextCursor"].clone();
    }
    page("sessions?status=all&", &server.admin);
    page("subjects?", &auditor);
    assert_eq!(folded(), head, "all of them read one fold");

    // A later moment needs what happened in between, also from the middle of a commit; an earlier one begins again.
    let before = head;
    server.register("later", &json!({ "maxSessions": 9, "onLimit": "evict_oldest" }));
    let sessions: Vec<_> = (0..12).map(|_| server.create(&json!({ "subjectId": "later" }))).collect();
    let end = metric(&server, "tenure_position");
    for at in before + 1..=end {
        let list = server.get(&format!("/v1/sessions?asOfPosition={at}&limit=1&status=all")).bearer(&auditor);
        list.send().expect(200);
    }
    assert_eq!(folded(), end);
    let newest = past(&server, &auditor, end).send().expect(200).json();
    assert_eq!(newest["items"][0]["sessionId"], json!(sessions[11].id));
    past(&server, &auditor, before).send().expect(200);
    assert_eq!(folded(), end + before);
}

/// The search for the position of a time passed no gate: an agent asked for its own past, and each question read the log
/// some thirty times on a thread that answers checks.
#[test]
fn the_moment_of_a_time_is_searched_behind_the_gate_too() {
    let server = server_with_history();
    let session = server.session("own", 86_400);
    let done = || metric(&server, "tenure_costly_done_total{gate=\"parts\"}");
    let now = server.get("/v1/clock").bearer(&server.admin).send().expect(200).text("now");
    let own = server.get(&format!("{}?asOf={now}", session.path())).bearer(&session.token);
    assert_eq!(own.send().expect(200).text("sessionId"), session.id);
    // A job is counted once its thread has answered.
    until("the search and the fold of its subject were not counted", || done() == 2);
    let made =
        server.get(&session.path()).bearer(&server.admin).send().expect(200).json()["asOfPosition"].clone();
    let own = server.get(&format!("{}?asOfPosition={made}", session.path())).bearer(&session.token);
    assert_eq!(own.send().expect(200).text("sessionId"), session.id);
    until("the moment of a position was not counted", || done() == 4);
    server.get(&format!("/v1/events?since={now}")).bearer(&server.admin).send().expect(200);
    until("the beginning of a page was not counted", || done() == 5);
}

/// A backup read the whole history on a thread that other requests wait for the disk on, with their priority.
#[test]
fn a_backup_passes_a_gate_and_only_one_is_made_at_a_time() {
    let place = tempfile::tempdir().unwrap();
    let server = server_with_history_and(&[&format!("backup.dir={}", place.path().display())]);
    let asked = ["a", "b", "c"].map(|name| {
        let body = json!({ "name": name, "withoutKeys": true });
        server.post("/v1/backup").bearer(&server.admin).json(&body)
    });
    let replies = all_at_once(&asked);
    let made = replies.iter().filter(|reply| reply.status == 200).count();
    for reply in replies.into_iter().filter(|reply| reply.status != 200) {
        assert_eq!(reply.clone().refused(429, "RATE_LIMITED").header("retry-after"), Some("10"), "{reply:?}");
    }
    assert!(made >= 1);
    let done = || metric(&server, "tenure_costly_done_total{gate=\"backups\"}");
    until("the backups were not counted", || done() == made as u64);
}

/// Three reads at once by one key were refused on a server that had nothing else to do.
#[test]
fn as_long_as_half_of_the_places_are_free_nobody_has_a_share() {
    let server = server_with_history();
    let head = metric(&server, "tenure_position");
    let (auditor, _) = server.issue_key("auditor", None);
    let asked: Vec<_> = (0..8).map(|back| past(&server, &auditor, head - back)).collect();
    for reply in all_at_once(&asked) {
        reply.expect(200);
    }
    let rare = server.get("/v1/events?kinds=SubjectErased").bearer(&auditor);
    for reply in all_at_once(&vec![rare; 10]) {
        reply.expect(200);
    }
    assert_eq!(metric(&server, "tenure_costly_beyond_share_total"), 0);
}

/// Of one credential an export is streamed while two others are, and four in all. Stalled ones held threads that look up
/// names for webhooks. Two at once by one key were refused also on a server that streamed nothing else.
#[test]
fn an_export_beyond_a_share_is_refused_when_half_are_taken_and_a_fifth_of_all_always() {
    let server = server_with_history_and(&["webhooks.allow_private=true"]);
    let keys: Vec<_> = (0..4).map(|_| server.issue_key("auditor", None).0).collect();
    let export = |key: &str| server.get("/v1/audit/export").bearer(key);
    let stalled = |key: &str| {
        let mut connection = server.connect();
        connection.write_all(&export(key).bytes()).unwrap();
        connection
    };
    let running = || metric(&server, "tenure_costly_running{gate=\"exports\"}");
    let first = [stalled(&keys[0]), stalled(&keys[0])];
    until("half are taken", || running() == 2);
    export(&keys[0]).send().refused(429, "RATE_LIMITED");
    let others: Vec<_> = keys[1..3].iter().map(|key| stalled(key)).collect();
    until("four are streamed", || running() == 4);
    export(&keys[3]).send().refused(503, "OVERLOADED");
    // A name is looked up meanwhile: nobody listens there, and that is found out.
    let body = json!({ "url": "http://localhost:1/" });
    let webhook = server.post("/v1/webhooks").bearer(&server.admin).json(&body).send().expect(201);
    let test = format!("/v1/webhooks/{}/test", webhook.text("webhookId"));
    let tested = server.post(&test).bearer(&server.admin).send().expect(200);
    assert_eq!(tested.text("outcome"), "connection_refused");
    drop((first, others));
    until("they are given up", || running() == 0);
    assert!(export(&keys[0]).send().expect(200).body.ends_with('\n'));
}

/// A command that read the history while others did was refused and gave up, though it was told when to come back.
#[test]
fn a_command_that_exports_waits_until_there_is_room() {
    let server = server_with_history();
    let (auditor, _) = server.issue_key("auditor", None);
    let stalled: Vec<_> = (0..2)
        .map(|_| {
            let mut connection = server.connect();
            connection.write_all(&server.get("/v1/audit/export").bearer(&auditor).bytes()).unwrap();
            connection
        })
        .collect();
    until("half are taken", || metric(&server, "tenure_costly_running{gate=\"exports\"}") == 2);
    let directory = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_tenure"))
        .args(["audit", "export"])
        .arg(directory.path().join("history"))
        .env_clear()
        .env("TENURE_URL", format!("http://{}", server.address()))
        .env("TENURE_KEY", &auditor)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(command.stderr.take().unwrap()).lines().map_while(Result::ok);
    let waits = lines.find(|line| line.contains("trying again in"));
    drop(stalled);
    let rest: Vec<_> = lines.collect();
    assert!(command.wait().unwrap().success() && waits.is_some(), "{waits:?} {rest:?}");
}

/// Two callers with an owner's key, who had not a single subject, slowed every check a thousandfold: each page of a list
/// walked over all sessions, on the threads that answer checks.
#[test]
fn a_page_of_a_list_costs_its_size_whatever_it_is_of() {
    let mut server = server_with_history();
    let (without_subjects, _) = server.issue_key("owner", Some("nobody"));
    let looked_at = |server: &Server| metric(server, "tenure_listed_sessions_looked_at_total");
    let list = server.get("/v1/sessions").bearer(&without_subjects);
    let (replies, answers) = probed(&server, || {
        let rounds = (0..20).map(|_| all_at_once(&vec![list.clone(); 16]));
        rounds.flatten().collect::<Vec<_>>()
    });
    assert!(replies.iter().all(|reply| reply.status == 200 && reply.json()["items"] == json!([])));
    assert_eq!(looked_at(&server), 0, "an owner without subjects looks at no session of others");
    assert!(answers > 0, "checks go on beside them");

    let first = SessionId::from_bytes(0x7000_u128.to_be_bytes());
    let revoke = server.delete(&format!("/v1/sessions/{first}")).bearer(&server.admin);
    revoke.send().expect(200);
    for restarted in [false, true] {
        if restarted {
            server.restart();
        }
        for (filter, items, most) in [
            ("limit=10&ownerId=fleet", 10, 11),
            ("ownerId=nobody", 0, 0),
            ("device=unheard-of", 0, 0),
            ("ownerId=fleet&device=unheard-of", 0, 0),
            ("status=revoked", 1, 1),
            ("status=revoked&ownerId=fleet", 1, 1),
            ("status=all&limit=200", 200, 201),
            ("limit=7", 7, 8),
        ] {
            let before = looked_at(&server);
            let page = server.get(&format!("/v1/sessions?{filter}")).bearer(&server.admin).send().expect(200);
            assert_eq!(page.json()["items"].as_array().unwrap().len(), items, "{filter}");
            let looked = looked_at(&server) - before;
            assert!(looked <= most, "{filter}: {looked} were looked at");
        }
    }

    // After a bulk revocation each session is looked at once more, by the first who searches.
    let all = json!({ "selector": { "all": true }, "reason": "an end" });
    server.post("/v1/revocations").bearer(&server.admin).json(&all).send().expect(200);
    for (filter, items) in [("limit=200", 0), ("status=revoked&limit=200", 200), ("ownerId=fleet", 0)] {
        let list = server.get(&format!("/v1/sessions?{filter}")).bearer(&server.admin);
        list.send().expect(200);
        let before = looked_at(&server);
        assert_eq!(list.send().expect(200).json()["items"].as_array().unwrap().len(), items, "{filter}");
        let looked = looked_at(&server) - before;
        assert!(looked <= 201, "{filter}: {looked} were looked at");
    }
}

/// A search for what is rare reads as much of the history as a page may; of one key, ten at a time.
#[test]
fn pages_that_search_far_are_costly_and_those_at_hand_are_not() {
    let server = server_with_history();
    let (auditor, _) = server.issue_key("auditor", None);
    let near = server.get("/v1/events?limit=20").bearer(&auditor);
    let beyond = || metric(&server, "tenure_costly_beyond_share_total");
    assert!(all_at_once(&vec![near; 16]).iter().all(|reply| reply.status == 200));
    assert_eq!(beyond(), 0, "what is at hand has no share");

    let mut refused = 0;
    for list in ["/v1/events?kinds=SubjectErased", "/v1/notices?kinds=SESSION_RENEWAL_REJECTED"] {
        let far = server.get(list).bearer(&auditor);
        for reply in all_at_once(&vec![far.clone(); 64]) {
            if reply.status == 200 {
                assert!(reply.json()["nextCursor"].is_string(), "{reply:?}");
            } else {
                reply.refused(429, "RATE_LIMITED");
                refused += 1;
            }
        }
        far.send().expect(200);
    }
    assert!(refused > 0);
    assert_eq!(beyond(), refused);
}
