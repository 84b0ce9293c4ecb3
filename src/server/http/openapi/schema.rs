//! How the API's own types look in the OpenAPI document.

use tenure_protocol::{
    schema::{RefOr, Schema, words},
    schemas,
};

use crate::http::webhooks::ShownOutcome;
use crate::notify::webhooks::{DeliveryOutcome, DeliveryStatus};

fn seen_outcome() -> RefOr<Schema> {
    let names = DeliveryOutcome::ALL.iter().map(|(name, _)| *name);
    words(&names.chain([ShownOutcome::FAILED]).collect::<Vec<_>>())
}

schemas! {
    ShownOutcome as "SeenOutcome" => seen_outcome();
    DeliveryStatus => words(&["pending", "delivered", "parked"]);
}
