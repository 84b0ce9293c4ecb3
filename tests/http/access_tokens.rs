//! Access tokens, judged as a stranger would: by a PASETO library that is not ours, with a key of `GET /v1/keys`.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use rusty_paseto::prelude::{Footer, Key, PasetoAsymmetricPublicKey, PasetoParser, Public, V4};
use serde_json::{Value, json};
use tenure::core::Timestamp;

use crate::server::{Request, Server, Session};

pub(crate) fn mint(server: &Server, session: &Session, body: &Value) -> Request {
    server.post("/v1/access-tokens").bearer(&session.token).json(body)
}

pub(crate) fn minted(server: &Server, session: &Session) -> String {
    mint(server, session, &json!({})).send().expect(200).text("accessToken")
}

pub(crate) fn keys(server: &Server) -> Vec<Value> {
    let listed = server.get("/v1/keys").send().expect(200).json();
    listed["keys"].as_array().unwrap().clone()
}

/// What the footer says before anybody has judged it.
fn footer(token: &str) -> String {
    let footer = token.rsplit('.').next().unwrap();
    String::from_utf8(URL_SAFE_NO_PAD.decode(footer).unwrap()).unwrap()
}

pub(crate) fn kid(token: &str) -> String {
    let footer: Value = serde_json::from_str(&footer(token)).unwrap();
    footer["kid"].as_str().unwrap().to_owned()
}

fn public_key(paserk: &str) -> Key<32> {
    let bytes = URL_SAFE_NO_PAD.decode(paserk.strip_prefix("k4.public.").unwrap()).unwrap();
    Key::<32>::try_from(bytes.as_slice()).unwrap()
}

/// Whether anybody with the public key takes it; asks the clock of this machine whether it has begun and ended.
pub(crate) fn judged(token: &str, paserk: &str) -> Result<Value, String> {
    let key = public_key(paserk);
    let footer = footer(token);
    let key = PasetoAsymmetricPublicKey::<V4, Public>::from(&key);
    let mut parser = PasetoParser::<V4, Public>::default();
    parser.set_footer(Footer::from(footer.as_str()));
    parser.parse(token, &key).map_err(|error| error.to_string())
}

/// The same, with the key that the authority publishes under the id in the token; `None` when it publishes none.
pub(crate) fn judged_by_published_key(server: &Server, token: &str) -> Option<Value> {
    let published = keys(server).into_iter().find(|key| key["keyId"] == json!(kid(token)))?;
    Some(judged(token, published["paserk"].as_str().unwrap()).unwrap())
}

fn moment(claims: &Value, name: &str) -> Timestamp {
    Timestamp::parse(claims[name].as_str().unwrap()).unwrap()
}

pub(crate) fn now(server: &Server) -> Timestamp {
    Timestamp::parse(&server.get("/v1/clock").bearer(&server.admin).send().expect(200).text("now")).unwrap()
}

#[test]
fn another_library_takes_an_access_token_and_reads_what_it_says() {
    let server = Server::with(&["server.public_url=https://tenure.example"]);
    server.register("agent", &json!({}));
    let session = server.create(&json!({ "subjectId": "agent", "scopes": ["read", "pay:small"] }));
    let reply = mint(&server, &session, &json!({ "ttl": 60, "audience": "shop" })).send().expect(200);
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    assert_eq!(reply.position(), None, "nothing is appended");
    let claims = judged_by_published_key(&server, &reply.text("accessToken")).unwrap();
    let mut names: Vec<_> = claims.as_object().unwrap().keys().cloned().collect();
    names.sort();
    assert_eq!(names, ["aud", "exp", "iat", "iss", "jti", "nbf", "scopes", "sid", "sub"]);
    assert_eq!(claims["iss"], "https://tenure.example");
    assert_eq!((&claims["sub"], &claims["sid"]), (&json!("agent"), &json!(session.id)));
    assert_eq!((&claims["aud"], &claims["scopes"]), (&json!("shop"), &json!(["read", "pay:small"])));
    assert_eq!(moment(&claims, "iat"), now(&server));
    assert_eq!(moment(&claims, "nbf"), now(&server).plus_millis(-5_000));
    assert_eq!(moment(&claims, "exp"), now(&server).plus_millis(60_000));
    assert_eq!(claims["exp"], reply.json()["expiresAt"]);
    assert_eq!(claims["jti"].as_str().unwrap().len(), 36);
}

#[test]
fn what_is_not_asked_for_has_its_default() {
    let server = Server::start();
    let session = server.session("agent", 3600);
    let claims = judged_by_published_key(&server, &minted(&server, &session)).unwrap();
    assert_eq!(claims["iss"], "tenure");
    assert!(!claims.as_object().unwrap().contains_key("aud"));
    assert_eq!(claims["scopes"], json!([]));
    assert_eq!(moment(&claims, "exp"), now(&server).plus_millis(600_000));
}

/// A service whose clock is behind by no more than this takes the token at once.
#[test]
fn it_is_good_from_a_little_before_its_issue() {
    for (skew, millis) in [(0, 0), (60, -60_000)] {
        let server = Server::with(&[&format!("access.clock_skew={skew}")]);
        let session = server.session("agent", 3600);
        let claims = judged_by_published_key(&server, &minted(&server, &session)).unwrap();
        assert_eq!(moment(&claims, "iat"), now(&server));
        assert_eq!(moment(&claims, "nbf"), now(&server).plus_millis(millis));
        assert_eq!(moment(&claims, "exp"), now(&server).plus_millis(600_000));
    }
}

#[test]
fn two_access_tokens_of_one_moment_have_different_names() {
    let server = Server::start();
    let session = server.session("agent", 3600);
    let [one, two] = [(); 2].map(|()| judged_by_published_key(&server, &minted(&server, &session)).unwrap());
    assert_ne!(one["jti"], two["jti"]);
    assert_eq!(one["iat"], two["iat"]);
}

#[test]
fn another_library_refuses_a_changed_access_token_and_another_authoritys_key() {
    let (server, other) = (Server::start(), Server::start());
    let token = minted(&server, &server.session("agent", 3600));
    let paserk = |server: &Server| keys(server)[0]["paserk"].as_str().unwrap().to_owned();
    assert!(judged(&token, &paserk(&server)).is_ok());
    assert!(judged(&token, &paserk(&other)).is_err());
    let mut bytes = token.clone().into_bytes();
    bytes[20] = if bytes[20] == b'A' { b'B' } else { b'A' };
    assert!(judged(&String::from_utf8(bytes).unwrap(), &paserk(&server)).is_err());
}

#[test]
fn an_access_token_does_not_outlive_its_session() {
    let server = Server::start();
    let session = server.session("agent", 3600);
    server.advance(3600 - 90);
    let reply = mint(&server, &session, &json!({ "ttl": 1800 })).send().expect(200);
    let end = Timestamp::parse(&reply.text("expiresAt")).unwrap();
    assert_eq!(end, now(&server).plus_millis(90_000));
    server.advance(90);
    mint(&server, &session, &json!({})).send().refused(401, "TOKEN_EXPIRED");
}

#[test]
fn only_a_live_session_mints() {
    let server = Server::start();
    let session = server.session("agent", 3600);
    server.post("/v1/access-tokens").json(&json!({})).send().refused(401, "INVALID_TOKEN");
    server.post("/v1/access-tokens").bearer(&server.admin).json(&json!({})).send().refused(403, "FORBIDDEN");
    server.advance(1800);
    let renewed = session.renewed(&server.renew(&session).send().expect(200));
    mint(&server, &session, &json!({})).send().refused(401, "TOKEN_SUPERSEDED");
    mint(&server, &renewed, &json!({})).send().expect(200);
    server.delete(&session.path()).bearer(&server.admin).send().expect(200);
    mint(&server, &renewed, &json!({})).send().refused(401, "SESSION_REVOKED");
}

#[test]
fn an_access_token_is_asked_for_in_its_ranges() {
    let server = Server::start();
    let session = server.session("agent", 3600);
    for (body, field) in [
        (json!({ "ttl": 59 }), "ttl"),
        (json!({ "ttl": 1801 }), "ttl"),
        (json!({ "ttl": "600" }), "ttl"),
        (json!({ "audience": "" }), "audience"),
        (json!({ "audience": "a".repeat(257) }), "audience"),
        (json!({ "scope": "read" }), "scope"),
    ] {
        let refused = mint(&server, &session, &body).send().refused(400, "INVALID_REQUEST");
        assert_eq!(refused.fields(), [field], "{body}");
    }
    for body in [json!({ "ttl": 60 }), json!({ "ttl": 1800 }), json!({ "audience": "ü".repeat(256) })] {
        mint(&server, &session, &body).send().expect(200);
    }
    let wrong_key = mint(&server, &session, &json!({})).key("two words").send();
    assert_eq!(wrong_key.refused(400, "INVALID_REQUEST").fields(), ["Idempotency-Key"]);
    mint(&server, &session, &json!({})).key("order-7").send().expect(200);
}

/// An access token is no session token: nothing here takes it for one.
#[test]
fn an_access_token_is_no_credential_of_the_authority() {
    let server = Server::start();
    let session = server.session("agent", 3600);
    let token = minted(&server, &session);
    for credential in [token.clone(), format!("tnr_sess_{token}")] {
        server.get(&session.path()).bearer(&credential).send().refused(401, "INVALID_TOKEN");
        assert_eq!(server.introspect(&credential).json()["code"], "INVALID_TOKEN");
    }
}

#[test]
fn the_public_keys_are_for_everybody_and_stay_after_a_restart() {
    let mut server = Server::start();
    let before = keys(&server);
    assert_eq!(before.len(), 1);
    assert_eq!((&before[0]["state"], &before[0]["retireAt"]), (&json!("active"), &json!(null)));
    assert!(before[0]["keyId"].as_str().unwrap().starts_with("k4.pid."));
    let token = minted(&server, &server.session("agent", 3600));
    server.kill9();
    assert_eq!(keys(&server), before);
    assert!(judged_by_published_key(&server, &token).is_some());
}

/// What a verifier has taken once, every later version must still make and take.
#[test]
fn another_library_takes_the_frozen_access_token() {
    let frozen =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/tokens/access.v1.json"));
    let frozen: Value = serde_json::from_str(&frozen.unwrap()).unwrap();
    let token = frozen["token"].as_str().unwrap();
    let key = public_key(frozen["paserk"].as_str().unwrap());
    let footer = footer(token);
    let key = PasetoAsymmetricPublicKey::<V4, Public>::from(&key);
    // Its time is over, so only the signature is judged.
    let mut parser = PasetoParser::<V4, Public>::new();
    parser.set_footer(Footer::from(footer.as_str()));
    assert_eq!(parser.parse(token, &key).unwrap(), frozen["claims"]);
    assert_eq!(kid(token), frozen["keyId"].as_str().unwrap());
}

/// A session with an idle time of a minute was over after that minute, and verifiers took its access token for half an
/// hour more: the feed tells nothing of idle ends.
#[test]
fn an_access_token_ends_no_later_than_its_session_would_be_idle() {
    let server = Server::start();
    server.register("a", &json!({}));
    let session = server.create(&json!({ "subjectId": "a", "ttl": 3600, "idleTimeout": 60 }));
    server.advance(30);
    let reply = mint(&server, &session, &json!({ "ttl": 1800 })).send().expect(200);
    // To mint is a use, so the idle time begins again.
    assert_eq!(reply.text("expiresAt"), now(&server).plus_millis(60_000).to_string());
    server.advance(60);
    mint(&server, &session, &json!({})).send().refused(401, "SESSION_IDLE");
}
