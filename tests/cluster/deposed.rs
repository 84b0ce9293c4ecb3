//! A leader that is deposed, or that its broker has left alone, and what it answers.

use std::{thread, time::Duration};

use rustix::process::Signal;
use serde_json::{Value, json};
use tenure::clock::{pause, stopwatch};

use crate::{node::Reply, pair::Pair};

/// A request waits so long for a leader.
const PATIENCE: Duration = Duration::from_secs(2);

fn age(reply: &Reply) -> u64 {
    reply.header("x-tenure-staleness-ms").unwrap().parse().unwrap()
}

/// It told its callers 503, although the next leader was at work for seconds already.
#[test]
fn what_comes_to_a_leader_that_slept_is_done_by_the_next_one() {
    let Some(pair) = Pair::start("that a deposed leader has the next one decide") else { return };
    let Pair { first, leader, follower, .. } = &pair;
    let granted = leader.create("agent-1");
    first.signal(Signal::STOP);
    follower.waits_for_role("leader");
    // They are there before it can have heard of the other leader.
    let asked = |method: &'static str, path: String, body: Value| {
        let leader = leader.clone();
        thread::spawn(move || {
            let begun = stopwatch();
            (leader.send(method, &path, &[], Some(&body)).unwrap(), begun.elapsed())
        })
    };
    let registered =
        |number| asked("PUT", format!("/v1/subjects/asleep-{number}"), json!({ "kind": "agent" }));
    let mut replies: Vec<_> = (0..6).map(registered).collect();
    let strict = json!({ "token": granted.token, "consistency": "strict" });
    replies.extend((0..3).map(|_| asked("POST", "/v1/introspect".to_owned(), strict.clone())));
    pause(Duration::from_millis(200));
    first.signal(Signal::CONT);
    for reply in replies {
        let (reply, took) = reply.join().unwrap();
        // On a busy machine it may not hear of the other one in time.
        let is_late = reply.status == 503 && reply.body["code"] == "STALE" && took >= PATIENCE;
        assert!([200, 201].contains(&reply.status) || is_late, "{} {}", reply.status, reply.body);
    }
}

/// While the broker chose a leader of its own, all nodes but the one that led answered checks.
#[test]
fn a_leader_that_hears_nothing_of_the_broker_says_what_it_knows_and_how_old_it_is() {
    let Some(pair) = Pair::start("that a leader without a broker answers checks") else { return };
    let Pair { broker, leader, .. } = &pair;
    let granted = leader.create("agent-1");
    broker.freeze();
    let begun = stopwatch();
    loop {
        let said = leader.introspects(&granted.token);
        assert_eq!(said.status, 200, "{}", said.body);
        assert_eq!(said.body["results"][0]["active"], true);
        if age(&said) >= 3_500 {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(12), "it takes its state for newer than it is");
        pause(Duration::from_millis(20));
    }
    // What is asked for with certainty is not known.
    let strict = json!({ "token": granted.token, "consistency": "strict" });
    let said = leader.send("POST", "/v1/introspect", &[], Some(&strict)).unwrap();
    assert_eq!((said.status, &said.body["code"]), (503, &json!("STALE")), "{}", said.body);
    broker.thaw();
    leader.create("agent-2");
}
