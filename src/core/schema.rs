//! How these types look in an OpenAPI document.

use crate::{
    KeyUse, NoticeKind,
    commit::ActorKind,
    event::{Role, SubjectKind},
    keys::RetireMode,
    webhook::WebhookFormat,
};
use tenure_protocol::{schema::words, schemas};

schemas! {
    NoticeKind => words(&NoticeKind::ALL.map(NoticeKind::name));
    WebhookFormat => words(&WebhookFormat::ALL.map(|(name, _)| name));
    KeyUse => words(&KeyUse::ALL.map(|(name, _)| name));
    RetireMode as "Retire" => words(&RetireMode::ALL.map(|(name, _)| name));
    SubjectKind => words(&["agent", "user", "service"]);
    Role => words(&Role::ALL.map(|(name, _)| name));
    ActorKind => words(&ActorKind::ALL.map(|(name, _)| name));
}
