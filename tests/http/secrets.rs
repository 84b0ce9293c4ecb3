//! No token and no key is found where it does not belong: not in the data directory, not in the log lines, not
//! in the metrics, the events or any error.

use std::{fs, path::Path};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::json;

use crate::server::{Reply, Server, Session};

/// What a busy run leaves behind.
struct Traces {
    /// Tokens and keys, as their holders got them.
    secrets: Vec<String>,
    /// Everything that was answered and must show none of them.
    answered: Vec<Reply>,
}

/// Everything at least once, in the hands of a server that tells all it does.
fn busy_run(server: &mut Server) -> Traces {
    let mut traces = Traces { secrets: vec![server.admin.clone()], answered: vec![] };
    for role in ["issuer", "verifier", "auditor", "admin"] {
        traces.secrets.push(server.issue_key(role, None).0);
    }
    let (withdrawn, id) = server.issue_key("owner", Some("alice"));
    server.delete(&format!("/v1/credentials/{id}")).bearer(&server.admin).send().expect(200);
    traces.secrets.push(withdrawn);
    for n in 0..20 {
        let session = server.session(&format!("s{}", n % 5), 300);
        server.advance(150);
        let replies =
            [server.renew(&session).key("renewal").send(), server.renew(&session).key("renewal").send()];
        let new = session.renewed(&replies[1]);
        traces.secrets.extend([session.token.clone(), replies[0].text("token"), new.token.clone()]);
        traces.answered.extend(refusals(server, &session, &new));
        server.introspect(&new.token);
        traces.answered.push(server.delete(&new.path()).bearer(&new.token).send());
    }
    server.kill9();
    let created = server.session("again", 300);
    server
        .post("/v1/introspect")
        .bearer(&server.admin)
        .json(&json!({ "tokens": traces.secrets }))
        .send()
        .expect(200);
    traces.secrets.push(created.token);
    for target in
        ["/metrics", "/v1/events?limit=200", "/v1/sessions?status=all", "/v1/credentials", "/openapi.json"]
    {
        traces.answered.push(server.get(target).bearer(&server.admin).send().expect(200));
    }
    traces
}

/// Secrets where they are wrong.
fn refusals(server: &Server, old: &Session, new: &Session) -> Vec<Reply> {
    let misplaced = json!({ new.token.as_str(): 1, "ttl": old.token, "subjectId": server.admin });
    vec![
        server.renew(old).send(),
        server.renew(new).send(),
        server.get(&old.path()).bearer(&old.token).send(),
        server.get(&format!("/v1/sessions/{}", new.token)).bearer(&new.token).send(),
        server.get(&format!("/v1/sessions?{}={}", new.token, old.token)).bearer(&server.admin).send(),
        server.post("/v1/sessions").bearer(&server.admin).json(&misplaced).send(),
        server.post("/v1/sessions").bearer(&server.admin).json_text(&server.admin).send(),
        server.get("/v1/sessions").bearer(&format!("{}x", new.token)).send(),
        server.get("/v1/sessions").bearer(&format!("{}x", server.admin)).send(),
    ]
}

/// The parts of a secret by which it would be recognised: as text, and as the bytes that the text stands for.
fn marks(secret: &str) -> Vec<Vec<u8>> {
    let sealed = secret.trim_start_matches("tnr_key_").trim_start_matches("tnr_sess_v4.local.");
    let text = sealed.split('.').next().unwrap();
    let bytes = URL_SAFE_NO_PAD.decode(text).unwrap();
    let middle = bytes.len() / 2;
    vec![
        text.as_bytes()[..24].to_vec(),
        text.as_bytes()[text.len() - 24..].to_vec(),
        bytes[..12].to_vec(),
        bytes[middle..middle + 12].to_vec(),
    ]
}

fn contains(haystack: &[u8], mark: &[u8]) -> bool {
    haystack.windows(mark.len()).any(|window| window == mark)
}

/// Every file of the data directory but those that are made to hold secrets.
fn files(directory: &Path, found: &mut Vec<std::path::PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap();
        if name == "admin.key" || name == "keys" {
            continue;
        }
        if path.is_dir() { files(&path, found) } else { found.push(path) }
    }
}

#[test]
fn tokens_and_keys_are_nowhere_but_in_the_hands_of_their_holders() {
    let mut server = Server::saying("trace", &[]);
    let traces = busy_run(&mut server);
    assert!(server.stop().success());
    assert!(server.said().lines().count() > 50, "the log was not on: {}", server.said());
    let mut places = vec![("standard error".to_owned(), server.said().into_bytes())];
    places.extend(
        traces.answered.iter().map(|reply| ("a reply".to_owned(), format!("{reply:?}").into_bytes())),
    );
    let mut stored = Vec::new();
    files(&server.data(), &mut stored);
    assert!(!stored.is_empty());
    places.extend(stored.into_iter().map(|path| (path.display().to_string(), fs::read(&path).unwrap())));
    let marks: Vec<_> = traces.secrets.iter().flat_map(|secret| marks(secret)).collect();
    for (name, bytes) in &places {
        for mark in &marks {
            assert!(!contains(bytes, mark), "a secret is in {name}");
        }
    }
}

#[cfg(unix)]
#[test]
fn what_holds_secrets_is_for_its_owner_only() {
    use std::os::unix::fs::PermissionsExt;

    let server = Server::start();
    let mode = |path: &str| fs::metadata(server.data().join(path)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("admin.key"), mode("keys")), (0o600, 0o700));
    let key = fs::read_dir(server.data().join("keys")).unwrap().map(|entry| entry.unwrap().path());
    for path in key.filter(|path| path.is_file()) {
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600, "{}", path.display());
    }
    assert!(server.said().contains("admin.key"), "it says where the first key is");
    assert!(!server.said().contains(&server.admin));
}
