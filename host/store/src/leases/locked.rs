//! A transaction: the only place that makes and removes leases.

use std::net::IpAddr;
use std::ops::{Deref, DerefMut};

use super::draft::{Draft, Reservation};
use super::owner::Owner;
use super::{LAST, TEMPORARY, canonical};
use crate::dir::Directory;
use crate::error::{Error, Result};

/// A transaction on the leases of a network, which others can't touch until this is dropped. What was reserved and not
/// committed is then forgotten.
#[derive(Debug)]
pub struct Locked {
    draft: Draft,
}

impl Deref for Locked {
    type Target = Draft;
    fn deref(&self) -> &Draft {
        &self.draft
    }
}

impl DerefMut for Locked {
    fn deref_mut(&mut self) -> &mut Draft {
        &mut self.draft
    }
}

impl Locked {
    pub(crate) fn new(draft: Draft) -> Self {
        Self { draft }
    }

    /// Leases what was reserved to an owner. Either all of it, or nothing and an error; killed in between, some of it: the
    /// caller has written down all of it before.
    pub fn commit(self, owner: &Owner) -> Result<Vec<IpAddr>> {
        let content = owner.content()?;
        let (Some(dir), reserved) = (self.draft.dir(), self.draft.reservations()) else { return Ok(Vec::new()) };
        if reserved.is_empty() {
            return Ok(Vec::new());
        }
        weft_fault::point("before", "lease-commit");
        let mut made = Vec::new();
        if let Err(error) = make(dir, content.as_bytes(), reserved, &mut made) {
            for ip in made {
                // The error that counts is the first one; what can't be taken back now, DEL will.
                let _ = dir.unlink("lease-unlink", &ip.to_string());
            }
            return Err(error);
        }
        weft_fault::point("after", "lease-commit");
        Ok(made)
    }

    /// Gives back what an owner has: what [`Draft::held`] names. Nothing is not an error.
    pub fn release(&mut self, owner: &Owner) -> Result<Vec<IpAddr>> {
        let files = self.draft.held_files(owner)?;
        self.remove(files)
    }

    /// Gives back these addresses, those that the owner still has. For who wrote them down: the directory isn't read.
    pub fn release_ips(&mut self, owner: &Owner, ips: &[IpAddr]) -> Result<Vec<IpAddr>> {
        let mut files = Vec::new();
        for ip in ips.iter().copied().map(canonical) {
            if self.draft.holds(owner, ip)? {
                files.push((ip.to_string(), ip));
            }
        }
        self.remove(files)
    }

    /// Gives back what belongs to none of these owners. A lease of the legacy form stays if any of them is of its
    /// container. An empty list gives back everything.
    pub fn collect(&mut self, valid: &[Owner]) -> Result<Vec<IpAddr>> {
        let mut files = self.draft.files()?;
        files.retain(|(_, lease)| !valid.iter().any(|owner| owner.owns(&lease.owner) || owner.may_own(&lease.owner)));
        self.remove(files.into_iter().map(|(name, lease)| (name, lease.ip)).collect())
    }

    fn remove(&mut self, files: Vec<(String, IpAddr)>) -> Result<Vec<IpAddr>> {
        self.draft.forget();
        let mut removed = Vec::new();
        if let Some(dir) = self.draft.dir() {
            for (name, ip) in files {
                if dir.unlink("lease-unlink", &name)? {
                    removed.push(ip);
                }
            }
        }
        Ok(removed)
    }
}

/// Makes the files: the leases, all links of one file, and then what was leased last from each set.
fn make(dir: &Directory, content: &[u8], reserved: &[Reservation], made: &mut Vec<IpAddr>) -> Result<()> {
    dir.write("lease-write", TEMPORARY, content)?;
    for Reservation { ip, .. } in reserved {
        if !dir.link("lease-link", TEMPORARY, &ip.to_string())? {
            return Err(Error::Taken { ip: *ip, path: dir.path().to_owned() });
        }
        made.push(*ip);
    }
    dir.unlink("lease-unlink", TEMPORARY)?;
    for (index, Reservation { set, ip }) in reserved.iter().enumerate() {
        if reserved[index + 1..].iter().all(|later| later.set != *set) {
            let name = format!("{LAST}{set}");
            dir.write("lease-write", TEMPORARY, ip.to_string().as_bytes())?;
            // Renaming over a file makes ext4 start writing to the disk, which takes longer than all the rest. Nobody
            // relies on this file: without it a search starts at the beginning of its range.
            dir.unlink("lease-unlink", &name)?;
            dir.rename("lease-rename", TEMPORARY, &name)?;
        }
    }
    Ok(())
}
