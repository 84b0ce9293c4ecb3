//! How these types look in an OpenAPI document.

use utoipa::openapi::{
    KnownFormat, ObjectBuilder, OneOfBuilder, SchemaFormat,
    schema::{SchemaType, Type},
};
pub use utoipa::{
    PartialSchema, ToSchema,
    openapi::{RefOr, Schema},
};

use crate::{
    Amount, CredentialId, EpochPosition, EventId, KeyId, OnLimit, OwnerId, Position, Seconds, SessionId,
    SubjectId, Timestamp, WebhookId,
    actor::ActorKind,
    credential::Role,
    id::LONGEST_CHOSEN,
    key_use::{KeyUse, RetireMode},
    session::{EndTrigger, SessionMode, SessionStatus},
    subject::SubjectKind,
    webhook::{NoticeKind, WebhookFormat},
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

/// A position: a number in the first epoch, and a text in later ones.
fn epoch_position() -> RefOr<Schema> {
    let whole = ObjectBuilder::new()
        .schema_type(SchemaType::Type(Type::Integer))
        .minimum(Some(0))
        .maximum(Some(9_007_199_254_740_991_i64));
    let text = ObjectBuilder::new()
        .schema_type(SchemaType::Type(Type::String))
        .pattern(Some("^[1-9][0-9]*:[0-9]+$"));
    OneOfBuilder::new().item(whole).item(text).into()
}

/// One of these words.
pub fn words(words: &[&str]) -> RefOr<Schema> {
    ObjectBuilder::new()
        .schema_type(SchemaType::Type(Type::String))
        .enum_values(Some(words.iter().map(ToString::to_string)))
        .into()
}

/// Gives each of these types its schema, under the name after `as` where the document has another one.
#[macro_export]
macro_rules! schemas {
    ($($name:ty $(as $shown:literal)? => $schema:expr;)*) => {
        $(
            impl $crate::schema::PartialSchema for $name {
                fn schema() -> $crate::schema::RefOr<$crate::schema::Schema> {
                    $schema
                }
            }
            impl $crate::schema::ToSchema for $name {
                $(fn name() -> std::borrow::Cow<'static, str> {
                    std::borrow::Cow::Borrowed($shown)
                })?
            }
        )*
    };
}

schemas! {
    Timestamp => text(SchemaFormat::KnownFormat(KnownFormat::DateTime));
    SessionId => uuid();
    CredentialId => uuid();
    EventId => uuid();
    WebhookId => uuid();
    SubjectId => chosen();
    OwnerId => chosen();
    Amount => amount();
    Position => number();
    EpochPosition => epoch_position();
    Seconds => number();
    KeyId => key_id();
    SessionMode as "Mode" => words(&SessionMode::ALL.map(SessionMode::name));
    SessionStatus as "Status" => words(&["ACTIVE", "EXPIRED", "REVOKED"]);
    EndTrigger as "Trigger" => words(&EndTrigger::ALL.map(|(name, _)| name));
    OnLimit => words(&OnLimit::NAMES.map(|(name, _)| name));
    ActorKind => words(&ActorKind::ALL.map(|(name, _)| name));
    KeyUse => words(&KeyUse::ALL.map(|(name, _)| name));
    RetireMode as "Retire" => words(&RetireMode::ALL.map(|(name, _)| name));
    Role => words(&Role::ALL.map(|(name, _)| name));
    SubjectKind => words(&SubjectKind::ALL.map(|(name, _)| name));
    NoticeKind => words(&NoticeKind::ALL.map(NoticeKind::name));
    WebhookFormat => words(&WebhookFormat::ALL.map(|(name, _)| name));
}
