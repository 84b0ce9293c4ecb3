//! The promises, each a function with its name.

use std::collections::BTreeMap;

use tenure::domain::{
    Commit, Event, Generation, Position, SessionId, Stream, SubjectId,
    budget::Usage,
    bulk::{Bulk, is_unsettled, settle},
    evolve::{evolve, mark_presented},
    policy::OnReuse,
    record::RecordedAs,
    session::{Session, TokenFault},
    state::State,
    subject::Subject,
};

use super::{
    run::{Check, Run, Seen, ensure},
    steps::SUBJECTS,
    words::{recorded_of, trigger_of},
};
use crate::scenario::session;

type Promise = (&'static str, fn(&Seen) -> Check);

const PROMISES: [Promise; 14] = [
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
    ("no budget is overspent", no_budget_is_overspent),
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
            && actual.generation.0 as usize == expected.tokens.len()
            && actual.expires_at.as_millis() == expected.current().expires
            && actual.absolute_expires_at().as_millis() == expected.end
            && actual.earliest_renewal().as_millis() == expected.half()
            && actual.is_live(now) == expected.is_active(now.as_millis())
            && actual.revocation.as_ref().map(|end| trigger_of(end.trigger)) == expected.ended;
        ensure(agrees, || format!("{actual:?}\n  is not {expected:?}"))?;
    }
    Ok(())
}

fn at_most_one_generation_is_live(seen: &Seen) -> Check {
    for session in seen.run.live_sessions() {
        let works = |generation: &u32| session.judge(Generation(*generation), seen.run.now).is_ok();
        let live: Vec<_> = (0..=session.generation.0 + 2).filter(works).collect();
        let expected = if session.is_live(seen.run.now) { vec![session.generation.0] } else { vec![] };
        ensure(live == expected, || format!("{live:?} of {session:?} are live"))?;
    }
    Ok(())
}

fn the_old_generation_fails_after_a_renewal(seen: &Seen) -> Check {
    for event in recorded_of(seen.answer) {
        let Event::SessionRenewed(renewed) = event else { continue };
        let renewed = found(&seen.run.state, renewed.session_id)?;
        for old in 1..renewed.generation.0 {
            let judged = renewed.judge(Generation(old), seen.run.now);
            ensure(judged == Err(TokenFault::Superseded), || format!("{old} of {renewed:?}: {judged:?}"))?;
        }
    }
    Ok(())
}

fn no_renewal_after_revocation(seen: &Seen) -> Check {
    for event in recorded_of(seen.answer) {
        let Event::SessionRenewed(renewed) = event else { continue };
        let before = found(seen.before, renewed.session_id)?;
        ensure(before.revocation.is_none(), || format!("{before:?} was renewed"))?;
    }
    for before in seen.before.subjects.values().flat_map(|subject| &subject.sessions) {
        let after = found(&seen.run.state, before.id)?;
        let stays = before.revocation.is_none() || *after == **before;
        ensure(stays, || format!("{before:?} became {after:?}"))?;
    }
    Ok(())
}

fn active_sessions_never_exceed_the_limit(seen: &Seen) -> Check {
    for event in recorded_of(seen.answer) {
        let Event::SessionCreated(created) = event else { continue };
        let holder = &seen.run.state.holders[&created.session_id];
        let subject = SUBJECTS.iter().position(|name| *name == holder.as_str()).ok_or("a stranger")?;
        let (most, most_on_device) = seen.run.model.limits(subject);
        let now = seen.run.now;
        let count = |device: Option<_>| {
            let sessions = &seen.run.state.subjects[holder].sessions;
            let there =
                sessions.iter().filter(|session| device.is_none() || session.device_digest() == device);
            there.filter(|session| session.revocation.is_none() && now < session.expires_at).count()
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
        let longest = session.expires_at.millis_since(session.created_at);
        ensure(longest <= lifetime, || format!("{session:?} lives {longest} ms"))
    })
}

fn no_more_renewals_than_granted(seen: &Seen) -> Check {
    let mut renewals = BTreeMap::<_, u32>::new();
    for event in seen.run.commits.iter().flat_map(|commit| &commit.events) {
        if let Event::SessionRenewed(renewed) = event {
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
        let mut expected = Session::clone(before);
        if refused.record.iter().any(|event| event.session_id() == Some(before.id)) {
            expected.refused = after.refused;
            expected.said = after.said;
            if seen.run.policy.on_reuse == OnReuse::Revoke {
                expected.revocation.clone_from(&after.revocation);
            }
        }
        ensure(*after == expected, || format!("{before:?} became {after:?}"))?;
    }
    Ok(())
}

fn a_refused_renewal_is_recorded_once(seen: &Seen) -> Check {
    let mut known = Vec::new();
    for event in seen.run.commits.iter().flat_map(|commit| &commit.events) {
        if let Event::RenewalRejected(rejected) = event {
            ensure(!known.contains(&rejected), || format!("{rejected:?} is recorded again"))?;
            known.push(rejected);
        }
    }
    Ok(())
}

/// Summed anew from the whole history, and compared with the limits.
fn no_budget_is_overspent(seen: &Seen) -> Check {
    let mut spent = BTreeMap::<SessionId, Usage>::new();
    for commit in &seen.run.commits {
        for event in &commit.events {
            if let Event::UsageRecorded(used) = event {
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

fn the_state_is_what_its_bytes_say(seen: &Seen) -> Check {
    let bytes = seen.run.state.to_bytes();
    let read = State::from_bytes(&bytes).map_err(|error| error.to_string())?;
    ensure(read == seen.run.state && read.to_bytes() == bytes, || "the state read back is another".into())
}

/// From nothing, commit by commit and event by event, and from the bytes of each state on.
pub(super) fn a_rebuild_equals_the_live_state_at_every_position(run: &Run) -> Check {
    let mut whole = State::default();
    let mut single = State::default();
    for (index, (commit, live)) in run.commits.iter().zip(&run.states).enumerate() {
        let mut resumed = State::from_bytes(&whole.to_bytes()).map_err(|error| error.to_string())?;
        for state in [&mut whole, &mut resumed] {
            state.apply(commit).map_err(|alarm| format!("replayed: {alarm}"))?;
        }
        for event in &commit.events {
            let one = Commit { events: vec![event.clone()], ..commit.clone() };
            single.apply(&one).map_err(|alarm| format!("replayed by itself: {alarm}"))?;
        }
        for (how, state) in [("rebuilt", &whole), ("rebuilt by events", &single), ("resumed", &resumed)] {
            ensure(state.to_bytes() == *live, || format!("broken promise: {how}, commit {index} differs"))?;
        }
    }
    ensure(whole == run.state && run.states.len() == run.commits.len(), || "the rebuilt state differs".into())
}

/// Bulk revocations are left unsettled until the next event of a subject; whoever looks settles a copy.
pub(super) fn what_is_settled_late_is_as_if_it_were_settled_at_once(run: &Run) -> Check {
    let mut eager = State::default();
    let mut late = BTreeMap::<SubjectId, Subject>::new();
    let mut bulks = Vec::<Bulk>::new();
    for commit in &run.commits {
        for (position, event) in (eager.position.next().0..).map(Position).zip(&commit.events) {
            let recorded = RecordedAs { position, at: commit.recorded_at };
            match (&commit.stream, event) {
                (Stream::Subject(id), event) => {
                    let subject = late.entry(id.clone()).or_insert_with(|| Subject::new(id.clone()));
                    settle(&bulks, subject);
                    evolve(subject, event, recorded).map_err(|alarm| format!("settled late: {alarm}"))?;
                }
                (Stream::System, Event::SessionsRevoked(event)) => bulks.extend(Bulk::of(event, recorded)),
                (Stream::System, Event::TokensPresented(marks)) => {
                    for mark in &marks.presented {
                        let holder = late.get_mut(&eager.holders[&mark.session_id]);
                        mark_presented(holder.ok_or("a stranger")?, mark.session_id, mark.generation);
                    }
                }
                (Stream::System, _) => {}
            }
        }
        eager.apply(commit).map_err(|alarm| alarm.to_string())?;
        for (id, subject) in &late {
            let mut looked_at = subject.clone();
            let is_unsettled = is_unsettled(&bulks, subject);
            ensure(is_unsettled == (settle(&bulks, &mut looked_at) > 0), || format!("{id} is both"))?;
            ensure(looked_at == eager.subjects[id], || {
                format!("{subject:?} is not {:?}", eager.subjects[id])
            })?;
        }
    }
    Ok(())
}

fn found(state: &State, id: SessionId) -> Result<&Session, String> {
    let holder = state.holders.get(&id).ok_or_else(|| format!("{id} has no holder"))?;
    let session = state.subjects.get(holder).and_then(|subject| subject.session(id));
    session.map(AsRef::as_ref).ok_or_else(|| format!("{id} is not with its holder"))
}
