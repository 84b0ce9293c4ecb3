//! A clock that a test moves, at several nodes.

use std::time::Duration;

use serde_json::json;
use tenure::clock::{pause, stopwatch};

use crate::{node::Caller, pair::Pair};

fn now(caller: &Caller) -> String {
    caller.get("/v1/clock")["now"].as_str().unwrap().to_owned()
}

/// A cluster refused `--test-clock`, so nothing that takes time could be tried with one.
#[test]
fn a_clock_that_is_moved_at_one_node_is_moved_for_all_and_never_goes_back() {
    let Some(mut pair) = Pair::start_under_clock("that all nodes go by one test clock") else { return };
    let (leader, follower) = (&pair.leader, &pair.follower);
    let granted = leader.create("agent-1");
    // The lifetime of a session, and a second: nothing is recorded by it.
    let moved = follower.send("PUT", "/v1/clock", &[], Some(&json!({ "advance": 86_401 }))).unwrap();
    assert_eq!(moved.status, 200, "{}", moved.body);
    assert_eq!(moved.body["now"], *now(leader));
    assert!(!leader.is_active(&granted.token));
    let begun = stopwatch();
    while follower.is_active(&granted.token) {
        assert!(begun.elapsed() < Duration::from_secs(5), "the follower does not hear that time has passed");
        pause(Duration::from_millis(20));
    }
    let last = now(leader);
    pair.first.kill();
    follower.waits_for_role("leader");
    assert!(now(follower) >= last, "{} is before {last}", now(follower));
    assert!(!follower.is_active(&granted.token));
}
