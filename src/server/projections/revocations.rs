//! Where the revocations stand: those of all subjects at once with what they say, of the others the positions.

use tenure_core::{
    Event, Position, SealedText, SubjectEvent, SystemEvent, Timestamp, bulk::Bulk, record::EventMeta,
};

/// The revocations so far, in their order.
#[derive(Debug, Default)]
pub struct Revocations {
    positions: Vec<Position>,
    bulks: Vec<Bulk>,
    reasons: Vec<Option<SealedText>>,
}

impl Revocations {
    /// Whether an event ends sessions, or suspends a subject: access tokens from before it are no good.
    pub const fn is_one(event: &Event) -> bool {
        matches!(
            event,
            Event::Subject(
                SubjectEvent::SessionRevoked(_)
                    | SubjectEvent::SessionsRevoked(_)
                    | SubjectEvent::SubjectSuspended(_)
            ) | Event::System(SystemEvent::SelectionRevoked(_))
        )
    }

    /// Whether an event ends sessions of any subjects at once.
    pub const fn is_bulk(event: &SystemEvent) -> bool {
        matches!(event, SystemEvent::SelectionRevoked(_))
    }

    /// Adds an event that ends sessions; they come in order.
    pub fn add(&mut self, position: Position, at: Timestamp, event: &Event) {
        self.positions.push(position);
        if let Event::System(SystemEvent::SelectionRevoked(event)) = event {
            self.bulks.push(Bulk::of(event, EventMeta { position, at }));
            self.reasons.push(event.reason.clone());
        }
    }

    /// The positions after this one at which sessions were ended, up to `most` of them.
    pub fn after(&self, position: Position, most: usize) -> &[Position] {
        let after = &self.positions[self.positions.partition_point(|known| *known <= position)..];
        &after[..after.len().min(most)]
    }

    /// The bulk revocations up to this position.
    pub fn bulks_up_to(&self, position: Position) -> &[Bulk] {
        &self.bulks[..self.bulks.partition_point(|bulk| bulk.position <= position)]
    }

    /// The positions of the bulk revocations after this one, up to `most` of them.
    pub fn bulks_after(&self, position: Position, most: usize) -> Vec<Position> {
        let after = &self.bulks[self.bulks_up_to(position).len()..];
        after.iter().take(most).map(|bulk| bulk.position).collect()
    }

    /// The reason that was given for the bulk revocation at this position; sealed in the authority's own stream.
    pub fn reason_at(&self, position: Position) -> Option<&SealedText> {
        let place = self.bulks.binary_search_by_key(&position, |bulk| bulk.position).ok()?;
        self.reasons[place].as_ref()
    }
}
