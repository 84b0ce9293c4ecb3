//! API keys made outside of the API: the first of all, and another one while the server is stopped.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use zeroize::Zeroizing;

use super::{Node, NodeOptions, StartError};
use crate::authority::{Authority, NewCredential, RequestContext};
use crate::tokens::ApiKey;
use tenure_core::{Actor, CredentialId, Timestamp, commit::ActorKind, event::Role, system::SystemState};
use tenure_files::replacement::{self, PRIVATE};

/// Writes the key before the event that admits it: a crash between the two leaves a key that opens nothing,
/// and the next start makes another.
pub(super) fn issue_first_key(data: &Path, authority: &Authority) -> Result<PathBuf, StartError> {
    let path = data.join("admin.key");
    let key = ApiKey::draw(authority.entropy());
    let line = Zeroizing::new([key.expose(), "\n"].concat());
    replacement::replace(&path, ".new", PRIVATE, line.as_bytes())
        .map_err(|source| StartError::Io { path: path.display().to_string(), source })?;
    let name = Some("first admin key".into());
    let new = NewCredential { role: Role::Admin, owner_id: None, name, expires_in: None };
    authority
        .issue_credential_blocking(RequestContext::of(Actor::AUTHORITY), &key, new)
        .map_err(StartError::Record)?;
    Ok(path)
}

/// Looks at the file of the first admin key where it still is. A damaged one opens nothing, which is better known before
/// it is needed. The server itself never uses it.
pub(super) fn look_at_first_key(data: &Path, system: &SystemState) {
    let path = data.join("admin.key");
    let Ok(bytes) = fs::read(&path) else { return };
    let bytes = Zeroizing::new(bytes);
    let hash = ApiKey::hash(String::from_utf8_lossy(&bytes).trim());
    if !system.credentials.values().any(|credential| credential.key_hash == hash) {
        tracing::warn!("admin.key holds no key of this authority: it was damaged, or is another's");
    }
}

/// An API key that was just admitted.
#[derive(Debug)]
pub struct IssuedKey {
    /// Its id.
    pub id: CredentialId,
    /// When it was admitted.
    pub created_at: Timestamp,
    /// The key itself; it is shown now and never again.
    pub key: ApiKey,
}

/// Admits another API key on the data directory of a stopped server. The key is given back once.
///
/// # Errors
/// See [`StartError`]; a running server holds the directory.
pub fn issue_credential(data: &Path, new: NewCredential) -> Result<IssuedKey, StartError> {
    if !data.join("log").exists() {
        let source = io::Error::from(io::ErrorKind::NotFound);
        return Err(StartError::Io { path: data.join("log").display().to_string(), source });
    }
    let node = Node::open(NodeOptions::of_stopped(data))?;
    let key = ApiKey::draw(node.authority.entropy());
    let operator = Actor { kind: ActorKind::Operator, id: None };
    let issued = node.authority.issue_credential_blocking(RequestContext::of(operator), &key, new);
    let (id, created_at) = issued.map_err(StartError::Record)?;
    node.stop();
    Ok(IssuedKey { id, created_at, key })
}
