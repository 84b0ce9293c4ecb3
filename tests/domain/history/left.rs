//! Sessions that ended long ago leave memory, and folding goes on from what is left.

use tenure::core::{
    Commit, Event, SubjectEvent,
    eviction::{EvictionHorizon, evict_ended},
    state::AuthorityState,
};

use super::run::{Check, Run, ensure};

/// Trimmed and folded on, a state is what it would be if it had been folded whole and trimmed at the end: at once, and
/// with a horizon that moves on after every commit.
pub(super) fn trimming_and_folding_commute(run: &mut Run) -> Check {
    for place in [run.commits.len() / 3, run.commits.len() / 2, run.commits.len() * 4 / 5] {
        commutes(run, |index| index == place)?;
    }
    commutes(run, |_| true)
}

fn commutes(run: &mut Run, trims: impl Fn(usize) -> bool) -> Check {
    let (mut whole, mut trimmed, mut horizon) =
        (AuthorityState::default(), AuthorityState::default(), EvictionHorizon::default());
    for (index, commit) in run.commits.clone().iter().enumerate() {
        count(run, &whole, &trimmed, commit);
        whole.apply(commit).map_err(|alarm| alarm.to_string())?;
        trimmed.apply(commit).map_err(|alarm| format!("trimmed: {alarm}"))?;
        if trims(index) {
            horizon = EvictionHorizon { position: whole.position, moment: whole.recorded_at };
            evict_ended(&mut trimmed, horizon);
        }
    }
    evict_ended(&mut whole, horizon);
    evict_ended(&mut trimmed, horizon);
    ensure(whole == trimmed, || format!("{whole:?} is not {trimmed:?}, behind {horizon:?}"))
}

/// Notes that sessions left, and that something is said of one that did.
fn count(run: &mut Run, whole: &AuthorityState, trimmed: &AuthorityState, commit: &Commit) {
    if trimmed.holders.len() < whole.holders.len() {
        *run.answers.entry("left memory".to_owned()).or_default() += 1;
    }
    for event in &commit.events {
        let is_new = matches!(event, Event::Subject(SubjectEvent::SessionCreated(_)));
        if let Some(id) = event.session_id().filter(|id| !is_new && !trimmed.holders.contains_key(id)) {
            assert!(whole.holders.contains_key(&id));
            *run.answers.entry("said of one that left".to_owned()).or_default() += 1;
        }
    }
}
