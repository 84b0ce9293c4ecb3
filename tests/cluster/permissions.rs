//! What the documents say that a node may do at the broker, and nothing more, is enough for a cluster.

use std::{
    fs,
    path::{Path, PathBuf},
};

use nkeys::KeyPair;

use crate::{
    broker::{self, Broker},
    checkpoints::waits_until,
    node::{Node, cluster_on},
};

/// The permissions as they are in the documents, for these public keys.
fn documented(keys: &[(&str, String)]) -> String {
    let page = fs::read_to_string("docs/cluster.md").unwrap();
    let begin = page.find("authorization {").unwrap();
    let block = page[begin..].split("```").next().unwrap().to_owned();
    keys.iter().fold(block, |block, (name, key)| {
        assert!(block.contains(&format!("nkey: {name}")), "{name}");
        block.replace(&format!("nkey: {name}"), &format!("nkey: {key}"))
    })
}

fn seed(dir: &Path, name: &str) -> ((&'static str, String), PathBuf) {
    let (key, path) = (KeyPair::new_user(), dir.join(name));
    fs::write(&path, key.seed().unwrap()).unwrap();
    let shown = match name {
        "operator" => "OPERATOR",
        "a" => "NODE-A",
        "b" => "NODE-B",
        _ => "NODE-C",
    };
    ((shown, key.public_key()), path)
}

/// The names of inboxes could not be written as a permission, so a broker that kept to the documents denied every node
/// its answers.
#[test]
fn nodes_with_the_documented_permissions_lead_follow_erase_and_take_over() {
    let Some(program) = broker::program("that the documented permissions are enough") else { return };
    let dir = tempfile::tempdir().unwrap();
    let made = ["operator", "a", "b", "c"].map(|name| seed(dir.path(), name));
    let (keys, files): (Vec<_>, Vec<_>) = made.into_iter().unzip();
    let broker = Broker::start_with(&program, &documented(&keys));
    let data = ["one", "two"].map(|name| dir.path().join(name));
    for data in &data {
        fs::create_dir(data).unwrap();
    }
    let secret = data[0].join("cluster.secret");
    let words = ["--secret-file", secret.to_str().unwrap(), "--nkey-file", files[0].to_str().unwrap()];
    let (status, said) = cluster_on(
        &broker.url(),
        &[&["init", "--replicas", "1", "--max-bytes", "1073741824"], &words[..]].concat(),
    );
    assert!(status.success(), "{said}");
    fs::copy(&secret, data[1].join("cluster.secret")).unwrap();
    let start = |number: usize| {
        let shown = format!("log.nkey_file={}", files[number + 1].display());
        Node::start_with(&broker.url(), &data[number], &[&shown])
    };
    let mut first = start(0);
    let leader = first.leader(&data[0]);
    let mut second = start(1);
    let follower = second.follower(&data[0]);
    let granted = leader.create("agent-1");
    waits_until("the follower does not know it", || follower.is_active(&granted.token));
    leader.erase("agent-1");
    leader.create("agent-2");
    let known = || follower.get("/readyz")["nodes"].as_array().map_or(0, Vec::len);
    waits_until("the nodes do not know of each other", || known() == 2);
    first.kill();
    let leader = second.leader(&data[0]);
    assert!(leader.is_active(&granted.token) && leader.subject("agent-1")["name"].is_null());
    leader.create("agent-3");
    for node in [&first, &second] {
        assert!(!node.said().contains("denies"), "{}", node.said());
    }
}
