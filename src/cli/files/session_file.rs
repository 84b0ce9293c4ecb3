//! Session files on the command line. The client library reads and writes them.

use std::{
    io,
    path::{Path, PathBuf},
};

use serde::Deserialize;
use serde_json::{Value, json};

use super::secret::Secret;
use crate::cli::{
    connection::client::checked_url,
    context::{CommandContext, NamedServer},
    environment,
    failure::{CommandError, RefusedRequest},
};
use tenure_client::{
    Client, CreatedSession, Error, FileError, HoldError, LockedSessionFile, SessionFile, SessionGrant,
};
use tenure_http_client::outbound::PlaintextPolicy;

/// What a session file has.
pub(crate) fn read(file: &SessionFile) -> Result<SessionGrant, CommandError> {
    file.read().map_err(|error| {
        if let FileError::Io { path, source } = &error
            && source.kind() == io::ErrorKind::NotFound
        {
            let path = path.display();
            return CommandError::Usage(format!(
                "no session file {path}: tenure session create SUBJECT --session-file FILE makes one"
            ));
        }
        error.into()
    })
}

/// Takes the lock of a new session file, and finds out whether the file can be made.
pub(crate) fn locked(path: &Path) -> Result<LockedSessionFile, CommandError> {
    let locked = SessionFile::at(path).lock()?;
    locked.prepare()?;
    Ok(locked)
}

/// Writes a session that was just created to its file.
pub(crate) fn keep(
    cli: &CommandContext,
    locked: &LockedSessionFile,
    reply: &Value,
) -> Result<SessionGrant, CommandError> {
    let created = CreatedSession::deserialize(reply)
        .map_err(|_| cli.client.strange(201, "the reply is not that of a session's creation"))?;
    let grant = SessionGrant::created(cli.client.url(), &created);
    locked.write(&grant)?;
    Ok(grant)
}

/// A client of the server that was named, or else of the one that the file names.
pub(crate) fn client(named: NamedServer<'_>, file: &SessionFile) -> Result<Client, CommandError> {
    let url = match named.url {
        Some(url) => url.to_owned(),
        None => read(file)?.url,
    };
    client_of(&url, named.plaintext)
}

/// A client of the library's, without a credential.
pub(crate) fn client_of(url: &str, plaintext: PlaintextPolicy) -> Result<Client, CommandError> {
    let client = match plaintext {
        PlaintextPolicy::Refused => Client::new(url),
        PlaintextPolicy::Allowed => Client::new_allowing_plaintext(url),
    };
    Ok(client?)
}

/// A session as its file has it, and a client of the server that was named, or else of the one that the file names. The
/// client has no API key: that one was given for another server, perhaps.
pub(crate) struct FileSession {
    /// Asks by the session's token.
    pub client: crate::cli::connection::client::ApiClient,
    /// The session's id.
    pub session: String,
    /// Its token.
    pub token: Secret,
}

/// The session file of a command that was told of no session: that of the `tenure run` it is a part of. Without one it
/// must be told in one of these `ways`.
pub(crate) fn of_this_run(ways: &str) -> Result<PathBuf, CommandError> {
    environment::session_file()
        .ok_or_else(|| CommandError::Usage(format!("no session is named: {ways} or TENURE_SESSION_FILE")))
}

/// Reads a session file in order to ask by its token.
pub(crate) fn open_session(named: NamedServer<'_>, path: &Path) -> Result<FileSession, CommandError> {
    let grant = read(&SessionFile::at(path))?;
    let url = named.url.map_or_else(|| checked_url(&grant.url), |named| Ok(named.to_owned()));
    let url = url.map_err(|why| CommandError::Usage(format!("{}: `url` {why}", path.display())))?;
    Ok(FileSession {
        client: crate::cli::connection::client::ApiClient::new(&url, None, named.plaintext)?,
        session: grant.session_id.to_string(),
        token: Secret::new(grant.token.expose()),
    })
}

/// What may be shown of a session file: all but its secrets.
pub(crate) fn shown(grant: &SessionGrant) -> Value {
    json!({
        "sessionId": grant.session_id,
        "subjectId": grant.subject_id,
        "expiresAt": grant.expires_at,
        "absoluteExpiresAt": grant.absolute_expires_at,
        "renewAt": grant.renew_at,
        "renewalCount": grant.renewal_count,
        "maxRenewals": grant.max_renewals,
    })
}

impl From<FileError> for CommandError {
    fn from(error: FileError) -> Self {
        match error {
            FileError::Io { path, source } => Self::File { path, source },
            FileError::OpenToOthers { .. } | FileError::Damaged { .. } | FileError::NoToken { .. } => {
                Self::Usage(error.to_string())
            }
        }
    }
}

impl From<Error> for CommandError {
    fn from(error: Error) -> Self {
        match error {
            Error::Refused(problem) => Self::Problem(Box::new(RefusedRequest::of(*problem, true))),
            Error::Unreachable { .. } | Error::Strange { .. } => Self::Unanswered(error),
            Error::Unsendable(why) => Self::Usage(why),
        }
    }
}

impl From<HoldError> for CommandError {
    fn from(error: HoldError) -> Self {
        match error {
            HoldError::File(error) => error.into(),
            HoldError::Call(error) => error.into(),
            HoldError::UnknownSession { .. } => Self::Usage(error.to_string()),
        }
    }
}

impl From<io::Error> for CommandError {
    fn from(error: io::Error) -> Self {
        Self::Server(error.to_string())
    }
}
