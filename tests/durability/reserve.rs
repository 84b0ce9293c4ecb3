//! A disk that gets full: what ends a session is taken for as long as it fits, the store never meets the end of the
//! disk, and once there is space everything goes on without a restart.

use std::fs;

use serde_json::json;

use crate::{
    ambient::not_run,
    authority::Authority,
    caller::{Caller, Reply},
    mounted_disk::MountedDisk,
};

const SUBJECT: &str = "/v1/subjects/agent";

struct Held {
    id: String,
    token: String,
}

fn create(admin: &Caller) -> Reply {
    admin.post("/v1/sessions", None, &json!({ "subjectId": "agent" })).unwrap()
}

fn held(admin: &Caller) -> Held {
    let created = create(admin);
    assert_eq!(created.status, 201, "{created:?}");
    Held { id: created.text("sessionId"), token: created.text("token") }
}

fn is_refused(reply: &Reply, why: &str) -> bool {
    (reply.status, reply.code(), &reply.body["retryable"]) == (503, "STORAGE_UNAVAILABLE", &json!(true))
        && reply.text("detail").starts_with(why)
}

fn free(admin: &Caller) -> u64 {
    let metrics = admin.text("/metrics");
    let line = metrics.lines().find_map(|line| line.strip_prefix("tenure_disk_free_bytes "));
    line.unwrap_or_else(|| panic!("no figure in {metrics}")).parse().unwrap()
}

/// One agent's usage filled the disk in seconds, and from then on nobody could revoke anything: not before space was
/// made, nor after that, until the process was started again.
#[test]
fn on_a_full_disk_sessions_can_be_ended_and_with_space_all_goes_on() {
    let mounted = match MountedDisk::memory(256) {
        Ok(mounted) => mounted,
        Err(why) => return not_run("reserve", &why),
    };
    let authority = Authority::start_with(&mounted.path().join("data"), &["data.reserve=67108864"]);
    let admin = authority.admin();
    assert_eq!(admin.put(SUBJECT, Some("first"), &json!({ "maxSessions": 100 })).unwrap().status, 201);
    let (first, second, third) = (held(&admin), held(&admin), held(&admin));
    let on_phone = json!({ "subjectId": "agent", "device": "phone" });
    assert_eq!(admin.post("/v1/sessions", None, &on_phone).unwrap().status, 201);
    assert_eq!(admin.get("/readyz").unwrap().body["alarms"], json!([]));

    // Before anything is refused it is an alarm.
    drop(mounted.fill_but(150));
    let ready = admin.get("/readyz").unwrap();
    assert_eq!(ready.status, 200, "{ready:?}");
    assert!(
        ready.body["alarms"][0].as_str().is_some_and(|alarm| alarm.contains("getting full")),
        "{ready:?}"
    );
    assert!((100 << 20..=150 << 20).contains(&free(&admin)), "{}", free(&admin));
    let fourth = held(&admin);

    // In the reserve what ends something is taken, and nothing else.
    drop(mounted.fill_but(80));
    let nearly = "the disk is nearly full";
    assert!(is_refused(&create(&admin), nearly));
    assert!(is_refused(&admin.put(SUBJECT, None, &json!({})).unwrap(), nearly));
    // What was done before is answered as it was.
    let again = admin.put(SUBJECT, Some("first"), &json!({ "maxSessions": 100 })).unwrap();
    assert_eq!(again.status, 201, "{again:?}");
    // The first suspension ends something; another one would only take room.
    let suspend =
        |reason: &str| admin.post(&format!("{SUBJECT}/suspend"), None, &json!({ "reason": reason })).unwrap();
    assert_eq!(suspend("theft").status, 200);
    assert!(is_refused(&suspend("theft, again"), nearly));
    assert!(is_refused(&admin.get("/readyz").unwrap(), nearly));
    assert_eq!(admin.delete(&format!("/v1/sessions/{}?reason=lost", first.id), None).unwrap().status, 200);
    let lost = json!({ "selector": { "device": "phone" }, "reason": "lost" });
    assert_eq!(admin.post("/v1/revocations", None, &lost).unwrap().number("matched"), 1);
    let rotation = json!({ "which": "access", "retire": "now" });
    assert_eq!(admin.post("/v1/keys/rotate", None, &rotation).unwrap().status, 200);
    let judged = admin.introspect(&[&first.token, &second.token]);
    assert_eq!(
        (&judged[0]["code"], &judged[1]["code"]),
        (&json!("SESSION_REVOKED"), &json!("SUBJECT_SUSPENDED"))
    );

    // The last of the disk is the store's own.
    let filler = mounted.fill_but(8);
    let full = "the disk is full";
    assert!(is_refused(&admin.delete(&format!("/v1/sessions/{}", second.id), None).unwrap(), full));
    assert!(is_refused(&admin.get("/readyz").unwrap(), full));
    assert_eq!(admin.introspect(&[&second.token])[0]["code"], "SUBJECT_SUSPENDED");

    fs::remove_file(filler).unwrap();
    assert_eq!(admin.delete(&format!("/v1/sessions/{}", second.id), None).unwrap().status, 200);
    assert_eq!(admin.post(&format!("{SUBJECT}/resume"), None, &json!({})).unwrap().status, 200);
    assert_eq!(create(&admin).status, 201);
    assert_eq!(admin.get("/readyz").unwrap().body["alarms"], json!([]));
    let judged = admin.introspect(&[&third.token, &fourth.token]);
    assert!(judged.iter().all(|judged| judged["active"] == true), "{judged:?}");
    authority.until_said(nearly);
    authority.until_said("there is room on the disk again");
    authority.stop_well();
}
