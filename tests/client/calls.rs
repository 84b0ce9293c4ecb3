//! Single calls of an issuer and a service.

use std::{
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use serde_json::{json, value::RawValue};
use tenure::{
    client::{
        Client, Error, HandleOptions, NewConstraints, NewSession, NewUse, Secret, SessionFilter,
        SessionHandle, SessionStatus, TokenStatus,
    },
    core::Seconds,
};

use crate::{
    proxy::{Fate, Proxy},
    server::Server,
};

fn issuer(server: &Server, url: &str) -> Client {
    let (key, _) = server.issue_key("issuer", None);
    Client::new(url).unwrap().with_credential(Secret::new(&key))
}

#[tokio::test]
async fn an_issuer_creates_reads_lists_judges_uses_and_ends_sessions() {
    let server = Server::start();
    server.register("agent-7", &json!({ "ownerId": "alice" }));
    let client = issuer(&server, &format!("http://{}", server.address()));
    let new = NewSession {
        scopes: vec!["pay".to_owned()],
        metadata: Some(RawValue::from_string(r#"{"order":1.10}"#.to_owned()).unwrap()),
        constraints: Some(NewConstraints {
            max_total_amount: Some("10".parse().unwrap()),
            ..NewConstraints::default()
        }),
        ..NewSession::of("agent-7".parse().unwrap())
    };
    let created = client.create(&new).await.unwrap();
    let id = created.session_id;

    let read = client.session(id).await.unwrap();
    assert_eq!((read.status, read.scopes, read.usage.transactions), (SessionStatus::Active, new.scopes, 0));
    assert_eq!(read.on_reuse, "revoke");
    assert_eq!(read.owner_id.unwrap().as_str(), "alice");
    assert_eq!(read.metadata.unwrap().get(), r#"{"order":1.10}"#);
    let used = client.record_use(id, &NewUse::of("pay").amount("9.5".parse().unwrap())).await.unwrap();
    assert_eq!((used.transactions, used.total_amount.to_string().as_str()), (1, "9.5"));
    let beyond = client.record_use(id, &NewUse::of("pay").amount("1".parse().unwrap())).await.unwrap_err();
    assert_eq!((beyond.code(), beyond.is_transient()), (Some("CONSTRAINT_VIOLATED"), false));

    let judged = client.introspect(&created.token).await.unwrap();
    assert!(matches!(judged, TokenStatus::Live(token) if token.session_id == id && !token.should_renew));
    assert_eq!(client.revoke(id, Some("done")).await.unwrap().trigger, "manual_revoke");
    let judged = client.introspect(&created.token).await.unwrap();
    assert!(matches!(judged, TokenStatus::Dead(dead) if dead.code == "SESSION_REVOKED"));

    let mine = SessionFilter { subject_id: Some("agent-7".parse().unwrap()), ..SessionFilter::default() };
    assert!(client.list(&mine).await.unwrap().items.is_empty());
    let all = client.list(&SessionFilter { ended_too: true, ..mine }).await.unwrap();
    assert_eq!(all.items[0].revoked_reason.as_deref(), Some("done"));
}

#[tokio::test]
async fn a_session_that_nobody_uses_ends_after_the_time_that_its_issuer_asked_for() {
    let server = Server::start();
    server.register("agent-7", &json!({}));
    let client = issuer(&server, &format!("http://{}", server.address()));
    let new = NewSession { idle_timeout: Some(Seconds(600)), ..NewSession::of("agent-7".parse().unwrap()) };
    let created = client.create(&new).await.unwrap();
    server.advance(599);
    let judged = client.introspect(&created.token).await.unwrap();
    assert!(matches!(judged, TokenStatus::Live(_)), "{judged:?}");
    server.advance(600);
    let judged = client.introspect(&created.token).await.unwrap();
    assert!(matches!(&judged, TokenStatus::Dead(dead) if dead.code == "SESSION_IDLE"), "{judged:?}");
}

#[tokio::test]
async fn a_call_whose_reply_is_lost_is_repeated_and_has_one_effect() {
    let server = Server::start();
    server.register("agent-7", &json!({}));
    let asked = AtomicU64::new(0);
    let proxy = Proxy::before(server.address(), move |_| {
        if asked.fetch_add(1, Ordering::Relaxed) == 0 { Fate::LoseReply } else { Fate::Pass }
    });
    let client = issuer(&server, &proxy.url());
    let created = client.create(&NewSession::of("agent-7".parse().unwrap())).await.unwrap();
    assert_eq!(server.events("SessionCreated").len(), 1);
    assert!(matches!(client.introspect(&created.token).await.unwrap(), TokenStatus::Live(_)));
}

/// The token was replaced before the use was asked for again, so that it is asked for with another one.
#[tokio::test]
async fn a_use_whose_reply_is_lost_before_a_renewal_counts_once() {
    let server = Arc::new(Server::start());
    server.register("agent-7", &json!({}));
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("agent.session");
    let (asked, clock, file) = (AtomicU64::new(0), Arc::clone(&server), path.clone());
    let proxy = Proxy::before(server.address(), move |first| {
        if !first.contains("/usage") {
            return Fate::Pass;
        }
        match asked.fetch_add(1, Ordering::Relaxed) {
            0 => Fate::LoseReply,
            1 => {
                clock.advance(200);
                let mut renew = Command::new(env!("CARGO_BIN_EXE_tenure"));
                let renewed = renew.args(["session", "renew", "--session-file"]).arg(&file).output().unwrap();
                assert!(renewed.status.success(), "{renewed:?}");
                Fate::Pass
            }
            _ => Fate::Pass,
        }
    });
    let new = NewSession { ttl: Some(Seconds(300)), ..NewSession::of("agent-7".parse().unwrap()) };
    let options = HandleOptions { check_every: None };
    let held = SessionHandle::create(issuer(&server, &proxy.url()), &new, &path, options).await.unwrap();
    let before = held.token();
    let used = held.record_use(&NewUse::of("work")).await.unwrap();
    assert_eq!(used.transactions, 1);
    assert_ne!(held.token(), before, "it was asked with the token of before and the next one");
}

#[tokio::test]
async fn what_is_refused_for_good_is_not_repeated_and_says_why() {
    let server = Server::start();
    let client = issuer(&server, &format!("http://{}", server.address()));
    let unknown = client.create(&NewSession::of("nobody".parse().unwrap())).await.unwrap_err();
    let Error::Refused(problem) = &unknown else { panic!("{unknown:?}") };
    assert_eq!((problem.code.as_str(), problem.status, problem.retryable), ("SUBJECT_NOT_FOUND", 404, false));
    assert!(problem.request_id.is_some() && !unknown.is_transient());
}

#[tokio::test]
async fn a_session_is_created_into_its_file_and_held() {
    let server = Server::on_real_time();
    server.register("agent-7", &json!({}));
    let client = issuer(&server, &format!("http://{}", server.address()));
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("agent.session");
    let new = NewSession::of("agent-7".parse().unwrap());
    let first = SessionHandle::create(client.clone(), &new, &path, HandleOptions::default()).await.unwrap();
    let second = SessionHandle::open(&path).unwrap();
    assert_eq!(first.token(), second.token());
    assert_eq!(second.session().await.unwrap().session_id, first.grant().session_id);
    // The holder's calls are made with the session's token, not with the issuer's key.
    let listed = first.call(|client| async move { client.list(&SessionFilter::default()).await }).await;
    assert_eq!(listed.unwrap_err().code(), Some("FORBIDDEN"));
}
