//! Operations and their failures in words for people: which link, where, and what to do about it.

use nix::errno::Errno;
use weft_contract::types::{IpFamily, LinkName};
use weft_executor::KernelError;
use weft_executor::operation::{Operation, Property};
use weft_executor::state::Kind;

use crate::error::Refusal;
use crate::link;
use crate::system::{System, spoken};

/// What an operation does, with the names it concerns.
pub(crate) fn what(operation: &Operation) -> String {
    use Operation::*;
    match operation {
        CreateVeth { first, second } => {
            format!("create the veth pair {} and {}", spoken_link(&first.at), spoken_link(&second.at))
        }
        CreateLink { at, kind, .. } => format!("create the {} {}", link::kernel_name(kind), spoken_link(at)),
        DeleteLink { at, .. } => format!("delete the link {}", spoken_link(at)),
        SetLink { at, now, .. } => format!("set {} of {}", property(now), spoken_link(at)),
        AddAddress { at, address } => format!("add the address {} to {}", address.prefix, spoken_link(at)),
        RemoveAddress { at, address } => format!("remove the address {} from {}", address.prefix, spoken_link(at)),
        AddRoute { at, route } => format!("add the route {} through {}", spoken_route(route), spoken_link(at)),
        RemoveRoute { at, route } => format!("remove the route {} through {}", spoken_route(route), spoken_link(at)),
        AddPortVlan { at, vlan } => format!("add VLAN {}-{} to the port {}", vlan.first, vlan.last, spoken_link(at)),
        RemovePortVlan { at, vlan } => {
            format!("remove VLAN {}-{} from the port {}", vlan.first, vlan.last, spoken_link(at))
        }
        WriteSysctl { key, now, .. } => format!("write {now:?} to /proc/sys/{key}"),
        CreateMasqueradeTable => "create the nf_tables table inet weft".into(),
        DeleteMasqueradeTable => "delete the nf_tables table inet weft".into(),
        CreateExceptions { .. } => "create a chain of masquerade exceptions in inet weft".into(),
        DeleteExceptions { .. } => "delete a chain of masquerade exceptions in inet weft".into(),
        AddMasquerade { source, .. } => format!("masquerade {source} in inet weft"),
        RemoveMasquerade { source, .. } => format!("stop masquerading {source} in inet weft"),
        CreateGuardTable => "create the nf_tables table bridge weft".into(),
        DeleteGuardTable => "delete the nf_tables table bridge weft".into(),
        AddGuard { port, .. } => format!("guard the bridge port {port} in bridge weft"),
        RemoveGuard { port, .. } => format!("stop guarding the bridge port {port} in bridge weft"),
    }
}

fn property(property: &Property) -> String {
    match property {
        Property::Up(true) => "the state (up)".into(),
        Property::Up(false) => "the state (down)".into(),
        Property::Mtu(mtu) => format!("the MTU ({mtu})"),
        Property::Mac(mac) => format!("the MAC ({})", weft_contract::text::format_mac(*mac)),
        Property::Master(Some(master)) => format!("the master ({master})"),
        Property::Master(None) => "the master (none)".into(),
        Property::Promiscuous(on) => format!("promiscuous mode ({on})"),
        Property::AllMulticast(on) => format!("all-multicast mode ({on})"),
        Property::TransmitQueueLength(packets) => format!("the transmit queue length ({packets})"),
        Property::Port(flags) => format!("bridge port flags (hairpin {}, isolated {})", flags.hairpin, flags.isolated),
    }
}

/// A link for people.
pub(crate) fn spoken_link(at: &LinkName) -> String {
    format!("{} ({})", at.name, spoken(at.place))
}

fn spoken_route(route: &weft_contract::types::Route) -> String {
    match route.gateway {
        Some(gateway) => format!("{} via {gateway}", route.destination),
        None => route.destination.to_string(),
    }
}

/// The error for an operation that the kernel refused.
pub(crate) fn refused(system: &mut System, operation: &Operation, refusal: &Refusal) -> KernelError {
    refusal.explain(what(operation), &hint(system, operation, refusal))
}

fn hint(system: &mut System, operation: &Operation, refusal: &Refusal) -> String {
    use Operation::*;
    const NO_VLANS: &str = "this kernel has no bridge VLAN filtering (CONFIG_BRIDGE_VLAN_FILTERING)";
    match (operation, Errno::from_raw(refusal.errno)) {
        (CreateVeth { first, second }, Errno::EEXIST) => taken(system, [&first.at, &second.at]),
        (CreateLink { at, .. }, Errno::EEXIST) => taken(system, [at]),
        (CreateVeth { .. }, Errno::EOPNOTSUPP) => missing("veth", "CONFIG_VETH"),
        (CreateLink { kind: Kind::Bridge { vlan_filtering: true, .. }, .. }, Errno::EOPNOTSUPP) => NO_VLANS.into(),
        (AddPortVlan { .. } | RemovePortVlan { .. }, Errno::EOPNOTSUPP) => NO_VLANS.into(),
        (CreateLink { kind, .. }, Errno::EOPNOTSUPP) => missing(link::kernel_name(kind), option(kind)),
        (CreateLink { kind: Kind::Macvlan { parent, .. } | Kind::Ipvlan { parent, .. }, .. }, Errno::EBUSY) => {
            format!("{parent} is taken by another kind of link (a macvlan and an ipvlan can't share a parent)")
        }
        (SetLink { now: Property::Mtu(_), .. }, Errno::EINVAL) => "the link or its driver doesn't take this MTU".into(),
        (SetLink { now: Property::Mac(_), .. }, Errno::EADDRNOTAVAIL | Errno::EINVAL) => {
            "a link's MAC is one station's: not all zeros, the lowest bit of its first octet clear".into()
        }
        (SetLink { now: Property::Port(_), .. }, Errno::EINVAL | Errno::EOPNOTSUPP) => "is it a bridge port?".into(),
        (SetLink { now: Property::Master(_), .. }, Errno::EBUSY) => "it has another master already".into(),
        (AddAddress { .. }, Errno::EEXIST) => "the link has it already".into(),
        (AddAddress { at, address }, Errno::EACCES | Errno::EPERM | Errno::EOPNOTSUPP)
            if address.prefix.address.family() == IpFamily::V6 =>
        {
            format!("IPv6 is switched off here; see net/ipv6/conf/{}/disable_ipv6", at.name)
        }
        (AddRoute { .. }, Errno::EEXIST) => "this very route is there already".into(),
        (AddRoute { at, route }, Errno::ENETUNREACH | Errno::EHOSTUNREACH | Errno::EINVAL)
            if route.gateway.is_some() =>
        {
            format!("the gateway must be reachable through {}, which must be up; or say on-link", at.name)
        }
        (AddRoute { at, .. }, Errno::ENETDOWN | Errno::ENETUNREACH) => format!("{} is down", at.name),
        _ => String::new(),
    }
}

fn missing(kind: &str, option: &str) -> String {
    format!("this kernel has no {kind} links ({option})")
}

/// The kernel's configuration option for a kind.
fn option(kind: &Kind) -> &str {
    match kind {
        Kind::Bridge { .. } => "CONFIG_BRIDGE",
        Kind::Macvlan { .. } => "CONFIG_MACVLAN",
        Kind::Ipvlan { .. } => "CONFIG_IPVLAN",
        Kind::Vlan { .. } => "CONFIG_VLAN_8021Q",
        Kind::Vrf { .. } => "CONFIG_NET_VRF",
        Kind::Other(kind) if kind == "dummy" => "CONFIG_DUMMY",
        Kind::Other(kind) if kind == "ifb" => "CONFIG_IFB",
        _ => "see its documentation for the option",
    }
}

/// Which of several names are taken.
fn taken<const N: usize>(system: &mut System, names: [&LinkName; N]) -> String {
    let taken: Vec<String> = names
        .into_iter()
        .filter(|at| matches!(system.find(at), Ok(Some(_))))
        .map(|at| format!("{} exists already", spoken_link(at)))
        .collect();
    taken.join(", ")
}
