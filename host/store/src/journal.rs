//! The record of attachments, and of the shared objects weft made.
//!
//! ```text
//! <state>/attachments/<digest of the key>/log   one directory an attachment; its lock is flock on the directory
//! <state>/shared.lock                           LOCK_SH while an ADD or DEL runs, LOCK_EX to collect shared objects
//! <state>/shared/<digest of the object>         one file a shared object
//! ```
//! Directories are 0700, files 0600. The grammar of a log is in `log.rs`. A record is on disk before the change it
//! announces is made: [`Attachment::append`] returns after the write.

mod attachment;
mod log;
mod shared;

use std::marker::PhantomData;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime};

use nix::fcntl::{Flock, OFlag};
use nix::sys::stat::FileStat;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

pub use attachment::Attachment;
pub use shared::{Exclusive, Made, Shared};

use crate::boot::Boot;
use crate::dir::{self, Directory};
use crate::error::{Problem, Result};

const ATTACHMENTS: &str = "attachments";
/// The file in an attachment's directory.
pub(crate) const LOG: &str = "log";

/// What one attachment is called.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Key {
    /// The name of the network.
    pub network: String,
    /// CNI_CONTAINERID.
    pub container_id: String,
    /// CNI_IFNAME.
    pub ifname: String,
    /// The plugin `type` weft was called as.
    pub kind: String,
}

impl Key {
    /// The name of its directory: 128 bits of SHA-256 over the fields, each after its length, in hexadecimal.
    fn digest(&self) -> String {
        let mut hash = Sha256::new();
        for field in [&self.network, &self.container_id, &self.ifname, &self.kind] {
            hash.update((field.len() as u64).to_le_bytes());
            hash.update(field.as_bytes());
        }
        hex(&hash.finalize())
    }
}

/// The first 16 bytes in hexadecimal.
fn hex(digest: &[u8]) -> String {
    digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

fn named_by_digest(name: &str) -> bool {
    name.len() == 32 && name.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// What the journal says about an attachment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry<R> {
    /// Whose it is, where the journal says so.
    pub key: Option<Key>,
    /// The boot it was written in, where the journal says so.
    pub boot: Option<String>,
    /// Written before the last reboot: the kernel state it tells of is gone.
    pub void: bool,
    /// What can be read, from the first on.
    pub records: Vec<R>,
    /// Why there may be more that can't be read.
    pub problem: Option<Problem>,
}

/// An attachment in the journal, seen without its lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed<R> {
    /// The name of its directory, for [`State::find_listed`].
    pub name: String,
    /// What its log says. Without a record: [`Problem::Empty`].
    pub entry: Entry<R>,
    /// When it was last written.
    pub modified: SystemTime,
}

impl<R> Listed<R> {
    /// How long ago it was last written.
    pub fn age(&self) -> Duration {
        self.modified.elapsed().unwrap_or_default()
    }
}

/// The state directory.
#[derive(Debug)]
pub struct State {
    root: PathBuf,
    boot: OnceLock<Boot>,
    attachments: OnceLock<Arc<Directory>>,
}

impl State {
    /// Names the state directory. Nothing is read or made until it is needed.
    pub fn open(root: &Path) -> Self {
        Self { root: root.to_owned(), boot: OnceLock::new(), attachments: OnceLock::new() }
    }

    /// As [`State::open`], in a boot that a test makes up.
    pub fn with_boot(root: &Path, boot: Boot) -> Self {
        Self { root: root.to_owned(), boot: OnceLock::from(boot), attachments: OnceLock::new() }
    }

    /// The boot that is running.
    pub fn boot(&self) -> Result<&Boot> {
        match self.boot.get() {
            Some(boot) => Ok(boot),
            None => {
                let boot = Boot::current()?;
                Ok(self.boot.get_or_init(|| boot))
            }
        }
    }

    /// Takes the lock of an attachment; its directory is made if it is absent. `deadline` `None` waits for ever, else it
    /// ends in [`Error::Busy`](crate::Error::Busy). Who takes it twice waits for itself.
    pub fn lock<R: DeserializeOwned>(&self, key: &Key, deadline: Option<Instant>) -> Result<Attachment<R>> {
        let parent = self.attachments()?;
        let name = key.digest();
        loop {
            parent.make_directory("journal-mkdir", &name)?;
            if let Some(lock) = take(parent, &name, deadline)? {
                return Attachment::read(Arc::clone(parent), name, lock, Some(key), self.boot()?.id());
            }
        }
    }

    /// Takes the lock of an attachment that the journal knows.
    pub fn find<R: DeserializeOwned>(&self, key: &Key, deadline: Option<Instant>) -> Result<Option<Attachment<R>>> {
        self.find_named(&key.digest(), Some(key), deadline)
    }

    /// Takes the lock of what [`State::list`] found, if it is still there: the way to remove what can't be read. Also
    /// clears away what has no record.
    pub fn find_listed<R: DeserializeOwned>(
        &self,
        listed: &Listed<R>,
        deadline: Option<Instant>,
    ) -> Result<Option<Attachment<R>>> {
        self.find_named(&listed.name, None, deadline)
    }

    fn find_named<R: DeserializeOwned>(
        &self,
        name: &str,
        key: Option<&Key>,
        deadline: Option<Instant>,
    ) -> Result<Option<Attachment<R>>> {
        let Some(parent) = self.existing_attachments()? else { return Ok(None) };
        let Some(lock) = take(parent, name, deadline)? else { return Ok(None) };
        let attachment = Attachment::read(Arc::clone(parent), name.to_owned(), lock, key, self.boot()?.id())?;
        // Dropping one without a record removes its directory.
        Ok(attachment.recorded().then_some(attachment))
    }

    /// Every attachment in the journal, ordered by key, read without locks: what is removed meanwhile may be missing.
    pub fn list<R: DeserializeOwned>(&self) -> Result<Vec<Listed<R>>> {
        let Some(parent) = self.existing_attachments()? else { return Ok(Vec::new()) };
        let mut found = Vec::new();
        for name in parent.names()? {
            if !named_by_digest(&name) {
                continue;
            }
            if let Some(listed) = self.look(parent, name)? {
                found.push(listed);
            }
        }
        found.sort_by(|one, other| (&one.entry.key, &one.name).cmp(&(&other.entry.key, &other.name)));
        Ok(found)
    }

    fn look<R: DeserializeOwned>(&self, parent: &Directory, name: String) -> Result<Option<Listed<R>>> {
        let file = format!("{name}/{LOG}");
        let (stat, text) = match parent.open_file(&file, OFlag::O_RDONLY)? {
            Some(log) => {
                let stat = dir::describe(&log, || parent.place(&file))?;
                let text = dir::read_all(&log, usize::MAX);
                (stat, text.map_err(|errno| dir::failed("read", parent.place(&file), errno))?)
            }
            None => match parent.stat(&name)? {
                Some(stat) => (stat, Vec::new()),
                None => return Ok(None),
            },
        };
        let entry = log::read(&text, self.boot()?.id()).entry;
        Ok(Some(Listed { name, entry, modified: modified(&stat) }))
    }

    /// The directory of attachments; made if it is absent.
    fn attachments(&self) -> Result<&Arc<Directory>> {
        if let Some(found) = self.existing_attachments()? {
            return Ok(found);
        }
        let made = Arc::new(Directory::make(&self.root.join(ATTACHMENTS))?);
        Ok(self.attachments.get_or_init(|| made))
    }

    fn existing_attachments(&self) -> Result<Option<&Arc<Directory>>> {
        if self.attachments.get().is_none()
            && let Some(found) = Directory::open(&self.root.join(ATTACHMENTS))?
        {
            return Ok(Some(self.attachments.get_or_init(|| Arc::new(found))));
        }
        Ok(self.attachments.get())
    }
}

/// Locks the directory of an attachment. `None`: it isn't there. Another process may remove it between our opening and
/// locking it, so what was locked must be what is there now.
fn take(parent: &Directory, name: &str, deadline: Option<Instant>) -> Result<Option<Flock<OwnedFd>>> {
    let place = || parent.place(name);
    loop {
        let Some(fd) = parent.open_directory(name)? else { return Ok(None) };
        let lock = dir::flock("journal-lock", fd, true, deadline, place)?;
        let mine = dir::describe(&*lock, place)?;
        if parent.stat(name)?.is_some_and(|there| dir::same(&mine, &there)) {
            dir::narrow(&*lock, &mine).map_err(|errno| dir::failed("set the mode of", place(), errno))?;
            return Ok(Some(lock));
        }
    }
}

fn modified(stat: &FileStat) -> SystemTime {
    let (seconds, nanoseconds) = (u64::try_from(stat.st_mtime), u64::try_from(stat.st_mtime_nsec));
    let since =
        Duration::from_secs(seconds.unwrap_or_default()) + Duration::from_nanos(nanoseconds.unwrap_or_default());
    SystemTime::UNIX_EPOCH + since
}

/// Says which payload a guard is for, without holding one.
type Payload<R> = PhantomData<fn() -> R>;

#[cfg(test)]
mod tests;
