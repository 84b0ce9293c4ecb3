//! What is left of a webhook's creation when it goes no further than one of its steps: the table at
//! `Webhooks::create`, with the files of a real data directory.

use std::{convert::Infallible, path::Path};

use tenure::{
    core::{WebhookId, webhook::WebhookFormat},
    entropy,
    node::{Node, NodeOptions},
    notify::webhooks::{CreationError, RecordOutcome, WebhookDestination},
};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

type Fate = RecordOutcome<(), &'static str>;

fn destination() -> WebhookDestination {
    WebhookDestination::new("https://hooks.example/x", SECRET, WebhookFormat::Standard, false).ok().unwrap()
}

/// Asks for a webhook whose event has this fate, and says its id and whether it was granted.
fn create(node: &Node, fate: Fate) -> (WebhookId, bool) {
    let id = entropy::webhook_id(node.authority.entropy(), node.authority.now());
    let created = pollster::block_on(node.webhooks.create(id, &destination(), async { fate }));
    (id, created.is_ok())
}

fn has_file(data: &Path, id: WebhookId) -> bool {
    data.join(format!("keys/webhooks/{id}")).exists()
}

fn start(data: &Path) -> Node {
    let node = Node::open(NodeOptions::new(data)).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { node.webhooks.start() });
    node
}

#[test]
fn the_file_stays_only_where_an_event_may_name_it() {
    let data = tempfile::tempdir().unwrap();
    let node = Node::open(NodeOptions::new(data.path())).unwrap();
    for (fate, is_granted, stays) in [
        (RecordOutcome::Now(()), true, true),
        (RecordOutcome::Before(()), true, false),
        (RecordOutcome::Not("refused"), false, false),
        (RecordOutcome::Unknown("the log stopped"), false, true),
    ] {
        let named = format!("{fate:?}");
        let (id, was_granted) = create(&node, fate);
        assert_eq!((was_granted, has_file(data.path(), id)), (is_granted, stays), "{named}");
    }
    node.stop();
}

#[test]
fn a_file_without_an_event_is_removed_by_the_next_start() {
    let data = tempfile::tempdir().unwrap();
    let node = start(data.path());
    let (id, _) = create(&node, RecordOutcome::Unknown("a crash came before anything was recorded"));
    assert!(has_file(data.path(), id));
    node.stop();
    let node = start(data.path());
    assert!(!has_file(data.path(), id));
    node.stop();
}

#[test]
fn nothing_is_recorded_of_a_webhook_whose_file_cannot_be_written() {
    let data = tempfile::tempdir().unwrap();
    let node = Node::open(NodeOptions::new(data.path())).unwrap();
    std::fs::write(data.path().join("keys/webhooks"), "no folder").unwrap();
    let id = entropy::webhook_id(node.authority.entropy(), node.authority.now());
    let record = async { unreachable!("its file comes first") };
    let created = pollster::block_on(node.webhooks.create::<(), Infallible>(id, &destination(), record));
    assert!(matches!(created, Err(CreationError::File(_))));
    node.stop();
}
