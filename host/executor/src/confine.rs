//! What a plan may touch, whatever it says: its own links, the sandbox, and links that the administrator named.

use std::collections::BTreeSet;

use weft_contract::plan::Life;
use weft_contract::types::{LinkName, Place};

use crate::problem::PlanError;
use crate::wanted::{Wanted, WantedKind};

/// Links on the host that an attachment may touch besides those it creates.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Allowed {
    /// Named by the original configuration (or the plugin's default for a key left out), or in the previous result.
    pub host_links: BTreeSet<String>,
    /// May be used as a parent, but not changed: the links of the default routes.
    pub parents: BTreeSet<String>,
}

/// Refuses a plan that reaches beyond the sandbox, the links it creates for this attachment, and what is allowed.
///
/// A link that is made if absent and outlives the attachment isn't the plan's own: its name must be allowed, or be an
/// allowed name with a VLAN's number after a dot, or be the far end of such a pair.
pub fn confine(wanted: &Wanted, allowed: &Allowed) -> Result<(), PlanError> {
    let own = |name: &str| {
        wanted
            .links
            .iter()
            .any(|link| link.at.place == Place::Host && link.at.name == name && link.kind != WantedKind::Existing)
    };
    let check = |what: &dyn Fn() -> String, at: &LinkName| {
        if at.place == Place::Sandbox || own(&at.name) || allowed.host_links.contains(&at.name) {
            return Ok(());
        }
        Err(PlanError::NotConfined { what: what(), link: at.clone() })
    };
    for link in &wanted.links {
        let what = || format!("link {:?}", link.label);
        let permitted = match &link.kind {
            _ if link.at.place == Place::Sandbox => true,
            WantedKind::Existing => allowed.host_links.contains(&link.at.name),
            _ if link.life == Life::Attachment => true,
            WantedKind::Made(_) => allowed.names(&link.at.name),
            WantedKind::Veth { peer } => {
                allowed.names(&link.at.name) || peer.place == Place::Host && allowed.names(&peer.name)
            }
        };
        if !permitted {
            return Err(PlanError::NotConfined { what: what(), link: link.at.clone() });
        }
        let here = |name: &str| LinkName { place: link.at.place, name: name.to_owned() };
        if let Some(master) = &link.master {
            check(&|| format!("the master of link {:?}", link.label), &here(master))?;
        }
        if let WantedKind::Made(kind) = &link.kind
            && let Some(parent) = kind.parent().filter(|parent| !allowed.parents.contains(&parent.name))
        {
            check(&|| format!("the parent of link {:?}", link.label), &parent)?;
        }
    }
    for (at, route) in &wanted.routes {
        check(&|| format!("the route to {}", route.destination), at)?;
    }
    for (at, route) in &wanted.absent_routes {
        check(&|| format!("the absent route to {}", route.destination), at)?;
    }
    for guard in &wanted.guards {
        check(&|| "a source guard".to_owned(), &LinkName { place: Place::Host, name: guard.port.clone() })?;
    }
    Ok(())
}

// === impl Allowed ===

impl Allowed {
    fn names(&self, name: &str) -> bool {
        let of_a_vlan = |(link, vlan): (&str, &str)| {
            self.host_links.contains(link) && !vlan.is_empty() && vlan.bytes().all(|byte| byte.is_ascii_digit())
        };
        self.host_links.contains(name) || name.rsplit_once('.').is_some_and(of_a_vlan)
    }
}
