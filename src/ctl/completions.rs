//! `postroadctl completions SHELL`.

use clap::CommandFactory;
use clap_complete::Shell;

use super::failure::Failure;
use super::output::Output;

/// Which shell.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The shell to complete for.
    shell: Shell,
}

pub(super) fn run(args: &Args, output: &mut Output<'_>) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut super::Command::command(), "postroadctl", &mut script);
    output.raw(&String::from_utf8_lossy(&script))
}
