//! Registering a subject, and who owns it (section 2).

use tenure::core::{
    Event, SubjectEvent,
    command::{ChangeSubject, Command},
    event::{PartChange, ProfileChanges, SubjectKind, SubjectProfile, SubjectRegistered},
    policy::OnLimit,
    refusal::Refusal,
};

use crate::scenario::*;

fn is_registered(profile: SubjectProfile) -> Event {
    Event::Subject(SubjectEvent::SubjectRegistered(SubjectRegistered { profile }))
}

fn full_profile() -> SubjectProfile {
    SubjectProfile {
        name: Some(sealed("Build agent")),
        kind: Some(SubjectKind::Agent),
        owner_id: Some(owner(ALICE)),
        max_sessions: Some(3),
        max_sessions_per_device: Some(2),
        on_limit: Some(OnLimit::EvictOldest),
        on_device_limit: Some(OnLimit::Reject),
    }
}

#[test]
fn a_new_subject_is_registered_as_it_was_described() {
    let scenario =
        Scenario::given([]).when(register(full_profile()), after(5)).then([is_registered(full_profile())]);
    let registration = scenario.agent().registration().unwrap();
    assert_eq!(registration.standing.profile, full_profile());
    assert_eq!((registration.created_at, registration.updated_at), (after(5), after(5)));
}

#[test]
fn a_registration_that_changes_nothing_appends_nothing() {
    Scenario::given([registered_as(full_profile())]).when(register(full_profile()), after(1)).then_nothing();
}

#[test]
fn a_subject_of_which_nothing_is_said_is_registered_all_the_same() {
    Scenario::given([])
        .when(register(SubjectProfile::default()), T0)
        .then([is_registered(SubjectProfile::default())])
        .when(register(SubjectProfile::default()), T0)
        .then_nothing();
}

#[test]
fn any_single_difference_replaces_the_whole_registration() {
    let differences: [fn(&mut SubjectProfile); 6] = [
        |profile| profile.name = None,
        |profile| profile.kind = Some(SubjectKind::Service),
        |profile| profile.max_sessions = None,
        |profile| profile.max_sessions_per_device = Some(1),
        |profile| profile.on_limit = None,
        |profile| profile.on_device_limit = Some(OnLimit::EvictOldest),
    ];
    for change in differences {
        let mut changed = full_profile();
        change(&mut changed);
        let scenario = Scenario::given([registered_as(full_profile())])
            .when(register_as_admin(changed.clone()), after(9))
            .then([is_registered(changed.clone())]);
        let registration = scenario.agent().registration().unwrap();
        assert_eq!(registration.standing.profile, changed);
        assert_eq!((registration.created_at, registration.updated_at), (T0, after(9)));
    }
}

#[test]
fn only_an_admin_gives_a_subject_another_owner() {
    let owned_by_bob = SubjectProfile { owner_id: Some(owner("bob")), ..SubjectProfile::default() };
    Scenario::given([registered()])
        .when(register(owned_by_bob.clone()), after(1))
        .then_refused(Refusal::PolicyChangeForbidden { field: "ownerId" })
        .when(register_as_admin(owned_by_bob.clone()), after(1))
        .then([is_registered(owned_by_bob)]);
}

/// A sign-in service registers its subject at each sign-in, with the name of today. It left out the limits that an
/// admin had set, and so removed them: one session became as many as anybody liked.
#[test]
fn what_others_than_an_admin_leave_out_of_owner_and_limits_stays() {
    let renamed = SubjectProfile { name: Some(sealed("Today")), ..SubjectProfile::default() };
    let kept = SubjectProfile { name: renamed.name.clone(), kind: None, ..full_profile() };
    Scenario::given([registered_as(full_profile())])
        .when(register(renamed.clone()), after(1))
        .then([is_registered(kept)])
        .when(register_as_admin(renamed.clone()), after(2))
        .then([is_registered(renamed)]);
}

#[test]
fn only_an_admin_changes_a_limit_of_an_existing_subject_also_one_that_is_not_set() {
    type OfLimit = (&'static str, fn(&mut SubjectProfile));
    let changes: [OfLimit; 4] = [
        ("maxSessions", |profile| profile.max_sessions = Some(4)),
        ("maxSessionsPerDevice", |profile| profile.max_sessions_per_device = Some(1)),
        ("onLimit", |profile| profile.on_limit = Some(OnLimit::Reject)),
        ("onDeviceLimit", |profile| profile.on_device_limit = Some(OnLimit::EvictOldest)),
    ];
    for known in [full_profile(), owned_by_alice()] {
        for (field, change) in changes {
            let mut wanted = known.clone();
            change(&mut wanted);
            Scenario::given([registered_as(known.clone())])
                .when(register(wanted.clone()), after(1))
                .then_refused(Refusal::PolicyChangeForbidden { field })
                .when(register_as_admin(wanted.clone()), after(1))
                .then([is_registered(wanted)]);
        }
    }
}

fn patch(changes: ProfileChanges, may_change_policy: bool) -> Command {
    Command::ChangeSubject(ChangeSubject { changes, may_change_policy })
}

#[test]
fn a_change_touches_what_it_names_and_nothing_else() {
    let kind = ProfileChanges { kind: PartChange::To(Some(SubjectKind::User)), ..ProfileChanges::default() };
    let after_it = SubjectProfile { kind: Some(SubjectKind::User), ..full_profile() };
    Scenario::given([registered_as(full_profile())])
        .when(patch(ProfileChanges::default(), false), after(1))
        .then_nothing()
        .when(patch(kind.clone(), false), after(2))
        .then([is_registered(after_it)])
        .when(patch(kind, false), after(3))
        .then_nothing();
}

#[test]
fn a_change_that_removes_an_owner_or_a_limit_is_for_an_admin() {
    let removals = [
        ("ownerId", ProfileChanges { owner_id: PartChange::To(None), ..ProfileChanges::default() }),
        ("maxSessions", ProfileChanges { max_sessions: PartChange::To(None), ..ProfileChanges::default() }),
        (
            "onDeviceLimit",
            ProfileChanges { on_device_limit: PartChange::To(None), ..ProfileChanges::default() },
        ),
    ];
    for (field, removal) in removals {
        let left = removal.applied_to(&full_profile());
        Scenario::given([registered_as(full_profile())])
            .when(patch(removal.clone(), false), after(1))
            .then_refused(Refusal::PolicyChangeForbidden { field })
            .when(patch(removal, true), after(1))
            .then([is_registered(left)]);
    }
}

#[test]
fn a_subject_that_is_not_registered_cannot_be_changed() {
    Scenario::given([])
        .when(patch(ProfileChanges::default(), true), T0)
        .then_refused(Refusal::SubjectNotFound);
}

#[test]
fn an_owner_who_stays_is_no_change_of_owner() {
    let renamed = SubjectProfile { name: Some(sealed("New name")), ..owned_by_alice() };
    Scenario::given([registered()]).when(register(renamed.clone()), after(1)).then([is_registered(renamed)]);
}

/// Only changing an *existing* owner is for admins. A subject that registered itself by its first session has
/// none, and its issuer could otherwise never say who answers for it.
#[test]
fn a_subject_without_an_owner_is_given_its_first_one_by_anyone_who_may_register() {
    Scenario::given([registered_as(SubjectProfile::default())])
        .when(register(owned_by_alice()), after(1))
        .then([is_registered(owned_by_alice())]);
}

#[test]
fn ownership_of_sessions_follows_the_subject_at_once() {
    let owned_by_bob = SubjectProfile { owner_id: Some(owner("bob")), ..SubjectProfile::default() };
    Scenario::given([registered(), began(1, 0), began(2, 0), registered_as(owned_by_bob).at(1)])
        .when(revoke(by_alice()), after(2))
        .then_refused(Refusal::SessionNotFound)
        .when(revoke(by_bob()), after(2))
        .then([is_ended(1, tenure::core::event::EndTrigger::ManualRevoke)]);
}
