//! URL and secret are in `DATA/keys` and nowhere else.

use std::path::Path;

use serde_json::json;

use crate::{
    receiver::{BROKEN, INSIDE, OK, Receiver},
    server::Server,
};

const MARK: &str = "T0KEN-in-the-path";
const SECRET: &str = "whsec_c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0";

/// Every file below a directory, but for those in `keys`.
fn files(directory: &Path, found: &mut Vec<(String, Vec<u8>)>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("keys") {
            files(&path, found);
        } else if path.is_file() {
            found.push((path.display().to_string(), std::fs::read(&path).unwrap()));
        }
    }
}

fn holds(bytes: &[u8], needle: &str) -> bool {
    bytes.windows(needle.len()).any(|window| window == needle.as_bytes())
}

#[test]
fn url_and_secret_are_shown_once_and_kept_among_the_keys_only() {
    let (down, works) = (Receiver::start(BROKEN), Receiver::start(OK));
    let mut server = Server::in_environment("LANG", "C", &[INSIDE]);
    let mut shown = Vec::new();
    let mut ids = Vec::new();
    for url in [down.url(), works.url(), "http://127.0.0.1:1".into(), "http://no-such-host.invalid".into()] {
        let body = json!({ "url": format!("{url}/{MARK}?token={MARK}"), "secret": SECRET });
        let made = server.post("/v1/webhooks").bearer(&server.admin).json(&body).send().expect(201);
        assert_eq!((made.text("secret").as_str(), made.header("cache-control")), (SECRET, Some("no-store")));
        assert!(made.text("url").contains(MARK));
        ids.push(made.text("webhookId"));
    }
    server.session("a", 86_400);
    works.wait_for(1);
    down.wait_for(1);
    server.advance(3_600);
    for id in &ids {
        let path = format!("/v1/webhooks/{id}");
        shown.push(server.get(&format!("{path}/deliveries")).bearer(&server.admin).send().expect(200));
        shown.push(server.post(&format!("{path}/test")).bearer(&server.admin).send().expect(200));
    }
    for target in ["/v1/webhooks", "/v1/events?limit=200", "/metrics", "/readyz"] {
        shown.push(server.get(target).bearer(&server.admin).send().expect(200));
    }
    // A file that cannot be used is named, and what is in it is not.
    let file = server.data().join("keys/webhooks").join(&ids[0]);
    assert!(holds(&std::fs::read(&file).unwrap(), MARK));
    std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    let tested =
        server.post(&format!("/v1/webhooks/{}/test", ids[0])).bearer(&server.admin).send().expect(200);
    assert_eq!(tested.text("outcome"), "key_missing");
    let wrong = json!({ "url": format!("ftp://{MARK}"), "secret": format!("{SECRET}!!") });
    shown.push(server.post("/v1/webhooks").bearer(&server.admin).json(&wrong).send().expect(400));
    assert!(server.stop().success());
    for reply in &shown {
        let text = format!("{reply:?}");
        assert!(!text.contains(MARK) && !text.contains(SECRET), "{text}");
    }
    let said = server.said();
    assert!(said.contains("must be 0600"), "{said}");
    assert!(!said.contains(MARK) && !said.contains(SECRET), "{said}");
    for request in works.received() {
        assert!(!holds(&request.body, MARK) && !holds(&request.body, SECRET));
    }
    let mut found = Vec::new();
    files(&server.data(), &mut found);
    assert!(found.iter().any(|(path, _)| path.ends_with("webhooks.redb")));
    for (path, bytes) in found {
        assert!(!holds(&bytes, MARK) && !holds(&bytes, SECRET) && !holds(&bytes, &SECRET[6..]), "{path}");
    }
}
