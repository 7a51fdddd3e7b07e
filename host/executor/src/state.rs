//! What a kernel was seen to hold: the links, routes and settings that a diff asks about, and no more than those.
//!
//! Owns: plain values. Links are keyed by place and kernel name; whatever is absent from a map was looked for and not
//! found, or was outside the [`Scope`] of the observation.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use weft_contract::plan::{IpvlanMode, MacvlanMode, PortVlan, VlanProtocol};
use weft_contract::types::{IpAddress, IpFamily, IpPrefix, LinkName, MacAddress, Place, Route};

/// What to look at. Everything named is looked up by key; nothing is dumped that isn't asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    /// Links, with their addresses, by name; masters of these are looked up too.
    pub links: BTreeSet<LinkName>,
    /// Ports whose VLANs matter.
    pub vlan_ports: BTreeSet<LinkName>,
    /// Places whose routes (of every table) matter.
    pub routes: BTreeSet<Place>,
    /// Keys under `/proc/sys/`, with slashes, full: `net/ipv6/conf/eth0/accept_dad`.
    pub sysctls: BTreeSet<(Place, String)>,
    /// Whether weft's nf_tables objects matter, and which of them.
    pub masquerades: BTreeSet<IpPrefix>,
    /// Masquerade exception lists whose chain matters.
    pub exceptions: BTreeSet<Vec<IpPrefix>>,
    /// Bridge ports whose source guard matters.
    pub guards: BTreeSet<String>,
}

/// The answer to a [`Scope`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observed {
    /// Links by place and name.
    #[serde(with = "pairs")]
    pub links: BTreeMap<LinkName, Link>,
    /// Routes by the link they leave through.
    pub routes: Vec<(LinkName, Route)>,
    /// Settings that exist, trimmed.
    #[serde(with = "pairs")]
    pub sysctls: BTreeMap<(Place, String), String>,
    /// weft's nf_tables objects.
    pub filter: Filter,
}

/// Numbers that no kernel gives a link: what [`Observed::apply`] makes has one, different from that of any other link.
pub const PREDICTED: u32 = 1 << 31;

/// A link as the kernel has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// Its index in its namespace. From [`PREDICTED`] on: a link that operations make, not seen yet.
    pub index: u32,
    /// Its kind with the kind's own properties.
    pub kind: Kind,
    /// IFF_UP.
    pub up: bool,
    /// Bytes.
    pub mtu: u32,
    /// None where the kind has none.
    pub mac: Option<MacAddress>,
    /// The name of its master, in the same namespace.
    pub master: Option<String>,
    /// For a veth, the other end's index (in whatever namespace that is).
    pub peer_index: Option<u32>,
    /// Packets.
    pub transmit_queue_length: u32,
    /// IFF_PROMISC as set by a user, not what a master needs.
    pub promiscuous: bool,
    /// IFF_ALLMULTI, likewise.
    pub all_multicast: bool,
    /// As a port of a bridge.
    pub port: Option<PortFlags>,
    /// As a port of a bridge that filters VLANs; only where the scope asks.
    pub vlans: Vec<PortVlan>,
    /// Both families, link-local ones included.
    pub addresses: Vec<Address>,
}

/// The kind of a link, properties that can't be changed in place included.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// `lo`.
    Loopback,
    /// One end of a pair.
    Veth,
    /// An Ethernet bridge.
    Bridge {
        /// Whether it tells VLANs apart.
        vlan_filtering: bool,
        /// The VLAN of untagged frames on a new port. Observed: none or 0, there is none. Wanted: none is no wish, and a
        /// new bridge gets the kernel's (1); 0 is none.
        default_vlan: Option<u16>,
    },
    /// See the contract.
    Macvlan {
        /// The parent's name; it is a link of the host.
        parent: String,
        /// How siblings talk.
        mode: MacvlanMode,
    },
    /// See the contract.
    Ipvlan {
        /// The parent's name; it is a link of the host.
        parent: String,
        /// Where it demultiplexes.
        mode: IpvlanMode,
    },
    /// See the contract.
    Vlan {
        /// The parent's name; it is a link of the host.
        parent: String,
        /// The tag.
        id: u16,
        /// Its protocol.
        protocol: VlanProtocol,
    },
    /// A routing domain with its table.
    Vrf {
        /// The table's number.
        table: u32,
    },
    /// No properties that matter: `dummy`, `ifb`, `tun`, or a device's driver (empty string: a physical device).
    Other(String),
}

/// Flags of a bridge port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortFlags {
    /// Frames may leave by the port they came from.
    pub hairpin: bool,
    /// No frames to or from other isolated ports.
    pub isolated: bool,
}

/// An address on a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Address {
    /// With the prefix of its network.
    pub prefix: IpPrefix,
    /// Without the kernel's route to its network (IFA_F_NOPREFIXROUTE).
    pub bare: bool,
    /// Without duplicate address detection (IFA_F_NODAD).
    pub no_detection: bool,
}

/// weft's own nf_tables objects: sets, their elements and the chains these lead to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Filter {
    /// The masquerade table of `inet` stands, with its base chain and maps.
    pub masquerade_table: bool,
    /// The guard table of `bridge` stands, with its base chain and sets.
    pub guard_table: bool,
    /// Exception lists that have their chain.
    pub exceptions: BTreeSet<Vec<IpPrefix>>,
    /// Source prefixes that are masqueraded.
    #[serde(with = "pairs")]
    pub masquerades: BTreeMap<IpPrefix, Masquerade>,
    /// Guarded bridge ports: the MAC that frames must carry, and who asked for it.
    #[serde(with = "pairs")]
    pub guards: BTreeMap<String, Guard>,
}

/// What a masqueraded source's map element says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Masquerade {
    /// Destinations that are left alone.
    pub except: Vec<IpPrefix>,
    /// The attachment it belongs to (the element's comment).
    pub owner: String,
}

/// What a guarded port's set element says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Guard {
    /// The MAC that frames must carry.
    #[serde(with = "weft_contract::text::mac")]
    pub mac: MacAddress,
    /// The attachment it belongs to (the element's comment).
    pub owner: String,
}

// === impl Kind ===

impl Kind {
    /// The kernel's name of the kind, for people.
    pub fn name(&self) -> &str {
        match self {
            Self::Loopback => "loopback",
            Self::Veth => "veth",
            Self::Bridge { .. } => "bridge",
            Self::Macvlan { .. } => "macvlan",
            Self::Ipvlan { .. } => "ipvlan",
            Self::Vlan { .. } => "vlan",
            Self::Vrf { .. } => "vrf",
            Self::Other(kind) if kind.is_empty() => "physical device",
            Self::Other(kind) => kind,
        }
    }

    /// The link that it stands on, for kinds that stand on one: always one of the host, wherever this one is.
    pub fn parent(&self) -> Option<LinkName> {
        match self {
            Self::Macvlan { parent, .. } | Self::Ipvlan { parent, .. } | Self::Vlan { parent, .. } => {
                Some(LinkName { place: Place::Host, name: parent.clone() })
            }
            _ => None,
        }
    }
}

// === impl Link ===

impl Link {
    /// Whether it was not seen, but is what an operation will make: of its settings only those written are known.
    pub fn is_predicted(&self) -> bool {
        self.index >= PREDICTED
    }

    /// Whether it has this very address.
    pub fn has_address(&self, prefix: IpPrefix) -> bool {
        self.addresses.iter().any(|address| address.prefix == prefix)
    }
}

/// The link that a key under `net/FAMILY/conf/` belongs to.
pub fn link_of_key(key: &str) -> Option<&str> {
    let mut parts = key.split('/');
    let link = match (parts.next(), parts.next(), parts.next()) {
        (Some("net"), Some(_), Some("conf")) => parts.next()?,
        _ => return None,
    };
    (!matches!(link, "all" | "default")).then_some(link)
}

/// Whether two values of a setting say the same: they are compared word by word, since the kernel writes tabs.
pub fn same_value(one: &str, other: &str) -> bool {
    one.split_whitespace().eq(other.split_whitespace())
}

/// The key that says whether a node forwards packets of a family.
pub fn forwarding_key(family: IpFamily) -> &'static str {
    match family {
        IpFamily::V4 => "net/ipv4/ip_forward",
        IpFamily::V6 => "net/ipv6/conf/all/forwarding",
    }
}

/// Whether an address is one the kernel gives a link by itself.
pub fn is_link_local(address: IpAddress) -> bool {
    match address {
        IpAddress::V4(bits) => bits >> 16 == 0xa9fe,
        IpAddress::V6(v6) => v6.high >> 54 == 0x3fa,
    }
}

/// Maps whose keys aren't strings, as lists of pairs in JSON.
mod pairs {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<K: Serialize, V: Serialize, S: Serializer>(
        map: &BTreeMap<K, V>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(map.iter())
    }

    pub(super) fn deserialize<'de, K, V, D>(deserializer: D) -> Result<BTreeMap<K, V>, D::Error>
    where
        K: Deserialize<'de> + Ord,
        V: Deserialize<'de>,
        D: Deserializer<'de>,
    {
        Ok(Vec::<(K, V)>::deserialize(deserializer)?.into_iter().collect())
    }
}
