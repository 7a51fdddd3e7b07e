//! Connects the sandbox to a bridge of the node by a pair of virtual Ethernet links.
//!
//! Labels: `bridge`, `host` and `container` (the pair), `gateway` and `gateway-port` (a second, shared pair that puts the
//! gateway on a VLAN). The bridge, the gateway's addresses and the second pair stay; the rest ends with the attachment.

mod config;

use weft_sdk::plan::{
    Address, Bridge as BridgeKind, BridgePort, Detection, Filter, Life, Link, LinkKind, LinkRoute, Masquerade, Others,
    Outcome, PortVlan, Report, Reported, SourceGuard, Sysctl,
};
use weft_sdk::requests::Addressing;
use weft_sdk::types::{AssignedAddress, IpAddress, IpFamily, IpPrefix, LinkRef, Route, RouteScope};
use weft_sdk::{Allocation, Delegate, Error, Plan, Request};

use config::Config;

/// See the crate.
pub struct Bridge;

const BRIDGE: &str = "bridge";
const HOST: &str = "host";
const CONTAINER: &str = "container";
const GATEWAY: &str = "gateway";
const GATEWAY_PORT: &str = "gateway-port";
/// Where the container's link stands among the result's interfaces.
const CONTAINER_AT: u32 = 2;

impl Delegate for Bridge {
    fn add(request: &Request) -> Result<Plan, Error> {
        let config = Config::of(request)?;
        match &request.addressing {
            Addressing::Off | Addressing::Pending => plan(config, &Allocation::default()),
            Addressing::Ready(allocation) if allocation.addresses.is_empty() => Err(Error::coded(
                999,
                "the ipam plugin gave no address",
                "a bridge with an ipam part needs one at least",
            )),
            Addressing::Ready(allocation) => plan(config, allocation),
        }
    }
}

fn plan(config: Config, allocation: &Allocation) -> Result<Plan, Error> {
    let addresses = with_gateways(&config, allocation)?;
    let routes = with_defaults(&config, allocation, &addresses);
    let mut links = vec![bridge(&config), host(&config), container(&config, &addresses)];
    let mut interfaces: Vec<Reported> = [BRIDGE, HOST, CONTAINER].map(shown).into();
    let mut forwarding = Vec::new();
    if config.gateway && !addresses.is_empty() {
        let gateway = gateway_addresses(&config, &addresses);
        forwarding = families(&gateway);
        match config.vlan {
            None => links[0].addresses = gateway,
            Some(vlan) => {
                links.extend(gateway_pair(&config, vlan, gateway)?);
                interfaces.push(shown(GATEWAY));
            }
        }
    }
    let mut filters = Vec::new();
    if config.source_guard {
        filters
            .push(Filter::SourceGuard(SourceGuard { port: LinkRef::label(HOST), station: LinkRef::label(CONTAINER) }));
    }
    let masquerade = |address: &AssignedAddress| Masquerade {
        source: IpPrefix::host(address.prefix.address),
        except: vec![address.prefix.network()],
    };
    let link_routes = routes.iter().map(|route| through_gateway(*route, &addresses)).collect();
    let ipv6 = addresses.iter().any(|address| address.prefix.address.family() == IpFamily::V6);
    Ok(Plan {
        links,
        routes: link_routes,
        // Without it on `lo`, the sandbox can't talk to its own addresses.
        sysctls: if ipv6 { vec![Sysctl::lenient("net/ipv6/conf/lo/disable_ipv6", "0")] } else { Vec::new() },
        forwarding,
        masquerades: if config.masquerade { addresses.iter().map(masquerade).collect() } else { Vec::new() },
        filters,
        outcome: Outcome::Replaced(Report {
            interfaces,
            addresses,
            routes,
            dns: if config.dns.is_set() { config.dns.into() } else { allocation.dns.clone() },
        }),
        ..Plan::default()
    })
}

fn shown(label: &str) -> Reported {
    Reported::Link(LinkRef::label(label))
}

// === links ===

fn bridge(config: &Config) -> Link {
    let kind = BridgeKind { vlan_filtering: config.vlan_filtering, default_vlan: None };
    Link {
        name: Some(config.bridge.clone()),
        life: Life::Permanent,
        up: Some(true),
        mtu: config.mtu,
        promiscuous: config.promiscuous.then_some(true),
        sysctls: vec![no_router_advertisements()],
        ..Link::on_host(BRIDGE, LinkKind::Bridge(kind))
    }
}

fn host(config: &Config) -> Link {
    Link {
        up: Some(true),
        mtu: config.mtu,
        master: Some(LinkRef::label(BRIDGE)),
        port: Some(BridgePort {
            hairpin: config.hairpin,
            isolated: config.isolated,
            vlans: config.vlans.clone(),
            drop_default_vlan: config.drop_default_vlan,
        }),
        sysctls: vec![no_router_advertisements()],
        ..Link::on_host(HOST, LinkKind::Veth(CONTAINER.to_owned()))
    }
}

fn container(config: &Config, addresses: &[AssignedAddress]) -> Link {
    let detection = if config.detect_duplicates { Detection::Wait } else { Detection::Skip };
    let address = |address: &AssignedAddress| Address { detection, ..Address::new(address.prefix) };
    let mut sysctls = Vec::new();
    if !addresses.is_empty() {
        if config.detect_duplicates {
            sysctls.push(Sysctl::lenient("ipv6/enhanced_dad", "1"));
            sysctls.push(Sysctl::lenient("ipv6/accept_dad", "1"));
        } else {
            sysctls.push(Sysctl::lenient("ipv6/accept_dad", "0"));
        }
        sysctls.push(Sysctl::lenient("ipv4/arp_notify", "1"));
        if addresses.iter().any(|address| address.prefix.address.family() == IpFamily::V6) {
            sysctls.push(Sysctl::new("ipv6/disable_ipv6", "0"));
            sysctls.push(Sysctl::new("ipv6/keep_addr_on_down", "1"));
        }
    }
    Link {
        up: config.container_up.then_some(true),
        mtu: config.mtu,
        mac: config.mac,
        addresses: addresses.iter().map(address).collect(),
        sysctls,
        ..Link::in_sandbox(CONTAINER, LinkKind::Veth(HOST.to_owned()))
    }
}

/// A port of the bridge on the VLAN and its other end, which carries the gateway's addresses. Shared by all attachments.
fn gateway_pair(config: &Config, vlan: u16, addresses: Vec<Address>) -> Result<[Link; 2], Error> {
    let gateway = Link {
        name: Some(config.gateway_name(vlan)?),
        life: Life::Permanent,
        up: Some(true),
        mtu: config.mtu,
        addresses,
        ..Link::on_host(GATEWAY, LinkKind::Veth(GATEWAY_PORT.to_owned()))
    };
    let port = Link {
        life: Life::Permanent,
        up: Some(true),
        mtu: config.mtu,
        master: Some(LinkRef::label(BRIDGE)),
        port: Some(BridgePort {
            vlans: vec![PortVlan { first: vlan, last: vlan, native: true, untagged: true }],
            drop_default_vlan: config.drop_default_vlan,
            ..BridgePort::default()
        }),
        sysctls: vec![no_router_advertisements()],
        ..Link::on_host(GATEWAY_PORT, LinkKind::Veth(GATEWAY.to_owned()))
    };
    Ok([gateway, port])
}

/// What a container says must not give the node routes.
fn no_router_advertisements() -> Sysctl {
    Sysctl::lenient("ipv6/accept_ra", "0")
}

// === addresses and routes ===

/// What IPAM gave, bound to the container's link; where the bridge is to be the gateway, it is the first address of the
/// network unless IPAM named another.
fn with_gateways(config: &Config, allocation: &Allocation) -> Result<Vec<AssignedAddress>, Error> {
    let one = |given: &AssignedAddress| {
        let mut gateway = given.gateway;
        if gateway.is_none() && config.gateway {
            gateway = given.prefix.network().address.next().filter(|&first| given.prefix.contains(first));
            if gateway.is_none() {
                let found = ["true with the address ", &given.prefix.to_string()].concat();
                let allowed = "a network with room for a gateway, or an ipam part that names one";
                return Err(Error::invalid("/isGateway", &found, allowed));
            }
        }
        Ok(AssignedAddress { prefix: given.prefix, gateway, at: Some(CONTAINER_AT) })
    };
    allocation.addresses.iter().map(one).collect()
}

/// Each gateway once, with the length of its network.
fn gateway_addresses(config: &Config, addresses: &[AssignedAddress]) -> Vec<Address> {
    let others = if config.force_address { Others::Replace } else { Others::Refuse };
    let mut gateways: Vec<Address> = Vec::new();
    for given in addresses {
        if let Some(address) = given.gateway {
            let prefix = IpPrefix { address, length: given.prefix.length };
            if gateways.iter().all(|gateway| gateway.prefix != prefix) {
                gateways.push(Address { others, ..Address::new(prefix) });
            }
        }
    }
    gateways
}

fn families(addresses: &[Address]) -> Vec<IpFamily> {
    let has = |family: &IpFamily| addresses.iter().any(|address| address.prefix.address.family() == *family);
    [IpFamily::V4, IpFamily::V6].into_iter().filter(has).collect()
}

/// What IPAM gave, and where the bridge is to be the default gateway, a default route for each family that has none.
fn with_defaults(config: &Config, allocation: &Allocation, addresses: &[AssignedAddress]) -> Vec<Route> {
    let mut routes = allocation.routes.clone();
    if config.default_gateway {
        for family in [IpFamily::V4, IpFamily::V6] {
            let default = IpPrefix::any(family);
            let there = routes.iter().any(|route| route.destination == default && route.table.is_none());
            if let Some(gateway) = first_gateway(addresses, family).filter(|_| !there) {
                routes.push(Route { gateway: Some(gateway), ..Route::to(default) });
            }
        }
    }
    routes
}

fn first_gateway(addresses: &[AssignedAddress], family: IpFamily) -> Option<IpAddress> {
    addresses.iter().filter_map(|address| address.gateway).find(|gateway| gateway.family() == family)
}

/// A route without a gateway leads through the family's first one, unless its scope says that it is for neighbours.
fn through_gateway(route: Route, addresses: &[AssignedAddress]) -> LinkRoute {
    let near = matches!(route.scope, Some(RouteScope::Link | RouteScope::Host));
    let fallback = || first_gateway(addresses, route.destination.address.family()).filter(|_| !near);
    LinkRoute { link: LinkRef::label(CONTAINER), route: Route { gateway: route.gateway.or_else(fallback), ..route } }
}

weft_sdk::export!(Bridge as delegate);

#[cfg(test)]
mod tests;
