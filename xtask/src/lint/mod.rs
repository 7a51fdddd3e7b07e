//! What must hold besides the tests: format, clippy, licences and sources of dependencies, crate boundaries, frozen
//! contracts, and that weft is the same program on aarch64.

mod aarch64;
mod frozen;
mod purity;

use std::process::Command;

use anyhow::Result;

use crate::run::{Steps, Workspace, call};
use crate::setup::{self, Need};

/// What `cargo xtask lint` takes.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Only these: fmt, clippy, deny, purity, frozen, aarch64.
    only: Vec<String>,
}

type Check = fn(&Workspace) -> Result<()>;

/// Cheap ones first.
const CHECKS: &[(&str, Check)] = &[
    ("fmt", format),
    ("purity", purity::check),
    ("frozen", frozen::check),
    ("deny", deny),
    ("clippy", clippy),
    ("aarch64", aarch64::check),
];

/// `cargo xtask lint`.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<()> {
    if let Some(unknown) = options.only.iter().find(|name| !CHECKS.iter().any(|(known, _)| known == name)) {
        let known: Vec<&str> = CHECKS.iter().map(|(name, _)| *name).collect();
        anyhow::bail!("there is no check `{unknown}`; there are: {}", known.join(", "));
    }
    setup::ensure(Need::Lint)?;
    let mut steps = Steps::default();
    for (name, check) in CHECKS {
        if options.only.is_empty() || options.only.iter().any(|only| only == name) {
            steps.step(name, || check(workspace))?;
        }
    }
    steps.print();
    Ok(())
}

fn format(workspace: &Workspace) -> Result<()> {
    call(&mut workspace.cargo(["fmt", "--all", "--", "--check"]))
}

fn clippy(workspace: &Workspace) -> Result<()> {
    let arguments = ["clippy", "--locked", "--workspace", "--all-targets", "--", "--deny", "warnings"];
    call(&mut workspace.cargo(arguments))
}

fn deny(workspace: &Workspace) -> Result<()> {
    let Some(program) = setup::cargo_deny(workspace)? else {
        println!(
            "SKIP: deny: cargo-deny is not installed; `cargo install cargo-deny --locked` (with CI set, lint does it)"
        );
        return Ok(());
    };
    let mut command = Command::new(program);
    call(command.current_dir(&workspace.root).args(["check", "--hide-inclusion-graph", "licenses", "bans", "sources"]))
}
