//! Putting files into a directory that others use meanwhile: everything appears whole, under its name, by renaming.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use weft_engine::directory;

/// What became of something that was to be put in place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Placed {
    /// It wasn't there.
    Made,
    /// Another one was.
    Replaced,
    /// It was there already.
    Unchanged,
    /// Something else is there and stays.
    LeftAlone,
}

/// Writes a file of this mode unless exactly that is there.
pub(crate) fn place(path: &Path, contents: &[u8], mode: u32) -> Result<Placed> {
    let writing = || format!("writing {}", path.display());
    match fs::symlink_metadata(path) {
        Ok(metadata)
            if metadata.is_file()
                && metadata.permissions().mode() & 0o7777 == mode
                && metadata.len() == contents.len() as u64
                && fs::read(path).is_ok_and(|there| there == contents) =>
        {
            Ok(Placed::Unchanged)
        }
        Ok(metadata) if metadata.is_dir() => Err(io::Error::from(ErrorKind::IsADirectory)).with_context(writing)?,
        Ok(_) => directory::replace(path, contents, mode).with_context(writing).map(|()| Placed::Replaced),
        Err(_) => directory::replace(path, contents, mode).with_context(writing).map(|()| Placed::Made),
    }
}

/// Makes a symbolic link in place of whatever file has that name.
pub(crate) fn link(target: &str, path: &Path) -> Result<()> {
    let temporary = directory::temporary(path);
    let make = || {
        symlink(target, &temporary)?;
        fs::rename(&temporary, path)
    };
    make()
        .inspect_err(|_| drop(fs::remove_file(&temporary)))
        .with_context(|| format!("linking {} to {target}", path.display()))
}

/// Whether a path is a symbolic link with exactly this target.
pub(crate) fn is_link_to(path: &Path, target: &str) -> bool {
    fs::read_link(path).is_ok_and(|found| found == Path::new(target))
}

/// Whether anything has this name.
pub(crate) fn exists(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok()
}

/// Gives a file a second name, in place of whatever has it; the first one stays throughout.
pub(crate) fn keep(original: &Path, copy: &Path) -> Result<()> {
    let temporary = directory::temporary(copy);
    let make = || {
        match fs::hard_link(original, &temporary) {
            // File systems without hard links: a copy, mode included.
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::Unsupported | ErrorKind::PermissionDenied | ErrorKind::CrossesDevices
                ) =>
            {
                fs::copy(original, &temporary)?;
                fs::File::open(&temporary)?.sync_all()?;
            }
            linked => linked?,
        }
        fs::rename(&temporary, copy)?;
        // Renaming one name of a file to another of the same file does nothing and says nothing.
        remove(&temporary)
    };
    make()
        .inspect_err(|_| drop(fs::remove_file(&temporary)))
        .with_context(|| format!("keeping {} as {}", original.display(), copy.display()))
}

/// Makes a directory of mode 0755 whatever the umask, its parents too; one that is there stays as it is.
pub(crate) fn directory(path: &Path) -> Result<()> {
    let missing: Vec<&Path> =
        path.ancestors().take_while(|ancestor| !ancestor.as_os_str().is_empty() && !ancestor.is_dir()).collect();
    for path in missing.into_iter().rev() {
        let make = || match fs::DirBuilder::new().mode(0o755).create(path) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
            Err(error) => Err(error),
            Ok(()) => fs::set_permissions(path, fs::Permissions::from_mode(0o755)),
        };
        make().with_context(|| format!("making directory {}", path.display()))?;
    }
    Ok(())
}

/// Removes a file that may be gone.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

/// Removes what interrupted runs left in a directory: temporary files of names that `ours` knows.
pub(crate) fn sweep(directory: &Path, ours: impl Fn(&str) -> bool) -> io::Result<()> {
    for path in entries(directory)? {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        // `.NAME.PID.tmp`
        let stem =
            name.strip_prefix('.').and_then(|name| name.strip_suffix(".tmp")).and_then(|name| name.rsplit_once('.'));
        if stem
            .is_some_and(|(name, pid)| ours(name) && !pid.is_empty() && pid.bytes().all(|byte| byte.is_ascii_digit()))
        {
            remove(&path)?;
        }
    }
    Ok(())
}

/// What is in a directory that may be gone.
pub(crate) fn entries(directory: &Path) -> io::Result<Vec<PathBuf>> {
    match fs::read_dir(directory) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        entries => entries?.map(|entry| Ok(entry?.path())).collect(),
    }
}
