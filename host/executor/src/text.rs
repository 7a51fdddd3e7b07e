//! Operations and routes as people read them: in plans, errors and logs.

use std::fmt;

use weft_contract::text::format_mac;
use weft_contract::types::{IpPrefix, LinkName, Place, Route};

use crate::operation::{Operation, Property, VethEnd};
use crate::state::Kind;

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use Operation::*;
        match self {
            CreateVeth { first, second } => {
                write!(f, "create veth pair {} - {}", End(first), End(second))?;
                if let Some(master) = &first.master {
                    write!(f, ", a port of {master}")?;
                }
                Ok(())
            }
            CreateLink { at, kind, mac, mtu, .. } => {
                write!(f, "create {} {}", KindName(kind), Link(at))?;
                if let Some(mtu) = mtu {
                    write!(f, " mtu {mtu}")?;
                }
                if let Some(mac) = mac {
                    write!(f, " address {}", format_mac(*mac))?;
                }
                Ok(())
            }
            DeleteLink { at, .. } => write!(f, "delete link {}", Link(at)),
            SetLink { at, now, .. } => write!(f, "set {} {}", Link(at), Value(now)),
            AddAddress { at, address } => write!(f, "add address {} to {}", address.prefix, Link(at)),
            RemoveAddress { at, address } => write!(f, "remove address {} from {}", address.prefix, Link(at)),
            AddRoute { at, route } => write!(f, "add route {} through {}", RouteText(route), Link(at)),
            RemoveRoute { at, route } => write!(f, "remove route {} through {}", RouteText(route), Link(at)),
            AddPortVlan { at, vlan } => write!(f, "add VLAN {}-{} to port {}", vlan.first, vlan.last, Link(at)),
            RemovePortVlan { at, vlan } => write!(f, "remove VLAN {}-{} from port {}", vlan.first, vlan.last, Link(at)),
            WriteSysctl { place, key, now, .. } => write!(f, "write {now} to {key} {}", PlaceText(*place)),
            CreateMasqueradeTable => f.write_str("create nftables table inet weft"),
            DeleteMasqueradeTable => f.write_str("delete nftables table inet weft"),
            CreateExceptions { except } => write!(f, "create nftables chain for {}", Prefixes(except)),
            DeleteExceptions { except } => write!(f, "delete nftables chain for {}", Prefixes(except)),
            AddMasquerade { source, except, .. } => {
                write!(f, "masquerade {source} except to {}", Prefixes(except))
            }
            RemoveMasquerade { source, .. } => write!(f, "stop masquerading {source}"),
            CreateGuardTable => f.write_str("create nftables table bridge weft"),
            DeleteGuardTable => f.write_str("delete nftables table bridge weft"),
            AddGuard { port, mac, .. } => write!(f, "let only {} enter by port {port}", format_mac(*mac)),
            RemoveGuard { port, .. } => write!(f, "stop guarding port {port}"),
        }
    }
}

struct PlaceText(Place);

impl fmt::Display for PlaceText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Place::Host => "on the host",
            Place::Sandbox => "in the sandbox",
        })
    }
}

/// A link with its place: `eth0 in the sandbox`.
pub struct Link<'a>(pub &'a LinkName);

impl fmt::Display for Link<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.0.name, PlaceText(self.0.place))
    }
}

/// [`Link`] as a string.
pub(crate) fn show(link: &LinkName) -> String {
    Link(link).to_string()
}

struct End<'a>(&'a VethEnd);

impl fmt::Display for End<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Link(&self.0.at).fmt(f)?;
        match self.0.mtu {
            Some(mtu) => write!(f, " mtu {mtu}"),
            None => Ok(()),
        }
    }
}

struct KindName<'a>(&'a Kind);

impl fmt::Display for KindName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Kind::Loopback => "loopback",
            Kind::Veth => "veth",
            Kind::Bridge { .. } => "bridge",
            Kind::Macvlan { .. } => "macvlan",
            Kind::Ipvlan { .. } => "ipvlan",
            Kind::Vlan { .. } => "vlan",
            Kind::Vrf { .. } => "vrf",
            Kind::Other(kind) if kind.is_empty() => "device",
            Kind::Other(kind) => kind,
        })
    }
}

struct Value<'a>(&'a Property);

impl fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let on = |on: bool| if on { "on" } else { "off" };
        match self.0 {
            Property::Up(true) => f.write_str("up"),
            Property::Up(false) => f.write_str("down"),
            Property::Mtu(mtu) => write!(f, "mtu {mtu}"),
            Property::Mac(mac) => write!(f, "address {}", format_mac(*mac)),
            Property::Master(Some(master)) => write!(f, "master {master}"),
            Property::Master(None) => f.write_str("without a master"),
            Property::Promiscuous(promiscuous) => write!(f, "promiscuous {}", on(*promiscuous)),
            Property::AllMulticast(all) => write!(f, "all-multicast {}", on(*all)),
            Property::TransmitQueueLength(length) => write!(f, "transmit queue length {length}"),
            Property::Port(port) => write!(f, "hairpin {}, isolated {}", on(port.hairpin), on(port.isolated)),
        }
    }
}

/// A route without its link: `0.0.0.0/0 via 10.1.0.1`.
pub struct RouteText<'a>(pub &'a Route);

impl fmt::Display for RouteText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let route = self.0;
        write!(f, "{}", route.destination)?;
        if let Some(gateway) = route.gateway {
            write!(f, " via {gateway}")?;
        }
        if let Some(table) = route.table {
            write!(f, " table {table}")?;
        }
        if let Some(metric) = route.metric {
            write!(f, " metric {metric}")?;
        }
        if let Some(mtu) = route.mtu {
            write!(f, " mtu {mtu}")?;
        }
        Ok(())
    }
}

struct Prefixes<'a>(&'a [IpPrefix]);

impl fmt::Display for Prefixes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("multicast");
        }
        for (index, prefix) in self.0.iter().enumerate() {
            write!(f, "{}{prefix}", if index == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}
