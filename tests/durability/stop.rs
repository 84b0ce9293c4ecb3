//! A stop in good order, and the start after it: with the snapshot or without, the same answers.

use std::{fs, path::Path, time::Duration};

use serde_json::{Value, json};
use tenure::clock::pause;

use crate::{
    ambient::Chance,
    authority::Authority,
    caller::{Caller, Reply},
    history::History,
    load::{Appetite, Load, work},
};

#[test]
fn a_stop_under_load_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let mut chance = Chance::of_this_run("stop");
    let mut history = History::default();
    for round in 0..5 {
        let authority = Authority::start(&data);
        let load = Load::begin(&authority.admin(), &format!("t{round}"), Appetite::MIXED, &mut chance);
        pause(Duration::from_millis(20 + chance.below(200)));
        authority.stop_well();
        let mut ledger = load.ledger();
        let authority = Authority::start(&data);
        let admin = authority.admin();
        history.must_survive(&admin, &mut ledger);
        authority.stop_well();
    }
}

/// The lost-reply rule ends when a token of the new generation was presented; a stop must not make it begin
/// again.
#[test]
fn a_presented_token_is_remembered_over_a_stop() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let authority = Authority::start(&data);
    let [shown, hidden] = ["shown", "hidden"].map(|name| Renewed::new(&authority.admin(), name));
    let judged = authority.admin().introspect(&[&shown.token]);
    assert_eq!(judged[0]["active"], true, "{judged:?}");
    authority.stop_well();

    let authority = Authority::start(&data);
    let refused = shown.repeat(&authority.admin());
    assert_eq!((refused.status, refused.code()), (403, "SESSION_RENEWAL_MISMATCH"), "{refused:?}");
    // Nobody has seen the other one's new token, so its reply may have been lost.
    let repeated = hidden.repeat(&authority.admin());
    assert_eq!((repeated.status, &repeated.body["renewalCount"]), (200, &json!(1)), "{repeated:?}");
}

/// A session that was renewed once, under a key.
struct Renewed {
    id: String,
    old_token: String,
    token: String,
}

impl Renewed {
    fn new(admin: &Caller, subject: &str) -> Self {
        admin.put(&format!("/v1/subjects/{subject}"), None, &json!({})).unwrap();
        let body = json!({ "subjectId": subject, "ttl": 86_400 });
        let created = admin.post("/v1/sessions", None, &body).unwrap();
        let (id, old_token) = (created.text("sessionId"), created.text("token"));
        admin.advance(43_200).unwrap();
        let renewed = admin.renew(&id, &old_token, Some("once")).unwrap();
        // The clock has moved for both.
        assert_eq!(renewed.status, 200, "{renewed:?}");
        Self { id, old_token, token: renewed.text("token") }
    }

    fn repeat(&self, admin: &Caller) -> Reply {
        admin.renew(&self.id, &self.old_token, Some("once")).unwrap()
    }
}

/// A start from a snapshot, from an older one with the events since, from none, and after a kill from the
/// log alone: one state.
#[test]
fn with_and_without_a_snapshot_the_answers_are_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let snapshot = data.join("snapshot");
    let authority = Authority::start(&data);
    work(&authority.admin(), "first", Duration::from_millis(300));
    authority.stop_well();
    let older = fs::read(&snapshot).unwrap();
    let authority = Authority::start(&data);
    work(&authority.admin(), "second", Duration::from_millis(300));
    authority.stop_well();

    let newest = fs::read(&snapshot).unwrap();
    assert_ne!(older, newest, "a stop writes a snapshot");
    let told = answers(&data);
    // It says all of the state, in one form: a start that folded differently would write another.
    assert!(fs::read(&snapshot).unwrap() == newest, "a start from the snapshot writes the same one");
    fs::write(&snapshot, older).unwrap();
    assert!(answers(&data) == told, "from an older snapshot and the events since");
    assert!(fs::read(&snapshot).unwrap() == newest, "from an older snapshot and the events since");
    fs::remove_file(&snapshot).unwrap();
    assert!(answers(&data) == told, "from the log alone");
    assert!(fs::read(&snapshot).unwrap() == newest, "from the log alone");
}

/// Everything that can be asked of what is recorded. Starts, asks and stops.
fn answers(data: &Path) -> Vec<Value> {
    let authority = Authority::start(data);
    let admin = authority.admin();
    let mut answers = vec![];
    for list in ["sessions?status=all&", "subjects?", "events?", "credentials?"] {
        let items = admin.list(&format!("/v1/{list}limit=200"));
        assert!(!items.is_empty(), "{list}");
        for mut item in items {
            // The test clock begins at the wall time when that is later than the last event.
            item["asOfTime"] = Value::Null;
            item["expiresIn"] = Value::Null;
            answers.push(item);
        }
    }
    authority.stop_well();
    answers
}
