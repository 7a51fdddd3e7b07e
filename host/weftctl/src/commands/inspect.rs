//! `weftctl inspect`: what a component is and what it could do, read from its type; nothing of it is run.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use serde::Serialize;
use weft_engine::compile::Manifest;
use weft_engine::load::digest;
use weft_engine::{Capability, Clock, Directory, Engine, Grants, Kind};

use crate::commands::compile::Source;
use crate::output::{self, Format};

/// Show what a component is, what it could call, and whether it can be run.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// A component file, or the type of an installed component.
    #[arg(value_name = "FILE.wasm|TYPE")]
    component: String,
    /// Where a type is looked for.
    #[arg(long, value_name = "DIR", default_value = "/opt/cni/bin")]
    cni_bin_dir: PathBuf,
    /// How to print it.
    #[arg(long, value_enum, default_value = "text")]
    output: Format,
}

#[derive(Serialize)]
struct Report {
    file: PathBuf,
    #[serde(rename = "type")]
    type_name: String,
    kind: Kind,
    contract: String,
    imports: Vec<Import>,
    /// Files it may read although no configuration names them.
    grants: Vec<PathBuf>,
    /// Why this weft won't link it; none: it will.
    problem: Option<String>,
    size: usize,
    sha256: String,
    /// Of an installed one: the machine code's state.
    #[serde(skip_serializing_if = "Option::is_none")]
    compiled: Option<Compiled>,
}

#[derive(Serialize)]
struct Import {
    interface: String,
    capability: Option<&'static str>,
    functions: Vec<String>,
}

#[derive(Serialize)]
struct Compiled {
    file: Option<PathBuf>,
    /// Why it can't be run; none: it can.
    problem: Option<String>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let text = &arguments.component;
    let is_file = text.contains('/') || Path::new(text).extension().is_some_and(|extension| extension == "wasm");
    let (path, installed) = if is_file {
        (PathBuf::from(text), None)
    } else {
        let directory = Directory::in_bin_dir(&arguments.cni_bin_dir)
            .with_context(|| format!("--cni-bin-dir {}", arguments.cni_bin_dir.display()))?;
        let path = directory.wasm(text);
        if !path.exists() {
            bail!(
                "no component {text} is installed in {} (name a file with its path: ./{text})",
                arguments.cni_bin_dir.display()
            );
        }
        (path, Some(directory))
    };
    let source = Source::read(&path)?;
    let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let manifest = Manifest::read(&name, &source.wasm).with_context(|| path.display().to_string())?;
    let imports = manifest.imports.iter().map(|import| Import {
        interface: import.interface.clone(),
        capability: Capability::of_interface(&import.interface).map(Capability::name),
        functions: import.functions.clone(),
    });
    let report = Report {
        imports: imports.collect(),
        problem: manifest.check(&name).err().map(|error| error.to_string()),
        compiled: installed.map(|directory| compiled(&directory, &name)).transpose()?,
        type_name: name,
        kind: manifest.kind,
        contract: manifest.contract,
        grants: source.grants,
        size: source.wasm.len(),
        sha256: digest(&source.wasm),
        file: path,
    };
    output::result(arguments.output, &report, text_of)
}

fn compiled(directory: &Directory, name: &str) -> Result<Compiled> {
    let index = match directory.find(name) {
        Ok(Some(index)) => index,
        Ok(None) => return Ok(Compiled { file: None, problem: Some("it is not compiled".into()) }),
        Err(error) => return Ok(Compiled { file: None, problem: Some(error.to_string()) }),
    };
    let loaded = Engine::new(Clock::Thread)?.load(directory, &index, &Grants::usual(index.kind));
    Ok(Compiled {
        file: Some(directory.compiled().join(&index.compiled)),
        problem: loaded.err().map(|error| error.to_string()),
    })
}

fn text_of(report: &Report) -> String {
    let mut rows = vec![
        ("component", format!("{} ({})", report.type_name, report.kind.name())),
        ("contract", report.contract.clone()),
    ];
    for import in &report.imports {
        let what = import.capability.map_or_else(|| import.interface.clone(), str::to_owned);
        rows.push(("could call", format!("{what}: {}", import.functions.join(", "))));
    }
    if report.imports.is_empty() {
        rows.push(("could call", "nothing".into()));
    }
    rows.extend(report.grants.iter().map(|path| ("may read", path.display().to_string())));
    rows.push(("file", format!("{}, {} bytes", report.file.display(), report.size)));
    rows.push(("sha256", report.sha256.clone()));
    if let Some(compiled) = &report.compiled {
        let file = compiled.file.as_ref().map_or("-".into(), |path| path.display().to_string());
        rows.push(("compiled", file));
        rows.extend(compiled.problem.clone().map(|problem| ("problem", problem)));
    }
    rows.extend(report.problem.clone().map(|problem| ("problem", problem)));
    rows.iter().map(|(key, value)| format!("{key:<12}{value}\n")).collect()
}
