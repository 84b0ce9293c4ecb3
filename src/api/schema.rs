//! How our own types look in the OpenAPI document.

use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        KnownFormat, ObjectBuilder, RefOr, Schema, SchemaFormat,
        schema::{SchemaType, Type},
    },
};

use super::{access::ROLES, webhooks::SeenOutcome};
use crate::bus::webhooks::{DeliveryStatus, Outcome};
use crate::domain::{
    Amount, CredentialId, EventId, KeyId, KeyUse, Mode, NoticeKind, OwnerId, Position, Seconds, SessionId,
    SubjectId, Timestamp, WebhookId,
    event::{Role, SubjectKind, Trigger},
    id::LONGEST_CHOSEN,
    keys::Retire,
    policy::OnLimit,
    record::ActorKind,
    session::Status,
    webhook::WebhookFormat,
};

fn text(format: SchemaFormat) -> RefOr<Schema> {
    ObjectBuilder::new().schema_type(SchemaType::Type(Type::String)).format(Some(format)).into()
}

fn uuid() -> RefOr<Schema> {
    text(SchemaFormat::Custom("uuid".into()))
}

/// Any of these characters, and neither `.` nor `..`.
const CHOSEN: &str =
    "^([A-Za-z0-9_:@-]|\\.[A-Za-z0-9_:@-]|[A-Za-z0-9_:@-][A-Za-z0-9._:@-]|[A-Za-z0-9._:@-]{3,})$";

fn chosen() -> RefOr<Schema> {
    ObjectBuilder::new()
        .schema_type(SchemaType::Type(Type::String))
        .min_length(Some(1))
        .max_length(Some(LONGEST_CHOSEN))
        .pattern(Some(CHOSEN))
        .into()
}

/// The pattern says more than a length could: the digits are counted without the point and a lone zero.
fn amount() -> RefOr<Schema> {
    ObjectBuilder::new()
        .schema_type(SchemaType::Type(Type::String))
        .max_length(Some(40))
        .pattern(Some(r"^(0|[1-9][0-9]*)(\.[0-9]+)?$"))
        .description(Some("A decimal number of up to 38 digits, exact."))
        .into()
}

/// A PASERK id.
fn key_id() -> RefOr<Schema> {
    ObjectBuilder::new()
        .schema_type(SchemaType::Type(Type::String))
        .pattern(Some("^k4\\.(lid|pid)\\.[A-Za-z0-9_-]{44}$"))
        .into()
}

fn number() -> RefOr<Schema> {
    ObjectBuilder::new().schema_type(SchemaType::Type(Type::Integer)).minimum(Some(0)).into()
}

fn words(words: &[&str]) -> RefOr<Schema> {
    ObjectBuilder::new()
        .schema_type(SchemaType::Type(Type::String))
        .enum_values(Some(words.iter().map(ToString::to_string)))
        .into()
}

fn seen_outcome() -> RefOr<Schema> {
    let names = Outcome::ALL.iter().map(|(name, _)| *name);
    words(&names.chain([SeenOutcome::FAILED]).collect::<Vec<_>>())
}

macro_rules! schemas {
    ($($name:ty => $schema:expr;)*) => {
        $(
            impl PartialSchema for $name {
                fn schema() -> RefOr<Schema> {
                    $schema
                }
            }
            impl ToSchema for $name {}
        )*
    };
}

schemas! {
    Timestamp => text(SchemaFormat::KnownFormat(KnownFormat::DateTime));
    SessionId => uuid();
    CredentialId => uuid();
    EventId => uuid();
    WebhookId => uuid();
    NoticeKind => words(&NoticeKind::ALL.map(NoticeKind::name));
    WebhookFormat => words(&WebhookFormat::ALL.map(|(name, _)| name));
    SeenOutcome => seen_outcome();
    DeliveryStatus => words(&["pending", "delivered", "parked"]);
    KeyId => key_id();
    KeyUse => words(&KeyUse::ALL.map(|(name, _)| name));
    Retire => words(&Retire::ALL.map(|(name, _)| name));
    SubjectId => chosen();
    OwnerId => chosen();
    Amount => amount();
    Position => number();
    Seconds => number();
    Status => words(&["ACTIVE", "EXPIRED", "REVOKED"]);
    OnLimit => words(&["reject", "evict_oldest"]);
    SubjectKind => words(&["agent", "user", "service"]);
    Role => words(&ROLES.map(|(name, _)| name));
    Trigger => words(&Trigger::ALL.map(|(name, _)| name));
    Mode => words(&Mode::ALL.map(Mode::name));
    ActorKind => words(&ActorKind::ALL.map(|(name, _)| name));
}
