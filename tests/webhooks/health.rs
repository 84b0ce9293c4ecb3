//! How a webhook gets on, said by the webhook itself. It was to be read out of its deliveries, one attempt after the other.

use std::process::Command;

use serde_json::{Value, json};
use tenure::clock::{pause, stopwatch};

use crate::{
    receiver::{BROKEN, INSIDE, OK, Receiver, Webhook, Webhooks as _, nobody},
    server::{PATIENCE, Server},
};

fn health_of(server: &Server, webhook: &Webhook, key: &str) -> Value {
    server.get(&webhook.path("")).bearer(key).send().expect(200).json()["health"].clone()
}

#[track_caller]
fn wait_for_health(server: &Server, webhook: &Webhook, is_right: impl Fn(&Value) -> bool) -> Value {
    let begun = stopwatch();
    loop {
        let health = health_of(server, webhook, &server.admin);
        if is_right(&health) {
            return health;
        }
        assert!(begun.elapsed() < PATIENCE, "{health:#}");
        pause(std::time::Duration::from_millis(10));
    }
}

fn cli(server: &Server, words: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tenure"));
    command.args(words).env_clear().env("TENURE_URL", format!("http://{}", server.address()));
    let output = command.env("TENURE_KEY", &server.admin).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

const FRESH: fn(&Value) -> bool =
    |health| health["lastSuccessAt"].is_null() && health["lastFailure"].is_null();

#[test]
fn a_webhook_says_how_its_receiver_takes_what_it_is_sent() {
    let (server, receiver) = (Server::with(&[INSIDE]), Receiver::start(BROKEN));
    let webhook = server.webhook(&receiver.url(), &json!({}));
    let fresh = health_of(&server, &webhook, &server.admin);
    assert!(FRESH(&fresh), "{fresh}");
    assert_eq!(
        (&fresh["consecutiveFailures"], &fresh["pending"], &fresh["parked"]),
        (&json!(0), &json!(0), &json!(0))
    );
    assert!(fresh["oldestPending"].is_null() && fresh["nextAttemptAt"].is_null(), "{fresh}");

    server.session("a", 86_400);
    let created = &server.events("SessionCreated")[0];
    let failing = wait_for_health(&server, &webhook, |health| health["consecutiveFailures"] == 1);
    let failure = &failing["lastFailure"];
    assert_eq!((&failure["outcome"], &failure["httpStatus"]), (&json!("http_error"), &json!(500)));
    assert_eq!(failing["failingSince"], failure["at"]);
    assert_eq!(failing["pending"], 1);
    let oldest = &failing["oldestPending"];
    assert!(
        oldest["noticeId"].as_str().unwrap().starts_with(&format!("{}.", created["position"])),
        "{oldest}"
    );
    assert_eq!(oldest["since"], created["recordedAt"]);
    assert!(failing["nextAttemptAt"].as_str() > failure["at"].as_str(), "{failing}");
    assert_eq!(server.metric("tenure_webhook_failing"), 1);
    let list = server.get("/v1/webhooks").bearer(&server.admin).send().expect(200).json();
    assert_eq!(list["items"][0]["health"], failing);

    server.advance(10);
    let again = wait_for_health(&server, &webhook, |health| health["consecutiveFailures"] == 2);
    assert_eq!(again["failingSince"], failure["at"]);
    assert_ne!(again["lastFailure"]["at"], failure["at"]);

    receiver.behave(OK);
    server.advance(60);
    let well = wait_for_health(&server, &webhook, |health| health["pending"] == 0);
    assert_eq!((&well["consecutiveFailures"], &well["failingSince"]), (&json!(0), &Value::Null));
    assert!(well["lastSuccessAt"].as_str() > again["lastFailure"]["at"].as_str(), "{well}");
    assert_eq!(well["lastFailure"], again["lastFailure"]);
    assert!(well["oldestPending"].is_null() && well["nextAttemptAt"].is_null(), "{well}");
    assert_eq!(server.metric("tenure_webhook_failing"), 0);
}

#[test]
fn what_was_known_of_a_receiver_is_known_after_a_restart() {
    let (mut server, receiver) = (Server::with(&[INSIDE]), Receiver::start(OK));
    let webhook = server.webhook(&receiver.url(), &json!({}));
    server.session("a", 86_400);
    let well = wait_for_health(&server, &webhook, |health| health["lastSuccessAt"].is_string());
    receiver.behave(BROKEN);
    server.session("b", 86_400);
    wait_for_health(&server, &webhook, |health| health["consecutiveFailures"] == 1);
    server.stop();
    server.start_again();
    // It may have been tried once more since.
    let health =
        wait_for_health(&server, &webhook, |health| health["consecutiveFailures"].as_u64() >= Some(1));
    assert_eq!(health["lastSuccessAt"], well["lastSuccessAt"]);
    assert_eq!((&health["lastFailure"]["outcome"], &health["pending"]), (&json!("http_error"), &json!(1)));
}

/// How a connection failed tells of hosts and ports inside.
#[test]
fn an_owner_sees_that_it_fails_and_not_how_and_nothing_of_others() {
    let server = Server::with(&[INSIDE]);
    let (alice, bob) = (server.issue_key("owner", Some("alice")).0, server.issue_key("owner", Some("bob")).0);
    let webhook = server.webhook(&nobody(), &json!({ "ownerId": "alice" }));
    server.register("hers", &json!({ "ownerId": "alice" }));
    server.create(&json!({ "subjectId": "hers" }));
    let health =
        wait_for_health(&server, &webhook, |health| health["consecutiveFailures"].as_u64() >= Some(1));
    assert_eq!(health["lastFailure"]["outcome"], "connection_refused");
    let seen = health_of(&server, &webhook, &alice);
    assert_eq!(
        (&seen["lastFailure"]["outcome"], &seen["lastFailure"]["httpStatus"]),
        (&json!("failed"), &Value::Null)
    );
    server.get(&webhook.path("")).bearer(&bob).send().refused(404, "WEBHOOK_NOT_FOUND");
    server.get("/v1/webhooks/none").bearer(&server.admin).send().refused(404, "WEBHOOK_NOT_FOUND");
}

#[test]
fn the_command_line_has_a_column_for_it_and_says_of_each_delivery_how_its_attempts_went() {
    let (server, receiver) = (Server::with(&[INSIDE]), Receiver::start(BROKEN));
    let webhook = server.webhook(&receiver.url(), &json!({}));
    server.session("a", 86_400);
    wait_for_health(&server, &webhook, |health| health["consecutiveFailures"] == 1);
    server.advance(10);
    wait_for_health(&server, &webhook, |health| health["consecutiveFailures"] == 2);
    let list = cli(&server, &["webhook", "list"]);
    for column in ["WEBHOOK", "FAILING SINCE", "LAST FAILURE", "PENDING"] {
        assert!(list.contains(column), "{column} in {list}");
    }
    assert!(list.contains("http_error 500"), "{list}");
    assert!(list.lines().all(|line| line.chars().count() <= 80), "{list}");
    let shown = cli(&server, &["webhook", "show", &webhook.id]);
    assert!(shown.contains("http_error 500") && shown.contains("consecutiveFailures"), "{shown}");
    let deliveries = cli(&server, &["webhook", "deliveries", &webhook.id]);
    assert!(deliveries.contains("2, last: http_error 500") && !deliveries.contains('{'), "{deliveries}");
}
