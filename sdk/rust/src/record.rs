//! Big records start from what is usual: `Link { mtu: Some(1400), ..Link::in_sandbox("container", LinkKind::Dummy) }`.

#![allow(clippy::derivable_impls, reason = "the types are generated")]

use crate::plan::{Address, BridgePort, Detection, Life, Link, LinkKind, Others, Outcome, Plan, Report, Sysctl};
use crate::requests::Allocation;
use crate::types::{Dns, IpPrefix, LinkRef, Place, Route};

impl Default for Plan {
    /// Nothing wanted, and the previous result as it was.
    fn default() -> Self {
        Self {
            links: Vec::new(),
            rules: Vec::new(),
            routes: Vec::new(),
            absent_routes: Vec::new(),
            sysctls: Vec::new(),
            forwarding: Vec::new(),
            masquerades: Vec::new(),
            port_mappings: Vec::new(),
            filters: Vec::new(),
            shaping: Vec::new(),
            redirects: Vec::new(),
            functions: Vec::new(),
            outcome: Outcome::Extended(Vec::new()),
            extra: Vec::new(),
        }
    }
}

impl Link {
    /// A link of the attachment that ends up in the sandbox; no wish but its kind.
    pub fn in_sandbox(label: &str, kind: LinkKind) -> Self {
        Self::new(label, kind, Place::Sandbox)
    }

    /// A link of the attachment that ends up on the node; no wish but its kind.
    pub fn on_host(label: &str, kind: LinkKind) -> Self {
        Self::new(label, kind, Place::Host)
    }

    fn new(label: &str, kind: LinkKind, place: Place) -> Self {
        Self {
            label: label.to_owned(),
            kind,
            place,
            name: None,
            life: Life::Attachment,
            up: None,
            mtu: None,
            mac: None,
            master: None,
            port: None,
            addresses: Vec::new(),
            sysctls: Vec::new(),
            transmit_queue_length: None,
            promiscuous: None,
            all_multicast: None,
            extra: Vec::new(),
        }
    }
}

impl LinkRef {
    /// A link of this plan.
    pub fn label(label: &str) -> Self {
        Self::Label(label.to_owned())
    }
}

impl Default for BridgePort {
    fn default() -> Self {
        Self { hairpin: false, isolated: false, vlans: Vec::new(), drop_default_vlan: false }
    }
}

impl Address {
    /// An address beside which others may be, with duplicate detection in the background.
    pub fn new(prefix: IpPrefix) -> Self {
        Self { prefix, others: Others::Keep, detection: Detection::Background, bare: false, announce: false }
    }
}

impl Sysctl {
    /// A setting that must take.
    pub fn new(key: &str, value: &str) -> Self {
        Self { key: key.to_owned(), value: value.to_owned(), lenient: false }
    }

    /// A setting that is left alone where the key is missing or refuses.
    pub fn lenient(key: &str, value: &str) -> Self {
        Self { lenient: true, ..Self::new(key, value) }
    }
}

impl Route {
    /// A route to a directly reachable network, in the main table.
    pub fn to(destination: IpPrefix) -> Self {
        Self {
            destination,
            gateway: None,
            source: None,
            on_link: false,
            table: None,
            metric: None,
            scope: None,
            mtu: None,
            advertised_mss: None,
        }
    }
}

impl Default for Dns {
    fn default() -> Self {
        Self { nameservers: Vec::new(), domain: None, search: Vec::new(), options: Vec::new() }
    }
}

impl Default for Report {
    fn default() -> Self {
        Self { interfaces: Vec::new(), addresses: Vec::new(), routes: Vec::new(), dns: Dns::default() }
    }
}

impl Default for Allocation {
    fn default() -> Self {
        Self { addresses: Vec::new(), routes: Vec::new(), dns: Dns::default() }
    }
}
