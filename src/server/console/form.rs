//! What a form sent.

use std::time::Duration;

use axum::body::Body;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use tokio::time::timeout;

/// The longest form.
const LONGEST: usize = 16 * 1024;
/// A form that has not arrived by then is given up: anyone may send one, and would hold the place of a connection.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Why a form was not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum UnreadForm {
    /// It is longer than any form may be.
    TooLong,
    /// It did not arrive, or not in time.
    NotArrived,
}

/// The fields of a form or of a query, as they were sent.
#[derive(Clone, Debug, Default)]
pub(super) struct FormFields(Vec<(String, String)>);

impl FormFields {
    /// Of a query or of a body in the same spelling.
    pub(super) fn parse(text: &[u8]) -> Self {
        Self(form_urlencoded::parse(text).into_owned().collect())
    }

    /// Reads a request's body.
    pub(super) async fn read(body: Body) -> Result<Self, UnreadForm> {
        Self::read_within(TIMEOUT, body).await
    }

    async fn read_within(limit: Duration, body: Body) -> Result<Self, UnreadForm> {
        let collected = timeout(limit, Limited::new(body, LONGEST).collect()).await;
        let whole = collected.map_err(|_| UnreadForm::NotArrived)?.map_err(|error| {
            if error.is::<LengthLimitError>() { UnreadForm::TooLong } else { UnreadForm::NotArrived }
        })?;
        Ok(Self::parse(&whole.to_bytes()))
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

#[cfg(test)]
mod tests {
    use std::{convert::Infallible, future::pending};

    use axum::body::Bytes;
    use futures_util::stream::{once, unfold};
    use tokio::time::sleep;

    use super::*;

    /// A caller that sent the head of a form, and nothing or little behind it, kept a place for as long as it liked.
    #[tokio::test]
    async fn a_form_that_does_not_arrive_is_given_up() {
        let silent = Body::from_stream(once(pending::<Result<Bytes, Infallible>>()));
        let trickle = Body::from_stream(unfold((), async |()| {
            sleep(Duration::from_millis(5)).await;
            Some((Ok::<_, Infallible>(Bytes::from_static(b"a")), ()))
        }));
        for body in [silent, trickle] {
            let read = FormFields::read_within(Duration::from_millis(50), body);
            let read = timeout(Duration::from_secs(20), read).await.expect("it is given up");
            assert_eq!(read.unwrap_err(), UnreadForm::NotArrived);
        }
    }

    #[tokio::test]
    async fn a_form_is_read_up_to_the_longest() {
        let form = |length: usize| Body::from(format!("a={}", "b".repeat(length - 2)));
        assert!(FormFields::read(form(LONGEST)).await.is_ok());
        assert_eq!(FormFields::read(form(LONGEST + 1)).await.unwrap_err(), UnreadForm::TooLong);
    }
}
