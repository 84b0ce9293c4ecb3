//! Contexts: servers with the file of their key, by name, so that neither is typed each time.
//!
//! They are in one JSON file of the user's own. A context's key goes to the context's server and to no other.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::{environment, failure::CommandError, files::secret_file};

/// The file of contexts.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct SavedContexts {
    /// The default one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) current: Option<String>,
    #[serde(default)]
    pub(super) contexts: BTreeMap<String, SavedContext>,
}

/// A server, and who asks it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct SavedContext {
    /// The server's address.
    pub(crate) url: String,
    /// The file of the key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) key_file: Option<PathBuf>,
}

/// The context of this name, or else the current one; `None` if there is none.
pub(crate) fn find(name: Option<&str>) -> Result<Option<(String, SavedContext)>, CommandError> {
    let kept = SavedContexts::read()?;
    let Some(name) = name.map(str::to_owned).or_else(|| kept.current.clone()) else { return Ok(None) };
    match kept.contexts.get(&name) {
        Some(place) => Ok(Some((name, place.clone()))),
        None => Err(missing(&name, &kept)),
    }
}

pub(super) fn missing(name: &str, kept: &SavedContexts) -> CommandError {
    let names: Vec<_> = kept.contexts.keys().map(String::as_str).collect();
    let known = if names.is_empty() { "there is none".to_owned() } else { names.join(", ") };
    CommandError::Missing(format!("no context \"{name}\" ({known}); see tenure context add"))
}

impl SavedContexts {
    pub(super) fn read() -> Result<Self, CommandError> {
        let Some(path) = path() else { return Ok(Self::default()) };
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(source) => return Err(CommandError::File { path, source }),
        };
        serde_json::from_str(&text).map_err(|error| {
            CommandError::Usage(format!("{}: is no file of contexts: {error}", path.display()))
        })
    }

    pub(super) fn write(&self) -> Result<(), CommandError> {
        let path = path()
            .ok_or_else(|| CommandError::Usage("HOME is not set: there is no place for contexts".into()))?;
        let directory = path.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(directory)
            .map_err(|source| CommandError::File { path: directory.to_owned(), source })?;
        let text = serde_json::to_string_pretty(self).expect("contexts are JSON");
        secret_file::TokenReplacement::prepare(&path)?.commit(&crate::cli::files::secret::Secret::new(&text))
    }
}

/// `$XDG_CONFIG_HOME/tenure/contexts.json`, or below `~/.config`.
fn path() -> Option<PathBuf> {
    environment::config_home().map(|home| home.join("tenure/contexts.json"))
}
