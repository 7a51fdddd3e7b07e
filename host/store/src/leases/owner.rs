//! Who has a lease, as the content of its file says.

use std::net::IpAddr;

use crate::error::{Error, Result};

/// Who leases: an interface of a container.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Owner {
    /// CNI_CONTAINERID.
    pub container_id: String,
    /// CNI_IFNAME. Empty in a lease of the legacy form.
    pub ifname: String,
}

/// A lease on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The address.
    pub ip: IpAddr,
    /// Who has it. An empty container id: nobody, its writer was killed.
    pub owner: Owner,
}

impl Owner {
    /// The owner of these names.
    pub fn new(container_id: &str, ifname: &str) -> Self {
        Self { container_id: container_id.to_owned(), ifname: ifname.to_owned() }
    }

    /// The content of a lease file.
    pub(crate) fn content(&self) -> Result<String> {
        let (id, ifname) = (self.container_id.trim(), self.ifname.trim());
        if id.is_empty() || [id, ifname].iter().any(|part| part.contains(['\r', '\n'])) {
            return Err(Error::Owner { container_id: self.container_id.clone(), ifname: self.ifname.clone() });
        }
        Ok(format!("{id}\r\n{ifname}"))
    }

    /// Reads the content of a lease file.
    pub(crate) fn parse(content: &[u8]) -> Self {
        let text = String::from_utf8_lossy(content);
        let (id, ifname) = text.trim().split_once('\n').unwrap_or((text.trim(), ""));
        Self::new(id.trim(), ifname.trim())
    }

    /// Whether a lease of the legacy form may be this owner's: it doesn't say which interface's.
    pub(crate) fn may_own(&self, legacy: &Self) -> bool {
        legacy.ifname.is_empty() && legacy.container_id == self.container_id.trim()
    }

    /// Whether a lease is this owner's.
    pub(crate) fn owns(&self, found: &Self) -> bool {
        found.container_id == self.container_id.trim() && found.ifname == self.ifname.trim()
    }
}
