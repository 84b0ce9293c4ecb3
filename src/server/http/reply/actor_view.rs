//! How an actor looks in the OpenAPI document.

use tenure_core::commit::ActorKind;
use utoipa::ToSchema;

/// Who caused it.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it documents what an actor is written as")]
pub(crate) struct ActorView {
    kind: ActorKind,
    /// The id of its credential or session; null for the authority itself.
    id: Option<String>,
}
