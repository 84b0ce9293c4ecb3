//! Who caused something.

use serde::{Deserialize, Serialize};

use super::OpenWord;
#[cfg(feature = "utoipa")]
use crate::actor::ActorKind;

/// Who caused it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "utoipa", derive(utoipa::ToSchema))]
pub struct ActorView {
    /// What kind of caller.
    #[cfg_attr(feature = "utoipa", schema(value_type = ActorKind))]
    pub kind: OpenWord,
    /// The id of its credential or session; null for the authority itself.
    pub id: Option<String>,
}
