//! How these types look in an OpenAPI document.

use crate::{KeyUse, keys::RetireMode};
use tenure_protocol::{schema::words, schemas};

schemas! {
    KeyUse => words(&KeyUse::ALL.map(|(name, _)| name));
    RetireMode as "Retire" => words(&RetireMode::ALL.map(|(name, _)| name));
}
