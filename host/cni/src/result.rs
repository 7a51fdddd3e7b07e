//! Results, in one form for all versions.
//!
//! | version | shape |
//! |---|---|
//! | 0.1.0, 0.2.0 | `ip4` and `ip6`, each {`ip`, `gateway`, `routes`: {`dst`, `gw`}}; `dns` |
//! | 0.3.0 to 0.4.0 | `interfaces` {`name`, `mac`, `sandbox`}, `ips` with `version`, `routes`, `dns` |
//! | 1.0.0, 1.1.0 | `ips` without `version`; interfaces with `mtu`, `socketPath`, `pciID`; no `dns` if it is empty |
//!
//! An older shape says less; what it has no word for is left out ([`CniResult::to_json`]). Keys that no version knows
//! are kept with the object they stand in.

mod read;
mod write;

use std::net::IpAddr;

use serde::Deserialize;
use weft_json::{Map, Value};

use crate::Prefix;

/// A result.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct CniResult {
    /// What was made or used, in the order that `interface` counts in.
    pub interfaces: Vec<Interface>,
    /// Addresses.
    pub ips: Vec<IpConfig>,
    /// Routes.
    pub routes: Vec<Route>,
    /// Resolver settings; none or empty are the same.
    pub dns: Option<Dns>,
    /// Keys of other plugins.
    pub extra: Map<String, Value>,
}

/// An interface.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Interface {
    /// In its namespace.
    pub name: String,
    /// Hardware address as text.
    pub mac: Option<String>,
    /// Not 0.
    pub mtu: Option<u32>,
    /// Path of the namespace, or a hypervisor's id; none: on the host.
    pub sandbox: Option<String>,
    /// Of a vhost-user interface, a path.
    pub socket_path: Option<String>,
    /// PCI address.
    pub pci_id: Option<String>,
    /// Keys of other plugins.
    pub extra: Map<String, Value>,
}

/// An address.
#[derive(Debug, Clone, PartialEq)]
pub struct IpConfig {
    /// In its network.
    pub address: Prefix,
    /// The default gateway of that network.
    pub gateway: Option<IpAddr>,
    /// Index in the interfaces; plugins write -1 too, for none.
    pub interface: Option<i64>,
    /// Keys of other plugins.
    pub extra: Map<String, Value>,
}

/// A route in the sandbox.
#[derive(Debug, Clone, PartialEq)]
pub struct Route {
    /// Where to.
    pub dst: Prefix,
    /// Through which router; none: a gateway of an address's.
    pub gw: Option<IpAddr>,
    /// Not 0.
    pub mtu: Option<u32>,
    /// Not 0.
    pub advmss: Option<u32>,
    /// Metric; not 0.
    pub priority: Option<u32>,
    /// Routing table; 0 may be said.
    pub table: Option<u32>,
    /// Scope as the kernel numbers it; 0 may be said.
    pub scope: Option<u32>,
    /// Keys of other plugins.
    pub extra: Map<String, Value>,
}

/// Resolver settings.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct Dns {
    /// Addresses, as text: nobody checks them.
    pub nameservers: Vec<String>,
    /// The local domain.
    pub domain: Option<String>,
    /// Search list.
    pub search: Vec<String>,
    /// Options of the resolver.
    pub options: Vec<String>,
}

// === impl Dns ===

impl Dns {
    /// Whether nothing is set.
    pub fn is_empty(&self) -> bool {
        let Self { nameservers, domain, search, options } = self;
        nameservers.is_empty()
            && domain.as_ref().is_none_or(String::is_empty)
            && search.is_empty()
            && options.is_empty()
    }
}

impl Interface {
    /// One with nothing but a name.
    pub fn named(name: impl Into<String>) -> Self {
        Self { name: name.into(), ..Self::default() }
    }
}

impl IpConfig {
    /// One with nothing but an address.
    pub fn new(address: Prefix) -> Self {
        Self { address, gateway: None, interface: None, extra: Map::new() }
    }
}

impl Route {
    /// One with nothing but a destination and a router.
    pub fn new(dst: Prefix, gw: Option<IpAddr>) -> Self {
        Self { dst, gw, mtu: None, advmss: None, priority: None, table: None, scope: None, extra: Map::new() }
    }
}
