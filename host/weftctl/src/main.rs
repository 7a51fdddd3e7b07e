//! weftctl: the tool for people. Installs weft and its components, and shows what they are.

mod commands;
mod files;
mod installation;
mod node;
mod output;

use std::process::ExitCode;

use clap::Parser;

/// Manage weft: install it, compile components, look at them.
#[derive(Parser)]
#[command(name = "weftctl", version, disable_help_subcommand = true)]
struct Arguments {
    #[command(subcommand)]
    command: commands::Command,
}

fn main() -> ExitCode {
    match commands::run(Arguments::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever reads the output has seen enough.
        Err(error) if output::is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            output::complain(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}
