//! Directories by descriptor: every system call of this crate that changes the disk goes through here.
//!
//! Modes are exact whatever the umask: what is created is created no wider than wanted and then set.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, Flock, FlockArg, OFlag, open, openat, renameat};
use nix::sys::stat::{FchmodatFlags, FileStat, Mode, fchmod, fchmodat, fstat, fstatat, mkdirat};
use nix::unistd::{UnlinkatFlags, ftruncate, linkat, read, unlinkat, write};

use crate::error::{Error, Result};

const DIRECTORY: Mode = Mode::S_IRWXU;
const FILE: Mode = Mode::S_IRUSR.union(Mode::S_IWUSR);
const MAKE_TRIES: u32 = 16;
const OPEN_DIRECTORY: OFlag = OFlag::O_RDONLY.union(OFlag::O_DIRECTORY).union(OFlag::O_CLOEXEC);

/// Does one change to the disk between its two kill points.
pub(crate) fn step<T>(
    name: &'static str,
    action: &'static str,
    path: impl FnOnce() -> PathBuf,
    change: impl FnOnce() -> nix::Result<T>,
) -> Result<T> {
    weft_fault::point("before", name);
    let done = if weft_fault::fails(name) { Err(Errno::EIO) } else { change() };
    let value = done.map_err(|errno| failed(action, path(), errno))?;
    weft_fault::point("after", name);
    Ok(value)
}

pub(crate) fn failed(action: &'static str, path: PathBuf, errno: Errno) -> Error {
    Error::Io { action, path, source: errno.into() }
}

/// Whether two descriptions are of the same file.
pub(crate) fn same(one: &FileStat, other: &FileStat) -> bool {
    one.st_ino == other.st_ino && one.st_dev == other.st_dev
}

/// `None` for what isn't there.
pub(crate) fn present<T>(result: nix::Result<T>) -> nix::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(Errno::ENOENT) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// An open directory.
#[derive(Debug)]
pub(crate) struct Directory {
    fd: OwnedFd,
    path: PathBuf,
}

impl AsFd for Directory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Directory {
    /// The directory at a path, if it is there.
    pub(crate) fn open(path: &Path) -> Result<Option<Self>> {
        let fd = present(open(path, OPEN_DIRECTORY, Mode::empty()))
            .map_err(|errno| failed("open", path.to_owned(), errno))?;
        Ok(fd.map(|fd| Self { fd, path: path.to_owned() }))
    }

    /// The directory at a path; it and its parents are made (0700) if they are absent.
    pub(crate) fn make(path: &Path) -> Result<Self> {
        // Another process may remove it between the two; a symbolic link to nowhere is there and can't be opened.
        for _ in 0..MAKE_TRIES {
            if let Some(found) = Self::open(path)? {
                return Ok(found);
            }
            make_all(path)?;
        }
        Err(failed("open", path.to_owned(), Errno::ENOENT))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn place(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Opens a directory in this one.
    pub(crate) fn open_directory(&self, name: &str) -> Result<Option<OwnedFd>> {
        present(openat(&self.fd, name, OPEN_DIRECTORY | OFlag::O_NOFOLLOW, Mode::empty()))
            .map_err(|errno| failed("open", self.place(name), errno))
    }

    /// Makes a directory in this one (0700); one that is there is left as it is.
    pub(crate) fn make_directory(&self, point: &'static str, name: &str) -> Result<()> {
        step(point, "create", || self.place(name), || make_one(self.fd.as_fd(), Path::new(name)))
    }

    pub(crate) fn stat(&self, name: &str) -> Result<Option<FileStat>> {
        present(fstatat(&self.fd, name, AtFlags::AT_SYMLINK_NOFOLLOW))
            .map_err(|errno| failed("examine", self.place(name), errno))
    }

    /// Opens a file for reading, if it is there.
    pub(crate) fn open_file(&self, name: &str, how: OFlag) -> Result<Option<OwnedFd>> {
        let how = how | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
        present(openat(&self.fd, name, how, Mode::empty())).map_err(|errno| failed("open", self.place(name), errno))
    }

    /// The first `limit` bytes of a file, if it is there and not a directory.
    pub(crate) fn read(&self, name: &str, limit: usize) -> Result<Option<Vec<u8>>> {
        let Some(file) = self.open_file(name, OFlag::O_RDONLY)? else { return Ok(None) };
        match read_all(&file, limit) {
            Ok(content) => Ok(Some(content)),
            Err(Errno::EISDIR) => Ok(None),
            Err(errno) => Err(failed("read", self.place(name), errno)),
        }
    }

    /// Makes or opens a file (0600) for writing.
    pub(crate) fn create(&self, point: &'static str, name: &str, how: OFlag) -> Result<OwnedFd> {
        let how = how | OFlag::O_CREAT | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW;
        step(
            point,
            "create",
            || self.place(name),
            || {
                let file = openat(&self.fd, name, how, FILE)?;
                fchmod(&file, FILE)?;
                Ok(file)
            },
        )
    }

    /// Makes a file, or replaces what it has, with this content.
    pub(crate) fn write(&self, point: &'static str, name: &str, content: &[u8]) -> Result<OwnedFd> {
        let how = OFlag::O_CREAT | OFlag::O_TRUNC | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW | OFlag::O_RDWR;
        let how = how | OFlag::O_APPEND;
        step(
            point,
            "write",
            || self.place(name),
            || {
                let file = openat(&self.fd, name, how, FILE)?;
                fchmod(&file, FILE)?;
                write_whole(&file, content, 0)?;
                Ok(file)
            },
        )
    }

    pub(crate) fn rename(&self, point: &'static str, from: &str, to: &str) -> Result<()> {
        step(point, "rename to", || self.place(to), || renameat(&self.fd, from, &self.fd, to))
    }

    /// Gives a file a second name. False: somebody has that name.
    pub(crate) fn link(&self, point: &'static str, from: &str, to: &str) -> Result<bool> {
        step(
            point,
            "create",
            || self.place(to),
            || match linkat(&self.fd, from, &self.fd, to, AtFlags::empty()) {
                Ok(()) => Ok(true),
                Err(Errno::EEXIST) => Ok(false),
                Err(errno) => Err(errno),
            },
        )
    }

    /// Removes a file. False: it wasn't there.
    pub(crate) fn unlink(&self, point: &'static str, name: &str) -> Result<bool> {
        step(
            point,
            "remove",
            || self.place(name),
            || present(unlinkat(&self.fd, name, UnlinkatFlags::NoRemoveDir)).map(|done| done.is_some()),
        )
    }

    /// Removes an empty directory. False: something is in it. One that isn't there is as good as removed.
    pub(crate) fn remove_directory(&self, point: &'static str, name: &str) -> Result<bool> {
        step(
            point,
            "remove",
            || self.place(name),
            || match unlinkat(&self.fd, name, UnlinkatFlags::RemoveDir) {
                Ok(()) | Err(Errno::ENOENT) => Ok(true),
                Err(Errno::ENOTEMPTY | Errno::EEXIST) => Ok(false),
                Err(errno) => Err(errno),
            },
        )
    }

    /// The names in it, in no order. Names that aren't UTF-8 are nobody's here and left out.
    pub(crate) fn names(&self) -> Result<Vec<String>> {
        names(&self.fd).map_err(|errno| failed("list", self.path.clone(), errno))
    }
}

/// The names in an open directory.
pub(crate) fn names(fd: impl AsFd) -> nix::Result<Vec<String>> {
    let mut dir = Dir::openat(fd, ".", OPEN_DIRECTORY, Mode::empty())?;
    let mut names = Vec::new();
    for entry in dir.iter() {
        let entry = entry?;
        if let Ok(name) = entry.file_name().to_str()
            && name != "."
            && name != ".."
        {
            names.push(name.to_owned());
        }
    }
    Ok(names)
}

/// Everything in a file, up to `limit` bytes.
pub(crate) fn read_all(file: impl AsFd, limit: usize) -> nix::Result<Vec<u8>> {
    let mut content = Vec::new();
    let mut buffer = [0; 4096];
    while content.len() < limit {
        let want = buffer.len().min(limit - content.len());
        match read(&file, &mut buffer[..want]) {
            Ok(0) => break,
            Ok(count) => {
                content.extend_from_slice(&buffer[..count]);
                // A regular file gives less than it was asked for only at its end.
                if count < want {
                    break;
                }
            }
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(content)
}

/// Appends by one `write(2)`. What a full disk takes only a part of is cut off again: the file had `length` bytes.
pub(crate) fn write_whole(file: impl AsFd, content: &[u8], length: usize) -> nix::Result<()> {
    let written = loop {
        match write(&file, content) {
            Err(Errno::EINTR) => {}
            other => break other?,
        }
    };
    if written < content.len() {
        cut(file, length)?;
        return Err(Errno::ENOSPC);
    }
    Ok(())
}

/// Cuts a file to this length.
pub(crate) fn cut(file: impl AsFd, length: usize) -> nix::Result<()> {
    ftruncate(file, i64::try_from(length).map_err(|_| Errno::EFBIG)?)
}

/// Gives an open directory its mode, if it has another one.
pub(crate) fn narrow(directory: impl AsFd, stat: &FileStat) -> nix::Result<()> {
    if stat.st_mode & 0o7777 == DIRECTORY.bits() { Ok(()) } else { fchmod(directory, DIRECTORY) }
}

pub(crate) fn describe(file: impl AsFd, path: impl FnOnce() -> PathBuf) -> Result<FileStat> {
    fstat(file).map_err(|errno| failed("examine", path(), errno))
}

fn make_one(at: BorrowedFd<'_>, path: &Path) -> nix::Result<()> {
    match mkdirat(at, path, DIRECTORY) {
        Ok(()) => match fchmodat(at, path, DIRECTORY, FchmodatFlags::FollowSymlink) {
            // Removed by another process meanwhile: whoever opens it next finds out.
            Err(Errno::ENOENT) => Ok(()),
            other => other,
        },
        Err(Errno::EEXIST) => Ok(()),
        Err(errno) => Err(errno),
    }
}

fn make_all(path: &Path) -> Result<()> {
    let make = || step("make-directory", "create", || path.to_owned(), || present(make_one(AT_FDCWD, path)));
    if make()?.is_some() {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        make_all(parent)?;
    }
    make()?.ok_or_else(|| failed("create", path.to_owned(), Errno::ENOENT))
}

/// Takes a lock. `deadline` `None`: waits as long as it takes. There is no wait for a `flock` that ends by itself, so with
/// a deadline it is asked for again and again, at most 5 ms apart.
pub(crate) fn flock(
    point: &'static str,
    fd: OwnedFd,
    exclusive: bool,
    deadline: Option<Instant>,
    path: impl Fn() -> PathBuf,
) -> Result<Flock<OwnedFd>> {
    weft_fault::point("before", point);
    let (now, wait) = if exclusive {
        (FlockArg::LockExclusiveNonblock, FlockArg::LockExclusive)
    } else {
        (FlockArg::LockSharedNonblock, FlockArg::LockShared)
    };
    let mut fd = fd;
    let mut pause = Duration::from_micros(200);
    loop {
        let how = if deadline.is_none() { wait } else { now };
        match Flock::lock(fd, how) {
            Ok(lock) => {
                weft_fault::point("after", point);
                return Ok(lock);
            }
            Err((back, Errno::EINTR)) => fd = back,
            Err((back, Errno::EWOULDBLOCK)) => {
                let left = deadline.map_or(Duration::ZERO, |end| end.saturating_duration_since(Instant::now()));
                if left.is_zero() {
                    return Err(Error::Busy { path: path(), holder: holder(&back) });
                }
                fd = back;
                std::thread::sleep(pause.min(left));
                pause = (pause * 2).min(Duration::from_millis(5));
            }
            Err((_, errno)) => return Err(failed("lock", path(), errno)),
        }
    }
}

/// Who holds a `flock` on this file, as `/proc/locks` tells: `1: FLOCK ADVISORY WRITE <pid> <major>:<minor>:<inode> 0 EOF`.
fn holder(file: impl AsFd) -> Option<i32> {
    let stat = fstat(file).ok()?;
    let (major, minor) = (nix::sys::stat::major(stat.st_dev), nix::sys::stat::minor(stat.st_dev));
    let wanted = format!("{major:02x}:{minor:02x}:{}", stat.st_ino);
    let locks: io::Result<String> = std::fs::read_to_string("/proc/locks");
    locks.ok()?.lines().find_map(|line| {
        let mut words = line.split_whitespace().skip(1);
        let (kind, pid, file) = (words.next()?, words.nth(2)?, words.next()?);
        (kind == "FLOCK" && file == wanted).then(|| pid.parse().ok()).flatten()
    })
}
