//! Between the protocol's types and the contract's: results, addresses, facts.
//!
//! Owns: how a plan's outcome becomes a CNI result. Names, MACs and MTUs come from what was settled and seen, so a
//! component never has to know them.

use std::net::IpAddr;

use weft_cni::Error;
use weft_cni::{CniResult, Dns, Interface, IpConfig, Route, Version};
use weft_contract::facts::LinkFacts;
use weft_contract::plan::{Outcome, Plan, Report, Reported};
use weft_contract::requests::{Allocation, PreviousResult};
use weft_contract::text::{format_mac, parse_mac};
use weft_contract::types::{
    self, AssignedAddress, IpPrefix, LinkName, LinkRef, Place, RouteScope, Setting, ShownInterface,
};
use weft_executor::state::{Link, Observed};
use weft_executor::wanted::Wanted;

/// CNI_ARGS.
pub(crate) fn settings(args: &[(String, String)]) -> Vec<Setting> {
    args.iter().map(|(name, value)| Setting { name: name.clone(), value: value.clone() }).collect()
}

/// A link as components see it.
pub(crate) fn facts(name: &LinkName, link: &Link) -> LinkFacts {
    let named = |other: Option<&str>| other.map(|other| LinkName { place: name.place, name: other.to_owned() });
    LinkFacts {
        link: name.clone(),
        kind: link.kind.name().to_owned(),
        up: link.up,
        mtu: link.mtu,
        mac: link.mac,
        master: named(link.master.as_deref()),
        parent: link.kind.parent(),
        peer: None,
        table: match link.kind {
            weft_executor::state::Kind::Vrf { table } => Some(table),
            _ => None,
        },
        addresses: link.addresses.iter().map(|address| address.prefix).collect(),
        promiscuous: link.promiscuous,
        all_multicast: link.all_multicast,
        transmit_queue_length: link.transmit_queue_length,
    }
}

// --- a result as components see it ---

/// A result that stands, for a component.
pub(crate) fn previous(result: &CniResult, sandbox: &str) -> PreviousResult {
    PreviousResult {
        interfaces: result
            .interfaces
            .iter()
            .map(|interface| ShownInterface {
                name: interface.name.clone(),
                place: match interface.sandbox.as_deref().unwrap_or_default() {
                    "" => Some(Place::Host),
                    path if path == sandbox => Some(Place::Sandbox),
                    _ => None,
                },
                mac: interface.mac.as_deref().and_then(parse_mac),
                mtu: interface.mtu,
                pci: interface.pci_id.clone(),
                socket_path: interface.socket_path.clone(),
            })
            .collect(),
        addresses: result.ips.iter().map(assigned).collect(),
        routes: result.routes.iter().map(contract_route).collect(),
        dns: contract_dns(result.dns.as_ref()),
    }
}

/// What an IPAM executable printed.
pub(crate) fn allocation(result: &CniResult) -> Result<Allocation, Error> {
    if result.ips.is_empty() {
        return Err(Error::internal("it has no address".to_owned()));
    }
    Ok(Allocation {
        addresses: result.ips.iter().map(assigned).collect(),
        routes: result.routes.iter().map(contract_route).collect(),
        dns: contract_dns(result.dns.as_ref()),
    })
}

/// What an IPAM component answered, as the result of an IPAM plugin.
pub(crate) fn of_allocation(allocation: &Allocation) -> CniResult {
    CniResult {
        ips: allocation.addresses.iter().map(|address| ip_config(address, None)).collect(),
        routes: allocation.routes.iter().map(cni_route).collect(),
        dns: cni_dns(&allocation.dns),
        ..CniResult::default()
    }
}

fn assigned(ip: &IpConfig) -> AssignedAddress {
    AssignedAddress {
        prefix: IpPrefix { address: ip.address.address.into(), length: ip.address.length },
        gateway: ip.gateway.map(Into::into),
        at: ip.interface.and_then(|index| u32::try_from(index).ok()),
    }
}

fn contract_route(route: &Route) -> types::Route {
    types::Route {
        destination: IpPrefix { address: route.dst.address.into(), length: route.dst.length },
        gateway: route.gw.map(Into::into),
        source: None,
        on_link: false,
        table: route.table,
        metric: route.priority,
        scope: route.scope.and_then(|scope| match scope {
            0 => Some(RouteScope::Universe),
            200 => Some(RouteScope::Site),
            253 => Some(RouteScope::Link),
            254 => Some(RouteScope::Host),
            _ => None,
        }),
        mtu: route.mtu,
        advertised_mss: route.advmss,
    }
}

fn contract_dns(dns: Option<&Dns>) -> types::Dns {
    let dns = dns.cloned().unwrap_or_default();
    types::Dns { nameservers: dns.nameservers, domain: dns.domain, search: dns.search, options: dns.options }
}

// --- a plan's outcome as a result ---

/// Why a plan's outcome says nothing.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum OutcomeError {
    /// It shows a link that the plan doesn't have.
    #[error("its outcome shows a link labelled {0:?}, which the plan doesn't declare")]
    Label(String),
    /// It puts an address on an interface that it doesn't show.
    #[error("its outcome puts {address} on interface {at}, of {count}")]
    Index {
        /// The address.
        address: IpPrefix,
        /// The interface's position, from 0.
        at: u32,
        /// How many there are.
        count: usize,
    },
}

/// The result of a delegate.
pub(crate) fn outcome(
    plan: &Plan,
    wanted: &Wanted,
    seen: &Observed,
    previous: Option<&CniResult>,
    sandbox: &str,
    version: Version,
) -> Result<CniResult, OutcomeError> {
    // Runtimes of before 1.1.0 know no MTU.
    let shower = Shower { wanted, seen, sandbox, with_mtu: version >= Version::V1_1_0 };
    match &plan.outcome {
        Outcome::Replaced(report) => shower.report(report),
        Outcome::Extended(links) => {
            let mut result = previous.cloned().unwrap_or_default();
            for interface in &mut result.interfaces {
                shower.refresh(interface);
            }
            for link in links {
                result.interfaces.push(shower.interface(link)?);
            }
            Ok(result)
        }
    }
}

struct Shower<'a> {
    wanted: &'a Wanted,
    seen: &'a Observed,
    sandbox: &'a str,
    with_mtu: bool,
}

impl Shower<'_> {
    fn report(&self, report: &Report) -> Result<CniResult, OutcomeError> {
        let mut interfaces = Vec::with_capacity(report.interfaces.len());
        for reported in &report.interfaces {
            interfaces.push(match reported {
                Reported::Link(link) => self.interface(link)?,
                Reported::Device(shown) => Interface {
                    mac: shown.mac.map(format_mac),
                    mtu: shown.mtu,
                    sandbox: self.sandbox_of(shown.place),
                    pci_id: shown.pci.clone(),
                    socket_path: shown.socket_path.clone(),
                    ..Interface::named(&shown.name)
                },
            });
        }
        let mut ips = Vec::with_capacity(report.addresses.len());
        for address in &report.addresses {
            if address.at.is_some_and(|at| at as usize >= interfaces.len()) {
                return Err(OutcomeError::Index {
                    address: address.prefix,
                    at: address.at.unwrap_or_default(),
                    count: interfaces.len(),
                });
            }
            ips.push(ip_config(address, address.at));
        }
        Ok(CniResult {
            interfaces,
            ips,
            routes: report.routes.iter().map(cni_route).collect(),
            dns: cni_dns(&report.dns),
            ..CniResult::default()
        })
    }

    fn sandbox_of(&self, place: Option<Place>) -> Option<String> {
        (place == Some(Place::Sandbox)).then(|| self.sandbox.to_owned())
    }

    fn interface(&self, link: &LinkRef) -> Result<Interface, OutcomeError> {
        let at = match link {
            LinkRef::Named(name) => name.clone(),
            LinkRef::Label(label) => self
                .wanted
                .links
                .iter()
                .find(|link| &link.label == label)
                .map(|link| link.at.clone())
                .ok_or_else(|| OutcomeError::Label(label.clone()))?,
        };
        let sandbox = self.sandbox_of(Some(at.place));
        let mut interface = Interface { sandbox, ..Interface::named(&at.name) };
        if let Some(link) = self.seen.links.get(&at) {
            self.show(&mut interface, link);
        }
        Ok(interface)
    }

    fn show(&self, interface: &mut Interface, link: &Link) {
        if let Some(mac) = link.mac {
            interface.mac = Some(format_mac(mac));
        }
        if self.with_mtu {
            interface.mtu = Some(link.mtu);
        }
    }

    /// MAC and MTU as they are now.
    fn refresh(&self, interface: &mut Interface) {
        let place = match interface.sandbox.as_deref().unwrap_or_default() {
            "" => Place::Host,
            path if path == self.sandbox => Place::Sandbox,
            _ => return,
        };
        let at = LinkName { place, name: interface.name.clone() };
        if let Some(link) = self.seen.links.get(&at) {
            self.show(interface, link);
        }
    }
}

fn ip_config(address: &AssignedAddress, at: Option<u32>) -> IpConfig {
    IpConfig {
        gateway: address.gateway.map(IpAddr::from),
        interface: at.map(i64::from),
        ..IpConfig::new(prefix(address.prefix))
    }
}

fn cni_route(route: &types::Route) -> Route {
    Route {
        mtu: route.mtu,
        advmss: route.advertised_mss,
        priority: route.metric,
        table: route.table,
        scope: route.scope.map(|scope| match scope {
            RouteScope::Universe => 0,
            RouteScope::Site => 200,
            RouteScope::Link => 253,
            RouteScope::Host => 254,
        }),
        ..Route::new(prefix(route.destination), route.gateway.map(IpAddr::from))
    }
}

fn prefix(prefix: IpPrefix) -> weft_cni::Prefix {
    weft_cni::Prefix { address: IpAddr::from(prefix.address), length: prefix.length }
}

fn cni_dns(dns: &types::Dns) -> Option<Dns> {
    let dns = Dns {
        nameservers: dns.nameservers.clone(),
        domain: dns.domain.clone(),
        search: dns.search.clone(),
        options: dns.options.clone(),
    };
    (!dns.is_empty()).then_some(dns)
}
