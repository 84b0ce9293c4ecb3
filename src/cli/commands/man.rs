//! `tenure man`

use std::{fs, path::PathBuf};

use clap::{Args, Command};
use clap_mangen::Man;

use crate::cli::{
    failure::CommandError,
    output::{self, Output},
};

#[derive(Debug, Args)]
#[command(after_help = "\
    Prints the page of tenure itself, or writes a page for each command into a directory.\n\n\
    Example: tenure man --dir /usr/local/share/man/man1")]
pub(crate) struct ManArgs {
    /// Write tenure.1, tenure-session.1 and so on into this directory, which is created if missing
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

impl ManArgs {
    pub(crate) fn run(&self, output: Output, mut tree: Command) -> Result<(), CommandError> {
        tree.build();
        // In each help they are one line; here they have a place.
        tree = tree.mut_args(|argument| argument.hide(false));
        let Some(dir) = &self.dir else { return output::raw(&page(&tree)?) };
        let failed = |path: &PathBuf| {
            let path = path.clone();
            move |source| CommandError::File { path, source }
        };
        fs::create_dir_all(dir).map_err(failed(dir))?;
        let mut pages = Vec::new();
        gather(&tree, &mut pages)?;
        for (name, page) in &pages {
            let path = dir.join(name);
            fs::write(&path, page).map_err(failed(&path))?;
        }
        output.info(&format!("{} pages are in {}.", pages.len(), dir.display()));
        Ok(())
    }
}

fn gather(command: &Command, pages: &mut Vec<(String, Vec<u8>)>) -> Result<(), CommandError> {
    let name = command.get_display_name().unwrap_or_else(|| command.get_name());
    pages.push((format!("{name}.1"), page(command)?));
    let inner = command.get_subcommands().filter(|inner| !inner.is_hide_set() && inner.get_name() != "help");
    inner.into_iter().try_for_each(|inner| gather(inner, pages))
}

fn page(command: &Command) -> Result<Vec<u8>, CommandError> {
    let mut page = Vec::new();
    Man::new(command.clone()).manual("Tenure").render(&mut page).map_err(CommandError::Output)?;
    Ok(page)
}
