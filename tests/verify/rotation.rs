//! Keys of the real authority rotate, and verifiers follow.

use std::time::Duration;

use serde_json::json;
use tenure::{
    clock::pause,
    verify::{Rejection, VerifierConfig},
};

use crate::{
    fake::{eventually, hurried},
    following::said,
    real::Real,
};

fn rotate(real: &Real, retire: &str) {
    let body = json!({ "which": "access", "retire": retire });
    real.server.post("/v1/keys/rotate").bearer(&real.server.admin).json(&body).send().expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn with_an_overlap_old_tokens_go_on_and_new_ones_pass_and_retired_now_neither_does() {
    let real = Real::start();
    let (session, old) = real.minted("agent-7");
    let (verifier, _follower) = real.followed(hurried()).await;
    assert_eq!(said(&verifier, &old), Ok(()));
    rotate(&real, "overlap");
    let new = real.mint(&session, &json!({}));
    assert!(verifier.check_with_update(&new).await.is_ok(), "its key is asked for");
    eventually("both keys are shown", || verifier.status().keys == 2);
    assert_eq!(said(&verifier, &old), Ok(()), "also when the new key is known");
    rotate(&real, "now");
    for token in [&old, &new] {
        eventually("it is refused", || said(&verifier, token) == Err(Rejection::UnknownKey));
    }
    let newest = real.mint(&session, &json!({}));
    assert!(verifier.check_with_update(&newest).await.is_ok(), "the session goes on");
}

/// The first request with a token of a new key does not fail, however seldom the verifier asks by itself.
#[tokio::test(flavor = "multi_thread")]
async fn no_request_fails_because_a_key_is_new() {
    let real = Real::start();
    let (session, _) = real.minted("agent-7");
    let rules = VerifierConfig {
        poll: Duration::from_secs(30),
        staleness_bound: Duration::from_mins(2),
        ..hurried()
    };
    let (verifier, _follower) = real.followed(rules).await;
    rotate(&real, "now");
    let new = real.mint(&session, &json!({}));
    // The stream may have told of the key by now; if not, it is asked for.
    assert!(verifier.check_with_update(&new).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_overlap_ends_when_the_authority_says_so() {
    let real = Real::standing_still(&["keys.overlap=60"]);
    let (session, old) = real.minted("agent-7");
    let (verifier, _follower) = real.followed(hurried()).await;
    rotate(&real, "overlap");
    let new = real.mint(&session, &json!({}));
    real.server.advance(50);
    eventually("the new key is known", || said(&verifier, &new) == Ok(()));
    pause(Duration::from_millis(100));
    assert_eq!(said(&verifier, &old), Ok(()));
    real.server.advance(10);
    eventually("the overlap is over", || said(&verifier, &old) == Err(Rejection::UnknownKey));
    assert_eq!(said(&verifier, &new), Ok(()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_of_the_session_key_leaves_access_tokens_alone() {
    let real = Real::start();
    let (_, token) = real.minted("agent-7");
    let (verifier, _follower) = real.followed(hurried()).await;
    let body = json!({ "which": "session", "retire": "now" });
    real.server.post("/v1/keys/rotate").bearer(&real.server.admin).json(&body).send().expect(200);
    pause(Duration::from_millis(200));
    assert_eq!(said(&verifier, &token), Ok(()));
}
