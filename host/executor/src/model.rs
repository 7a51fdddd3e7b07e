//! What an operation makes of an observation, as Linux would.
//!
//! Owns: [`Observed::apply`], by which weft knows the state after its changes without looking again, and [`Model`], a
//! kernel for tests. Simplifications: routes to connected networks aren't stored (a [`Model`] derives them when it
//! is looked at); taking a link down or moving it to another master drops nothing; operations on other networks
//! than those observed aren't checked.

use std::collections::BTreeSet;

use weft_contract::types::{LinkName, Place, Route, RouteScope};

use crate::diff::{DEFAULT_MTU, DEFAULT_QUEUE, are_ends};
use crate::operation::{Operation, Property, VethEnd};
use crate::state::{self, Guard, Kind, Link, Masquerade, Observed, PREDICTED, PortFlags, Scope, link_of_key};
use crate::text::show;
use crate::{Failure, Kernel, KernelError, vlans};

const ENOENT: i32 = 2;
const EEXIST: i32 = 17;
const ENODEV: i32 = 19;
const EINVAL: i32 = 22;

// === impl Observed ===

impl Observed {
    /// Carries an operation out on this observation. What a removal doesn't find is no error; what an addition finds is
    /// (EEXIST), and so is a link that isn't there (ENODEV) or a setting (ENOENT) unless it is lenient.
    pub fn apply(&mut self, operation: &Operation) -> Result<(), KernelError> {
        use Operation::*;
        let error = |errno, subject: &str| {
            let cause = match errno {
                ENOENT => "there is no such thing",
                EEXIST => "it exists already",
                ENODEV => "there is no such link",
                _ => "it can't be that",
            };
            let what = format!("{} ({subject})", operation.name());
            KernelError { what, cause: format!("{cause} (errno {errno})"), errno }
        };
        match operation {
            CreateVeth { first, second } => {
                for VethEnd { at, master, .. } in [first, second] {
                    self.check_name(at).map_err(|errno| error(errno, &show(at)))?;
                    self.check_master(at, master).map_err(|errno| error(errno, &show(at)))?;
                }
                if first.at == second.at {
                    return Err(error(EEXIST, &show(&first.at)));
                }
                let index = self.next_index();
                for (end, index, peer) in [(first, index, index + 1), (second, index + 1, index)] {
                    let link = new_link(Kind::Veth, index, end.mac, end.mtu, end.up, Some(peer));
                    self.links.insert(end.at.clone(), link);
                    self.enslave(&end.at, end.master.clone());
                }
            }
            CreateLink { at, kind, mac, mtu, up } => {
                self.check_name(at).map_err(|errno| error(errno, &show(at)))?;
                if let Some(parent) = kind.parent().filter(|parent| !self.links.contains_key(parent)) {
                    return Err(error(ENODEV, &show(&parent)));
                }
                let mut kind = kind.clone();
                if let Kind::Bridge { default_vlan, .. } = &mut kind {
                    *default_vlan = default_vlan.or(Some(1)).filter(|id| *id != 0);
                }
                let link = new_link(kind, self.next_index(), *mac, *mtu, *up, None);
                self.links.insert(at.clone(), link);
            }
            DeleteLink { at, creation } => {
                let is_it = |link: &Link| match &**creation {
                    CreateLink { kind, .. } => kind.name() == link.kind.name(),
                    _ => link.kind == Kind::Veth,
                };
                let is_bridge = |link: &Link| matches!(link.kind, Kind::Bridge { .. });
                // A bridge that others use by now stays.
                if self.links.get(at).is_some_and(|link| is_it(link) && !(is_bridge(link) && self.has_ports(at))) {
                    self.delete(at);
                }
            }
            SetLink { at, now, .. } => {
                if let Property::Master(master) = now {
                    self.check_master(at, master).map_err(|errno| error(errno, &show(at)))?;
                }
                let link = self.links.get_mut(at).ok_or_else(|| error(ENODEV, &show(at)))?;
                match now.clone() {
                    Property::Up(up) => link.up = up,
                    Property::Mtu(mtu) => link.mtu = mtu,
                    Property::Mac(mac) => link.mac = Some(mac),
                    Property::Promiscuous(on) => link.promiscuous = on,
                    Property::AllMulticast(on) => link.all_multicast = on,
                    Property::TransmitQueueLength(length) => link.transmit_queue_length = length,
                    Property::Port(flags) if link.port.is_some() => link.port = Some(flags),
                    Property::Port(_) => return Err(error(EINVAL, &show(at))),
                    Property::Master(master) => self.enslave(at, master),
                }
            }
            AddAddress { at, address } => {
                let link = self.links.get_mut(at).ok_or_else(|| error(ENODEV, &show(at)))?;
                if link.has_address(address.prefix) {
                    return Err(error(EEXIST, &format!("{} at {}", address.prefix, show(at))));
                }
                link.addresses.push(*address);
            }
            RemoveAddress { at, address } => {
                if let Some(link) = self.links.get_mut(at) {
                    link.addresses.retain(|found| found.prefix != address.prefix);
                }
            }
            AddRoute { at, route } => {
                if !self.links.contains_key(at) {
                    return Err(error(ENODEV, &show(at)));
                }
                if self.routes.contains(&(at.clone(), route.clone())) {
                    return Err(error(EEXIST, &format!("{} by {}", route.destination, show(at))));
                }
                self.routes.push((at.clone(), route.clone()));
            }
            RemoveRoute { at, route } => self.routes.retain(|(link, found)| (link, found) != (at, route)),
            AddPortVlan { at, vlan } | RemovePortVlan { at, vlan } => {
                let is_removal = matches!(operation, RemovePortVlan { .. });
                let Some(link) = self.links.get_mut(at) else {
                    return if is_removal { Ok(()) } else { Err(error(ENODEV, &show(at))) };
                };
                let mut has = vlans::expand(&link.vlans);
                if is_removal {
                    has.retain(|id, _| !(vlan.first..=vlan.last).contains(id));
                } else {
                    vlans::add(&mut has, vlan);
                }
                link.vlans = vlans::compress(&has);
            }
            WriteSysctl { place, key, now, lenient, .. } => {
                let of_a_link =
                    |name: &str| self.links.contains_key(&LinkName { place: *place, name: name.to_owned() });
                let entry = (*place, key.clone());
                if self.sysctls.contains_key(&entry) || link_of_key(key).is_some_and(of_a_link) {
                    self.sysctls.insert(entry, now.clone());
                } else if !lenient {
                    return Err(error(ENOENT, key));
                }
            }
            CreateMasqueradeTable => self.filter.masquerade_table = true,
            // One that others use by now stays; so does a chain.
            DeleteMasqueradeTable => {
                if self.filter.masquerades.is_empty() {
                    self.filter.masquerade_table = false;
                    self.filter.exceptions.clear();
                }
            }
            CreateExceptions { except } => {
                if !self.filter.masquerade_table {
                    return Err(error(ENOENT, "masquerade table"));
                }
                self.filter.exceptions.insert(except.clone());
            }
            DeleteExceptions { except } => {
                if !self.filter.masquerades.values().any(|used| used.except == *except) {
                    self.filter.exceptions.remove(except);
                }
            }
            AddMasquerade { source, except, owner } => {
                if !self.filter.exceptions.contains(except) {
                    return Err(error(ENOENT, "chain of exceptions"));
                }
                if self.filter.masquerades.contains_key(source) {
                    return Err(error(EEXIST, &source.to_string()));
                }
                let masquerade = Masquerade { except: except.clone(), owner: owner.clone() };
                self.filter.masquerades.insert(*source, masquerade);
            }
            RemoveMasquerade { source, owner, .. } => {
                self.filter.masquerades.retain(|found, element| found != source || element.owner != *owner);
            }
            CreateGuardTable => self.filter.guard_table = true,
            DeleteGuardTable => self.filter.guard_table = !self.filter.guards.is_empty(),
            AddGuard { port, mac, owner } => {
                if !self.filter.guard_table {
                    return Err(error(ENOENT, "guard table"));
                }
                if self.filter.guards.contains_key(port) {
                    return Err(error(EEXIST, port));
                }
                self.filter.guards.insert(port.clone(), Guard { mac: *mac, owner: owner.clone() });
            }
            RemoveGuard { port, owner, .. } => {
                self.filter.guards.retain(|found, element| found != port || element.owner != *owner);
            }
        }
        Ok(())
    }

    fn check_name(&self, at: &LinkName) -> Result<(), i32> {
        if self.links.contains_key(at) { Err(EEXIST) } else { Ok(()) }
    }

    fn check_master(&self, at: &LinkName, master: &Option<String>) -> Result<(), i32> {
        let Some(master) = master else { return Ok(()) };
        let known = self.links.contains_key(&LinkName { place: at.place, name: master.clone() });
        if known { Ok(()) } else { Err(ENODEV) }
    }

    fn has_ports(&self, bridge: &LinkName) -> bool {
        let is_port = |(at, link): (&LinkName, &Link)| {
            at.place == bridge.place && link.master.as_deref() == Some(bridge.name.as_str())
        };
        self.links.iter().any(is_port)
    }

    fn next_index(&self) -> u32 {
        let numbers = self.links.values().flat_map(|link| [link.index, link.peer_index.unwrap_or(0)]);
        numbers.max().map_or(PREDICTED, |highest| PREDICTED.max(highest.saturating_add(1)))
    }

    fn enslave(&mut self, at: &LinkName, master: Option<String>) {
        let place = at.place;
        let kind = master.as_ref().and_then(|master| self.links.get(&LinkName { place, name: master.clone() }));
        let (port, vlans) = match kind.map(|link| &link.kind) {
            Some(Kind::Bridge { vlan_filtering: true, default_vlan }) => {
                (Some(PortFlags::default()), vlans::compress(&vlans::default(*default_vlan)))
            }
            Some(Kind::Bridge { .. }) => (Some(PortFlags::default()), Vec::new()),
            _ => (None, Vec::new()),
        };
        if let Some(link) = self.links.get_mut(at) {
            (link.master, link.port, link.vlans) = (master, port, vlans);
        }
    }

    /// Removes a link with all that lives on it, the other end of a pair and what stands on it included.
    fn delete(&mut self, at: &LinkName) {
        let Some(link) = self.links.remove(at) else { return };
        self.routes.retain(|(through, _)| through != at);
        self.sysctls.retain(|(place, key), _| *place != at.place || link_of_key(key) != Some(&at.name));
        let ports: Vec<LinkName> = self
            .links
            .iter()
            .filter(|(port, found)| port.place == at.place && found.master.as_deref() == Some(at.name.as_str()))
            .map(|(port, _)| port.clone())
            .collect();
        for port in ports {
            self.enslave(&port, None);
        }
        let stands_on_it =
            |(_, found): &(&LinkName, &Link)| are_ends(&link, found) || found.kind.parent().as_ref() == Some(at);
        let gone: Vec<LinkName> = self.links.iter().filter(stands_on_it).map(|(at, _)| at.clone()).collect();
        for other in &gone {
            self.delete(other);
        }
    }
}

fn new_link(kind: Kind, index: u32, mac: Option<u64>, mtu: Option<u32>, up: bool, peer_index: Option<u32>) -> Link {
    Link {
        index,
        kind,
        up,
        mtu: mtu.unwrap_or(DEFAULT_MTU),
        mac,
        master: None,
        peer_index,
        transmit_queue_length: DEFAULT_QUEUE,
        promiscuous: false,
        all_multicast: false,
        port: None,
        vlans: Vec::new(),
        addresses: Vec::new(),
    }
}

/// A kernel that is only an observation of everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Model(pub Observed);

// === impl Model ===

impl Model {
    /// Routes to the networks of the addresses of links that are up.
    fn connected(&self, place: Place) -> impl Iterator<Item = (LinkName, Route)> {
        let links = self.0.links.iter().filter(move |(at, link)| at.place == place && link.up);
        links.flat_map(|(at, link)| {
            let with_network =
                |address: &&state::Address| !address.bare && address.prefix.length < address.prefix.address.width();
            link.addresses.iter().filter(with_network).map(|address| (at.clone(), connected_route(address)))
        })
    }
}

fn connected_route(address: &state::Address) -> Route {
    Route {
        destination: address.prefix.network(),
        gateway: None,
        source: Some(address.prefix.address),
        on_link: false,
        table: None,
        metric: None,
        scope: Some(RouteScope::Link),
        mtu: None,
        advertised_mss: None,
    }
}

impl Kernel for Model {
    fn observe(&mut self, scope: &Scope) -> Result<Observed, KernelError> {
        let Self(all) = &*self;
        let mut names: BTreeSet<LinkName> = scope.links.clone();
        for at in &scope.links {
            let master = all.links.get(at).and_then(|link| link.master.clone());
            names.extend(master.map(|name| LinkName { place: at.place, name }));
        }
        let mut seen = Observed::default();
        for at in names {
            let Some(link) = all.links.get(&at) else { continue };
            let mut link = link.clone();
            if !scope.vlan_ports.contains(&at) {
                link.vlans.clear();
            }
            seen.links.insert(at, link);
        }
        seen.routes.extend(all.routes.iter().filter(|(at, _)| scope.routes.contains(&at.place)).cloned());
        for place in &scope.routes {
            seen.routes.extend(self.connected(*place));
        }
        let value = |key: &(Place, String)| Some((key.clone(), all.sysctls.get(key)?.clone()));
        seen.sysctls.extend(scope.sysctls.iter().filter_map(value));
        let (filter, found) = (&mut seen.filter, &all.filter);
        filter.masquerade_table = found.masquerade_table && !scope.masquerades.is_empty();
        filter.guard_table = found.guard_table && !scope.guards.is_empty();
        filter.exceptions = found.exceptions.intersection(&scope.exceptions).cloned().collect();
        let element = |source: &_| Some((*source, found.masquerades.get(source)?.clone()));
        filter.masquerades.extend(scope.masquerades.iter().filter_map(element));
        let element = |port: &String| Some((port.clone(), found.guards.get(port)?.clone()));
        filter.guards.extend(scope.guards.iter().filter_map(element));
        Ok(seen)
    }

    fn apply(&mut self, operations: &[Operation]) -> Result<(), Failure> {
        for (index, operation) in operations.iter().enumerate() {
            self.0.apply(operation).map_err(|error| Failure { index, error })?;
        }
        Ok(())
    }
}
