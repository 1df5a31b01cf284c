//! Words of the format as option values: read in any case, with `-` for `_`, listed in the help.

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};

use crate::protocol::task::Reason;
use crate::store::wire::Word;

/// A parser of one of the words of a type. Its argument also says `ignore_case`.
pub fn word<T: Word + Send + Sync>() -> impl TypedValueParser<Value = T> {
    one_of(T::WORDS.to_vec())
}

/// A parser of a reason to fail or to give back: all but success.
pub fn reason() -> impl TypedValueParser<Value = Reason> {
    one_of(Reason::WORDS.iter().copied().filter(|(_, reason)| *reason != Reason::Success).collect())
}

fn one_of<T>(words: Vec<(&'static str, T)>) -> impl TypedValueParser<Value = T>
where
    T: Copy + Send + Sync + 'static,
{
    let names = words.iter().map(|(word, _)| {
        let plain = PossibleValue::new(*word);
        if word.contains('_') { plain.alias(word.replace('_', "-")) } else { plain }
    });
    PossibleValuesParser::new(names).try_map(move |given| {
        let wanted = given.replace('-', "_");
        let found = words.iter().find(|(word, _)| word.eq_ignore_ascii_case(&wanted));
        found
            .map(|(_, value)| *value)
            .ok_or_else(|| format!("`{given}` is none of the words that are listed"))
    })
}
