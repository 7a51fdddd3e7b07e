//! target/dist: what a release is, ready to copy. weft and weftctl as static programs, the components, every licence,
//! SHA256SUMS. Built again only where something changed.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

use crate::run::{Workspace, call, write_changed};
use crate::setup::{self, Need};
use crate::toolchain::NativeToolchain;
use crate::{guests, licences, toolchain};

/// What `cargo xtask dist` takes.
#[derive(clap::Args, Default)]
pub(crate) struct Options {
    /// Build for another machine, for example aarch64-unknown-linux-musl; goes to target/dist-TARGET.
    #[arg(long)]
    target: Option<String>,
}

/// The programs: package, cargo profile.
const PROGRAMS: &[(&str, &str)] = &[("weft", "lean"), ("weftctl", "tool")];

pub(crate) fn run_for_tests(workspace: &Workspace) -> Result<PathBuf> {
    build(workspace, &Options::default())
}

/// `cargo xtask dist`.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<()> {
    let folder = build(workspace, options)?;
    println!("{}:\n{}", folder.display(), std::fs::read_to_string(folder.join("SHA256SUMS"))?);
    Ok(())
}

fn build(workspace: &Workspace, options: &Options) -> Result<PathBuf> {
    setup::ensure(Need::Build)?;
    let native = match &options.target {
        Some(target) if !toolchain::has_target(target) && !toolchain::add_target(target) => {
            toolchain::native(Some(target))?
        }
        target => toolchain::native(target.as_deref())?,
    };
    let folder = match &options.target {
        Some(target) if *target != toolchain::native_target() => workspace.target.join(format!("dist-{target}")),
        _ => workspace.dist(),
    };
    let guests = guests::build(workspace)?;
    let components = folder.join("components");
    std::fs::create_dir_all(&components).with_context(|| format!("create {}", components.display()))?;

    let mut files = Vec::new();
    for (program, profile) in PROGRAMS {
        build_program(workspace, &native, program, profile)?;
        let built = workspace.target.join(native.triple()).join(profile).join(program);
        files.push(place(&built, &folder, program, 0o755)?);
    }
    for guest in guests.iter().filter(|guest| guest.shipped) {
        let name = format!("{}.wasm", guest.name);
        let built = workspace.components().join(&name);
        files.push(place(&built, &folder, &format!("components/{name}"), 0o644)?);
        if let Some(grants) = guest.grants() {
            files.push(place(&grants, &folder, &format!("components/{}.grants.json", guest.name), 0o644)?);
        }
    }
    files.push(place(&workspace.root.join("LICENSE"), &folder, "LICENSE", 0o644)?);
    let texts = licences::third_party(workspace, &native, &guests)?;
    write_changed(&folder.join("THIRD-PARTY-LICENSES.txt"), texts.as_bytes())?;
    files.push("THIRD-PARTY-LICENSES.txt".to_owned());
    remove_others(&folder, &files)?;
    write_changed(&folder.join("SHA256SUMS"), sums(&folder, &files)?.as_bytes())?;
    Ok(folder)
}

fn build_program(workspace: &Workspace, native: &NativeToolchain, program: &str, profile: &str) -> Result<()> {
    let mut command =
        workspace.cargo(["build", "--locked", "--package", program, "--bin", program, "--profile", profile]);
    native.apply(&mut command);
    call(&mut command)
}

pub(crate) fn place(from: &Path, folder: &Path, name: &str, mode: u32) -> Result<String> {
    use std::os::unix::fs::PermissionsExt as _;
    let content = std::fs::read(from).with_context(|| format!("read {}", from.display()))?;
    let to = folder.join(name);
    write_changed(&to, &content)?;
    std::fs::set_permissions(&to, std::fs::Permissions::from_mode(mode))
        .with_context(|| format!("set the mode of {}", to.display()))?;
    Ok(name.to_owned())
}

/// A component that is no longer built must not be shipped.
fn remove_others(folder: &Path, files: &[String]) -> Result<()> {
    for place in ["", "components"] {
        let listed = folder.join(place);
        for entry in std::fs::read_dir(&listed).with_context(|| format!("list {}", listed.display()))? {
            let path = entry?.path();
            let name = path.strip_prefix(folder).unwrap_or(&path).to_string_lossy().into_owned();
            if path.is_file() && name != "SHA256SUMS" && !files.contains(&name) {
                std::fs::remove_file(&path).with_context(|| format!("remove {}", path.display()))?;
            }
        }
    }
    Ok(())
}

/// As `sha256sum` prints them, sorted by name: `sha256sum --check SHA256SUMS` reads it.
fn sums(folder: &Path, files: &[String]) -> Result<String> {
    let mut names: Vec<&String> = files.iter().collect();
    names.sort();
    let mut text = String::new();
    for name in names {
        let content = std::fs::read(folder.join(name)).with_context(|| format!("read {name}"))?;
        let _ = writeln!(text, "{}  {name}", hex(&Sha256::digest(&content)));
    }
    Ok(text)
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_longer_built_is_not_shipped() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["weft", "SHA256SUMS", "components/old.wasm", "components/new.wasm"] {
            write_changed(&folder.path().join(name), b"x").unwrap();
        }
        remove_others(folder.path(), &["weft".into(), "components/new.wasm".into()]).unwrap();
        assert!(!folder.path().join("components/old.wasm").exists());
        assert!(folder.path().join("components/new.wasm").exists() && folder.path().join("SHA256SUMS").exists());
    }

    #[test]
    fn sums_are_sha256sums() {
        let folder = tempfile::tempdir().unwrap();
        write_changed(&folder.path().join("b"), b"").unwrap();
        write_changed(&folder.path().join("a"), b"abc").unwrap();
        assert_eq!(
            sums(folder.path(), &["b".into(), "a".into()]).unwrap(),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad  a\n\
             e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855  b\n"
        );
    }
}
