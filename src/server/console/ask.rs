//! The API, asked for the person at the browser.

use axum::{
    body::Body,
    http::{Method, Request, header},
    response::Response,
};
use http_body_util::BodyExt;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tenure_core::Position;
use tower::ServiceExt;

use crate::http::{SignedIn, ask_the_leader, is_own_answer};

use super::words::plain;
use crate::console::{request::SignedInRequest, response::PageFailure};

impl SignedInRequest {
    /// What the API says, as whatever it should be. Texts that people chose come with their control and direction
    /// characters made visible.
    pub(super) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, PageFailure> {
        read(self.ask(Method::GET, path, None).await?)
    }

    /// A position to go on from, as the history names it now: it may have begun another epoch.
    pub(super) fn named(&self, position: u64) -> String {
        self.console().api.named_now(Position(position)).to_string()
    }

    /// Asks for a change, or for JSON.
    pub(super) async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value, PageFailure> {
        let mut asked = self.request(method, path);
        if let Some(body) = body {
            asked = asked.header(header::CONTENT_TYPE, "application/json");
            return self.answered(asked.body(Body::from(body.to_string()))).await;
        }
        self.answered(asked.body(Body::empty())).await
    }

    /// A request of the API by this sign-in, with the address of its browser.
    pub(super) fn request(&self, method: Method, path: &str) -> axum::http::request::Builder {
        let mut asked = Request::builder().method(method).uri(path);
        asked = asked.extension(SignedIn(self.credential.clone()));
        if let Some(peer) = self.peer() {
            asked = asked.extension(peer.clone());
        }
        for name in ["x-forwarded-for", "idempotency-key"] {
            for value in self.headers().get_all(name) {
                asked = asked.header(name, value);
            }
        }
        asked
    }

    /// The API's reply as it is.
    pub(super) async fn reply(
        &self,
        request: axum::http::Result<Request<Body>>,
    ) -> Result<Response, PageFailure> {
        let request = request.map_err(|_| PageFailure::not_found("There is nothing by that name."))?;
        if !is_own_answer(request.method(), request.uri().path()) {
            // The page as a whole, where this node does not lead.
            ask_the_leader();
        }
        Ok(self.console().routes.clone().oneshot(request).await.unwrap_or_else(|never| match never {}))
    }

    async fn answered(&self, request: axum::http::Result<Request<Body>>) -> Result<Value, PageFailure> {
        let response = self.reply(request).await?;
        let status = response.status();
        let wait =
            response.headers().get(header::RETRY_AFTER).and_then(|wait| wait.to_str().ok()?.parse().ok());
        let body =
            response.into_body().collect().await.map_err(|error| PageFailure::of_ours(&error.to_string()))?;
        let bytes = body.to_bytes();
        let value =
            if bytes.is_empty() { Value::Null } else { serde_json::from_slice(&bytes).unwrap_or_default() };
        let value = cleaned(value);
        if status.is_success() { Ok(value) } else { Err(PageFailure::of_problem(status, &value, wait)) }
    }
}

/// What the API would say, without its reply: the same words, as whatever they should be.
pub(super) fn shown<T: DeserializeOwned>(value: Value) -> Result<T, PageFailure> {
    read(cleaned(value))
}

fn read<T: DeserializeOwned>(value: Value) -> Result<T, PageFailure> {
    serde_json::from_value(value).map_err(|error| PageFailure::of_ours(&error.to_string()))
}

fn cleaned(value: Value) -> Value {
    match value {
        Value::String(text) => Value::String(plain(text)),
        Value::Array(items) => Value::Array(items.into_iter().map(cleaned).collect()),
        Value::Object(members) => {
            Value::Object(members.into_iter().map(|(name, value)| (plain(name), cleaned(value))).collect())
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => value,
    }
}
