//! What has to be looked at.

use std::collections::BTreeSet;

use weft_contract::plan::Life;
use weft_contract::types::{LinkName, Place};

use crate::state::{Scope, forwarding_key};
use crate::wanted::{Link, Wanted, WantedKind};

/// What a diff for an attachment that doesn't exist yet depends on: nothing is asked about links beyond whether
/// their names are free if they are to be created.
pub fn scope(wanted: &Wanted) -> Scope {
    let new: BTreeSet<&LinkName> = wanted.links.iter().filter(|link| is_own(link)).map(|link| &link.at).collect();
    let mut scope = everything(wanted);
    scope.sysctls = settings(wanted, |link| !new.contains(&link.at));
    let old = |(at, _): &&(LinkName, _)| !new.contains(at);
    scope.routes = wanted.routes.iter().chain(&wanted.absent_routes).filter(old).map(|(at, _)| at.place).collect();
    scope
}

/// Everything that the wanted state says something about: for CHECK, for an attachment that exists already, and for
/// what has to be looked at again after a change.
pub fn scope_full(wanted: &Wanted) -> Scope {
    let mut scope = everything(wanted);
    scope.sysctls = settings(wanted, |_| true);
    scope.routes = wanted.routes.iter().chain(&wanted.absent_routes).map(|(at, _)| at.place).collect();
    for link in &wanted.links {
        if link.addresses.iter().any(|address| !address.bare) {
            scope.routes.insert(link.at.place);
        }
    }
    scope
}

/// Whether it is created for this attachment alone.
pub(crate) fn is_own(link: &Link) -> bool {
    link.life == Life::Attachment && link.kind != WantedKind::Existing
}

/// All but settings and routes.
fn everything(wanted: &Wanted) -> Scope {
    let mut scope = Scope::default();
    for link in &wanted.links {
        scope.links.insert(link.at.clone());
        let here = |name: &str| LinkName { place: link.at.place, name: name.to_owned() };
        scope.links.extend(link.master.as_deref().map(here));
        if let WantedKind::Made(kind) = &link.kind {
            scope.links.extend(kind.parent());
        }
        let has_vlans = link.port.as_ref().is_some_and(|port| port.drop_default_vlan || !port.vlans.is_empty());
        if has_vlans || link.kind == WantedKind::Existing && link.master.is_some() {
            scope.vlan_ports.insert(link.at.clone());
        }
    }
    scope.links.extend(wanted.routes.iter().chain(&wanted.absent_routes).map(|(at, _)| at.clone()));
    for masquerade in &wanted.masquerades {
        scope.masquerades.insert(masquerade.source);
        scope.exceptions.insert(masquerade.except.clone());
    }
    let port = |name: &str| LinkName { place: Place::Host, name: name.to_owned() };
    scope.links.extend(wanted.guards.iter().map(|guard| port(&guard.port)));
    scope.guards.extend(wanted.guards.iter().map(|guard| guard.port.clone()));
    scope
}

fn settings(wanted: &Wanted, relevant: impl Fn(&Link) -> bool) -> BTreeSet<(Place, String)> {
    let of_links = wanted.links.iter().filter(|link| relevant(link)).flat_map(|link| &link.sysctls);
    let mut keys: BTreeSet<_> =
        of_links.chain(&wanted.sysctls).map(|sysctl| (sysctl.place, sysctl.key.clone())).collect();
    keys.extend(wanted.forwarding.iter().map(|family| (Place::Host, forwarding_key(*family).to_owned())));
    keys
}
