//! CHECK: what of the wanted state isn't there.
//!
//! Owns: a one-sided comparison. What the wanted state doesn't mention may be there, routes that must not be excepted;
//! shared links are compared by kind and by the flags that are to be on; settings word by word. Never looked at: whether
//! a link has carrier, or an address has passed its duplicate detection.

use std::fmt;

use weft_contract::plan::Life;
use weft_contract::text::format_mac;
use weft_contract::types::{IpPrefix, LinkName, Place, Route};

use crate::diff::are_ends;
use crate::routes;
use crate::state::{self, Kind, Observed, forwarding_key, same_value};
use crate::text::{RouteText, show};
use crate::vlans;
use crate::wanted::{Link, Sysctl, Wanted, WantedKind};

/// Something that isn't as wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What it is about: `eth0 in the sandbox`.
    pub subject: String,
    /// Which of its properties; empty where the subject itself is meant.
    pub field: String,
    /// What it should be.
    pub wanted: String,
    /// What it is; None: missing.
    pub found: Option<String>,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { subject, field, wanted, found } = self;
        match found {
            None if field.is_empty() => write!(f, "{subject} is missing (wanted: {wanted})"),
            None => write!(f, "{subject}: {field} {wanted} is missing"),
            Some(found) if field.is_empty() => write!(f, "{subject} is {found}, wanted is {wanted}"),
            Some(found) => write!(f, "{subject}: {field} is {found}, wanted is {wanted}"),
        }
    }
}

/// Compares the wanted state with an observation of what [`scope_full`](crate::scope::scope_full) names.
pub fn verify(wanted: &Wanted, observed: &Observed) -> Vec<Finding> {
    let mut check = Check { observed, findings: Vec::new() };
    for link in &wanted.links {
        check.link(link);
    }
    for sysctl in wanted.links.iter().flat_map(|link| &link.sysctls).chain(&wanted.sysctls) {
        check.setting(sysctl);
    }
    check.routes(wanted);
    for family in &wanted.forwarding {
        let key = forwarding_key(*family);
        let found = observed.sysctls.get(&(Place::Host, key.to_owned()));
        if found.is_none_or(|found| found == "0") {
            check.push("the host", key, "1".to_owned(), found.cloned());
        }
    }
    for masquerade in &wanted.masquerades {
        let found = observed.filter.masquerades.get(&masquerade.source);
        let aim = state::Masquerade { except: masquerade.except.clone(), owner: wanted.owner.clone() };
        let stands = observed.filter.masquerade_table && observed.filter.exceptions.contains(&masquerade.except);
        if !stands || found != Some(&aim) {
            let text = |it: &state::Masquerade| format!("all but [{}] for {}", list(&it.except), it.owner);
            let found = found.filter(|_| stands).map(text);
            check.push("the host", &format!("masquerade of {}", masquerade.source), text(&aim), found);
        }
    }
    for guard in &wanted.guards {
        let found = observed.filter.guards.get(&guard.port);
        let aim = state::Guard { mac: guard.mac, owner: wanted.owner.clone() };
        if !observed.filter.guard_table || found != Some(&aim) {
            let text = |it: &state::Guard| format!("{} for {}", format_mac(it.mac), it.owner);
            let found = found.filter(|_| observed.filter.guard_table).map(text);
            check.push(&format!("{} on the host", guard.port), "source guard", text(&aim), found);
        }
    }
    check.findings
}

struct Check<'a> {
    observed: &'a Observed,
    findings: Vec<Finding>,
}

// === impl Check ===

impl Check<'_> {
    fn push(&mut self, subject: &str, field: &str, wanted: String, found: Option<String>) {
        self.findings.push(Finding { subject: subject.to_owned(), field: field.to_owned(), wanted, found });
    }

    fn link(&mut self, link: &Link) {
        let subject = show(&link.at);
        let Some(found) = self.observed.links.get(&link.at) else {
            let kind = match &link.kind {
                WantedKind::Veth { .. } => "veth",
                WantedKind::Made(kind) => kind.name(),
                WantedKind::Existing => "an existing link",
            };
            return self.push(&subject, "", kind.to_owned(), None);
        };
        let mut differs = |field: &str, same: bool, wanted: String, found: String| {
            if !same {
                self.findings.push(Finding {
                    subject: subject.clone(),
                    field: field.to_owned(),
                    wanted,
                    found: Some(found),
                });
            }
        };
        match &link.kind {
            WantedKind::Existing => {}
            WantedKind::Veth { peer } => {
                differs("kind", found.kind == Kind::Veth, "veth".to_owned(), found.kind.name().to_owned());
                let other = self.observed.links.get(peer);
                let same = other.is_none_or(|other| are_ends(found, other));
                differs("other end", same, show(peer), "another link".to_owned());
            }
            WantedKind::Made(kind) => {
                differs("kind", same_kind(kind, &found.kind), describe(kind), describe(&found.kind));
            }
        }
        // A shared link keeps its own properties, and more flags may be on.
        let adopted = link.life != Life::Attachment && link.kind != WantedKind::Existing;
        if !adopted {
            if let Some(mtu) = link.mtu {
                differs("MTU", mtu == found.mtu, mtu.to_string(), found.mtu.to_string());
            }
            if let Some(mac) = link.mac {
                let text = found.mac.map_or("none".to_owned(), format_mac);
                differs("MAC", found.mac == Some(mac), format_mac(mac), text);
            }
            if let Some(length) = link.transmit_queue_length {
                let is = found.transmit_queue_length;
                differs("transmit queue length", length == is, length.to_string(), is.to_string());
            }
        }
        let mut flag = |name: &str, wanted: Option<bool>, found: bool| {
            let text = |on| if on { "on" } else { "off" }.to_owned();
            if let Some(wanted) = wanted.filter(|wanted| *wanted || !adopted) {
                differs(name, wanted == found, text(wanted), text(found));
            }
        };
        flag("up", link.up, found.up);
        flag("promiscuous mode", link.promiscuous, found.promiscuous);
        flag("all-multicast mode", link.all_multicast, found.all_multicast);
        if let Some(port) = &link.port {
            let flags = found.port.unwrap_or_default();
            flag("hairpin mode", Some(port.hairpin), flags.hairpin);
            flag("port isolation", Some(port.isolated), flags.isolated);
        }
        if let Some(master) = &link.master {
            let same = found.master.as_ref() == Some(master);
            differs("master", same, master.clone(), found.master.clone().unwrap_or("none".to_owned()));
        }
        self.port_vlans(link, found);
        for address in &link.addresses {
            if !found.has_address(address.prefix) {
                self.push(&subject, "address", address.prefix.to_string(), None);
            } else if !address.bare && found.up {
                self.connected(&link.at, address.prefix);
            }
        }
    }

    fn port_vlans(&mut self, link: &Link, found: &state::Link) {
        let (Some(port), Some(master)) = (&link.port, &found.master) else { return };
        let master = LinkName { place: link.at.place, name: master.clone() };
        let Some(Kind::Bridge { vlan_filtering: true, default_vlan }) =
            self.observed.links.get(&master).map(|master| &master.kind)
        else {
            return;
        };
        let Some(wanted) = vlans::wanted(port, *default_vlan) else { return };
        let has = vlans::expand(&found.vlans);
        if has != wanted {
            let text = |vlans| {
                let range = |range: &weft_contract::plan::PortVlan| {
                    let ids = if range.first == range.last {
                        range.first.to_string()
                    } else {
                        format!("{}-{}", range.first, range.last)
                    };
                    let native = if range.native { " native" } else { "" };
                    let untagged = if range.untagged { " untagged" } else { "" };
                    format!("{ids}{native}{untagged}")
                };
                vlans::compress(vlans).iter().map(range).collect::<Vec<_>>().join(", ")
            };
            self.push(&show(&link.at), "VLANs", format!("[{}]", text(&wanted)), Some(format!("[{}]", text(&has))));
        }
    }

    /// The kernel's route to the network of an address.
    fn connected(&mut self, at: &LinkName, prefix: IpPrefix) {
        let is_it = |route: &Route| route.gateway.is_none() && route.destination.network() == prefix.network();
        if prefix.length < prefix.address.width() && !routes::through(&self.observed.routes, at).any(is_it) {
            self.push(&show(at), "route to", prefix.network().to_string(), None);
        }
    }

    fn routes(&mut self, wanted: &Wanted) {
        let observed = self.observed;
        for (at, route) in &wanted.routes {
            if !routes::through(&observed.routes, at).any(|found| routes::satisfies(found, route)) {
                self.push(&show(at), "route to", RouteText(route).to_string(), None);
            }
        }
        for (at, absent) in &wanted.absent_routes {
            let is_wanted =
                |found: &Route| routes::through(&wanted.routes, at).any(|route| routes::satisfies(found, route));
            for found in routes::through(&observed.routes, at) {
                if routes::is_meant(found, absent) && !is_wanted(found) {
                    let field = format!("route to {}", absent.destination);
                    self.push(&show(at), &field, "absent".to_owned(), Some(RouteText(found).to_string()));
                }
            }
        }
    }

    fn setting(&mut self, sysctl: &Sysctl) {
        let found = self.observed.sysctls.get(&(sysctl.place, sysctl.key.clone()));
        let same = match found {
            Some(found) => same_value(found, &sysctl.value),
            None => sysctl.lenient,
        };
        // What refused to be set, and might, isn't held against the attachment.
        if !same && !sysctl.lenient {
            let subject = match sysctl.place {
                Place::Sandbox => "the sandbox",
                Place::Host => "the host",
            };
            self.push(subject, &sysctl.key, sysctl.value.clone(), found.cloned());
        }
    }
}

fn same_kind(wanted: &Kind, found: &Kind) -> bool {
    match (wanted, found) {
        (
            Kind::Bridge { vlan_filtering, default_vlan },
            Kind::Bridge { vlan_filtering: filters, default_vlan: default },
        ) => vlan_filtering == filters && default_vlan.is_none_or(|id| id == default.unwrap_or(0)),
        _ => wanted == found,
    }
}

/// A kind with the properties that tell it from others of its name.
fn describe(kind: &Kind) -> String {
    let name = kind.name();
    match kind {
        Kind::Bridge { vlan_filtering: false, .. } => format!("{name} without VLAN filtering"),
        Kind::Bridge { default_vlan: None, .. } => format!("{name} with VLAN filtering"),
        Kind::Bridge { default_vlan: Some(id), .. } => format!("{name} with VLAN filtering and default VLAN {id}"),
        Kind::Macvlan { parent, mode } => format!("{name} on {parent} in mode {mode:?}"),
        Kind::Ipvlan { parent, mode } => format!("{name} on {parent} in mode {mode:?}"),
        Kind::Vlan { parent, id, protocol } => format!("{name} {id} ({protocol:?}) on {parent}"),
        Kind::Vrf { table } => format!("{name} of table {table}"),
        _ => name.to_owned(),
    }
}

fn list(prefixes: &[IpPrefix]) -> String {
    prefixes.iter().map(IpPrefix::to_string).collect::<Vec<_>>().join(", ")
}
