//! Loads compiled components.
//!
//! A compiled file is machine code and nothing in it proves where it comes from, so it is run only if nobody but root
//! or this user can have written it ([`crate::trust`]) and if it is the file that the index speaks of: by its digest, or,
//! from [`DIGEST_ALWAYS`] bytes on, by device, inode, size and change time, recorded when the digest was last checked.
//! The file is opened once; what is checked, and what is mapped, is that open file.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::AsRawFd as _;
use std::path::PathBuf;

use sha2::{Digest as _, Sha256};

use crate::call::Component;
use crate::directory::{Directory, Index, Stamp, open};
use crate::gate::{self, GateError, Grants};
use crate::{Engine, settings, trust};

/// Smaller files are digested whenever they are loaded.
pub const DIGEST_ALWAYS: u64 = 16 << 10;

/// Why an installed component can't be run. Each says which file and what to do.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The index can't be read.
    #[error("{}: {why}; repair it with `{remedy}`", .path.display())]
    Index {
        /// The index.
        path: PathBuf,
        /// A command.
        remedy: String,
        /// Why not.
        why: io::Error,
    },
    /// The index names a compiled file that isn't there.
    #[error("{} is missing; make it with `{remedy}`", .path.display())]
    Missing {
        /// The compiled file.
        path: PathBuf,
        /// A command.
        remedy: String,
    },
    /// It was made by another weft.
    #[error("{} was made for {found}, this weft needs {wanted}; make it anew with `{remedy}`", .path.display())]
    Stale {
        /// The compiled file, or the index.
        path: PathBuf,
        /// What made it.
        found: String,
        /// What should have.
        wanted: String,
        /// A command.
        remedy: String,
    },
    /// It isn't what was installed.
    #[error("{} is not the file that was installed ({why}); if nobody meant to change it, find out who did, then make it anew with `{remedy}`", .path.display())]
    Tampered {
        /// The compiled file.
        path: PathBuf,
        /// What differs.
        why: String,
        /// A command.
        remedy: String,
    },
    /// The file system or a security module doesn't allow code to be run from it.
    #[error("{} can't be mapped for execution ({why}); install to a file system mounted without noexec", .path.display())]
    Unmappable {
        /// The compiled file.
        path: PathBuf,
        /// Why not.
        why: io::Error,
    },
    /// Others could have written it.
    #[error("{} can't be trusted: {why}; it and every directory above it must belong to root and be writable by nobody else; repair it with `{remedy}`", .path.display())]
    Permissions {
        /// The file or directory that is at fault.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
        /// A command.
        remedy: String,
    },
    /// It can't be read.
    #[error("{}: {why}", .path.display())]
    Unreadable {
        /// The compiled file.
        path: PathBuf,
        /// Why not.
        why: io::Error,
    },
    /// It asks for something it doesn't get.
    #[error(transparent)]
    Gate(#[from] GateError),
}

impl Engine {
    /// Makes an installed component ready to be called, linked to those of its imports that are granted.
    pub fn load(&self, directory: &Directory, index: &Index, grants: &Grants) -> Result<Component, LoadError> {
        let capabilities = gate::check(index, grants)?;
        let path = directory.compiled().join(&index.compiled);
        if index.engine != settings::IDENTITY {
            return Err(LoadError::Stale {
                path,
                found: index.engine.clone(),
                wanted: settings::IDENTITY.to_owned(),
                remedy: directory.compile(),
            });
        }
        directory.trust()?;
        let file = open(&path).map_err(|why| match why.kind() {
            io::ErrorKind::NotFound => LoadError::Missing { path: path.clone(), remedy: directory.compile() },
            _ if why.raw_os_error() == Some(libc::ELOOP) => LoadError::Permissions {
                path: path.clone(),
                why: "it is a symbolic link".into(),
                remedy: directory.compile(),
            },
            _ => LoadError::Unreadable { path: path.clone(), why },
        })?;
        let tampered = |why: String| LoadError::Tampered { path: path.clone(), why, remedy: directory.compile() };
        let unreadable = |why| LoadError::Unreadable { path: path.clone(), why };
        let metadata = file.metadata().map_err(unreadable)?;
        trust::file(&metadata).map_err(|why| LoadError::Permissions {
            path: path.clone(),
            why: why.to_string(),
            remedy: directory.compile(),
        })?;
        let stamp = Stamp::of(&metadata);
        if stamp.size != index.stamp.size {
            return Err(tampered(format!("it has {} bytes instead of {}", stamp.size, index.stamp.size)));
        }
        if stamp.size < DIGEST_ALWAYS || stamp != index.stamp {
            let found = digest_file(&file).map_err(unreadable)?;
            if found != index.compiled_sha256 {
                return Err(tampered(format!("its sha256 is {found} instead of {}", index.compiled_sha256)));
            }
        }
        // By way of the descriptor: the name may mean another file by now. wasmtime keeps no reference to the path.
        let same = format!("/proc/self/fd/{}", file.as_raw_fd());
        // SAFETY: the file was made by a compiler of this identity (its digest stands in an index that, like the file
        // itself and all directories above, only root or this user can write), and such files are never written to
        // again, only replaced by renaming.
        #[allow(unsafe_code, reason = "running compiled code")]
        let component = unsafe { wasmtime::component::Component::deserialize_file(&self.wasmtime, &same) };
        let component = component.map_err(|error| match executable(&file) {
            Err(why) => LoadError::Unmappable { path: path.clone(), why },
            Ok(()) => LoadError::Stale {
                path: path.clone(),
                found: format!("an engine that this one can't follow ({:#})", error),
                wanted: settings::IDENTITY.to_owned(),
                remedy: directory.compile(),
            },
        })?;
        Ok(Component::link(self.clone(), &component, index.type_name.clone(), index.kind, &capabilities, index.wasi)?)
    }
}

/// The digest of an open file's contents, hex.
pub(crate) fn digest_file(file: &File) -> io::Result<String> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 64 << 10];
    let mut file = file;
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hex(&hash.finalize())),
            count => hash.update(&buffer[..count]),
        }
    }
}

/// The digest of bytes, hex.
pub fn digest(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]).map(|digit| char::from(DIGITS[usize::from(digit)])).collect()
}

/// Whether the kernel would run code from a file.
fn executable(file: &File) -> io::Result<()> {
    use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};
    let length = std::num::NonZeroUsize::MIN;
    // SAFETY: a new private mapping at an address of the kernel's choice, neither read nor run, and gone at once.
    #[allow(unsafe_code, reason = "asking whether a mapping is allowed")]
    unsafe {
        let mapping = mmap(None, length, ProtFlags::PROT_READ | ProtFlags::PROT_EXEC, MapFlags::MAP_PRIVATE, file, 0)?;
        munmap(mapping, length.get())?;
    }
    Ok(())
}
