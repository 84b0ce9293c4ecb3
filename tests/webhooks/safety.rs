//! Where requests go, and how a receiver knows that they are ours.

use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::{
    ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use serde_json::json;
use standardwebhooks::Webhook as Verifier;

use crate::{
    receiver::{INSIDE, OK, Received, Receiver, Webhooks},
    server::Server,
};

/// What an independent library of Standard Webhooks makes of a request.
fn verify(secret: &str, request: &Received) -> Result<(), standardwebhooks::WebhookError> {
    let mut headers = http::HeaderMap::new();
    for name in ["webhook-id", "webhook-timestamp", "webhook-signature"] {
        headers.insert(name, request.header(name).parse().unwrap());
    }
    Verifier::new(secret).unwrap().verify(&request.body, &headers)
}

#[test]
fn an_independent_library_finds_every_request_signed() {
    let (server, receiver) = (Server::with(&[INSIDE]), Receiver::start(OK));
    let drawn = server.webhook(&receiver.url(), &json!({}));
    let own = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    server.webhook(&format!("{}?own", receiver.url()), &json!({ "secret": own, "format": "discord" }));
    server.session("a", 86_400);
    for request in receiver.wait_for(2) {
        let secret = if request.target.ends_with("?own") { own } else { &drawn.secret };
        verify(secret, &request).unwrap();
        let other = if secret == own { drawn.secret.as_str() } else { own };
        assert!(verify(other, &request).is_err());
        let mut forged = request.clone();
        forged.body.push(b' ');
        assert!(verify(secret, &forged).is_err());
    }
}

/// Under a test clock the timestamp was the test's time, and receivers refused it as too new once the clock had moved.
#[test]
fn the_timestamp_is_the_machines_wherever_a_test_has_moved_the_clock() {
    let (server, receiver) = (Server::with(&[INSIDE]), Receiver::start(OK));
    let webhook = server.webhook(&receiver.url(), &json!({}));
    server.advance(43_200);
    server.session("a", 86_400);
    server.post(&webhook.path("/test")).bearer(&server.admin).send().expect(200);
    for request in receiver.wait_for(2) {
        verify(&webhook.secret, &request).unwrap();
    }
}

#[test]
fn a_private_address_is_refused_unless_it_is_allowed() {
    let server = Server::start();
    for url in [
        "http://example.com/",
        "https://127.0.0.1/",
        "https://localhost/",
        "https://[::1]/",
        "https://10.1.2.3/",
        "https://169.254.169.254/latest/meta-data",
        "https://[::ffff:127.0.0.1]/",
        "https://2130706433/",
    ] {
        let reply = server.post("/v1/webhooks").bearer(&server.admin).json(&json!({ "url": url })).send();
        assert_eq!(reply.refused(400, "INVALID_REQUEST").fields(), ["url"], "{url}");
    }
    assert!(server.events("WebhookCreated").is_empty());
}

/// The setting is taken back: what was made under it leads nowhere any more, be it an address or a name.
#[test]
fn what_was_allowed_once_is_looked_at_at_every_connection() {
    let receiver = Receiver::start(OK);
    let mut server = Server::with(&[INSIDE]);
    let port = receiver.address.port();
    let hooks = [
        server.webhook(&receiver.url(), &json!({})),
        server.webhook(&format!("https://127.0.0.1:{port}/"), &json!({})),
        server.webhook(&format!("https://localhost:{port}/"), &json!({})),
    ];
    server.restart_with(&[]);
    server.session("a", 86_400);
    for webhook in &hooks {
        let all =
            server.wait_for_deliveries(webhook, |all| all.len() == 1 && !all[0]["attempts"][0].is_null());
        assert_eq!(all[0]["attempts"][0]["outcome"], "address_refused");
        let tested = server.post(&webhook.path("/test")).bearer(&server.admin).send().expect(200);
        assert_eq!(tested.text("outcome"), "address_refused");
    }
    assert!(receiver.received().is_empty());
}

type Issuer = CertifiedIssuer<'static, KeyPair>;

/// Somebody who certifies receivers.
fn issuer() -> Issuer {
    let mut params = CertificateParams::new(vec![]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A receiver that is certified to have this name.
fn certified(issuer: &Issuer, name: &str) -> Receiver {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, issuer).unwrap();
    let chain = vec![CertificateDer::from(certificate.der().to_vec())];
    let key = PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    Receiver::with_tls(OK, Arc::new(config))
}

#[test]
fn a_receiver_must_prove_who_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("ca.pem");
    let trusted = issuer();
    std::fs::write(&path, trusted.pem()).unwrap();
    let server = Server::in_environment("SSL_CERT_FILE", path.to_str().unwrap(), &[INSIDE]);
    let test = |receiver: &Receiver| {
        let webhook = server.webhook(&format!("https://localhost:{}/a", receiver.address.port()), &json!({}));
        server.post(&webhook.path("/test")).bearer(&server.admin).send().expect(200).json()
    };
    assert_eq!(test(&certified(&trusted, "localhost")), json!({ "outcome": "delivered", "httpStatus": 200 }));
    for wrong in [certified(&issuer(), "localhost"), certified(&trusted, "somebody-else.example")] {
        assert_eq!(test(&wrong), json!({ "outcome": "tls_failed", "httpStatus": null }));
        assert!(wrong.received().is_empty());
    }
}

/// A proxy in the environment is somebody else's wish.
#[test]
fn no_proxy_of_the_environment_is_asked() {
    let (proxy, receiver) = (Receiver::start(OK), Receiver::start(OK));
    let server = Server::in_environment("http_proxy", &format!("http://{}", proxy.address), &[INSIDE]);
    server.webhook(&receiver.url(), &json!({}));
    server.session("a", 86_400);
    receiver.wait_for(1);
    assert!(proxy.received().is_empty());
}
