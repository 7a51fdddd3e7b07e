//! Network namespaces: opening, telling apart, and doing something inside one.
//!
//! Owns: namespace descriptors and the way back. `setns` changes the calling thread only, so nothing here may be used
//! on a thread that runs asynchronous tasks: another task would find itself in the wrong namespace. weft has one thread.

use std::fs::File;
use std::io::Write as _;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sched::{CloneFlags, setns};
use nix::sys::stat::fstat;
use nix::sys::statfs::fstatfs;

nix::ioctl_none_bad!(
    /// The CLONE_NEW* flag of a namespace descriptor; see ioctl_ns(2).
    namespace_type,
    nix::request_code_none!(0xb7, 0x3)
);

/// An open network namespace.
#[derive(Debug)]
pub struct Netns {
    file: File,
    path: PathBuf,
}

/// Why a namespace could not be opened or entered.
#[derive(Debug, thiserror::Error)]
pub enum NetnsError {
    /// The file is there, but is no network namespace.
    #[error("{} is not a network namespace", path.display())]
    NotANetns {
        /// The file.
        path: PathBuf,
    },
    /// The file can't be opened.
    #[error("can't open the network namespace {}: {source}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// The namespace can't be entered.
    #[error("can't enter the network namespace {}: {}; needs CAP_SYS_ADMIN", path.display(), errno.desc())]
    Enter {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        errno: Errno,
    },
}

// === impl Netns ===

impl Netns {
    /// Opens a namespace's file; None: there is no such file (any more).
    pub fn open(path: &Path) -> Result<Option<Self>, NetnsError> {
        // O_NONBLOCK: a FIFO under that name must not hold us.
        let file = match File::options().read(true).custom_flags(nix::libc::O_NONBLOCK).open(path) {
            Ok(file) => file,
            Err(error) if matches!(error.raw_os_error(), Some(nix::libc::ENOENT | nix::libc::ESRCH)) => {
                return Ok(None);
            }
            Err(source) => return Err(NetnsError::Open { path: path.to_owned(), source }),
        };
        if !is_network_namespace(&file) {
            return Err(NetnsError::NotANetns { path: path.to_owned() });
        }
        Ok(Some(Self { file, path: path.to_owned() }))
    }

    /// The namespace of the calling thread.
    pub fn current() -> Result<Self, NetnsError> {
        let path = PathBuf::from("/proc/thread-self/ns/net");
        match File::open(&path) {
            Ok(file) => Ok(Self { file, path }),
            Err(source) => Err(NetnsError::Open { path, source }),
        }
    }

    /// Device and inode, equal for two descriptors of the same namespace; None where the descriptor can't be asked.
    pub fn identity(&self) -> Option<(u64, u64)> {
        fstat(&self.file).ok().map(|status| (status.st_dev, status.st_ino))
    }

    /// Whether both are the same namespace.
    pub fn same_as(&self, other: &Self) -> bool {
        self.identity().is_some_and(|identity| other.identity() == Some(identity))
    }

    /// Where it was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Runs something on this thread inside the namespace and comes back. Where coming back fails the process
    /// aborts: everything it did from then on would hit the wrong namespace.
    pub fn inside<T>(&self, f: impl FnOnce() -> T) -> Result<T, NetnsError> {
        self.inside_from(&Self::current()?, f)
    }

    /// The same where the caller knows where it is.
    pub(crate) fn inside_from<T>(&self, home: &Self, f: impl FnOnce() -> T) -> Result<T, NetnsError> {
        setns(&self.file, CloneFlags::CLONE_NEWNET)
            .map_err(|errno| NetnsError::Enter { path: self.path.clone(), errno })?;
        let _back = Return { home };
        Ok(f())
    }

    pub(crate) fn raw(&self) -> RawFd {
        self.file.as_raw_fd()
    }
}

impl AsFd for Netns {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// The way back, taken on return, early return and unwinding.
struct Return<'a> {
    home: &'a Netns,
}

impl Drop for Return<'_> {
    fn drop(&mut self) {
        if let Err(errno) = setns(&self.home.file, CloneFlags::CLONE_NEWNET) {
            let _ = writeln!(
                std::io::stderr(),
                "weft: can't return from a network namespace ({}); going on would change the wrong one",
                errno.desc()
            );
            std::process::abort();
        }
    }
}

/// By the file system it is on and by the kind of namespace.
#[allow(unsafe_code, reason = "ioctl NS_GET_NSTYPE has no safe wrapper")]
fn is_network_namespace(file: &File) -> bool {
    // nsfs, or procfs before Linux 3.19.
    const NAMESPACE_FILE_SYSTEMS: [i64; 2] = [0x6e73_6673, 0x9fa0];
    #[allow(clippy::unnecessary_cast, reason = "its type depends on the C library")]
    let on = fstatfs(file).map(|status| status.filesystem_type().0 as i64);
    if !on.is_ok_and(|magic| NAMESPACE_FILE_SYSTEMS.contains(&magic)) {
        return false;
    }
    // SAFETY: the request takes no argument and `file` is open.
    let kind = unsafe { namespace_type(file.as_raw_fd()) };
    kind == Ok(CloneFlags::CLONE_NEWNET.bits())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_network_namespaces_open() {
        // Set by `cargo xtask lint aarch64`.
        if std::env::var_os("WEFT_EMULATED").is_some() {
            println!(
                "SKIP: only_network_namespaces_open: qemu-user does not translate the ioctl that tells their type"
            );
            return;
        }
        let own = Netns::open(Path::new("/proc/self/ns/net")).unwrap().unwrap();
        assert!(own.same_as(&Netns::current().unwrap()));
        assert!(Netns::open(Path::new("/proc/self/ns/none")).unwrap().is_none());
        for other in ["/proc/self/ns/mnt", "/proc/self/status", "/dev/null", "/"] {
            let error = Netns::open(Path::new(other)).unwrap_err().to_string();
            assert_eq!(error, format!("{other} is not a network namespace"));
        }
    }
}
