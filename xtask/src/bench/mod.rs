//! Measurements. Every one compares programs within one run, because the same machine differs by half between two.

mod add;
mod bars;
mod call;
mod competitor;
pub(crate) mod lab;
mod report;
mod series;
mod storm;

use std::process::ExitCode;

use anyhow::Result;

use crate::run::Workspace;

/// What to measure.
#[derive(clap::Subcommand)]
pub(crate) enum Bench {
    /// ADD and DEL as a container runtime sees them: weft, the Go plugins, and the least it can cost.
    Add(add::Options),
}

pub(crate) fn run(workspace: &Workspace, bench: Bench) -> Result<ExitCode> {
    match bench {
        Bench::Add(options) => add::run(workspace, &options),
    }
}
