//! VLANs of a bridge port, one by one and as ranges.

use std::collections::BTreeMap;

use weft_contract::plan::{BridgePort, PortVlan};

use crate::problem::PlanError;

/// What a port does with one VLAN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Membership {
    /// Untagged frames that come in belong to it.
    pub(crate) native: bool,
    /// Its frames leave without a tag.
    pub(crate) untagged: bool,
}

/// By VLAN.
pub(crate) type Memberships = BTreeMap<u16, Membership>;

/// One by one, later ranges winning.
pub(crate) fn expand(ranges: &[PortVlan]) -> Memberships {
    let mut vlans = Memberships::new();
    for range in ranges {
        add(&mut vlans, range);
    }
    vlans
}

/// As the kernel adds a range: a native VLAN takes that place from another.
pub(crate) fn add(vlans: &mut Memberships, range: &PortVlan) {
    if range.native {
        vlans.values_mut().for_each(|membership| membership.native = false);
    }
    for id in range.first..=range.last.min(4095) {
        vlans.insert(id, Membership { native: range.native, untagged: range.untagged });
    }
}

/// As few ranges as there can be, ascending.
pub(crate) fn compress(vlans: &Memberships) -> Vec<PortVlan> {
    let mut ranges: Vec<PortVlan> = Vec::new();
    for (&id, &Membership { native, untagged }) in vlans {
        match ranges.last_mut() {
            Some(range) if range.last + 1 == id && !native && !range.native && range.untagged == untagged => {
                range.last = id
            }
            _ => ranges.push(PortVlan { first: id, last: id, native, untagged }),
        }
    }
    ranges
}

/// What a port has that just joined a bridge with this default VLAN.
pub(crate) fn default(default_vlan: Option<u16>) -> Memberships {
    let membership = Membership { native: true, untagged: true };
    default_vlan.filter(|id| *id != 0).map(|id| (id, membership)).into_iter().collect()
}

/// What a plan wants of a port of a bridge with this default VLAN; None: no wish.
pub(crate) fn wanted(port: &BridgePort, default_vlan: Option<u16>) -> Option<Memberships> {
    if port.vlans.is_empty() && !port.drop_default_vlan {
        return None;
    }
    let mut vlans = if port.drop_default_vlan { Memberships::new() } else { default(default_vlan) };
    for range in &port.vlans {
        add(&mut vlans, range);
    }
    Some(vlans)
}

/// What to remove and then to add, to come from one to the other; a VLAN whose flags change is removed and added.
pub(crate) fn between(from: &Memberships, to: &Memberships) -> (Vec<PortVlan>, Vec<PortVlan>) {
    let without = |left: &Memberships, right: &Memberships| {
        compress(
            &left.iter().filter(|(id, flags)| right.get(id) != Some(flags)).map(|(id, flags)| (*id, *flags)).collect(),
        )
    };
    (without(from, to), without(to, from))
}

pub(crate) fn check(field: &str, ranges: &[PortVlan]) -> Result<(), PlanError> {
    let mut seen = Memberships::new();
    let mut native = false;
    for range in ranges {
        for id in [range.first, range.last] {
            if !(1..=4094).contains(&id) {
                return Err(PlanError::VlanOutOfRange { field: field.to_owned(), id, lowest: 1 });
            }
        }
        if range.first > range.last || range.native && range.first != range.last {
            return Err(PlanError::VlanRange { field: field.to_owned(), first: range.first, last: range.last });
        }
        let twice = (range.first..=range.last).find(|id| seen.contains_key(id));
        if let Some(id) = twice.or((native && range.native).then_some(range.first)) {
            return Err(PlanError::VlanTwice { field: field.to_owned(), id });
        }
        native |= range.native;
        add(&mut seen, range);
    }
    Ok(())
}
