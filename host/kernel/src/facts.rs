//! Answers to what a component may ask about the node and the sandbox, in the contract's terms.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use nix::libc;
use weft_contract::facts::LinkFacts;
use weft_contract::types::{IpFamily, LinkName, LinkSelector, Place, Route};
use weft_executor::KernelError;
use weft_executor::state::Kind;

use crate::link::{self, RawLink};
use crate::observe::{addresses, list_routes};
use crate::system::{System, spoken};
use crate::wire::Request;
use crate::{route, sysctl, wire};

// === impl System ===

impl System {
    /// Every link of a place, by index.
    pub fn links(&mut self, place: Place) -> Result<Vec<LinkFacts>, KernelError> {
        self.forget();
        let links = self.list(place)?;
        self.name_all(place, links.iter().filter_map(|link| link.master))?;
        links.iter().map(|link| self.facts(place, link)).collect()
    }

    /// A link; None: there is none. All selectors but a name find a device of the node in the host's namespace and then
    /// in the sandbox.
    pub fn link_by(&mut self, selector: &LinkSelector) -> Result<Option<LinkFacts>, KernelError> {
        self.forget();
        let wanted_mac = match selector {
            LinkSelector::Named(at) => {
                if !self.has(at.place) {
                    return Ok(None);
                }
                let found = self.find(at)?;
                return found.map(|link| self.facts(at.place, &link)).transpose();
            }
            LinkSelector::Mac(mac) => Some(*mac),
            _ => None,
        };
        if let Some(directory) = network_directory(selector)
            && let Some(name) = only_entry(&directory)
            && let Some(found) = self.find(&LinkName { place: Place::Host, name })?
        {
            return self.facts(Place::Host, &found).map(Some);
        }
        for place in self.places() {
            let found = self.list(place)?.into_iter().find(|link| match selector {
                LinkSelector::Mac(_) => link.mac == wanted_mac,
                LinkSelector::Pci(id) | LinkSelector::Auxiliary(id) => link.device.as_ref() == Some(id),
                _ => false,
            });
            if let Some(found) = found {
                return self.facts(place, &found).map(Some);
            }
        }
        Ok(None)
    }

    /// The link of the default route in the main table: of several, the one with the lowest metric.
    pub fn default_link(&mut self, place: Place, family: IpFamily) -> Result<Option<LinkFacts>, KernelError> {
        const MAIN: u32 = libc::RT_TABLE_MAIN as u32;
        self.forget();
        let replies = match self.socket(place)?.dump(route::list(family, None, Some(MAIN))) {
            Ok(replies) => replies,
            Err(refusal) if crate::system::is_absent(&refusal) => return Ok(None),
            Err(refusal) => {
                return Err(refusal.explain(format!("look up the default route of the {}", spoken(place)), ""));
            }
        };
        let routes = replies.iter().flat_map(route::parse);
        let default = routes
            .filter(|found| found.table == MAIN && found.route.destination.length == 0)
            .min_by_key(|found| found.route.metric);
        let Some(default) = default else { return Ok(None) };
        let found = self.look_up(place, &[link::get_by_index(default.link)])?.pop().flatten();
        found.map(|link| self.facts(place, &link)).transpose()
    }

    /// Every route through a link, of every table but the kernel's own.
    pub fn routes(&mut self, at: &LinkName) -> Result<Vec<Route>, KernelError> {
        if !self.has(at.place) {
            return Ok(Vec::new());
        }
        let Some(found) = self.find(at)? else { return Ok(Vec::new()) };
        Ok(list_routes(self, at.place, Some(found.index))?.into_iter().map(|found| found.route).collect())
    }

    /// Tables that a route, a rule or a vrf uses, ascending.
    pub fn tables_in_use(&mut self, place: Place) -> Result<Vec<u32>, KernelError> {
        let mut tables = BTreeSet::new();
        for (what, request, kind) in [
            ("routes", route::list(IpFamily::V4, None, None), libc::RTM_NEWROUTE),
            ("routes", route::list(IpFamily::V6, None, None), libc::RTM_NEWROUTE),
            ("rules", rules(IpFamily::V4), libc::RTM_NEWRULE),
            ("rules", rules(IpFamily::V6), libc::RTM_NEWRULE),
        ] {
            match self.socket(place)?.dump(request) {
                // `struct rtmsg` and `struct fib_rule_hdr` have the table's low byte in the same place, and RTA_TABLE
                // and FRA_TABLE are the same number.
                Ok(replies) => tables.extend(replies.iter().filter(|reply| reply.kind == kind).map(|reply| {
                    wire::attribute(&reply.payload, 12, libc::RTA_TABLE).map_or_else(
                        || u32::from(reply.payload.get(4).copied().unwrap_or_default()),
                        |value| wire::u32_at(value, 0),
                    )
                })),
                Err(refusal) if refusal.is(nix::errno::Errno::EOPNOTSUPP) || crate::system::is_absent(&refusal) => {}
                Err(refusal) => return Err(refusal.explain(format!("list {what} of the {}", spoken(place)), "")),
            }
        }
        for link in self.list(place)?.into_iter().filter(|link| link.kind == "vrf") {
            if let Kind::Vrf { table } = link.kind(String::new) {
                tables.insert(table);
            }
        }
        tables.remove(&0);
        Ok(tables.into_iter().collect())
    }

    /// The value of a setting, trimmed; None: there is no such key.
    pub fn sysctl(&mut self, place: Place, key: &str) -> Result<Option<String>, KernelError> {
        self.inside(place, || sysctl::read(key))?
    }

    fn list(&mut self, place: Place) -> Result<Vec<RawLink>, KernelError> {
        let replies = self.socket(place)?.dump(link::list(None));
        let replies = replies.map_err(|refusal| refusal.explain(format!("list links of the {}", spoken(place)), ""))?;
        Ok(replies.iter().filter_map(link::parse).collect())
    }

    fn facts(&mut self, place: Place, link: &RawLink) -> Result<LinkFacts, KernelError> {
        let master = match link.master {
            Some(index) => self.name(place, index)?.map(|name| LinkName { place, name }),
            None => None,
        };
        let lower = self.lower(place, link)?;
        let (peer, parent) = if link.kind == "veth" { (lower, None) } else { (None, lower) };
        let kind = link.kind(String::new);
        Ok(LinkFacts {
            link: LinkName { place, name: link.name.clone() },
            kind: match kind {
                Kind::Loopback => "loopback".into(),
                _ => link.kind.clone(),
            },
            up: link.has(libc::IFF_UP),
            mtu: link.mtu,
            mac: link.mac.filter(|_| kind != Kind::Loopback),
            master,
            parent,
            peer,
            table: match kind {
                Kind::Vrf { table } => Some(table),
                _ => None,
            },
            addresses: addresses(self, place, link.index)?.into_iter().map(|address| address.prefix).collect(),
            promiscuous: link.has(libc::IFF_PROMISC),
            all_multicast: link.has(libc::IFF_ALLMULTI),
            transmit_queue_length: link.transmit_queue_length,
        })
    }
}

/// Every rule of a family: `struct fib_rule_hdr`.
fn rules(family: IpFamily) -> Request {
    let family = match family {
        IpFamily::V4 => libc::AF_INET,
        IpFamily::V6 => libc::AF_INET6,
    };
    let mut header = [0; 12];
    header[0] = family as u8;
    Request::new(libc::RTM_GETRULE, 0, &header)
}

/// Where sysfs lists the links of a device; it shows those of the host's namespace.
fn network_directory(selector: &LinkSelector) -> Option<PathBuf> {
    let is_name = |id: &str| !id.is_empty() && id != "." && id != ".." && !id.contains(['/', '\0']);
    match selector {
        LinkSelector::Pci(id) if is_name(id) => Some(Path::new("/sys/bus/pci/devices").join(id)),
        LinkSelector::Auxiliary(id) if is_name(id) => Some(Path::new("/sys/bus/auxiliary/devices").join(id)),
        LinkSelector::KernelPath(path) => {
            let below = path.strip_prefix("/sys/").unwrap_or(path.trim_start_matches('/'));
            below.split('/').all(is_name).then(|| Path::new("/sys").join(below))
        }
        _ => None,
    }
    .map(|device| if device.join("net").is_dir() { device.join("net") } else { virtio_child(&device) })
}

/// A virtio network card's links hang below its virtio device, one further down.
fn virtio_child(device: &Path) -> PathBuf {
    let children = std::fs::read_dir(device).into_iter().flatten().flatten();
    let child = children.map(|child| child.path().join("net")).find(|net| net.is_dir());
    child.unwrap_or_else(|| device.join("net"))
}

/// The entry of a directory, the first by name where there are several.
fn only_entry(directory: &Path) -> Option<String> {
    let entries = std::fs::read_dir(directory).ok()?.flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok()).min()
}
