//! How long nobody writes when the node that leads is gone.

use std::time::Duration;

use rustix::process::Signal;
use serde_json::json;
use tenure::clock::{pause, stopwatch};
use tenure_testing::surroundings::{say, variable};

use crate::{
    broker,
    node::{Caller, Node, prepare_on},
    pair::Pair,
};

/// Writes under new keys until one write is acknowledged; how long that took.
fn until_acknowledged(caller: &Caller, name: &str) -> Duration {
    let (begun, named) = (stopwatch(), json!({ "kind": "agent" }));
    for number in 0.. {
        let reply = caller.send("PUT", &format!("/v1/subjects/{name}-{number}"), &[], Some(&named));
        if reply.is_some_and(|reply| [200, 201].contains(&reply.status)) {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "nothing is acknowledged");
        pause(Duration::from_millis(10));
    }
    begun.elapsed()
}

/// Callers wait for the end of the lease, which is 3 s after its last renewal, and for nothing beside it: that somebody
/// looks, that all wait for each other, that an answer is still awaited of the node that is gone.
#[test]
fn a_leader_that_dies_or_freezes_is_followed_within_four_seconds() {
    let Some(pair) = Pair::start("how long nobody writes when the leader is gone") else { return };
    let Pair { mut first, mut second, follower, ref dirs, .. } = pair;
    let granted = follower.create("agent-1");
    first.signal(Signal::STOP);
    let frozen = until_acknowledged(&follower, "frozen");
    first.signal(Signal::CONT);
    let back = first.follower(dirs[0].path());
    second.kill();
    let dead = until_acknowledged(&back, "dead");
    say(&format!("acknowledged again after {frozen:?} (frozen) and {dead:?} (killed)"));
    assert!(back.is_active(&granted.token));
    assert!(frozen.min(dead) < Duration::from_secs(4), "{frozen:?} {dead:?}");
    assert!(frozen.max(dead) < Duration::from_secs(8), "{frozen:?} {dead:?}");
    // Where no other node is, a stop waits for none.
    let begun = stopwatch();
    back.waits_for_role("leader");
    first.signal(Signal::TERM);
    assert!(first.ends().success(), "{}", first.said());
    let said = first.said();
    assert!(begun.elapsed() < Duration::from_secs(6), "{:?} {said}", begun.elapsed());
}

/// The same with three brokers and three nodes, ten times each way; the figures of the manual. Only in the long form.
#[test]
fn figures_of_takeovers_with_three_brokers() {
    if variable("TENURE_TEST_CLUSTER_LONG").is_none() {
        return;
    }
    let Some(program) = broker::program("how long takeovers take") else { return };
    let brokers = broker::Broker::three(&program);
    let addresses: Vec<_> = brokers.iter().map(|broker| format!("127.0.0.1:{}", broker.port())).collect();
    let url = format!("nats://{}", addresses.join(","));
    let dirs = prepare_on(&url, 3, 3);
    let mut nodes: Vec<_> = dirs.iter().map(|dir| Node::start_with(&url, dir.path(), &[])).collect();
    let keys = loop {
        let found = dirs.iter().find(|dir| dir.path().join("admin.key").exists());
        match found {
            Some(dir) => break dir.path().to_owned(),
            None => pause(Duration::from_millis(50)),
        }
    };
    let callers: Vec<_> = nodes.iter_mut().map(|node| node.admin(&keys)).collect();
    for way in ["killed", "frozen", "handed over"] {
        let mut took: Vec<_> = (0..10).map(|round| one_takeover(&mut nodes, &callers, way, round)).collect();
        took.sort();
        say(&format!("{way}: median {:?}, longest {:?}", took[5], took[9]));
    }
}

fn one_takeover(nodes: &mut [Node], callers: &[Caller], way: &str, round: usize) -> Duration {
    let role =
        |caller: &Caller| caller.send("GET", "/readyz", &[], None).map(|ready| ready.body["role"].clone());
    let leader = loop {
        let roles: Vec<_> = callers.iter().map(role).collect();
        let all = roles.iter().flatten().filter(|role| **role == "follower").count() == 2;
        match roles.iter().position(|role| role.as_ref().is_some_and(|role| role == "leader")) {
            Some(leader) if all => break leader,
            Some(_) | None => pause(Duration::from_millis(50)),
        }
    };
    let (node, asked) = (&mut nodes[leader], &callers[(leader + 1) % 3]);
    // Not always at the same moment of the lease.
    pause(Duration::from_millis(70 * u64::try_from(round).unwrap()));
    let name = format!("{}-{round}", way.replace(' ', "-"));
    match way {
        "killed" => node.kill(),
        "frozen" => node.signal(Signal::STOP),
        _ => {
            let begun = stopwatch();
            assert_eq!(callers[leader].send("POST", "/v1/cluster/handover", &[], None).unwrap().status, 200);
            return begun.elapsed();
        }
    }
    let took = until_acknowledged(asked, &name);
    match way {
        "killed" => nodes[leader].restart(),
        "frozen" => nodes[leader].signal(Signal::CONT),
        _ => {}
    }
    took
}
