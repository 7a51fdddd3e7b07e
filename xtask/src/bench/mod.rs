//! `cargo xtask bench`.
use std::process::ExitCode;

use anyhow::Result;

use crate::run::Workspace;

/// What to measure.
#[derive(clap::Subcommand)]
pub(crate) enum Bench {}

pub(crate) fn run(_workspace: &Workspace, bench: Bench) -> Result<ExitCode> {
    match bench {}
}
