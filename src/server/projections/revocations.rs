//! Where the latest revocations stand: those of all subjects at once with what they say, of the others the positions.
//! The files of the log cover those before.

use std::collections::VecDeque;

use tenure_core::{
    Event, Position, SealedText, SystemEvent, Timestamp, bulk::BulkRevocation, commit::EventMeta,
    event::SelectionRevoked,
};

/// How many of the latest stay in memory that could be asked of the log: those who follow the feed ask for these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetainedCounts {
    /// Positions of revocations.
    pub revocations: usize,
    /// Bulk revocations with what they say.
    pub bulks: usize,
}

impl Default for RetainedCounts {
    fn default() -> Self {
        Self { revocations: 32_768, bulks: 256 }
    }
}

/// The latest revocations, in their order.
#[derive(Debug, Default)]
pub struct RevocationList {
    kept: RetainedCounts,
    positions: VecDeque<Position>,
    /// Positions up to here were let go.
    after: Position,
    bulks: VecDeque<BulkWithReason>,
    /// Bulk revocations up to here were let go.
    bulks_after: Position,
}

/// A bulk revocation, and the reason that was given for it, sealed in the authority's own stream.
#[derive(Clone, Debug)]
pub(super) struct BulkWithReason {
    pub(super) bulk: BulkRevocation,
    pub(super) reason: Option<SealedText>,
}

impl BulkWithReason {
    pub(super) fn of(position: Position, at: Timestamp, event: &SelectionRevoked) -> Self {
        Self { bulk: BulkRevocation::of(event, EventMeta { position, at }), reason: event.reason.clone() }
    }
}

impl RevocationList {
    /// Keeps this many.
    pub(super) fn keeping(kept: RetainedCounts) -> Self {
        Self { kept, ..Self::default() }
    }

    /// Of what is behind this position, and the last ones up to it.
    pub(super) fn behind(
        position: Position,
        kept: RetainedCounts,
        last: Vec<Position>,
        bulks: Vec<BulkWithReason>,
    ) -> Self {
        let before = |first: Option<Position>| first.map_or(position, |first| Position(first.0 - 1));
        let after = before(last.first().copied());
        let bulks_after = before(bulks.first().map(|said| said.bulk.position));
        Self { kept, positions: last.into(), after, bulks: bulks.into(), bulks_after }
    }

    /// Whether an event ends sessions, or suspends a subject: access tokens from before it are no good.
    pub const fn is_one(event: &Event) -> bool {
        event.is_revocation()
    }

    /// Whether an event ends sessions of any subjects at once.
    pub const fn is_bulk(event: &SystemEvent) -> bool {
        matches!(event, SystemEvent::SelectionRevoked(_))
    }

    /// Adds an event that ends sessions; they come in order.
    pub fn add(&mut self, position: Position, at: Timestamp, event: &Event) {
        self.positions.push_back(position);
        if let Event::System(SystemEvent::SelectionRevoked(event)) = event {
            self.bulks.push_back(BulkWithReason::of(position, at, event));
        }
    }

    /// Forgets what stands up to this position, but for the last ones: the log has it.
    pub(super) fn let_go(&mut self, until: Position) {
        while self.positions.len() > self.kept.revocations
            && let Some(first) = self.positions.pop_front_if(|first| *first <= until)
        {
            self.after = first;
        }
        while self.bulks.len() > self.kept.bulks
            && let Some(first) = self.bulks.pop_front_if(|first| first.bulk.position <= until)
        {
            self.bulks_after = first.bulk.position;
        }
        self.positions.shrink_to(2 * self.positions.len());
    }

    /// How many positions and bulk revocations are known.
    pub(super) fn held(&self) -> usize {
        self.positions.len() + self.bulks.len()
    }

    /// Positions up to here were let go.
    pub(super) const fn after(&self) -> Position {
        self.after
    }

    /// Bulk revocations up to here were let go.
    pub(super) const fn bulks_after(&self) -> Position {
        self.bulks_after
    }

    /// The known positions after this one at which sessions were ended, up to `most` of them.
    pub(super) fn known_after(&self, position: Position, most: usize) -> Vec<Position> {
        let first = self.positions.partition_point(|known| *known <= position);
        self.positions.range(first..).take(most).copied().collect()
    }

    /// The known bulk revocations after a position, up to another.
    pub(super) fn known_bulks_between(&self, after: Position, position: Position) -> Vec<BulkRevocation> {
        let first = self.bulks.partition_point(|said| said.bulk.position <= after);
        let known = self.bulks.range(first..).take_while(|said| said.bulk.position <= position);
        known.map(|said| said.bulk.clone()).collect()
    }

    /// The positions of the known bulk revocations after this one, up to `most` of them.
    pub(super) fn known_bulks_after(&self, position: Position, most: usize) -> Vec<Position> {
        let first = self.bulks.partition_point(|said| said.bulk.position <= position);
        self.bulks.range(first..).take(most).map(|said| said.bulk.position).collect()
    }

    /// The reason that was given for the known bulk revocation at this position.
    pub(super) fn known_reason_at(&self, position: Position) -> Option<&SealedText> {
        let place = self.bulks.binary_search_by_key(&position, |said| said.bulk.position).ok()?;
        self.bulks[place].reason.as_ref()
    }
}
