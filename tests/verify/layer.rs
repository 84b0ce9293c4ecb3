//! The layer around an axum service, and around a service that is none of axum's.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::{Extension, Router, body::Body, routing::get};
use http::{Request, Response, StatusCode};
use serde_json::json;
use tenure::verify::{AccessClaims, Introspection, Principal, ProtectLayer, Verifier};
use tower::{Layer, Service, ServiceExt};

use crate::{
    fake::{Fake, eventually, hurried, token_of},
    introspection::live,
};

async fn whoami(Extension(holder): Extension<Principal>) -> String {
    holder.subject.to_string()
}

async fn when(Extension(claims): Extension<Arc<AccessClaims>>) -> String {
    claims.expires_at.to_string()
}

fn service(layer: ProtectLayer) -> Router {
    Router::new().route("/whoami", get(whoami)).route("/when", get(when)).layer(layer)
}

fn asking(path: &str, credentials: &[&str]) -> Request<Body> {
    let request = credentials
        .iter()
        .fold(Request::get(path), |request, credential| request.header("authorization", *credential));
    request.body(Body::empty()).unwrap()
}

/// Status, challenge and body.
async fn answer(service: &Router, request: Request<Body>) -> (u16, String, String) {
    let response = service.clone().oneshot(request).await.unwrap();
    let challenge =
        response.headers().get("www-authenticate").map(|value| value.to_str().unwrap().to_owned());
    let status = response.status().as_u16();
    let body = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
    (status, challenge.unwrap_or_default(), String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_good_token_brings_its_holder_to_the_service() {
    let fake = Fake::start();
    let verifier = Verifier::new(hurried()).unwrap();
    let _follower = fake.followed(&verifier).await;
    let service = service(ProtectLayer::with_verifier(verifier));
    let token = token_of(1).1;
    for scheme in ["Bearer", "bearer", "BEARER"] {
        let (status, challenge, body) =
            answer(&service, asking("/whoami", &[&format!("{scheme} {token}")])).await;
        assert_eq!((status, challenge.as_str(), body.as_str()), (200, "", "agent-7"));
    }
    let (_, _, body) = answer(&service, asking("/when", &[&format!("Bearer {token}")])).await;
    assert_eq!(body, "2026-11-21T12:10:00.000Z");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_shows_nothing_or_the_wrong_thing_is_told_so() {
    let fake = Fake::start();
    let verifier = Verifier::new(hurried()).unwrap();
    let _follower = fake.followed(&verifier).await;
    let service = service(ProtectLayer::with_verifier(verifier));
    for nothing in [&[][..], &["Basic YTpi"], &["Bearer"]] {
        let (status, challenge, body) = answer(&service, asking("/whoami", nothing)).await;
        assert_eq!(
            (status, challenge.as_str(), body.as_str()),
            (401, r#"Bearer realm="tenure""#, ""),
            "{nothing:?}"
        );
    }
    let (status, challenge, _) = answer(&service, asking("/whoami", &["Bearer a", "Bearer b"])).await;
    assert_eq!(status, 400);
    assert!(challenge.starts_with(r#"Bearer realm="tenure", error="invalid_request""#), "{challenge}");
    let (status, challenge, _) = answer(&service, asking("/whoami", &["Bearer sesame"])).await;
    assert_eq!(status, 401);
    assert!(
        challenge.starts_with(r#"Bearer realm="tenure", error="invalid_token""#)
            && !challenge.contains("sesame")
    );
    let (status, _, _) = answer(&service, asking("/no/such/place", &[])).await;
    assert_eq!(status, 401, "what is there is not told to strangers");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_without_the_scope_is_forbidden() {
    let fake = Fake::start();
    let verifier = Verifier::new(hurried()).unwrap();
    let _follower = fake.followed(&verifier).await;
    let layer = ProtectLayer::with_verifier(verifier).require_scope("orders:read").unwrap();
    let bearer = format!("Bearer {}", token_of(1).1);
    assert_eq!(answer(&service(layer.clone()), asking("/whoami", &[&bearer])).await.0, 200);
    let both = service(layer.clone().require_scope("orders:write").unwrap());
    let (status, challenge, _) = answer(&both, asking("/whoami", &[&bearer])).await;
    let expected = r#"Bearer realm="tenure", error="insufficient_scope", scope="orders:read orders:write""#;
    assert_eq!((status, challenge.as_str()), (403, expected));
    assert!(layer.clone().require_scope("a b").is_err() && layer.require_scope("").is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_whose_verifier_is_not_ready_is_closed() {
    let service = service(ProtectLayer::with_verifier(Verifier::new(hurried()).unwrap()));
    let bearer = format!("Bearer {}", token_of(1).1);
    let response = service.oneshot(asking("/whoami", &[&bearer])).await.unwrap();
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(response.headers()["retry-after"], "1");
    assert_eq!(response.headers()["cache-control"], "no-store");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_may_ask_the_authority_instead() {
    let mut fake = Fake::start();
    fake.tell(|told| told.judgement = live());
    let service = service(ProtectLayer::with_introspection(Introspection::new(fake.connection())));
    let request = || asking("/whoami", &["Bearer tnr_sess_x"]);
    assert_eq!(answer(&service, request()).await, (200, String::new(), "agent-7".to_owned()));
    fake.tell(|told| told.judgement = json!({ "active": false, "code": "SESSION_REVOKED" }));
    assert_eq!(answer(&service, request()).await.0, 401);
    fake.stop();
    assert_eq!(answer(&service, request()).await.0, 503);
}

/// A service that must be asked whether it is ready, and panics where it is called without.
#[derive(Debug, Default)]
struct Strict {
    is_ready: bool,
}

impl Clone for Strict {
    /// A clone of a ready service need not be ready.
    fn clone(&self) -> Self {
        Self { is_ready: false }
    }
}

impl Service<Request<u8>> for Strict {
    type Response = Response<u16>;
    type Error = Infallible;
    type Future = Ready<Result<Response<u16>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.is_ready = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<u8>) -> Self::Future {
        assert!(self.is_ready, "it was not asked whether it is ready");
        self.is_ready = false;
        ready(Ok(Response::new(u16::from(request.into_body()) + 1)))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn any_tower_service_can_be_protected_and_the_ready_one_is_called() {
    let fake = Fake::start();
    let verifier = Verifier::new(hurried()).unwrap();
    let _follower = fake.followed(&verifier).await;
    let mut service = ProtectLayer::with_verifier(verifier).layer(Strict::default());
    let bearer = format!("Bearer {}", token_of(1).1);
    for _again in 0..3 {
        let request = Request::get("/").header("authorization", &bearer).body(7).unwrap();
        let response = service.ready().await.unwrap().call(request).await.unwrap();
        assert_eq!((response.status(), response.into_body()), (StatusCode::OK, 8));
    }
    let denied = service.ready().await.unwrap().call(Request::get("/").body(7).unwrap()).await.unwrap();
    assert_eq!((denied.status(), denied.into_body()), (StatusCode::UNAUTHORIZED, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_token_of_a_new_key_is_let_in() {
    let fake = Fake::start();
    let rules = tenure::verify::VerifierConfig { poll: Duration::from_secs(2), ..hurried() };
    let verifier = Verifier::new(rules).unwrap();
    let _follower = fake.followed(&verifier).await;
    let service = service(ProtectLayer::with_verifier(verifier));
    fake.tell(|told| told.keys.push(crate::tokens::Key::number(2).shown(None)));
    let claims = crate::tokens::claims(&token_of(1).0);
    let bearer = format!("Bearer {}", crate::tokens::Key::number(2).sign(&claims));
    assert_eq!(answer(&service, asking("/whoami", &[&bearer])).await.0, 200);
    eventually("it was asked once more", || fake.answered("/v1/keys", 200) == 2);
}
