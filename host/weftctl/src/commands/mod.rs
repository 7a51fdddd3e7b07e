//! The commands: one file each, with its arguments and its run.

mod compile;
mod completions;
mod inspect;
mod install;
mod uninstall;

use anyhow::Result;

// A command is added by a file here and a line in both lists.
#[derive(clap::Subcommand)]
pub(crate) enum Command {
    Install(install::Arguments),
    Uninstall(uninstall::Arguments),
    Compile(compile::Arguments),
    Inspect(inspect::Arguments),
    Completions(completions::Arguments),
}

pub(crate) fn run(command: Command) -> Result<()> {
    match command {
        Command::Install(arguments) => install::run(&arguments),
        Command::Uninstall(arguments) => uninstall::run(&arguments),
        Command::Compile(arguments) => compile::run(&arguments),
        Command::Inspect(arguments) => inspect::run(&arguments),
        Command::Completions(arguments) => completions::run(&arguments),
    }
}
