//! The search for an order, after Wing and Gong, with a memory of what was tried.
//!
//! Next may be whatever was asked before any of what is left was answered. What never changes a session, a check or a
//! refusal, is taken as soon as it is true: it stands in the way of nothing else. All other choices are tried.

use std::{collections::HashSet, fmt};

use super::{Entry, session::Session};

/// No order explains all of it; this is where the one that comes furthest ends.
#[derive(Debug)]
pub(crate) struct Stuck {
    done: usize,
    session: Session,
    /// What could come next, none of which is told of such a session.
    next: Vec<Entry>,
}

impl fmt::Display for Stuck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { done, session, next } = self;
        writeln!(
            f,
            "no order explains what was told: after {done} things it is {session:?}, and none of these"
        )?;
        next.iter().try_for_each(|entry| writeln!(f, "  {entry:?}"))
    }
}

/// Part of an order: what is in it, and what the session is then.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Part {
    done: Vec<u64>,
    session: Session,
}

impl Part {
    fn has(&self, index: usize) -> bool {
        self.done[index / 64] & (1 << (index % 64)) != 0
    }

    fn with(mut self, index: usize, session: Session) -> Self {
        self.done[index / 64] |= 1 << (index % 64);
        Self { session, ..self }
    }

    fn count(&self) -> usize {
        self.done.iter().map(|word| word.count_ones() as usize).sum()
    }
}

/// Looks for an order.
pub(crate) fn order(history: &[Entry]) -> Result<(), Stuck> {
    let mut history = history.to_vec();
    history.sort_by_key(|entry| entry.asked);
    let empty = Part { done: vec![0; history.len().div_ceil(64)], session: Session::default() };
    let (mut tried, mut open) = (HashSet::new(), vec![empty.clone()]);
    let mut furthest = empty;
    while let Some(part) = open.pop() {
        let part = with_what_changes_nothing(&history, part);
        if part.count() >= furthest.count() {
            furthest = part.clone();
        }
        if is_whole(&history, &part) {
            return Ok(());
        }
        let further = next(&history, &part);
        open.extend(further.into_iter().filter(|part| tried.insert(part.clone())));
    }
    let left = candidates(&history, &furthest).into_iter().map(|index| history[index]).collect();
    Err(Stuck { done: furthest.count(), session: furthest.session, next: left })
}

/// Nothing that was answered is left.
fn is_whole(history: &[Entry], part: &Part) -> bool {
    (0..history.len()).all(|index| part.has(index) || history[index].answered.is_none())
}

/// What may come next in real time: all that was asked before the first answer to any of it.
fn candidates(history: &[Entry], part: &Part) -> Vec<usize> {
    let (mut found, mut first_answer) = (vec![], u64::MAX);
    let whole_words = part.done.iter().take_while(|word| **word == u64::MAX).count();
    for index in (whole_words * 64..history.len()).filter(|index| !part.has(*index)) {
        if history[index].asked > first_answer {
            break;
        }
        first_answer = first_answer.min(history[index].answered.unwrap_or(u64::MAX));
        found.push(index);
    }
    found.retain(|index| history[*index].asked <= first_answer);
    found
}

fn with_what_changes_nothing(history: &[Entry], mut part: Part) -> Part {
    loop {
        let session = part.session;
        let is_true = |index: &usize| {
            let entry = &history[*index];
            entry.answered.is_some() && entry.deed.is_only_a_look() && session.after(&entry.deed).is_some()
        };
        let Some(index) = candidates(history, &part).into_iter().find(is_true) else { return part };
        part = part.with(index, session);
    }
}

/// All that may come next, each with what the session is then.
fn next(history: &[Entry], part: &Part) -> Vec<Part> {
    let (mut further, mut untold) = (vec![], vec![]);
    for index in candidates(history, part) {
        let Entry { answered, deed, .. } = history[index];
        let Some(session) = part.session.after(&deed) else { continue };
        if answered.is_none() {
            // What may as well never happen is left out where it does nothing, and of equal ones the first will do.
            if session == part.session || untold.contains(&deed) {
                continue;
            }
            untold.push(deed);
        }
        further.push(part.clone().with(index, session));
    }
    // The one that was asked first is tried first: it is on top.
    further.reverse();
    further
}
