//! Session tokens, judged by the authority each time.

use std::time::Duration;

use serde_json::{Value, json};
use tenure::verify::{Introspection, Rejection};

use crate::{
    fake::Fake,
    tokens::{noon, session_id},
};

pub(crate) fn live() -> Value {
    json!({
        "active": true, "sessionId": session_id(noon(), 1), "subjectId": "agent-7", "ownerId": "alice",
        "device": null, "scopes": ["orders:read"], "expiresAt": noon(), "absoluteExpiresAt": noon(), "renewalCount": 0, "renewAt": null,
        "shouldRenew": false, "asOfPosition": 7, "later": 1,
    })
}

async fn said(judgement: &Value) -> Result<(), Rejection> {
    let fake = Fake::start();
    fake.tell(|told| told.judgement = judgement.clone());
    Introspection::new(fake.connection()).introspect("tnr_sess_x").await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_live_token_has_a_holder() {
    let fake = Fake::start();
    fake.tell(|told| told.judgement = live());
    let holder = Introspection::new(fake.connection()).introspect("tnr_sess_x").await.unwrap();
    assert_eq!((holder.subject.as_str(), holder.owner.unwrap().as_str()), ("agent-7", "alice"));
    assert_eq!(holder.session.to_string(), session_id(noon(), 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_not_live_is_refused_whatever_the_code() {
    for (code, expected) in [
        ("INVALID_TOKEN", Rejection::Malformed),
        ("SESSION_REVOKED", Rejection::Revoked),
        ("SUBJECT_SUSPENDED", Rejection::Suspended),
        ("TOKEN_SUPERSEDED", Rejection::Superseded),
        ("TOKEN_EXPIRED", Rejection::Expired),
        ("SESSION_IDLE", Rejection::Idle),
        ("A_LATER_CODE", Rejection::Malformed),
    ] {
        assert_eq!(said(&json!({ "active": false, "code": code })).await, Err(expected));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_not_understood_lets_nobody_in() {
    for nonsense in [json!({}), json!({ "active": "yes" }), json!({ "active": true }), json!([live()])] {
        assert_eq!(said(&nonsense).await, Err(Rejection::Unreachable { retry_after: None }), "{nonsense}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_authority_that_cannot_be_asked_lets_nobody_in() {
    let mut fake = Fake::start();
    fake.tell(|told| told.judgement = live());
    let introspection = Introspection::new(fake.connection());
    assert!(introspection.introspect("tnr_sess_x").await.is_ok());
    for status in [401, 403, 429, 500, 503, 302] {
        fake.tell(|told| told.failing = Some(status));
        let said = introspection.introspect("tnr_sess_x").await.map(drop);
        assert_eq!(said, Err(Rejection::Unreachable { retry_after: None }), "{status}");
    }
    fake.stop();
    let said = introspection.introspect("tnr_sess_x").await.map(drop);
    assert_eq!(said, Err(Rejection::Unreachable { retry_after: None }));
    fake.tell(|told| told.failing = None);
    fake.start_again();
    assert!(introspection.introspect("tnr_sess_x").await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_authority_that_does_not_answer_in_time_lets_nobody_in() {
    let fake = Fake::start();
    fake.tell(|told| (told.judgement, told.dawdling) = (live(), Duration::from_mins(1)));
    let asked = Introspection::new(fake.connection());
    let said = tokio::time::timeout(Duration::from_secs(10), asked.introspect("tnr_sess_x")).await;
    assert_eq!(said.unwrap().map(drop), Err(Rejection::Unreachable { retry_after: None }));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_a_session_token_is_not_sent() {
    let fake = Fake::start();
    fake.tell(|told| told.judgement = live());
    let introspection = Introspection::new(fake.connection());
    for text in ["", "v4.public.AAAA", "tnr_key_x", &format!("tnr_sess_{}", "x".repeat(2_048))] {
        assert_eq!(introspection.introspect(text).await.map(drop), Err(Rejection::Malformed));
    }
    assert_eq!(fake.answered("/v1/introspect", 200), 0);
}
