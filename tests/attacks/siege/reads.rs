//! Reads that cost much, of those who may read little.

use std::{
    io::Read as _,
    net::TcpListener,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use serde_json::json;
use tenure::clock::{pause, stopwatch};

use super::{Seen, Siege, by_many, crowd, flood, once, with};
use crate::client::{ATTACKER, FRIEND, Server, request};

/// A page of an owner who has nothing, or of a device that nobody has, was a walk over everything, on a thread that
/// answers checks; and for a page of subjects all of them were sorted.
#[test]
fn an_owner_without_a_subject_asks_for_pages() {
    let siege = Siege::of_long("pages of an owner of nothing", &[]);
    let (owner, auditor) = (siege.server.owner("mallory"), siege.server.key("auditor"));
    let asked = [
        ("/v1/sessions", &owner),
        ("/v1/subjects", &owner),
        ("/v1/sessions?device=none", &auditor),
        ("/v1/subjects?limit=1", &auditor),
    ];
    let asked = asked.map(|(target, key)| request("GET", target, &with(key), "", 0));
    let next = AtomicUsize::new(0);
    siege.hold(&|server, stop| {
        let own = &asked[next.fetch_add(1, Ordering::Relaxed) % asked.len()];
        by_many(stop, 4, || flood(server, stop, own));
    });
    let looked_at = siege.server.metric("tenure_listed_sessions_looked_at_total");
    assert_eq!(looked_at, 0, "a page of nothing costs nothing");
}

/// Each of sixty-four reads of the past folded the whole history, at once: gigabytes, and no check was answered.
#[test]
fn an_auditor_asks_sixty_four_times_at_once_for_the_past() {
    let siege = Siege::of_long("the past, 64 at once", &[]);
    let key = siege.server.key("auditor");
    let head = siege.server.metric("tenure_position");
    let next = AtomicUsize::new(0);
    siege.hold(&|server, stop| {
        by_many(stop, 16, || {
            // Each of another moment, so that no two share an answer.
            let back = next.fetch_add(1, Ordering::Relaxed) as u64 % 10_000;
            let target = format!("/v1/sessions?limit=1&asOfPosition={}", head - back);
            once(server, &request("GET", &target, &with(&key), "", 0));
        });
    });
}

/// An agent's own token folded the thousands of events of its subject for each question, sixty-four at once, and found the
/// moment of each by reading the log from end to end and back.
#[test]
fn an_agent_asks_for_the_past_of_its_own_session() {
    let siege = Siege::of_crowded("an agent's own past", &["limits.per_subject=10000"]);
    let (own, token) = siege.server.session("crowded");
    let (another, others_token) = siege.server.session("another");
    let head = siege.server.metric("tenure_position");
    let (next, times) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    // Another agent asks as well, for another session, and now and then.
    let asks = |server: &Server, stop: &AtomicBool| {
        while times.lock().unwrap().is_empty() || !stop.load(Ordering::Relaxed) {
            let (mut client, begun) = (server.call(FRIEND), stopwatch());
            let target = format!("/v1/sessions/{another}?asOfPosition={head}");
            client.ask("GET", &target, &others_token, None).expect(200);
            times.lock().unwrap().push(begun.elapsed());
            pause(Duration::from_millis(50));
        }
    };
    siege.hold_beside(&asks, &|server, stop| {
        by_many(stop, 22, || {
            let number = next.fetch_add(1, Ordering::Relaxed) as u64;
            let moment = if number.is_multiple_of(2) {
                format!("asOfPosition={}", head - number % 1_000)
            } else {
                format!("asOf=2026-01-01T00:00:00.{:03}Z", number % 1_000)
            };
            once(server, &request("GET", &format!("/v1/sessions/{own}?{moment}"), &with(&token), "", 0));
        });
    });
    let mut times = times.into_inner().unwrap();
    times.sort_unstable();
    let theirs = Seen(times);
    println!("{:<40} {}", "the past of another session beside it", theirs.told());
    assert!(theirs.at(99) <= 10 * siege.bound, "it took {:?}", theirs.at(99));
}

/// 540 exports that nobody read took all threads that names are looked up on, and each held megabytes.
#[test]
fn exports_are_begun_and_not_read() {
    let siege = Siege::of_long("exports that nobody reads", &["webhooks.allow_private=true"]);
    let key = siege.server.key("auditor");
    let export = request("GET", "/v1/audit/export", &with(&key), "", 0);
    let receiver = Receiver::start();
    let hook = receiver.hook(&siege.server, &siege.server.admin);
    siege.hold(&|server, stop| {
        let mut kept = Vec::new();
        while !stop.load(Ordering::Relaxed) && kept.len() < 150 {
            let Ok(mut client) = server.try_call_deaf(ATTACKER) else { continue };
            if client.send(&export).is_ok() {
                kept.push(client);
            }
        }
        if !kept.is_empty() {
            let begun = stopwatch();
            let tested =
                server.call(FRIEND).ask("POST", &format!("/v1/webhooks/{hook}/test"), &server.admin, None);
            assert!([200, 429].contains(&tested.status), "{tested:?}");
            assert!(begun.elapsed() < Duration::from_secs(4), "a name took {:?}", begun.elapsed());
        }
        while !stop.load(Ordering::Relaxed) {
            pause(Duration::from_millis(10));
        }
    });
    assert!(receiver.tests() >= 1);
}

/// A receiver of webhooks that answers nothing but success.
struct Receiver {
    port: u16,
    received: Arc<AtomicUsize>,
}

impl Receiver {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let received = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&received);
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                counted.fetch_add(1, Ordering::Relaxed);
                let mut some = [0; 8_192];
                // Nothing depends on what it says.
                drop(stream.read(&mut some));
                drop(std::io::Write::write_all(
                    &mut stream,
                    b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
                ));
            }
        });
        Self { port, received }
    }

    fn tests(&self) -> usize {
        self.received.load(Ordering::Relaxed)
    }

    /// A webhook to it, by a name that has to be looked up.
    fn hook(&self, server: &Server, key: &str) -> String {
        let url = format!("http://localhost:{}/", self.port);
        let made = server.call(FRIEND).ask("POST", "/v1/webhooks", key, Some(&json!({ "url": url })));
        made.expect(201).json()["webhookId"].as_str().unwrap().to_owned()
    }
}

/// Tests and redeliveries had no bound: the service sent what one owner wanted to whom he wanted, and twenty small
/// requests read the whole log twenty times.
#[test]
fn an_owner_without_a_subject_tests_and_redelivers_without_end() {
    let siege = Siege::of_long("tests and redeliveries", &["webhooks.allow_private=true"]);
    let key = siege.server.owner("mallory");
    let receiver = Receiver::start();
    let hook = receiver.hook(&siege.server, &key);
    let from = json!({ "from": 1 }).to_string();
    let asked = [
        request("POST", &format!("/v1/webhooks/{hook}/test"), &with(&key), "", 0),
        request("POST", &format!("/v1/webhooks/{hook}/redeliver"), &with(&key), &from, from.len()),
    ];
    let begun = stopwatch();
    siege.hold(&|server, stop| {
        crowd(server, stop, |client| asked.iter().try_for_each(|bytes| client.try_ask(bytes).map(drop)));
    });
    let most = 10 * (1 + begun.elapsed().as_secs().div_ceil(60));
    assert!((1..=most).contains(&(receiver.tests() as u64)), "{} were sent", receiver.tests());
}
