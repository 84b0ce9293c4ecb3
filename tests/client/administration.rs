//! Typed calls of an administrator: subjects, API keys, webhooks, and what is recorded of them.

use tenure::client::{
    Client, EventFilter, NewCredential, NewProfile, NewSession, NewWebhook, NoticeKind, OnLimit, PageRequest,
    PartChange, ProfilePatch, Role, Secret, SubjectFilter, SubjectId, SubjectKind, SuspendRequest,
};

use crate::server::Server;

fn admin(server: &Server) -> Client {
    let (key, _) = server.issue_key("admin", None);
    Client::new(&format!("http://{}", server.address())).unwrap().with_credential(Secret::new(&key))
}

fn agent() -> SubjectId {
    "agent-7".parse().unwrap()
}

#[tokio::test]
async fn a_subject_is_registered_changed_suspended_resumed_and_erased() {
    let server = Server::start();
    let client = admin(&server);
    let profile = NewProfile {
        name: Some("Nightly build".into()),
        kind: Some(SubjectKind::Agent),
        owner_id: Some("alice".parse().unwrap()),
        max_sessions: Some(2),
        on_limit: Some(OnLimit::EvictOldest),
        ..NewProfile::default()
    };
    let registered = client.put_subject(&agent(), &profile).await.unwrap();
    assert_eq!(
        (registered.name.as_deref(), registered.kind.as_deref()),
        (Some("Nightly build"), Some("agent"))
    );
    assert_eq!((registered.max_sessions, registered.on_limit.as_deref()), (Some(2), Some("evict_oldest")));
    assert_eq!((registered.max_sessions_per_device, registered.on_device_limit), (None, None));

    let patch = ProfilePatch {
        max_sessions: PartChange::To(Some(3)),
        on_limit: PartChange::To(None),
        ..ProfilePatch::default()
    };
    let changed = client.change_subject(&agent(), &patch).await.unwrap();
    assert_eq!((changed.max_sessions, changed.on_limit), (Some(3), None));
    assert_eq!(changed.name, registered.name, "what the patch does not name stays");

    let suspension = SuspendRequest { reason: Some("stolen".into()), until: None };
    let suspended = client.suspend_subject(&agent(), &suspension).await.unwrap();
    assert_eq!(suspended.suspension.unwrap().reason.as_deref(), Some("stolen"));
    let refused = client.create(&NewSession::of(agent())).await.unwrap_err();
    assert_eq!(refused.code(), Some("SUBJECT_SUSPENDED"));
    assert!(client.resume_subject(&agent(), Some("found")).await.unwrap().suspension.is_none());

    let erased = client.erase_subject(&agent(), "asked for").await.unwrap();
    assert_eq!((&erased.subject_id, erased.done), (&agent(), true));
    assert_eq!(client.erasure(&agent()).await.unwrap().position, erased.position);
    assert_eq!(client.subject(&agent()).await.unwrap().name, None);
    let wrong = NewProfile { max_sessions: Some(0), ..NewProfile::default() };
    let refused = client.put_subject(&agent(), &wrong).await.unwrap_err();
    assert_eq!(refused.to_string(), "INVALID_REQUEST: maxSessions: must be a whole number from 1 to 10000");
}

#[tokio::test]
async fn subjects_are_listed_by_owner_page_by_page() {
    let server = Server::start();
    let client = admin(&server);
    for (id, owner) in [("a", "alice"), ("b", "bob"), ("c", "alice")] {
        let profile = NewProfile { owner_id: Some(owner.parse().unwrap()), ..NewProfile::default() };
        client.put_subject(&id.parse().unwrap(), &profile).await.unwrap();
    }
    let page = PageRequest { limit: Some(1), cursor: None };
    let filter = SubjectFilter { owner_id: Some("alice".parse().unwrap()), page };
    let first = client.subjects(&filter).await.unwrap();
    let page = PageRequest { cursor: first.next_cursor, ..filter.page };
    let second = client.subjects(&SubjectFilter { page, ..filter }).await.unwrap();
    let listed: Vec<_> = first.items.iter().chain(&second.items).map(|one| one.subject_id.as_str()).collect();
    assert_eq!((listed, second.next_cursor), (vec!["a", "c"], None));
}

#[tokio::test]
async fn an_api_key_is_issued_used_listed_and_withdrawn() {
    let server = Server::start();
    let client = admin(&server);
    let new = NewCredential { name: Some("gateway".into()), ..NewCredential::of(Role::Verifier) };
    let issued = client.issue_credential(&new).await.unwrap();
    let id = issued.credential.credential_id;
    let verifier = client.clone().with_credential(issued.key.unwrap());
    let own = verifier.own_credential().await.unwrap();
    assert_eq!((own.credential_id, &*own.role, own.name.as_deref()), (id, "verifier", Some("gateway")));

    let listed = client.credentials(&PageRequest::default()).await.unwrap();
    assert!(listed.items.iter().any(|known| known.credential_id == id && known.revoked_at.is_none()));
    assert!(client.confirm_credential(id).await.unwrap().revoked_at.is_none(), "it was not held");
    assert!(client.revoke_credential(id).await.unwrap().revoked_at.is_some());
    assert_eq!(verifier.own_credential().await.unwrap_err().code(), Some("INVALID_TOKEN"));

    let misfit = NewCredential { role: Role::Issuer, ..NewCredential::for_owner("alice".parse().unwrap()) };
    let refused = client.issue_credential(&misfit).await.unwrap_err();
    assert_eq!(refused.to_string(), "INVALID_REQUEST: ownerId: is only for the role owner");
}

#[tokio::test]
async fn a_webhook_is_created_read_asked_for_its_deliveries_and_deleted() {
    let server = Server::start();
    let client = admin(&server);
    let receiver = NewWebhook::to(Secret::new("https://receiver.example/hook?token=s3cret"));
    let new = NewWebhook { kinds: Some(vec![NoticeKind::SessionRevoked]), ..receiver };
    let created = client.create_webhook(&new).await.unwrap();
    assert_eq!(created.url.expose(), new.url.expose());
    assert!(created.secret.unwrap().expose().starts_with("whsec_"));
    let id = created.webhook_id;

    let read = client.webhook(id).await.unwrap();
    assert_eq!((read.url.as_str(), &*read.format), ("https://receiver.example", "standard"));
    assert_eq!(read.kinds.unwrap(), ["SESSION_REVOKED"]);
    assert_eq!(client.webhooks(&PageRequest::default()).await.unwrap().items.len(), 1);
    assert!(client.deliveries(id, &PageRequest::default()).await.unwrap().items.is_empty());
    let again = client.redeliver(id, "1".parse().unwrap()).await.unwrap();
    assert_eq!((again.webhook_id, again.from.0), (id, 1));
    assert_eq!(client.delete_webhook(id).await.unwrap().webhook_id, id);
    assert_eq!(client.webhook(id).await.unwrap_err().code(), Some("WEBHOOK_NOT_FOUND"));

    let refused = client.create_webhook(&NewWebhook::to(Secret::new("ftp://receiver.example"))).await;
    assert_eq!(refused.unwrap_err().code(), Some("INVALID_REQUEST"));
}

#[tokio::test]
async fn events_are_read_by_kind_and_subject_from_a_position_on() {
    let server = Server::start();
    let client = admin(&server);
    for id in ["agent-7", "agent-8"] {
        client.put_subject(&id.parse().unwrap(), &NewProfile::default()).await.unwrap();
    }
    let created = client.create(&NewSession::of(agent())).await.unwrap();
    let filter = EventFilter {
        kinds: vec!["SubjectRegistered".into(), "SessionCreated".into()],
        subject_id: Some(agent()),
        ..EventFilter::default()
    };
    let all = client.recorded_events(&filter).await.unwrap().items;
    let kinds: Vec<_> = all.iter().map(|event| &*event.kind).collect();
    assert_eq!(kinds, ["SubjectRegistered", "SessionCreated"]);
    let filter = EventFilter { after: Some(all[0].position.0.to_string().parse().unwrap()), ..filter };
    let later = client.recorded_events(&filter).await.unwrap().items;
    assert_eq!(later.iter().map(|event| event.session_id).collect::<Vec<_>>(), [Some(created.session_id)]);
}
