//! `dr-plan completions` and `dr-plan man`.

use clap::Args;

use super::failure::{BUG, CliError, OK, Outcome};
use super::{command_line, print};

/// Print completions for a shell
#[derive(Debug, Args)]
pub struct Completions {
    /// The shell
    #[arg(value_enum)]
    shell: clap_complete::Shell,
}

impl Completions {
    /// Carries it out.
    pub fn run(self) -> Outcome {
        let mut bytes = Vec::new();
        clap_complete::generate(self.shell, &mut command_line(), "dr-plan", &mut bytes);
        print(&String::from_utf8_lossy(&bytes));
        Ok(OK)
    }
}

/// Print the manual page
#[derive(Debug, Args)]
pub struct Man {}

impl Man {
    /// Carries it out.
    pub fn run(self) -> Outcome {
        let mut bytes = Vec::new();
        clap_mangen::Man::new(command_line())
            .render(&mut bytes)
            .map_err(|error| CliError::new(BUG, format!("making the manual page: {error}")))?;
        print(&String::from_utf8_lossy(&bytes));
        Ok(OK)
    }
}
