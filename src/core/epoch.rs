//! Epochs: the part of a history that may be lost when a backup is restored, and how names given out there are kept
//! apart from names given out here.
//!
//! A history begins with epoch 1. When it is restored without proof that nothing is missing, another history may go on
//! from the same position elsewhere, and may have given out positions, ids and tokens that this one would give out
//! again. So a new epoch begins: positions up to the *fork* belong to both, and those behind it carry the number of
//! their epoch wherever they are given out.

use minicbor::{
    Decode, Decoder, Encode, Encoder, decode,
    encode::{self, Write},
};
use serde::Serialize;

pub use tenure_protocol::epoch::{EpochPosition, FIRST, InvalidEpochPosition, parted, prefix_of};

use super::{commit::EventMeta, id::Position, time::Timestamp};

/// A new epoch began: the history was restored, and what came after `from` elsewhere is no part of it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(array)]
#[serde(rename_all = "camelCase")]
pub struct EpochBegan {
    /// Its number.
    #[n(0)]
    pub epoch: u32,
    /// The fork: the last position that it shares with the epoch before.
    #[n(1)]
    pub from: Position,
    /// Why.
    #[n(2)]
    pub reason: String,
    /// The name under which the log signed its heads before.
    #[n(3)]
    pub previous_name: String,
    /// The head at the fork, signed by the key of that name.
    #[n(4)]
    pub previous_head: Option<String>,
    /// Whether every API key is held until an admin confirms it.
    #[n(5)]
    pub credentials_held: bool,
}

/// An epoch that has begun.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Epoch {
    /// Its number.
    #[n(0)]
    pub number: u32,
    /// The last position that it shares with the epoch before.
    #[n(1)]
    pub from: Position,
    /// When it began.
    #[n(2)]
    pub at: Timestamp,
    /// The name of the log before.
    #[n(3)]
    pub previous_name: String,
}

/// The epochs that began after the first one, in order. Of most histories there are none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Epochs(Vec<Epoch>);

impl Epochs {
    /// Those that began, oldest first.
    pub fn begun(&self) -> &[Epoch] {
        &self.0
    }

    /// The number of the present one.
    pub fn current(&self) -> u32 {
        self.0.last().map_or(FIRST, |epoch| epoch.number)
    }

    /// The number of the epoch to which a position of this history belongs.
    pub fn of(&self, position: Position) -> u32 {
        self.0.iter().rev().find(|epoch| position > epoch.from).map_or(FIRST, |epoch| epoch.number)
    }

    /// Whether a position that was given out in an epoch is part of this history.
    pub fn have(&self, epoch: u32, position: Position) -> bool {
        let is_known = epoch == FIRST || self.0.iter().any(|known| known.number == epoch);
        is_known && self.0.iter().all(|later| later.number <= epoch || position <= later.from)
    }

    /// A position of this history with its epoch, as it is given out.
    pub fn named(&self, position: Position) -> EpochPosition {
        EpochPosition { epoch: self.of(position), position }
    }

    /// Lets the epoch of the event begin.
    pub(super) fn begin(&mut self, event: &EpochBegan, recorded: EventMeta) -> Result<(), &'static str> {
        if event.epoch <= self.current() {
            return Err("an epoch of its number, or a later one, began before");
        }
        if event.from.next() != recorded.position {
            return Err("it does not begin where the history ended");
        }
        self.0.push(Epoch {
            number: event.epoch,
            from: event.from,
            at: recorded.at,
            previous_name: event.previous_name.clone(),
        });
        Ok(())
    }
}

/// Nothing is written of a history with one epoch, so that its state has the bytes that it always had.
impl<C> Encode<C> for Epochs {
    fn encode<W: Write>(&self, e: &mut Encoder<W>, ctx: &mut C) -> Result<(), encode::Error<W::Error>> {
        self.0.encode(e, ctx)
    }

    fn is_nil(&self) -> bool {
        self.0.is_empty()
    }
}

impl<'b, C> Decode<'b, C> for Epochs {
    fn decode(d: &mut Decoder<'b>, ctx: &mut C) -> Result<Self, decode::Error> {
        Vec::decode(d, ctx).map(Self)
    }

    fn nil() -> Option<Self> {
        Some(Self::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn began(epoch: u32, from: u64) -> (EpochBegan, EventMeta) {
        let event = EpochBegan {
            epoch,
            from: Position(from),
            reason: "restore".into(),
            previous_name: "tenure/1".into(),
            previous_head: None,
            credentials_held: true,
        };
        (event, EventMeta { position: Position(from + 1), at: Timestamp::from_millis(7) })
    }

    fn epochs(begun: &[(u32, u64)]) -> Epochs {
        let mut epochs = Epochs::default();
        for (epoch, from) in begun {
            let (event, recorded) = began(*epoch, *from);
            epochs.begin(&event, recorded).unwrap();
        }
        epochs
    }

    #[test]
    fn a_position_without_an_epoch_is_good_up_to_the_first_fork() {
        let two = epochs(&[(2, 100), (3, 120)]);
        for (epoch, position, is_here) in [
            (1, 100, true),
            (1, 101, false),
            (2, 120, true),
            (2, 121, false),
            (2, 7, true),
            (3, 121, true),
            (4, 7, false),
        ] {
            assert_eq!(two.have(epoch, Position(position)), is_here, "{epoch}:{position}");
        }
        assert!(Epochs::default().have(1, Position(u64::MAX)) && !Epochs::default().have(2, Position(1)));
    }

    #[test]
    fn each_position_is_given_out_in_the_epoch_that_it_belongs_to() {
        let two = epochs(&[(2, 100), (3, 120)]);
        let named = |position| two.named(Position(position)).to_string();
        assert_eq!([100, 101, 120, 121].map(named), ["100", "2:101", "2:120", "3:121"]);
        assert_eq!(two.current(), 3);
    }

    #[test]
    fn an_epoch_begins_once_and_where_the_history_ended() {
        let mut known = epochs(&[(2, 100)]);
        let (event, recorded) = began(2, 120);
        assert!(known.begin(&event, recorded).is_err());
        let (event, _) = began(3, 120);
        assert!(known.begin(&event, recorded).is_ok());
        let (event, recorded) = began(4, 130);
        let elsewhere = EventMeta { position: Position(133), ..recorded };
        assert!(known.begin(&event, elsewhere).is_err());
    }

    #[test]
    fn of_one_epoch_nothing_is_written() {
        assert!(Encode::<()>::is_nil(&Epochs::default()));
        let two = epochs(&[(2, 100)]);
        assert_eq!(minicbor::decode::<Epochs>(&minicbor::to_vec(&two).unwrap()).unwrap(), two);
    }
}
