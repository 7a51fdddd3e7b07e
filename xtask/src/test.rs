//! Every test, in the order in which failures are cheapest to understand: crates, then weftctl, then end to end with
//! what `dist` left. One tally over all of them.
//!
//! wasmtime is the expensive dependency, so it is compiled no more often than there are kinds of it: optimised without
//! Cranelift (weft in dist), with Cranelift (weftctl, whose tests reuse dist's), and unoptimised without Cranelift (all
//! other tests). What compiles components is therefore never selected together with the rest: cargo unites the features
//! of all it builds at once, so Cranelift would be on for all.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result};

use crate::run::{Steps, Workspace, call, shown};
use crate::setup::{self, Need};
use crate::tally::{Reader, Tally};
use crate::{dist, toolchain};

/// Tested in weftctl's profile and for its target, because they, or their tests, need Cranelift.
const COMPILING: &[&str] = &["weftctl", "weft-engine"];
/// Needs what `dist` leaves.
const END_TO_END: &str = "weft-tests";

/// What `cargo xtask test` takes.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Only tests whose name contains it.
    filter: Option<String>,
}

/// `cargo xtask test`.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<ExitCode> {
    let filter = options.filter.as_deref();
    let mut steps = Steps::default();
    let mut tally = Tally::default();
    steps.step("setup", || setup::ensure(Need::Test))?;
    let folder = steps.step("dist", || dist::run_for_tests(workspace))?;
    let faulty = steps.step("weft with fault points", || faulty(workspace))?;
    let environment = |command: &mut Command| {
        command.env("WEFT_DIST", &folder).env("WEFT_COMPONENTS", workspace.components()).env("WEFT_FAULTY", &faulty);
    };
    tally += steps.step("crates", || {
        let mut command = workspace.cargo(["test", "--locked", "--no-fail-fast"]);
        select_others(&mut command);
        environment(&mut command);
        cargo_test(&mut command, filter)
    })?;
    tally += steps.step("crates that compile components", || {
        let mut command = workspace.cargo(["test", "--locked", "--no-fail-fast", "--profile", "tool"]);
        for package in COMPILING {
            command.args(["--package", package]);
        }
        toolchain::native(None)?.apply(&mut command);
        environment(&mut command);
        cargo_test(&mut command, filter)
    })?;
    tally += steps.step("end to end", || {
        let mut command = workspace.cargo(["test", "--locked", "--no-fail-fast", "--package", END_TO_END]);
        environment(&mut command);
        cargo_test(&mut command, filter)
    })?;
    steps.print();
    println!("{tally}");
    Ok(if tally.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Everything but what compiles components and what needs weftctl.
fn select_others(command: &mut Command) {
    command.arg("--workspace");
    for other in COMPILING.iter().chain([&END_TO_END]) {
        command.args(["--exclude", other]);
    }
}

/// A weft that tests can kill at any step or make fail there, apart from the one that cargo builds for other tests.
/// Selected like those, so that all it depends on has the same features and is built once.
fn faulty(workspace: &Workspace) -> Result<PathBuf> {
    let mut command = workspace.cargo(["build", "--locked", "--bin", "weft", "--features", "weft/fault-points"]);
    select_others(&mut command);
    call(&mut command)?;
    let folder = workspace.target.join("faulty");
    std::fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
    let name = dist::place(&workspace.target.join("debug/weft"), &folder, "weft", 0o755)?;
    Ok(folder.join(name))
}

/// Runs a `cargo test`, its output passed on as it comes.
pub(crate) fn cargo_test(command: &mut Command, filter: Option<&str>) -> Result<Tally> {
    // Without --show-output libtest swallows what a passing test prints, the reason why it skipped among it.
    command.arg("--").arg("--show-output").args(filter);
    eprintln!("+ {}", shown(command));
    let mut child =
        command.stdout(Stdio::piped()).spawn().with_context(|| format!("cannot start `{}`", shown(command)))?;
    let mut reader = Reader::default();
    let mut lines = BufReader::new(child.stdout.take().context("no pipe from cargo test")?);
    let mut line = Vec::new();
    let mut out = std::io::stdout().lock();
    while lines.read_until(b'\n', &mut line).context("read what cargo test prints")? > 0 {
        if reader.line(String::from_utf8_lossy(&line).trim_end()) {
            out.write_all(&line)?;
        }
        line.clear();
    }
    let status = child.wait().context("wait for cargo test")?;
    Ok(reader.finish(status.success()))
}
