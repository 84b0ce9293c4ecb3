//! Webhooks when the lead goes to another node.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpListener,
    sync::{Arc, Mutex},
    thread,
};

use serde_json::{Value, json};
use tenure_log::jetstream::{BrokerAccess, BrokerConnection, NodeRegistry, StreamNames};

use crate::{checkpoints::waits_until, node::Caller, pair::Pair};

/// A receiver that takes everything, and remembers the id of each notice in order.
struct Receiver {
    port: u16,
    ids: Arc<Mutex<Vec<String>>>,
}

impl Receiver {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (port, ids) = (listener.local_addr().unwrap().port(), Arc::<Mutex<Vec<String>>>::default());
        let heard = Arc::clone(&ids);
        thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let mut reader = BufReader::new(stream.try_clone().unwrap());
                let lines: Vec<_> = reader
                    .by_ref()
                    .lines()
                    .map_while(Result::ok)
                    .take_while(|line| !line.is_empty())
                    .collect();
                let header = |name: &str| {
                    let found = lines.iter().find_map(|line| {
                        line.split_once(':').filter(|(known, _)| known.eq_ignore_ascii_case(name))
                    });
                    found.map_or_else(String::new, |(_, value)| value.trim().to_owned())
                };
                let mut body = vec![0; header("content-length").parse().unwrap_or(0)];
                drop(reader.read_exact(&mut body));
                heard.lock().unwrap().push(header("webhook-id"));
                drop(stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"));
            }
        });
        Self { port, ids }
    }

    fn ids(&self) -> Vec<String> {
        self.ids.lock().unwrap().clone()
    }

    fn hook(&self) -> Value {
        json!({ "url": format!("http://127.0.0.1:{}/hook", self.port) })
    }
}

/// The position of the last event that a node has.
fn position(at: &Caller) -> u64 {
    let text = at.text("/metrics").unwrap();
    text.lines().find_map(|line| line.strip_prefix("tenure_position ")).unwrap().trim().parse().unwrap()
}

/// The next leader had no account of what its predecessor had delivered, and delivered everything again since each webhook
/// was made.
#[test]
fn a_node_that_leads_for_the_first_time_delivers_what_is_new_and_nothing_again() {
    let settings = ["webhooks.allow_private=true"];
    let Some(pair) = Pair::start_with("that a new leader delivers nothing again", &settings) else { return };
    let Pair { broker, mut first, mut second, leader, ref dirs, .. } = pair;
    let receiver = Receiver::start();
    let made = leader.send("POST", "/v1/webhooks", &[], Some(&receiver.hook())).unwrap();
    assert_eq!(made.status, 201, "{}", made.body);
    for subject in ["agent-1", "agent-2", "agent-3"] {
        let granted = leader.create(subject);
        assert_eq!(leader.revoke(&granted).unwrap().0, 200);
    }
    let access = BrokerAccess { url: broker.url(), ..BrokerAccess::default() };
    let connection = BrokerConnection::open(&access, "test").unwrap();
    let registry = NodeRegistry::on(connection.into(), StreamNames::default());
    let noted = || -> Option<u64> {
        let kept: Value = serde_json::from_slice(&registry.kept("webhooks").unwrap()?).unwrap();
        kept[made.body["webhookId"].as_str().unwrap()].as_u64()
    };
    waits_until("how far the webhook has come is not noted", || noted() >= Some(position(&leader)));
    let before = receiver.ids();
    assert!(before.len() >= 3, "{before:?}");
    // A URL and a secret that were deleted are on no node.
    let other = leader.send("POST", "/v1/webhooks", &[], Some(&receiver.hook())).unwrap();
    let id = other.body["webhookId"].as_str().unwrap().to_owned();
    let is_there = |dir: &tempfile::TempDir| dir.path().join("keys/webhooks").join(&id).exists();
    waits_until("the file of a webhook is not on both nodes", || dirs.iter().all(is_there));
    assert_eq!(leader.send("DELETE", &format!("/v1/webhooks/{id}"), &[], None).unwrap().status, 200);
    waits_until("the file of a deleted webhook stays", || !dirs.iter().any(is_there));
    let before = receiver.ids();
    first.kill();
    let next = second.leader(dirs[0].path());
    let granted = next.create("agent-4");
    assert_eq!(next.revoke(&granted).unwrap().0, 200);
    let ended = position(&next);
    waits_until("what is new is not delivered", || noted() >= Some(ended));
    let after = receiver.ids();
    let again: Vec<_> = after[before.len()..].iter().filter(|id| before.contains(id)).collect();
    assert!(again.is_empty() && after.len() > before.len(), "{again:?} again of {after:?}");
}
