//! The keys that prove tokens: which there are, since when each seals, and until when it opens. What a key is made
//! of is not a fact; facts refer to it by its id.

use minicbor::{Decode, Encode};
use serde::Serialize;

pub use tenure_protocol::{
    KeyId,
    key_use::{KeyUse, RetireMode},
};

use super::{
    commit::EventMeta,
    id::Position,
    time::{Seconds, Timestamp},
};

/// A second rotation with an overlap comes no sooner than this after the first: verifiers learn of keys from time to
/// time, and holders should not have to know many.
pub const ROTATION_PAUSE: Seconds = Seconds(300);

/// A key seals from now on. The first key of a use is recorded too: it replaces none, and has sealed since the
/// beginning.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(array)]
#[serde(rename_all = "camelCase")]
pub struct KeyRotated {
    /// What the key is for.
    #[n(0)]
    pub which: KeyUse,
    /// Its id.
    #[n(1)]
    pub key_id: KeyId,
    /// The key that it replaces; `None` for the first one.
    #[n(2)]
    pub previous_key_id: Option<KeyId>,
    /// What becomes of that key; `None` for the first one.
    #[n(3)]
    pub retire: Option<RetireMode>,
    /// When the tokens of that key stop working; `None` for the first one.
    #[n(4)]
    pub retire_at: Option<Timestamp>,
}

/// What is known of a key; the key itself is not.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct KeyRecord {
    /// Its id.
    #[n(0)]
    pub id: KeyId,
    /// It seals what is granted after this position, until the next key of its use does.
    #[n(1)]
    pub since: Position,
    /// When it was admitted.
    #[n(2)]
    pub created_at: Timestamp,
    /// What became of the key before it; `None` for the first one.
    #[n(3)]
    pub retired_previous: Option<RetireMode>,
    /// When its tokens stop working; `None` as long as it seals.
    #[n(4)]
    pub retire_at: Option<Timestamp>,
}

impl KeyRecord {
    /// Whether its tokens have stopped working.
    pub fn is_over(&self, now: Timestamp) -> bool {
        self.retire_at.is_some_and(|over| now >= over)
    }
}

/// When a session key sealed: what was granted after one position, up to another.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct SealingSpan {
    /// Its id.
    #[n(0)]
    pub key_id: KeyId,
    /// What was granted at this position was not sealed by it yet.
    #[n(1)]
    pub after: Position,
    /// What was granted at this position was still sealed by it; `None` as long as it seals.
    #[n(2)]
    pub until: Option<Position>,
}

impl SealingSpan {
    /// Whether it may have sealed a token between what was granted first and what was granted last.
    pub fn meets(&self, first: Position, last: Position) -> bool {
        last > self.after && self.until.is_none_or(|until| first <= until)
    }
}

/// All keys that there ever were, of each use in the order in which they came.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct KeyHistory {
    /// Those of session tokens.
    #[n(0)]
    session: Vec<KeyRecord>,
    /// Those of access tokens.
    #[n(1)]
    access: Vec<KeyRecord>,
}

impl KeyHistory {
    /// Those of this use, in the order in which they came: the last one seals.
    pub fn of(&self, which: KeyUse) -> &[KeyRecord] {
        match which {
            KeyUse::Session => &self.session,
            KeyUse::Access => &self.access,
        }
    }

    /// The key that seals; `None` before the first start.
    pub fn active(&self, which: KeyUse) -> Option<&KeyRecord> {
        self.of(which).last()
    }

    /// The key that sealed the tokens of what was granted at this position: see
    /// [`Session::granted`](super::session::Session::granted).
    pub fn sealer_of(&self, granted: Position) -> Option<&KeyRecord> {
        self.session.iter().rev().find(|key| key.since < granted)
    }

    /// When the key retired that sealed the tokens of what was granted at this position; `None` as long as they can be
    /// opened.
    pub fn retired_sealer_of(&self, granted: Position, now: Timestamp) -> Option<Timestamp> {
        self.sealer_of(granted).filter(|key| key.is_over(now))?.retire_at
    }

    /// When a session key sealed; never, if there is no such key.
    pub fn sealing_of(&self, id: &KeyId) -> SealingSpan {
        let key_id = id.clone();
        match self.session.iter().position(|key| key.id == *id) {
            Some(index) => {
                let until = self.session.get(index + 1).map(|next| next.since);
                SealingSpan { key_id, after: self.session[index].since, until }
            }
            None => SealingSpan { key_id, after: Position::ZERO, until: Some(Position::ZERO) },
        }
    }

    /// The key of the last rotation with an overlap.
    pub fn last_overlap(&self, which: KeyUse) -> Option<&KeyRecord> {
        let overlaps = |key: &&KeyRecord| key.retired_previous == Some(RetireMode::Overlap);
        self.of(which).iter().rev().find(overlaps)
    }

    /// Lets the key of the event seal from now on.
    pub(super) fn rotate(&mut self, event: &KeyRotated, recorded: EventMeta) -> Result<(), &'static str> {
        self.check(event, recorded.at)?;
        let keys = match event.which {
            KeyUse::Session => &mut self.session,
            KeyUse::Access => &mut self.access,
        };
        // Without an overlap the keys that were retiring already are over too.
        let is_ending = |key: &KeyRecord| match event.retire {
            Some(RetireMode::Now) => !key.is_over(recorded.at),
            Some(RetireMode::Overlap) | None => key.retire_at.is_none(),
        };
        for key in keys.iter_mut().filter(|key| is_ending(key)) {
            key.retire_at = event.retire_at;
        }
        let since = if keys.is_empty() { Position::ZERO } else { recorded.position };
        keys.push(KeyRecord {
            id: event.key_id.clone(),
            since,
            created_at: recorded.at,
            retired_previous: event.retire,
            retire_at: None,
        });
        Ok(())
    }

    fn check(&self, event: &KeyRotated, at: Timestamp) -> Result<(), &'static str> {
        if self.of(event.which).iter().any(|known| known.id == event.key_id) {
            return Err("the key was admitted before");
        }
        let active = self.active(event.which).map(|key| &key.id);
        if active != event.previous_key_id.as_ref() {
            return Err("it replaces another key than the one that seals");
        }
        match (active, event.retire, event.retire_at) {
            (None, None, None) => Ok(()),
            (Some(_), Some(RetireMode::Now), Some(over)) if over == at => Ok(()),
            (Some(_), Some(RetireMode::Overlap), Some(over)) if over >= at => Ok(()),
            (None | Some(_), _, _) => Err("what becomes of the key before it does not fit"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(kind: &str, letter: char) -> KeyId {
        format!("k4.{kind}.{}", letter.to_string().repeat(44)).parse().unwrap()
    }

    fn rotated(letter: char, previous: Option<char>, retire: Option<(RetireMode, i64)>) -> KeyRotated {
        KeyRotated {
            which: KeyUse::Session,
            key_id: id("lid", letter),
            previous_key_id: previous.map(|letter| id("lid", letter)),
            retire: retire.map(|(retire, _)| retire),
            retire_at: retire.map(|(_, at)| Timestamp::from_millis(at)),
        }
    }

    fn recorded(position: u64, at: i64) -> EventMeta {
        EventMeta { position: Position(position), at: Timestamp::from_millis(at) }
    }

    fn ends(keys: &KeyHistory) -> Vec<Option<i64>> {
        keys.of(KeyUse::Session).iter().map(|key| key.retire_at.map(Timestamp::as_millis)).collect()
    }

    #[test]
    fn an_id_has_one_form() {
        assert_eq!(id("lid", 'A').to_string().len(), 51);
        for wrong in ["", "k4.lid.", "k4.lid.AAAA", &format!("k4.sid.{}", "A".repeat(44)), &"A".repeat(51)] {
            assert!(wrong.parse::<KeyId>().is_err(), "{wrong}");
        }
        assert!(format!("k4.pid.{}", "!".repeat(44)).parse::<KeyId>().is_err());
    }

    #[test]
    fn each_key_seals_until_the_next_one_does() {
        let mut keys = KeyHistory::default();
        keys.rotate(&rotated('a', None, None), recorded(2, 10)).unwrap();
        keys.rotate(&rotated('b', Some('a'), Some((RetireMode::Overlap, 90))), recorded(7, 30)).unwrap();
        keys.rotate(&rotated('c', Some('b'), Some((RetireMode::Overlap, 95))), recorded(9, 40)).unwrap();
        assert_eq!(ends(&keys), [Some(90), Some(95), None]);
        let sealer = |position| keys.sealer_of(Position(position)).unwrap().id.clone();
        assert_eq!([1, 6, 8, 10].map(sealer), ['a', 'a', 'b', 'c'].map(|letter| id("lid", letter)));
        for (letter, after, until) in
            [('a', 0, Some(7)), ('b', 7, Some(9)), ('c', 9, None), ('x', 0, Some(0))]
        {
            let (after, until) = (Position(after), until.map(Position));
            let key_id = id("lid", letter);
            assert_eq!(keys.sealing_of(&key_id), SealingSpan { key_id, after, until });
        }
        let last = keys.last_overlap(KeyUse::Session).unwrap();
        assert_eq!((last.created_at, last.since), (Timestamp::from_millis(40), Position(9)));
        assert!(keys.of(KeyUse::Session)[0].is_over(Timestamp::from_millis(90)));
        assert!(!keys.of(KeyUse::Session)[0].is_over(Timestamp::from_millis(89)));
    }

    #[test]
    fn a_key_meets_what_it_may_have_sealed() {
        let sealing = |after, until: Option<u64>| SealingSpan {
            key_id: id("lid", 'a'),
            after: Position(after),
            until: until.map(Position),
        };
        let between = sealing(7, Some(9));
        let met: Vec<_> = (1..12).filter(|at| between.meets(Position(*at), Position(*at))).collect();
        assert_eq!(met, [8, 9]);
        assert!(between.meets(Position(3), Position(8)) && between.meets(Position(9), Position(30)));
        assert!(between.meets(Position(3), Position(30)), "something in between is not ruled out");
        assert!(!between.meets(Position(3), Position(7)) && !between.meets(Position(10), Position(30)));
        assert!(
            sealing(7, None).meets(Position(8), Position(8))
                && !sealing(0, Some(0)).meets(Position(1), Position(9))
        );
    }

    #[test]
    fn without_an_overlap_every_key_before_is_over_and_those_that_were_keep_their_end() {
        let mut keys = KeyHistory::default();
        keys.rotate(&rotated('a', None, None), recorded(2, 10)).unwrap();
        keys.rotate(&rotated('b', Some('a'), Some((RetireMode::Overlap, 20))), recorded(3, 10)).unwrap();
        keys.rotate(&rotated('c', Some('b'), Some((RetireMode::Overlap, 90))), recorded(4, 30)).unwrap();
        keys.rotate(&rotated('d', Some('c'), Some((RetireMode::Now, 40))), recorded(5, 40)).unwrap();
        assert_eq!(ends(&keys), [Some(20), Some(40), Some(40), None]);
    }

    #[test]
    fn what_cannot_follow_changes_nothing() {
        let mut keys = KeyHistory::default();
        keys.rotate(&rotated('a', None, None), recorded(2, 10)).unwrap();
        let before = keys.clone();
        for wrong in [
            rotated('a', Some('a'), Some((RetireMode::Now, 20))),
            rotated('b', None, None),
            rotated('b', Some('c'), Some((RetireMode::Now, 20))),
            rotated('b', Some('a'), None),
            rotated('b', Some('a'), Some((RetireMode::Now, 21))),
            rotated('b', Some('a'), Some((RetireMode::Overlap, 19))),
        ] {
            assert!(keys.rotate(&wrong, recorded(3, 20)).is_err(), "{wrong:?}");
            assert_eq!(keys, before);
        }
    }
}
