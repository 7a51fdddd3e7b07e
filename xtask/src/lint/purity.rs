//! The crates that must stay pure: no runtime, no engine, no netlink anywhere in what they link.

use anyhow::{Result, bail};

use crate::run::{Workspace, output};

const PURE: &[&str] = &["weft-json", "weft-cni", "weft-contract", "weft-executor", "weft-store"];

pub(super) fn check(workspace: &Workspace) -> Result<()> {
    let mut found = Vec::new();
    for pure in PURE {
        let tree = output(&mut workspace.cargo([
            "tree",
            "--locked",
            "--package",
            pure,
            "--edges",
            "normal",
            "--prefix",
            "none",
            "--format",
            "{lib}",
        ]))?;
        found.extend(forbidden(&tree).map(|name| format!("{pure} links {name}")));
    }
    if !found.is_empty() {
        bail!(
            "pure crates link what acts:\n  {}\n`cargo tree --package CRATE --invert LINKED` says by which way",
            found.join("\n  ")
        );
    }
    Ok(())
}

/// The forbidden ones among library names, one a line.
fn forbidden(tree: &str) -> impl Iterator<Item = &str> {
    let mut names: Vec<&str> = tree.lines().map(str::trim).filter(|name| is_forbidden(name)).collect();
    names.sort_unstable();
    names.dedup();
    names.into_iter()
}

fn is_forbidden(library: &str) -> bool {
    ["wasmtime", "netlink_", "rtnetlink", "cranelift_"].iter().any(|prefix| library.starts_with(prefix))
        || library == "tokio"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_acts_is_found_by_name() {
        let tree = "weft_store\nserde\nnetlink_sys\nwasmtime_internal_core\ntokio\nnetlink_sys\ntokio_stream_like\n";
        assert_eq!(forbidden(tree).collect::<Vec<_>>(), ["netlink_sys", "tokio", "wasmtime_internal_core"]);
    }

    #[test]
    fn serde_is_pure() {
        assert_eq!(forbidden("serde\nserde_json\nipnetwork\n").count(), 0);
    }
}
