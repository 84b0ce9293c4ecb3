//! Values that many things have in common, kept once.
//!
//! Nearly all sessions are granted on the same terms, and many subjects are registered in the same words. A value
//! equal to one that this thread has recently made shares its place in memory. The only visible difference is the
//! memory used.

use std::{cell::RefCell, ops::Deref, thread::LocalKey};

use minicbor::{Decode, Decoder, Encode, Encoder, decode, encode};
use triomphe::Arc;

/// How many values of a type are remembered: enough for the few sets of limits that an authority hands out, and quick
/// to compare.
const REMEMBERED: usize = 8;

/// A value that cannot be changed, and that equal ones may share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interned<T>(Arc<T>);

/// The values that were made last, latest first.
pub type RecentValues<T> = RefCell<Vec<Arc<T>>>;

/// What is worth comparing with what was made before.
pub trait Shareable: PartialEq + Sized + 'static {
    /// The values that this thread made last.
    fn recent() -> &'static LocalKey<RecentValues<Self>>;

    /// Whether the two are indistinguishable, so that either may stand for both.
    fn is_same(&self, other: &Self) -> bool {
        self == other
    }
}

impl<T: Shareable> From<T> for Interned<T> {
    fn from(value: T) -> Self {
        T::recent().with_borrow_mut(|recent| {
            if let Some(place) = recent.iter().position(|known| known.is_same(&value)) {
                recent[..=place].rotate_right(1);
            } else {
                recent.truncate(REMEMBERED - 1);
                recent.insert(0, Arc::new(value));
            }
            Self(Arc::clone(&recent[0]))
        })
    }
}

impl<T> Deref for Interned<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: PartialEq> PartialEq<T> for Interned<T> {
    fn eq(&self, other: &T) -> bool {
        *self.0 == *other
    }
}

impl<C, T: Encode<C>> Encode<C> for Interned<T> {
    fn encode<W: encode::Write>(
        &self,
        e: &mut Encoder<W>,
        ctx: &mut C,
    ) -> Result<(), encode::Error<W::Error>> {
        self.0.as_ref().encode(e, ctx)
    }
}

impl<'b, C, T: Decode<'b, C> + Shareable> Decode<'b, C> for Interned<T> {
    fn decode(d: &mut Decoder<'b>, ctx: &mut C) -> Result<Self, decode::Error> {
        T::decode(d, ctx).map(Self::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    thread_local! {
        static NUMBERS: RecentValues<u32> = const { RefCell::new(Vec::new()) };
    }

    impl Shareable for u32 {
        fn recent() -> &'static LocalKey<RecentValues<Self>> {
            &NUMBERS
        }
    }

    fn is_same(one: &Interned<u32>, other: &Interned<u32>) -> bool {
        Arc::ptr_eq(&one.0, &other.0)
    }

    #[test]
    fn equal_values_share_their_place_and_others_do_not() {
        let first = Interned::from(7);
        assert!(is_same(&first, &Interned::from(7)));
        assert!(!is_same(&first, &Interned::from(8)));
        assert_eq!(first, 7);
    }

    #[test]
    fn what_is_asked_for_again_is_not_forgotten_and_the_list_stays_short() {
        let first = Interned::from(7);
        for number in 100..200 {
            drop(Interned::from(number));
            assert!(is_same(&first, &Interned::from(7)));
        }
        assert_eq!(NUMBERS.with_borrow(Vec::len), REMEMBERED);
    }
}
