//! Words of the API as arguments: a typed word is one of those that there are, and the value that it names.

use clap::builder::{PossibleValuesParser, TypedValueParser};

/// One of these values, by its name.
pub(crate) fn one_of<T, const N: usize>(all: [(&'static str, T); N]) -> impl TypedValueParser<Value = T>
where
    T: Copy + Send + Sync + 'static,
{
    let names = PossibleValuesParser::new(all.map(|(name, _)| name));
    names.map(move |typed| all.iter().find(|(name, _)| *name == typed).expect("no other word is taken").1)
}
