//! What people call subjects, where the server's own list has their ids alone.

use std::{cell::RefCell, collections::HashMap};

use crate::cli::{connection::client::ApiRequest, context::CommandContext};

/// Maximum names asked for: each takes a request.
const MOST: usize = 200;

/// The names of subjects, each asked for once. A subject that this key may not read has none.
#[derive(Debug)]
pub(crate) struct SubjectNames<'c> {
    cli: &'c CommandContext,
    known: RefCell<HashMap<String, Option<String>>>,
}

impl<'c> SubjectNames<'c> {
    /// As far as the key of these options may read them.
    pub(crate) fn known_to(cli: &'c CommandContext) -> Self {
        Self { cli, known: RefCell::default() }
    }

    /// The name of a subject.
    pub(crate) fn of(&self, id: &str) -> Option<String> {
        let mut known = self.known.borrow_mut();
        if let Some(name) = known.get(id) {
            return name.clone();
        }
        if known.len() >= MOST {
            return None;
        }
        let read = self.cli.client.send(&ApiRequest::get(&["v1", "subjects", id]));
        let name = read.ok().and_then(|reply| reply.body["name"].as_str().map(str::to_owned));
        known.insert(id.to_owned(), name.clone());
        name
    }
}
