//! Files and directories whose paths come from a network configuration.
//!
//! Owns: the confinement. Whoever writes a network configuration may not be the node's administrator, so a path in it
//! leads only below the directories that the administrator allows, after every symbolic link on the way is resolved.
//! Errors name the path's place in the configuration and never quote what a file holds.

use std::fs::File;
use std::io::Read as _;
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};

use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;

/// The largest file that a component may read, in bytes.
const CAP: u64 = 1 << 20;

/// Why a file or directory is not to be had.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum FileError {
    /// It isn't there.
    #[error("no such file: {0}")]
    Missing(PathBuf),
    /// It lies elsewhere.
    #[error("{path} is not below a directory that the administrator allows ({allowed})")]
    Outside {
        /// As given, with what it resolved to where that differs.
        path: String,
        /// The list.
        allowed: String,
    },
    /// It is no regular file, too large, or can't be read.
    #[error("{0}")]
    Unusable(String),
}

/// Reads a regular file below one of the allowed paths.
///
/// The file is first opened without access (O_PATH), then what was opened is asked where it lies, then the same file is
/// opened for reading: nobody can exchange it in between, and a device or a pipe is never opened.
pub fn read(path: &Path, allowed: &[PathBuf]) -> Result<Vec<u8>, FileError> {
    let unusable = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::NotFound => FileError::Missing(path.to_owned()),
        _ => FileError::Unusable(format!("reading {}: {error}", path.display())),
    };
    if !path.is_absolute() {
        return Err(outside(path, None, allowed));
    }
    // Not by std: with musl it takes O_PATH for a part of the access mode and drops it.
    let found = open(path, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty()).map_err(|error| unusable(error.into()))?;
    let found = File::from(found);
    let through = PathBuf::from(format!("/proc/self/fd/{}", found.as_raw_fd()));
    let real = std::fs::read_link(&through).map_err(unusable)?;
    if !is_below(&real, allowed) {
        return Err(outside(path, Some(&real), allowed));
    }
    let about = found.metadata().map_err(unusable)?;
    if !about.is_file() {
        return Err(FileError::Unusable(format!("{} is no regular file", path.display())));
    }
    if about.len() > CAP {
        return Err(FileError::Unusable(format!(
            "{} has {} bytes, over the limit of {CAP}",
            path.display(),
            about.len()
        )));
    }
    let mut content = Vec::with_capacity(about.len() as usize);
    File::open(&through).and_then(|file| file.take(CAP).read_to_end(&mut content)).map_err(unusable)?;
    Ok(content)
}

/// Whether a directory that may not exist yet may be used: its nearest existing ancestor, resolved, with the rest of
/// the path behind it must lie below an allowed path.
pub fn directory(path: &Path, allowed: &[PathBuf]) -> Result<(), FileError> {
    let plain = path.components().all(|part| !matches!(part, std::path::Component::ParentDir));
    if !path.is_absolute() || !plain {
        return Err(outside(path, None, allowed));
    }
    let mut existing = path;
    let mut rest = PathBuf::new();
    let real = loop {
        match std::fs::canonicalize(existing) {
            // Joining nothing would add a slash.
            Ok(real) if rest.as_os_str().is_empty() => break real,
            Ok(real) => break real.join(&rest),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let (Some(name), Some(parent)) = (existing.file_name(), existing.parent()) else {
                    return Err(outside(path, None, allowed));
                };
                rest = if rest.as_os_str().is_empty() { PathBuf::from(name) } else { Path::new(name).join(&rest) };
                existing = parent;
            }
            Err(error) => return Err(FileError::Unusable(format!("{}: {error}", path.display()))),
        }
    };
    if is_below(&real, allowed) { Ok(()) } else { Err(outside(path, Some(&real), allowed)) }
}

fn is_below(real: &Path, allowed: &[PathBuf]) -> bool {
    allowed.iter().any(|root| {
        // The plain comparison spares the usual case the system calls of the other.
        real.starts_with(root) || std::fs::canonicalize(root).is_ok_and(|root| real.starts_with(root))
    })
}

fn outside(path: &Path, real: Option<&Path>, allowed: &[PathBuf]) -> FileError {
    let path = match real {
        Some(real) if real != path => format!("{} (that is {})", path.display(), real.display()),
        _ => path.display().to_string(),
    };
    let allowed = allowed.iter().map(|root| root.display().to_string()).collect::<Vec<_>>().join(", ");
    FileError::Outside { path, allowed }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_file_is_read_only_below_an_allowed_path_whatever_leads_to_it() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("allowed");
        std::fs::create_dir(&root).unwrap();
        std::fs::write(root.join("in"), "inside").unwrap();
        std::fs::write(dir.path().join("out"), "secret").unwrap();
        symlink(dir.path().join("out"), root.join("leak")).unwrap();
        symlink(root.join("in"), dir.path().join("back")).unwrap();
        let allowed = [root.clone()];

        assert_eq!(read(&root.join("in"), &allowed).unwrap(), b"inside");
        assert_eq!(read(&dir.path().join("back"), &allowed).unwrap(), b"inside");
        for bad in [root.join("leak"), root.join("../out"), dir.path().join("out"), PathBuf::from("allowed/in")] {
            let error = read(&bad, &allowed).unwrap_err();
            assert!(matches!(error, FileError::Outside { .. }), "{}: {error}", bad.display());
            assert!(!error.to_string().contains("secret"));
        }
        assert_eq!(read(&root.join("none"), &allowed), Err(FileError::Missing(root.join("none"))));
        assert!(matches!(read(&root, &allowed), Err(FileError::Unusable(_))));
    }

    #[test]
    fn an_allowed_path_may_itself_be_a_link() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("run")).unwrap();
        std::fs::write(dir.path().join("run/in"), "x").unwrap();
        symlink(dir.path().join("run"), dir.path().join("var-run")).unwrap();
        let allowed = [dir.path().join("var-run")];
        assert!(read(&dir.path().join("var-run/in"), &allowed).is_ok());
        assert!(read(&dir.path().join("run/in"), &allowed).is_ok());
    }

    #[test]
    fn a_directory_that_is_still_to_be_made_is_judged_by_what_exists_of_it() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("allowed");
        std::fs::create_dir(&root).unwrap();
        symlink("/", root.join("up")).unwrap();
        let allowed = [root.clone()];
        assert_eq!(directory(&root.join("a/b"), &allowed), Ok(()));
        assert_eq!(directory(&root, &allowed), Ok(()));
        for bad in [root.join("up/tmp"), root.join("../x"), PathBuf::from("/nowhere/at/all")] {
            assert!(matches!(directory(&bad, &allowed), Err(FileError::Outside { .. })), "{}", bad.display());
        }
    }
}
