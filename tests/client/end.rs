//! How sessions end, as their holders hear of it.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use serde_json::{Value, json};
use tempfile::TempDir;
use tenure::client::{
    Client, EndReason, HandleOptions, SessionFile, SessionHandle, SessionState, renew_file,
};

use crate::{
    agent::session_file,
    manual_clock::{ManualClock, now_of},
    proxy::{Fate, Proxy},
    server::Server,
};

/// A held session, all in this process.
struct Fixture {
    server: Server,
    _directory: TempDir,
    file: PathBuf,
    time: Arc<ManualClock>,
    holder: SessionHandle,
}

impl Fixture {
    fn with(asked: &Value, options: HandleOptions) -> Self {
        let server = Server::start();
        let directory = tempfile::tempdir().unwrap();
        let file = session_file(&server, directory.path(), asked);
        let time = ManualClock::new(now_of(&server));
        let client = Client::new(&format!("http://{}", server.address())).unwrap();
        let client = client.with_time(Arc::<ManualClock>::clone(&time)).with_retry_timeout(Duration::ZERO);
        let holder = SessionHandle::open_with(client, &file, options).unwrap();
        Self { server, _directory: directory, file, time, holder }
    }

    fn new(asked: &Value) -> Self {
        Self::with(asked, HandleOptions::default())
    }

    /// Server and holder, by so many seconds.
    fn advance(&self, seconds: u64) {
        self.server.advance(seconds);
        self.time.tell(now_of(&self.server));
    }

    fn code_of(end: &EndReason) -> &str {
        end.code().unwrap_or_else(|| panic!("{end:?}"))
    }
}

fn hour(more: &Value) -> Value {
    let mut asked = json!({ "subjectId": "agent-7", "ttl": 3_600 });
    asked.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    asked
}

/// What is refused for the moment, with the word that another try is worth it, ends nothing.
#[tokio::test]
async fn an_authority_that_has_too_much_to_do_ends_no_session() {
    let server = Server::start();
    let directory = tempfile::tempdir().unwrap();
    let file = session_file(&server, directory.path(), &hour(&json!({})));
    let (busy, refused) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicUsize::new(0)));
    let (is_busy, count) = (Arc::clone(&busy), Arc::clone(&refused));
    let proxy = Proxy::before(server.address(), move |_| {
        if is_busy.load(Ordering::Relaxed) {
            count.fetch_add(1, Ordering::Relaxed);
            return Fate::Overload;
        }
        Fate::Pass
    });
    let time = ManualClock::new(now_of(&server));
    let client = Client::new(&proxy.url()).unwrap();
    let client = client.with_time(Arc::<ManualClock>::clone(&time)).with_retry_timeout(Duration::ZERO);
    let holder = SessionHandle::open_with(client, &file, HandleOptions::default()).unwrap();
    server.advance(3_000);
    time.tell(now_of(&server));
    tokio::select! {
        end = holder.ended() => panic!("it ended: {end}"),
        () = time.at_rest() => {}
    }
    assert!(refused.load(Ordering::Relaxed) > 0, "it asked for its renewal");
    let SessionState::Live(live) = holder.state().borrow().clone() else {
        panic!("{:?}", holder.state().borrow())
    };
    assert!(live.trouble.is_some_and(|trouble| trouble.contains("OVERLOADED")));

    busy.store(false, Ordering::Relaxed);
    server.advance(60);
    time.tell(now_of(&server));
    time.at_rest().await;
    assert_eq!(holder.grant().renewal_count, 1);
    assert!(matches!(&*holder.state().borrow(), SessionState::Live(live) if live.trouble.is_none()));
}

#[tokio::test]
async fn a_veto_is_told_at_the_next_use() {
    let fixture = Fixture::new(&hour(&json!({})));
    fixture.advance(3_000);
    fixture.time.at_rest().await;
    assert_eq!(fixture.holder.grant().renewal_count, 1);
    let path = format!("/v1/sessions/{}?rejectRenewal=true&reason=no", fixture.holder.grant().session_id);
    fixture.server.delete(&path).bearer(&fixture.server.admin).send().expect(200);
    let error = fixture.holder.session().await.unwrap_err();
    assert_eq!(error.code(), Some("SESSION_REVOKED"));
    assert_eq!(Fixture::code_of(&fixture.holder.ended().await), "SESSION_REVOKED");
}

#[tokio::test]
async fn a_veto_is_told_without_any_use_to_whoever_asks_now_and_then() {
    let options = HandleOptions { check_every: Some(Duration::from_mins(1)) };
    let fixture = Fixture::with(&hour(&json!({})), options);
    fixture.time.at_rest().await;
    let path = format!("/v1/sessions/{}", fixture.holder.grant().session_id);
    fixture.server.delete(&path).bearer(&fixture.server.admin).send().expect(200);
    fixture.advance(61);
    assert_eq!(Fixture::code_of(&fixture.holder.ended().await), "SESSION_REVOKED");
}

#[tokio::test]
async fn a_session_without_renewals_left_lasts_to_the_end_of_its_period() {
    let fixture = Fixture::new(&hour(&json!({ "maxRenewals": 1 })));
    fixture.advance(3_000);
    fixture.time.at_rest().await;
    assert_eq!(fixture.holder.grant().renew_at, None);
    fixture.advance(3_599);
    fixture.time.at_rest().await;
    fixture.holder.session().await.unwrap();
    fixture.advance(1);
    assert_eq!(Fixture::code_of(&fixture.holder.ended().await), "TOKEN_EXPIRED");
    assert!(fixture.server.events("RenewalRejected").is_empty(), "nothing was asked in vain");
}

#[tokio::test]
async fn a_session_that_somebody_without_the_file_renewed_is_over() {
    let fixture = Fixture::new(&hour(&json!({})));
    fixture.time.at_rest().await;
    fixture.server.advance(3_000);
    let path = format!("/v1/sessions/{}/renew", fixture.holder.grant().session_id);
    let thief =
        fixture.server.put(&path).bearer(fixture.holder.token().expose()).key("another").send().expect(200);
    fixture.server.introspect(&thief.text("token"));
    let error = fixture.holder.session().await.unwrap_err();
    assert_eq!(error.code(), Some("TOKEN_SUPERSEDED"));
    assert_eq!(Fixture::code_of(&fixture.holder.ended().await), "TOKEN_SUPERSEDED");
}

#[tokio::test]
async fn a_renewal_that_is_refused_for_good_is_the_end() {
    let fixture = Fixture::new(&hour(&json!({})));
    fixture.time.at_rest().await;
    fixture.server.advance(3_000);
    let path = format!("/v1/sessions/{}/renew", fixture.holder.grant().session_id);
    fixture.server.put(&path).bearer(fixture.holder.token().expose()).key("another").send().expect(200);
    fixture.time.tell(now_of(&fixture.server));
    assert_eq!(Fixture::code_of(&fixture.holder.ended().await), "SESSION_RENEWAL_MISMATCH");
}

#[tokio::test]
async fn an_authority_that_is_gone_is_asked_again_until_the_period_is_over() {
    let mut fixture = Fixture::new(&hour(&json!({})));
    fixture.time.at_rest().await;
    let end = fixture.holder.grant().expires_at;
    fixture.server.stop();
    fixture.time.tell(end.plus_millis(-1_000));
    let mut state = fixture.holder.state();
    let is_troubled =
        |state: &SessionState| matches!(state, SessionState::Live(live) if live.trouble.is_some());
    state.wait_for(is_troubled).await.unwrap();
    fixture.time.at_rest().await;
    // The reply may have been lost, and the period that it granted would be over an hour later.
    fixture.time.tell(end.plus_millis(3_599_999));
    fixture.time.at_rest().await;
    fixture.time.tell(end.plus_millis(3_600_000));
    let over = fixture.holder.ended().await;
    assert!(matches!(&over, EndReason::Expired { trouble } if trouble.contains("no answer")), "{over:?}");
}

#[tokio::test]
async fn an_authority_that_comes_back_renews_as_if_nothing_had_been() {
    let mut fixture = Fixture::new(&hour(&json!({})));
    fixture.time.at_rest().await;
    // Its port is another one afterwards, and this client's address leads nowhere.
    fixture.server.kill9();
    fixture.advance(3_000);
    let mut state = fixture.holder.state();
    state
        .wait_for(|state| matches!(state, SessionState::Live(live) if live.trouble.is_some()))
        .await
        .unwrap();
    let client = Client::new(&format!("http://{}", fixture.server.address())).unwrap();
    let grant = renew_file(&client, &SessionFile::at(&fixture.file)).await.unwrap();
    assert_eq!(grant.renewal_count, 1);
    assert_eq!(fixture.holder.token(), grant.token, "what another holder got is adopted");
}

#[tokio::test]
async fn a_holder_that_ends_its_session_hears_of_it() {
    let fixture = Fixture::new(&hour(&json!({})));
    let revoked = fixture.holder.revoke(Some("work done")).await.unwrap();
    assert_eq!(revoked.trigger, "self");
    assert_eq!(fixture.holder.ended().await, EndReason::Revoked);
}

#[tokio::test]
async fn an_early_renewal_comes_back_when_it_is_time() {
    let fixture = Fixture::new(&hour(&json!({})));
    fixture.time.at_rest().await;
    // The holder's clock is ahead, at first by less and then by more than the whole period.
    for ahead in [3_000_000, 7_200_000] {
        fixture.time.tell(now_of(&fixture.server).plus_millis(ahead));
        fixture.time.at_rest().await;
        let early = fixture.holder.grant();
        assert_eq!((early.renewal_count, early.renewal_key), (0, None));
    }
    fixture.server.advance(1_800);
    fixture.time.tell(now_of(&fixture.server).plus_millis(7_200_000));
    fixture.time.at_rest().await;
    assert_eq!(fixture.holder.grant().renewal_count, 1);
}
