//! Shared objects: what weft made that no single attachment owns (a bridge, a table), and the lock that keeps it.
//!
//! The file of an object has two lines: `{"format":1,"boot":"<boot id>"}` and the object as JSON. Its name is a digest of
//! the object, so that recording it twice is recording it once. The boot is there because after a reboot an object of
//! the same name isn't one that weft made.

use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg, OFlag};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{State, hex, log};
use crate::dir::{self, Directory};
use crate::error::{Error, Result};

const LOCK: &str = "shared.lock";
const OBJECTS: &str = "shared";
/// What a killed process may leave; names of objects are hexadecimal.
const UNFINISHED: &str = ".new-";
const OBJECT_LIMIT: usize = 1 << 20;
const FORMAT: u64 = 1;

#[derive(Serialize, Deserialize)]
struct Header {
    format: u64,
    boot: String,
}

/// A shared object that weft made in this boot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Made<S> {
    /// The name of its file, for [`Exclusive::forget`].
    pub name: String,
    /// What it is. `None`: another version of weft wrote it, and this one doesn't know it.
    pub object: Option<S>,
}

/// Shared objects stay while this is held: nobody collects them.
#[derive(Debug)]
pub struct Shared<'a> {
    state: &'a State,
    lock: Flock<OwnedFd>,
}

/// Nobody else uses or makes shared objects while this is held.
#[derive(Debug)]
pub struct Exclusive<'a> {
    state: &'a State,
    _lock: Flock<OwnedFd>,
}

impl State {
    /// Keeps shared objects, together with others who do: for the time of an ADD or DEL.
    pub fn share(&self, deadline: Option<Instant>) -> Result<Shared<'_>> {
        Ok(Shared { state: self, lock: self.lock_shared(false, deadline)? })
    }

    /// As [`State::share`], where there may be state already: for DEL, which makes none. `None`: there is none at all.
    pub fn share_existing(&self, deadline: Option<Instant>) -> Result<Option<Shared<'_>>> {
        Directory::open(&self.root)?.map(|_| self.share(deadline)).transpose()
    }

    /// Has the shared objects alone: to collect those that nobody needs any more.
    pub fn exclusive(&self, deadline: Option<Instant>) -> Result<Exclusive<'_>> {
        Exclusive { state: self, _lock: self.lock_shared(true, deadline)? }.tidy()
    }

    /// The shared objects that weft made in this boot, ordered by name. Read without a lock.
    pub fn made<S: DeserializeOwned>(&self) -> Result<Vec<Made<S>>> {
        let Some(objects) = self.objects()? else { return Ok(Vec::new()) };
        let mut names = objects.names()?;
        names.retain(|name| !name.starts_with(UNFINISHED));
        names.sort_unstable();
        let mut made = Vec::new();
        for name in names {
            // Forgotten meanwhile.
            let Some(text) = objects.read(&name, OBJECT_LIMIT)? else { continue };
            let (boot, object) = split(&text);
            let now = self.boot()?.id();
            if boot.is_none_or(|boot| boot == now) {
                made.push(Made { name, object: serde_json::from_slice(object).ok() });
            }
        }
        Ok(made)
    }

    fn objects(&self) -> Result<Option<Directory>> {
        Directory::open(&self.root.join(OBJECTS))
    }

    fn lock_shared(&self, exclusive: bool, deadline: Option<Instant>) -> Result<Flock<OwnedFd>> {
        let root = Directory::make(&self.root)?;
        let file = match root.open_file(LOCK, OFlag::O_RDONLY)? {
            Some(file) => file,
            None => root.create("shared-write", LOCK, OFlag::O_RDONLY)?,
        };
        dir::flock("shared-lock", file, exclusive, deadline, || root.place(LOCK))
    }
}

impl<'a> Shared<'a> {
    /// Records an object that weft is about to make; when this returns the record outlives this process. False: this
    /// boot's weft has recorded it before.
    pub fn record<S: Serialize>(&self, object: &S) -> Result<bool> {
        let path = || self.state.root.join(OBJECTS);
        let encode = |source| Error::Encode { path: path(), source };
        let object = log::line(object).map_err(encode)?;
        let name = hex(&Sha256::digest(&object));
        let header = Header { format: FORMAT, boot: self.state.boot()?.id().to_owned() };
        let mut text = log::line(&header).map_err(encode)?;
        text.extend(object);

        let objects = Directory::make(&path())?;
        if objects.read(&name, OBJECT_LIMIT)?.is_some_and(|found| found == text) {
            return Ok(false);
        }
        // Two processes, or threads of one, may record it at once: each renames its own file, with the same content.
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let new = format!("{UNFINISHED}{}-{number}", std::process::id());
        let written = objects.write("shared-write", &new, &text);
        if let Err(error) = written.and_then(|_| objects.rename("shared-rename", &new, &name)) {
            // The error that counts is the first one; what can't be removed now, `tidy` will.
            let _ = objects.unlink("shared-unlink", &new);
            return Err(error);
        }
        Ok(true)
    }

    /// Has the shared objects alone, if nobody else keeps them now. Either way the lock that was shared is gone: `flock`
    /// gives it up before it asks for the other one. So the last of several processes that ask gets it, and what was
    /// known of shared objects has to be looked at again.
    pub fn try_upgrade(self) -> Result<Option<Exclusive<'a>>> {
        weft_fault::point("before", "shared-lock");
        loop {
            match self.lock.relock(FlockArg::LockExclusiveNonblock) {
                Ok(()) => break,
                Err(Errno::EINTR) => {}
                Err(Errno::EWOULDBLOCK) => return Ok(None),
                Err(errno) => return Err(dir::failed("lock", self.state.root.join(LOCK), errno)),
            }
        }
        weft_fault::point("after", "shared-lock");
        Exclusive { state: self.state, _lock: self.lock }.tidy().map(Some)
    }
}

impl Exclusive<'_> {
    /// Forgets an object that is gone, by the name of its file. One that isn't recorded is as good as forgotten.
    pub fn forget(&self, name: &str) -> Result<()> {
        if let Some(objects) = self.state.objects()? {
            objects.unlink("shared-unlink", name)?;
        }
        Ok(())
    }

    /// Removes what killed processes left unfinished, and records of another boot: nobody is writing now.
    fn tidy(self) -> Result<Self> {
        let Some(objects) = self.state.objects()? else { return Ok(self) };
        for name in objects.names()? {
            let void = || -> Result<bool> {
                let text = objects.read(&name, OBJECT_LIMIT)?.unwrap_or_default();
                let now = self.state.boot()?.id();
                Ok(split(&text).0.is_some_and(|boot| boot != now))
            };
            if name.starts_with(UNFINISHED) || void()? {
                objects.unlink("shared-unlink", &name)?;
            }
        }
        Ok(self)
    }
}

/// The boot, if the header can be read, and the object.
fn split(text: &[u8]) -> (Option<String>, &[u8]) {
    let end = text.iter().position(|byte| *byte == b'\n').map_or(text.len(), |feed| feed + 1);
    let (header, object) = text.split_at(end);
    (serde_json::from_slice::<Header>(header).ok().map(|header| header.boot), object)
}
