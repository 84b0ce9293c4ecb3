//! The authority itself: credentials, policies, marks of presentation (section 1, section 5).

use tenure::core::{
    CredentialId, Event, Generation, KeyUse, NoticeKind, Policy, Position, Seconds, SystemEvent, WebhookId,
    command::{DeleteWebhook, RotateKey, SystemCommand},
    event::{
        CredentialIssued, CredentialRevoked, KeyRotated, PolicyChanged, PresentedToken, Role,
        TokensPresented, WebhookCreated, WebhookDeleted,
    },
    keys::{KeyId, RetireMode},
    policy::OnReuse,
    refusal::{FieldError, Refusal},
    session_fields::SessionFields,
    webhook::{self, WebhookFormat},
};

use crate::scenario::*;

fn key(number: u8) -> CredentialId {
    CredentialId::from_bytes([number; 16])
}

pub(crate) fn credential(number: u8, role: Role) -> CredentialIssued {
    CredentialIssued {
        credential_id: key(number),
        role,
        owner_id: (role == Role::Owner).then(|| owner(ALICE)),
        name: Some(sealed("a key")),
        key_hash: [number; 32],
        expires_in: None,
    }
}

fn issued(number: u8, role: Role) -> Fact {
    Fact::of_system(Event::System(SystemEvent::CredentialIssued(credential(number, role))), T0)
}

fn is_withdrawn(number: u8) -> Event {
    Event::System(SystemEvent::CredentialRevoked(CredentialRevoked { credential_id: key(number) }))
}

fn withdraw(number: u8) -> SystemCommand {
    SystemCommand::RevokeCredential(key(number))
}

fn is_changed_to(policy: &Policy) -> Event {
    Event::System(SystemEvent::PolicyChanged(PolicyChanged { policy: policy.clone() }))
}

#[test]
fn a_credential_is_admitted_as_it_was_described() {
    for (number, role) in
        [Role::Admin, Role::Issuer, Role::Owner, Role::Verifier, Role::Auditor].into_iter().enumerate()
    {
        let asked = credential(u8::try_from(number).unwrap(), role);
        let scenario = Scenario::given([])
            .when_system(&SystemCommand::IssueCredential(asked.clone()), after(1))
            .then([Event::System(SystemEvent::CredentialIssued(asked.clone()))]);
        let known = &scenario.state().system.credentials[&asked.credential_id];
        assert_eq!((known.role, &known.owner_id), (role, &asked.owner_id));
        assert_eq!((known.key_hash, &known.name), (asked.key_hash, &asked.name));
        assert_eq!((known.created_at, known.revoked_at), (after(1), None));
    }
}

#[test]
fn a_credential_is_withdrawn_once() {
    let scenario = Scenario::given([issued(1, Role::Admin), issued(2, Role::Issuer)])
        .when_system(&withdraw(2), after(1))
        .then([is_withdrawn(2)])
        .when_system(&withdraw(2), after(2))
        .then_nothing();
    assert_eq!(scenario.state().system.credentials[&key(2)].revoked_at, Some(after(1)));
}

#[test]
fn an_unknown_credential_is_not_found() {
    Scenario::given([]).when_system(&withdraw(1), T0).then_refused(Refusal::CredentialNotFound);
}

#[test]
fn the_last_admin_key_cannot_be_withdrawn() {
    Scenario::given([issued(1, Role::Admin), issued(2, Role::Issuer), issued(3, Role::Auditor)])
        .when_system(&withdraw(1), after(1))
        .then_refused(Refusal::LastAdmin { caused_by: Position(1) });
}

fn ending(number: u8, role: Role) -> CredentialIssued {
    CredentialIssued { expires_in: Some(Seconds(60)), ..credential(number, role) }
}

#[test]
fn a_key_with_an_end_is_good_until_exactly_then() {
    let scenario = Scenario::given([issued(1, Role::Admin)])
        .when_system(&SystemCommand::IssueCredential(ending(2, Role::Verifier)), after(1))
        .then([Event::System(SystemEvent::CredentialIssued(ending(2, Role::Verifier)))]);
    let known = &scenario.state().system.credentials[&key(2)];
    assert_eq!(known.expires_at, Some(after(61)));
    assert!(known.is_good(just_before(61)) && !known.is_good(after(61)));
}

/// An admin key that ends opens nothing after that, so it is no way back for an operator.
#[test]
fn an_admin_key_with_an_end_does_not_count_as_the_last_one() {
    let ends = Fact::of_system(Event::System(SystemEvent::CredentialIssued(ending(2, Role::Admin))), T0);
    Scenario::given([issued(1, Role::Admin), ends])
        .when_system(&withdraw(1), after(1))
        .then_refused(Refusal::LastAdmin { caused_by: Position(2) })
        .when_system(&withdraw(2), after(1))
        .then([is_withdrawn(2)]);
}

#[test]
fn an_admin_key_with_an_end_is_made_only_beside_one_without() {
    let asked = SystemCommand::IssueCredential(ending(2, Role::Admin));
    let issuers = [issued(3, Role::Issuer)];
    Scenario::given(issuers).when_system(&asked, after(1)).then_refused(Refusal::Invalid(vec![
        FieldError::new("expiresIn", "is for an admin key only beside one that has no end"),
    ]));
    Scenario::given([issued(1, Role::Admin)])
        .when_system(&asked, after(1))
        .then([Event::System(SystemEvent::CredentialIssued(ending(2, Role::Admin)))]);
}

#[test]
fn of_two_admin_keys_either_may_go_but_not_both() {
    Scenario::given([issued(1, Role::Admin), issued(2, Role::Admin)])
        .when_system(&withdraw(1), after(1))
        .then([is_withdrawn(1)])
        .when_system(&withdraw(2), after(2))
        .then_refused(Refusal::LastAdmin { caused_by: Position(3) });
}

/// A withdrawn admin key does not count, and withdrawing it again asks for nothing.
#[test]
fn withdrawing_a_withdrawn_admin_key_again_is_no_fault_while_one_is_left() {
    Scenario::given([issued(1, Role::Admin), issued(2, Role::Admin)])
        .when_system(&withdraw(1), after(1))
        .then([is_withdrawn(1)])
        .when_system(&withdraw(1), after(2))
        .then_nothing();
}

#[test]
fn a_key_that_is_no_admins_may_be_the_last_of_its_role() {
    for role in [Role::Issuer, Role::Owner, Role::Verifier, Role::Auditor] {
        Scenario::given([issued(1, Role::Admin), issued(2, role)])
            .when_system(&withdraw(2), after(1))
            .then([is_withdrawn(2)]);
    }
}

#[test]
fn the_first_policy_is_recorded_and_an_unchanged_one_is_not() {
    let scenario = Scenario::given([])
        .when_system(&SystemCommand::SetPolicy(Policy::default()), T0)
        .then([is_changed_to(&Policy::default())])
        .when_system(&SystemCommand::SetPolicy(Policy::default()), after(1))
        .then_nothing();
    assert_eq!(scenario.state().system.policy, Some(Policy::default()));
}

#[test]
fn a_policy_that_differs_is_recorded_and_so_is_the_way_back() {
    let other = Policy { on_reuse: OnReuse::Revoke, ..Policy::default() };
    Scenario::given([Fact::of_system(is_changed_to(&Policy::default()), T0)])
        .when_system(&SystemCommand::SetPolicy(other.clone()), after(1))
        .then([is_changed_to(&other)])
        .when_system(&SystemCommand::SetPolicy(other.clone()), after(2))
        .then_nothing()
        .when_system(&SystemCommand::SetPolicy(Policy::default()), after(3))
        .then([is_changed_to(&Policy::default())]);
}

#[test]
fn presented_tokens_are_recorded_together_and_none_is_nothing() {
    let mark = |number| PresentedToken { session_id: session(number), generation: Generation(1) };
    Scenario::given([registered(), began(1, 0), began(2, 0)])
        .when_system(&SystemCommand::MarkPresented(vec![]), after(1))
        .then_nothing()
        .when_system(&SystemCommand::MarkPresented(vec![mark(1), mark(2)]), after(1))
        .then([Event::System(SystemEvent::TokensPresented(TokensPresented {
            presented: vec![mark(1), mark(2)],
        }))]);
}

#[test]
fn a_mark_of_presentation_moves_nothing_but_the_mark() {
    let scenario = Scenario::given([registered(), began(1, 0), renewed_with_key(1, 2, 600)]);
    let before = scenario.session(1).clone();
    let scenario = scenario.and([presented(2, 601)]);
    let mut expected = SessionFields::from(&before);
    expected.renewal.as_mut().unwrap().presented = true;
    let now = |scenario: &Scenario| SessionFields::from(scenario.session(1));
    assert_eq!(now(&scenario), expected);
    let again = scenario.and([presented(2, 602)]);
    assert_eq!(now(&again), expected);
}

/// A webhook of an owner, or of nobody in particular.
pub(crate) fn webhook(number: u16, of: Option<&str>) -> WebhookCreated {
    let mut id = [0x77; 16];
    id[..2].copy_from_slice(&number.to_be_bytes());
    WebhookCreated {
        webhook_id: WebhookId::from_bytes(id),
        owner_id: of.map(owner),
        kinds: Some(vec![NoticeKind::SessionRenewed]),
        format: WebhookFormat::Standard,
        host: "https://example.com".into(),
        name: None,
    }
}

fn is_there(number: u16, of: Option<&str>) -> Fact {
    Fact::of_system(Event::System(SystemEvent::WebhookCreated(webhook(number, of))), T0)
}

fn delete(number: u16, owner: Option<&str>) -> SystemCommand {
    let owner = owner.map(crate::scenario::owner);
    SystemCommand::DeleteWebhook(DeleteWebhook { id: webhook(number, None).webhook_id, owner })
}

fn is_deleted(number: u16) -> Event {
    Event::System(SystemEvent::WebhookDeleted(WebhookDeleted {
        webhook_id: webhook(number, None).webhook_id,
    }))
}

#[test]
fn a_webhook_is_there_from_its_event_until_it_is_deleted() {
    let asked = webhook(1, Some(ALICE));
    let scenario = Scenario::given([])
        .when_system(&SystemCommand::CreateWebhook(asked.clone()), after(1))
        .then([Event::System(SystemEvent::WebhookCreated(asked.clone()))]);
    let known = &scenario.state().system.webhooks[&asked.webhook_id];
    assert_eq!((&known.asked, known.created_at), (&asked, after(1)));
    assert!(known.wants(NoticeKind::SessionRenewed, Some(&owner(ALICE))));
    assert!(!known.wants(NoticeKind::SessionRenewed, None));
    assert!(!known.wants(NoticeKind::SessionRenewed, Some(&owner("bob"))));
    assert!(!known.wants(NoticeKind::SessionCreated, Some(&owner(ALICE))));
    let scenario = scenario.when_system(&delete(1, None), after(2)).then([is_deleted(1)]);
    assert!(scenario.state().system.webhooks.is_empty());
    scenario.when_system(&delete(1, None), after(3)).then_refused(Refusal::WebhookNotFound);
}

#[test]
fn a_webhook_of_another_owner_does_not_exist() {
    Scenario::given([is_there(1, Some(ALICE)), is_there(2, None)])
        .when_system(&delete(1, Some("bob")), after(1))
        .then_refused(Refusal::WebhookNotFound)
        .when_system(&delete(2, Some(ALICE)), after(1))
        .then_refused(Refusal::WebhookNotFound)
        .when_system(&delete(1, Some(ALICE)), after(1))
        .then([is_deleted(1)]);
}

#[test]
fn an_owner_has_20_webhooks_and_the_authority_1000() {
    let create = |number, of| SystemCommand::CreateWebhook(webhook(number, of));
    let own = (0..20).map(|number| is_there(number, Some(ALICE)));
    let refused = Refusal::WebhookLimitExceeded { most: webhook::MOST_PER_OWNER, caused_by: Position(20) };
    Scenario::given(own)
        .when_system(&create(20, Some(ALICE)), after(1))
        .then_refused(refused)
        .when_system(&create(21, Some("bob")), after(1))
        .then([Event::System(SystemEvent::WebhookCreated(webhook(21, Some("bob"))))]);
    let all = (0..1_000).map(|number| is_there(number, None));
    Scenario::given(all)
        .when_system(&create(1_000, None), after(1))
        .then_refused(Refusal::WebhookLimitExceeded { most: webhook::MOST, caused_by: Position(1_000) });
}

fn key_id(letter: char) -> KeyId {
    format!("k4.lid.{}", letter.to_string().repeat(44)).parse().expect("it has the form of an id")
}

fn admit(letter: char) -> SystemCommand {
    SystemCommand::AdmitKeys(vec![(KeyUse::Session, key_id(letter))])
}

fn rotate(letter: char, retire: RetireMode, overlap: Option<u32>) -> SystemCommand {
    SystemCommand::RotateKey(RotateKey {
        which: KeyUse::Session,
        key_id: key_id(letter),
        retire,
        overlap: overlap.map(Seconds),
    })
}

fn is_first(letter: char) -> Event {
    Event::System(SystemEvent::KeyRotated(KeyRotated {
        which: KeyUse::Session,
        key_id: key_id(letter),
        previous_key_id: None,
        retire: None,
        retire_at: None,
    }))
}

fn replaces(letter: char, previous: char, retire: RetireMode, seconds: u32) -> Event {
    Event::System(SystemEvent::KeyRotated(KeyRotated {
        which: KeyUse::Session,
        key_id: key_id(letter),
        previous_key_id: Some(key_id(previous)),
        retire: Some(retire),
        retire_at: Some(after(seconds)),
    }))
}

#[test]
fn the_first_key_is_recorded_once() {
    Scenario::given([]).when_system(&admit('a'), after(1)).then([is_first('a')]);
    let known = [Fact::of_system(is_first('a'), T0)];
    Scenario::given(known.clone()).when_system(&admit('a'), after(1)).then_nothing();
    Scenario::given(known).when_system(&admit('b'), after(1)).then_nothing();
}

#[test]
fn an_overlap_is_as_long_as_it_is_set_to_or_as_the_longest_token_lives() {
    let known = || Scenario::given([Fact::of_system(is_first('a'), T0)]);
    let overlap = RetireMode::Overlap;
    known().when_system(&rotate('b', overlap, None), after(10)).then([replaces('b', 'a', overlap, 910)]);
    known().when_system(&rotate('b', overlap, Some(60)), after(10)).then([replaces('b', 'a', overlap, 70)]);
    known().when_system(&rotate('b', overlap, Some(0)), after(10)).then([replaces('b', 'a', overlap, 10)]);
    known().when_system(&rotate('b', RetireMode::Now, Some(60)), after(10)).then([replaces(
        'b',
        'a',
        RetireMode::Now,
        10,
    )]);
}

#[test]
fn a_second_overlap_waits_for_300_seconds_and_a_rotation_at_once_for_nothing() {
    let first = [
        Fact::of_system(is_first('a'), T0),
        Fact::of_system(replaces('b', 'a', RetireMode::Overlap, 910), after(10)),
    ];
    let rotated = || Scenario::given(first.clone());
    let again = rotate('c', RetireMode::Overlap, None);
    let too_recent = |wait| Refusal::RotationTooRecent {
        retry_at: after(310),
        wait: Seconds(wait),
        caused_by: Position(2),
    };
    rotated().when_system(&again, after(10)).then_refused(too_recent(300));
    rotated().when_system(&again, after(309)).then_refused(too_recent(1));
    rotated().when_system(&again, after(310)).then([replaces('c', 'b', RetireMode::Overlap, 1_210)]);
    let at_once = Fact::of_system(replaces('c', 'b', RetireMode::Now, 11), after(11));
    rotated().when_system(&rotate('c', RetireMode::Now, None), after(11)).then([replaces(
        'c',
        'b',
        RetireMode::Now,
        11,
    )]);
    // It is no overlap itself, and does not take the first one's pause away.
    let rotated = || Scenario::given(first.clone().into_iter().chain([at_once.clone()]));
    rotated().when_system(&rotate('d', RetireMode::Overlap, None), after(12)).then_refused(too_recent(298));
    rotated().when_system(&rotate('d', RetireMode::Now, None), after(12)).then([replaces(
        'd',
        'c',
        RetireMode::Now,
        12,
    )]);
}

/// The first rotation does not wait for the pause after the first start.
#[test]
fn the_first_rotation_may_come_at_once() {
    Scenario::given([Fact::of_system(is_first('a'), T0)])
        .when_system(&rotate('b', RetireMode::Overlap, None), T0)
        .then([replaces('b', 'a', RetireMode::Overlap, 900)]);
}
