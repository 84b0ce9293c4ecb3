//! What anyone may have sent to a host of their choice, and what they learn of it.

use std::time::Duration;

use serde_json::{Value, json};
use tenure::clock::{pause, stopwatch};

use crate::{
    receiver::{BROKEN, INSIDE, Manner, OK, Receiver, Webhook, Webhooks, nobody},
    server::{Reply, Server},
};

fn server() -> Server {
    Server::with(&[INSIDE])
}

#[track_caller]
fn is_told_to_wait(reply: &Reply) {
    let reply = reply.clone().refused(429, "RATE_LIMITED");
    let wait: u32 = reply.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=3_600).contains(&wait), "{reply:?}");
}

/// 300 tests of one webhook were 300 connections at once to a host of the owner's choice.
#[test]
fn a_webhook_makes_one_test_at_a_time_and_ten_in_a_minute() {
    let server = server();
    let receiver = Receiver::start(Manner::Dawdles(Duration::from_secs(1)));
    let webhook = server.webhook(&receiver.url(), &json!({}));
    let test = |webhook: &Webhook| server.post(&webhook.path("/test")).bearer(&server.admin).send();
    let replies: Vec<_> = std::thread::scope(|scope| {
        let asking: Vec<_> = (0..6).map(|_| scope.spawn(|| test(&webhook))).collect();
        asking.into_iter().map(|one| one.join().unwrap()).collect()
    });
    assert_eq!(replies.iter().filter(|reply| reply.status == 200).count(), 1);
    replies.iter().filter(|reply| reply.status != 200).for_each(is_told_to_wait);
    assert_eq!((receiver.received().len(), receiver.most_at_once()), (1, 1));
    receiver.behave(OK);
    for _ in 0..9 {
        test(&webhook).expect(200);
    }
    is_told_to_wait(&test(&webhook));
    assert_eq!(receiver.received().len(), 10);
    let other = server.webhook(&receiver.url(), &json!({}));
    test(&other).expect(200);
}

/// Twenty small requests for a redelivery were twenty readings of the whole log, each of which began the one before
/// again.
#[test]
fn a_redelivery_is_over_before_another_begins() {
    let (server, receiver) = (server(), Receiver::start(BROKEN));
    let webhook = server.webhook(&receiver.url(), &json!({}));
    let again = || {
        let body = json!({ "from": 1 });
        server.post(&webhook.path("/redeliver")).bearer(&server.admin).json(&body).send()
    };
    server.session("a", 86_400);
    receiver.wait_for(1);
    again().expect(200);
    receiver.wait_for(2);
    let begun = stopwatch();
    is_told_to_wait(&again());
    // One that asks again at once would otherwise keep the threads busy that answer checks.
    assert!(begun.elapsed() >= Duration::from_millis(100), "{:?}", begun.elapsed());
    receiver.behave(OK);
    server.advance(60);
    server.wait_for_deliveries(&webhook, |all| all.len() == 1 && all[0]["status"] == "delivered");
    again().expect(200);
    receiver.wait_for(4);
    // Where there is nothing to tell it is over once the log is read.
    let owner = server.issue_key("owner", Some("alice")).0;
    let made = server.post("/v1/webhooks").bearer(&owner).json(&json!({ "url": receiver.url() })).send();
    let path = format!("/v1/webhooks/{}/redeliver", made.expect(201).text("webhookId"));
    for _ in 0..2 {
        let again = || server.post(&path).bearer(&owner).json(&json!({ "from": 1 })).send().status;
        let begun = stopwatch();
        while again() != 200 {
            assert!(begun.elapsed() < crate::server::PATIENCE, "it is never over");
            pause(Duration::from_millis(20));
        }
    }
}

/// What was to be told again was read on the threads that answer checks, for every webhook at once.
#[test]
fn a_redelivery_reads_the_past_behind_a_gate_and_tells_all_of_it_in_order() {
    let (server, receiver) = (server(), Receiver::start(OK));
    let done = || {
        let text = server.get("/metrics").bearer(&server.admin).send().expect(200).body;
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix("tenure_costly_done_total{gate=\"redeliveries\"} "));
        line.map_or(0, |value| value.parse::<u64>().unwrap())
    };
    server.register("a", &json!({}));
    let session = server.create(&json!({ "subjectId": "a" }));
    for number in 0..1_200 {
        let body = json!({ "name": format!("{number}") });
        server.put("/v1/subjects/a").bearer(&server.admin).json(&body).send().expect(200);
    }
    server.delete(&session.path()).bearer(&server.admin).send().expect(200);
    let webhook = server.webhook(&receiver.url(), &json!({}));
    assert_eq!((done(), receiver.received().len()), (0, 0), "a new webhook begins with the news");
    let body = json!({ "from": 1 });
    server.post(&webhook.path("/redeliver")).bearer(&server.admin).json(&body).send().expect(200);
    server.wait_for_deliveries(&webhook, |all| {
        all.len() == 2 && all.iter().all(|delivery| delivery["status"] == "delivered")
    });
    assert!(done() >= 1);
    let kinds: Vec<_> = receiver.received().iter().map(|request| request.json()["type"].clone()).collect();
    assert_eq!(kinds, ["SESSION_CREATED", "SESSION_REVOKED"]);
    // Then it hears the news as before.
    server.create(&json!({ "subjectId": "a" }));
    receiver.wait_for(3);
}

/// A test told its owner whether a name resolves inside, and which ports of a host answer.
#[test]
fn an_owner_learns_that_it_failed_and_not_how() {
    let server = server();
    let broken = Receiver::start(BROKEN);
    let owner = server.issue_key("owner", Some("alice")).0;
    let of_alice = |url: &str| server.webhook(url, &json!({ "ownerId": "alice" }));
    let test = |webhook: &Webhook, key: &str| {
        server.post(&webhook.path("/test")).bearer(key).send().expect(200).json()
    };
    let failed = json!({ "outcome": "failed", "httpStatus": null });
    let unreachable = of_alice(&nobody());
    assert_eq!(test(&unreachable, &owner), failed);
    assert_eq!(test(&unreachable, &server.admin)["outcome"], "connection_refused");
    let answering = of_alice(&broken.url());
    assert_eq!(test(&answering, &owner), failed);
    assert_eq!(test(&answering, &server.admin), json!({ "outcome": "http_error", "httpStatus": 500 }));
    broken.behave(OK);
    assert_eq!(test(&answering, &owner), json!({ "outcome": "delivered", "httpStatus": 200 }));

    // The list of attempts is no way round: it tells what a receiver answered, and not why there was none.
    broken.behave(BROKEN);
    server.register("hers", &json!({ "ownerId": "alice" }));
    server.create(&json!({ "subjectId": "hers" }));
    let outcome = |webhook: &Webhook, key: &str| {
        server.wait_for_deliveries(webhook, |all| all.len() == 1 && !all[0]["attempts"][0].is_null());
        let page = server.get(&webhook.path("/deliveries")).bearer(key).send().expect(200).json();
        page["items"][0]["attempts"][0]["outcome"].clone()
    };
    assert_eq!(outcome(&unreachable, &owner), "failed");
    assert_eq!(outcome(&unreachable, &server.admin), "connection_refused");
    assert_eq!(outcome(&answering, &owner), "http_error");
    assert_eq!(outcome(&answering, &server.admin), Value::from("http_error"));
}
