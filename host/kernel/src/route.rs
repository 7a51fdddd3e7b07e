//! Routes: requests, and what a reply says.
//!
//! Owns: how a [`Route`] stands in the kernel. Must not: send anything.
//! Invariant: what [`parse`] reads, [`add`] writes back exactly. What [`add`] was not told, [`parse`] fills in (a metric,
//! a scope), but no table is main (254) both ways.

use std::net::IpAddr;

use netlink_packet_route::AddressFamily;
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteMetric, RouteProtocol,
    RouteScope as Scope, RouteType,
};
use nix::libc;
use weft_contract::types::{IpAddress, IpFamily, IpPrefix, Route, RouteScope};

use crate::address::ip;
use crate::wire::{self, Reply, Request};

/// Bytes of `struct rtmsg`.
const RTMSG: usize = 12;
/// Bytes of `struct rtnexthop`.
const RTNEXTHOP: usize = 8;
const RTAX_MTU: u16 = 2;
const RTAX_ADVMSS: u16 = 8;
const RTNH_F_ONLINK: u32 = 4;
/// The table of addresses that are the node's own, broadcast and multicast.
const LOCAL: u32 = libc::RT_TABLE_LOCAL as u32;
const MAIN: u32 = libc::RT_TABLE_MAIN as u32;

/// A route with what isn't said in [`Route`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RawRoute {
    /// The link it leaves through.
    pub(crate) link: u32,
    /// Its table's number.
    pub(crate) table: u32,
    pub(crate) route: Route,
}

/// Every route of a family, of every table, through one link where one is given.
pub(crate) fn list(family: IpFamily, link: Option<u32>, table: Option<u32>) -> Request {
    let mut message = RouteMessage::default();
    message.header.address_family = address_family(family);
    message.attributes.extend(link.map(RouteAttribute::Oif));
    message.attributes.extend(table.map(RouteAttribute::Table));
    Request::of(libc::RTM_GETROUTE, 0, &message)
}

/// Adds a route. The very same one is an error (EEXIST); another to the same destination is a further next hop.
pub(crate) fn add(link: u32, route: &Route) -> Request {
    let mut message = message(link, route);
    message.header.protocol = RouteProtocol::Boot;
    message.header.kind = RouteType::Unicast;
    let metrics: Vec<RouteMetric> = [route.mtu.map(RouteMetric::Mtu), route.advertised_mss.map(RouteMetric::Advmss)]
        .into_iter()
        .flatten()
        .collect();
    if !metrics.is_empty() {
        message.attributes.push(RouteAttribute::Metrics(metrics));
    }
    Request::of(libc::RTM_NEWROUTE, libc::NLM_F_CREATE, &message)
}

/// Removes a route, whoever added it.
pub(crate) fn remove(link: u32, route: &Route) -> Request {
    Request::of(libc::RTM_DELROUTE, 0, &message(link, route))
}

fn message(link: u32, route: &Route) -> RouteMessage {
    let mut message = RouteMessage::default();
    let table = route.table.unwrap_or(MAIN);
    message.header = RouteHeader {
        address_family: address_family(route.destination.address.family()),
        destination_prefix_length: route.destination.length,
        table: u8::try_from(table).unwrap_or(libc::RT_TABLE_UNSPEC),
        scope: route.scope.map_or_else(|| usual_scope(route), wire_scope),
        flags: if route.on_link { RouteFlags::Onlink } else { RouteFlags::empty() },
        ..RouteHeader::default()
    };
    let attributes = &mut message.attributes;
    if route.destination.length > 0 {
        attributes.push(RouteAttribute::Destination(wire_address(route.destination.network().address)));
    }
    if u8::try_from(table).is_err() {
        attributes.push(RouteAttribute::Table(table));
    }
    attributes.extend(route.gateway.map(|gateway| RouteAttribute::Gateway(wire_address(gateway))));
    attributes.extend(route.source.map(|source| RouteAttribute::PrefSource(wire_address(source))));
    attributes.extend(route.metric.map(RouteAttribute::Priority));
    attributes.push(RouteAttribute::Oif(link));
    message
}

/// The scope of a route that doesn't say: the kernel counts gateways as closer than what lies behind them.
fn usual_scope(route: &Route) -> Scope {
    match (route.destination.address.family(), route.gateway) {
        (IpFamily::V4, None) => Scope::Link,
        _ => Scope::Universe,
    }
}

fn wire_scope(scope: RouteScope) -> Scope {
    match scope {
        RouteScope::Universe => Scope::Universe,
        RouteScope::Site => Scope::Site,
        RouteScope::Link => Scope::Link,
        RouteScope::Host => Scope::Host,
    }
}

fn address_family(family: IpFamily) -> AddressFamily {
    match family {
        IpFamily::V4 => AddressFamily::Inet,
        IpFamily::V6 => AddressFamily::Inet6,
    }
}

fn wire_address(address: IpAddress) -> RouteAddress {
    match IpAddr::from(address) {
        IpAddr::V4(v4) => RouteAddress::Inet(v4),
        IpAddr::V6(v6) => RouteAddress::Inet6(v6),
    }
}

/// The routes that a reply describes, one a next hop. Left out: the kernel's own (local, broadcast, multicast, cached
/// exceptions) and those that lead to no link (blackhole).
pub(crate) fn parse(reply: &Reply) -> Vec<RawRoute> {
    let payload = &reply.payload;
    if reply.kind != libc::RTM_NEWROUTE || payload.len() < RTMSG {
        return Vec::new();
    }
    let flags = wire::u32_at(payload, 8);
    let unspecified: IpAddr = match i32::from(payload[0]) {
        libc::AF_INET => [0; 4].into(),
        libc::AF_INET6 => [0; 16].into(),
        _ => return Vec::new(),
    };
    let scope = match payload[6] {
        libc::RT_SCOPE_SITE => RouteScope::Site,
        libc::RT_SCOPE_LINK => RouteScope::Link,
        libc::RT_SCOPE_HOST => RouteScope::Host,
        _ => RouteScope::Universe,
    };
    let mut table = u32::from(payload[4]);
    let mut link = 0;
    let mut hops: &[u8] = &[];
    let mut route = Route {
        destination: IpPrefix { address: unspecified.into(), length: payload[1] },
        gateway: None,
        source: None,
        on_link: flags & RTNH_F_ONLINK != 0,
        table: None,
        metric: Some(0),
        scope: Some(scope),
        mtu: None,
        advertised_mss: None,
    };
    for (kind, value) in wire::attributes(payload, RTMSG) {
        match kind {
            libc::RTA_DST => route.destination.address = ip(value).unwrap_or(route.destination.address),
            libc::RTA_GATEWAY => route.gateway = ip(value),
            libc::RTA_PREFSRC => route.source = ip(value),
            libc::RTA_OIF => link = wire::u32_at(value, 0),
            libc::RTA_TABLE => table = wire::u32_at(value, 0),
            libc::RTA_PRIORITY => route.metric = Some(wire::u32_at(value, 0)),
            libc::RTA_METRICS => {
                let metric = |kind| wire::attribute(value, 0, kind).map(|value| wire::u32_at(value, 0));
                route.mtu = metric(RTAX_MTU);
                route.advertised_mss = metric(RTAX_ADVMSS);
            }
            libc::RTA_MULTIPATH => hops = value,
            _ => {}
        }
    }
    if payload[7] != libc::RTN_UNICAST || flags & libc::RTM_F_CLONED != 0 || table == LOCAL {
        return Vec::new();
    }
    route.table = Some(table).filter(|table| *table != MAIN);
    let mut routes: Vec<(u32, Route)> = next_hops(hops, &route);
    if link != 0 {
        routes.push((link, route));
    }
    routes.into_iter().map(|(link, route)| RawRoute { link, table, route }).collect()
}

/// The next hops of RTA_MULTIPATH: `struct rtnexthop` with attributes, one after the other.
fn next_hops(mut hops: &[u8], route: &Route) -> Vec<(u32, Route)> {
    let mut routes = Vec::new();
    while hops.len() >= RTNEXTHOP {
        let length = usize::from(wire::u16_at(hops, 0));
        if length < RTNEXTHOP || length > hops.len() {
            break;
        }
        let mut route = route.clone();
        route.on_link = u32::from(hops[2]) & RTNH_F_ONLINK != 0;
        route.gateway = wire::attribute(&hops[..length], RTNEXTHOP, libc::RTA_GATEWAY).and_then(ip);
        routes.push((wire::u32_at(hops, 4), route));
        hops = &hops[length.next_multiple_of(4).min(hops.len())..];
    }
    routes
}
