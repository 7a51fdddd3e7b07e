//! Looking at what a scope names: by key where the kernel has keys, by filtered dumps of one link's things elsewhere.

use std::collections::{BTreeMap, BTreeSet};

use nix::libc;
use weft_contract::types::{IpFamily, LinkName, Place};
use weft_executor::KernelError;
use weft_executor::state::{Address, Kind, Link, Observed, Scope};

use crate::link::{self, RawLink};
use crate::system::{System, is_name};
use crate::wire::Request;
use crate::{address, nft, port, route, sysctl};

/// Everything that a scope names. Routes are those of the sandbox, and on the host those through the scope's links.
pub(crate) fn observe(system: &mut System, scope: &Scope) -> Result<Observed, KernelError> {
    system.forget();
    let mut observed = Observed::default();
    for place in system.places() {
        sysctls(system, scope, place, &mut observed)?;
        links(system, scope, place, &mut observed)?;
        if scope.routes.contains(&place) {
            routes(system, place, &mut observed)?;
        }
    }
    observed.filter = nft::observe(system, scope)?;
    Ok(observed)
}

fn sysctls(system: &mut System, scope: &Scope, place: Place, observed: &mut Observed) -> Result<(), KernelError> {
    let keys: Vec<&(Place, String)> = scope.sysctls.iter().filter(|(of, _)| *of == place).collect();
    if keys.is_empty() {
        return Ok(());
    }
    let values =
        system.inside_with_socket(place, || keys.iter().map(|(_, key)| sysctl::read(key)).collect::<Vec<_>>())?;
    for (key, value) in keys.into_iter().zip(values) {
        if let Some(value) = value? {
            observed.sysctls.insert(key.clone(), value);
        }
    }
    Ok(())
}

fn links(system: &mut System, scope: &Scope, place: Place, observed: &mut Observed) -> Result<(), KernelError> {
    let names: BTreeSet<&str> = scope
        .links
        .iter()
        .chain(&scope.vlan_ports)
        .filter(|at| at.place == place && is_name(&at.name))
        .map(|at| at.name.as_str())
        .collect();
    let requests: Vec<Request> = names.iter().map(|name| link::get_by_name(name)).collect();
    let mut found: Vec<RawLink> = system.look_up(place, &requests)?.into_iter().flatten().collect();
    let seen: BTreeSet<u32> = found.iter().map(|link| link.index).collect();
    let masters: BTreeSet<u32> =
        found.iter().filter_map(|link| link.master).filter(|master| !seen.contains(master)).collect();
    let requests: Vec<Request> = masters.into_iter().map(link::get_by_index).collect();
    found.extend(system.look_up(place, &requests)?.into_iter().flatten());
    let mut vlans = BTreeMap::new();
    if scope.vlan_ports.iter().any(|port| port.place == place) {
        let replies = system.socket(place)?.dump(port::list());
        let replies = replies.map_err(|refusal| refusal.explain("list the VLANs of bridge ports", ""))?;
        vlans.extend(replies.iter().filter_map(port::parse));
    }
    for raw in found {
        let at = LinkName { place, name: raw.name.clone() };
        let mut link = describe(system, place, &raw)?;
        if scope.vlan_ports.contains(&at) {
            link.vlans = vlans.remove(&raw.index).unwrap_or_default();
        }
        observed.links.insert(at, link);
    }
    Ok(())
}

/// A link with its addresses, other links by name.
pub(crate) fn describe(system: &mut System, place: Place, raw: &RawLink) -> Result<Link, KernelError> {
    let has_parent = matches!(raw.kind.as_str(), "macvlan" | "ipvlan" | "vlan");
    let parent = if has_parent { system.lower(place, raw)? } else { None };
    let master = match raw.master {
        Some(index) => system.name(place, index)?,
        None => None,
    };
    let kind = raw.kind(|| parent.map(|parent| parent.name).unwrap_or_default());
    Ok(Link {
        index: raw.index,
        up: raw.has(libc::IFF_UP),
        mtu: raw.mtu,
        // The loopback link's is all zeros and can't be anything else.
        mac: raw.mac.filter(|_| kind != Kind::Loopback),
        master,
        peer_index: raw.lower.filter(|_| kind == Kind::Veth),
        transmit_queue_length: raw.transmit_queue_length,
        promiscuous: raw.has(libc::IFF_PROMISC),
        all_multicast: raw.has(libc::IFF_ALLMULTI),
        port: raw.port,
        vlans: Vec::new(),
        addresses: addresses(system, place, raw.index)?,
        kind,
    })
}

/// The addresses of a link, in the kernel's order.
pub(crate) fn addresses(system: &mut System, place: Place, index: u32) -> Result<Vec<Address>, KernelError> {
    match system.socket(place)?.dump(address::list(index)) {
        Ok(replies) => {
            let of_link = replies.iter().filter_map(address::parse).filter(|(link, _)| *link == index);
            Ok(of_link.map(|(_, address)| address).collect())
        }
        Err(refusal) if crate::system::is_absent(&refusal) => Ok(Vec::new()),
        Err(refusal) => Err(refusal.explain("list the addresses of a link", "")),
    }
}

fn routes(system: &mut System, place: Place, observed: &mut Observed) -> Result<(), KernelError> {
    let indexes: Vec<Option<u32>> = match place {
        Place::Sandbox => vec![None],
        Place::Host => {
            observed.links.iter().filter(|(at, _)| at.place == place).map(|(_, link)| Some(link.index)).collect()
        }
    };
    for index in indexes {
        let found = list_routes(system, place, index)?;
        system.name_all(place, found.iter().map(|route| route.link))?;
        for found in found {
            if let Some(name) = system.name(place, found.link)? {
                observed.routes.push((LinkName { place, name }, found.route));
            }
        }
    }
    Ok(())
}

/// The routes of both families, through one link where one is given.
pub(crate) fn list_routes(
    system: &mut System,
    place: Place,
    link: Option<u32>,
) -> Result<Vec<route::RawRoute>, KernelError> {
    let mut routes = Vec::new();
    for family in [IpFamily::V4, IpFamily::V6] {
        match system.socket(place)?.dump(route::list(family, link, None)) {
            Ok(replies) => {
                let all = replies.iter().flat_map(route::parse);
                routes.extend(all.filter(|route| link.is_none_or(|link| route.link == link)));
            }
            // No link, no table, or no IPv6: no routes.
            Err(refusal) if crate::system::is_absent(&refusal) || refusal.is(nix::errno::Errno::EOPNOTSUPP) => {}
            Err(refusal) => {
                return Err(refusal.explain(format!("list routes of the {}", crate::system::spoken(place)), ""));
            }
        }
    }
    Ok(routes)
}
