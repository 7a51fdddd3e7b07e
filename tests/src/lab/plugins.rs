//! Which plugins a test runs against, and how they get into a node's plugin directory.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Where Debian keeps the reference plugins that a test puts beside weft.
pub const NATIVE: &str = "/usr/lib/cni";

/// The delegates that weft answers for in the lab, under the reference plugins' names.
const REPLACED: &str = "bridge,host-local,loopback,static";

/// The plugins under test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Plugins {
    /// weft, installed by the `weftctl` of this directory.
    Weft(PathBuf),
    /// A directory of ordinary CNI executables.
    Native(PathBuf),
}

impl Plugins {
    /// What the environment asks for.
    ///
    /// # Errors
    /// What is missing, and how to get it.
    pub fn chosen() -> Result<Self, String> {
        if let Some(directory) = std::env::var_os("WEFT_LAB_PLUGINS") {
            let directory = PathBuf::from(directory);
            return if directory.join("bridge").is_file() {
                Ok(Self::Native(directory))
            } else {
                Err(format!("WEFT_LAB_PLUGINS={}: no plugin `bridge` there", directory.display()))
            };
        }
        let dist = match std::env::var_os("WEFT_DIST") {
            Some(directory) => PathBuf::from(directory),
            None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/dist"),
        };
        let dist = dist.canonicalize().unwrap_or(dist);
        match ["weft", "weftctl"].into_iter().find(|name| !dist.join(name).is_file()) {
            None => Ok(Self::Weft(dist)),
            Some(name) => Err(format!(
                "no {name} in {} (build it with `cargo xtask dist`, name another place in WEFT_DIST, or test other \
                 plugins with WEFT_LAB_PLUGINS={NATIVE})",
                dist.display()
            )),
        }
    }

    /// Whether these are weft's.
    pub fn are_weft(&self) -> bool {
        matches!(self, Self::Weft(_))
    }

    /// Makes `directory` a plugin directory with these plugins, as a user would.
    pub fn install(&self, directory: &Path) {
        std::fs::create_dir_all(directory).expect("a plugin directory");
        match self {
            Self::Native(from) => copy_files(from, directory),
            Self::Weft(dist) => {
                let output = Command::new(dist.join("weftctl"))
                    .args(["install", "--replace", REPLACED, "--cni-bin-dir"])
                    .arg(directory)
                    .output()
                    .expect("weftctl starts");
                assert!(
                    output.status.success(),
                    "weftctl install: {}\n{}{}",
                    output.status,
                    super::text(&output.stdout),
                    super::text(&output.stderr)
                );
            }
        }
    }
}

/// Copies the files of a directory, modes included, into another.
pub(super) fn copy_files(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap_or_else(|error| panic!("{}: {error}", from.display())) {
        let path = entry.expect("a directory entry").path();
        if path.is_file() {
            let target = to.join(path.file_name().expect("a file's name"));
            std::fs::copy(&path, &target).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        }
    }
}
