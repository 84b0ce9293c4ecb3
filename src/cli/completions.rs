//! `tenure completions`

use clap::{Args, Command};
use clap_complete::{Shell, generate};

use super::{failure::Failure, output};

/// Arguments of `tenure completions`.
#[derive(Debug, Args)]
pub(crate) struct Completions {
    /// The shell to complete for
    #[arg(value_enum)]
    shell: Shell,
}

impl Completions {
    pub(crate) fn run(&self, tree: &mut Command) -> Result<(), Failure> {
        let mut script = Vec::new();
        generate(self.shell, tree, "tenure", &mut script);
        output::raw(&script)
    }
}
