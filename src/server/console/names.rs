//! What people call API keys and subjects, as far as the reader may know: an admin and an auditor read the names of all
//! keys, others that of their own; a subject's name is for those who may see the subject.
//!
//! Several may have one name, so a part of the id stands beside it.

use std::collections::{BTreeSet, HashMap};

use serde::Serialize;
use tenure_core::{StreamId, SubjectId, event::Role};
use tenure_protocol::wire::{ActorView, RecordedEvent, SubjectView};

use super::{
    ask::shown,
    form::segment,
    request::SignedInRequest,
    response::PageFailure,
    words::{clipped, id_end, plain},
};

/// Before the id of a key, in the words of a story.
const KEY: &str = "API key ";
/// The length of an id.
const ID: usize = 36;
/// Maximum characters of a name in a table.
const NAME: usize = 60;

/// Who caused an event, as a table shows it.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ActorCell {
    /// Its name, or what it is.
    pub(super) name: String,
    /// Its id, or a part of it that differs from those of others; empty where there is none.
    pub(super) id: String,
    /// The page about it.
    pub(super) link: Option<String>,
}

/// The names of subjects.
pub(super) type SubjectNames = HashMap<SubjectId, String>;

impl SignedInRequest {
    /// The name of an API key, by its id. A page that others see too has none that is the reader's alone.
    pub(super) fn key_name(&self, id: &str) -> Option<String> {
        let id = id.parse().ok()?;
        let is_own = id == self.credential.id && !self.is_shared();
        if !is_own && !self.has_role(&[Role::Admin, Role::Auditor]) {
            return None;
        }
        let system = self.authority().live().system();
        let name = system.system.credentials.get(&id)?.name.as_ref()?;
        self.authority().open_text(&StreamId::System, "name", name).map(plain)
    }

    /// Who did something, in words: a key by its name, as far as the reader may know it.
    pub(super) fn actor_words(&self, actor: &ActorView) -> String {
        match (&*actor.kind, &actor.id) {
            ("credential", Some(id)) => match self.key_name(id) {
                Some(name) => format!("{name} ({})", id_end(id)),
                None => format!("API key {id}"),
            },
            ("authority", _) => "the authority itself".to_owned(),
            ("link", Some(id)) => format!("the owner, by the link in notice {id}"),
            (kind, Some(id)) => format!("{kind} {id}"),
            (kind, None) => kind.to_owned(),
        }
    }

    /// A sentence of a story, with the names of the keys in it.
    pub(super) fn with_names(&self, told: &str) -> String {
        let mut parts = told.split(KEY);
        let mut text = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            text.push_str(KEY);
            let known = part.get(..ID).and_then(|id| Some((self.key_name(id)?, &part[ID..])));
            match known {
                Some((name, rest)) => {
                    text.extend(["\u{201c}", &name, "\u{201d} (", &id_end(&part[..ID]), ")", rest]);
                }
                None => text.push_str(part),
            }
        }
        text
    }

    /// The names of the subjects whose sessions caused these events. One whose text was erased has none.
    pub(super) async fn names_of_holders<'e>(
        &self,
        events: impl Iterator<Item = &'e RecordedEvent>,
    ) -> Result<SubjectNames, PageFailure> {
        let by_session = events.filter(|event| &*event.actor.kind == "session");
        let subjects: BTreeSet<_> = by_session.filter_map(|event| event.subject_id.clone()).collect();
        let subjects = subjects.into_iter().collect();
        let cards = self.console().api.subject_cards(&self.credential, subjects, None, 0).await?;
        let mut names = SubjectNames::new();
        for card in cards.into_iter().flatten() {
            let subject: SubjectView = shown(card.subject)?;
            names.extend(subject.name.map(|name| (subject.subject_id, name)));
        }
        Ok(names)
    }

    /// Who caused an event: a key by its name, a session by its subject.
    pub(super) fn actor_cell(&self, event: &RecordedEvent, names: &SubjectNames) -> ActorCell {
        let actor = &event.actor;
        let id = actor.id.as_deref().unwrap_or_default();
        let cell = |name: &str, id: String| ActorCell { name: clipped(name, NAME), id, link: None };
        match (&*actor.kind, &event.subject_id) {
            ("credential", _) => match self.key_name(id) {
                Some(name) => cell(&name, id_end(id)),
                None => cell("API key", id.to_owned()),
            },
            ("session", Some(subject)) => {
                let link = Some(format!("/console/sessions/{}", segment(id)));
                let cell = match names.get(subject) {
                    Some(name) => cell(name, subject.to_string()),
                    None => cell("", subject.to_string()),
                };
                ActorCell { link, ..cell }
            }
            ("authority", _) => cell("the authority", String::new()),
            ("operator", _) => cell("the operator", String::new()),
            ("link", _) => cell("the link in notice", id_end(id)),
            (kind, _) => cell(kind, id.to_owned()),
        }
    }
}
