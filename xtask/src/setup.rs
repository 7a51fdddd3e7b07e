//! What a fresh machine lacks: Debian packages and Rust targets. Says what is installed and why; touches nothing that
//! is there already, and never installs behind the back of someone who isn't root.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::run::{Workspace, call, output, succeeds, which};
use crate::toolchain;

/// What something is needed for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Need {
    /// `guests`, `dist`.
    Build,
    /// `lint`.
    Lint,
    /// `test`.
    Test,
    /// `bench`.
    Bench,
}

struct Package {
    name: &'static str,
    purpose: &'static str,
    needs: &'static [Need],
}

use Need::{Bench, Build, Lint, Test};

const EVERY: &[Need] = &[Build, Lint, Test, Bench];

#[rustfmt::skip]
const PACKAGES: &[Package] = &[
    Package { name: "gcc", purpose: "links build scripts and what runs on this machine", needs: EVERY },
    Package { name: "libc6-dev", purpose: "the C library those are linked to", needs: EVERY },
    Package { name: "gcc-aarch64-linux-gnu", purpose: "compiles wasmtime's one C file for aarch64", needs: &[Lint] },
    Package { name: "libc6-dev-arm64-cross", purpose: "the header that file includes", needs: &[Lint] },
    Package { name: "git", purpose: "lint compares the frozen contracts with their history", needs: &[Lint] },
    Package { name: "qemu-user-static", purpose: "runs the aarch64 tests", needs: &[Lint] },
    Package { name: "util-linux", purpose: "unshare and nsenter: tests and benchmarks live in namespaces of their own", needs: &[Test, Bench] },
    Package { name: "iproute2", purpose: "tests look at links, addresses and routes with a second pair of eyes", needs: &[Test, Bench] },
    Package { name: "nftables", purpose: "tests look at nftables rules with a second pair of eyes", needs: &[Test] },
    Package { name: "iptables", purpose: "the reference plugins masquerade with it", needs: &[Test, Bench] },
    Package { name: "containernetworking-plugins", purpose: "the reference plugins: native delegates in tests, competitors in benchmarks", needs: &[Test, Bench] },
    Package { name: "containerd", purpose: "a real runtime that calls weft", needs: &[Test] },
    Package { name: "runc", purpose: "runs its containers", needs: &[Test] },
    Package { name: "podman", purpose: "another real runtime, with its CNI back end", needs: &[Test] },
    Package { name: "conmon", purpose: "watches podman's containers", needs: &[Test] },
    Package { name: "busybox-static", purpose: "the containers' root file system", needs: &[Test] },
    Package { name: "python3-grpcio", purpose: "speaks CRI to containerd", needs: &[Test] },
];

/// `cargo xtask setup`.
pub(crate) fn everything(workspace: &Workspace) -> Result<()> {
    for need in EVERY {
        ensure(*need)?;
    }
    eprintln!("everything is there; tools that lint needs go to {}", tools(workspace).display());
    Ok(())
}

/// Checks, and installs what is missing, for one purpose. Costs some milliseconds when nothing is.
pub(crate) fn ensure(need: Need) -> Result<()> {
    packages(need)?;
    match need {
        Build | Test | Bench => {
            rust_targets(&[&toolchain::native_target()]);
            guest_target()
        }
        Lint => {
            rust_targets(&["aarch64-unknown-linux-musl"]);
            Ok(())
        }
    }
}

fn packages(need: Need) -> Result<()> {
    let wanted: Vec<&Package> = PACKAGES.iter().filter(|package| package.needs.contains(&need)).collect();
    if which("dpkg-query").is_none() {
        let names: Vec<&str> = wanted.iter().map(|package| package.name).collect();
        eprintln!("this is no Debian: the equivalents of these packages are taken to be there: {}", names.join(" "));
        return Ok(());
    }
    let missing: Vec<&Package> = missing(wanted)?;
    for package in &missing {
        eprintln!("missing: {}: {}", package.name, package.purpose);
    }
    let names: Vec<&str> = missing.iter().map(|package| package.name).collect();
    install(&names)
}

fn missing(wanted: Vec<&'static Package>) -> Result<Vec<&'static Package>> {
    // Unknown packages make dpkg-query fail, and its output is still right.
    let done = Command::new("dpkg-query")
        .args(["--show", "--showformat", "${Package} ${db:Status-Status}\n"])
        .args(wanted.iter().map(|package| package.name))
        .output()
        .context("cannot start dpkg-query")?;
    let installed = installed(&String::from_utf8_lossy(&done.stdout));
    Ok(wanted.into_iter().filter(|package| !installed.iter().any(|name| name == package.name)).collect())
}

fn installed(listing: &str) -> Vec<String> {
    listing.lines().filter_map(|line| line.strip_suffix(" installed")).map(str::to_owned).collect()
}

fn install(names: &[&str]) -> Result<()> {
    if names.is_empty() {
        return Ok(());
    }
    let shown = format!("apt-get install --no-install-recommends --yes {}", names.join(" "));
    if output(Command::new("id").arg("-u"))?.trim() != "0" {
        bail!("packages are missing and only root can install them; run: sudo sh -c 'apt-get update && {shown}'");
    }
    let attempt = || {
        call(
            Command::new("apt-get")
                .env("DEBIAN_FRONTEND", "noninteractive")
                .args(["install", "--no-install-recommends", "--yes", "--quiet"])
                .args(names),
        )
    };
    // The package lists are fetched only when they turn out to be missing or old.
    let known = names.iter().all(|name| succeeds(Command::new("apt-cache").args(["show", name])));
    if known && attempt().is_ok() {
        return Ok(());
    }
    call(Command::new("apt-get").args(["update", "--quiet"]))?;
    attempt()
}

fn rust_targets(triples: &[&str]) {
    for triple in triples {
        if !toolchain::has_target(triple) {
            eprintln!("missing: Rust target {triple}");
            toolchain::add_target(triple);
        }
    }
}

fn guest_target() -> Result<()> {
    if toolchain::has_target(toolchain::GUEST) || toolchain::guest().is_ok() {
        return Ok(());
    }
    eprintln!("missing: Rust target {}, which components are compiled for", toolchain::GUEST);
    if toolchain::add_target(toolchain::GUEST) {
        return Ok(());
    }
    eprintln!("components are built with Debian's compiler and a standard library built from source instead");
    install(toolchain::DEBIAN_GUEST_PACKAGES)?;
    toolchain::guest().map(drop)
}

/// Where cargo installs tools of ours.
pub(crate) fn tools(workspace: &Workspace) -> PathBuf {
    workspace.target.join("tools")
}

/// cargo-deny: from `PATH` or our own folder; in CI installed there when it is missing.
pub(crate) fn cargo_deny(workspace: &Workspace) -> Result<Option<PathBuf>> {
    let own = tools(workspace).join("bin/cargo-deny");
    if let Some(path) = which("cargo-deny").or_else(|| own.is_file().then_some(own.clone())) {
        return Ok(Some(path));
    }
    if std::env::var_os("CI").is_none() {
        return Ok(None);
    }
    eprintln!("missing: cargo-deny, which checks licences, bans and sources");
    let mut command = workspace.cargo(["install", "cargo-deny", "--locked", "--root"]);
    call(command.arg(tools(workspace)).current_dir("/"))?;
    Ok(Some(own))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_installed_packages_count() {
        let listing = "gcc installed\nrunc config-files\npodman not-installed\nlibc6-dev installed\n";
        assert_eq!(installed(listing), ["gcc", "libc6-dev"]);
    }

    #[test]
    fn every_package_has_a_purpose_and_a_use() {
        for package in PACKAGES {
            assert!(!package.purpose.is_empty() && !package.needs.is_empty(), "{}", package.name);
        }
    }
}
