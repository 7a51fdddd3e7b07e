//! Components from crates: every `cdylib` of the workspace under plugins/ and tests/guests/ is compiled to core wasm and
//! wrapped as a component, named after its folder: plugins/host-local becomes target/components/host-local.wasm.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::run::{Workspace, call, output, write_changed};
use crate::setup::{self, Need};
use crate::{component, toolchain};

/// A crate that becomes a component.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Guest {
    pub(crate) package: String,
    /// The file cargo leaves, without `.wasm`.
    library: String,
    /// What the component is called: the CNI `type`.
    pub(crate) name: String,
    folder: PathBuf,
    /// From plugins/, so part of what users get; the others are tests'.
    pub(crate) shipped: bool,
}

/// `cargo xtask guests`.
pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    setup::ensure(Need::Build)?;
    build(workspace).map(drop)
}

/// Builds all of them and removes components whose crate is gone.
pub(crate) fn build(workspace: &Workspace) -> Result<Vec<Guest>> {
    let guests = list(workspace)?;
    if guests.is_empty() {
        bail!("no crate under plugins/ or tests/guests/ has crate-type cdylib");
    }
    let mut command =
        workspace.cargo(["build", "--locked", "--profile", "guest", "--target", toolchain::GUEST, "--lib"]);
    for guest in &guests {
        command.args(["--package", &guest.package]);
    }
    toolchain::guest()?.apply(&mut command);
    run_build(&mut command)?;
    let core = workspace.target.join(toolchain::GUEST).join("guest");
    for guest in &guests {
        wrap(guest, &core, &workspace.components())?;
    }
    remove_others(&workspace.components(), &guests)?;
    Ok(guests)
}

/// All crates that become components.
pub(crate) fn list(workspace: &Workspace) -> Result<Vec<Guest>> {
    let metadata = output(&mut workspace.cargo(["metadata", "--no-deps", "--format-version", "1", "--locked"]))?;
    find(&workspace.root, &serde_json::from_str(&metadata).context("cargo metadata is not JSON")?)
}

fn run_build(command: &mut std::process::Command) -> Result<()> {
    // Flags meant for this machine's programs say nothing good to the wasm linker.
    call(command.env_remove("RUSTFLAGS").env_remove("CARGO_ENCODED_RUSTFLAGS"))
}

fn find(root: &Path, metadata: &Value) -> Result<Vec<Guest>> {
    let mut guests = Vec::new();
    for package in metadata["packages"].as_array().context("cargo metadata: no `packages`")? {
        let text = |value: &Value| value.as_str().map(str::to_owned).context("cargo metadata: a name is no string");
        let manifest = PathBuf::from(text(&package["manifest_path"])?);
        let folder = manifest.parent().context("a manifest without folder")?;
        let place = folder.strip_prefix(root).unwrap_or(folder);
        let shipped = place.starts_with("plugins");
        if !shipped && !place.starts_with("tests/guests") {
            continue;
        }
        let targets = package["targets"].as_array().map_or(&[][..], Vec::as_slice);
        let cdylib = targets.iter().find(|target| {
            target["crate_types"].as_array().is_some_and(|types| types.iter().any(|kind| kind == "cdylib"))
        });
        if let (Some(library), Some(name)) = (cdylib, folder.file_name()) {
            guests.push(Guest {
                package: text(&package["name"])?,
                library: text(&library["name"])?.replace('-', "_"),
                name: name.to_string_lossy().into_owned(),
                folder: folder.to_path_buf(),
                shipped,
            });
        }
    }
    guests.sort_by(|a, b| (!a.shipped, &a.name).cmp(&(!b.shipped, &b.name)));
    if let Some(pair) = guests.iter().enumerate().find(|(at, guest)| guests[..*at].iter().any(|g| g.name == guest.name))
    {
        bail!("two crates become the component `{}`: name one of their folders differently", pair.1.name);
    }
    Ok(guests)
}

fn wrap(guest: &Guest, core: &Path, components: &Path) -> Result<()> {
    let core = core.join(&guest.library).with_extension("wasm");
    let bytes = std::fs::read(&core).with_context(|| format!("read {}", core.display()))?;
    let component = component::componentize(&bytes).with_context(|| format!("componentize {}", core.display()))?;
    let path = components.join(format!("{}.wasm", guest.name));
    println!("{:>9} bytes  {}", component.len(), path.display());
    write_changed(&path, &component)
}

impl Guest {
    /// `grants.json` in its folder: the files that the component may read without a configuration naming them, which
    /// `weftctl install` expects beside it.
    pub(crate) fn grants(&self) -> Option<PathBuf> {
        Some(self.folder.join("grants.json")).filter(|path| path.is_file())
    }
}

fn remove_others(components: &Path, guests: &[Guest]) -> Result<()> {
    for entry in std::fs::read_dir(components).with_context(|| format!("list {}", components.display()))? {
        let path = entry?.path();
        let known = path.file_stem().is_some_and(|stem| guests.iter().any(|guest| *guest.name == *stem));
        if !known && path.extension().is_some_and(|extension| extension == "wasm") {
            std::fs::remove_file(&path).with_context(|| format!("remove {}", path.display()))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn package(name: &str, folder: &str, kind: &str) -> Value {
        json!({"name": name, "manifest_path": format!("/w/{folder}/Cargo.toml"),
               "targets": [{"name": name.replace('-', "_"), "crate_types": [kind]}]})
    }

    #[test]
    fn guests_are_named_after_their_folder() {
        let metadata = json!({"packages": [
            package("weft-guest-loop", "tests/guests/loop", "cdylib"),
            package("weft-plugin-host-local", "plugins/host-local", "cdylib"),
            package("weft-engine", "host/engine", "lib"),
            package("weft-plugin-common", "plugins/common", "lib"),
        ]});
        let guests = find(Path::new("/w"), &metadata).unwrap();
        let seen: Vec<_> = guests.iter().map(|g| (g.name.as_str(), g.library.as_str(), g.shipped)).collect();
        assert_eq!(seen, [("host-local", "weft_plugin_host_local", true), ("loop", "weft_guest_loop", false)]);
    }

    #[test]
    fn two_guests_of_one_name_are_refused() {
        let metadata = json!({"packages": [
            package("a", "plugins/bridge", "cdylib"), package("b", "tests/guests/bridge", "cdylib"),
        ]});
        assert!(find(Path::new("/w"), &metadata).unwrap_err().to_string().contains("`bridge`"));
    }
}
