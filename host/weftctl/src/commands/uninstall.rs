//! `weftctl uninstall`: undoes install.

use std::io;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use serde::Serialize;
use weft_engine::load::digest;

use crate::files;
use crate::installation::{Installation, WEFT};
use crate::output::{self, Format};

/// Remove what install made and put replaced executables back.
///
/// Attachments that exist keep working, but nothing deletes them any more: remove their containers first.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Directory of CNI executables that weft is installed in.
    #[arg(long, value_name = "DIR")]
    cni_bin_dir: PathBuf,
    /// How to print what was done.
    #[arg(long, value_enum, default_value = "text")]
    output: Format,
}

#[derive(Default, Serialize)]
struct Report {
    restored: Vec<PathBuf>,
    removed: Vec<PathBuf>,
    /// Changed by somebody since the install.
    left_alone: Vec<PathBuf>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let installation = Installation::open(&arguments.cni_bin_dir)?;
    installation.sweep()?;
    let mut report = Report::default();
    for name in &installation.record.replaced {
        restore(&installation, name, &mut report)?;
    }
    for name in &installation.record.links {
        let path = installation.executable(name);
        if installation.is_ours(name) {
            files::remove(&path).with_context(|| format!("removing {}", path.display()))?;
            report.removed.push(path);
        } else if files::exists(&path) {
            report.left_alone.push(path);
        }
    }
    let weft = installation.executable(WEFT);
    match std::fs::read(&weft) {
        Ok(contents) if digest(&contents) == installation.record.weft_sha256 => {
            files::remove(&weft).with_context(|| format!("removing {}", weft.display()))?;
            report.removed.push(weft);
        }
        Ok(_) => report.left_alone.push(weft),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error).with_context(|| weft.display().to_string()),
    }
    // Without indices nothing is run; the record goes last, so that an interrupted uninstall can be repeated.
    let root = installation.directory.path();
    for name in ["index", "compiled", "components"] {
        let path = root.join(name);
        match std::fs::remove_dir_all(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("removing {}", path.display()));
            }
            _ => {}
        }
    }
    let _ = std::fs::remove_dir(installation.originals());
    let record = root.join("manifest.json");
    files::remove(&record).with_context(|| format!("removing {}", record.display()))?;
    match std::fs::remove_dir(root) {
        Ok(()) => report.removed.push(root.to_owned()),
        Err(_) => report.left_alone.push(root.to_owned()),
    }
    output::result(arguments.output, &report, text)
}

fn restore(installation: &Installation, name: &str, report: &mut Report) -> Result<()> {
    let path = installation.executable(name);
    let original = installation.originals().join(name);
    if !files::exists(&original) {
        // Interrupted before it was kept, or put back by an interrupted uninstall.
        return Ok(());
    }
    if installation.is_ours(name) || !files::exists(&path) {
        std::fs::rename(&original, &path)
            .with_context(|| format!("putting {} back as {}", original.display(), path.display()))?;
        report.restored.push(path);
    } else if std::fs::read(&path).ok() == std::fs::read(&original).ok() {
        // Interrupted after it was kept and before it was replaced.
        files::remove(&original).with_context(|| format!("removing {}", original.display()))?;
    } else {
        report.left_alone.extend([path, original]);
    }
    Ok(())
}

fn text(report: &Report) -> String {
    let lines = |what: &str, paths: &[PathBuf]| -> String {
        paths.iter().map(|path| format!("{}: {what}\n", path.display())).collect()
    };
    [
        lines("put back", &report.restored),
        lines("removed", &report.removed),
        lines("left alone, it was changed since or holds what weft didn't make", &report.left_alone),
    ]
    .concat()
}
