//! Objects that outlive the attachment that made them: bridges, gateway addresses, forwarding, weft's nftables tables.
//!
//! Owns: remembering that weft made them (before they are made) and collecting those that nobody uses any more. Used is
//! what a journal's wanted state mentions, a bridge that has ports, and a chain or table that something still refers to
//! (the kernel refuses those). Must not: touch an object that weft didn't make.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use weft_cni::Error;
use weft_contract::types::{LinkName, Place};
use weft_executor::Kernel as _;
use weft_executor::operation::{Operation, Step};
use weft_executor::state::{Observed, Scope, forwarding_key, link_of_key};
use weft_executor::undo::{Options, Undo, restorable, undo, undo_scope};
use weft_executor::wanted::{Wanted, WantedKind};
use weft_kernel::System;
use weft_store::State;
use weft_store::journal::{Exclusive, Shared};

use crate::errors;
use crate::record::{Record, Story};

/// A shared object as it is remembered: the step that makes it, and its place in the order of making.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Object {
    step: Step,
}

/// Remembers the shared objects that these steps are about to make.
pub(crate) fn remember(shared: &Shared<'_>, steps: &[Step]) -> Result<(), Error> {
    for step in steps.iter().filter(|step| step.shared) {
        shared.record(&Object { step: step.clone() }).map_err(errors::of_store)?;
    }
    Ok(())
}

/// Removes remembered objects that `among` admits and nobody uses; what was removed, for people.
pub fn collect(
    state: &State,
    exclusive: &Exclusive<'_>,
    kernel: &mut System,
    among: impl Fn(&Step) -> bool,
) -> Result<Vec<String>, Error> {
    let used = Used::by_journals(state)?;
    let mut objects: Vec<(String, Step)> = Vec::new();
    for made in state.made::<Object>().map_err(errors::of_store)? {
        if let Some(object) = made.object {
            objects.push((made.name, object.step));
        }
    }
    objects.retain(|(_, step)| among(step));
    objects.sort_by_key(|(_, step)| rank(&step.operation));
    let links: BTreeSet<&str> = objects.iter().filter_map(|(_, step)| link(&step.operation)).collect();
    let masters = masters(kernel)?;
    // Bridges of others as well: what weft set on one serves whoever uses it.
    let busy: BTreeSet<String> = links
        .into_iter()
        .filter(|name| used.links.contains(*name) || masters.contains(*name))
        .map(str::to_owned)
        .collect();
    let mut forgotten = Vec::new();
    let mut steps = Vec::new();
    for (name, step) in objects {
        if !used.holds(&step.operation, &busy) {
            forgotten.push(name);
            steps.push(step);
        }
    }
    let removed = remove(kernel, &steps)?;
    for name in forgotten {
        exclusive.forget(&name).map_err(errors::of_store)?;
    }
    Ok(removed)
}

fn remove(kernel: &mut System, steps: &[Step]) -> Result<Vec<String>, Error> {
    let operations = undo(steps, Options { extent: Undo::Everything, sandbox_gone: true });
    let seen = observe(kernel, &operations)?;
    let mut removed = Vec::new();
    for operation in restorable(operations, &seen) {
        match kernel.apply(std::slice::from_ref(&operation)) {
            Ok(()) => removed.push(operation.to_string()),
            // A chain or table that an element of somebody's still leads to.
            Err(failure) if failure.error.errno == nix::errno::Errno::EBUSY as i32 => {}
            Err(failure) => return Err(errors::of_failure("", &operation.to_string(), &failure)),
        }
    }
    Ok(removed)
}

/// The links that have ports.
fn masters(kernel: &mut System) -> Result<BTreeSet<String>, Error> {
    let links = kernel.links(Place::Host).map_err(errors::of_kernel)?;
    Ok(links.into_iter().filter_map(|link| link.master).map(|master| master.name).collect())
}

fn observe(kernel: &mut System, operations: &[Operation]) -> Result<Observed, Error> {
    let scope = undo_scope(operations);
    if scope == Scope::default() {
        return Ok(Observed::default());
    }
    kernel.observe(&scope).map_err(errors::of_kernel)
}

/// Makers first, so that the undo, which goes the other way, removes what stands on them first.
fn rank(operation: &Operation) -> u8 {
    match operation {
        Operation::WriteSysctl { .. } => 0,
        Operation::CreateMasqueradeTable | Operation::CreateGuardTable => 1,
        Operation::CreateExceptions { .. } => 2,
        Operation::CreateLink { .. } | Operation::CreateVeth { .. } => 3,
        _ => 4,
    }
}

/// The host's link that an operation makes or changes.
fn link(operation: &Operation) -> Option<&str> {
    match operation {
        Operation::CreateLink { at, .. }
        | Operation::DeleteLink { at, .. }
        | Operation::SetLink { at, .. }
        | Operation::AddAddress { at, .. }
        | Operation::RemoveAddress { at, .. }
        | Operation::AddRoute { at, .. }
        | Operation::RemoveRoute { at, .. }
        | Operation::AddPortVlan { at, .. }
        | Operation::RemovePortVlan { at, .. } => (at.place == Place::Host).then_some(at.name.as_str()),
        Operation::WriteSysctl { place: Place::Host, key, .. } => link_of_key(key),
        _ => None,
    }
}

/// What live attachments rely on.
#[derive(Default)]
struct Used {
    /// Links on the host.
    links: BTreeSet<String>,
    /// Whole keys.
    settings: BTreeSet<String>,
    masquerades: bool,
    guards: bool,
    exceptions: BTreeSet<Vec<weft_contract::types::IpPrefix>>,
}

impl Used {
    fn by_journals(state: &State) -> Result<Self, Error> {
        let mut used = Self::default();
        for listed in state.list::<Record>().map_err(errors::of_store)? {
            if listed.entry.void {
                continue;
            }
            for plan in Story::read(listed.entry.records).plans {
                used.add(&plan.wanted);
            }
        }
        Ok(used)
    }

    fn add(&mut self, wanted: &Wanted) {
        for link in &wanted.links {
            if link.at.place == Place::Host {
                self.links.insert(link.at.name.clone());
                self.links.extend(link.master.clone());
                if let WantedKind::Veth { peer: LinkName { place: Place::Host, name } } = &link.kind {
                    self.links.insert(name.clone());
                }
            }
        }
        self.settings.extend(wanted.forwarding.iter().map(|family| forwarding_key(*family).to_owned()));
        self.masquerades |= !wanted.masquerades.is_empty();
        self.guards |= !wanted.guards.is_empty();
        self.exceptions.extend(wanted.masquerades.iter().map(|masquerade| masquerade.except.clone()));
    }

    fn holds(&self, operation: &Operation, busy: &BTreeSet<String>) -> bool {
        if let Some(link) = link(operation) {
            return busy.contains(link);
        }
        match operation {
            Operation::CreateVeth { first, second } => {
                [first, second].iter().any(|end| end.at.place == Place::Host && self.links.contains(&end.at.name))
            }
            // Forwarding serves bridges that stay, too.
            Operation::WriteSysctl { key, .. } => self.settings.contains(key) || !busy.is_empty(),
            Operation::CreateMasqueradeTable | Operation::DeleteMasqueradeTable => self.masquerades,
            Operation::CreateGuardTable | Operation::DeleteGuardTable => self.guards,
            Operation::CreateExceptions { except } | Operation::DeleteExceptions { except } => {
                self.exceptions.contains(except)
            }
            // Not shared.
            _ => true,
        }
    }
}
