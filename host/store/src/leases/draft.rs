//! What a transaction sees, and what it has reserved so far.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::OwnedFd;
use std::time::SystemTime;

use nix::fcntl::Flock;

use super::owner::{Lease, Owner};
use super::{LAST, LEASE_LIMIT, addresses, canonical, older};
use crate::dir::Directory;
use crate::error::Result;

/// So many addresses are looked up one by one before the whole directory is read.
const PROBES: u32 = 8;

/// An address that a transaction means to lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reservation {
    /// The number of the range set.
    pub set: u32,
    /// The address.
    pub ip: IpAddr,
}

/// The leases of a network, held still by a lock, and what is reserved on top of them in memory.
#[derive(Debug)]
pub struct Draft {
    /// `None`: nobody has leased anything yet.
    dir: Option<Directory>,
    _lock: Option<Flock<OwnedFd>>,
    /// Leases last written before this count as free.
    void_before: Option<SystemTime>,
    /// Every leased address, once the directory was read.
    taken: Option<BTreeSet<IpAddr>>,
    reserved: Vec<Reservation>,
}

impl Draft {
    pub(crate) fn new(dir: Option<Directory>, lock: Option<Flock<OwnedFd>>, void_before: Option<SystemTime>) -> Self {
        Self { dir, _lock: lock, void_before, taken: None, reserved: Vec::new() }
    }

    pub(crate) fn dir(&self) -> Option<&Directory> {
        self.dir.as_ref()
    }

    /// What was read of the directory no longer holds.
    pub(crate) fn forget(&mut self) {
        self.taken = None;
    }

    /// Whether nobody has this address, this transaction included.
    pub fn is_free(&self, ip: IpAddr) -> Result<bool> {
        let ip = canonical(ip);
        if self.reserved.iter().any(|reservation| reservation.ip == ip) {
            return Ok(false);
        }
        match (&self.taken, &self.dir) {
            (Some(taken), _) => Ok(!taken.contains(&ip)),
            (None, Some(dir)) => self.vacant(dir, &ip.to_string()),
            (None, None) => Ok(true),
        }
    }

    /// The lowest address from `first` to `last`, both included, that nobody has. `None` too if the two aren't of one
    /// family, or in the wrong order.
    pub fn first_free(&mut self, first: IpAddr, last: IpAddr) -> Result<Option<IpAddr>> {
        let (first, last) = (canonical(first), canonical(last));
        if first.is_ipv4() != last.is_ipv4() {
            return Ok(None);
        }
        let (mut number, end) = (to_number(first), to_number(last));
        let mut probes = 0;
        while number <= end {
            let ip = to_address(number, first.is_ipv4());
            if self.is_free(ip)? {
                return Ok(Some(ip));
            }
            probes += 1;
            if probes == PROBES {
                self.read()?;
            }
            let Some(next) = number.checked_add(1) else { break };
            number = next;
        }
        Ok(None)
    }

    /// The address last leased from a range set.
    pub fn last_reserved(&self, set: u32) -> Result<Option<IpAddr>> {
        let Some(dir) = &self.dir else { return Ok(None) };
        let content = dir.read(&format!("{LAST}{set}"), LEASE_LIMIT)?.unwrap_or_default();
        // What host-local can't parse it ignores too.
        Ok(String::from_utf8_lossy(&content).trim().parse().ok().map(canonical))
    }

    /// Reserves an address, in memory. False: somebody has it, or this transaction has reserved it before.
    pub fn reserve(&mut self, set: u32, ip: IpAddr) -> Result<bool> {
        let ip = canonical(ip);
        let free = self.is_free(ip)?;
        if free {
            self.reserved.push(Reservation { set, ip });
        }
        Ok(free)
    }

    /// What this transaction has reserved, in that order.
    pub fn reservations(&self) -> &[Reservation] {
        &self.reserved
    }

    /// What an owner has leased on disk, in order. A lease of the legacy form, which names no interface, is its only if
    /// no other one is.
    pub fn held(&self, owner: &Owner) -> Result<Vec<IpAddr>> {
        Ok(self.held_files(owner)?.into_iter().map(|(_, ip)| ip).collect())
    }

    /// Whether an owner has leased this address on disk. The directory isn't read.
    pub fn holds(&self, owner: &Owner, ip: IpAddr) -> Result<bool> {
        let name = canonical(ip).to_string();
        let Some(dir) = &self.dir else { return Ok(false) };
        let Some(content) = dir.read(&name, LEASE_LIMIT)? else { return Ok(false) };
        let found = Owner::parse(&content);
        let void = match self.void_before {
            Some(before) => older(dir, &name, before)?,
            None => false,
        };
        Ok(!void && (owner.owns(&found) || owner.may_own(&found)))
    }

    /// Every lease, ordered by address.
    pub fn leases(&self) -> Result<Vec<Lease>> {
        Ok(self.files()?.into_iter().map(|(_, lease)| lease).collect())
    }

    pub(crate) fn held_files(&self, owner: &Owner) -> Result<Vec<(String, IpAddr)>> {
        let files = self.files()?;
        let of = |is: &dyn Fn(&Owner) -> bool| -> Vec<(String, IpAddr)> {
            files.iter().filter(|(_, lease)| is(&lease.owner)).map(|(name, lease)| (name.clone(), lease.ip)).collect()
        };
        let exact = of(&|found| owner.owns(found));
        Ok(if exact.is_empty() { of(&|found| owner.may_own(found)) } else { exact })
    }

    pub(crate) fn files(&self) -> Result<Vec<(String, Lease)>> {
        let Some(dir) = &self.dir else { return Ok(Vec::new()) };
        let mut files = Vec::new();
        for (name, ip) in addresses(dir)? {
            if let Some(before) = self.void_before
                && older(dir, &name, before)?
            {
                continue;
            }
            if let Some(content) = dir.read(&name, LEASE_LIMIT)? {
                files.push((name, Lease { ip, owner: Owner::parse(&content) }));
            }
        }
        Ok(files)
    }

    fn vacant(&self, dir: &Directory, name: &str) -> Result<bool> {
        Ok(match (dir.stat(name)?, self.void_before) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(_), Some(before)) => older(dir, name, before)?,
        })
    }

    fn read(&mut self) -> Result<()> {
        if let (Some(dir), None) = (&self.dir, &self.taken) {
            let mut taken = BTreeSet::new();
            for (name, ip) in addresses(dir)? {
                if self.void_before.is_none() || !self.vacant(dir, &name)? {
                    taken.insert(ip);
                }
            }
            self.taken = Some(taken);
        }
        Ok(())
    }
}

fn to_number(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(ip) => u128::from(ip.to_bits()),
        IpAddr::V6(ip) => ip.to_bits(),
    }
}

/// `number` is that of an address of this family, or one between two of them.
fn to_address(number: u128, v4: bool) -> IpAddr {
    match u32::try_from(number) {
        Ok(number) if v4 => canonical(Ipv4Addr::from_bits(number).into()),
        _ => canonical(Ipv6Addr::from_bits(number).into()),
    }
}
