//! One attachment, locked.

use std::marker::PhantomData;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;

use nix::errno::Errno;
use nix::fcntl::{Flock, OFlag};
use nix::unistd::{UnlinkatFlags, unlinkat};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Entry, Key, LOG, Payload, log};
use crate::dir::{self, Directory, step};
use crate::error::{Error, Problem, Result};

/// A log that is to replace another one.
const NEW_LOG: &str = "log.new";
const APPEND: OFlag = OFlag::O_RDWR.union(OFlag::O_APPEND);

/// One attachment's journal, with its lock, which is held until this is dropped. Dropping one without a record removes
/// its directory.
#[derive(Debug)]
pub struct Attachment<R> {
    parent: Arc<Directory>,
    name: String,
    boot: String,
    /// As the caller or the log names it.
    key: Option<Key>,
    /// The directory of the attachment.
    lock: Flock<OwnedFd>,
    file: Option<OwnedFd>,
    /// What is in the file, a torn end included.
    text: Vec<u8>,
    /// How much of it is whole lines.
    whole: usize,
    problem: Option<Problem>,
    /// Whether a directory without a record is removed at the end: not before it is known that there is none.
    tidy: bool,
    payload: Payload<R>,
}

impl<R: DeserializeOwned> Attachment<R> {
    pub(crate) fn read(
        parent: Arc<Directory>,
        name: String,
        lock: Flock<OwnedFd>,
        key: Option<&Key>,
        boot: &str,
    ) -> Result<Self> {
        let place = parent.place(&name);
        let mut this = Self {
            parent,
            name,
            boot: boot.to_owned(),
            key: key.cloned(),
            lock,
            file: None,
            text: Vec::new(),
            whole: 0,
            problem: None,
            tidy: false,
            payload: PhantomData,
        };
        let found = Self::open_in(&this.lock, LOG, APPEND | OFlag::O_NOFOLLOW);
        if let Some(file) = dir::present(found).map_err(|errno| dir::failed("open", this.path(), errno))? {
            this.text = dir::read_all(&file, usize::MAX).map_err(|errno| dir::failed("read", this.path(), errno))?;
            this.file = Some(file);
            let reading = log::read::<R>(&this.text, boot);
            this.whole = reading.whole;
            let entry = reading.entry;
            this.problem = if entry.void { Some(Problem::Void) } else { entry.problem };
            if let (Some(asked), Some(found)) = (key, &entry.key)
                && asked != found
            {
                return Err(Error::Collision { path: place, found: Box::new(found.clone()) });
            }
            if this.key.is_none() {
                this.key = entry.key;
            }
        }
        this.tidy = true;
        Ok(this)
    }

    /// What the journal says. `None`: nothing was recorded.
    pub fn entry(&self) -> Option<Entry<R>> {
        self.recorded().then(|| log::read(&self.text, &self.boot).entry)
    }
}

impl<R> Attachment<R> {
    /// Whether there is a log.
    pub(crate) fn recorded(&self) -> bool {
        self.whole > 0
    }

    /// Whose journal it is, as the caller or the log names it.
    pub fn key(&self) -> Option<&Key> {
        self.key.as_ref()
    }

    /// The file of the log.
    pub fn path(&self) -> PathBuf {
        self.parent.place(&self.name).join(LOG)
    }

    /// Starts the journal over: a log with nothing but a header, of this boot. Afterwards the old records are gone.
    pub fn restart(&mut self) -> Result<()> {
        if !self.recorded() {
            return Ok(());
        }
        let header = self.header()?;
        let file = step(
            "journal-restart",
            "write",
            || self.path(),
            || {
                let file = Self::open_in(&self.lock, NEW_LOG, OFlag::O_CREAT | OFlag::O_TRUNC | APPEND)?;
                dir::write_whole(&file, &header, 0)?;
                Ok(file)
            },
        )?;
        step(
            "journal-rename",
            "rename to",
            || self.path(),
            || nix::fcntl::renameat(&*self.lock, NEW_LOG, &*self.lock, LOG),
        )?;
        self.file = Some(file);
        self.whole = header.len();
        self.text = header;
        self.problem = None;
        Ok(())
    }

    /// Removes the journal of this attachment.
    pub fn remove(mut self) -> Result<()> {
        self.tidy = false;
        self.clear()
    }

    fn clear(&mut self) -> Result<()> {
        if self.file.is_some() {
            self.unlink(LOG)?;
        }
        if self.parent.remove_directory("journal-rmdir", &self.name)? {
            return Ok(());
        }
        // A log that was to replace another one, or something that isn't ours in a directory that is.
        let left =
            dir::names(&*self.lock).map_err(|errno| dir::failed("list", self.parent.place(&self.name), errno))?;
        for name in left {
            self.unlink(&name)?;
        }
        if self.parent.remove_directory("journal-rmdir", &self.name)? {
            return Ok(());
        }
        Err(dir::failed("remove", self.parent.place(&self.name), Errno::ENOTEMPTY))
    }

    fn unlink(&self, name: &str) -> Result<()> {
        let place = || self.parent.place(&self.name).join(name);
        step("journal-unlink", "remove", place, || {
            dir::present(unlinkat(&*self.lock, name, UnlinkatFlags::NoRemoveDir)).map(|_| ())
        })
    }

    fn header(&self) -> Result<Vec<u8>> {
        let unknown =
            || Error::NotAppendable { path: self.path(), problem: self.problem.clone().unwrap_or(Problem::Empty) };
        let key = self.key.as_ref().ok_or_else(unknown)?;
        log::header(&self.boot, key).map_err(|source| Error::Encode { path: self.path(), source })
    }

    fn open_in(lock: &Flock<OwnedFd>, name: &str, how: OFlag) -> nix::Result<OwnedFd> {
        use nix::sys::stat::{Mode, fchmod};
        let mode = Mode::S_IRUSR | Mode::S_IWUSR;
        let file = nix::fcntl::openat(&**lock, name, how | OFlag::O_CLOEXEC, mode)?;
        if how.contains(OFlag::O_CREAT) {
            fchmod(&file, mode)?;
        }
        Ok(file)
    }
}

impl<R: Serialize> Attachment<R> {
    /// Adds a record; when this returns it outlives this process. The first one makes the log. A journal of another boot,
    /// or one that can't be read to its end, takes none: [`Attachment::restart`] or [`Attachment::remove`] it.
    pub fn append(&mut self, record: &R) -> Result<()> {
        match &self.problem {
            None | Some(Problem::Empty) => {}
            Some(problem) => return Err(Error::NotAppendable { path: self.path(), problem: problem.clone() }),
        }
        let mut text = if self.recorded() { Vec::new() } else { self.header()? };
        text.extend(log::line(record).map_err(|source| Error::Encode { path: self.path(), source })?);
        let file = match self.file.take() {
            Some(file) => file,
            None => {
                let how = OFlag::O_CREAT | OFlag::O_EXCL | APPEND;
                step("journal-create", "create", || self.path(), || Self::open_in(&self.lock, LOG, how))?
            }
        };
        let file = self.file.insert(file);
        let path = || self.parent.place(&self.name).join(LOG);
        if self.text.len() > self.whole {
            step("journal-cut", "cut", path, || dir::cut(&*file, self.whole))?;
            self.text.truncate(self.whole);
        }
        step("journal-append", "write", path, || dir::write_whole(&*file, &text, self.whole))?;
        self.text.extend(text);
        self.whole = self.text.len();
        self.problem = None;
        Ok(())
    }
}

impl<R> Drop for Attachment<R> {
    fn drop(&mut self) {
        // Still locked. Failing leaves a directory without a record, which announces nothing.
        if self.tidy && !self.recorded() {
            let _ = self.clear();
        }
    }
}
