//! A new epoch after a restore (section 11): every session ends, other keys seal, and API keys are held.

use tenure::core::{
    Event, KeyUse, Position, SystemEvent,
    command::{BeginEpoch, SystemCommand},
    event::{CredentialConfirmed, EndTrigger, EpochBegan, Role},
    keys::{KeyId, RetireMode},
    refusal::Refusal,
};

use crate::{scenario::*, system::credential};

fn key_id(kind: &str, letter: char) -> KeyId {
    format!("k4.{kind}.{}", letter.to_string().repeat(44)).parse().expect("it is the form of an id")
}

fn begin(from: u64, hold_credentials: bool) -> SystemCommand {
    SystemCommand::BeginEpoch(Box::new(BeginEpoch {
        epoch: 2,
        from: Position(from),
        reason: "a restore".into(),
        previous_name: "tenure/1".into(),
        previous_head: None,
        hold_credentials,
        keys: [(KeyUse::Session, key_id("lid", 'b')), (KeyUse::Access, key_id("pid", 'b'))],
    }))
}

fn issued(number: u8, role: Role) -> Fact {
    Fact::of_system(Event::System(SystemEvent::CredentialIssued(credential(number, role))), T0)
}

fn keys_are_admitted() -> [Fact; 2] {
    [(KeyUse::Session, "lid"), (KeyUse::Access, "pid")].map(|(which, kind)| {
        let admitted = tenure::core::event::KeyRotated {
            which,
            key_id: key_id(kind, 'a'),
            previous_key_id: None,
            retire: None,
            retire_at: None,
        };
        Fact::of_system(Event::System(SystemEvent::KeyRotated(admitted)), T0)
    })
}

#[test]
fn an_epoch_begins_with_the_end_of_all_sessions_and_other_keys_in_one_step() {
    let [session, access] = keys_are_admitted();
    let scenario = Scenario::given([registered(), began(1, 0), session, access]);
    let mut events = Vec::new();
    let outcome = scenario.when_system(&begin(4, true), after(10));
    let scenario = outcome.then_many(|decided| events = decided.to_vec());
    let [began, ended, session, access] = &events[..] else { panic!("{events:?}") };
    assert!(matches!(began, Event::System(SystemEvent::EpochBegan(EpochBegan { epoch: 2, .. }))));
    let Event::System(SystemEvent::SelectionRevoked(ended)) = ended else { panic!("{ended:?}") };
    assert!(ended.selector.is_all() && ended.trigger() == EndTrigger::Restore);
    let retired = [session, access].map(|event| {
        let Event::System(SystemEvent::KeyRotated(rotated)) = event else { panic!("{event:?}") };
        (rotated.which, rotated.retire)
    });
    assert_eq!(
        retired,
        [(KeyUse::Session, Some(RetireMode::Overlap)), (KeyUse::Access, Some(RetireMode::Now))],
        "an old session key tells why its tokens are no good, an old access key tells nothing"
    );
    let state = scenario.state();
    let session = &state.subjects.values().next().unwrap().sessions[0];
    assert_eq!(session.revocation().unwrap().trigger, EndTrigger::Restore);
    assert_eq!(state.system.epochs.current(), 2);
    assert_eq!(state.system.epochs.of(Position(5)), 2);
}

#[test]
fn every_key_is_held_until_it_is_confirmed_and_a_held_admin_is_no_way_back() {
    let [session, access] = keys_are_admitted();
    let facts = [issued(1, Role::Admin), issued(2, Role::Verifier), session, access];
    let confirm = |number| SystemCommand::ConfirmCredential(credential(number, Role::Verifier).credential_id);
    let confirmed = Event::System(SystemEvent::CredentialConfirmed(CredentialConfirmed {
        credential_id: credential(2, Role::Verifier).credential_id,
    }));
    let scenario = Scenario::given(facts).when_system(&begin(4, true), after(10)).then_many(|_| {});
    let is_good = |scenario: &Scenario, number| {
        let id = credential(number, Role::Admin).credential_id;
        scenario.state().system.credentials[&id].is_good(after(20))
    };
    assert!(!is_good(&scenario, 1) && !is_good(&scenario, 2));
    assert_eq!(scenario.state().system.lasting_admins(), 0);
    let scenario = scenario.when_system(&confirm(2), after(11)).then([confirmed]);
    assert!(!is_good(&scenario, 1) && is_good(&scenario, 2));
    scenario
        .when_system(&confirm(2), after(12))
        .then_nothing()
        .when_system(&confirm(9), after(12))
        .then_refused(Refusal::CredentialNotFound);
}

#[test]
fn keys_stay_good_where_that_is_asked_for() {
    let [session, access] = keys_are_admitted();
    let scenario = Scenario::given([issued(1, Role::Admin), session, access]);
    let scenario = scenario.when_system(&begin(3, false), after(10)).then_many(|_| {});
    assert_eq!(scenario.state().system.lasting_admins(), 1);
}
