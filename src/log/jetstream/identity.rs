//! What a node shows to the broker: the seed of its nkey, or credentials as NATS writes them (`.creds`): a token in which
//! an account says who it is and what it may do, and the seed of the key that the token names.
//!
//! The file is read for each connection, so a token about to expire is renewed by replacing the file.

use std::{
    fs,
    path::{Path, PathBuf},
};

use async_nats::{Auth, AuthError, ConnectOptions};
use nkeys::KeyPair;
use zeroize::Zeroizing;

use super::{BrokerAccess, BrokerError};

/// The file of an identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IdentityFile {
    /// It holds the seed of a user's nkey.
    Nkey(PathBuf),
    /// It holds the token of a user and the seed of its nkey.
    Credentials(PathBuf),
}

/// What was read of it.
struct BrokerIdentity {
    token: Option<String>,
    key: KeyPair,
}

/// Options that show this, read again each time. It is read once now, to say what is wrong with it.
pub(super) fn options(access: &BrokerAccess) -> Result<ConnectOptions, BrokerError> {
    let Some(file) = access.identity.clone() else { return Ok(ConnectOptions::new()) };
    BrokerIdentity::read(&file)?;
    Ok(ConnectOptions::with_auth_callback(move |nonce| {
        let shown = BrokerIdentity::read(&file).map_err(AuthError::new).and_then(|own| own.sign(&nonce));
        async move { shown }
    }))
}

impl BrokerIdentity {
    fn read(file: &IdentityFile) -> Result<Self, BrokerError> {
        let (IdentityFile::Nkey(path) | IdentityFile::Credentials(path)) = file;
        let wrong = |why: String| BrokerError::File { path: path.clone(), why };
        let content = content(path).map_err(|error| wrong(error.to_string()))?;
        let lines = || content.lines().map(str::trim);
        let seed = lines().find(|line| line.starts_with("SU")).ok_or_else(|| {
            wrong("it holds no seed of a user's nkey, a line that begins with SU".to_owned())
        })?;
        let key = KeyPair::from_seed(seed).map_err(|error| wrong(format!("its seed is no good: {error}")))?;
        let token = match file {
            IdentityFile::Nkey(_) => None,
            IdentityFile::Credentials(_) => {
                let token = lines().skip_while(|line| !line.contains("BEGIN NATS USER JWT")).nth(1);
                let token = token.filter(|token| token.split('.').count() == 3);
                let none = "it holds no token of a user, the line after BEGIN NATS USER JWT";
                Some(token.ok_or_else(|| wrong(none.to_owned()))?.to_owned())
            }
        };
        Ok(Self { token, key })
    }

    fn sign(self, nonce: &[u8]) -> Result<Auth, AuthError> {
        let mut shown = Auth::new();
        shown.signature = Some(self.key.sign(nonce).map_err(AuthError::new)?);
        match self.token {
            Some(token) => shown.jwt = Some(token),
            None => shown.nkey = Some(self.key.public_key()),
        }
        Ok(shown)
    }
}

fn content(path: &Path) -> std::io::Result<Zeroizing<String>> {
    fs::read_to_string(path).map(Zeroizing::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn why(text: &str, file: impl Fn(PathBuf) -> IdentityFile) -> Option<String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("identity");
        fs::write(&path, text).unwrap();
        BrokerIdentity::read(&file(path)).err().map(|error| error.to_string())
    }

    #[test]
    fn what_a_file_lacks_is_named() {
        let seed = KeyPair::new_user().seed().unwrap();
        let token = "-----BEGIN NATS USER JWT-----\na.b.c\n------END NATS USER JWT------\n";
        assert_eq!(why(&seed, IdentityFile::Nkey), None);
        assert_eq!(why(&format!("{token}\n{seed}\n"), IdentityFile::Credentials), None);
        let said = why(&seed, IdentityFile::Credentials).unwrap();
        assert!(said.contains("no token of a user"), "{said}");
        for file in [IdentityFile::Nkey, IdentityFile::Credentials] {
            let said = why(token, file).unwrap();
            assert!(said.contains("a line that begins with SU"), "{said}");
            let said = why("SUNOSEED", file).unwrap();
            assert!(said.contains("its seed is no good"), "{said}");
        }
    }
}
