//! What a plan says that can't be, with the label and the field that say it.

use weft_contract::text::format_mac;
use weft_contract::types::{IpAddress, IpPrefix, LinkName, MacAddress};

use crate::text::show;

/// Why a plan can't be resolved, or may not be carried out. `field` is the path within the plan, as in
/// `links["eth0"].master`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// A label is empty, longer than 64 bytes or has control characters.
    #[error("{label:?} is no label for a link: 1 to 64 bytes without control characters")]
    BadLabel {
        /// The label.
        label: String,
    },
    /// Two links have one label.
    #[error("two links are labelled {label:?}")]
    DuplicateLabel {
        /// The label.
        label: String,
    },
    /// Two links end up under one name in one place.
    #[error("links {first:?} and {second:?} both become {}", show(.at))]
    DuplicateLink {
        /// The label of one.
        first: String,
        /// The label of the other.
        second: String,
        /// Where both would be.
        at: LinkName,
    },
    /// A label that no link has.
    #[error("{field} refers to {label:?}, but no link of the plan has that label")]
    DanglingLabel {
        /// Where the reference stands.
        field: String,
        /// What it says.
        label: String,
    },
    /// A veth names a peer that isn't a veth of the same life that names it.
    #[error(
        "link {label:?} is a veth whose other end is {peer:?}, but {peer:?} is not a veth of the same life whose other end is {label:?}"
    )]
    PeerMismatch {
        /// The veth.
        label: String,
        /// The link it names.
        peer: String,
    },
    /// A name that the kernel doesn't take.
    #[error(
        "{field}: {name:?} is no name for a link: 1 to 15 bytes, not . or .., without / : % white space and control characters"
    )]
    BadName {
        /// Where it stands.
        field: String,
        /// The name.
        name: String,
    },
    /// A link that is found by its name has none.
    #[error("link {label:?} outlives the attachment, so it needs a name by which the next one finds it")]
    NameMissing {
        /// The link.
        label: String,
    },
    /// A MAC that no link can have.
    #[error("link {label:?}: {} is not the MAC of a single link", format_mac(*.mac))]
    BadMac {
        /// The link.
        label: String,
        /// The MAC.
        mac: MacAddress,
    },
    /// A master, parent or guarded port in the wrong namespace.
    #[error("{field}: {} is not in the namespace that this needs", show(.link))]
    Elsewhere {
        /// Where the reference stands.
        field: String,
        /// What it leads to.
        link: LinkName,
    },
    /// Links that are each other's parents or masters.
    #[error("link {label:?} is its own master or parent, by way of others or directly")]
    Circle {
        /// One of them.
        label: String,
    },
    /// Port properties on a link without a master.
    #[error("link {label:?} has properties of a bridge port but no master")]
    PortWithoutMaster {
        /// The link.
        label: String,
    },
    /// VLANs on a port of a bridge that doesn't tell them apart.
    #[error("link {label:?} has VLANs as a port of {bridge:?}, which doesn't filter VLANs")]
    VlansUnfiltered {
        /// The port.
        label: String,
        /// The bridge's label.
        bridge: String,
    },
    /// A VLAN that can't be.
    #[error("{field}: VLAN {id} is not from {lowest} to 4094")]
    VlanOutOfRange {
        /// Where it stands.
        field: String,
        /// The VLAN.
        id: u16,
        /// The lowest that may stand there.
        lowest: u16,
    },
    /// A range of VLANs whose end is before its start, or a native one of more than one VLAN.
    #[error("{field}: {first} to {last} is not a range, or too large a one for native VLANs")]
    VlanRange {
        /// Where it stands.
        field: String,
        /// Its start.
        first: u16,
        /// Its end.
        last: u16,
    },
    /// One VLAN twice, or two native ones.
    #[error("{field}: VLAN {id} is there twice, or is a second native one")]
    VlanTwice {
        /// Where it stands.
        field: String,
        /// The VLAN.
        id: u16,
    },
    /// A routing domain without a table of its own.
    #[error("link {label:?}: table {table} can't be that of a routing domain")]
    BadTable {
        /// The vrf.
        label: String,
        /// The table.
        table: u32,
    },
    /// A prefix longer than its family's addresses.
    #[error("{field}: {prefix} is longer than an address of its family")]
    PrefixLength {
        /// Where it stands.
        field: String,
        /// The prefix.
        prefix: IpPrefix,
    },
    /// One address twice on one link.
    #[error("link {label:?} has the address {address} twice")]
    AddressTwice {
        /// The link.
        label: String,
        /// The address.
        address: IpAddress,
    },
    /// One address on both ends of a pair.
    #[error("links {label:?} and {peer:?} are the ends of one pair and both have the address {address}")]
    AddressOnBothEnds {
        /// One end.
        label: String,
        /// The other.
        peer: String,
        /// The address.
        address: IpAddress,
    },
    /// A destination and a gateway (or source) of different families.
    #[error(
        "{field}: the route to {destination} can't lead through (or have the source) {address} of the other family"
    )]
    RouteFamily {
        /// Where it stands.
        field: String,
        /// Where packets go.
        destination: IpPrefix,
        /// The gateway or source.
        address: IpAddress,
    },
    /// A setting that may not be named here.
    #[error("{field}: {key:?} is not {allowed}")]
    SysctlKey {
        /// Where it stands.
        field: String,
        /// The key.
        key: String,
        /// What may stand there.
        allowed: &'static str,
    },
    /// A value of more than one line.
    #[error("{field}: the value of {key:?} is empty or of more than one line")]
    SysctlValue {
        /// Where it stands.
        field: String,
        /// The key.
        key: String,
    },
    /// One setting with two values.
    #[error("{key:?} is to be {first:?} and {second:?}")]
    SysctlTwice {
        /// The whole key.
        key: String,
        /// One value.
        first: String,
        /// The other.
        second: String,
    },
    /// One source with two lists of exceptions.
    #[error("{source_prefix} is to be masqueraded with two different lists of exceptions")]
    MasqueradeTwice {
        /// The source.
        source_prefix: IpPrefix,
    },
    /// A port with two MACs that alone may enter.
    #[error("port {port} has two source guards with different stations")]
    GuardTwice {
        /// The port's name on the host.
        port: String,
    },
    /// A station whose MAC nobody knows yet.
    #[error("{field}: the station must be a link of the plan that has a MAC of its own, or says which")]
    GuardStation {
        /// Where it stands.
        field: String,
    },
    /// A name in `extra` that this build doesn't know.
    #[error("{field}: {name:?} is not a name that this version of weft knows")]
    UnknownExtra {
        /// Where it stands.
        field: String,
        /// The name.
        name: String,
    },
    /// Something the contract has and this build doesn't.
    #[error("{what} is not supported by this version of weft")]
    Unsupported {
        /// What.
        what: String,
    },
    /// A link that is none of this attachment's business.
    #[error("{what} concerns {}, which the network configuration doesn't name", show(.link))]
    NotConfined {
        /// What the plan wants of it.
        what: String,
        /// The link.
        link: LinkName,
    },
}
