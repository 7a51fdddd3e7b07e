//! Developer commands: `cargo xtask --help`. A command is a file (or folder) beside this one; this file parses and
//! dispatches, nothing else.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command line tool speaks on its terminal")]

mod bench;
mod component;
mod demo;
mod dist;
mod guests;
mod licences;
mod lint;
mod run;
mod setup;
mod tally;
mod test;
mod toolchain;

use std::process::ExitCode;

use clap::Parser;

/// Build, test and measure weft.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
enum Command {
    /// Install what building and testing need: Debian packages and Rust targets.
    Setup,
    /// Build plugins/* and tests/guests/* into target/components/*.wasm.
    Guests,
    /// Leave weft, its components and weftctl ready to copy in target/dist.
    Dist(dist::Options),
    /// Run every test; with FILTER only those whose name contains it.
    Test(test::Options),
    /// Format, clippy, licences, crate boundaries, frozen contracts, aarch64.
    Lint(lint::Options),
    /// Watch weft do its main job: two pods on two flannel networks, from install to an empty node.
    Demo(demo::Options),
    /// Measure.
    #[command(subcommand)]
    Bench(bench::Bench),
}

fn main() -> anyhow::Result<ExitCode> {
    let workspace = run::Workspace::find()?;
    match Command::parse() {
        Command::Setup => setup::everything(&workspace)?,
        Command::Guests => guests::run(&workspace)?,
        Command::Dist(options) => dist::run(&workspace, &options)?,
        Command::Test(options) => return test::run(&workspace, &options),
        Command::Lint(options) => lint::run(&workspace, &options)?,
        Command::Demo(options) => demo::run(&workspace, &options)?,
        Command::Bench(bench) => return bench::run(&workspace, bench),
    }
    Ok(ExitCode::SUCCESS)
}
