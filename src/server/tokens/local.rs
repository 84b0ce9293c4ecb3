//! PASETO v4.local, composed of the ciphers that its specification names.
//!
//! Sealing a token is the largest part of a renewal that is not the log's. So what is the same for all tokens of a key
//! is computed once, and the text is written without tables. The official vectors and another implementation judge it.
//! <https://github.com/paseto-standard/paseto-spec/blob/master/docs/01-Protocol-Versions/Version4.md>

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use blake2::{
    Blake2bMac,
    digest::{
        FixedOutput, KeyInit, Mac, Update,
        consts::{U32, U56},
    },
};
use chacha20::{
    XChaCha20,
    cipher::{KeyIvInit, StreamCipher},
};
use zeroize::Zeroizing;

/// What every token starts with.
pub(super) const HEADER: &str = "v4.local.";

const NONCE: usize = 32;
const TAG: usize = 32;
/// A token of ours in bytes, so that it is put together without moving it.
const USUAL_BYTES: usize = 160;

/// A key that has met the words in front of every nonce: one for what hides a payload, one for what proves it.
#[derive(Clone)]
pub(super) struct LocalKey {
    hides: Blake2bMac<U56>,
    proves: Blake2bMac<U32>,
}

/// What a token is bound to beside its payload: the footer is part of it, the assertion is not.
#[derive(Clone, Copy)]
pub(super) struct Bound<'a> {
    pub(super) footer: &'a [u8],
    pub(super) assertion: &'a [u8],
}

impl LocalKey {
    /// Of these bytes.
    pub(super) fn of(key: &[u8; 32]) -> Self {
        let mut hides: Blake2bMac<U56> = keyed(key);
        let mut proves: Blake2bMac<U32> = keyed(key);
        Update::update(&mut hides, b"paseto-encryption-key");
        Update::update(&mut proves, b"paseto-auth-key-for-aead");
        Self { hides, proves }
    }

    /// Seals a payload under a nonce, which must be random.
    pub(super) fn seal(&self, nonce: &[u8; NONCE], payload: &[u8], bound: Bound<'_>) -> Zeroizing<String> {
        let mut sealed = Vec::with_capacity(USUAL_BYTES);
        sealed.extend_from_slice(nonce);
        sealed.extend_from_slice(payload);
        self.cipher(nonce).apply_keystream(&mut sealed[NONCE..]);
        let tag = self.tag(nonce, &sealed[NONCE..], bound).finalize_fixed();
        sealed.extend_from_slice(&tag);
        Zeroizing::new(written(&sealed, bound.footer))
    }

    fn cipher(&self, nonce: &[u8; NONCE]) -> XChaCha20 {
        let mut drawn = Zeroizing::new([0; 56]);
        self.hides.clone().chain(nonce).finalize_into((&mut *drawn).into());
        let (key, nonce) = drawn.split_at(32);
        XChaCha20::new_from_slices(key, nonce).expect("32 and 24 bytes were drawn")
    }

    /// The proof of a token, before it is finished.
    fn tag(&self, nonce: &[u8; NONCE], hidden: &[u8], bound: Bound<'_>) -> Blake2bMac<U32> {
        let mut key = Zeroizing::new([0; 32]);
        self.proves.clone().chain(nonce).finalize_into((&mut *key).into());
        let pieces = [HEADER.as_bytes(), nonce, hidden, bound.footer, bound.assertion];
        keyed::<Blake2bMac<U32>>(&key).chain(joined(pieces))
    }
}

fn keyed<M: KeyInit>(key: &[u8; 32]) -> M {
    M::new_from_slice(key).expect("BLAKE2b takes a key of 32 bytes")
}

/// The pieces in the one way in which they can be told apart again (the specification's pre-authentication encoding).
fn joined<const N: usize>(pieces: [&[u8]; N]) -> Vec<u8> {
    let length = |length: usize| (length as u64).to_le_bytes();
    let mut out = Vec::with_capacity(8 * (N + 1) + pieces.iter().map(|piece| piece.len()).sum::<usize>());
    out.extend_from_slice(&length(N));
    for piece in pieces {
        out.extend_from_slice(&length(piece.len()));
        out.extend_from_slice(piece);
    }
    out
}

fn written(sealed: &[u8], footer: &[u8]) -> String {
    let mut text = String::with_capacity(HEADER.len() + 4 * (sealed.len() + footer.len()) / 3 + 8);
    text.push_str(HEADER);
    push_base64(&mut text, sealed);
    if !footer.is_empty() {
        text.push('.');
        push_base64(&mut text, footer);
    }
    text
}

/// Writes bytes in base64url. A token lets any holder act, so no table is looked into at a place that it decides: how
/// long that takes would tell neighbours on the processor.
fn push_base64(text: &mut String, bytes: &[u8]) {
    const PIECE: usize = 48;
    for piece in bytes.chunks(PIECE) {
        let mut sextets = [0; PIECE / 3 * 4];
        for (four, three) in sextets.chunks_exact_mut(4).zip(piece.chunks(3)) {
            let byte = |at: usize| three.get(at).copied().unwrap_or(0);
            let (a, b, c) = (byte(0), byte(1), byte(2));
            four.copy_from_slice(&[a >> 2, (a & 3) << 4 | b >> 4, (b & 15) << 2 | c >> 6, c & 63]);
        }
        let characters = sextets.map(character);
        let length = (4 * piece.len()).div_ceil(3);
        text.push_str(str::from_utf8(&characters[..length]).expect("base64 is ASCII"));
    }
}

/// What is added to six bits to get their character, from one range of the alphabet to the next.
const TO_SMALL: u8 = b'a' - 26 - b'A';
const TO_DIGITS: u8 = b'0'.wrapping_sub(52).wrapping_sub(b'a' - 26);
const TO_MINUS: u8 = b'-'.wrapping_sub(62).wrapping_sub(b'0'.wrapping_sub(52));
const TO_LINE: u8 = b'_'.wrapping_sub(63).wrapping_sub(b'-'.wrapping_sub(62));

/// The character of six bits: through all ranges of the alphabet, and no branch.
fn character(sextet: u8) -> u8 {
    // All bits where the sextet is behind this one, else none.
    let behind = |edge: u8| (edge.wrapping_sub(sextet).cast_signed() >> 7).cast_unsigned();
    let letters = sextet.wrapping_add(b'A').wrapping_add(behind(25) & TO_SMALL);
    let digits = letters.wrapping_add(behind(51) & TO_DIGITS);
    digits.wrapping_add(behind(61) & TO_MINUS).wrapping_add(behind(62) & TO_LINE)
}

/// A text that has the form of a token. Nothing in it is true yet.
pub(super) struct UnverifiedToken {
    nonce: [u8; NONCE],
    hidden: Vec<u8>,
    tag: [u8; TAG],
    footer: Vec<u8>,
}

impl UnverifiedToken {
    /// Takes it apart. The caller has limited its length.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.strip_prefix(HEADER)?.split('.');
        let (sealed, footer) = (parts.next()?, parts.next().unwrap_or_default());
        if parts.next().is_some() {
            return None;
        }
        let sealed = URL_SAFE_NO_PAD.decode(sealed).ok()?;
        let (nonce, rest) = sealed.split_first_chunk()?;
        let (hidden, tag) = rest.split_last_chunk()?;
        if hidden.is_empty() {
            return None;
        }
        let footer = URL_SAFE_NO_PAD.decode(footer).ok()?;
        Some(Self { nonce: *nonce, hidden: hidden.to_vec(), tag: *tag, footer })
    }

    /// Its footer, which anyone may have written.
    pub(super) fn footer(&self) -> &[u8] {
        &self.footer
    }

    /// Its payload, when it was sealed with this key, bound to this, and not touched since.
    pub(super) fn open(&self, key: &LocalKey, bound: Bound<'_>) -> Option<Zeroizing<String>> {
        if self.footer != bound.footer {
            return None;
        }
        // In constant time.
        key.tag(&self.nonce, &self.hidden, bound).verify_slice(&self.tag).ok()?;
        let mut payload = Zeroizing::new(self.hidden.clone());
        key.cipher(&self.nonce).apply_keystream(&mut payload);
        str::from_utf8(&payload).ok().map(|payload| Zeroizing::new(payload.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use pasetors::{
        keys::SymmetricKey,
        token::{Local, UntrustedToken},
        version4::{LocalToken, V4},
    };

    use super::*;

    /// Of <https://github.com/paseto-standard/test-vectors>, `v4.json`.
    struct Vector {
        nonce: &'static str,
        token: &'static str,
        payload: &'static str,
        footer: &'static str,
        assertion: &'static str,
    }

    const KEY: &str = "707172737475767778797a7b7c7d7e7f808182838485868788898a8b8c8d8e8f";

    fn bytes(hex: &str) -> [u8; 32] {
        std::array::from_fn(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap())
    }

    fn bound<'a>(footer: &'a str, assertion: &'a str) -> Bound<'a> {
        Bound { footer: footer.as_bytes(), assertion: assertion.as_bytes() }
    }

    fn opened(text: &str, key: &LocalKey, bound: Bound<'_>) -> Option<String> {
        Some(UnverifiedToken::parse(text)?.open(key, bound)?.to_string())
    }

    #[test]
    fn the_official_tokens_are_sealed_and_opened() {
        let key = LocalKey::of(&bytes(KEY));
        for Vector { nonce, token, payload, footer, assertion } in VECTORS {
            let bound = bound(footer, assertion);
            assert_eq!(key.seal(&bytes(nonce), payload.as_bytes(), bound).as_str(), *token);
            assert_eq!(opened(token, &key, bound).as_deref(), Some(*payload));
        }
    }

    #[test]
    fn another_implementation_opens_ours_and_seals_what_we_open_at_every_length() {
        let (ours, theirs) = (LocalKey::of(&[7; 32]), SymmetricKey::<V4>::from(&[7; 32]).unwrap());
        for length in 1..=200 {
            let (payload, footer) = ("x".repeat(length), "f".repeat(length % 60));
            let bound = bound(&footer, "for a test");
            let token = ours.seal(&[u8::try_from(length).unwrap(); 32], payload.as_bytes(), bound);
            let known = UntrustedToken::<Local, V4>::try_from(token.as_str()).unwrap();
            let footer = Some(bound.footer).filter(|footer| !footer.is_empty());
            let read = LocalToken::decrypt(&theirs, &known, footer, Some(bound.assertion));
            assert_eq!(read.unwrap().payload(), payload);
            let token = LocalToken::encrypt(&theirs, payload.as_bytes(), footer, Some(bound.assertion));
            assert_eq!(opened(&token.unwrap(), &ours, bound), Some(payload));
        }
    }

    #[test]
    fn what_is_bound_to_something_else_or_under_another_key_does_not_open() {
        let key = LocalKey::of(&[7; 32]);
        let token = key.seal(&[1; 32], b"said", bound("footer", "purpose"));
        assert!(opened(&token, &key, bound("footer", "purpose")).is_some());
        assert_eq!(opened(&token, &LocalKey::of(&[8; 32]), bound("footer", "purpose")), None);
        for (footer, assertion) in
            [("footer", ""), ("footer", "purposes"), ("", "purpose"), ("foot", "purpose")]
        {
            assert_eq!(opened(&token, &key, bound(footer, assertion)), None, "{footer} {assertion}");
        }
    }

    #[test]
    fn every_byte_is_written_as_the_usual_table_writes_it() {
        for length in 0..=300_u16 {
            let bytes: Vec<u8> = (0..length).map(|n| n.wrapping_mul(151).to_le_bytes()[0]).collect();
            let mut text = String::new();
            push_base64(&mut text, &bytes);
            assert_eq!(text, URL_SAFE_NO_PAD.encode(&bytes));
        }
    }

    #[test]
    fn what_has_not_the_form_of_a_token_is_not_taken_apart() {
        let whole = LocalKey::of(&[7; 32]).seal(&[1; 32], b"said", bound("footer", ""));
        assert!(UnverifiedToken::parse(&whole).is_some());
        let empty = URL_SAFE_NO_PAD.encode([0; NONCE + TAG]);
        for wrong in [
            "",
            "v4.local.",
            "v4.local..",
            &format!("v4.local.{empty}"),
            &format!("v4.public.{}", &whole[HEADER.len()..]),
            &format!("{}.", *whole),
            &format!("{}=", *whole),
            &format!("{}.AAAA", *whole),
        ] {
            assert!(UnverifiedToken::parse(wrong).is_none(), "{wrong}");
        }
    }

    const VECTORS: &[Vector] = &[
        Vector {
            nonce: "0000000000000000000000000000000000000000000000000000000000000000",
            token: "v4.local.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAQAr68PS4AXe7If_ZgesdkUMvSwscFlAl1pk5HC0e8kApeaqMfGo_7OpBnwJOAbY9V7WU6abu74MmcUE8YWAiaArVI8XJ5hOb_4v9RmDkneN0S92dx0OW4pgy7omxgf3S8c3LlQg",
            payload: r#"{"data":"this is a secret message","exp":"2022-01-01T00:00:00+00:00"}"#,
            footer: "",
            assertion: "",
        },
        Vector {
            nonce: "0000000000000000000000000000000000000000000000000000000000000000",
            token: "v4.local.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAQAr68PS4AXe7If_ZgesdkUMvS2csCgglvpk5HC0e8kApeaqMfGo_7OpBnwJOAbY9V7WU6abu74MmcUE8YWAiaArVI8XIemu9chy3WVKvRBfg6t8wwYHK0ArLxxfZP73W_vfwt5A",
            payload: r#"{"data":"this is a hidden message","exp":"2022-01-01T00:00:00+00:00"}"#,
            footer: "",
            assertion: "",
        },
        Vector {
            nonce: "df654812bac492663825520ba2f6e67cf5ca5bdc13d4e7507a98cc4c2fcc3ad8",
            token: "v4.local.32VIErrEkmY4JVILovbmfPXKW9wT1OdQepjMTC_MOtjA4kiqw7_tcaOM5GNEcnTxl60WkwMsYXw6FSNb_UdJPXjpzm0KW9ojM5f4O2mRvE2IcweP-PRdoHjd5-RHCiExR1IK6t6-tyebyWG6Ov7kKvBdkrrAJ837lKP3iDag2hzUPHuMKA",
            payload: r#"{"data":"this is a secret message","exp":"2022-01-01T00:00:00+00:00"}"#,
            footer: "",
            assertion: "",
        },
        Vector {
            nonce: "df654812bac492663825520ba2f6e67cf5ca5bdc13d4e7507a98cc4c2fcc3ad8",
            token: "v4.local.32VIErrEkmY4JVILovbmfPXKW9wT1OdQepjMTC_MOtjA4kiqw7_tcaOM5GNEcnTxl60WiA8rd3wgFSNb_UdJPXjpzm0KW9ojM5f4O2mRvE2IcweP-PRdoHjd5-RHCiExR1IK6t4gt6TiLm55vIH8c_lGxxZpE3AWlH4WTR0v45nsWoU3gQ",
            payload: r#"{"data":"this is a hidden message","exp":"2022-01-01T00:00:00+00:00"}"#,
            footer: "",
            assertion: "",
        },
        Vector {
            nonce: "df654812bac492663825520ba2f6e67cf5ca5bdc13d4e7507a98cc4c2fcc3ad8",
            token: "v4.local.32VIErrEkmY4JVILovbmfPXKW9wT1OdQepjMTC_MOtjA4kiqw7_tcaOM5GNEcnTxl60WkwMsYXw6FSNb_UdJPXjpzm0KW9ojM5f4O2mRvE2IcweP-PRdoHjd5-RHCiExR1IK6t4x-RMNXtQNbz7FvFZ_G-lFpk5RG3EOrwDL6CgDqcerSQ.eyJraWQiOiJ6VmhNaVBCUDlmUmYyc25FY1Q3Z0ZUaW9lQTlDT2NOeTlEZmdMMVc2MGhhTiJ9",
            payload: r#"{"data":"this is a secret message","exp":"2022-01-01T00:00:00+00:00"}"#,
            footer: r#"{"kid":"zVhMiPBP9fRf2snEcT7gFTioeA9COcNy9DfgL1W60haN"}"#,
            assertion: "",
        },
        Vector {
            nonce: "df654812bac492663825520ba2f6e67cf5ca5bdc13d4e7507a98cc4c2fcc3ad8",
            token: "v4.local.32VIErrEkmY4JVILovbmfPXKW9wT1OdQepjMTC_MOtjA4kiqw7_tcaOM5GNEcnTxl60WiA8rd3wgFSNb_UdJPXjpzm0KW9ojM5f4O2mRvE2IcweP-PRdoHjd5-RHCiExR1IK6t6pWSA5HX2wjb3P-xLQg5K5feUCX4P2fpVK3ZLWFbMSxQ.eyJraWQiOiJ6VmhNaVBCUDlmUmYyc25FY1Q3Z0ZUaW9lQTlDT2NOeTlEZmdMMVc2MGhhTiJ9",
            payload: r#"{"data":"this is a hidden message","exp":"2022-01-01T00:00:00+00:00"}"#,
            footer: r#"{"kid":"zVhMiPBP9fRf2snEcT7gFTioeA9COcNy9DfgL1W60haN"}"#,
            assertion: "",
        },
        Vector {
            nonce: "df654812bac492663825520ba2f6e67cf5ca5bdc13d4e7507a98cc4c2fcc3ad8",
            token: "v4.local.32VIErrEkmY4JVILovbmfPXKW9wT1OdQepjMTC_MOtjA4kiqw7_tcaOM5GNEcnTxl60WkwMsYXw6FSNb_UdJPXjpzm0KW9ojM5f4O2mRvE2IcweP-PRdoHjd5-RHCiExR1IK6t40KCCWLA7GYL9KFHzKlwY9_RnIfRrMQpueydLEAZGGcA.eyJraWQiOiJ6VmhNaVBCUDlmUmYyc25FY1Q3Z0ZUaW9lQTlDT2NOeTlEZmdMMVc2MGhhTiJ9",
            payload: r#"{"data":"this is a secret message","exp":"2022-01-01T00:00:00+00:00"}"#,
            footer: r#"{"kid":"zVhMiPBP9fRf2snEcT7gFTioeA9COcNy9DfgL1W60haN"}"#,
            assertion: r#"{"test-vector":"4-E-7"}"#,
        },
        Vector {
            nonce: "df654812bac492663825520ba2f6e67cf5ca5bdc13d4e7507a98cc4c2fcc3ad8",
            token: "v4.local.32VIErrEkmY4JVILovbmfPXKW9wT1OdQepjMTC_MOtjA4kiqw7_tcaOM5GNEcnTxl60WiA8rd3wgFSNb_UdJPXjpzm0KW9ojM5f4O2mRvE2IcweP-PRdoHjd5-RHCiExR1IK6t5uvqQbMGlLLNYBc7A6_x7oqnpUK5WLvj24eE4DVPDZjw.eyJraWQiOiJ6VmhNaVBCUDlmUmYyc25FY1Q3Z0ZUaW9lQTlDT2NOeTlEZmdMMVc2MGhhTiJ9",
            payload: r#"{"data":"this is a hidden message","exp":"2022-01-01T00:00:00+00:00"}"#,
            footer: r#"{"kid":"zVhMiPBP9fRf2snEcT7gFTioeA9COcNy9DfgL1W60haN"}"#,
            assertion: r#"{"test-vector":"4-E-8"}"#,
        },
        Vector {
            nonce: "df654812bac492663825520ba2f6e67cf5ca5bdc13d4e7507a98cc4c2fcc3ad8",
            token: "v4.local.32VIErrEkmY4JVILovbmfPXKW9wT1OdQepjMTC_MOtjA4kiqw7_tcaOM5GNEcnTxl60WiA8rd3wgFSNb_UdJPXjpzm0KW9ojM5f4O2mRvE2IcweP-PRdoHjd5-RHCiExR1IK6t6tybdlmnMwcDMw0YxA_gFSE_IUWl78aMtOepFYSWYfQA.YXJiaXRyYXJ5LXN0cmluZy10aGF0LWlzbid0LWpzb24",
            payload: r#"{"data":"this is a hidden message","exp":"2022-01-01T00:00:00+00:00"}"#,
            footer: "arbitrary-string-that-isn't-json",
            assertion: r#"{"test-vector":"4-E-9"}"#,
        },
        Vector {
            nonce: "0000000000000000000000000000000000000000000000000000000000000000",
            token: "v4.local.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAQAr68PS4AXe7If_ZgesdkUMvSwscFlAl1pk5HC0e8kApeaqMfGo_7OpBnwJOAbY9V7WU6abu74MmcUE8YXQmYC7FN5TiAT7Bou4G1DMqRIzEs0H8QfAlKN-X-j7a7tAcRex7a7GVwDvJ9inDh61wlrJbn_sQUwDVv4Kpk0lvlcj9SJPN48SAsU4WGjDq4",
            payload: r#"{"data":"this is a secret message","exp":"2022-01-01T00:00:00.1234567890123456789012345678901234567890+00:00"}"#,
            footer: "",
            assertion: "",
        },
    ];
}
