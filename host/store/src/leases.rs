//! Address leases, on disk as the `host-local` plugin keeps them, so that both can lease from one network at once.
//!
//! ```text
//! <data dir>/<network>/lock                     flock, exclusive, for the time of one transaction
//!                      <address>                a lease: "<container id>" CR LF "<interface>"; the legacy form has only
//!                                               the container id. Around it white space counts for nothing
//!                      last_reserved_ip.<set>   the address last leased from range set <set>
//!                      .weft-boot               the boot in which leases of earlier boots were last cleared away
//!                      .weft-tmp                a file being written; removed by whoever locks next
//! ```
//! Addresses are in their canonical text form (RFC 5952). A lease is written to `.weft-tmp` and linked to its address, so
//! it is never seen empty. Existing directories keep their mode; made ones are 0700.
//!
//! A transaction reserves in memory ([`Draft::reserve`]) and makes the files in [`Locked::commit`], so that the caller
//! can write down what it is about to lease in between.
//!
//! Leases of an earlier boot are void: containers don't outlive it, and nobody calls DEL for them. The first transaction
//! in a boot removes those that are certainly older than it (see `boot.rs`).

mod draft;
mod locked;
mod owner;

use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime};

use nix::fcntl::{Flock, OFlag};

pub use draft::{Draft, Reservation};
pub use locked::Locked;
pub use owner::{Lease, Owner};

use crate::boot::Boot;
use crate::dir::{self, Directory};
use crate::error::{Error, Result};

const LOCK: &str = "lock";
const BOOT: &str = ".weft-boot";
const TEMPORARY: &str = ".weft-tmp";
const LAST: &str = "last_reserved_ip.";
/// No lease is longer: a container id and an interface name.
const LEASE_LIMIT: usize = 4096;

/// The leases of one network.
#[derive(Clone, Debug)]
pub struct Pool {
    path: PathBuf,
    boot: Boot,
}

impl Pool {
    /// Names the leases of a network in a data directory (`/var/lib/cni/networks`). Nothing is read or made yet.
    pub fn open(data_dir: &Path, network: &str, boot: &Boot) -> Result<Self> {
        if matches!(network, "" | "." | "..") || network.contains(['/', '\0']) {
            return Err(Error::Name(network.to_owned()));
        }
        Ok(Self { path: data_dir.join(network), boot: boot.clone() })
    }

    /// Begins a transaction; the directory is made if it is absent. `deadline` `None` waits for ever, else it ends in
    /// [`Error::Busy`].
    pub fn lock(&self, deadline: Option<Instant>) -> Result<Locked> {
        self.begin(Directory::make(&self.path)?, deadline)
    }

    /// Begins a transaction where there may be leases already: for DEL and GC, which make nothing.
    pub fn lock_existing(&self, deadline: Option<Instant>) -> Result<Option<Locked>> {
        Directory::open(&self.path)?.map(|dir| self.begin(dir, deadline)).transpose()
    }

    /// Looks as a transaction would, for a dry run: what it reserves is never leased, nothing is made or removed.
    /// Leases that the next transaction would remove as void count as free.
    pub fn peek(&self, deadline: Option<Instant>) -> Result<Draft> {
        let Some(dir) = Directory::open(&self.path)? else { return Ok(Draft::new(None, None, None)) };
        let lock = match dir.open_file(LOCK, OFlag::O_RDONLY)? {
            Some(file) => Some(dir::flock("lease-lock", file, false, deadline, || dir.place(LOCK))?),
            None => None,
        };
        let void_before = if self.swept(&dir)? { None } else { self.boot.certainly_before() };
        Ok(Draft::new(Some(dir), lock, void_before))
    }

    /// Gives back what an owner has; nothing is not an error.
    pub fn release(&self, owner: &Owner, deadline: Option<Instant>) -> Result<Vec<IpAddr>> {
        self.lock_existing(deadline)?.map_or(Ok(Vec::new()), |mut locked| locked.release(owner))
    }

    fn begin(&self, dir: Directory, deadline: Option<Instant>) -> Result<Locked> {
        let lock = self.lock_in(&dir, deadline)?;
        dir.unlink("lease-unlink", TEMPORARY)?;
        if !self.swept(&dir)? {
            if let Some(before) = self.boot.certainly_before() {
                sweep(&dir, before)?;
            }
            dir.write("lease-write", TEMPORARY, self.boot.id().as_bytes())?;
            dir.rename("lease-rename", TEMPORARY, BOOT)?;
        }
        Ok(Locked::new(Draft::new(Some(dir), Some(lock), None)))
    }

    fn lock_in(&self, dir: &Directory, deadline: Option<Instant>) -> Result<Flock<OwnedFd>> {
        let file = match dir.open_file(LOCK, OFlag::O_RDONLY)? {
            Some(file) => file,
            None => dir.create("lease-write", LOCK, OFlag::O_RDONLY)?,
        };
        dir::flock("lease-lock", file, true, deadline, || dir.place(LOCK))
    }

    /// Whether leases of earlier boots were cleared away in this one.
    fn swept(&self, dir: &Directory) -> Result<bool> {
        Ok(dir.read(BOOT, LEASE_LIMIT)?.is_some_and(|boot| boot == self.boot.id().as_bytes()))
    }
}

fn sweep(dir: &Directory, before: SystemTime) -> Result<()> {
    for (name, _) in addresses(dir)? {
        if older(dir, &name, before)? {
            dir.unlink("lease-unlink", &name)?;
        }
    }
    Ok(())
}

/// Whether a lease is there and was last written before this moment.
fn older(dir: &Directory, name: &str, before: SystemTime) -> Result<bool> {
    let since = before.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let seconds = i64::try_from(since.as_secs()).unwrap_or(i64::MAX);
    Ok(dir.stat(name)?.is_some_and(|stat| stat.st_mtime < seconds))
}

/// The files that are leases, by their names, ordered by address.
fn addresses(dir: &Directory) -> Result<Vec<(String, IpAddr)>> {
    let parse = |name: String| name.parse().ok().map(|ip| (name, canonical(ip)));
    let mut found: Vec<_> = dir.names()?.into_iter().filter_map(parse).collect();
    found.sort_unstable_by_key(|(_, ip)| *ip);
    Ok(found)
}

/// Go doesn't tell an IPv4 address from the same one mapped into IPv6.
fn canonical(ip: IpAddr) -> IpAddr {
    ip.to_canonical()
}

#[cfg(test)]
mod tests;
