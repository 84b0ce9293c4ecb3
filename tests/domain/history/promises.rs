//! The promises, each a function with its name.

use std::collections::BTreeMap;

use tenure::{
    authority::PublishedState,
    core::{
        Event, Generation, Position, Seconds, SessionId, SessionMode, StreamId, SubjectEvent, SubjectId,
        SystemEvent, Timestamp,
        budget::Usage,
        bulk::{BulkRevocation, is_unsettled, settle},
        commit::EventMeta,
        event::{EndTrigger, Role},
        evolve::mark_presented,
        fold::mark_seen,
        policy::OnReuse,
        refusal::Refusal,
        session::{OneTimeFact, Session, TokenFault},
        session_fields::SessionFields,
        state::AuthorityState,
        subject::Subject,
    },
};

use super::{
    commands::{KEY_USES, key_of},
    run::{Check, Run, Seen, ensure},
    steps::SUBJECTS,
    words::{recorded_of, trigger_of},
};
use crate::scenario::{Refused, evolve_subject, session};

type Promise = (&'static str, fn(&Seen) -> Check);

const PROMISES: [Promise; 27] = [
    ("recorded time never goes back", recorded_time_never_goes_back),
    ("positions are dense", positions_are_dense),
    ("the model agrees about every session", the_model_agrees_about_every_session),
    ("at most one generation of a session is live", at_most_one_generation_is_live),
    ("the old generation fails after a renewal", the_old_generation_fails_after_a_renewal),
    ("no renewal after revocation", no_renewal_after_revocation),
    ("active sessions never exceed the limit", active_sessions_never_exceed_the_limit),
    ("no period goes beyond the absolute end", no_period_goes_beyond_the_absolute_end),
    ("no more renewals than granted", no_more_renewals_than_granted),
    ("renewAt lies between half and four fifths", renew_at_lies_between_half_and_four_fifths),
    ("a refusal changes nothing", a_refusal_changes_nothing),
    ("a refused renewal is recorded once", a_refused_renewal_is_recorded_once),
    ("nobody is signed out who is alone with a session", nobody_is_signed_out_who_is_alone_with_a_session),
    ("no budget is overspent", no_budget_is_overspent),
    ("nothing is granted to a suspended subject", nothing_is_granted_to_a_suspended_subject),
    ("an admin's suspension is an admin's to lift", an_admins_suspension_is_an_admins_to_lift),
    ("a suspension touches no session", a_suspension_touches_no_session),
    ("the model agrees about every key", the_model_agrees_about_every_key),
    ("a session is idle exactly from its idle end on", a_session_is_idle_exactly_from_its_idle_end_on),
    ("no crash ends a session early", no_crash_ends_a_session_early),
    ("what is recorded as ended stays ended", what_is_recorded_as_ended_stays_ended),
    ("what was seen does not move back", what_was_seen_does_not_move_back),
    ("a refresh moves the period and no more", a_refresh_moves_the_period_and_no_more),
    ("refreshes are half of the idle time or of the ttl apart", refreshes_are_half_of_the_shorter_apart),
    ("a sliding session is never renewed", a_sliding_session_is_never_renewed),
    ("an erasure leaves no text and every rule", an_erasure_leaves_no_text_and_every_rule),
    ("the state is what its bytes say", the_state_is_what_its_bytes_say),
];

pub(super) fn keeps_every_promise(seen: &Seen) -> Check {
    PROMISES.iter().try_for_each(|(promise, check)| {
        check(seen).map_err(|why| format!("broken promise: {promise}: {why}"))
    })
}

fn recorded_time_never_goes_back(seen: &Seen) -> Check {
    let commits = &seen.run.commits;
    let holds = commits.is_sorted_by_key(|commit| commit.recorded_at)
        && commits.last().is_none_or(|last| last.recorded_at == seen.run.state.recorded_at);
    ensure(holds, || format!("the last recorded time is {}", seen.run.state.recorded_at))
}

fn positions_are_dense(seen: &Seen) -> Check {
    let recorded: usize = seen.run.commits.iter().map(|commit| commit.events.len()).sum();
    let state = &seen.run.state;
    ensure(state.position == Position(recorded as u64), || {
        format!("{recorded} events, position {}", state.position)
    })?;
    let step = recorded_of(seen.answer).len() as u64;
    ensure(state.position == seen.before.position.plus(step), || format!("{step} events were added"))
}

fn the_model_agrees_about_every_session(seen: &Seen) -> Check {
    let (model, now) = (&seen.run.model, seen.run.now);
    ensure(model.sessions.len() == seen.run.state.holders.len(), || "another number of sessions".into())?;
    for (number, expected) in &model.sessions {
        let id = session(*number);
        let subject = seen.run.state.subjects.get(&seen.run.state.holders[&id]);
        let actual = subject.and_then(|subject| subject.session(id)).ok_or("a session is missing")?;
        let agrees = actual.subject.as_str() == SUBJECTS[expected.subject]
            && actual.generation().0 as usize == expected.tokens.len()
            && actual.expires_at().as_millis() == expected.current().expires
            && actual.absolute_expires_at().as_millis() == expected.end
            && actual.earliest_renewal().as_millis() == expected.half()
            && seen.run.session_in_use(*number).is_live(now) == expected.is_active(now.as_millis())
            && actual.last_seen_at().map(Timestamp::as_millis)
                == expected.activity.map(|known| known.recorded)
            && actual.revocation().map(|end| trigger_of(end.trigger)) == expected.ended;
        ensure(agrees, || format!("{actual:?}\n  is not {expected:?}"))?;
    }
    Ok(())
}

fn at_most_one_generation_is_live(seen: &Seen) -> Check {
    for session in seen.run.live_sessions() {
        let works = |generation: &u32| session.judge(Generation(*generation), None, seen.run.now).is_ok();
        let live: Vec<_> = (0..=session.generation().0 + 2).filter(works).collect();
        let expected = if session.is_live(seen.run.now) { vec![session.generation().0] } else { vec![] };
        ensure(live == expected, || format!("{live:?} of {session:?} are live"))?;
    }
    Ok(())
}

fn the_old_generation_fails_after_a_renewal(seen: &Seen) -> Check {
    for event in recorded_of(seen.answer) {
        let Event::Subject(SubjectEvent::SessionRenewed(renewed)) = event else { continue };
        let renewed = found(&seen.run.state, renewed.session_id)?;
        for old in 1..renewed.generation().0 {
            let judged = renewed.judge(Generation(old), None, seen.run.now);
            ensure(judged == Err(TokenFault::Superseded), || format!("{old} of {renewed:?}: {judged:?}"))?;
        }
    }
    Ok(())
}

fn no_renewal_after_revocation(seen: &Seen) -> Check {
    for event in recorded_of(seen.answer) {
        let Event::Subject(SubjectEvent::SessionRenewed(renewed)) = event else { continue };
        let before = found(seen.before, renewed.session_id)?;
        ensure(before.revocation().is_none(), || format!("{before:?} was renewed"))?;
    }
    for before in seen.before.subjects.values().flat_map(|subject| &subject.sessions) {
        let after = found(&seen.run.state, before.id)?;
        // Its last token may have been presented in its last seconds, or later; it says nothing any more.
        let expected = with(before, |fields| fields.renewal = after.renewal().cloned());
        let is_same =
            if erases(seen.answer) { is_same_but_for_texts(&expected, after) } else { *after == expected };
        let stays = before.revocation().is_none() || is_same && before.renewed_at() == after.renewed_at();
        ensure(stays, || format!("{before:?} became {after:?}"))?;
    }
    Ok(())
}

fn active_sessions_never_exceed_the_limit(seen: &Seen) -> Check {
    for event in recorded_of(seen.answer) {
        let Event::Subject(SubjectEvent::SessionCreated(created)) = event else { continue };
        let holder = &seen.run.state.holders[&created.session_id];
        let subject = SUBJECTS.iter().position(|name| *name == holder.as_str()).ok_or("a stranger")?;
        let (most, most_on_device) = seen.run.model.limits(subject);
        let now = seen.run.now;
        let count = |device: Option<_>| {
            let sessions = &seen.run.state.subjects[holder].sessions;
            let there =
                sessions.iter().filter(|session| device.is_none() || session.device_digest() == device);
            // One that is idle counts, unless that is recorded: a use may turn up that says otherwise.
            let is_over = |session: &&Session| {
                session.revocation().is_some()
                    || now >= session.expires_at()
                    || session.said.contains(OneTimeFact::Expired)
            };
            there.filter(|session| !is_over(session)).count()
        };
        ensure(count(None) <= most as usize, || format!("{} active, {most} allowed", count(None)))?;
        if let Some(device) = &created.device {
            let there = count(Some(device.digest));
            ensure(there <= most_on_device as usize, || format!("{there} on a device of {most_on_device}"))?;
        }
    }
    Ok(())
}

fn no_period_goes_beyond_the_absolute_end(seen: &Seen) -> Check {
    seen.run.live_sessions().try_for_each(|session| {
        let lifetime = i64::from(session.terms.absolute_lifetime.0) * 1_000;
        let longest = session.expires_at().millis_since(session.created_at());
        ensure(longest <= lifetime, || format!("{session:?} lives {longest} ms"))
    })
}

fn no_more_renewals_than_granted(seen: &Seen) -> Check {
    let mut renewals = BTreeMap::<_, u32>::new();
    for event in seen.run.commits.iter().flat_map(|commit| &commit.events) {
        if let Event::Subject(SubjectEvent::SessionRenewed(renewed)) = event {
            *renewals.entry(renewed.session_id).or_default() += 1;
        }
    }
    renewals.into_iter().try_for_each(|(id, count)| {
        let session = found(&seen.run.state, id)?;
        let holds = count <= session.terms.max_renewals && count == session.renewal_count();
        ensure(holds, || format!("{count} renewals of {session:?}"))
    })
}

fn renew_at_lies_between_half_and_four_fifths(seen: &Seen) -> Check {
    for session in seen.run.live_sessions() {
        let Some(renew_at) = session.renew_at() else { continue };
        let ttl = i64::from(session.terms.ttl.0) * 1_000;
        let share = renew_at.millis_since(session.period_start());
        let holds = (ttl / 2..=ttl * 4 / 5).contains(&share) && renew_at >= session.earliest_renewal();
        ensure(holds, || format!("{share} of {ttl} ms in {session:?}"))?;
    }
    Ok(())
}

/// But for the record of the refusal, and the end of a session whose token was reused.
fn a_refusal_changes_nothing(seen: &Seen) -> Check {
    let Err(refused) = seen.answer else { return Ok(()) };
    if refused.record.is_empty() {
        return ensure(seen.run.state == *seen.before, || "the state changed".into());
    }
    for before in seen.before.subjects.values().flat_map(|subject| &subject.sessions) {
        let after = found(&seen.run.state, before.id)?;
        let mut expected = before.clone();
        if refused.record.iter().any(|event| event.session_id() == Some(before.id)) {
            expected.refused = after.refused;
            expected.said = after.said;
            if before.on_reuse(&seen.run.policy) == OnReuse::Revoke {
                expected =
                    with(&expected, |fields| fields.revocation = SessionFields::from(after).revocation);
            }
        }
        ensure(*after == expected, || format!("{before:?} became {after:?}"))?;
    }
    Ok(())
}

fn a_refused_renewal_is_recorded_once(seen: &Seen) -> Check {
    let mut known = Vec::new();
    for event in seen.run.commits.iter().flat_map(|commit| &commit.events) {
        if let Event::Subject(SubjectEvent::RenewalRejected(rejected)) = event {
            ensure(!known.contains(&rejected), || format!("{rejected:?} is recorded again"))?;
            known.push(rejected);
        }
    }
    Ok(())
}

/// What ends a session for reuse is two tokens of it, each shown by somebody who could not have known the other: one
/// that came back without the key of the renewal that replaced it, and one of a later generation.
fn nobody_is_signed_out_who_is_alone_with_a_session(seen: &Seen) -> Check {
    for event in recorded_of(seen.answer) {
        let Event::Subject(SubjectEvent::SessionRevoked(ended)) = event else { continue };
        if ended.trigger != EndTrigger::TokenReuse {
            continue;
        }
        let after = found(&seen.run.state, ended.session_id)?;
        let number = u32::from_be_bytes(ended.session_id.as_bytes()[12..].try_into().expect("four bytes"));
        let tokens = &seen.run.model.sessions[&number].tokens;
        // The one that is shown in this very request is noted after it was answered.
        let is_shown_now = matches!(seen.answer, Err(refused) if refused.refusal == Refusal::EndsForReuse);
        let later = is_shown_now || tokens.iter().skip(1).any(|token| token.presented);
        let holds = later
            && after.said.contains(OneTimeFact::Contested)
            && after.renewal().is_some()
            && after.on_reuse(&seen.run.policy) == OnReuse::Revoke;
        ensure(holds, || format!("{after:?} ended, {tokens:?}"))?;
    }
    Ok(())
}

fn nothing_is_granted_to_a_suspended_subject(seen: &Seen) -> Check {
    let Some(commit) = seen.run.commits.last() else { return Ok(()) };
    let StreamId::Subject(id) = &commit.stream else { return Ok(()) };
    let before = seen.before.subjects.get(id);
    let is_suspended = before.is_some_and(|before| before.suspension_at(seen.run.now).is_some());
    let is_grant = |event: &Event| {
        matches!(
            event,
            Event::Subject(
                SubjectEvent::SessionCreated(_)
                    | SubjectEvent::SessionRenewed(_)
                    | SubjectEvent::SessionRefreshed(_)
                    | SubjectEvent::RenewalRejected(_)
                    | SubjectEvent::UsageRecorded(_)
            )
        )
    };
    let is_veto = |event: &Event| matches!(event, Event::Subject(SubjectEvent::SessionRevoked(_)));
    let events = recorded_of(seen.answer);
    // A veto has the event of a refused renewal with it.
    let holds = !is_suspended || events.iter().any(is_veto) || !events.iter().any(is_grant);
    ensure(holds, || format!("{events:?} of a suspended subject"))
}

/// Whoever lengthens it, it stays so until an admin lifts it or its end is reached.
fn an_admins_suspension_is_an_admins_to_lift(seen: &Seen) -> Check {
    for (id, before) in &seen.before.subjects {
        let Some(was) = before.suspension_at(seen.run.now).filter(|was| was.is_admins) else { continue };
        let by_admin = recorded_of(seen.answer).iter().any(|event| match event {
            Event::Subject(SubjectEvent::SubjectSuspended(event)) => event.role == Role::Admin,
            Event::Subject(SubjectEvent::SubjectResumed(event)) => event.role == Some(Role::Admin),
            Event::Subject(_) | Event::System(_) => false,
        });
        let is = seen.run.state.subjects[id].suspension();
        let holds =
            is.is_some_and(|is| is.is_admins && (is.until == was.until || was.is_lengthened_by(is.until)));
        ensure(by_admin || holds, || format!("{was:?} of {id} became {is:?}"))?;
    }
    Ok(())
}

/// Once the authority has looked, no session goes on of which both holders have shown themselves.
pub(super) fn no_thief_is_left(run: &Run) -> Check {
    run.live_sessions().try_for_each(|session| {
        let are_both_shown = session.ends_when_presented(&run.policy) && session.was_presented();
        ensure(!are_both_shown, || format!("broken promise: a thief is noticed: {session:?}"))
    })
}

fn a_suspension_touches_no_session(seen: &Seen) -> Check {
    let events = recorded_of(seen.answer);
    let is_of_suspension = |event: &Event| {
        matches!(event, Event::Subject(SubjectEvent::SubjectSuspended(_) | SubjectEvent::SubjectResumed(_)))
    };
    if events.is_empty() || !events.iter().all(is_of_suspension) {
        return Ok(());
    }
    for (id, before) in &seen.before.subjects {
        let after = &seen.run.state.subjects[id];
        let holds = before.sessions == after.sessions && before.profile() == after.profile();
        ensure(holds, || format!("{before:?} became {after:?}"))?;
    }
    Ok(())
}

/// Summed anew from the whole history, and compared with the limits.
fn no_budget_is_overspent(seen: &Seen) -> Check {
    let mut spent = BTreeMap::<SessionId, Usage>::new();
    for commit in &seen.run.commits {
        for event in &commit.events {
            if let Event::Subject(SubjectEvent::UsageRecorded(used)) = event {
                let so_far = spent.entry(used.session_id).or_default();
                *so_far = so_far.after(&used.done(), commit.recorded_at);
            }
        }
    }
    seen.run.live_sessions().try_for_each(|session| {
        let usage = spent.remove(&session.id).unwrap_or_default();
        let is_within = session.constraints().is_none_or(|limits| {
            limits.max_transactions.is_none_or(|most| usage.transactions <= most)
                && limits.max_total_amount.as_ref().is_none_or(|most| usage.total_amount <= *most)
        });
        ensure(is_within && usage == *session.usage(), || format!("{usage:?} of {session:?}"))
    })
}

fn the_model_agrees_about_every_key(seen: &Seen) -> Check {
    let keys = &seen.run.state.system.keys;
    for (place, which) in KEY_USES.into_iter().enumerate() {
        let known = keys.of(which);
        let ends: Vec<_> = known.iter().map(|key| key.retire_at.map(Timestamp::as_millis)).collect();
        let is_named = known.iter().enumerate().all(|(place, key)| key.id == key_of(place));
        let agrees = is_named && ends == seen.run.model.keys[place].ends();
        ensure(agrees, || format!("{known:?}\n  are not {:?}", seen.run.model.keys[place]))?;
    }
    for (number, expected) in &seen.run.model.sessions {
        let granted = found(&seen.run.state, session(*number))?.granted();
        let sealer = keys.sealer_of(granted).map(|key| &key.id);
        let expected = key_of(expected.current().sealer);
        ensure(sealer == Some(&expected), || format!("{number} is sealed by {sealer:?}, not {expected}"))?;
    }
    Ok(())
}

fn a_session_is_idle_exactly_from_its_idle_end_on(seen: &Seen) -> Check {
    for session in seen.run.live_sessions() {
        let Some(timeout) = session.terms.idle_timeout else {
            ensure(session.last_seen_at().is_none(), || format!("{session:?} has no idle time"))?;
            continue;
        };
        let last = session.last_seen_at().ok_or_else(|| format!("{session:?} was never seen"))?;
        let end = last.plus(timeout);
        let judged = |now| session.judge(session.generation(), None, now);
        let at_end = if end < session.expires_at() { TokenFault::Idle } else { TokenFault::Expired };
        let expected = session.revocation().map(|ended| TokenFault::Revoked(ended.trigger));
        let holds = judged(end) == Err(expected.unwrap_or(at_end))
            && judged(end.plus_millis(-1)) != Err(TokenFault::Idle);
        ensure(holds, || format!("{session:?} at {end}"))?;
    }
    Ok(())
}

/// Whoever is live now is live after a crash at this moment, and counts as seen at most a tenth later than recorded.
fn no_crash_ends_a_session_early(seen: &Seen) -> Check {
    let now = seen.run.now;
    let live = PublishedState::new(seen.run.state.clone(), Some(now));
    for (number, expected) in &seen.run.model.sessions {
        let after = live.session(session(*number)).ok_or("a session is lost")?;
        let recorded = found(&seen.run.state, after.id)?;
        let is_kept = !expected.is_active(now.as_millis()) || after.is_live(now);
        ensure(is_kept, || format!("{after:?} ended by a crash at {now}, {expected:?}"))?;
        let excuse = after.last_seen_at().zip(recorded.last_seen_at());
        let longest = recorded.terms.idle_timeout.map_or(0, |timeout| i64::from(timeout.0) * 100);
        let holds =
            excuse.is_none_or(|(after, recorded)| (0..=longest).contains(&after.millis_since(recorded)));
        ensure(holds, || format!("{recorded:?} is excused as {after:?}"))?;
    }
    Ok(())
}

fn what_is_recorded_as_ended_stays_ended(seen: &Seen) -> Check {
    for before in seen.before.subjects.values().flat_map(|subject| &subject.sessions) {
        let after = found(&seen.run.state, before.id)?;
        let is_recorded = before.said.contains(OneTimeFact::Expired);
        let stays = !after.is_live(seen.run.now) && after.ends_at() == before.ends_at();
        ensure(!is_recorded || stays, || format!("{before:?} became {after:?}"))?;
    }
    Ok(())
}

fn what_was_seen_does_not_move_back(seen: &Seen) -> Check {
    for before in seen.before.subjects.values().flat_map(|subject| &subject.sessions) {
        let after = found(&seen.run.state, before.id)?;
        let holds = after.last_seen_at() >= before.last_seen_at()
            && after.last_seen_at() <= after.activity().map(|_| seen.run.now);
        ensure(holds, || format!("{before:?} became {after:?}"))?;
    }
    Ok(())
}

fn a_refresh_moves_the_period_and_no_more(seen: &Seen) -> Check {
    for event in recorded_of(seen.answer) {
        let Event::Subject(SubjectEvent::SessionRefreshed(refreshed)) = event else { continue };
        let (before, after) =
            (found(seen.before, refreshed.session_id)?, found(&seen.run.state, refreshed.session_id)?);
        let end = seen.run.now.plus(before.terms.ttl).min(before.absolute_expires_at());
        let expected = with(before, |fields| {
            (fields.expires_at, fields.granted) = (end, after.granted());
            if let Some(activity) = fields.details.as_mut().and_then(|details| details.activity.as_mut()) {
                (activity.seen_at, activity.refreshed_at) = (seen.run.now, Some(seen.run.now));
                activity.seen = after.granted();
            }
        });
        ensure(*after == expected && end > before.expires_at(), || format!("{before:?} became {after:?}"))?;
    }
    Ok(())
}

fn refreshes_are_half_of_the_shorter_apart(seen: &Seen) -> Check {
    let mut last = BTreeMap::<SessionId, Timestamp>::new();
    for commit in &seen.run.commits {
        for event in &commit.events {
            let Event::Subject(SubjectEvent::SessionRefreshed(refreshed)) = event else { continue };
            let session = found(&seen.run.state, refreshed.session_id)?;
            let idle = session.terms.idle_timeout.ok_or("what slides has an idle time")?;
            let half = idle.0.min(session.terms.ttl.0) / 2;
            let before = last.insert(session.id, commit.recorded_at).unwrap_or(session.created_at());
            let holds = commit.recorded_at >= before.plus(Seconds(half));
            ensure(holds, || format!("{session:?} was refreshed at {before} and {}", commit.recorded_at))?;
        }
    }
    Ok(())
}

fn a_sliding_session_is_never_renewed(seen: &Seen) -> Check {
    let mut sliding = seen.run.live_sessions().filter(|session| session.terms.mode == SessionMode::Sliding);
    sliding.try_for_each(|session| {
        let holds = session.renewal().is_none()
            && session.generation() == Generation::FIRST
            && session.renew_at().is_none();
        ensure(holds, || format!("{session:?}"))
    })
}

fn an_erasure_leaves_no_text_and_every_rule(seen: &Seen) -> Check {
    if !erases(seen.answer) {
        return Ok(());
    }
    let erased = seen.run.commits.last().ok_or("an erasure is recorded")?;
    let StreamId::Subject(id) = &erased.stream else { return Err("an erasure is of a subject".into()) };
    let (before, after) = (&seen.before.subjects[id], &seen.run.state.subjects[id]);
    ensure(!after.has_text(), || format!("there is text in {after:?}"))?;
    for (before, after) in before.sessions.iter().zip(&after.sessions) {
        ensure(is_same_but_for_texts(before, after), || format!("{before:?} became {after:?}"))?;
    }
    Ok(())
}

fn erases(answer: &Result<Vec<Event>, Refused>) -> bool {
    recorded_of(answer).iter().any(|event| matches!(event, Event::Subject(SubjectEvent::SubjectErased(_))))
}

fn with(session: &Session, change: impl FnOnce(&mut SessionFields)) -> Session {
    let mut fields = session.into();
    change(&mut fields);
    fields.try_into().expect("a session that can be")
}

/// In everything that a rule may ask for.
fn is_same_but_for_texts(before: &Session, after: &Session) -> bool {
    let end = |session: &Session| session.revocation().map(|end| (end.at, end.position, end.trigger));
    let expected = with(before, |fields| {
        let SessionFields { details, revocation, .. } = after.into();
        (fields.details, fields.revocation) = (details, revocation);
    });
    expected == *after
        && end(before) == end(after)
        && before.device_digest() == after.device_digest()
        && before.activity() == after.activity()
        && before.usage() == after.usage()
        && before.constraints() == after.constraints()
        && before.scopes() == after.scopes()
}

fn the_state_is_what_its_bytes_say(seen: &Seen) -> Check {
    let bytes = seen.run.state.to_bytes();
    let read = AuthorityState::from_bytes(&bytes).map_err(|error| error.to_string())?;
    ensure(read == seen.run.state && read.to_bytes() == bytes, || "the state read back is another".into())
}

/// From nothing, commit by commit and event by event, and from the bytes of each state on.
pub(super) fn a_rebuild_equals_the_live_state_at_every_position(run: &Run) -> Check {
    let mut whole = AuthorityState::default();
    let mut single = AuthorityState::default();
    for (index, (commit, live)) in run.commits.iter().zip(&run.states).enumerate() {
        let mut resumed = AuthorityState::from_bytes(&whole.to_bytes()).map_err(|error| error.to_string())?;
        for state in [&mut whole, &mut resumed] {
            state.apply(commit).map_err(|alarm| format!("replayed: {alarm}"))?;
        }
        let first = single.position.next();
        for index in 0..commit.events.len() {
            let one = single.apply_part(first, commit, index..index + 1);
            one.map_err(|alarm| format!("replayed by itself: {alarm}"))?;
        }
        for (how, state) in [("rebuilt", &whole), ("rebuilt by events", &single), ("resumed", &resumed)] {
            ensure(state.to_bytes() == *live, || format!("broken promise: {how}, commit {index} differs"))?;
        }
    }
    ensure(whole == run.state && run.states.len() == run.commits.len(), || "the rebuilt state differs".into())
}

/// Bulk revocations are left unsettled until the next event of a subject; whoever looks settles a copy.
pub(super) fn what_is_settled_late_is_as_if_it_were_settled_at_once(run: &Run) -> Check {
    let mut eager = AuthorityState::default();
    let mut late = BTreeMap::<SubjectId, Subject>::new();
    let mut bulks = Vec::<BulkRevocation>::new();
    for commit in &run.commits {
        for (position, event) in (eager.position.next().0..).map(Position).zip(&commit.events) {
            let recorded = EventMeta { position, at: commit.recorded_at };
            match (&commit.stream, event) {
                (StreamId::Subject(id), event) => {
                    let subject = late.entry(id.clone()).or_insert_with(|| Subject::new(id.clone()));
                    settle(&bulks, subject);
                    evolve_subject(subject, event, recorded)
                        .map_err(|alarm| format!("settled late: {alarm}"))?;
                }
                (StreamId::System, Event::System(SystemEvent::SelectionRevoked(event))) => {
                    bulks.push(BulkRevocation::of(event, recorded));
                }
                (StreamId::System, Event::System(SystemEvent::TokensPresented(marks))) => {
                    for mark in &marks.presented {
                        let holder = late.get_mut(&eager.holders[&mark.session_id]);
                        mark_presented(holder.ok_or("a stranger")?, mark.session_id, mark.generation);
                    }
                }
                (StreamId::System, Event::System(SystemEvent::SessionsSeen(marks))) => {
                    for mark in &marks.seen {
                        let holder = late.get_mut(&eager.holders[&mark.session_id]).ok_or("a stranger")?;
                        settle(&bulks, holder);
                        mark_seen(holder, *mark, recorded)?;
                    }
                }
                (StreamId::System, _) => {}
            }
        }
        eager.apply(commit).map_err(|alarm| alarm.to_string())?;
        for (id, subject) in &late {
            let mut looked_at = subject.clone();
            let is_unsettled = is_unsettled(&bulks, subject);
            settle(&bulks, &mut looked_at);
            ensure(is_unsettled == (looked_at != *subject), || format!("{id} is both"))?;
            ensure(looked_at == eager.subjects[id], || {
                format!("{subject:?} is not {:?}", eager.subjects[id])
            })?;
        }
    }
    Ok(())
}

fn found(state: &AuthorityState, id: SessionId) -> Result<&Session, String> {
    let holder = state.holders.get(&id).ok_or_else(|| format!("{id} has no holder"))?;
    let session = state.subjects.get(holder).and_then(|subject| subject.session(id));
    session.ok_or_else(|| format!("{id} is not with its holder"))
}
