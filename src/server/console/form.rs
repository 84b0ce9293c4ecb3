//! What a form sent.

use axum::body::Body;
use http_body_util::{BodyExt, Limited};

/// The longest form.
const LONGEST: usize = 16 * 1024;

/// The fields of a form or of a query, as they were sent.
#[derive(Clone, Debug, Default)]
pub(super) struct FormFields(Vec<(String, String)>);

impl FormFields {
    /// Of a query or of a body in the same spelling.
    pub(super) fn parse(text: &[u8]) -> Self {
        Self(form_urlencoded::parse(text).into_owned().collect())
    }

    /// Reads a request's body; `None` if it is longer than any form may be.
    pub(super) async fn read(body: Body) -> Option<Self> {
        let collected = Limited::new(body, LONGEST).collect().await.ok()?;
        Some(Self::parse(&collected.to_bytes()))
    }

    /// A field that says something.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.trim()).filter(|value| !value.is_empty())
    }

    /// Whether a box was ticked.
    pub(super) fn is_ticked(&self, name: &str) -> bool {
        self.get(name) == Some("yes")
    }
}

/// The query of an address, from what is given of it.
pub(super) fn query(pairs: &[(&str, Option<&str>)]) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    for (name, value) in pairs {
        if let Some(value) = value {
            query.append_pair(name, value);
        }
    }
    let query = query.finish();
    if query.is_empty() { query } else { format!("?{query}") }
}

/// One segment of a path.
pub(super) fn segment(text: &str) -> String {
    let mut url = url::Url::parse("http://localhost/").expect("it is a URL");
    if let Ok(mut path) = url.path_segments_mut() {
        path.clear().push(text);
    }
    url.path().trim_start_matches('/').to_owned()
}
