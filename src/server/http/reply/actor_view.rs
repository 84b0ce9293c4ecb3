//! Who caused something, as the API shows it.

use tenure_core::Actor;
use tenure_protocol::wire::ActorView;

/// As the API shows it.
pub(crate) fn actor_view(actor: &Actor) -> ActorView {
    ActorView { kind: actor.kind.name().into(), id: actor.id.clone() }
}
