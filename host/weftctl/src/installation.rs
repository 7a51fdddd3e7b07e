//! The record of what install did to a directory of CNI executables: `.weft/manifest.json`.
//!
//! A name is recorded before it is touched, so an uninstall after an interrupted install finds everything. What is in
//! `.weft` itself needs no record: all of it is weft's.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};
use weft_engine::Directory;
use weft_engine::directory::replace;

use crate::files;

/// The executable, and what links point to.
pub(crate) const WEFT: &str = "weft";
/// The link that is always made: configurations for multus work unchanged.
pub(crate) const MULTUS: &str = "multus";

/// An installation, locked against other runs of weftctl.
pub(crate) struct Installation {
    pub(crate) directory: Directory,
    pub(crate) record: Record,
    _lock: File,
}

/// What is recorded.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Record {
    pub(crate) format: u32,
    /// Version of the weftctl that installed last.
    pub(crate) version: String,
    /// Digest of the installed weft.
    pub(crate) weft_sha256: String,
    /// Links to weft where nothing was before.
    pub(crate) links: BTreeSet<String>,
    /// Links to weft whose originals are in `.weft/originals`.
    pub(crate) replaced: BTreeSet<String>,
    /// Compiled files and indices in use, relative to `.weft`.
    pub(crate) artifacts: BTreeSet<String>,
    /// Those in use before: somebody who was starting then may still be about to open them.
    pub(crate) previous: BTreeSet<String>,
}

const FORMAT: u32 = 1;

impl Installation {
    /// Opens the installation in a directory, or begins one there.
    pub(crate) fn begin(bin_dir: &Path) -> Result<Self> {
        files::directory(bin_dir)?;
        let directory = Directory::in_bin_dir(bin_dir).with_context(|| bin_dir.display().to_string())?;
        directory.create()?;
        let (lock, record) = locked(&directory)?;
        Ok(Self { record: record.unwrap_or_default(), directory, _lock: lock })
    }

    /// Opens the installation that must be in a directory.
    pub(crate) fn open(bin_dir: &Path) -> Result<Self> {
        let nothing = || format!("weft is not installed in {} (no .weft/manifest.json there)", bin_dir.display());
        let directory = Directory::in_bin_dir(bin_dir).with_context(nothing)?;
        if !directory.path().is_dir() {
            bail!("{}", nothing());
        }
        let (lock, record) = locked(&directory)?;
        Ok(Self { record: record.with_context(nothing)?, directory, _lock: lock })
    }

    /// Writes the record.
    pub(crate) fn save(&mut self) -> Result<()> {
        self.record.format = FORMAT;
        self.record.version = env!("CARGO_PKG_VERSION").to_owned();
        let path = record_path(&self.directory);
        let text = serde_json::to_vec_pretty(&self.record)?;
        replace(&path, &text, 0o644).with_context(|| format!("writing {}", path.display()))
    }

    /// A file in the directory of executables.
    pub(crate) fn executable(&self, name: &str) -> PathBuf {
        self.directory.bin_dir().join(name)
    }

    /// Where the originals of replaced executables are.
    pub(crate) fn originals(&self) -> PathBuf {
        self.directory.path().join("originals")
    }

    /// Whether a name is a link of ours.
    pub(crate) fn is_ours(&self, name: &str) -> bool {
        files::is_link_to(&self.executable(name), WEFT)
    }

    /// Removes temporary files of interrupted runs.
    pub(crate) fn sweep(&self) -> Result<()> {
        let inner = ["", "components", "compiled", "originals"].map(|name| self.directory.path().join(name));
        for directory in inner.iter().chain([&self.directory.indices()]) {
            files::sweep(directory, |_| true).with_context(|| directory.display().to_string())?;
        }
        let known = |name: &str| {
            name == WEFT || name == MULTUS || self.record.links.contains(name) || self.record.replaced.contains(name)
        };
        let bin_dir = self.directory.bin_dir();
        files::sweep(bin_dir, known).with_context(|| bin_dir.display().to_string())
    }

    /// Notes what is in use now, and removes compiled files and indices that were out of use before.
    pub(crate) fn retire(&mut self) -> Result<Vec<String>> {
        let root = self.directory.path();
        let mut current = BTreeSet::new();
        for index in self.directory.list()? {
            let relative = |path: PathBuf| path.strip_prefix(root).map(|path| path.display().to_string());
            current.insert(relative(self.directory.index(&index.type_name))?);
            current.insert(relative(self.directory.compiled().join(&index.compiled))?);
        }
        if current != self.record.artifacts {
            self.record.previous = std::mem::replace(&mut self.record.artifacts, current);
        }
        let mut removed = Vec::new();
        let mut directories = vec![root.join("compiled")];
        directories.extend(files::entries(&root.join("index"))?);
        for directory in directories {
            for path in files::entries(&directory)? {
                let name = path.strip_prefix(root)?.display().to_string();
                if !self.record.artifacts.contains(&name) && !self.record.previous.contains(&name) {
                    files::remove(&path).with_context(|| format!("removing {}", path.display()))?;
                    removed.push(name);
                }
            }
            // Only an empty one goes.
            if directory != self.directory.indices() && directory != self.directory.compiled() {
                let _ = std::fs::remove_dir(&directory);
            }
        }
        Ok(removed)
    }
}

fn record_path(directory: &Directory) -> PathBuf {
    directory.path().join("manifest.json")
}

fn locked(directory: &Directory) -> Result<(File, Option<Record>)> {
    let path = directory.path();
    let lock = File::open(path).with_context(|| path.display().to_string())?;
    lock.lock().with_context(|| format!("locking {}", path.display()))?;
    let path = record_path(directory);
    let record = match std::fs::read(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => return Err(error).with_context(|| path.display().to_string()),
        Ok(text) => Some(serde_json::from_slice::<Record>(&text).ok().filter(|record| record.format == FORMAT).with_context(
            || format!("{} is not a record that weftctl {} reads; use the weftctl that installed it, or remove the file and install anew", path.display(), env!("CARGO_PKG_VERSION")),
        )?),
    };
    Ok((lock, record))
}
