//! How these types look in an OpenAPI document.

use tenure_protocol::{
    schema::{RefOr, Schema, words},
    schemas,
};
use utoipa::openapi::{
    ObjectBuilder,
    schema::{SchemaType, Type},
};

use crate::{
    KeyId, KeyUse, Mode, NoticeKind,
    event::{Role, SubjectKind, Trigger},
    keys::Retire,
    record::ActorKind,
    session::Status,
    webhook::WebhookFormat,
};

/// A PASERK id.
fn key_id() -> RefOr<Schema> {
    ObjectBuilder::new()
        .schema_type(SchemaType::Type(Type::String))
        .pattern(Some("^k4\\.(lid|pid)\\.[A-Za-z0-9_-]{44}$"))
        .into()
}

schemas! {
    NoticeKind => words(&NoticeKind::ALL.map(NoticeKind::name));
    WebhookFormat => words(&WebhookFormat::ALL.map(|(name, _)| name));
    KeyId => key_id();
    KeyUse => words(&KeyUse::ALL.map(|(name, _)| name));
    Retire => words(&Retire::ALL.map(|(name, _)| name));
    Status => words(&["ACTIVE", "EXPIRED", "REVOKED"]);
    SubjectKind => words(&["agent", "user", "service"]);
    Role => words(&Role::ALL.map(|(name, _)| name));
    Trigger => words(&Trigger::ALL.map(|(name, _)| name));
    Mode => words(&Mode::ALL.map(Mode::name));
    ActorKind => words(&ActorKind::ALL.map(|(name, _)| name));
}
