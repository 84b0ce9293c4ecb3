//! What people call API keys, as far as the reader may know: an admin and an auditor read the names of all keys, others
//! that of their own.

use tenure_core::{StreamId, event::Role};
use tenure_protocol::wire::ActorView;

use super::{request::SignedInRequest, words::plain};

/// Before the id of a key, in the words of a story.
const KEY: &str = "API key ";
/// The length of an id.
const ID: usize = 36;

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
            ("credential", Some(id)) => self.key_name(id).unwrap_or_else(|| format!("API key {id}")),
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
                Some((name, rest)) => text.extend(["\u{201c}", &name, "\u{201d}", rest]),
                None => text.push_str(part),
            }
        }
        text
    }
}
