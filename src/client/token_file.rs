//! The token file: one line with the token of a session, for programs that read nothing else. `tenure session renew
//! --token-file` replaces the token in it.
//!
//! What the line has no room for is beside it, in `FILE.renewal`: whose token it is, and the renewal in progress.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tenure_files::replacement::{self, FileReplacement, PRIVATE};
use tenure_protocol::{
    Secret, SessionId,
    token::SESSION_TOKEN_PREFIX,
    wire::{RenewedSession, TokenStatus},
};
use zeroize::Zeroizing;

use super::{
    call::{Client, fresh_key},
    error::HoldError,
    file::FileError,
    file_lock::{FileLock, beside},
    pending_renewal::{PendingRenewal, RenewalStore, RetryDecision, attempt},
};

/// The place of a token file.
#[derive(Clone, Debug)]
pub struct TokenFile {
    path: PathBuf,
}

/// A token file that no other process writes to before this is dropped.
#[derive(Debug)]
pub struct LockedTokenFile {
    path: PathBuf,
    _lock: FileLock,
}

/// What came of [`renew_token_file`].
#[derive(Clone, Debug)]
pub enum TokenRenewal {
    /// The file holds the new token.
    Renewed(Box<RenewedSession>),
    /// Another process had renewed it a moment ago; the file holds that token.
    RenewedMeanwhile,
}

/// `FILE.renewal`. Each field may be missing.
#[derive(Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
struct RenewalSidecar {
    session_id: Option<SessionId>,
    /// A digest of the token that this was written for; it names the token and does not give it away.
    token: Option<String>,
    /// The idempotency key of the renewal of that token.
    key: Option<String>,
}

impl TokenFile {
    /// At this path; a link is followed, so that its target is replaced and not the link.
    pub fn at(path: impl AsRef<Path>) -> Self {
        let path = path.as_ref();
        let path = fs::canonicalize(path).or_else(|_| std::path::absolute(path));
        // Only an empty path has neither, and using it fails.
        Self { path: path.unwrap_or_default() }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The token.
    pub fn read(&self) -> Result<Secret, FileError> {
        read(&self.path)
    }

    /// Waits until no other process writes, on this thread.
    pub fn lock(&self) -> Result<LockedTokenFile, FileError> {
        Ok(LockedTokenFile { path: self.path.clone(), _lock: FileLock::of(&self.path)? })
    }

    async fn locked(&self) -> Result<LockedTokenFile, FileError> {
        let file = self.clone();
        let waiting = tokio::task::spawn_blocking(move || file.lock());
        let failed = |stopped| Err(failure(&self.path)(io::Error::other(stopped)));
        waiting.await.unwrap_or_else(failed)
    }
}

impl LockedTokenFile {
    /// Finds out whether the file could be written, before a request whose reply it must hold.
    pub fn prepare(&self) -> Result<(), FileError> {
        FileReplacement::new(&self.path, ".new", PRIVATE).map(drop).map_err(failure(&self.path))
    }

    /// Puts the token of a new session in place of what the file holds. It is durable when this returns.
    pub fn write(&self, token: &Secret, session_id: SessionId) -> Result<(), FileError> {
        // First: cut off in between, nothing beside the file may name the session that was there before.
        self.remove_sidecar()?;
        self.write_token(token)?;
        self.write_sidecar(&RenewalSidecar::of(session_id, token, None))
    }

    fn write_token(&self, token: &Secret) -> Result<(), FileError> {
        let line = Zeroizing::new([token.expose(), "\n"].concat());
        replacement::replace(&self.path, ".new", PRIVATE, line.as_bytes()).map_err(failure(&self.path))
    }

    /// What is beside the file. A torn or foreign one says nothing.
    fn sidecar(&self) -> Result<RenewalSidecar, FileError> {
        let path = self.sidecar_path()?;
        match fs::read(&path) {
            Ok(text) => Ok(serde_json::from_slice(&text).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(RenewalSidecar::default()),
            Err(error) => Err(failure(&path)(error)),
        }
    }

    fn write_sidecar(&self, sidecar: &RenewalSidecar) -> Result<(), FileError> {
        let path = self.sidecar_path()?;
        let mut text = serde_json::to_vec(sidecar).expect("a struct of texts is JSON");
        text.push(b'\n');
        replacement::replace(&path, ".new", PRIVATE, &text).map_err(failure(&path))
    }

    fn remove_sidecar(&self) -> Result<(), FileError> {
        let path = self.sidecar_path()?;
        match fs::remove_file(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed
                .and_then(|()| replacement::sync_directory(replacement::directory_of(&path)))
                .map_err(failure(&path)),
        }
    }

    fn sidecar_path(&self) -> Result<PathBuf, FileError> {
        beside(&self.path, ".renewal")
    }
}

impl RenewalSidecar {
    fn of(session_id: SessionId, token: &Secret, key: Option<String>) -> Self {
        Self { session_id: Some(session_id), token: Some(digest(token)), key }
    }

    fn is_of(&self, token: &Secret) -> bool {
        self.token.as_ref() == Some(&digest(token))
    }
}

/// Renews the session whose token is in a file now, or finishes the renewal that was cut off there.
///
/// `session` is the session's id, unless it is known from an earlier renewal or the client's API key may introspect the
/// token. While this fails for the moment, call it again: it is the same renewal.
pub async fn renew_token_file(
    client: &Client,
    file: &TokenFile,
    session: Option<SessionId>,
) -> Result<TokenRenewal, HoldError> {
    // Before a lock is made beside what holds no token.
    let seen = file.read()?;
    let error = match renew_once(client, file, session).await {
        Err(HoldError::Call(error)) => error,
        done => return done,
    };
    let Some(at) = error.asks_once_more_at() else { return Err(error.into()) };
    client.time().until(at).await;
    if file.read()? != seen {
        return Ok(TokenRenewal::RenewedMeanwhile);
    }
    renew_once(client, file, session).await
}

async fn renew_once(
    client: &Client,
    file: &TokenFile,
    session: Option<SessionId>,
) -> Result<TokenRenewal, HoldError> {
    let locked = file.locked().await?;
    // Only now: another renewal may have had the lock.
    let token = file.read()?;
    let sidecar = locked.sidecar()?;
    let session_id = match session {
        Some(id) => id,
        None => session_of(client, file, &sidecar, &token).await?,
    };
    let mut store = StoredToken { locked, sidecar, session_id, token };
    attempt(client, &mut store).await.map(|renewed| TokenRenewal::Renewed(Box::new(renewed)))
}

/// Whose token it is. What stands beside the file is sure only for the token that it was written for: the file may hold
/// the token of another session by now.
async fn session_of(
    client: &Client,
    file: &TokenFile,
    sidecar: &RenewalSidecar,
    token: &Secret,
) -> Result<SessionId, HoldError> {
    let remembered = sidecar.session_id;
    if let Some(id) = remembered.filter(|_| sidecar.is_of(token) || !client.has_credential()) {
        return Ok(id);
    }
    let nameless = |why: &str| HoldError::UnknownSession { path: file.path.clone(), why: why.to_owned() };
    if !client.has_credential() {
        return Err(nameless("only the authority can read it from the token"));
    }
    let judged = client.clone().with_retry_timeout(Duration::ZERO).introspect(token).await;
    match (judged, remembered) {
        (Ok(TokenStatus::Live(session)), _) => Ok(session.session_id),
        // The renewal's own refusal says more.
        (_, Some(id)) => Ok(id),
        (Ok(TokenStatus::Dead(dead)), None) => {
            Err(nameless(&format!("the token is not live ({}); its renewal by that ID says why", dead.code)))
        }
        (Err(error), None) => Err(error.into()),
    }
}

/// The token of a locked file, and what is beside it.
#[derive(Debug)]
struct StoredToken {
    locked: LockedTokenFile,
    sidecar: RenewalSidecar,
    session_id: SessionId,
    token: Secret,
}

impl StoredToken {
    fn keep(&mut self, sidecar: RenewalSidecar) -> Result<(), FileError> {
        self.locked.write_sidecar(&sidecar)?;
        self.sidecar = sidecar;
        Ok(())
    }
}

impl RenewalStore for StoredToken {
    fn begin(&mut self) -> Result<PendingRenewal, FileError> {
        self.locked.prepare()?;
        let begun = self.sidecar.key.clone().filter(|_| self.sidecar.is_of(&self.token));
        let is_new = begun.is_none();
        let key = begun.unwrap_or_else(fresh_key);
        if is_new {
            self.keep(RenewalSidecar::of(self.session_id, &self.token, Some(key.clone())))?;
        }
        Ok(PendingRenewal { session_id: self.session_id, token: self.token.clone(), key })
    }

    fn complete(&mut self, renewed: &RenewedSession) -> Result<(), FileError> {
        self.locked.write_token(&renewed.token)?;
        self.token = renewed.token.clone();
        self.keep(RenewalSidecar::of(self.session_id, &self.token, None))
    }

    /// When to ask next has no place in a token file: the caller decides.
    fn settle(&mut self, _settled: RetryDecision) -> Result<(), FileError> {
        self.keep(RenewalSidecar::of(self.session_id, &self.token, None))
    }
}

fn read(path: &Path) -> Result<Secret, FileError> {
    let text = Zeroizing::new(fs::read_to_string(path).map_err(failure(path))?);
    let token = Secret::new(&text);
    let holds_token = token.expose().starts_with(SESSION_TOKEN_PREFIX);
    if holds_token { Ok(token) } else { Err(FileError::NoToken { path: path.to_owned() }) }
}

fn digest(token: &Secret) -> String {
    blake3::hash(token.expose().as_bytes()).to_hex()[..32].to_owned()
}

fn failure(path: &Path) -> impl Fn(io::Error) -> FileError {
    move |source| FileError::Io { path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use tempfile::TempDir;

    use super::{super::grant::tests::moment, *};

    const ID: &str = "019375c1-6a3e-7c52-9d5e-0f2b8a1c4e77";

    fn place() -> (TempDir, TokenFile) {
        let directory = tempfile::tempdir().unwrap();
        let file = TokenFile::at(directory.path().join("token"));
        file.lock().unwrap().write(&Secret::new("tnr_sess_1"), ID.parse().unwrap()).unwrap();
        (directory, file)
    }

    fn stored(file: &TokenFile) -> StoredToken {
        let locked = file.lock().unwrap();
        let sidecar = locked.sidecar().unwrap();
        StoredToken { locked, sidecar, session_id: ID.parse().unwrap(), token: file.read().unwrap() }
    }

    fn key(file: &TokenFile) -> String {
        stored(file).begin().unwrap().key
    }

    fn renewed(token: &str) -> RenewedSession {
        RenewedSession {
            session_id: ID.parse().unwrap(),
            token: Secret::new(token),
            expires_at: moment("2026-11-21T02:00:00Z"),
            renew_at: None,
            renewal_count: 1,
            max_renewals: 30,
            absolute_expires_at: moment("2026-11-28T01:00:00Z"),
            clamped_by: None,
        }
    }

    #[test]
    fn a_token_keeps_its_key_until_it_is_replaced() {
        let (_directory, file) = place();
        let first = key(&file);
        assert_eq!(key(&file), first, "a lost reply is asked for again with the same key");
        stored(&file).complete(&renewed("tnr_sess_2")).unwrap();
        assert_eq!(file.read().unwrap().expose(), "tnr_sess_2");
        assert_ne!(key(&file), first, "the new token's renewal is another one");
    }

    #[test]
    fn cut_off_between_the_new_token_and_what_is_beside_it_the_next_renewal_has_a_key_of_its_own() {
        let (_directory, file) = place();
        let first = key(&file);
        file.lock().unwrap().write_token(&Secret::new("tnr_sess_2")).unwrap();
        let known = stored(&file).sidecar.session_id;
        assert_eq!(known, ID.parse().ok(), "without an API key it is the best guess");
        assert_ne!(key(&file), first);
    }

    #[test]
    fn a_refusal_that_settles_the_renewal_frees_the_next_one_of_its_key() {
        let (_directory, file) = place();
        let first = key(&file);
        stored(&file).settle(RetryDecision::From(None)).unwrap();
        assert_ne!(key(&file), first);
    }

    #[test]
    fn what_is_beside_the_file_is_private_and_holds_no_token() {
        let (directory, file) = place();
        key(&file);
        let sidecar = directory.path().join("token.renewal");
        assert!(!fs::read_to_string(&sidecar).unwrap().contains("tnr_sess"));
        for entry in fs::read_dir(directory.path()).unwrap() {
            let entry = entry.unwrap();
            assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{entry:?}");
        }
    }

    #[test]
    fn a_torn_file_beside_it_says_nothing_and_one_of_an_earlier_version_is_read() {
        let (directory, file) = place();
        let sidecar = directory.path().join("token.renewal");
        fs::write(&sidecar, "{\"sessionId\":\"019375c1-6a3e").unwrap();
        assert_eq!(stored(&file).sidecar, RenewalSidecar::default());
        let digest = digest(&Secret::new("tnr_sess_1"));
        fs::write(&sidecar, format!(r#"{{"sessionId":"{ID}","token":"{digest}","key":"k1"}}"#)).unwrap();
        assert_eq!(key(&file), "k1");
    }

    #[test]
    fn a_file_that_holds_no_token_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("issuer.key");
        for content in ["tnr_key_of_an_issuer\n", ""] {
            fs::write(&path, content).unwrap();
            let said = TokenFile::at(&path).read().unwrap_err().to_string();
            assert!(
                said.contains("issuer.key holds no session's token") && !said.contains("tnr_key"),
                "{said}"
            );
        }
    }

    #[test]
    fn a_place_that_cannot_be_written_is_found_out_before() {
        let directory = tempfile::tempdir().unwrap();
        assert!(TokenFile::at(directory.path().join("missing/token")).lock().is_err());
        let file = TokenFile::at(directory.path());
        assert!(file.lock().and_then(|locked| locked.prepare()).is_err());
    }
}
