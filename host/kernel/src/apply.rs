//! Carrying operations out: consecutive ones that go to the same socket in one message train.
//!
//! Owns: which operations go together, and what counts as done already. Wording is in `explain`, encoding in `link`,
//! `address`, `route`, `port` and `nft`.
//! Invariant: removing what is gone, or what by now is something else or somebody else's, succeeds and does nothing.

use nix::errno::Errno;
use weft_contract::types::{LinkName, Place};
use weft_executor::operation::{Operation, Property};
use weft_executor::state::Kind;
use weft_executor::{Failure, KernelError};

use crate::error::{Refusal, plain};
use crate::explain::{self, spoken_link};
use crate::link::Birth;
use crate::system::{System, is_absent, is_name};
use crate::wire::Request;
use crate::{address, link, nft, port, route, sysctl};

/// Where an operation goes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Lane {
    Route(Place),
    Sysctl(Place),
    Filter,
}

/// Carries operations out in order.
pub(crate) fn apply(system: &mut System, operations: &[Operation]) -> Result<(), Failure> {
    if weft_fault::ARMED {
        return one_at_a_time(system, operations);
    }
    let mut start = 0;
    for run in operations.chunk_by(|one, next| lane(one) == lane(next)) {
        carry_out(system, run).map_err(|failure| Failure { index: start + failure.index, ..failure })?;
        start += run.len();
    }
    Ok(())
}

/// With a moment before and after each, at which a test may kill the process or make the operation fail.
fn one_at_a_time(system: &mut System, operations: &[Operation]) -> Result<(), Failure> {
    for (index, operation) in operations.iter().enumerate() {
        let name = operation.name();
        weft_fault::point("before", name);
        if weft_fault::fails(name) {
            return Err(Failure { index, error: plain(explain::what(operation), "made to fail", Errno::EIO) });
        }
        carry_out(system, std::slice::from_ref(operation)).map_err(|failure| Failure { index, ..failure })?;
        weft_fault::point("after", name);
    }
    Ok(())
}

fn lane(operation: &Operation) -> Lane {
    use Operation::*;
    match operation {
        CreateVeth { first, .. } => Lane::Route(first.at.place),
        CreateLink { at, kind, .. } => Lane::Route(birthplace(at, kind)),
        DeleteLink { at, .. }
        | SetLink { at, .. }
        | AddAddress { at, .. }
        | RemoveAddress { at, .. }
        | AddRoute { at, .. }
        | RemoveRoute { at, .. }
        | AddPortVlan { at, .. }
        | RemovePortVlan { at, .. } => Lane::Route(at.place),
        WriteSysctl { place, .. } => Lane::Sysctl(*place),
        CreateMasqueradeTable | DeleteMasqueradeTable | CreateGuardTable | DeleteGuardTable => Lane::Filter,
        CreateExceptions { .. } | DeleteExceptions { .. } => Lane::Filter,
        AddMasquerade { .. } | RemoveMasquerade { .. } | AddGuard { .. } | RemoveGuard { .. } => Lane::Filter,
    }
}

/// Where the request that creates a link is sent: to the namespace of its parent, which for a link of the sandbox is
/// the host's.
fn birthplace(at: &LinkName, kind: &Kind) -> Place {
    match kind {
        Kind::Macvlan { .. } | Kind::Ipvlan { .. } | Kind::Vlan { .. } => Place::Host,
        _ => at.place,
    }
}

/// Carries out operations of one lane.
fn carry_out(system: &mut System, run: &[Operation]) -> Result<(), Failure> {
    match run.first().map(lane) {
        None => Ok(()),
        Some(Lane::Route(place)) => {
            let mut train = Train { place, waiting: Vec::new() };
            for (index, operation) in run.iter().enumerate() {
                train.take(system, index, operation)?;
            }
            train.send(system)
        }
        Some(Lane::Sysctl(place)) => settings(system, place, run),
        Some(Lane::Filter) => nft::apply(system, run),
    }
}

fn settings(system: &mut System, place: Place, run: &[Operation]) -> Result<(), Failure> {
    let write_all = || {
        for (index, operation) in run.iter().enumerate() {
            if let Operation::WriteSysctl { key, now, lenient, .. } = operation {
                sysctl::write(key, now, *lenient).map_err(|error| Failure { index, error })?;
            }
        }
        Ok(())
    };
    system.inside(place, write_all).map_err(|error| Failure { index: 0, error })?
}

/// rtnetlink requests that are sent together.
struct Train<'a> {
    place: Place,
    waiting: Vec<(usize, &'a Operation, Request)>,
}

impl<'a> Train<'a> {
    fn take(&mut self, system: &mut System, index: usize, operation: &'a Operation) -> Result<(), Failure> {
        // An index that isn't known may be that of a link which a waiting request creates.
        if needs(operation).into_iter().any(|at| !system.knows(&at)) {
            self.send(system)?;
        }
        let request = encode(system, operation).map_err(|error| Failure { index, error })?;
        self.waiting.extend(request.map(|request| (index, operation, request)));
        // What comes after may find another link under this name, or none.
        if let Operation::DeleteLink { at, .. } = operation {
            self.send(system)?;
            system.forget_link(at);
        }
        Ok(())
    }

    fn send(&mut self, system: &mut System) -> Result<(), Failure> {
        let waiting = std::mem::take(&mut self.waiting);
        let Some((first, ..)) = waiting.first() else { return Ok(()) };
        let requests: Vec<Request> = waiting.iter().map(|(.., request)| request.clone()).collect();
        let socket = system.socket(self.place).map_err(|error| Failure { index: *first, error })?;
        let results = socket.batch(&requests);
        for ((index, operation, _), result) in waiting.into_iter().zip(results) {
            match result {
                Err(refusal) if !is_done_already(operation, &refusal) => {
                    return Err(Failure { index, error: explain::refused(system, operation, &refusal) });
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// The links whose index the request for an operation has to name.
fn needs(operation: &Operation) -> Vec<LinkName> {
    use Operation::*;
    match operation {
        CreateVeth { first, .. } => {
            let master = first.master.clone();
            master.map(|name| LinkName { place: first.at.place, name }).into_iter().collect()
        }
        CreateLink { at, kind, .. } => {
            parent(kind).map(|name| LinkName { place: birthplace(at, kind), name: name.into() }).into_iter().collect()
        }
        SetLink { at, now, .. } => {
            let master = match now {
                Property::Master(Some(name)) => Some(LinkName { place: at.place, name: name.clone() }),
                _ => None,
            };
            [Some(at.clone()), master].into_iter().flatten().collect()
        }
        AddAddress { at, .. }
        | RemoveAddress { at, .. }
        | AddRoute { at, .. }
        | RemoveRoute { at, .. }
        | AddPortVlan { at, .. }
        | RemovePortVlan { at, .. }
        | DeleteLink { at, .. } => vec![at.clone()],
        _ => Vec::new(),
    }
}

fn parent(kind: &Kind) -> Option<&str> {
    match kind {
        Kind::Macvlan { parent, .. } | Kind::Ipvlan { parent, .. } | Kind::Vlan { parent, .. } => Some(parent),
        _ => None,
    }
}

fn is_done_already(operation: &Operation, refusal: &Refusal) -> bool {
    is_removal(operation) && is_absent(refusal)
}

fn is_removal(operation: &Operation) -> bool {
    use Operation::*;
    matches!(operation, DeleteLink { .. } | RemoveAddress { .. } | RemoveRoute { .. } | RemovePortVlan { .. })
}

/// The request for an operation; None: there is nothing to do.
fn encode(system: &mut System, operation: &Operation) -> Result<Option<Request>, KernelError> {
    use Operation::*;
    // Of a link that is gone nothing is left to remove.
    macro_rules! found {
        ($at:expr) => {
            match existing(system, $at)? {
                Some(index) => index,
                None => return Ok(None),
            }
        };
    }
    Ok(Some(match operation {
        CreateVeth { first, second } => {
            check_names([&first.at, &second.at], operation)?;
            let master = first.master.as_ref().map(|name| LinkName { place: first.at.place, name: name.clone() });
            let master = master.map(|master| required(system, &master, operation)).transpose()?;
            let there =
                if first.at.place == second.at.place { None } else { Some(system.netns(second.at.place)?.raw()) };
            link::create_veth(Birth::of(first, master, None), Birth::of(second, None, there))
        }
        CreateLink { at, kind, mac, mtu, up } => {
            check_names([at], operation)?;
            let birthplace = birthplace(at, kind);
            let parent = parent(kind).map(|name| LinkName { place: birthplace, name: name.into() });
            let parent = parent.map(|parent| required(system, &parent, operation)).transpose()?;
            let netns = if birthplace == at.place { None } else { Some(system.netns(at.place)?.raw()) };
            let birth = Birth { name: &at.name, mac: *mac, mtu: *mtu, master: None, up: *up, netns };
            link::create_link(birth, kind, parent).ok_or_else(|| {
                plain(explain::what(operation), "a link of this kind can't be created this way", Errno::EOPNOTSUPP)
            })?
        }
        DeleteLink { at, creation } => match removable(system, at, creation)? {
            Some(index) => link::delete(index),
            None => return Ok(None),
        },
        SetLink { at, now, .. } => {
            let master = match now {
                Property::Master(Some(name)) => {
                    Some(required(system, &LinkName { place: at.place, name: name.clone() }, operation)?)
                }
                _ => None,
            };
            link::set(required(system, at, operation)?, now, master)
        }
        AddAddress { at, address } => address::add(required(system, at, operation)?, *address),
        RemoveAddress { at, address } => address::remove(found!(at), *address),
        AddRoute { at, route } => route::add(required(system, at, operation)?, route),
        RemoveRoute { at, route } => route::remove(found!(at), route),
        AddPortVlan { at, vlan } => port::add(required(system, at, operation)?, vlan),
        RemovePortVlan { at, vlan } => port::remove(found!(at), vlan),
        _ => return Ok(None),
    }))
}

/// The index of a link that may be gone, with its whole namespace.
fn existing(system: &mut System, at: &LinkName) -> Result<Option<u32>, KernelError> {
    if system.has(at.place) { system.index(at) } else { Ok(None) }
}

/// The index of a link that must be there.
fn required(system: &mut System, at: &LinkName, operation: &Operation) -> Result<u32, KernelError> {
    system
        .index(at)?
        .ok_or_else(|| plain(explain::what(operation), format!("there is no link {}", spoken_link(at)), Errno::ENODEV))
}

fn check_names<const N: usize>(names: [&LinkName; N], operation: &Operation) -> Result<(), KernelError> {
    match names.into_iter().find(|at| !is_name(&at.name)) {
        None => Ok(()),
        Some(at) => Err(plain(
            explain::what(operation),
            format!("{:?} is no name for a link: 1 to 15 bytes without a slash", at.name),
            Errno::EINVAL,
        )),
    }
}

/// The index of a link that an operation created, if it still is of that kind and nobody else depends on it.
pub(crate) fn removable(system: &mut System, at: &LinkName, creation: &Operation) -> Result<Option<u32>, KernelError> {
    if !system.has(at.place) {
        return Ok(None);
    }
    let Some(found) = system.find(at)? else { return Ok(None) };
    let kind = match creation {
        Operation::CreateVeth { .. } => "veth",
        Operation::CreateLink { kind, .. } => link::kernel_name(kind),
        _ => return Ok(None),
    };
    if found.kind != kind {
        return Ok(None);
    }
    // A bridge that others have joined since is theirs, too.
    if kind == "bridge" {
        let ports = system.socket(at.place)?.dump(link::list(Some(found.index)));
        let ports = ports.map_err(|refusal| refusal.explain(format!("list the ports of {}", at.name), ""))?;
        if ports.iter().filter_map(link::parse).any(|port| port.master == Some(found.index)) {
            return Ok(None);
        }
    }
    Ok(Some(found.index))
}
