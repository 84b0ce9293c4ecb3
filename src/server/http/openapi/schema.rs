//! How the API's own types look in the OpenAPI document.

use tenure_protocol::{
    schema::{RefOr, Schema, words},
    schemas,
};

use crate::http::webhooks::SeenOutcome;
use crate::notify::webhooks::{DeliveryStatus, Outcome};

fn seen_outcome() -> RefOr<Schema> {
    let names = Outcome::ALL.iter().map(|(name, _)| *name);
    words(&names.chain([SeenOutcome::FAILED]).collect::<Vec<_>>())
}

schemas! {
    SeenOutcome => seen_outcome();
    DeliveryStatus => words(&["pending", "delivered", "parked"]);
}
