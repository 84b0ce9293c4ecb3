//! What is remembered beside a token file, so that a renewal whose reply was lost can be asked again.
//!
//! `FILE.renewal` names the session and the idempotency key under which the token in `FILE` is being renewed.
//! It is on disk before the request leaves. A crash between any two steps then leaves one of two states:
//! the old token with its key, which the server answers again with a working token; or the new token, to
//! which the remembered key does not belong, so that the next renewal takes a fresh one.

use std::{
    fs::File,
    io::{self, Read, Seek, Write},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::{ambient, failure::Failure, secret::Secret, secret_file};

/// The memo of one token file, locked against other renewals of the same file.
#[derive(Debug)]
pub(crate) struct Memo {
    path: PathBuf,
    file: File,
    kept: Kept,
}

#[derive(Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
struct Kept {
    /// Whose token it is.
    session_id: Option<String>,
    /// A digest of the token that `key` belongs to: it names the token and does not give it away.
    token: Option<String>,
    /// The idempotency key of that token's renewal.
    key: Option<String>,
}

impl Memo {
    /// Opens, or makes, the memo beside this token file; waits while another renewal of it is in work.
    pub(crate) fn open(token_file: &Path) -> Result<Self, Failure> {
        let mut path = token_file.as_os_str().to_owned();
        path.push(".renewal");
        let path = PathBuf::from(path);
        let open = || -> io::Result<(File, Kept)> {
            let mut file = secret_file::owners_only().create(true).truncate(false).open(&path)?;
            file.lock()?;
            let mut text = String::new();
            file.read_to_string(&mut text)?;
            // A torn memo was being written for a request that never left: there is nothing to repeat.
            Ok((file, serde_json::from_str(&text).unwrap_or_default()))
        };
        match open() {
            Ok((file, kept)) => Ok(Self { path, file, kept }),
            Err(source) => Err(Failure::File { path, source }),
        }
    }

    /// The session whose token it is, if that is known.
    pub(crate) fn session_id(&self) -> Option<&str> {
        self.kept.session_id.as_deref()
    }

    /// Notes whose token it is.
    pub(crate) fn remember(&mut self, session_id: &str) -> Result<(), Failure> {
        self.keep(Kept { session_id: Some(session_id.to_owned()), token: None, key: None })
    }

    /// The key under which to renew this token: the one from before if a renewal of it was begun, else a
    /// fresh one, which is on disk when this returns.
    pub(crate) fn key_for(&mut self, token: &Secret, session_id: &str) -> Result<String, Failure> {
        let digest = digest(token);
        if let (Some(key), true) = (&self.kept.key, self.kept.token.as_ref() == Some(&digest)) {
            return Ok(key.clone());
        }
        let key = ambient::unique();
        self.keep(Kept {
            session_id: Some(session_id.to_owned()),
            token: Some(digest),
            key: Some(key.clone()),
        })?;
        Ok(key)
    }

    fn keep(&mut self, kept: Kept) -> Result<(), Failure> {
        self.kept = kept;
        self.write().map_err(|source| Failure::File { path: self.path.clone(), source })
    }

    fn write(&mut self) -> io::Result<()> {
        self.file.set_len(0)?;
        self.file.rewind()?;
        serde_json::to_writer(&mut self.file, &self.kept)?;
        self.file.write_all(b"\n")?;
        self.file.sync_all()
    }
}

fn digest(token: &Secret) -> String {
    blake3::hash(token.expose().as_bytes()).to_hex()[..32].to_owned()
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use super::*;

    #[test]
    fn a_token_keeps_its_key_until_it_is_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("token");
        let key = |token: &str| Memo::open(&path).unwrap().key_for(&Secret::new(token), "s1").unwrap();
        let first = key("tnr_sess_1");
        assert_eq!(key("tnr_sess_1"), first, "a lost reply is asked for again with the same key");
        let second = key("tnr_sess_2");
        assert_ne!(second, first, "the new token's renewal is another one");
        assert_eq!(Memo::open(&path).unwrap().session_id(), Some("s1"));
    }

    #[test]
    fn the_memo_is_private_and_holds_no_token() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("token");
        Memo::open(&path).unwrap().key_for(&Secret::new("tnr_sess_1"), "s1").unwrap();
        let memo = directory.path().join("token.renewal");
        assert!(!fs::read_to_string(&memo).unwrap().contains("tnr_sess"));
        assert_eq!(fs::metadata(&memo).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_torn_memo_is_begun_anew() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("token");
        fs::write(directory.path().join("token.renewal"), "{\"sessionId\":\"s1\",\"ke").unwrap();
        let mut memo = Memo::open(&path).unwrap();
        assert_eq!(memo.session_id(), None);
        memo.remember("s2").unwrap();
        drop(memo);
        assert_eq!(Memo::open(&path).unwrap().session_id(), Some("s2"));
    }
}
