//! Heads known from elsewhere: a file with notes, as `audit.head_file` keeps them or a witness sends them.

use super::{key::VerifierKey, signed_head::SignedHead};

/// All heads in this text that the key has signed, ascending by size. What else is in it is passed over: a note that
/// a crash cut short, heads of other logs.
pub fn heads_in(text: &str, key: &VerifierKey) -> Vec<SignedHead> {
    let begin = format!("{}\n", key.name());
    let begins = text.match_indices(&begin).map(|(at, _)| at);
    let mut found: Vec<_> = begins
        .filter(|at| *at == 0 || text.as_bytes()[at - 1] == b'\n')
        .filter_map(|at| SignedHead::open(note_at(&text[at..]), key).ok())
        .collect();
    found.sort_by_key(|head| head.size);
    found
}

/// The last head in this text that the key has signed, as a further file has it: whatever comes later was signed later.
pub fn last_head_in(text: &str, key: &VerifierKey) -> Option<SignedHead> {
    let begin = format!("{}\n", key.name());
    let begins = text.rmatch_indices(&begin).map(|(at, _)| at);
    let mut whole = begins.filter(|at| *at == 0 || text.as_bytes()[at - 1] == b'\n');
    whole.find_map(|at| SignedHead::open(note_at(&text[at..]), key).ok())
}

/// The note that this text begins with: up to an empty line, and the signatures behind it.
fn note_at(text: &str) -> &str {
    let Some(signatures) = text.find("\n\n").map(|at| at + 2) else { return text };
    let lines = text[signatures..].split_inclusive('\n');
    let length: usize = lines.take_while(|line| line.starts_with('\u{2014}')).map(str::len).sum();
    &text[..signatures + length]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::HeadKey;
    use tenure_log::RootHash;
    use tenure_protocol::entropy::SeededEntropy;

    #[test]
    fn every_whole_head_of_the_key_is_found_and_nothing_else() {
        let [key, other] = [1, 2].map(|seed| HeadKey::draw(&SeededEntropy::new(seed)));
        let head = |size, key| SignedHead::sign(size, RootHash::from_bytes([7; 32]), key);
        let (one, two, foreign) = (head(9, &key), head(4, &key), head(5, &other));
        let text = format!("\n{}\n{}\n{}\n{}", one.note(), &one.note()[..40], foreign.note(), two.note());
        assert_eq!(heads_in(&text, key.verifier()), [two, one]);
        assert!(heads_in("nothing\n", key.verifier()).is_empty());
    }
}
