//! Keys and tokens on this side, and a look-out for those that slip into a message.

pub(crate) use tenure_client::Secret;

/// How every key and token of Tenure begins.
const PREFIX: &str = "tnr_";

/// The text without what looks like a key or token, for all output on stderr.
pub(crate) fn redacted(text: &str) -> String {
    let mut pieces = text.split(PREFIX);
    let mut clean = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let end = piece.find(|c: char| !is_part_of_a_secret(c)).unwrap_or(piece.len());
        clean.push_str(PREFIX);
        clean.push('…');
        clean.push_str(&piece[end..]);
    }
    clean
}

fn is_part_of_a_secret(c: char) -> bool {
    c.is_ascii_alphanumeric() || "_-.~+/=".contains(c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_loses_its_secrets_and_keeps_its_words() {
        assert_eq!(redacted("unexpected 'tnr_sess_v4.local-a_b' here"), "unexpected 'tnr_…' here");
        assert_eq!(redacted("tnr_key_a tnr_key_b"), "tnr_… tnr_…");
        assert_eq!(redacted("no secret"), "no secret");
    }
}
