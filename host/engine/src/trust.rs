//! Who may have written a file that is about to be believed.
//!
//! Compiled code runs as this process and nothing in it can be checked before, and an index decides what is believed
//! about it. So the file, and every directory from its own up to the root, must belong to root or to the effective
//! user, and nobody else may write there. A directory where everyone may write is accepted if it is sticky (`/tmp`):
//! nobody can take away or replace what belongs to somebody else there, and what is ours in it is checked in turn. No
//! part of the path may be a symbolic link; [`crate::Directory`] begins with a resolved one.
//!
//! In a user namespace, files of users who don't exist there, the machine's root among them, show the overflow user
//! (65534) as their owner. They are accepted from that user there, and only there: whoever owns a directory on the way
//! to this one could replace the executable that stands beside it just as well, so nothing is lost that wasn't lost
//! when that was started.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// What is wrong with an owner, a mode or a kind of file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Distrust {
    /// Neither root's nor ours.
    #[error("it belongs to user {0}, not to root or to the user who runs this")]
    Owner(u32),
    /// Others may write to it.
    #[error("its mode {0:04o} lets others write to it")]
    Writable(u32),
    /// A symbolic link, a socket ...
    #[error("it is not a {0}")]
    Kind(&'static str),
}

const OTHERS_WRITE: u32 = 0o022;
const STICKY: u32 = 0o1000;

/// Checks an open file.
pub(crate) fn file(metadata: &Metadata) -> Result<(), Distrust> {
    if !metadata.is_file() {
        return Err(Distrust::Kind("regular file"));
    }
    owner(metadata.uid(), nix::unistd::geteuid().as_raw(), in_user_namespace)?;
    match metadata.mode() & 0o7777 {
        mode if mode & OTHERS_WRITE != 0 => Err(Distrust::Writable(mode)),
        _ => Ok(()),
    }
}

/// Checks a directory and all above it. `Err` names the first that fails, from the root down.
pub(crate) fn directories(path: &Path) -> Result<(), (std::path::PathBuf, std::io::Error)> {
    let mut ancestors: Vec<&Path> = path.ancestors().collect();
    ancestors.reverse();
    ancestors.into_iter().try_for_each(directory_itself)
}

/// Checks a directory alone.
pub(crate) fn directory_itself(path: &Path) -> Result<(), (std::path::PathBuf, std::io::Error)> {
    std::fs::symlink_metadata(path)
        .and_then(|metadata| directory(&metadata).map_err(std::io::Error::other))
        .map_err(|error| (path.to_owned(), error))
}

fn directory(metadata: &Metadata) -> Result<(), Distrust> {
    if !metadata.is_dir() {
        return Err(Distrust::Kind("directory"));
    }
    owner(metadata.uid(), nix::unistd::geteuid().as_raw(), in_user_namespace)?;
    mode(metadata.mode() & 0o7777)
}

fn mode(mode: u32) -> Result<(), Distrust> {
    if mode & OTHERS_WRITE != 0 && mode & STICKY == 0 { Err(Distrust::Writable(mode)) } else { Ok(()) }
}

fn owner(uid: u32, effective: u32, in_user_namespace: impl FnOnce() -> Option<u32>) -> Result<(), Distrust> {
    if uid == 0 || uid == effective || in_user_namespace() == Some(uid) { Ok(()) } else { Err(Distrust::Owner(uid)) }
}

/// The overflow user, if this process sees only part of the machine's users.
fn in_user_namespace() -> Option<u32> {
    let map = std::fs::read_to_string("/proc/self/uid_map").ok()?;
    if map.split_whitespace().eq(["0", "0", "4294967295"]) {
        return None;
    }
    let overflow = std::fs::read_to_string("/proc/sys/kernel/overflowuid").ok();
    Some(overflow.and_then(|text| text.trim().parse().ok()).unwrap_or(65534))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_root_ourselves_and_inside_a_user_namespace_the_overflow_user_own_what_is_believed() {
        assert_eq!(owner(0, 1000, || None), Ok(()));
        assert_eq!(owner(1000, 1000, || None), Ok(()));
        assert_eq!(owner(1001, 1000, || None), Err(Distrust::Owner(1001)));
        assert_eq!(owner(65534, 1000, || None), Err(Distrust::Owner(65534)));
        assert_eq!(owner(65534, 0, || Some(65534)), Ok(()));
        assert_eq!(owner(1001, 0, || Some(65534)), Err(Distrust::Owner(1001)));
    }

    #[test]
    fn a_directory_others_write_to_must_be_sticky() {
        assert_eq!(mode(0o755), Ok(()));
        assert_eq!(mode(0o1777), Ok(()));
        assert_eq!(mode(0o775), Err(Distrust::Writable(0o775)));
        assert_eq!(mode(0o757), Err(Distrust::Writable(0o757)));
    }
}
