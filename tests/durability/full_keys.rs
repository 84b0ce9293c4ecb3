//! No space left where the keys are: an alarm, a metric and refusals in words, and all of it over once there is space.

use std::fs;

use serde_json::{Value, json};

use crate::{
    ambient::not_run,
    authority::Authority,
    caller::{Caller, Reply},
    mounted_disk::{MountedDisk, copy},
};

fn alarms(admin: &Caller) -> String {
    let ready = admin.get("/readyz").unwrap();
    assert_eq!(ready.status, 200, "{ready:?}");
    ready.body["alarms"].to_string()
}

fn register(admin: &Caller, number: usize) -> Reply {
    let body = json!({ "name": format!("Subject {number}") });
    admin.put(&format!("/v1/subjects/subject-{number}"), None, &body).unwrap()
}

/// Registrations were refused for want of space beside a `/readyz` without alarms, and nothing counted them.
#[test]
fn a_full_disk_under_the_keys_is_an_alarm_and_passes_without_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    Authority::start(&data).stop_well();
    copy(&data.join("keys"), &dir.path().join("keys"));
    fs::remove_dir_all(data.join("keys")).unwrap();
    fs::create_dir(data.join("keys")).unwrap();
    let mounted = match MountedDisk::memory_at(&data.join("keys"), 512) {
        Ok(mounted) => mounted,
        Err(why) => return not_run("full keys", &why),
    };
    for entry in fs::read_dir(dir.path().join("keys")).unwrap() {
        let entry = entry.unwrap();
        copy(&entry.path(), &data.join("keys").join(entry.file_name()));
    }
    let authority = Authority::start(&data);
    let admin = authority.admin();
    assert_eq!(register(&admin, 0).status, 201);
    assert_eq!(alarms(&admin), "[]");
    let filler = mounted.fill();
    // The file's last page has room for some more.
    let refused = (1..200).map(|number| register(&admin, number)).find(|reply| reply.status != 201).unwrap();
    assert_eq!((refused.status, refused.code()), (503, "STORAGE_UNAVAILABLE"), "{refused:?}");
    assert_eq!(refused.body["retryable"], true);
    let hook = json!({ "url": "https://example.com/hook" });
    assert_eq!(admin.post("/v1/webhooks", None, &hook).unwrap().status, 503);
    let rotation = json!({ "which": "access", "retire": "overlap" });
    assert_eq!(admin.post("/v1/keys/rotate", None, &rotation).unwrap().status, 503);
    let listed = alarms(&admin);
    for file in ["keys/subjects", "keys/webhooks", "keys/access"] {
        assert!(listed.contains(&format!("{file} cannot be written: No space left")), "{listed}");
        let counted = format!("tenure_storage_failures_total{{file=\"{file}\"}} ");
        let metrics = admin.text("/metrics");
        let line = metrics.lines().find_map(|line| line.strip_prefix(&counted)).unwrap_or("0");
        assert_ne!(line, "0", "{metrics}");
    }
    authority.until_said("a key file cannot be written");
    // What ends something goes on without its reason, and says so.
    let first = json!({ "subjectId": "nameless" });
    assert_eq!(admin.put("/v1/subjects/nameless", None, &json!({})).unwrap().status, 201);
    let session = admin.post("/v1/sessions", None, &first).unwrap().text("sessionId");
    let ended = admin.delete(&format!("/v1/sessions/{session}?reason=lost"), None).unwrap();
    assert_eq!((ended.status, &ended.body["reasonRecorded"]), (200, &json!(false)), "{ended:?}");
    assert_eq!(admin.post("/v1/sessions", None, &first).unwrap().status, 201);
    let ended = admin.delete("/v1/subjects/nameless/sessions?reason=lost", None).unwrap();
    assert_eq!((ended.number("matched"), &ended.body["reasonRecorded"]), (1, &json!(false)), "{ended:?}");
    let why = json!({ "reason": "lost" });
    let suspended = admin.post("/v1/subjects/nameless/suspend", None, &why).unwrap();
    assert_eq!(
        (suspended.status, &suspended.body["suspension"]["reason"]),
        (200, &Value::Null),
        "{suspended:?}"
    );
    assert_eq!(admin.post("/v1/subjects/nameless/resume", None, &json!({})).unwrap().status, 200);
    // And what needs no new key.
    assert_eq!(admin.put("/v1/subjects/another", None, &json!({})).unwrap().status, 201);
    fs::remove_file(filler).unwrap();
    assert_eq!(register(&admin, 500).status, 201);
    assert_eq!(admin.post("/v1/webhooks", None, &hook).unwrap().status, 201);
    assert_eq!(admin.post("/v1/keys/rotate", None, &rotation).unwrap().status, 200);
    assert_eq!(alarms(&admin), "[]");
    authority.stop_well();
    drop(mounted);
}
