//! `weftctl install`: makes a directory of CNI executables complete.
//!
//! Runtimes may be starting executables there meanwhile. So components come first, each for the new engine beside what
//! the installed weft uses; then weft, by one rename; then links; what nobody uses any more goes last.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use serde::Serialize;
use weft_engine::directory::is_type;
use weft_engine::load::digest;

use super::compile::{self, Done, GrantFile, Source, grants_beside};
use crate::files::{self, Placed};
use crate::installation::{Installation, MULTUS, WEFT};
use crate::output::{self, Format};

/// Install weft and its components, or bring them up to date; as often as you like.
///
/// DIR can be copied or moved afterwards: everything finds its way from the executable.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Directory where the runtime looks for CNI executables, usually /opt/cni/bin.
    #[arg(long, value_name = "DIR")]
    cni_bin_dir: PathBuf,
    /// Directory of components, TYPE.wasm each, with the files it may read without being told in TYPE.grants.json
    /// ({"files": [...]}) [default: components beside weftctl]
    #[arg(long, value_name = "DIR")]
    components: Option<PathBuf>,
    /// Executables that weft takes the place of, for example bridge,host-local; the originals are kept for uninstall.
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    replace: Vec<String>,
    /// The weft to install [default: the one beside weftctl]
    #[arg(long, value_name = "PATH")]
    weft: Option<PathBuf>,
    /// How to print what was done.
    #[arg(long, value_enum, default_value = "text")]
    output: Format,
}

#[derive(Serialize)]
struct Report {
    directory: PathBuf,
    components: Vec<Done>,
    executables: BTreeMap<String, Placed>,
    removed: Vec<String>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    // Everything is read before anything is changed.
    let beside = beside_weftctl()?;
    let weft_path = arguments.weft.clone().unwrap_or_else(|| beside.join(WEFT));
    let weft = std::fs::read(&weft_path)
        .with_context(|| format!("{}: the weft to install; name it with --weft", weft_path.display()))?;
    let components = arguments.components.clone().unwrap_or_else(|| beside.join("components"));
    let mut sources = sources(&components, arguments.components.is_none())?;

    let mut installation = Installation::begin(&arguments.cni_bin_dir)?;
    installation.sweep()?;
    // Components of earlier installs that are not in this one stay, for this engine.
    for name in installation.directory.installed()? {
        let source = Source::read(&installation.directory.wasm(&name))?;
        sources.entry(name).or_insert(source);
    }
    check_names(&arguments.replace, &sources)?;

    // From here on an uninstall finds its way, whatever happens.
    installation.save()?;
    keep_grants(&installation, &sources)?;
    let done = compile::all(&installation, &sources)?;

    let mut executables = BTreeMap::new();
    let placed = files::place(&installation.executable(WEFT), &weft, 0o755)?;
    executables.insert(WEFT.to_owned(), placed);
    installation.record.weft_sha256 = digest(&weft);
    for name in &arguments.replace {
        executables.insert(name.clone(), replace(&mut installation, name)?);
    }
    if !executables.contains_key(MULTUS) {
        executables.insert(MULTUS.to_owned(), add_link(&mut installation, MULTUS)?);
    }
    let removed = installation.retire()?;
    installation.save()?;

    let report =
        Report { directory: installation.directory.bin_dir().to_owned(), components: done, executables, removed };
    output::result(arguments.output, &report, text)
}

fn beside_weftctl() -> Result<PathBuf> {
    let own = std::env::current_exe().context("finding weftctl's own file")?;
    Ok(own.parent().unwrap_or(Path::new("/")).to_owned())
}

/// The components of a directory; the default one may be absent.
fn sources(directory: &Path, default: bool) -> Result<BTreeMap<String, Source>> {
    let mut sources = BTreeMap::new();
    if !directory.is_dir() {
        if default {
            return Ok(sources);
        }
        bail!("{} is not a directory of components (TYPE.wasm); name one with --components", directory.display());
    }
    for path in files::entries(directory).with_context(|| directory.display().to_string())? {
        let name = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_suffix(".wasm"));
        if let Some(name) = name {
            if !is_type(name) {
                bail!("{}: {name:?} can't be a plugin type; rename the file", path.display());
            }
            sources.insert(name.to_owned(), Source::read(&path)?);
        }
    }
    Ok(sources)
}

fn check_names(names: &[String], sources: &BTreeMap<String, Source>) -> Result<()> {
    for name in names {
        if name == WEFT || name != MULTUS && !sources.contains_key(name) {
            bail!(
                "--replace {name}: no component serves that type; weft can replace {MULTUS}, {}",
                sources.keys().map(String::as_str).collect::<Vec<_>>().join(", ")
            );
        }
    }
    Ok(())
}

/// Grants lie beside the installed components, so that they are compiled anew with them.
fn keep_grants(installation: &Installation, sources: &BTreeMap<String, Source>) -> Result<()> {
    for (name, source) in sources {
        let path = grants_beside(&installation.directory.wasm(name));
        if source.grants.is_empty() {
            files::remove(&path).with_context(|| format!("removing {}", path.display()))?;
        } else {
            let text = serde_json::to_vec_pretty(&GrantFile { files: source.grants.clone() })?;
            files::place(&path, &text, 0o644)?;
        }
    }
    Ok(())
}

/// Makes a link where nothing is.
fn add_link(installation: &mut Installation, name: &str) -> Result<Placed> {
    let path = installation.executable(name);
    if installation.is_ours(name) {
        return Ok(Placed::Unchanged);
    }
    if files::exists(&path) {
        output::complain(&format!(
            "{} is something else and stays; `--replace {name}` puts weft in its place",
            path.display()
        ));
        return Ok(Placed::LeftAlone);
    }
    installation.record.links.insert(name.to_owned());
    installation.save()?;
    files::link(WEFT, &path)?;
    Ok(Placed::Made)
}

/// Makes a link and keeps what was there.
fn replace(installation: &mut Installation, name: &str) -> Result<Placed> {
    let path = installation.executable(name);
    if installation.is_ours(name) {
        return Ok(Placed::Unchanged);
    }
    if !files::exists(&path) {
        return add_link(installation, name);
    }
    if path.is_dir() {
        bail!("--replace {name}: {} is a directory", path.display());
    }
    installation.record.links.remove(name);
    installation.record.replaced.insert(name.to_owned());
    installation.save()?;
    let originals = installation.originals();
    files::directory(&originals)?;
    files::keep(&path, &originals.join(name))?;
    files::link(WEFT, &path)?;
    Ok(Placed::Replaced)
}

fn text(report: &Report) -> String {
    let mut text: String = report.components.iter().map(Done::line).collect();
    for (name, placed) in &report.executables {
        let what = match (name.as_str(), placed) {
            (_, Placed::Unchanged) => "in order",
            (_, Placed::LeftAlone) => "left alone",
            (WEFT, _) => "installed",
            (_, Placed::Replaced) => "replaced, the original is kept in .weft/originals",
            (_, Placed::Made) => "linked to weft",
        };
        text.push_str(&format!("{}: {what}\n", report.directory.join(name).display()));
    }
    text
}
