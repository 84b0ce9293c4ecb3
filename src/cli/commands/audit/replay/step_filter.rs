//! Which events of a history are stepped through: those of a subject or of a session, by its id or the beginning of it.

use std::{collections::BTreeSet, fs, ops::ControlFlow};

use serde_json::Value;

use crate::cli::{
    arguments::find::{self, SessionScope},
    commands::audit::{source::SourceArgs, trust::TrustedHeads},
    context::GlobalArgs,
    failure::CommandError,
};
use tenure_core::{StreamId, SubjectEvent, event::Event};
use tenure_log::StoredCommit;

/// The ids that an event must have.
pub(super) struct StepFilter {
    subject: Option<String>,
    session: Option<String>,
}

impl StepFilter {
    /// A server looks names up; a file is read once more, before the walk, for the ids in it.
    pub(super) fn of(
        subject: Option<&str>,
        session: Option<&str>,
        source: &SourceArgs,
        global: &GlobalArgs,
        trusted: &TrustedHeads,
    ) -> Result<Self, CommandError> {
        if source.is_server() && (subject.is_some() || session.is_some()) {
            let cli = &global.context()?;
            let subject = subject.map(|typed| find::subject(cli, typed)).transpose()?;
            let session = session.map(|typed| find::session(cli, typed, SessionScope::Any)).transpose()?;
            return Ok(Self { subject, session });
        }
        let (mut subjects, mut sessions) =
            (IdSearch::of("subject", subject), IdSearch::of("session", session));
        if subjects.typed.is_none() && sessions.typed.is_none() {
            return Ok(Self { subject: None, session: None });
        }
        // A pipe can be read only once: its ids are taken as they were typed.
        if source.file().is_some_and(|path| fs::metadata(path).is_ok_and(|file| !file.is_file())) {
            return Ok(Self { subject: subjects.typed, session: sessions.typed });
        }
        source.read(global, trusted, &mut |stored| {
            look_at(&stored, &mut subjects, &mut sessions);
            ControlFlow::Continue(())
        })?;
        Ok(Self { subject: subjects.found()?, session: sessions.found()? })
    }

    /// Whether this event is one of those.
    pub(super) fn takes(&self, event: &Value) -> bool {
        let is = |name: &str, wanted: Option<&str>| wanted.is_none_or(|wanted| event[name] == *wanted);
        is("subjectId", self.subject.as_deref()) && is("sessionId", self.session.as_deref())
    }
}

fn look_at(stored: &StoredCommit, subjects: &mut IdSearch, sessions: &mut IdSearch) {
    let StreamId::Subject(subject) = &stored.commit.stream else { return };
    subjects.meet(subject.as_str());
    for event in &stored.commit.events {
        if let Event::Subject(SubjectEvent::SessionCreated(created)) = event {
            sessions.meet(&created.session_id.to_string());
        }
    }
}

/// Looks for an id that was typed, or of which the beginning was.
struct IdSearch {
    noun: &'static str,
    typed: Option<String>,
    is_exact: bool,
    begun: BTreeSet<String>,
}

impl IdSearch {
    fn of(noun: &'static str, typed: Option<&str>) -> Self {
        Self { noun, typed: typed.map(str::to_owned), is_exact: false, begun: BTreeSet::new() }
    }

    fn meet(&mut self, id: &str) {
        let Some(typed) = &self.typed else { return };
        if id == typed {
            self.is_exact = true;
        } else if typed.len() >= find::SHORTEST
            && id.starts_with(typed)
            && self.begun.len() <= find::MOST_CANDIDATES
        {
            self.begun.insert(id.to_owned());
        }
    }

    fn found(self) -> Result<Option<String>, CommandError> {
        let Some(typed) = self.typed else { return Ok(None) };
        if self.is_exact {
            return Ok(Some(typed));
        }
        if self.begun.len() > 1 {
            return Err(find::ambiguous(self.noun, &typed, self.begun.into_iter().collect()));
        }
        let missing = || CommandError::Missing(format!("no {} \"{typed}\" is in this history", self.noun));
        self.begun.into_iter().next().map(Some).ok_or_else(missing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(typed: &str, met: &[&str]) -> Result<Option<String>, CommandError> {
        let mut search = IdSearch::of("subject", Some(typed));
        for id in met {
            search.meet(id);
        }
        search.found()
    }

    #[test]
    fn a_whole_id_is_meant_before_the_beginning_of_others() {
        assert_eq!(found("mail", &["mailer", "mail", "mail-2"]).unwrap().as_deref(), Some("mail"));
        assert_eq!(found("mail", &["payments", "mailer", "mailer"]).unwrap().as_deref(), Some("mailer"));
        assert!(matches!(found("mail", &["mailer", "mail-2"]), Err(CommandError::Ambiguous(_))));
        assert!(
            matches!(found("mai", &["mailer"]), Err(CommandError::Missing(_))),
            "too short to mean anything"
        );
        assert!(matches!(found("x", &[]), Err(CommandError::Missing(_))));
    }
}
