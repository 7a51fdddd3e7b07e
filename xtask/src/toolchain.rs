//! Which compiler and target build what: rustup's targets where they can be had, else what Debian ships. Owns the
//! choice and its environment variables; builds nothing.

use std::ffi::OsString;
use std::path::Path;
use std::process::Command;

use anyhow::{Result, bail};

use crate::run::{call, output, succeeds, which};

pub(crate) const GUEST: &str = "wasm32-unknown-unknown";

/// How components are compiled to core wasm.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum GuestToolchain {
    /// The target's standard library comes from rustup.
    Rustup,
    /// Debian's rustc-web, the standard library built from rust-web-src.
    Debian,
}

impl GuestToolchain {
    /// Adds what this toolchain needs to a `cargo build --target wasm32-unknown-unknown`.
    pub(crate) fn apply(self, command: &mut Command) {
        if self == Self::Debian {
            command
                .arg("-Zbuild-std=std,panic_abort")
                .env("RUSTC", "/usr/bin/rustc")
                .env("RUSTC_BOOTSTRAP", "1")
                .env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", "wasm-ld");
        }
    }
}

/// How weft and weftctl are compiled.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum NativeToolchain {
    /// A musl target: `.cargo/config.toml` has its flags.
    Musl(String),
    /// This machine's glibc target, linked statically.
    Glibc(String),
}

impl NativeToolchain {
    pub(crate) fn triple(&self) -> &str {
        match self {
            Self::Musl(triple) | Self::Glibc(triple) => triple,
        }
    }

    /// Adds the target and its flags to a cargo command.
    pub(crate) fn apply(&self, command: &mut Command) {
        command.args(["--target", self.triple()]);
        if let Self::Glibc(triple) = self {
            let name = format!("CARGO_TARGET_{}_RUSTFLAGS", triple.replace('-', "_").to_uppercase());
            command.env(name, "-C target-feature=+crt-static -C relocation-model=static");
        }
    }
}

/// The musl target of the machine we run on.
pub(crate) fn native_target() -> String {
    format!("{}-unknown-linux-musl", std::env::consts::ARCH)
}

pub(crate) fn guest() -> Result<GuestToolchain> {
    if has_target(GUEST) {
        return Ok(GuestToolchain::Rustup);
    }
    if debian_can_build_guests() {
        return Ok(GuestToolchain::Debian);
    }
    bail!(
        "no compiler for {GUEST}: `rustup target add {GUEST}` or `apt-get install {}`",
        DEBIAN_GUEST_PACKAGES.join(" ")
    )
}

pub(crate) fn native(target: Option<&str>) -> Result<NativeToolchain> {
    let wanted = target.map_or_else(native_target, str::to_owned);
    if has_target(&wanted) {
        return Ok(NativeToolchain::Musl(wanted));
    }
    if wanted != native_target() {
        bail!("no standard library for {wanted}: `rustup target add {wanted}`");
    }
    let glibc = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    eprintln!(
        "no standard library for {wanted}: weft and weftctl are built for {glibc}, still static, a little larger"
    );
    Ok(NativeToolchain::Glibc(glibc))
}

/// What stands in for rustup's wasm target.
pub(crate) const DEBIAN_GUEST_PACKAGES: &[&str] = &["rustc-web", "rust-web-src", "lld"];

fn debian_can_build_guests() -> bool {
    which("wasm-ld").is_some()
        && Path::new("/usr/bin/rustc").exists()
        && output(Command::new("/usr/bin/rustc").args(["--print", "sysroot"]))
            .is_ok_and(|sysroot| Path::new(sysroot.trim()).join("lib/rustlib/src/rust/library/std").exists())
}

/// Whether the compiler cargo uses has the target's standard library.
pub(crate) fn has_target(triple: &str) -> bool {
    let compiler = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    // Not `output`: for a target it doesn't know, the compiler complains.
    let Ok(answer) = Command::new(compiler).args(["--print", "target-libdir", "--target", triple]).output() else {
        return false;
    };
    let folder = String::from_utf8_lossy(&answer.stdout).into_owned();
    let is_std = |name: OsString| name.to_string_lossy().starts_with("libstd-");
    std::fs::read_dir(folder.trim()).is_ok_and(|entries| entries.flatten().any(|entry| is_std(entry.file_name())))
}

/// Asks rustup for a target. False: there is no rustup, or it could not.
pub(crate) fn add_target(triple: &str) -> bool {
    if !succeeds(Command::new("rustup").arg("--version")) {
        eprintln!("{triple}: there is no rustup to ask");
        return false;
    }
    match call(Command::new("rustup").args(["target", "add", triple])) {
        Ok(()) => has_target(triple),
        Err(error) => {
            eprintln!("{triple}: {error:#}");
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn glibc_is_linked_statically_too() {
        let mut command = Command::new("cargo");
        NativeToolchain::Glibc("x86_64-unknown-linux-gnu".into()).apply(&mut command);
        let flags = command.get_envs().find(|(name, _)| *name == "CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUSTFLAGS");
        assert!(flags.unwrap().1.unwrap().to_str().unwrap().contains("+crt-static"));
    }

    #[test]
    fn a_target_that_does_not_exist_is_not_there() {
        assert!(!has_target("sparc-sun-cobol"));
    }
}
