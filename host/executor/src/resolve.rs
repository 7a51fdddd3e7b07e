//! A plan with every name and MAC settled.
//!
//! Owns: the checks that need nothing but the plan, and the picks that weft makes where the plan leaves something open.
//! Picks are remembered in [`Choices`], so a plan that is resolved again gives the same answer.
//!
//! Names: an existing link keeps its own; in the sandbox any other is called as the attachment is; on the host it is the
//! kind's prefix with eight random hexadecimal digits. The unnamed end of a pair that outlives the attachment is named
//! after the other end, so that the next attachment finds it.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use weft_contract::plan::{self, Filter, Life, LinkKind};
use weft_contract::types::{IpAddress, IpFamily, IpPrefix, LinkName, LinkRef, LinkSelector, MacAddress, Place, Route};

pub use crate::problem::PlanError;
use crate::state::Kind;
use crate::vlans;
use crate::wanted::{Guard, Link, Masquerade, Sysctl, Wanted, WantedKind};

/// Whose plan it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Written into what the kernel can label; the same in every request about the attachment, another's differs.
    pub owner: String,
    /// The attachment's interface name.
    pub ifname: String,
}

/// What weft picked, by the label of the link; journalled.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Choices {
    /// Names of links on the host.
    #[serde(default)]
    pub names: BTreeMap<String, LinkName>,
    /// MACs of links that are created.
    #[serde(default)]
    pub macs: BTreeMap<String, MacAddress>,
}

/// Settles what a plan leaves open. `random` is asked only for picks that `choices` doesn't hold yet.
pub fn resolve(
    plan: &plan::Plan,
    identity: &Identity,
    choices: &mut Choices,
    random: &mut dyn FnMut() -> u64,
) -> Result<Wanted, PlanError> {
    refuse_unbuilt(plan)?;
    check_name("interface name", &identity.ifname)?;
    let mut resolver = Resolver { plan, labels: BTreeMap::new(), stations: BTreeSet::new() };
    resolver.name_links(identity, choices, random)?;
    let guards = resolver.guards()?;
    let mut links = Vec::new();
    for link in &plan.links {
        links.push(resolver.link(link, choices, random)?);
    }
    let guards = with_macs(guards, &links)?;
    let mut wanted = Wanted {
        owner: identity.owner.clone(),
        routes: resolver.routes("routes", &plan.routes)?,
        absent_routes: resolver.routes("absent-routes", &plan.absent_routes)?,
        sysctls: sandbox_sysctls(&plan.sysctls)?,
        forwarding: plan.forwarding.iter().copied().collect::<BTreeSet<_>>().into_iter().collect(),
        masquerades: masquerades(&plan.masquerades)?,
        guards,
        links,
    };
    announce(plan, &mut wanted);
    check_addresses(plan)?;
    check_settings(&wanted)?;
    creation_order(&wanted.links).map_err(|index| PlanError::Circle { label: wanted.links[index].label.clone() })?;
    Ok(wanted)
}

/// The positions of the links in an order in which each comes after its master and its parent where these are of the
/// plan, otherwise in that of the plan; the two ends of a pair follow each other, with what both need before them. Err:
/// the position of a link that waits for itself.
pub(crate) fn creation_order(links: &[Link]) -> Result<Vec<usize>, usize> {
    let position: BTreeMap<&LinkName, usize> =
        links.iter().enumerate().map(|(index, link)| (&link.at, index)).collect();
    let peer = |index: usize| match &links[index].kind {
        WantedKind::Veth { peer } => position.get(peer).copied(),
        _ => None,
    };
    let needs = |index: usize| {
        let link = &links[index];
        let parent = match &link.kind {
            WantedKind::Made(kind) => kind.parent(),
            _ => None,
        };
        let named = |name: &String| LinkName { place: link.at.place, name: name.clone() };
        link.master.iter().map(named).chain(parent)
    };
    // What a link still waits for: masters and parents of the plan, its own and those of its other end.
    let waits_for = |index: usize, done: &[bool]| {
        let unit = [Some(index), peer(index)].into_iter().flatten();
        unit.flat_map(&needs).filter_map(|need| position.get(&need).copied()).find(|needed| !done[*needed])
    };
    let mut order = Vec::new();
    let mut done = vec![false; links.len()];
    while let Some(first) = done.iter().position(|done| !done) {
        let ready = (first..links.len()).find(|index| !done[*index] && waits_for(*index, &done).is_none());
        let Some(index) = ready else {
            // Who follows the waiting comes around to a link of the circle.
            let next = |index: &usize| waits_for(*index, &done);
            return Err(std::iter::successors(Some(first), next).nth(links.len()).unwrap_or(first));
        };
        for member in [Some(index), peer(index)].into_iter().flatten() {
            if !std::mem::replace(&mut done[member], true) {
                order.push(member);
            }
        }
    }
    Ok(order)
}

struct Resolver<'a> {
    plan: &'a plan::Plan,
    labels: BTreeMap<&'a str, LinkName>,
    /// Labels of links whose MAC a guard needs.
    stations: BTreeSet<&'a str>,
}

// === impl Resolver ===

impl<'a> Resolver<'a> {
    fn declared(&self, label: &str) -> Option<&'a plan::Link> {
        self.plan.links.iter().find(|link| link.label == label)
    }

    fn name_links(
        &mut self,
        identity: &Identity,
        choices: &mut Choices,
        random: &mut dyn FnMut() -> u64,
    ) -> Result<(), PlanError> {
        let mut taken: BTreeMap<LinkName, &str> = BTreeMap::new();
        for link in &self.plan.links {
            let label = link.label.as_str();
            if label.is_empty() || label.len() > 64 || label.chars().any(char::is_control) {
                return Err(PlanError::BadLabel { label: link.label.clone() });
            }
            if self.labels.contains_key(label) {
                return Err(PlanError::DuplicateLabel { label: link.label.clone() });
            }
            let at = self.name(link, identity, choices, random)?;
            check_name(&field(label, "name"), &at.name)?;
            if let Some(first) = taken.insert(at.clone(), label) {
                return Err(PlanError::DuplicateLink { first: first.to_owned(), second: link.label.clone(), at });
            }
            self.labels.insert(label, at);
        }
        Ok(())
    }

    fn name(
        &self,
        link: &plan::Link,
        identity: &Identity,
        choices: &mut Choices,
        random: &mut dyn FnMut() -> u64,
    ) -> Result<LinkName, PlanError> {
        if let LinkKind::Existing(selector) = &link.kind {
            let LinkSelector::Named(named) = selector else {
                return Err(unsupported("finding an existing link by anything but its name"));
            };
            if named.place != link.place || link.name.as_ref().is_some_and(|name| *name != named.name) {
                return Err(unsupported("moving or renaming an existing link"));
            }
            return Ok(named.clone());
        }
        let named = |name: String| LinkName { place: link.place, name };
        if let Some(name) = &link.name {
            return Ok(named(name.clone()));
        }
        if link.life != Life::Attachment {
            // Only the far end of a pair can do without: it is found by the near one.
            let near = match &link.kind {
                LinkKind::Veth(peer) => self.declared(peer).and_then(|peer| peer.name.as_deref()),
                _ => None,
            };
            let near = near.ok_or_else(|| PlanError::NameMissing { label: link.label.clone() })?;
            return Ok(named(format!("veth{:08x}", fold(near))));
        }
        if link.place == Place::Sandbox {
            return Ok(named(identity.ifname.clone()));
        }
        match choices.names.get(&link.label) {
            Some(chosen) if chosen.place == link.place => Ok(chosen.clone()),
            _ => {
                let chosen = named(format!("{}{:08x}", prefix(&link.kind), random() as u32));
                choices.names.insert(link.label.clone(), chosen.clone());
                Ok(chosen)
            }
        }
    }

    fn reference(&self, field: impl FnOnce() -> String, link: &LinkRef) -> Result<LinkName, PlanError> {
        match link {
            LinkRef::Label(label) => self
                .labels
                .get(label.as_str())
                .cloned()
                .ok_or_else(|| PlanError::DanglingLabel { field: field(), label: label.clone() }),
            LinkRef::Named(named) => {
                check_name(&field(), &named.name)?;
                Ok(named.clone())
            }
        }
    }

    /// The name of a link that must be in a certain place.
    fn local(&self, field: impl Fn() -> String, link: &LinkRef, place: Place) -> Result<String, PlanError> {
        let found = self.reference(&field, link)?;
        if found.place == place { Ok(found.name) } else { Err(PlanError::Elsewhere { field: field(), link: found }) }
    }

    fn link(
        &self,
        link: &plan::Link,
        choices: &mut Choices,
        random: &mut dyn FnMut() -> u64,
    ) -> Result<Link, PlanError> {
        let label = link.label.as_str();
        let at = self.labels[label].clone();
        if let Some(extra) = link.extra.first() {
            return Err(PlanError::UnknownExtra { field: field(label, "extra"), name: extra.name.clone() });
        }
        if let Some(mac) = link.mac.filter(|mac| *mac == 0 || mac >> 40 & 1 == 1 || mac >> 48 != 0) {
            return Err(PlanError::BadMac { label: label.to_owned(), mac });
        }
        let kind = self.kind(link)?;
        let master = match &link.master {
            Some(master) => Some(self.local(|| field(label, "master"), master, at.place)?),
            None => None,
        };
        if let Some(port) = &link.port {
            if master.is_none() && kind != WantedKind::Existing {
                return Err(PlanError::PortWithoutMaster { label: label.to_owned() });
            }
            vlans::check(&field(label, "port.vlans"), &port.vlans)?;
            let bridge = link.master.as_ref().and_then(|master| match master {
                LinkRef::Label(label) => self.declared(label),
                LinkRef::Named(_) => None,
            });
            if let Some(plan::Link {
                label: bridge,
                kind: LinkKind::Bridge(plan::Bridge { vlan_filtering: false, .. }),
                ..
            }) = bridge
                && !port.vlans.is_empty()
            {
                return Err(PlanError::VlansUnfiltered { label: label.to_owned(), bridge: bridge.clone() });
            }
        }
        for address in &link.addresses {
            check_prefix(|| field(label, "addresses"), &address.prefix)?;
        }
        let mut mac = link.mac;
        if mac.is_none() && (has_own_mac(&kind) || self.stations.contains(label) && can_have_mac(&kind)) {
            // Locally administered, of a single station.
            let mut pick = || random() & 0xfcff_ffff_ffff | 0x0200_0000_0000;
            mac = Some(*choices.macs.entry(label.to_owned()).or_insert_with(&mut pick));
        }
        let sysctls = link.sysctls.iter().map(|sysctl| link_sysctl(label, &at, sysctl)).collect::<Result<_, _>>()?;
        Ok(Link {
            label: label.to_owned(),
            at,
            kind,
            life: link.life,
            up: link.up,
            mtu: link.mtu,
            mac,
            master,
            port: link.port.clone(),
            addresses: link.addresses.clone(),
            sysctls,
            transmit_queue_length: link.transmit_queue_length,
            promiscuous: link.promiscuous,
            all_multicast: link.all_multicast,
        })
    }

    fn kind(&self, link: &plan::Link) -> Result<WantedKind, PlanError> {
        let label = link.label.as_str();
        let parent = |parent: &LinkRef| {
            let found = self.reference(|| field(label, "kind.parent"), parent)?;
            if found.place == Place::Host {
                return Ok(found.name);
            }
            Err(unsupported("a parent in the sandbox"))
        };
        Ok(WantedKind::Made(match &link.kind {
            LinkKind::Veth(peer) => {
                let other = self.declared(peer).ok_or_else(|| PlanError::DanglingLabel {
                    field: field(label, "kind.veth"),
                    label: peer.clone(),
                })?;
                let names_back = matches!(&other.kind, LinkKind::Veth(back) if *back == link.label);
                if !names_back || other.label == link.label || other.life != link.life {
                    return Err(PlanError::PeerMismatch { label: link.label.clone(), peer: peer.clone() });
                }
                return Ok(WantedKind::Veth { peer: self.labels[peer.as_str()].clone() });
            }
            LinkKind::Existing(_) => return Ok(WantedKind::Existing),
            LinkKind::Bridge(plan::Bridge { vlan_filtering, default_vlan }) => {
                if let Some(id) = default_vlan.filter(|id| *id > 4094) {
                    let field = field(label, "kind.bridge.default-vlan");
                    return Err(PlanError::VlanOutOfRange { field, id, lowest: 0 });
                }
                Kind::Bridge { vlan_filtering: *vlan_filtering, default_vlan: *default_vlan }
            }
            LinkKind::Macvlan(macvlan) => {
                if macvlan.broadcast_queue_length.is_some() {
                    return Err(unsupported("broadcast-queue-length of a macvlan"));
                }
                Kind::Macvlan { parent: parent(&macvlan.parent)?, mode: macvlan.mode }
            }
            LinkKind::Ipvlan(ipvlan) => Kind::Ipvlan { parent: parent(&ipvlan.parent)?, mode: ipvlan.mode },
            LinkKind::Vlan(vlan) => {
                if vlan.id > 4094 {
                    let field = field(label, "kind.vlan.id");
                    return Err(PlanError::VlanOutOfRange { field, id: vlan.id, lowest: 0 });
                }
                Kind::Vlan { parent: parent(&vlan.parent)?, id: vlan.id, protocol: vlan.protocol }
            }
            LinkKind::Vrf(table) => {
                if matches!(table, 0 | 253..=255) {
                    return Err(PlanError::BadTable { label: label.to_owned(), table: *table });
                }
                Kind::Vrf { table: *table }
            }
            LinkKind::Dummy => Kind::Other("dummy".to_owned()),
            LinkKind::Ifb => Kind::Other("ifb".to_owned()),
            LinkKind::Tap(_) => return Err(unsupported("a link of the kind tap")),
            LinkKind::Other(kind) => return Err(unsupported(&format!("a link of the kind {kind}"))),
        }))
    }

    fn routes(&self, list: &str, routes: &[plan::LinkRoute]) -> Result<Vec<(LinkName, Route)>, PlanError> {
        let mut resolved: Vec<(LinkName, Route)> = Vec::new();
        for (index, plan::LinkRoute { link, route }) in routes.iter().enumerate() {
            let field = || format!("{list}[{index}]");
            let at = self.reference(|| format!("{}.link", field()), link)?;
            check_prefix(field, &route.destination)?;
            for address in [route.gateway, route.source].into_iter().flatten() {
                if address.family() != route.destination.address.family() {
                    return Err(PlanError::RouteFamily { field: field(), destination: route.destination, address });
                }
            }
            let route = Route { destination: route.destination.network(), ..route.clone() };
            if !resolved.contains(&(at.clone(), route.clone())) {
                resolved.push((at, route));
            }
        }
        Ok(resolved)
    }

    /// Guarded ports with the labels of their stations.
    fn guards(&mut self) -> Result<Vec<(String, &'a str)>, PlanError> {
        let mut guards = Vec::new();
        for (index, filter) in self.plan.filters.iter().enumerate() {
            let Filter::SourceGuard(guard) = filter else { continue };
            let port = self.local(|| format!("filters[{index}].port"), &guard.port, Place::Host)?;
            let station = || format!("filters[{index}].station");
            self.reference(station, &guard.station)?;
            let LinkRef::Label(label) = &guard.station else {
                return Err(PlanError::GuardStation { field: station() });
            };
            let can = self.declared(label).is_some_and(|link| {
                link.mac.is_some()
                    || !matches!(link.kind, LinkKind::Existing(_) | LinkKind::Ipvlan(_) | LinkKind::Vrf(_))
            });
            if !can {
                return Err(PlanError::GuardStation { field: station() });
            }
            self.stations.insert(label);
            guards.push((port, label.as_str()));
        }
        Ok(guards)
    }
}

fn with_macs(guards: Vec<(String, &str)>, links: &[Link]) -> Result<Vec<Guard>, PlanError> {
    let mut ports: BTreeMap<String, MacAddress> = BTreeMap::new();
    for (port, station) in guards {
        let mac = links.iter().find(|link| link.label == station).and_then(|link| link.mac);
        let mac = mac.ok_or_else(|| PlanError::GuardStation { field: field(station, "mac") })?;
        if ports.insert(port.clone(), mac).is_some_and(|other| other != mac) {
            return Err(PlanError::GuardTwice { port });
        }
    }
    Ok(ports.into_iter().map(|(port, mac)| Guard { port, mac }).collect())
}

/// Exceptions of the other family can't match and are left out.
fn masquerades(list: &[plan::Masquerade]) -> Result<Vec<Masquerade>, PlanError> {
    let mut sources: BTreeMap<IpPrefix, Vec<IpPrefix>> = BTreeMap::new();
    for (index, masquerade) in list.iter().enumerate() {
        check_prefix(|| format!("masquerades[{index}].source"), &masquerade.source)?;
        let source = masquerade.source.network();
        let mut except = BTreeSet::new();
        for prefix in &masquerade.except {
            check_prefix(|| format!("masquerades[{index}].except"), prefix)?;
            if prefix.address.family() == source.address.family() {
                except.insert(prefix.network());
            }
        }
        let except: Vec<_> = except.into_iter().collect();
        if sources.insert(source, except.clone()).is_some_and(|other| other != except) {
            return Err(PlanError::MasqueradeTwice { source_prefix: source });
        }
    }
    Ok(sources.into_iter().map(|(source, except)| Masquerade { source, except }).collect())
}

fn link_sysctl(label: &str, at: &LinkName, sysctl: &plan::Sysctl) -> Result<Sysctl, PlanError> {
    let problem = || PlanError::SysctlKey {
        field: field(label, "sysctls"),
        key: sysctl.key.clone(),
        allowed: "a family and a key of the link, such as ipv6/accept_ra",
    };
    let (family, key) = sysctl.key.split_once('/').ok_or_else(problem)?;
    let plain = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if !matches!(family, "ipv4" | "ipv6" | "mpls") || !plain(key) {
        return Err(problem());
    }
    check_value(|| field(label, "sysctls"), sysctl)?;
    Ok(Sysctl {
        place: at.place,
        key: format!("net/{family}/conf/{}/{key}", at.name),
        value: sysctl.value.trim().to_owned(),
        lenient: sysctl.lenient,
    })
}

fn sandbox_sysctls(sysctls: &[plan::Sysctl]) -> Result<Vec<Sysctl>, PlanError> {
    let convert = |(index, sysctl): (usize, &plan::Sysctl)| {
        let field = || format!("sysctls[{index}]");
        let good = |part: &str| !matches!(part, "" | "." | "..") && !part.chars().any(char::is_control);
        let key = &sysctl.key;
        if !key.starts_with("net/") || key.len() > 256 || !key.split('/').all(good) {
            let allowed = "a key under net/ with slashes and without . or .. as a part";
            return Err(PlanError::SysctlKey { field: field(), key: key.clone(), allowed });
        }
        check_value(field, sysctl)?;
        let value = sysctl.value.trim().to_owned();
        Ok(Sysctl { place: Place::Sandbox, key: key.clone(), value, lenient: sysctl.lenient })
    };
    sysctls.iter().enumerate().map(convert).collect()
}

/// An address that is to be announced makes the kernel announce it when the link goes up, as far as it can.
fn announce(plan: &plan::Plan, wanted: &mut Wanted) {
    let said: BTreeSet<(Place, String)> = wanted.sysctls.iter().map(|said| (said.place, said.key.clone())).collect();
    for (link, wanted) in plan.links.iter().zip(&mut wanted.links) {
        for (family, key) in [(IpFamily::V4, "ipv4/conf/{}/arp_notify"), (IpFamily::V6, "ipv6/conf/{}/ndisc_notify")] {
            let key = format!("net/{}", key.replace("{}", &wanted.at.name));
            let place = wanted.at.place;
            let asked = |address: &plan::Address| address.announce && address.prefix.address.family() == family;
            if link.addresses.iter().any(asked)
                && !wanted.sysctls.iter().any(|sysctl| sysctl.key == key)
                && !said.contains(&(place, key.clone()))
            {
                wanted.sysctls.push(Sysctl { place, key, value: "1".to_owned(), lenient: true });
            }
        }
    }
}

fn check_addresses(plan: &plan::Plan) -> Result<(), PlanError> {
    let addresses = |link: &plan::Link| link.addresses.iter().map(|address| address.prefix.address).collect::<Vec<_>>();
    for link in &plan.links {
        let mut seen: BTreeSet<IpAddress> = BTreeSet::new();
        for address in addresses(link) {
            if !seen.insert(address) {
                return Err(PlanError::AddressTwice { label: link.label.clone(), address });
            }
        }
        let LinkKind::Veth(peer) = &link.kind else { continue };
        for other in plan.links.iter().filter(|other| other.label == *peer) {
            if let Some(address) = addresses(other).into_iter().find(|address| seen.contains(address)) {
                return Err(PlanError::AddressOnBothEnds { label: link.label.clone(), peer: peer.clone(), address });
            }
        }
    }
    Ok(())
}

fn check_settings(wanted: &Wanted) -> Result<(), PlanError> {
    let mut seen: BTreeMap<(Place, &str), &str> = BTreeMap::new();
    for Sysctl { place, key, value, .. } in wanted.links.iter().flat_map(|link| &link.sysctls).chain(&wanted.sysctls) {
        if let Some(first) = seen.insert((*place, key), value).filter(|first| first != value) {
            return Err(PlanError::SysctlTwice { key: key.clone(), first: first.to_owned(), second: value.clone() });
        }
    }
    Ok(())
}

fn check_value(field: impl FnOnce() -> String, sysctl: &plan::Sysctl) -> Result<(), PlanError> {
    let bad = sysctl.value.trim().is_empty() || sysctl.value.trim().chars().any(|c| c.is_control() && c != '\t');
    if bad { Err(PlanError::SysctlValue { field: field(), key: sysctl.key.clone() }) } else { Ok(()) }
}

fn check_prefix(field: impl FnOnce() -> String, prefix: &IpPrefix) -> Result<(), PlanError> {
    if prefix.length > prefix.address.width() {
        return Err(PlanError::PrefixLength { field: field(), prefix: *prefix });
    }
    Ok(())
}

fn check_name(field: &str, name: &str) -> Result<(), PlanError> {
    let bad = |c: char| matches!(c, '/' | ':' | '%') || c.is_whitespace() || c.is_control();
    if name.is_empty() || name.len() > 15 || matches!(name, "." | "..") || name.contains(bad) {
        return Err(PlanError::BadName { field: field.to_owned(), name: name.to_owned() });
    }
    Ok(())
}

/// What this build has no operations for, by the contract's name for it.
fn refuse_unbuilt(plan: &plan::Plan) -> Result<(), PlanError> {
    if let Some(extra) = plan.extra.first() {
        return Err(PlanError::UnknownExtra { field: "extra".to_owned(), name: extra.name.clone() });
    }
    let unbuilt = [
        (plan.rules.is_empty(), "rules"),
        (plan.port_mappings.is_empty(), "port-mappings"),
        (plan.shaping.is_empty(), "shaping"),
        (plan.redirects.is_empty(), "redirects"),
        (plan.functions.is_empty(), "functions"),
    ];
    for (absent, what) in unbuilt {
        if !absent {
            return Err(unsupported(what));
        }
    }
    for filter in &plan.filters {
        match filter {
            Filter::SourceGuard(_) => {}
            Filter::Accept(_) => return Err(unsupported("the filter accept")),
            Filter::SameBridge(_) => return Err(unsupported("the filter same-bridge")),
            Filter::Isolated(_) => return Err(unsupported("the filter isolated")),
        }
    }
    Ok(())
}

/// Kinds to which weft gives a MAC when it creates them: it identifies the link later, and a bridge keeps it whatever
/// ports come and go.
fn has_own_mac(kind: &WantedKind) -> bool {
    match kind {
        WantedKind::Veth { .. } => true,
        WantedKind::Made(Kind::Bridge { .. }) => true,
        WantedKind::Made(Kind::Macvlan { mode, .. }) => *mode != plan::MacvlanMode::Passthru,
        WantedKind::Made(Kind::Other(kind)) => matches!(kind.as_str(), "dummy" | "ifb"),
        _ => false,
    }
}

fn can_have_mac(kind: &WantedKind) -> bool {
    matches!(kind, WantedKind::Veth { .. } | WantedKind::Made(_))
}

fn prefix(kind: &LinkKind) -> &'static str {
    match kind {
        LinkKind::Veth(_) => "veth",
        LinkKind::Bridge(_) => "br",
        LinkKind::Macvlan(_) => "macv",
        LinkKind::Ipvlan(_) => "ipvl",
        LinkKind::Vlan(_) => "vlan",
        LinkKind::Tap(_) => "tap",
        LinkKind::Dummy => "dummy",
        LinkKind::Ifb => "ifb",
        LinkKind::Vrf(_) => "vrf",
        LinkKind::Existing(_) | LinkKind::Other(_) => "link",
    }
}

/// 32 bits of a name, the same in every process (FNV-1a).
fn fold(name: &str) -> u32 {
    name.bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

fn field(label: &str, field: &str) -> String {
    format!("links[{label:?}].{field}")
}

fn unsupported(what: &str) -> PlanError {
    PlanError::Unsupported { what: what.to_owned() }
}
