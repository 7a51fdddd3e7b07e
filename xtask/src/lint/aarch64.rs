//! aarch64: everything compiles for it, and what has a wire format or does arithmetic gives the same answers there,
//! under qemu. musl with rust-lld, so no cross compiler is needed.

use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::guests;
use crate::run::{Workspace, call, which};
use crate::tally::Tally;
use crate::test::cargo_test;
use crate::toolchain;

const TARGET: &str = "aarch64-unknown-linux-musl";

/// Tests run there: everything that is pure, and of the kernel's codec what needs no kernel (qemu translates little netlink).
const TESTED: &[(&str, &[&str])] =
    &[("--tests", &["weft-json", "weft-cni", "weft-contract", "weft-executor"]), ("--lib", &["weft-kernel"])];

pub(super) fn check(workspace: &Workspace) -> Result<()> {
    if !toolchain::has_target(TARGET) {
        if std::env::var_os("CI").is_some() {
            bail!("no standard library for {TARGET}: `rustup target add {TARGET}`");
        }
        println!("SKIP: aarch64: no standard library for {TARGET}; `rustup target add {TARGET}`");
        return Ok(());
    }
    // Checked, not linked: what is linked and run is below and in `dist --target`. Components are wasm on every machine.
    let mut check = workspace.cargo(["check", "--locked", "--workspace", "--target", TARGET]);
    for guest in guests::list(workspace)? {
        check.args(["--exclude", &guest.package]);
    }
    call(&mut check)?;
    let qemu = ["qemu-aarch64-static", "qemu-aarch64"].into_iter().find_map(which);
    let qemu = qemu.context("qemu-aarch64-static is not installed: `apt-get install qemu-user-static`")?;
    // What users run is linked, too, and started.
    call(&mut workspace.cargo(["build", "--locked", "--package", "weft", "--target", TARGET]))?;
    let weft = workspace.target.join(TARGET).join("debug/weft");
    call(Command::new(&qemu).arg(weft).env("CNI_COMMAND", "VERSION").stdin(Stdio::null()))?;
    let mut tally = Tally::default();
    for (which, packages) in TESTED {
        let mut command = workspace.cargo(["test", "--locked", "--no-fail-fast", "--target", TARGET, which]);
        for package in *packages {
            command.args(["--package", package]);
        }
        command.env("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_MUSL_RUNNER", &qemu).env("WEFT_EMULATED", "1");
        tally += cargo_test(&mut command, None)?;
    }
    println!("aarch64: {tally}");
    if tally.failed > 0 {
        bail!("{} tests failed under qemu-aarch64", tally.failed);
    }
    Ok(())
}
