//! From the steps that were (perhaps) carried out to the operations that take them back.
//!
//! Owns: the order, which is the reverse one; what needs no undo of its own because it goes with a link that these steps
//! created; what is left to others; and what must not be put back any more ([`restorable`]).
//!
//! Order of a usual DEL: the link of the host goes first, then guard and masquerade elements. With the link gone no
//! packet of the container is on its way any more, so none leaves under the container's own address, or with a forged MAC, between
//! the two. Connections that are tracked keep their translation until they time out either way.

use std::collections::BTreeSet;

use weft_contract::types::{LinkName, Place};

use crate::operation::{Operation, Property, Step};
use crate::state::{Observed, Scope, link_of_key, same_value};
use crate::vlans;

/// How much is taken back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Undo {
    /// What belongs to the attachment: DEL.
    #[default]
    Attachment,
    /// Shared objects that these steps made, too: an ADD that failed.
    Everything,
}

/// What to take back, and under which circumstances.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// How much.
    pub extent: Undo,
    /// The sandbox's namespace doesn't exist any more: nothing in it is to be undone, or can be.
    pub sandbox_gone: bool,
}

/// The operations that take steps back, in order. They are right whichever of the steps were carried out, but those
/// that put back an older value need [`restorable`] unless [`undo_scope`] says that there are none.
pub fn undo(steps: &[Step], options: Options) -> Vec<Operation> {
    let ours: Vec<&Operation> = steps
        .iter()
        .filter(|step| options.extent == Undo::Everything || !step.shared)
        .map(|step| &step.operation)
        .collect();
    let mut created: BTreeSet<&LinkName> = BTreeSet::new();
    for operation in &ours {
        match operation {
            Operation::CreateVeth { first, second } => created.extend([&first.at, &second.at]),
            Operation::CreateLink { at, .. } => {
                created.insert(at);
            }
            _ => {}
        }
    }
    let mut undo: Vec<Operation> = Vec::new();
    for operation in ours.into_iter().rev() {
        let inverse = match operation {
            Operation::CreateVeth { first, second } if options.sandbox_gone => {
                // One end is enough, if the namespace's end hasn't taken both already.
                let host = [first, second].into_iter().find(|end| end.at.place == Place::Host);
                host.map(|end| Operation::DeleteLink { at: end.at.clone(), creation: Box::new(operation.clone()) })
            }
            _ if goes_with(operation, |at| created.contains(at)) => None,
            _ if options.sandbox_gone && place(operation) == Place::Sandbox => None,
            _ => operation.inverse(),
        };
        // A step that was tried again after a race is there twice.
        undo.extend(inverse.filter(|inverse| undo.last() != Some(inverse)));
    }
    undo
}

/// What [`restorable`] has to know: empty where no operation puts back an older value.
pub fn undo_scope(operations: &[Operation]) -> Scope {
    let mut scope = Scope::default();
    for operation in operations {
        match operation {
            Operation::SetLink { at, .. } | Operation::AddAddress { at, .. } => {
                scope.links.insert(at.clone());
            }
            Operation::AddRoute { at, .. } => {
                scope.links.insert(at.clone());
                scope.routes.insert(at.place);
            }
            Operation::AddPortVlan { at, .. } => {
                scope.links.insert(at.clone());
                scope.vlan_ports.insert(at.clone());
            }
            Operation::WriteSysctl { place, key, .. } => {
                scope.sysctls.insert((*place, key.clone()));
            }
            Operation::AddMasquerade { source, except, .. } => {
                scope.masquerades.insert(*source);
                scope.exceptions.insert(except.clone());
            }
            Operation::AddGuard { port, .. } => {
                scope.guards.insert(port.clone());
            }
            _ => {}
        }
    }
    scope
}

/// Of the operations of an undo those that still are right, given what [`undo_scope`] names: a value is put back only
/// where it still is the one that was set, something removed only where it still is missing and its place still there.
pub fn restorable(operations: Vec<Operation>, observed: &Observed) -> Vec<Operation> {
    let mut state = observed.clone();
    let mut kept = Vec::new();
    for (index, operation) in operations.iter().enumerate() {
        let is_pointless = port(operation).is_some_and(|at| !left(at, &operations[index + 1..], &state));
        if !is_pointless && is_right(operation, &state) {
            // What isn't in the observation isn't asked about either.
            let _ = state.apply(operation);
            kept.push(operation.clone());
        }
    }
    kept
}

/// The link whose properties as a port an operation changes.
fn port(operation: &Operation) -> Option<&LinkName> {
    match operation {
        Operation::SetLink { at, now: Property::Port(_), .. }
        | Operation::AddPortVlan { at, .. }
        | Operation::RemovePortVlan { at, .. } => Some(at),
        _ => None,
    }
}

/// Whether the next change of a link's master, if there is one, still is right. Otherwise the link isn't at the master
/// where it got the properties that are taken back before.
fn left(at: &LinkName, next: &[Operation], state: &Observed) -> bool {
    let change = next.iter().find(
        |operation| matches!(operation, Operation::SetLink { at: link, now: Property::Master(_), .. } if link == at),
    );
    change.is_none_or(|change| is_right(change, state))
}

fn is_right(operation: &Operation, state: &Observed) -> bool {
    match operation {
        Operation::SetLink { at, was, .. } => state.links.get(at).is_some_and(|link| match was {
            Property::Up(up) => link.up == *up,
            Property::Mtu(mtu) => link.mtu == *mtu,
            Property::Mac(mac) => link.mac == Some(*mac),
            Property::Master(master) => link.master == *master,
            Property::Promiscuous(on) => link.promiscuous == *on,
            Property::AllMulticast(on) => link.all_multicast == *on,
            Property::TransmitQueueLength(length) => link.transmit_queue_length == *length,
            Property::Port(flags) => link.port == Some(*flags),
        }),
        Operation::WriteSysctl { place, key, was, .. } => {
            let found = state.sysctls.get(&(*place, key.clone()));
            found.zip(was.as_ref()).is_some_and(|(found, was)| same_value(found, was))
        }
        Operation::AddAddress { at, address } => {
            state.links.get(at).is_some_and(|link| !link.has_address(address.prefix))
        }
        Operation::AddRoute { at, route } => {
            state.links.contains_key(at) && !state.routes.contains(&(at.clone(), route.clone()))
        }
        Operation::AddPortVlan { at, vlan } => state.links.get(at).is_some_and(|link| {
            let has = vlans::expand(&link.vlans);
            link.port.is_some()
                && !vlans::expand(std::slice::from_ref(vlan)).iter().all(|(id, flags)| has.get(id) == Some(flags))
        }),
        Operation::AddMasquerade { source, except, .. } => {
            !state.filter.masquerades.contains_key(source) && state.filter.exceptions.contains(except)
        }
        Operation::AddGuard { port, .. } => !state.filter.guards.contains_key(port) && state.filter.guard_table,
        _ => true,
    }
}

/// Whether what an operation does lives on one of these links and so needs no undo when that one is deleted.
fn goes_with(operation: &Operation, is_created: impl Fn(&LinkName) -> bool) -> bool {
    match operation {
        Operation::SetLink { at, .. }
        | Operation::AddAddress { at, .. }
        | Operation::RemoveAddress { at, .. }
        | Operation::AddRoute { at, .. }
        | Operation::RemoveRoute { at, .. }
        | Operation::AddPortVlan { at, .. }
        | Operation::RemovePortVlan { at, .. } => is_created(at),
        Operation::WriteSysctl { place, key, .. } => {
            link_of_key(key).is_some_and(|name| is_created(&LinkName { place: *place, name: name.to_owned() }))
        }
        _ => false,
    }
}

fn place(operation: &Operation) -> Place {
    match operation {
        Operation::CreateVeth { first, second } => first.at.place.max(second.at.place),
        Operation::CreateLink { at, .. }
        | Operation::DeleteLink { at, .. }
        | Operation::SetLink { at, .. }
        | Operation::AddAddress { at, .. }
        | Operation::RemoveAddress { at, .. }
        | Operation::AddRoute { at, .. }
        | Operation::RemoveRoute { at, .. }
        | Operation::AddPortVlan { at, .. }
        | Operation::RemovePortVlan { at, .. } => at.place,
        Operation::WriteSysctl { place, .. } => *place,
        _ => Place::Host,
    }
}
