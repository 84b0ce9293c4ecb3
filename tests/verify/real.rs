//! The real binary as the authority that verifiers follow.

use std::{sync::mpsc, thread, time::Duration};

use serde_json::{Value, json};
use tenure::{
    clock::{pause, stopwatch},
    verify::{AuthorityConnection, FeedFollower, Introspection, Rejection, Verifier, VerifierConfig},
};

use crate::{
    fake::{PATIENCE, eventually, hurried},
    following::said,
    server::{Request, Server, Session},
};

/// So many revocations are measured.
const MEASURED: usize = 200;

/// A server, and the key of a verifier.
pub(crate) struct Real {
    pub(crate) server: Server,
    pub(crate) key: String,
    key_id: String,
}

impl Real {
    /// On the time of this machine.
    pub(crate) fn start() -> Self {
        Self::of(Server::on_real_time())
    }

    /// With these settings, and a time that stands still until a test moves it.
    pub(crate) fn standing_still(settings: &[&str]) -> Self {
        Self::of(Server::with(settings))
    }

    fn of(server: Server) -> Self {
        let (key, key_id) = server.issue_key("verifier", None);
        Self { server, key, key_id }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.server.address())
    }

    pub(crate) fn connection(&self) -> AuthorityConnection {
        AuthorityConnection::to(&self.url(), &self.key).unwrap()
    }

    /// A verifier that has heard it.
    pub(crate) async fn followed(&self, rules: VerifierConfig) -> (Verifier, FeedFollower) {
        let verifier = Verifier::new(rules).unwrap();
        let follower = verifier.follow(self.connection());
        tokio::time::timeout(PATIENCE, verifier.ready()).await.expect("it gets ready");
        (verifier, follower)
    }

    pub(crate) fn mint(&self, session: &Session, body: &Value) -> String {
        let minting = self.server.post("/v1/access-tokens").bearer(&session.token).json(body);
        minting.send().expect(200).text("accessToken")
    }

    /// Of a session of its own, for this subject.
    pub(crate) fn minted(&self, subject: &str) -> (Session, String) {
        let session = self.server.session(subject, 3_600);
        let token = self.mint(&session, &json!({}));
        (session, token)
    }

    pub(crate) fn revoking(&self, session: &Session) -> Request {
        self.server.delete(&session.path()).bearer(&self.server.admin)
    }
}

/// How long revocations take to count for this verifier, at chance moments.
pub(crate) fn measured(real: &Real, verifier: &Verifier) -> Vec<Duration> {
    let minted: Vec<_> = (0..MEASURED).map(|number| real.minted(&format!("agent-{number}"))).collect();
    for (_, token) in &minted {
        assert_eq!(said(verifier, token), Ok(()));
    }
    let (done, revoked) = mpsc::channel();
    thread::scope(|scope| {
        scope.spawn(move || {
            for (session, token) in &minted {
                real.revoking(session).send().expect(200);
                done.send((stopwatch(), token.clone())).unwrap();
                // A prime, so that they fall everywhere between two polls.
                pause(Duration::from_millis(23));
            }
        });
        let mut latencies = Vec::new();
        let mut waiting = Vec::new();
        while latencies.len() < MEASURED {
            waiting.extend(revoked.try_iter());
            waiting.retain(|(since, token)| {
                let is_refused = said(verifier, token) == Err(Rejection::Revoked);
                latencies.extend(is_refused.then(|| since.elapsed()));
                !is_refused
            });
            pause(Duration::from_millis(1));
        }
        latencies
    })
}

/// With the default rules: the bound is the stated one, in real time.
#[tokio::test(flavor = "multi_thread")]
async fn a_killed_authority_makes_everything_refused_at_the_bound_and_recovers_with_what_it_had_revoked() {
    let mut real = Real::start();
    let (_, token) = real.minted("agent-7");
    let (other, of_other) = real.minted("agent-8");
    let (verifier, _follower) = real.followed(VerifierConfig::of("tenure")).await;
    assert_eq!((said(&verifier, &token), said(&verifier, &of_other)), (Ok(()), Ok(())));

    let before = stopwatch();
    let age = verifier.status().age.unwrap();
    real.revoking(&other).send().expect(200);
    real.server.die();
    let after = stopwatch();
    let bound = verifier.config().staleness_bound;
    loop {
        let dead_for = after.elapsed();
        match said(&verifier, &token) {
            Ok(()) => assert!(dead_for < bound, "it passes {dead_for:?} after the authority's death"),
            Err(why) => {
                assert!(matches!(why, Rejection::Stale { age } if age >= bound), "{why}");
                break;
            }
        }
        pause(Duration::from_millis(5));
    }
    assert!(before.elapsed() + age >= bound, "it was refused before its time");

    real.server.start_again_where_it_was();
    eventually("it is heard again", || said(&verifier, &token) == Ok(()));
    assert_eq!(said(&verifier, &of_other), Err(Rejection::Revoked), "acknowledged just before the kill");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_verifier_that_starts_late_learns_what_was_revoked_before() {
    let mut real = Real::start();
    let (session, token) = real.minted("agent-7");
    let (_, live) = real.minted("agent-8");
    real.revoking(&session).send().expect(200);
    for _ in 0..2 {
        let (verifier, _follower) = real.followed(hurried()).await;
        assert_eq!((said(&verifier, &token), said(&verifier, &live)), (Err(Rejection::Revoked), Ok(())));
        real.server.kill9();
    }
}

/// Up to 5 s after the suspension, as with every selector; and a resumption brings none of them back.
#[tokio::test(flavor = "multi_thread")]
async fn access_tokens_from_before_a_suspension_are_refused_and_later_ones_are_good() {
    let real = Real::standing_still(&[]);
    let (session, before) = real.minted("agent-7");
    let (_, of_other) = real.minted("agent-8");
    let (verifier, _follower) = real.followed(hurried()).await;
    assert_eq!((said(&verifier, &before), said(&verifier, &of_other)), (Ok(()), Ok(())));
    let told = |verb: &str| {
        let path = format!("/v1/subjects/agent-7/{verb}");
        real.server.post(&path).bearer(&real.server.admin).json(&json!({})).send().expect(200);
    };
    told("suspend");
    eventually("it is refused", || said(&verifier, &before) == Err(Rejection::Revoked));
    assert_eq!(said(&verifier, &of_other), Ok(()));
    let minting = real.server.post("/v1/access-tokens").bearer(&session.token).json(&json!({})).send();
    minting.refused(401, "SUBJECT_SUSPENDED");
    real.server.advance(5);
    told("resume");
    let at_five = real.mint(&session, &json!({}));
    assert_eq!(said(&verifier, &at_five), Err(Rejection::Revoked));
    real.server.advance(1);
    let later = real.mint(&session, &json!({}));
    eventually("it is good", || said(&verifier, &later) == Ok(()));
    assert_eq!(said(&verifier, &before), Err(Rejection::Revoked));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_verifier_whose_key_is_revoked_hears_no_more_and_refuses_everything() {
    let real = Real::start();
    let (_, token) = real.minted("agent-7");
    let rules = VerifierConfig { staleness_bound: Duration::from_millis(500), ..hurried() };
    let (verifier, _follower) = real.followed(rules).await;
    let path = format!("/v1/credentials/{}", real.key_id);
    real.server.delete(&path).bearer(&real.server.admin).send().expect(200);
    eventually("it is refused", || matches!(said(&verifier, &token), Err(Rejection::Stale { .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_for_another_service_or_of_another_authority_is_refused() {
    let real = Real::start();
    let session = real.server.session("agent-7", 3_600);
    let [for_orders, for_payments, for_nobody] =
        [json!({ "audience": "orders" }), json!({ "audience": "payments" }), json!({})]
            .map(|body| real.mint(&session, &body));
    let (orders, _orders) = real.followed(hurried().for_audience("orders")).await;
    let (anyone, _anyone) = real.followed(hurried()).await;
    assert_eq!(said(&orders, &for_orders), Ok(()));
    assert_eq!(said(&anyone, &for_nobody), Ok(()));
    for (verifier, token) in [(&orders, &for_payments), (&orders, &for_nobody), (&anyone, &for_orders)] {
        assert_eq!(said(verifier, token), Err(Rejection::WrongAudience));
    }
    let elsewhere = VerifierConfig { poll: hurried().poll, ..VerifierConfig::of("https://tenure.example") };
    let (elsewhere, _elsewhere) = real.followed(elsewhere).await;
    assert_eq!(said(&elsewhere, &for_nobody), Err(Rejection::WrongIssuer));
    let (stranger, _stranger) = Real::start().followed(hurried()).await;
    assert_eq!(said(&stranger, &for_nobody), Err(Rejection::UnknownKey));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_issuer_is_the_public_address_where_there_is_one() {
    let real = Real::standing_still(&["server.public_url=https://tenure.example"]);
    let (_, token) = real.minted("agent-7");
    let (verifier, _follower) =
        real.followed(VerifierConfig { issuer: "https://tenure.example".into(), ..hurried() }).await;
    assert_eq!(said(&verifier, &token), Ok(()));
}

#[tokio::test(flavor = "multi_thread")]
async fn session_tokens_are_judged_as_the_authority_judges_them() {
    let real = Real::standing_still(&[]);
    real.server.register("agent-7", &json!({ "ownerId": "alice" }));
    let of = |more: Value| {
        let mut asked = json!({ "subjectId": "agent-7", "ttl": 3_600, "scopes": ["read"] });
        asked.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        real.server.create(&asked)
    };
    let (live, revoked, short) = (of(json!({})), of(json!({})), of(json!({ "ttl": 1_800 })));
    let idle = of(json!({ "idleTimeout": 600 }));
    real.revoking(&revoked).send().expect(200);
    real.server.advance(1_800);
    let renewed = live.renewed(&real.server.renew(&live).send().expect(200));

    let introspection = Introspection::new(real.connection());
    let holder = introspection.introspect(&renewed.token).await.unwrap();
    assert_eq!((holder.session.to_string(), holder.subject.as_str()), (live.id, "agent-7"));
    assert_eq!((holder.owner.unwrap().as_str(), &*holder.scopes), ("alice", &["read".to_owned()][..]));
    for (token, expected) in [
        (&revoked.token, Rejection::Revoked),
        (&live.token, Rejection::Superseded),
        (&short.token, Rejection::Expired),
        (&idle.token, Rejection::Idle),
        (&"tnr_sess_x".to_owned(), Rejection::Malformed),
    ] {
        assert_eq!(introspection.introspect(token).await.map(drop), Err(expected));
    }
}
