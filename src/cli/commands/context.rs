//! `tenure context …`

use std::path::PathBuf;

use clap::{Args, Subcommand, builder::NonEmptyStringValueParser};
use serde_json::{Value, json};

use crate::cli::contexts::{SavedContext, SavedContexts, missing};
use crate::cli::{context::GlobalArgs, environment, failure::CommandError, output::Column};

#[derive(Debug, Subcommand)]
pub(crate) enum ContextCommand {
    /// Add a context: a name for a server and its key file
    Add(AddArgs),
    /// Switch to a context
    Use(NameArgs),
    /// List contexts
    #[command(visible_alias = "list")]
    Ls,
    /// Remove a context; its key file stays
    Rm(NameArgs),
}

#[derive(Debug, Args)]
#[command(after_help = "\
    Takes the server from --url and the key from --key-file. The first context becomes the current one.\n\n\
    Example: tenure context add prod --url https://tenure.example --key-file ~/prod.key")]
pub(crate) struct AddArgs {
    /// Its name
    #[arg(value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    name: String,

    /// Make it the current one
    #[arg(long = "use")]
    use_it: bool,
}

#[derive(Debug, Args)]
pub(crate) struct NameArgs {
    /// Its name
    #[arg(value_name = "NAME")]
    name: String,
}

const COLUMNS: &[Column] = &[
    Column::plain("", "current"),
    Column::plain("NAME", "name"),
    Column::plain("SERVER", "url"),
    Column::plain("KEY FILE", "keyFile"),
];

impl ContextCommand {
    pub(crate) fn run(self, global: &GlobalArgs) -> Result<(), CommandError> {
        match self {
            Self::Add(add) => add.run(global),
            Self::Use(name) => use_context(global, &name.name),
            Self::Ls => list(global),
            Self::Rm(name) => remove(global, &name.name),
        }
    }
}

impl AddArgs {
    fn run(self, global: &GlobalArgs) -> Result<(), CommandError> {
        let Some(url) = global.named().url else {
            return Err(CommandError::Usage("give the server with --url".to_owned()));
        };
        let key_file = global.typed_key_file().map(absolute).transpose()?;
        let mut kept = SavedContexts::read()?;
        kept.contexts.insert(self.name.clone(), SavedContext { url: url.to_owned(), key_file });
        if self.use_it || kept.current.is_none() {
            kept.current = Some(self.name.clone());
        }
        kept.write()?;
        report(global, &kept, &self.name);
        Ok(())
    }
}

/// A key file is found from every directory.
fn absolute(path: &std::path::Path) -> Result<PathBuf, CommandError> {
    let failed = |source| CommandError::File { path: path.to_owned(), source };
    std::fs::canonicalize(path).map_err(failed)
}

fn use_context(global: &GlobalArgs, name: &str) -> Result<(), CommandError> {
    let mut kept = SavedContexts::read()?;
    if !kept.contexts.contains_key(name) {
        return Err(missing(name, &kept));
    }
    kept.current = Some(name.to_owned());
    kept.write()?;
    report(global, &kept, name);
    Ok(())
}

fn remove(global: &GlobalArgs, name: &str) -> Result<(), CommandError> {
    let mut kept = SavedContexts::read()?;
    if kept.contexts.remove(name).is_none() {
        return Err(missing(name, &kept));
    }
    kept.current = kept.current.filter(|current| current != name);
    kept.write()?;
    global.output().info(&format!("Context {name} is forgotten."));
    Ok(())
}

fn report(global: &GlobalArgs, kept: &SavedContexts, name: &str) {
    let place = &kept.contexts[name];
    if kept.current.as_deref() == Some(name) {
        global.output().info(&format!("Commands now ask {} as context {name}.", place.url));
    } else {
        global
            .output()
            .info(&format!("Context {name} is {}; to use it: tenure context use {name}", place.url));
    }
}

fn list(global: &GlobalArgs) -> Result<(), CommandError> {
    let kept = SavedContexts::read()?;
    let item = |(name, place): (&String, &SavedContext)| {
        let current = if kept.current.as_ref() == Some(name) { json!("*") } else { Value::Null };
        json!({ "current": current, "name": name, "url": place.url, "keyFile": place.key_file })
    };
    let items: Vec<_> = kept.contexts.iter().map(item).collect();
    let empty = "No contexts; to keep one: tenure context add NAME --url URL --key-file FILE";
    global.output().list_or(&json!({ "items": items }), COLUMNS, environment::now(), empty)
}
