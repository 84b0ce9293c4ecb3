//! However a session of the real authority ends before its time, or at it, its access tokens end with it.

use std::thread;

use serde_json::{Value, json};
use tenure::verify::Rejection;

use crate::{
    fake::{eventually, hurried},
    following::said,
    real::Real,
    server::{Reply, Session},
};

/// So many subjects, each with so many sessions, are more than a revocation names.
const SUBJECTS: usize = 8;
const SESSIONS: usize = 1_251;

/// A session of a subject that has an owner; all have names of their own.
struct Held {
    subject: String,
    owner: String,
    device: String,
    session: Session,
    token: String,
}

impl Held {
    fn new(real: &Real, number: usize) -> Self {
        let [subject, owner, device] = ["agent", "owner", "device"].map(|name| format!("{name}-{number}"));
        let profile = json!({ "ownerId": owner, "maxSessions": 1, "onLimit": "evict_oldest" });
        real.server.register(&subject, &profile);
        let session = real.server.create(&json!({ "subjectId": subject, "ttl": 3_600, "device": device }));
        let token = real.mint(&session, &json!({}));
        Self { subject, owner, device, session, token }
    }
}

fn revoke(real: &Real, selector: &Value) -> Reply {
    let body = json!({ "selector": selector, "reason": "an incident" });
    real.server.post("/v1/revocations").bearer(&real.server.admin).json(&body).send().expect(200)
}

fn log_out(real: &Real, held: &Held, query: &str) -> Reply {
    let path = format!("/v1/subjects/{}/sessions{query}", held.subject);
    real.server.delete(&path).bearer(&real.server.admin).send()
}

type End = fn(&Real, &Held) -> Reply;

const ENDS: [(&str, End); 9] = [
    ("revoked by an admin", |real, held| real.revoking(&held.session).send()),
    ("by itself", |real, held| real.server.delete(&held.session.path()).bearer(&held.session.token).send()),
    ("by its owner", |real, held| {
        let (owner, _) = real.server.issue_key("owner", Some(&held.owner));
        real.server.delete(&held.session.path()).bearer(&owner).send()
    }),
    ("its subject was logged out", |real, held| log_out(real, held, "")),
    ("its device was logged out", |real, held| log_out(real, held, &format!("?device={}", held.device))),
    ("evicted", |real, held| {
        let body = json!({ "subjectId": held.subject });
        let reply = real.server.post("/v1/sessions").bearer(&real.server.admin).json(&body).send();
        reply.expect(201)
    }),
    ("in bulk, by owner", |real, held| revoke(real, &json!({ "ownerId": held.owner }))),
    ("in bulk, by subject", |real, held| revoke(real, &json!({ "subjectId": held.subject }))),
    ("in bulk, by device", |real, held| revoke(real, &json!({ "device": held.device }))),
];

#[tokio::test(flavor = "multi_thread")]
async fn every_end_before_its_time_reaches_a_verifier_and_nobody_else_is_refused() {
    let real = Real::start();
    let (bystander, of_bystander) = real.minted("bystander");
    let (verifier, _follower) = real.followed(hurried()).await;
    for (number, (how, end)) in ENDS.iter().enumerate() {
        let held = Held::new(&real, number);
        eventually(how, || said(&verifier, &held.token) == Ok(()));
        let reply = end(&real, &held);
        assert!([200, 201].contains(&reply.status), "{how}: {reply:?}");
        eventually(how, || said(&verifier, &held.token) == Err(Rejection::Revoked));
        let again = real.server.create(&json!({ "subjectId": held.subject, "ttl": 3_600 }));
        assert_eq!(said(&verifier, &real.mint(&again, &json!({}))), Ok(()), "{how}: a new session of it");
        assert_eq!(said(&verifier, &of_bystander), Ok(()), "{how}: another's");
    }
    revoke(&real, &json!({ "all": true }));
    eventually("all", || said(&verifier, &of_bystander) == Err(Rejection::Revoked));
    let again = real.server.session("bystander", 3_600);
    assert_ne!(again.id, bystander.id);
    assert_eq!(said(&verifier, &real.mint(&again, &json!({}))), Ok(()), "a new session");
}

/// No access token tells of the key of its session's token; the feed tells of the sessions.
#[tokio::test(flavor = "multi_thread")]
async fn an_end_of_what_one_key_sealed_ends_the_access_tokens_of_those_sessions_alone() {
    let real = Real::start();
    let (_, of_old) = real.minted("sealed-before");
    let rotation = json!({ "which": "session", "retire": "overlap" });
    let rotated = real.server.post("/v1/keys/rotate").bearer(&real.server.admin).json(&rotation);
    let old = rotated.send().expect(200).text("previousKeyId");
    let (_, of_new) = real.minted("sealed-after");
    let (verifier, _follower) = real.followed(hurried()).await;
    assert_eq!([&of_old, &of_new].map(|token| said(&verifier, token)), [Ok(()), Ok(())]);
    assert_eq!(revoke(&real, &json!({ "keyId": old })).json()["matched"], 1);
    eventually("it is refused", || said(&verifier, &of_old) == Err(Rejection::Revoked));
    assert_eq!(said(&verifier, &of_new), Ok(()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_logout_of_the_other_sessions_leaves_this_one() {
    let real = Real::start();
    let [(mine, my_token), (_, other)] = [(); 2].map(|()| real.minted("agent-7"));
    let (verifier, _follower) = real.followed(hurried()).await;
    let path = format!("/v1/subjects/agent-7/sessions?exceptSessionId={}", mine.id);
    real.server.delete(&path).bearer(&real.server.admin).send().expect(200);
    eventually("the other", || said(&verifier, &other) == Err(Rejection::Revoked));
    assert_eq!(said(&verifier, &my_token), Ok(()));
}

/// The session after its first renewal, and an access token from before it.
fn renewed(real: &Real, session: &Session) -> (Session, String) {
    let token = real.mint(session, &json!({}));
    (session.renewed(&real.server.renew(session).send().expect(200)), token)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_veto_and_a_token_used_twice_end_access_tokens_and_a_renewal_does_not() {
    let real = Real::standing_still(&["renewal.on_reuse=revoke"]);
    real.server.register("vetoed", &json!({ "ownerId": "alice" }));
    let vetoed = real.server.create(&json!({ "subjectId": "vetoed", "ttl": 3_600 }));
    let stolen = real.server.session("robbed", 3_600);
    let kept = real.server.session("renewed", 3_600);
    real.server.advance(1_800);
    let [(vetoed, of_vetoed), (robbed, of_robbed), (_, of_kept)] =
        [&vetoed, &stolen, &kept].map(|session| renewed(&real, session));
    let (verifier, _follower) = real.followed(hurried()).await;
    for token in [&of_vetoed, &of_robbed, &of_kept] {
        assert_eq!(said(&verifier, token), Ok(()), "also after the renewal");
    }
    let (owner, _) = real.server.issue_key("owner", Some("alice"));
    let vetoing = real.server.delete(&format!("{}?rejectRenewal=true", vetoed.path())).bearer(&owner);
    assert_eq!(vetoing.send().expect(200).text("trigger"), "renewal_rejected");
    assert_eq!(real.server.introspect(&robbed.token).json()["active"], true);
    // Sooner, it might be one that lost the race to another holder of the same file.
    real.server.advance(10);
    real.server.renew(&stolen).send().refused(403, "SESSION_RENEWAL_MISMATCH");
    for token in [&of_vetoed, &of_robbed] {
        eventually("it is refused", || said(&verifier, token) == Err(Rejection::Revoked));
    }
    assert_eq!(said(&verifier, &of_kept), Ok(()));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_access_token_ends_with_the_period_of_its_session() {
    let real = Real::standing_still(&[]);
    let session = real.server.session("agent-7", 3_600);
    real.server.advance(3_600 - 90);
    let token = real.mint(&session, &json!({ "ttl": 1_800 }));
    let (verifier, _follower) = real.followed(hurried()).await;
    assert_eq!(said(&verifier, &token), Ok(()));
    real.server.advance(90);
    eventually("it is over", || said(&verifier, &token) == Err(Rejection::Expired));
}

/// The feed names no more than 10 000 sessions of one revocation. Whoever might be meant is refused until then.
#[tokio::test(flavor = "multi_thread")]
async fn an_end_of_more_sessions_than_are_named_refuses_all_that_was_signed_before() {
    let real = Real::start();
    let (bystander, of_bystander) = real.minted("bystander");
    let profile = json!({ "maxSessions": 10_000, "maxSessionsPerDevice": 10_000 });
    let create = |subject: String| {
        real.server.register(&subject, &profile);
        let asked = json!({ "subjectId": subject, "device": "laptop" });
        (1..SESSIONS).for_each(|_| drop(real.server.create(&asked)));
        real.server.create(&asked)
    };
    let last: Vec<_> = thread::scope(|scope| {
        let create = &create;
        let thread_of = |number| scope.spawn(move || create(format!("agent-{number}")));
        let threads: Vec<_> = (0..SUBJECTS).map(thread_of).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let tokens: Vec<_> = last.iter().map(|session| real.mint(session, &json!({}))).collect();
    let (verifier, _follower) = real.followed(hurried()).await;
    let reply = revoke(&real, &json!({ "device": "laptop" }));
    assert_eq!(reply.json()["matched"], SUBJECTS * SESSIONS);
    for token in tokens.iter().chain([&of_bystander]) {
        eventually("it is refused", || said(&verifier, token) == Err(Rejection::Revoked));
    }
    let new = real.server.session("newcomer", 3_600);
    let passes = || said(&verifier, &real.mint(&new, &json!({}))) == Ok(());
    eventually("whoever begins then gets a token that passes", passes);
    let passes_again = || said(&verifier, &real.mint(&bystander, &json!({}))) == Ok(());
    eventually("whose session lives gets a token that passes", passes_again);
    let (late, _late) = real.followed(hurried()).await;
    assert_eq!(said(&late, &of_bystander), Err(Rejection::Revoked), "by one that starts later, too");
}
