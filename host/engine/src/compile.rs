//! Compiles components and puts them into a component directory: for weftctl and for tests.

use std::io;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use crate::call::Component;
use crate::directory::{Directory, FORMAT, Index, Stamp, is_type, open, replace};
use crate::gate::{Grants, check};
use crate::load::{digest, digest_file};
pub use crate::manifest::{Import, Manifest, ManifestError, STAMP_SECTION};
use crate::{Engine, settings};

/// Mode of every directory that is made here.
const DIRECTORY_MODE: u32 = 0o755;
/// Mode of every file that is made here.
const FILE_MODE: u32 = 0o644;

/// Why a component wasn't compiled or installed.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    /// The name is no type.
    #[error(
        "{0:?} can't be a plugin type: 1 to 64 letters, digits, `_`, `.` or `-`, not starting with a dot or a dash"
    )]
    Name(String),
    /// It isn't a component of the contract, or needs what isn't offered.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// Cranelift refuses it.
    #[error("{component} does not compile: {detail}")]
    Cranelift {
        /// What it was to be installed as.
        component: String,
        /// Why not.
        detail: String,
    },
    /// A file can't be written or read.
    #[error("{}: {why}", .path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why not.
        why: io::Error,
    },
}

/// Machine code and what it is of.
#[derive(Debug)]
pub struct Compiled {
    /// What the component says about itself.
    pub manifest: Manifest,
    /// Contents of the compiled file.
    pub code: Vec<u8>,
}

impl Engine {
    /// Compiles a component of the contract that this weft can link.
    pub fn compile(&self, type_name: &str, wasm: &[u8]) -> Result<Compiled, CompileError> {
        if !is_type(type_name) {
            return Err(CompileError::Name(type_name.to_owned()));
        }
        let manifest = Manifest::read(type_name, wasm)?;
        manifest.check(type_name).map_err(ManifestError::Gate)?;
        let code = self.wasmtime.precompile_component(wasm).map_err(|error| CompileError::Cranelift {
            component: type_name.to_owned(),
            detail: format!("{error:#}"),
        })?;
        Ok(Compiled { manifest, code })
    }

    /// Compiles and links a component in memory.
    pub fn compile_and_link(&self, type_name: &str, wasm: &[u8], grants: &Grants) -> Result<Component, CompileError> {
        let compiled = self.compile(type_name, wasm)?;
        let index = index(type_name, wasm, &compiled, Stamp { dev: 0, ino: 0, size: 0, ctime_ns: 0 }, Vec::new());
        let capabilities = check(&index, grants).map_err(ManifestError::Gate)?;
        // SAFETY: the bytes were made by this very engine just now.
        #[allow(unsafe_code, reason = "running compiled code")]
        let component = unsafe { wasmtime::component::Component::deserialize(&self.wasmtime, &compiled.code) };
        let component = component.map_err(|error| CompileError::Cranelift {
            component: type_name.to_owned(),
            detail: format!("{error:#}"),
        })?;
        let linked =
            Component::link(self.clone(), &component, type_name.to_owned(), index.kind, &capabilities, index.wasi);
        Ok(linked.map_err(ManifestError::Gate)?)
    }
}

fn index(type_name: &str, wasm: &[u8], compiled: &Compiled, stamp: Stamp, grants: Vec<PathBuf>) -> Index {
    let wasm_sha256 = digest(wasm);
    Index {
        format: FORMAT,
        type_name: type_name.to_owned(),
        kind: compiled.manifest.kind,
        contract: compiled.manifest.contract.clone(),
        imports: compiled.manifest.imports.iter().map(|import| import.interface.clone()).collect(),
        compiled: compiled_name(type_name, &wasm_sha256),
        wasm_sha256,
        compiled_sha256: digest(&compiled.code),
        engine: settings::IDENTITY.to_owned(),
        stamp,
        wasi: compiled.manifest.wasi(),
        grants,
    }
}

fn compiled_name(type_name: &str, wasm_sha256: &str) -> String {
    let short = wasm_sha256.get(..16).unwrap_or(wasm_sha256);
    format!("{type_name}-{short}-{}.cwasm", settings::generation())
}

/// What [`Directory::put`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Put {
    /// Compiled and written.
    Compiled,
    /// The same wasm was installed and compiled by this engine already.
    Unchanged,
}

impl Directory {
    /// Installs a component. Whoever loads one meanwhile gets the old or the new one whole: the index comes last.
    pub fn put(
        &self,
        engine: &Engine,
        type_name: &str,
        wasm: &[u8],
        grants: &[PathBuf],
    ) -> Result<(Index, Put), CompileError> {
        if !is_type(type_name) {
            return Err(CompileError::Name(type_name.to_owned()));
        }
        self.create()?;
        if let Some(index) = self.current(type_name, wasm, grants) {
            return Ok((index, Put::Unchanged));
        }
        let compiled = engine.compile(type_name, wasm)?;
        self.write(&self.wasm(type_name), wasm)?;
        let name = compiled_name(type_name, &digest(wasm));
        let path = self.compiled().join(name);
        self.write(&path, &compiled.code)?;
        let stamp = open(&path)
            .and_then(|file| file.metadata())
            .map(|metadata| Stamp::of(&metadata))
            .map_err(|why| CompileError::File { path, why })?;
        let index = index(type_name, wasm, &compiled, stamp, grants.to_vec());
        self.write_index(&index)?;
        Ok((index, Put::Compiled))
    }

    /// The index of exactly this component, compiled by this engine, if all of it is in order; its stamp is renewed
    /// where the directory has been copied or moved.
    fn current(&self, type_name: &str, wasm: &[u8], grants: &[PathBuf]) -> Option<Index> {
        let mut index = self.find(type_name).ok().flatten()?;
        let known = index.wasm_sha256 == digest(wasm) && index.engine == settings::IDENTITY && index.grants == grants;
        let installed = known && std::fs::read(self.wasm(type_name)).is_ok_and(|bytes| bytes == wasm);
        if !installed {
            return None;
        }
        let file = open(&self.compiled().join(&index.compiled)).ok()?;
        let metadata = file.metadata().ok()?;
        crate::trust::file(&metadata).ok()?;
        if digest_file(&file).ok()? != index.compiled_sha256 {
            return None;
        }
        let stamp = Stamp::of(&metadata);
        if stamp != index.stamp {
            index.stamp = stamp;
            self.write_index(&index).ok()?;
        }
        Some(index)
    }

    fn write_index(&self, index: &Index) -> Result<(), CompileError> {
        let path = self.index(&index.type_name);
        let text = serde_json::to_vec(index)
            .map_err(|error| CompileError::File { path: path.clone(), why: io::Error::other(error) })?;
        self.write(&path, &text)
    }

    fn write(&self, path: &Path, contents: &[u8]) -> Result<(), CompileError> {
        replace(path, contents, FILE_MODE).map_err(|why| CompileError::File { path: path.to_owned(), why })
    }

    /// Makes the directories, with their mode whatever the umask.
    pub fn create(&self) -> Result<(), CompileError> {
        let index = self.index("x");
        let inner = [self.path().join("components"), self.compiled(), self.path().join("index")];
        let all = std::iter::once(self.path().to_owned()).chain(inner).chain(index.parent().map(Path::to_owned));
        for path in all {
            let make = || match std::fs::DirBuilder::new().mode(DIRECTORY_MODE).create(&path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
                Err(error) => Err(error),
                Ok(()) => std::fs::set_permissions(&path, std::fs::Permissions::from_mode(DIRECTORY_MODE)),
            };
            make().map_err(|why| CompileError::File { path: path.clone(), why })?;
        }
        Ok(())
    }

    /// The types whose wasm is installed, by name.
    pub fn installed(&self) -> io::Result<Vec<String>> {
        let entries = match std::fs::read_dir(self.path().join("components")) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let mut names = Vec::new();
        for entry in entries {
            let name = entry?.file_name();
            let name = name.to_str().and_then(|name| name.strip_suffix(".wasm")).filter(|name| is_type(name));
            names.extend(name.map(str::to_owned));
        }
        names.sort();
        Ok(names)
    }
}
