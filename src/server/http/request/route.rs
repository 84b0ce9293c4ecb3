//! A route: what it is, whom it admits, whether it takes a body, who handles it.

use std::{future::Future, pin::Pin};

use axum::http::Method;
use utoipa::openapi::{RefOr, Schema, path::Operation};

use super::{
    access::{AccessRule, SessionAccess},
    call::ApiCall,
};
use crate::admission::RequestClass;
use crate::http::reply::{HttpReply, problem::Problem};

/// What a handler gives back.
pub(crate) type HandlerFuture = Pin<Box<dyn Future<Output = Result<HttpReply, Problem>> + Send>>;

/// Whether a route takes a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BodyKind {
    /// A JSON object.
    Json,
    /// A JSON object whose members are changes, and null removes.
    MergePatch,
    /// None; one that comes all the same is refused.
    None,
}

/// One route.
pub(crate) struct Route {
    /// Its place in the table.
    pub(crate) number: usize,
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) access: AccessRule,
    pub(crate) payload: BodyKind,
    /// What its requests are for, and so which of them are let in first.
    pub(crate) class: RequestClass,
    pub(crate) tags: Vec<&'static str>,
    pub(crate) operation: Operation,
    /// Gathers the schemas that the operation names.
    pub(crate) schemas: fn(&mut Vec<(String, RefOr<Schema>)>),
    pub(crate) handler: fn(ApiCall) -> HandlerFuture,
}

impl Route {
    /// Whether its path names a session, for which a session token must be its own. Renew has a rule for that itself.
    pub(crate) fn is_about_a_session(&self) -> bool {
        self.path.contains("{sessionId}") && self.access.session != SessionAccess::Unjudged
    }
}
