//! The component directory: `.weft` beside the executable.
//!
//! ```text
//! <cni-bin-dir>/.weft/components/<type>.wasm                    what was installed
//!                    /compiled/<type>-<digest>-<engine>.cwasm   machine code
//!                    /index/<engine>/<type>.json                what is known about it, see [`Index`]
//! ```
//! digest: the first 16 hex digits of the wasm's sha256; engine: [`crate::settings::generation`]. The index decides: a
//! component without one does not exist, and a compiled file that no index names is garbage. Each engine has its own
//! indices, so that during an upgrade the old executable and the new one both find what they can run, until one is
//! renamed to the place of the other. Files are written under another name and renamed, never changed in place:
//! processes run what they have mapped.
//!
//! Grammar of a type: 1 to 64 of `A-Z a-z 0-9 _ . -`, not starting with a dot or a dash.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use serde::{Deserialize, Serialize};

use crate::gate::Capability;
use crate::load::LoadError;
use crate::{settings, trust};

/// The name of the directory beside the executable.
pub const NAME: &str = ".weft";
/// The format of [`Index`] that this build writes and reads.
pub const FORMAT: u32 = 1;

/// What a component is for: which interface it exports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Answers with a plan.
    Delegate,
    /// Chooses addresses.
    Ipam,
    /// Answers with another configuration.
    Rewriter,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Delegate, Self::Ipam, Self::Rewriter];

    /// The interface's name, and the word for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Delegate => "delegate",
            Self::Ipam => "ipam",
            Self::Rewriter => "rewriter",
        }
    }

    pub(crate) fn function(self) -> &'static str {
        match self {
            Self::Delegate => "add",
            Self::Ipam => "allocate",
            Self::Rewriter => "rewrite",
        }
    }
}

/// What is known about an installed component without opening it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Index {
    /// [`FORMAT`].
    pub format: u32,
    /// The `type` of a configuration that it serves.
    #[serde(rename = "type")]
    pub type_name: String,
    /// What it is for.
    pub kind: Kind,
    /// The version of the contract it was built for.
    pub contract: String,
    /// The interfaces it imports a function of, with versions: its manifest.
    pub imports: Vec<String>,
    /// Digest of the wasm, hex.
    pub wasm_sha256: String,
    /// Name of the compiled file under `compiled/`.
    pub compiled: String,
    /// Digest of the compiled file, hex.
    pub compiled_sha256: String,
    /// What compiled it: [`crate::settings::IDENTITY`].
    pub engine: String,
    /// The compiled file as it was when its digest was last checked in full.
    pub stamp: Stamp,
    /// Whether it imports WASI.
    pub wasi: bool,
    /// Absolute paths that `files.read` may fall back to.
    #[serde(default)]
    pub grants: Vec<PathBuf>,
}

/// What changes whenever a file is replaced or written to: nobody can set a change time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    /// Device number of the file system.
    pub dev: u64,
    /// Inode number.
    pub ino: u64,
    /// Bytes.
    pub size: u64,
    /// Change time, nanoseconds since 1970.
    pub ctime_ns: i64,
}

impl Stamp {
    /// Of an open file.
    pub fn of(metadata: &std::fs::Metadata) -> Self {
        Self {
            dev: metadata.dev(),
            ino: metadata.ino(),
            size: metadata.size(),
            ctime_ns: metadata.ctime().wrapping_mul(1_000_000_000).wrapping_add(metadata.ctime_nsec()),
        }
    }
}

impl Index {
    /// The capabilities it asks for.
    pub fn capabilities(&self) -> impl Iterator<Item = Capability> + '_ {
        self.imports.iter().filter_map(|import| Capability::of_interface(import))
    }
}

/// A component directory, which may not exist.
#[derive(Debug)]
pub struct Directory {
    root: PathBuf,
    /// Whether the directories down to the files have been checked by this process.
    trusted: OnceLock<()>,
}

impl Directory {
    /// The one beside an executable; usually `Directory::beside(Path::new("/proc/self/exe"))`. Symbolic links are
    /// resolved first: `multus -> weft` finds weft's.
    pub fn beside(executable: &Path) -> io::Result<Self> {
        let real = match std::fs::read_link("/proc/self/exe") {
            // The kernel's answer is resolved already.
            Ok(target) if executable == Path::new("/proc/self/exe") => target,
            _ => executable.canonicalize()?,
        };
        Ok(Self::new(real.parent().unwrap_or(Path::new("/")).join(NAME)))
    }

    /// The one in a directory of CNI executables, whose path is resolved.
    pub fn in_bin_dir(bin_dir: &Path) -> io::Result<Self> {
        Ok(Self::new(bin_dir.canonicalize()?.join(NAME)))
    }

    fn new(root: PathBuf) -> Self {
        Self { root, trusted: OnceLock::new() }
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.root
    }

    /// The directory of executables that it belongs to.
    pub fn bin_dir(&self) -> &Path {
        self.root.parent().unwrap_or(Path::new("/"))
    }

    /// Where a type's wasm is.
    pub fn wasm(&self, type_name: &str) -> PathBuf {
        self.root.join("components").join(format!("{type_name}.wasm"))
    }

    /// Where compiled files are.
    pub fn compiled(&self) -> PathBuf {
        self.root.join("compiled")
    }

    /// Where the indices of this engine are.
    pub fn indices(&self) -> PathBuf {
        self.root.join("index").join(settings::generation())
    }

    /// Where a type's index is.
    pub fn index(&self, type_name: &str) -> PathBuf {
        self.indices().join(format!("{type_name}.json"))
    }

    /// The component that serves a type, or none. A type that can't be a file's name has none.
    pub fn find(&self, type_name: &str) -> Result<Option<Index>, LoadError> {
        if !is_type(type_name) {
            return Ok(None);
        }
        let path = self.index(type_name);
        let unreadable = |why| LoadError::Index { path: path.clone(), remedy: self.install(), why };
        let mut file = match open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return if self.wasm(type_name).exists() { Err(self.not_compiled(type_name)) } else { Ok(None) };
            }
            Err(error) => return Err(unreadable(error)),
        };
        let metadata = file.metadata().map_err(unreadable)?;
        self.trust()?;
        trust::file(&metadata).map_err(|why| LoadError::Permissions {
            path: path.clone(),
            why: why.to_string(),
            remedy: self.compile(),
        })?;
        let mut text = Vec::with_capacity(usize::try_from(metadata.size()).unwrap_or(0).min(1 << 20) + 1);
        file.read_to_end(&mut text).map_err(unreadable)?;
        // The format first: what else there is depends on it.
        #[derive(Deserialize)]
        struct Format {
            format: u32,
        }
        let index = serde_json::from_slice::<Index>(&text).ok().filter(|index| index.format == FORMAT);
        let Some(index) = index else {
            return Err(match serde_json::from_slice::<Format>(&text) {
                Ok(Format { format }) if format != FORMAT => LoadError::Stale {
                    path: path.clone(),
                    found: format!("index format {format}"),
                    wanted: format!("index format {FORMAT}"),
                    remedy: self.install(),
                },
                _ => unreadable(io::Error::other("it is not an index of this format")),
            });
        };
        if index.type_name != type_name || !is_file_name(&index.compiled) {
            return Err(unreadable(io::Error::other(format!("it does not describe {type_name:?}"))));
        }
        Ok(Some(index))
    }

    /// Every installed component, by name. Files that are no index are left out; an index that can't be believed is
    /// an error.
    pub fn list(&self) -> Result<Vec<Index>, LoadError> {
        let path = self.indices();
        let entries = match std::fs::read_dir(&path) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(why) => return Err(LoadError::Index { path, remedy: self.install(), why }),
        };
        let mut names: Vec<String> = entries
            .filter_map(|entry| Some(entry.ok()?.file_name().to_str()?.strip_suffix(".json")?.to_owned()))
            .filter(|name| is_type(name))
            .collect();
        names.sort();
        names.iter().filter_map(|name| self.find(name).transpose()).collect()
    }

    /// What is installed was compiled for another engine, or not at all.
    fn not_compiled(&self, type_name: &str) -> LoadError {
        LoadError::Stale {
            path: self.wasm(type_name),
            found: "another engine".into(),
            wanted: settings::IDENTITY.to_owned(),
            remedy: self.compile(),
        }
    }

    /// Checks once a process that nobody else can write to the directories on the way to the files.
    pub fn trust(&self) -> Result<(), LoadError> {
        if self.trusted.get().is_none() {
            let refuse = |(path, why): (PathBuf, io::Error)| {
                // Whoever could write there could have put anything there: not for weftctl to make good.
                let remedy = format!("chown root {0} && chmod go-w {0}", path.display());
                LoadError::Permissions { path, why: why.to_string(), remedy }
            };
            trust::directories(&self.indices()).map_err(refuse)?;
            // All above it has just been checked.
            trust::directory_itself(&self.compiled()).map_err(refuse)?;
            let _ = self.trusted.set(());
        }
        Ok(())
    }

    /// The command that makes the directory whole.
    pub(crate) fn install(&self) -> String {
        format!("weftctl install --cni-bin-dir {}", self.bin_dir().display())
    }

    /// The command that compiles what is installed again.
    pub(crate) fn compile(&self) -> String {
        format!("weftctl compile --cni-bin-dir {}", self.bin_dir().display())
    }
}

/// Whether a text can name a component.
pub fn is_type(name: &str) -> bool {
    is_file_name(name) && name.len() <= 64
}

fn is_file_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 128
        && !name.starts_with(['.', '-'])
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
}

/// Opens a file to be believed: not through a symbolic link, not waiting for a FIFO's writer.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    std::fs::OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path)
}

/// Writes a whole file of this mode whatever the umask, on disk before it has its name. Whoever has the old one open or
/// mapped keeps it.
pub fn replace(path: &Path, contents: &[u8], mode: u32) -> io::Result<()> {
    let temporary = temporary(path);
    let write = || {
        let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(&temporary)?;
        file.write_all(contents)?;
        file.set_permissions(std::fs::Permissions::from_mode(mode))?;
        file.sync_all()?;
        std::fs::rename(&temporary, path)
    };
    write().inspect_err(|_| drop(std::fs::remove_file(&temporary)))
}

/// A name beside a file that [`is_type`] refuses and that no other process uses.
pub fn temporary(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.{}.tmp", std::process::id()))
}
