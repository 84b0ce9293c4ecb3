//! The account of what was told is gone or damaged: rather twice than never, and never a stop of anything else.

use serde_json::json;

use crate::{
    receiver::{INSIDE, OK, Receiver},
    server::Server,
};

#[test]
fn without_its_account_a_webhook_begins_again_at_its_creation() {
    let (mut server, receiver) = (Server::with(&[INSIDE]), Receiver::start(OK));
    server.session("before", 86_400);
    server.webhook(&receiver.url(), &json!({}));
    server.session("after", 86_400);
    receiver.wait_for(1);
    assert!(server.stop().success());
    std::fs::remove_file(server.data().join("webhooks.redb")).unwrap();
    server.start_again();
    let told = receiver.wait_for(2);
    assert_eq!(told[0].id(), told[1].id());
    assert_eq!(told[1].data("subjectId"), "after");
    assert!(server.said().contains("each begins again at its creation"), "{}", server.said());
}

#[test]
fn with_a_damaged_account_webhooks_wait_and_all_else_goes_on() {
    let (mut server, receiver) = (Server::with(&[INSIDE]), Receiver::start(OK));
    let webhook = server.webhook(&receiver.url(), &json!({}));
    assert!(server.stop().success());
    std::fs::write(server.data().join("webhooks.redb"), "no store at all").unwrap();
    server.start_again();
    server.session("a", 86_400);
    let ready = server.get("/readyz").send().expect(200);
    assert!(ready.json()["alarms"].to_string().contains("webhooks"), "{ready:?}");
    let alarms = ready.json()["alarms"].as_array().unwrap().len() as u64;
    assert_eq!((server.metric("tenure_webhook_store_fails"), server.metric("tenure_alarms")), (1, alarms));
    let asked = server.get(&webhook.path("/deliveries")).bearer(&server.admin).send();
    asked.refused(503, "STORAGE_UNAVAILABLE");
    assert!(server.said().contains("move it away"), "{}", server.said());
    // As the message says; the store is tried again every few seconds.
    std::fs::remove_file(server.data().join("webhooks.redb")).unwrap();
    receiver.wait_for(1);
    assert_eq!(server.metric("tenure_webhook_store_fails"), 0);
}
