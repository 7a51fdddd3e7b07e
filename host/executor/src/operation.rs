//! One kernel change, with what is needed to take it back.
//!
//! Owns: the operation vocabulary. Every operation carries the value it replaces, so its inverse is a function of the
//! operation alone, and a journalled operation can be taken back by a process that never saw it made.
//! Invariant: `inverse(inverse(op)) == op` for every operation that has one.

use serde::{Deserialize, Serialize};
use weft_contract::plan::PortVlan;
use weft_contract::types::{IpPrefix, LinkName, MacAddress, Place, Route};

use crate::state::{Address, Kind, PortFlags};

/// An operation, and whether what it makes is shared: outlives the attachment and is only removed by garbage
/// collection of shared objects, or by the undo of the very ADD that made it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// What is done.
    #[serde(flatten)]
    pub operation: Operation,
    /// Whether it outlives the attachment.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub shared: bool,
}

/// One end of a pair that is to be created.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VethEnd {
    /// Where it is born and its name there.
    pub at: LinkName,
    /// None: the kernel's choice.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "weft_contract::text::optional_mac")]
    pub mac: Option<MacAddress>,
    /// None: the kernel's choice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
    /// A bridge (or vrf) of its own place that it joins at once; only for the first end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub master: Option<String>,
    /// Up at once; only for the first end (the kernel refuses it for the second).
    #[serde(default)]
    pub up: bool,
}

/// A change of the kernel's state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "do")]
pub enum Operation {
    /// A pair, both ends in their places under their final names, in one request. The first end is the one that gets
    /// its master and goes up at once.
    CreateVeth {
        /// The end that the request creates.
        first: VethEnd,
        /// Its peer.
        second: VethEnd,
    },
    /// Any other link that can be created from its properties.
    CreateLink {
        /// Where and under which name.
        at: LinkName,
        /// Its kind.
        kind: Kind,
        /// None: the kernel's choice.
        #[serde(default, skip_serializing_if = "Option::is_none", with = "weft_contract::text::optional_mac")]
        mac: Option<MacAddress>,
        /// None: the kernel's choice.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        mtu: Option<u32>,
        /// Up at once.
        up: bool,
    },
    /// The inverse of the two above; a link that is gone already is no error. Its kind must still be this one.
    DeleteLink {
        /// Which.
        at: LinkName,
        /// What it was made as.
        creation: Box<Operation>,
    },
    /// One property of a link.
    SetLink {
        /// Which link.
        at: LinkName,
        /// Its value before.
        was: Property,
        /// Its value after: the same case of [`Property`].
        now: Property,
    },
    /// An address on a link.
    AddAddress {
        /// Which link.
        at: LinkName,
        /// With its prefix and flags.
        address: Address,
    },
    /// Its inverse.
    RemoveAddress {
        /// Which link.
        at: LinkName,
        /// With its prefix and flags.
        address: Address,
    },
    /// A route through a link.
    AddRoute {
        /// The link it leaves through.
        at: LinkName,
        /// Where packets go.
        route: Route,
    },
    /// Its inverse.
    RemoveRoute {
        /// The link it leaves through.
        at: LinkName,
        /// Where packets go.
        route: Route,
    },
    /// A VLAN on a bridge port.
    AddPortVlan {
        /// The port.
        at: LinkName,
        /// The VLANs.
        vlan: PortVlan,
    },
    /// Its inverse.
    RemovePortVlan {
        /// The port.
        at: LinkName,
        /// The VLANs.
        vlan: PortVlan,
    },
    /// A kernel setting.
    WriteSysctl {
        /// Whose `/proc/sys`.
        place: Place,
        /// The whole key, with slashes: `net/ipv6/conf/eth0/accept_dad`.
        key: String,
        /// Its value before; None: there was none to be seen (the link it belongs to does not exist yet).
        #[serde(default, skip_serializing_if = "Option::is_none")]
        was: Option<String>,
        /// Its value after.
        now: String,
        /// A key that is missing or refuses is passed over.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        lenient: bool,
    },
    /// weft's masquerade table with its base chain and maps.
    CreateMasqueradeTable,
    /// Its inverse.
    DeleteMasqueradeTable,
    /// The chain that lets these destinations alone and masquerades the rest.
    CreateExceptions {
        /// Destinations that are left alone.
        except: Vec<IpPrefix>,
    },
    /// Its inverse.
    DeleteExceptions {
        /// Destinations that were left alone.
        except: Vec<IpPrefix>,
    },
    /// A source whose packets leave under the node's address.
    AddMasquerade {
        /// The source: one address or a network.
        source: IpPrefix,
        /// Destinations that are left alone; their chain stands.
        except: Vec<IpPrefix>,
        /// The attachment it belongs to.
        owner: String,
    },
    /// Its inverse: only an element of this owner is removed.
    RemoveMasquerade {
        /// The source.
        source: IpPrefix,
        /// Destinations that were left alone.
        except: Vec<IpPrefix>,
        /// The attachment it belongs to.
        owner: String,
    },
    /// weft's guard table of bridge ports.
    CreateGuardTable,
    /// Its inverse.
    DeleteGuardTable,
    /// A bridge port by which only frames with this source MAC may enter.
    AddGuard {
        /// The port's name on the host.
        port: String,
        /// The only source MAC.
        #[serde(with = "weft_contract::text::mac")]
        mac: MacAddress,
        /// The attachment it belongs to.
        owner: String,
    },
    /// Its inverse: only an element of this owner is removed.
    RemoveGuard {
        /// The port's name on the host.
        port: String,
        /// The only source MAC.
        #[serde(with = "weft_contract::text::mac")]
        mac: MacAddress,
        /// The attachment it belongs to.
        owner: String,
    },
}

/// A property of a link that can be changed in place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "property", content = "value")]
pub enum Property {
    /// IFF_UP.
    Up(bool),
    /// Bytes.
    Mtu(u32),
    /// The hardware address.
    Mac(#[serde(with = "weft_contract::text::mac")] MacAddress),
    /// The master's name in the same place.
    Master(Option<String>),
    /// IFF_PROMISC.
    Promiscuous(bool),
    /// IFF_ALLMULTI.
    AllMulticast(bool),
    /// Packets.
    TransmitQueueLength(u32),
    /// Flags as a bridge port.
    Port(PortFlags),
}

// === impl Operation ===

impl Operation {
    /// The operation that takes this one back, or None where there is nothing to take back: a setting whose value
    /// before isn't known goes with its link.
    pub fn inverse(&self) -> Option<Self> {
        use Operation::*;
        Some(match self.clone() {
            CreateVeth { ref first, .. } => DeleteLink { at: first.at.clone(), creation: Box::new(self.clone()) },
            CreateLink { at, .. } => DeleteLink { at, creation: Box::new(self.clone()) },
            DeleteLink { creation, .. } => *creation,
            SetLink { at, was, now } => SetLink { at, was: now, now: was },
            AddAddress { at, address } => RemoveAddress { at, address },
            RemoveAddress { at, address } => AddAddress { at, address },
            AddRoute { at, route } => RemoveRoute { at, route },
            RemoveRoute { at, route } => AddRoute { at, route },
            AddPortVlan { at, vlan } => RemovePortVlan { at, vlan },
            RemovePortVlan { at, vlan } => AddPortVlan { at, vlan },
            WriteSysctl { place, key, was, now, lenient } => {
                WriteSysctl { place, key, was: Some(now), now: was?, lenient }
            }
            CreateMasqueradeTable => DeleteMasqueradeTable,
            DeleteMasqueradeTable => CreateMasqueradeTable,
            CreateExceptions { except } => DeleteExceptions { except },
            DeleteExceptions { except } => CreateExceptions { except },
            AddMasquerade { source, except, owner } => RemoveMasquerade { source, except, owner },
            RemoveMasquerade { source, except, owner } => AddMasquerade { source, except, owner },
            CreateGuardTable => DeleteGuardTable,
            DeleteGuardTable => CreateGuardTable,
            AddGuard { port, mac, owner } => RemoveGuard { port, mac, owner },
            RemoveGuard { port, mac, owner } => AddGuard { port, mac, owner },
        })
    }

    /// The operation's name, as errors, journals and crash points spell it.
    pub fn name(&self) -> &'static str {
        use Operation::*;
        match self {
            CreateVeth { .. } => "create-veth",
            CreateLink { .. } => "create-link",
            DeleteLink { .. } => "delete-link",
            SetLink { .. } => "set-link",
            AddAddress { .. } => "add-address",
            RemoveAddress { .. } => "remove-address",
            AddRoute { .. } => "add-route",
            RemoveRoute { .. } => "remove-route",
            AddPortVlan { .. } => "add-port-vlan",
            RemovePortVlan { .. } => "remove-port-vlan",
            WriteSysctl { .. } => "write-sysctl",
            CreateMasqueradeTable => "create-masquerade-table",
            DeleteMasqueradeTable => "delete-masquerade-table",
            CreateExceptions { .. } => "create-exceptions",
            DeleteExceptions { .. } => "delete-exceptions",
            AddMasquerade { .. } => "add-masquerade",
            RemoveMasquerade { .. } => "remove-masquerade",
            CreateGuardTable => "create-guard-table",
            DeleteGuardTable => "delete-guard-table",
            AddGuard { .. } => "add-guard",
            RemoveGuard { .. } => "remove-guard",
        }
    }

    /// Every name that [`Operation::name`] can give.
    pub const NAMES: [&'static str; 21] = [
        "create-veth",
        "create-link",
        "delete-link",
        "set-link",
        "add-address",
        "remove-address",
        "add-route",
        "remove-route",
        "add-port-vlan",
        "remove-port-vlan",
        "write-sysctl",
        "create-masquerade-table",
        "delete-masquerade-table",
        "create-exceptions",
        "delete-exceptions",
        "add-masquerade",
        "remove-masquerade",
        "create-guard-table",
        "delete-guard-table",
        "add-guard",
        "remove-guard",
    ];
}
