//! The account of what was told is gone or damaged: rather twice than never, and never a stop of anything else.

use std::time::Duration;

use serde_json::json;
use tenure::clock::pause;

use crate::{
    receiver::{INSIDE, OK, Receiver, Webhooks},
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

/// A page of zeros in the account, of a server that had no webhook at all, once ended the whole authority by a panic:
/// exit code 101, and no file named.
#[test]
fn a_damaged_page_of_the_account_is_an_alarm_by_name_and_all_else_goes_on() {
    for webhooks in [false, true] {
        let (mut server, receiver) = (Server::with(&[INSIDE]), Receiver::start(OK));
        server.session("before", 86_400);
        if webhooks {
            server.webhook(&receiver.url(), &json!({}));
            server.session("told", 86_400);
            receiver.wait_for(1);
        }
        assert!(server.stop().success());
        let path = server.data().join("webhooks.redb");
        let whole = std::fs::read(&path).unwrap();
        let pages = whole.len().min(12 * 4096) / 4096;
        let mut noticed = 0;
        for page in 0..pages {
            let mut damaged = whole.clone();
            damaged[page * 4096..][..4096].fill(0);
            std::fs::write(&path, damaged).unwrap();
            server.start_again();
            server.session(&format!("beside-{page}"), 86_400);
            let ready = server.get("/readyz").send().expect(200).json()["alarms"].to_string();
            noticed += usize::from(ready.contains("webhooks.redb"));
            assert_eq!(server.stop().code(), Some(0), "page {page}: {}", server.said());
            assert!(!server.said().contains("panicked"), "page {page}: {}", server.said());
        }
        assert!(noticed > 0, "no page of {pages} was missed: {}", server.said());
    }
}

/// One flipped bit once let the server start; a worker panicked later, `/readyz` had no alarm, and SIGTERM ended it with
/// 101.
#[test]
fn damage_to_the_account_while_it_is_in_use_is_an_alarm_and_the_stop_is_in_order() {
    let (mut server, receiver) = (Server::with(&[INSIDE]), Receiver::start(OK));
    server.webhook(&receiver.url(), &json!({}));
    // So many that the next ones do not write all pages again.
    for number in 0..200 {
        server.session(&format!("before-{number}"), 86_400);
    }
    receiver.wait_for(200);
    pause(Duration::from_millis(500));
    let path = server.data().join("webhooks.redb");
    let file = std::fs::File::options().write(true).open(&path).unwrap();
    let length = usize::try_from(file.metadata().unwrap().len()).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, &vec![0x5a; length], 0).unwrap();
    drop(file);
    // What the store knows by heart it still writes; what it has to read again is missed at the latest at a start.
    for number in 0..5 {
        server.session(&format!("meanwhile-{number}"), 86_400);
    }
    receiver.wait_for(205);
    pause(Duration::from_millis(500));
    assert_eq!(server.stop().code(), Some(0), "{}", server.said());
    server.start_again();
    let alarms = server.get("/readyz").send().expect(200).json()["alarms"].to_string();
    assert!(alarms.contains("webhooks.redb"), "{alarms}");
    assert!(server.metric("tenure_storage_failures_total{file=\"webhooks.redb\"}") > 0);
    server.session("after", 86_400);
    assert_eq!(server.stop().code(), Some(0), "{}", server.said());
    assert!(!server.said().contains("panicked"), "{}", server.said());
}

/// An older copy of the log beside a newer account silenced webhooks: what happened was behind the position up to which
/// the account had told, so none of it was told, and there was no alarm.
#[test]
fn an_older_log_beside_a_newer_account_is_an_alarm_and_silences_nothing() {
    let (mut server, receiver) = (Server::with(&[INSIDE]), Receiver::start(OK));
    server.webhook(&receiver.url(), &json!({}));
    assert!(server.stop().success());
    let (data, older) = (server.data(), server.data().with_extension("older"));
    let copied = std::process::Command::new("cp").arg("-a").args([&data, &older]).status();
    assert!(copied.unwrap().success());
    server.start_again();
    for number in 0..8 {
        server.session(&format!("lost-{number}"), 86_400);
    }
    receiver.wait_for(8);
    assert!(server.stop().success());
    std::fs::copy(data.join("webhooks.redb"), older.join("webhooks.redb")).unwrap();
    std::fs::remove_dir_all(&data).unwrap();
    std::fs::rename(older, data).unwrap();
    server.start_again();
    let alarms = server.get("/readyz").send().expect(200).json()["alarms"].to_string();
    assert!(alarms.contains("webhooks.redb") && alarms.contains("older copy"), "{alarms}");
    server.session("new", 86_400);
    assert_eq!(receiver.wait_for(9)[8].data("subjectId"), "new");
}

/// The URL of a webhook could be changed in its file, and the secret damaged: requests went to another host than the
/// log records, or were signed with what no receiver knows, without an alarm.
#[test]
fn a_changed_file_of_a_webhook_is_an_alarm_by_name_and_is_not_followed() {
    let (mut server, receiver) = (Server::with(&[INSIDE]), Receiver::start(OK));
    let webhook = server.webhook(&receiver.url(), &json!({}));
    assert!(server.stop().success());
    let path = server.data().join("keys/webhooks").join(&webhook.id);
    let whole = std::fs::read_to_string(&path).unwrap();
    for changed in [whole.replacen("127.0.0.1", "127.0.0.2", 1), whole.replacen("whsec_", "whsec_A", 1)] {
        std::fs::write(&path, changed).unwrap();
        server.start_again();
        let alarms = server.get("/readyz").send().expect(200).json()["alarms"].to_string();
        assert!(alarms.contains(&format!("keys/webhooks/{}", webhook.id)), "{alarms}");
        assert!(server.stop().success());
    }
    std::fs::write(&path, whole).unwrap();
    server.start_again();
    server.session("a", 86_400);
    receiver.wait_for(1);
    assert_eq!(server.get("/readyz").send().expect(200).json()["alarms"], json!([]));
}
