//! Observations in parts: what is looked at for a second delegate adds to what was seen for the first.

use weft_contract::types::Place;

use crate::state::{Observed, Scope};

// === impl Scope ===

impl Scope {
    /// What of it another scope doesn't cover.
    pub fn without(mut self, other: &Self) -> Self {
        self.links.retain(|link| !other.links.contains(link));
        self.vlan_ports.retain(|port| !other.vlan_ports.contains(port));
        self.routes.retain(|place| !other.routes.contains(place));
        self.sysctls.retain(|key| !other.sysctls.contains(key));
        self.masquerades.retain(|source| !other.masquerades.contains(source));
        self.exceptions.retain(|list| !other.exceptions.contains(list));
        self.guards.retain(|port| !other.guards.contains(port));
        // The VLANs of a port are read with its link.
        let ports: Vec<_> = self.vlan_ports.iter().cloned().collect();
        self.links.extend(ports);
        self
    }

    /// Covers another scope, too.
    pub fn merge(&mut self, other: Self) {
        self.links.extend(other.links);
        self.vlan_ports.extend(other.vlan_ports);
        self.routes.extend(other.routes);
        self.sysctls.extend(other.sysctls);
        self.masquerades.extend(other.masquerades);
        self.exceptions.extend(other.exceptions);
        self.guards.extend(other.guards);
    }
}

// === impl Observed ===

impl Observed {
    /// Adds what was seen of another scope. What is known of a link already stays, because planned changes may stand
    /// there; only VLANs, which a first look may have left out, are taken over.
    pub fn merge(&mut self, other: Self) {
        for (at, link) in other.links {
            match self.links.entry(at) {
                std::collections::btree_map::Entry::Vacant(vacant) => {
                    vacant.insert(link);
                }
                std::collections::btree_map::Entry::Occupied(mut known) => {
                    if known.get().vlans.is_empty() {
                        known.get_mut().vlans = link.vlans;
                    }
                }
            }
        }
        for route in other.routes {
            if !self.routes.contains(&route) {
                self.routes.push(route);
            }
        }
        for (key, value) in other.sysctls {
            self.sysctls.entry(key).or_insert(value);
        }
        self.filter.masquerade_table |= other.filter.masquerade_table;
        self.filter.guard_table |= other.filter.guard_table;
        self.filter.exceptions.extend(other.filter.exceptions);
        for (source, masquerade) in other.filter.masquerades {
            self.filter.masquerades.entry(source).or_insert(masquerade);
        }
        for (port, guard) in other.filter.guards {
            self.filter.guards.entry(port).or_insert(guard);
        }
    }

    /// Forgets what was seen in a place whose links another program may have changed meanwhile.
    pub fn forget(&mut self, place: Place) {
        self.links.retain(|at, _| at.place != place);
        self.routes.retain(|(at, _)| at.place != place);
        self.sysctls.retain(|(of, _), _| *of != place);
    }
}
