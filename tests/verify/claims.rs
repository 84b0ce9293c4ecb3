//! Which tokens pass a verifier that has heard its authority.

use serde_json::{Value, json};
use tenure::verify::{Rejection, Verifier, VerifierConfig};

use crate::{
    fake::{Fake, hurried, token_of},
    tokens::{Key, claims, noon, session_id},
};

/// What a verifier with these rules says of a token.
async fn judged(rules: VerifierConfig, token: &str) -> Result<(), Rejection> {
    let fake = Fake::start();
    let verifier = Verifier::new(rules).unwrap();
    let _follower = fake.followed(&verifier).await;
    verifier.check(token).map(drop)
}

fn with(name: &str, value: &Value) -> String {
    let mut claims = claims(&session_id(noon(), 1));
    claims[name] = value.clone();
    Key::number(1).sign(&claims)
}

#[tokio::test]
async fn a_good_token_passes_and_says_what_was_signed() {
    let fake = Fake::start();
    let verifier = Verifier::new(hurried()).unwrap();
    let _follower = fake.followed(&verifier).await;
    let (session, token) = token_of(1);
    for _cold_then_warm in 0..2 {
        let claims = verifier.check(&token).unwrap();
        assert_eq!((claims.subject.as_str(), claims.session.to_string()), ("agent-7", session.clone()));
        assert_eq!((&*claims.scopes, claims.audience.as_deref()), (&["orders:read".to_owned()][..], None));
        assert_eq!(claims.expires_at, noon().plus_millis(600_000));
    }
}

/// Every bit, the dots and the header included: nothing that differs is taken for the same.
#[tokio::test]
async fn a_token_with_any_bit_flipped_is_refused() {
    let fake = Fake::start();
    let verifier = Verifier::new(hurried()).unwrap();
    let _follower = fake.followed(&verifier).await;
    let token = token_of(1).1;
    let mut judged = 0;
    for bit in 0..token.len() * 8 {
        let mut bytes = token.clone().into_bytes();
        bytes[bit / 8] ^= 1 << (bit % 8);
        // What is no text cannot even be shown.
        let Ok(flipped) = String::from_utf8(bytes) else { continue };
        let rejection = verifier.check(&flipped).expect_err("it is another token");
        let is_right =
            matches!(rejection, Rejection::Malformed | Rejection::BadSignature | Rejection::UnknownKey);
        assert!(is_right, "bit {bit}: {rejection}");
        judged += 1;
    }
    assert_eq!(judged, token.len() * 7, "every bit but the highest of each character");
    assert!(verifier.check(&token).is_ok());
}

#[tokio::test]
async fn a_token_cut_or_lengthened_is_refused() {
    let fake = Fake::start();
    let verifier = Verifier::new(hurried()).unwrap();
    let _follower = fake.followed(&verifier).await;
    let token = token_of(1).1;
    for length in 0..token.len() {
        assert!(verifier.check(&token[..length]).is_err(), "{length} characters");
    }
    for more in ["A", "=", ".", ".A", " ", "\n"] {
        assert!(verifier.check(&format!("{token}{more}")).is_err(), "{more:?}");
    }
    assert!(verifier.check(&format!(" {token}")).is_err());
}

#[tokio::test]
async fn a_name_of_our_key_makes_no_foreign_token_ours() {
    let (ours, theirs) = (Key::number(1), Key::number(2));
    let claims = claims(&session_id(noon(), 1));
    assert_eq!(judged(hurried(), &ours.sign(&claims)).await, Ok(()));
    assert_eq!(judged(hurried(), &theirs.sign(&claims)).await, Err(Rejection::UnknownKey));
    assert_eq!(judged(hurried(), &theirs.sign_as(&ours.id(), &claims)).await, Err(Rejection::BadSignature));
    assert_eq!(judged(hurried(), &ours.sign_as(&theirs.id(), &claims)).await, Err(Rejection::UnknownKey));
}

#[tokio::test]
async fn a_footer_says_one_key_and_may_say_more() {
    let key = Key::number(1);
    let payload = claims(&session_id(noon(), 1)).to_string();
    let id = key.id();
    let judge = async |footer: &str| judged(hurried(), &key.sign_with_footer(footer, &payload)).await;
    assert_eq!(judge(&format!(r#"{{"kid":"{id}","later":1}}"#)).await, Ok(()));
    for wrong in [
        id.clone(),
        format!(r#"{{"kid":"{id}","kid":"{id}"}}"#),
        format!(r#"{{"kid":["{id}"]}}"#),
        "{}".to_owned(),
        format!(r#"{{"kid":"{id}","pad":"{}"}}"#, "x".repeat(600)),
    ] {
        assert_eq!(judge(&wrong).await, Err(Rejection::Malformed), "{wrong}");
    }
}

#[tokio::test]
async fn a_text_that_is_no_access_token_is_refused_at_once() {
    let long = format!("v4.public.{}", "A".repeat(20_000));
    for text in ["", "v4.public.", "v4.local.AAAA", "tnr_sess_v4.local.AAAA", "v3.public.AAAA", &long] {
        assert_eq!(judged(hurried(), text).await, Err(Rejection::Malformed), "{} characters", text.len());
    }
}

#[tokio::test]
async fn the_largest_token_that_the_authority_makes_passes() {
    let scopes: Vec<_> = (0..64).map(|n| format!("{n:0128}")).collect();
    let mut claims = claims(&session_id(noon(), 1));
    claims["scopes"] = json!(scopes);
    claims["sub"] = json!("s".repeat(128));
    claims["aud"] = json!("a".repeat(256));
    let rules = hurried().for_audience("a".repeat(256));
    assert_eq!(judged(rules, &Key::number(1).sign(&claims)).await, Ok(()));
}

#[tokio::test]
async fn issuer_audience_and_times_are_held_to_the_rules() {
    let later = |millis| json!(noon().plus_millis(millis));
    for (name, value, expected) in [
        ("iss", json!("https://other.example"), Rejection::WrongIssuer),
        ("aud", json!("orders"), Rejection::WrongAudience),
        ("exp", later(0), Rejection::Expired),
        ("exp", later(1_800_001), Rejection::UnfitClaim("exp")),
        ("nbf", later(60_000), Rejection::NotYetValid),
        ("iat", later(60_000), Rejection::NotYetValid),
        ("crit", json!(["later"]), Rejection::UnfitClaim("crit")),
        ("jti", Value::Null, Rejection::UnfitClaim("jti")),
    ] {
        assert_eq!(judged(hurried(), &with(name, &value)).await, Err(expected), "{name}");
    }
    let rules = || hurried().for_audience("orders");
    assert_eq!(judged(rules(), &with("aud", &json!("orders"))).await, Ok(()));
    assert_eq!(judged(rules(), &with("aud", &json!("Orders"))).await, Err(Rejection::WrongAudience));
    assert_eq!(judged(rules(), &token_of(1).1).await, Err(Rejection::WrongAudience), "it has none");
}
