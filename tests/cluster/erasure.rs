//! Where text that was erased is erased: on the nodes that are there, at once; on those that are away, once they are back.

use std::{fs, path::Path};

use rustix::process::Signal;
use serde_json::Value;

use crate::{
    broker::{self, Broker},
    checkpoints::waits_until,
    node::{Caller, Node, cluster, contents, prepare, run},
};

/// Three nodes; the first one leads.
struct Three {
    broker: Broker,
    dirs: Vec<tempfile::TempDir>,
    nodes: Vec<Node>,
    callers: Vec<Caller>,
}

fn three(test: &str) -> Option<Three> {
    let broker = Broker::start(&broker::program(test)?);
    let dirs = prepare(&broker, 3);
    let keys = dirs[0].path().to_owned();
    let (mut nodes, mut callers) = (vec![], vec![]);
    for (number, dir) in dirs.iter().enumerate() {
        let mut node = Node::start(&broker, dir.path());
        callers.push(if number == 0 { node.leader(&keys) } else { node.follower(&keys) });
        nodes.push(node);
    }
    Some(Three { broker, dirs, nodes, callers })
}

impl Three {
    fn stops(&mut self, number: usize) {
        self.nodes[number].signal(Signal::TERM);
        assert!(self.nodes[number].ends().success(), "{}", self.nodes[number].said());
    }

    /// The name of a node, which it keeps.
    fn name(&self, number: usize) -> String {
        fs::read_to_string(self.dirs[number].path().join("cluster.node")).unwrap().trim().to_owned()
    }

    /// What is said of this node's part of an erasure.
    fn part(&self, erased: &Value, number: usize) -> Value {
        let (name, nodes) = (self.name(number), erased["nodes"].as_array());
        let part = nodes.into_iter().flatten().find(|node| node["node"] == *name);
        part.cloned().unwrap_or_default()
    }

    /// The live keys in a node's file of keys, by the slots that `src/server/personal_data/key_slots.rs` describes.
    fn keys(&self, number: usize) -> Vec<Vec<u8>> {
        live_keys(&fs::read(self.dirs[number].path().join("keys/subjects")).unwrap())
    }

    fn command(&self, words: &[&str]) -> String {
        let (status, said) = cluster(&self.broker, words);
        assert!(status.success(), "{said}");
        said
    }
}

fn live_keys(file: &[u8]) -> Vec<Vec<u8>> {
    file.chunks(64).skip(1).filter(|slot| slot[48] == 1).map(|slot| slot[16..48].to_vec()).collect()
}

fn erasure(at: &Caller, subject: &str) -> Value {
    at.get(&format!("/v1/subjects/{subject}/erasure"))
}

fn is_anywhere(dir: &Path, key: &[u8]) -> bool {
    contents(dir).any(|(_, bytes)| bytes.windows(key.len()).any(|part| part == key))
}

/// Who answers for the text must learn which disks still have its key, and when they have not.
#[test]
fn an_erasure_says_on_which_nodes_it_is_done_and_a_node_that_was_away_does_it_when_it_is_back() {
    let Some(mut three) = three("that an erasure says where it is done") else { return };
    three.callers[0].create("agent-1");
    let [first, second] = [three.callers[0].clone(), three.callers[1].clone()];
    waits_until("the keys are not on all nodes", || (1..3).all(|node| three.keys(node) == three.keys(0)));
    let none = second.send("GET", "/v1/subjects/agent-1/erasure", &[], None).unwrap();
    assert_eq!((none.status, &none.body["code"]), (404, &Value::from("NOT_FOUND")), "{}", none.body);
    three.stops(2);
    // The file as it is, whatever name it has.
    let aside = tempfile::tempdir().unwrap();
    let of_third = aside.path().join("file-of-keys");
    fs::hard_link(three.dirs[2].path().join("keys/subjects"), &of_third).unwrap();
    let before = three.keys(0);
    let said = second.erase("agent-1");
    assert_eq!((&said["done"], &three.part(&said, 0)["done"]), (&false.into(), &true.into()), "{said}");
    waits_until("the nodes that are there have not done it", || {
        let said = erasure(&second, "agent-1");
        let is_done = |node| three.part(&said, node)["done"] == true;
        is_done(0) && is_done(1) && said["brokerDone"] == true && three.part(&said, 2)["present"] == false
    });
    let said = erasure(&first, "agent-1");
    assert_eq!((&said["done"], &three.part(&said, 2)["done"]), (&false.into(), &false.into()), "{said}");
    let now = three.keys(0);
    let destroyed: Vec<_> = before.into_iter().filter(|key| !now.contains(key)).collect();
    let [key] = &destroyed[..] else { panic!("{} keys are destroyed", destroyed.len()) };
    let has_it = |node: usize| is_anywhere(three.dirs[node].path(), key);
    assert_eq!([0, 1, 2].map(has_it), [false, false, true]);
    // People are told by name whom to look after.
    let (address, admin) = (three.nodes[1].url().to_owned(), three.dirs[0].path().join("admin.key"));
    let (status, told) =
        run(&["subject", "erasure", "agent-1", "--url", &address, "--key-file", admin.to_str().unwrap()]);
    let outstanding = format!("`tenure cluster forget {}`", three.name(2));
    assert!(status.success() && told.contains(&outstanding), "{told}");
    assert!(three.command(&["status"]).contains("it is away, and keeps what was erased since"));
    three.nodes[2].restart();
    waits_until("it is not done where the node is back", || erasure(&second, "agent-1")["done"] == true);
    assert!(!is_anywhere(three.dirs[2].path(), key), "the key is in a file of the node that is back");
    assert!(live_keys(&fs::read(of_third).unwrap()).is_empty(), "the file of before is not overwritten");
}

/// Nobody waits for a disk that is destroyed, once an operator has said so; nobody may say so of a node that is there.
#[test]
fn an_erasure_waits_for_a_node_that_never_returns_until_it_is_forgotten() {
    let Some(mut three) = three("that a node that never returns is forgotten") else { return };
    three.callers[0].create("agent-1");
    three.stops(2);
    let first = three.callers[0].clone();
    first.erase("agent-1");
    waits_until("the others have not done it", || {
        let said = erasure(&first, "agent-1");
        [0, 1].iter().all(|node| three.part(&said, *node)["done"] == true) && said["brokerDone"] == true
    });
    assert_eq!(erasure(&first, "agent-1")["done"], false);
    for (node, why) in [(three.name(1), "is there"), ("nobody".to_owned(), "no node nobody holds keys")] {
        let (status, said) = cluster(&three.broker, &["forget", &node, "--yes"]);
        assert!(!status.success() && said.contains(why), "{said}");
    }
    let name = three.name(2);
    waits_until("a node that has left is still there", || {
        cluster(&three.broker, &["forget", &name, "--dry-run"]).0.success()
    });
    let (status, said) = cluster(&three.broker, &["forget", &name]);
    assert!(!status.success(), "it was not asked whether it is so: {said}");
    three.command(&["forget", &name, "--yes"]);
    waits_until("the erasure waits for a node that is forgotten", || {
        let said = erasure(&first, "agent-1");
        said["done"] == true && said["nodes"].as_array().is_some_and(|nodes| nodes.len() == 2)
    });
}
