//! What asks a node as another node, and is none.

use serde_json::json;

use crate::{
    broker::{self, Broker},
    node::{Caller, Node, prepare},
};

fn refused(caller: &Caller) -> u64 {
    let metrics = caller.text("/metrics").unwrap();
    let line = metrics.lines().find_map(|line| line.strip_prefix("tenure_refused_nodes_total "));
    line.unwrap().parse().unwrap()
}

/// A node with another secret was refused, and no figure told of it.
#[test]
fn what_lacks_the_secret_is_refused_and_counted() {
    let Some(program) = broker::program("that strangers are counted") else { return };
    let broker = Broker::start(&program);
    let dirs = prepare(&broker, 1);
    let mut node = Node::start(&broker, dirs[0].path());
    let caller = node.leader(dirs[0].path());
    let asks = |path: &str, headers: &[(&str, &str)]| {
        caller.send("POST", path, headers, Some(&json!({ "nonce": "1" }))).unwrap().status
    };
    // Who does not say to be a node is no stranger.
    assert_eq!((asks("/v1/cluster/history", &[]), refused(&caller)), (404, 0));
    let code = "0".repeat(64);
    for (count, path) in (1..).zip(["/v1/cluster/history", "/v1/cluster/noted"]) {
        assert_eq!((asks(path, &[("tenure-node-code", &code)]), refused(&caller)), (404, count));
    }
    // It is taken for the caller's own request.
    let said = format!("1;10.0.0.7;1;{code}");
    let put = json!({ "kind": "agent" });
    let reply = caller.send("PUT", "/v1/subjects/agent-1", &[("tenure-forwarded", &said)], Some(&put));
    assert_eq!((reply.unwrap().status, refused(&caller)), (201, 3));
    node.waits_to_say("something asks here as a node of this cluster, and is refused");
}
