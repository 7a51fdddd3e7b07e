//! The commands: one file each, with its arguments and its run.

mod check;
mod compile;
mod completions;
mod gc;
mod inspect;
mod install;
mod list;
mod plan;
mod uninstall;

use anyhow::Result;

// A command is added by a file here and a line in both lists.
#[derive(clap::Subcommand)]
pub(crate) enum Command {
    Install(install::Arguments),
    Uninstall(uninstall::Arguments),
    Compile(compile::Arguments),
    Inspect(inspect::Arguments),
    Plan(plan::Arguments),
    Check(check::Arguments),
    List(list::Arguments),
    Gc(gc::Arguments),
    Completions(completions::Arguments),
}

pub(crate) fn run(command: Command) -> Result<()> {
    match command {
        Command::Install(arguments) => install::run(&arguments),
        Command::Uninstall(arguments) => uninstall::run(&arguments),
        Command::Compile(arguments) => compile::run(&arguments),
        Command::Inspect(arguments) => inspect::run(&arguments),
        Command::Plan(arguments) => plan::run(&arguments),
        Command::Check(arguments) => check::run(&arguments),
        Command::List(arguments) => list::run(&arguments),
        Command::Gc(arguments) => gc::run(&arguments),
        Command::Completions(arguments) => completions::run(&arguments),
    }
}
