//! `weftctl compile`: makes machine code of the components that are installed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};
use weft_engine::compile::Put;
use weft_engine::{Clock, Engine, Grants, Kind};

use crate::installation::Installation;
use crate::output::{self, Format};

/// Compile installed components anew where their code is stale, missing or not what was installed.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Directory of CNI executables that weft is installed in.
    #[arg(long, value_name = "DIR")]
    cni_bin_dir: PathBuf,
    /// Only these types; without any, all that are installed.
    #[arg(value_name = "TYPE")]
    types: Vec<String>,
    /// How to print what was done.
    #[arg(long, value_enum, default_value = "text")]
    output: Format,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let mut installation = Installation::open(&arguments.cni_bin_dir)?;
    installation.sweep()?;
    installation.directory.create()?;
    let installed = installation.directory.installed()?;
    if let Some(unknown) = arguments.types.iter().find(|name| !installed.contains(name)) {
        bail!(
            "no component {unknown} is installed in {}; there are: {}",
            arguments.cni_bin_dir.display(),
            installed.join(", ")
        );
    }
    let wanted = |name: &&String| arguments.types.is_empty() || arguments.types.contains(name);
    let mut sources = BTreeMap::new();
    for name in installed.iter().filter(wanted) {
        sources.insert(name.clone(), Source::read(&installation.directory.wasm(name))?);
    }
    let done = all(&installation, &sources)?;
    installation.retire()?;
    installation.save()?;
    output::result(arguments.output, &done, |done| done.iter().map(Done::line).collect())
}

/// A component to be installed.
pub(crate) struct Source {
    pub(crate) path: PathBuf,
    pub(crate) wasm: Vec<u8>,
    /// Files it may read although no configuration names them.
    pub(crate) grants: Vec<PathBuf>,
}

/// `<type>.grants.json` beside a component.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct GrantFile {
    pub(crate) files: Vec<PathBuf>,
}

impl Source {
    /// Reads a component and what is granted to it.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let wasm = std::fs::read(path).with_context(|| path.display().to_string())?;
        let beside = grants_beside(path);
        let grants = match std::fs::read(&beside) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => GrantFile::default(),
            text => serde_json::from_slice(&text.with_context(|| beside.display().to_string())?)
                .with_context(|| format!(r#"{}: expected {{"files": ["/absolute/path", ...]}}"#, beside.display()))?,
        };
        if let Some(relative) = grants.files.iter().find(|path| !path.is_absolute()) {
            bail!("{}: {} is not an absolute path", beside.display(), relative.display());
        }
        Ok(Self { path: path.to_owned(), wasm, grants: grants.files })
    }
}

/// Where the grants of a component file are.
pub(crate) fn grants_beside(wasm: &Path) -> PathBuf {
    wasm.with_extension("grants.json")
}

/// What was done about one component.
#[derive(Debug, Serialize)]
pub(crate) struct Done {
    #[serde(rename = "type")]
    type_name: String,
    kind: Kind,
    /// Whether code was made; else it was in order.
    compiled: bool,
    milliseconds: u128,
    capabilities: Vec<&'static str>,
}

impl Done {
    pub(crate) fn line(&self) -> String {
        let what = if self.compiled { format!("compiled in {} ms", self.milliseconds) } else { "in order".into() };
        let capabilities = if self.capabilities.is_empty() { "nothing".into() } else { self.capabilities.join(", ") };
        format!("{} ({}, uses {capabilities}): {what}\n", self.type_name, self.kind.name())
    }
}

/// Compiles what must be, and proves that all of it can be loaded from where it is.
pub(crate) fn all(installation: &Installation, sources: &BTreeMap<String, Source>) -> Result<Vec<Done>> {
    let engine = Engine::new(Clock::Thread)?;
    let mut all = Vec::new();
    for (name, source) in sources {
        let begun = Instant::now();
        let (index, put) = installation
            .directory
            .put(&engine, name, &source.wasm, &source.grants)
            .with_context(|| format!("installing {} from {}", name, source.path.display()))?;
        engine.load(&installation.directory, &index, &Grants::usual(index.kind))?;
        let done = Done {
            type_name: name.clone(),
            kind: index.kind,
            compiled: put == Put::Compiled,
            milliseconds: begun.elapsed().as_millis(),
            capabilities: index.capabilities().map(|capability| capability.name()).collect(),
        };
        output::progress(done.line().trim_end());
        all.push(done);
    }
    Ok(all)
}
