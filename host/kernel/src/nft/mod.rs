//! weft's nf_tables objects: what stands, and changing them in transactions.
//!
//! Owns: the tables `inet weft` ([`masquerade`]) and `bridge weft` ([`guard`]). Must not: touch any other table.
//! Invariants: what is made of several parts is made in one transaction, so it is there whole or not at all. What
//! belongs to somebody carries his name as comment and is only removed in his name; that nobody else's is removed
//! instead is sure, because the transaction names the generation of the rule set that was looked at.

mod expression;
mod guard;
mod masquerade;
mod message;
mod owned;

use std::collections::BTreeMap;

use nix::errno::Errno;
use nix::libc;
use weft_contract::types::{IpPrefix, MacAddress};
use weft_executor::operation::Operation;
use weft_executor::state::{Filter, Guard, Masquerade, Scope};
use weft_executor::{Failure, KernelError};

use crate::error::{Refusal, plain};
use crate::explain;
use crate::nft::message::{Element, Table};
use crate::socket::{Protocol, Socket};
use crate::system::System;
use crate::wire::Request;

/// How often a change is tried again because somebody else changed the rule set meanwhile.
const ATTEMPTS: usize = 16;
const UNAVAILABLE: &str = "nf_tables is not available in this kernel (CONFIG_NF_TABLES, CONFIG_NF_TABLES_INET, \
                           CONFIG_NF_TABLES_BRIDGE)";

/// Whether an operation changes nf_tables.
pub(crate) fn concerns(operation: &Operation) -> bool {
    use Operation::*;
    matches!(
        operation,
        CreateMasqueradeTable
            | DeleteMasqueradeTable
            | CreateExceptions { .. }
            | DeleteExceptions { .. }
            | AddMasquerade { .. }
            | RemoveMasquerade { .. }
            | CreateGuardTable
            | DeleteGuardTable
            | AddGuard { .. }
            | RemoveGuard { .. }
    )
}

pub(crate) fn socket(system: &mut System) -> Result<&mut Socket, Refusal> {
    if system.netfilter.is_none() {
        system.netfilter = Some(Socket::open(Protocol::Netfilter)?);
    }
    system.netfilter.as_mut().ok_or_else(|| Errno::EBADF.into())
}

// === looking ===

/// Those of weft's objects that a scope names.
pub(crate) fn observe(system: &mut System, scope: &Scope) -> Result<Filter, KernelError> {
    let mut filter = Filter::default();
    let failed = |refusal: Refusal| explain_unavailable(&refusal, "look at nf_tables");
    if !scope.masquerades.is_empty() || !scope.exceptions.is_empty() {
        observe_masquerades(system, scope, &mut filter).map_err(failed)?;
    }
    if !scope.guards.is_empty() {
        filter.guard_table = stands(system, guard::TABLE).map_err(failed)?;
    }
    if filter.guard_table {
        for port in &scope.guards {
            let Some(element) = element(system, guard::GUARDED, &guard::port_key(port)).map_err(failed)? else {
                continue;
            };
            // A guarded port without a station lets nothing in; no station has this MAC.
            let mac = stations(system, port).map_err(failed)?.pop().unwrap_or_default();
            filter.guards.insert(port.clone(), Guard { mac, owner: element.comment });
        }
    }
    Ok(filter)
}

/// Table, chains and elements in one go.
fn observe_masquerades(system: &mut System, scope: &Scope, filter: &mut Filter) -> Result<(), Refusal> {
    let chains: Vec<String> = scope.exceptions.iter().map(|except| masquerade::chain_of(except)).collect();
    let addresses: Vec<_> =
        scope.masquerades.iter().filter_map(|source| Some((*source, masquerade::slot(*source)?))).collect();
    let mut requests = vec![masquerade::TABLE.get_chain(masquerade::BASE)];
    requests.extend(chains.iter().map(|chain| masquerade::TABLE.get_chain(chain)));
    requests.extend(addresses.iter().map(|(_, (map, key))| map.get(key)));
    let mut answers = match ask(system, &requests) {
        Ok(answers) => answers.into_iter(),
        Err(refusal) if is_unavailable(&refusal) => return Ok(()),
        Err(refusal) => return Err(refusal),
    };
    let uses = answers.next().flatten().and_then(|reply| message::parse_chain_use(&reply));
    filter.masquerade_table = uses.is_some_and(|uses| uses >= masquerade::BASE_RULES);
    if !filter.masquerade_table {
        return Ok(());
    }
    let mut lists = BTreeMap::new();
    for (except, chain) in scope.exceptions.iter().zip(chains) {
        if answers.next().flatten().is_some() {
            filter.exceptions.insert(except.clone());
        }
        lists.insert(chain, except.clone());
    }
    let mut found: Vec<(IpPrefix, String, String)> = Vec::new();
    for (source, _) in addresses {
        let element = answers.next().flatten().and_then(|reply| message::parse_elements(&reply).pop());
        found.extend(element.map(|element| (source, element.jump.unwrap_or_default(), element.comment)));
    }
    if scope.masquerades.iter().any(|source| masquerade::slot(*source).is_none()) {
        // Of several owners of a network the last is named.
        let rules = network_rules(system)?.into_iter().filter(|rule| scope.masquerades.contains(&rule.source));
        found.extend(rules.map(|rule| (rule.source, rule.chain, rule.owner)));
    }
    for (source, chain, owner) in found {
        let except = match lists.get(&chain) {
            Some(except) => except.clone(),
            None => exceptions(system, &chain)?,
        };
        filter.masquerades.insert(source, Masquerade { except, owner });
    }
    Ok(())
}

/// Whether a table is there with its base chain and the rules in it, which hold its sets and other chains in place.
fn stands(system: &mut System, table: Table) -> Result<bool, Refusal> {
    let (chain, rules) = if table == masquerade::TABLE {
        (masquerade::BASE, masquerade::BASE_RULES)
    } else {
        (guard::BASE, guard::BASE_RULES)
    };
    let answer = match socket(system) {
        Ok(socket) => socket.ask_one(table.get_chain(chain)),
        Err(refusal) => Err(refusal),
    };
    match answer {
        Ok(reply) => Ok(message::parse_chain_use(&reply).is_some_and(|uses| uses >= rules)),
        Err(refusal) if is_unavailable(&refusal) || refusal.is(Errno::ENOENT) => Ok(false),
        Err(refusal) => Err(refusal),
    }
}

/// The list that an exception chain was made from.
fn exceptions(system: &mut System, chain: &str) -> Result<Vec<IpPrefix>, Refusal> {
    let replies = dump(system, masquerade::TABLE.list_rules(chain))?;
    let rules = replies.iter().filter_map(message::parse_rule);
    Ok(masquerade::exceptions_of(rules.map(|rule| expression::parse_match(rule.expressions).0)))
}

/// A network's rule.
struct NetworkRule {
    handle: u64,
    source: IpPrefix,
    chain: String,
    owner: String,
}

fn network_rules(system: &mut System) -> Result<Vec<NetworkRule>, Refusal> {
    let replies = dump(system, masquerade::TABLE.list_rules(masquerade::NETWORKS))?;
    let parse = |reply| {
        let rule = message::parse_rule(reply)?;
        let (source, chain) = expression::parse_match(rule.expressions);
        Some(NetworkRule { handle: rule.handle, source: source?, chain: chain?, owner: rule.comment })
    };
    Ok(replies.iter().filter_map(parse).collect())
}

/// The MACs that may enter by a port.
fn stations(system: &mut System, port: &str) -> Result<Vec<MacAddress>, Refusal> {
    let replies = dump(system, guard::STATIONS.list())?;
    let elements = replies.iter().flat_map(message::parse_elements);
    Ok(elements.filter_map(|element| guard::mac_at(&element.key, port)).collect())
}

fn element(system: &mut System, set: message::Set, key: &[u8]) -> Result<Option<Element>, Refusal> {
    let reply = ask(system, &[set.get(key)])?.pop().flatten();
    Ok(reply.and_then(|reply| message::parse_elements(&reply).pop()))
}

/// Answers; None: there is no such thing.
fn ask(system: &mut System, requests: &[Request]) -> Result<Vec<Option<crate::wire::Reply>>, Refusal> {
    if requests.is_empty() {
        return Ok(Vec::new());
    }
    let answers = socket(system)?.ask(requests).into_iter();
    answers
        .map(|answer| match answer {
            Ok(reply) => Ok(Some(reply)),
            Err(refusal) if refusal.is(Errno::ENOENT) => Ok(None),
            Err(refusal) => Err(refusal),
        })
        .collect()
}

fn dump(system: &mut System, request: Request) -> Result<Vec<crate::wire::Reply>, Refusal> {
    match socket(system)?.dump(request) {
        Err(refusal) if refusal.is(Errno::ENOENT) => Ok(Vec::new()),
        other => other,
    }
}

// === changing ===

/// Carries operations out: all in one transaction where nothing is in the way, else one by one.
pub(crate) fn apply(system: &mut System, run: &[Operation]) -> Result<(), Failure> {
    if run.len() > 1 && together(system, run) {
        return Ok(());
    }
    for (index, operation) in run.iter().enumerate() {
        alone(system, operation).map_err(|error| Failure { index, error })?;
    }
    Ok(())
}

/// Whether one transaction did it all; if not, nothing is done.
fn together(system: &mut System, run: &[Operation]) -> bool {
    let mut transaction = Transaction::default();
    let prepared = run.iter().all(|operation| transaction.add(system, operation, false).is_ok());
    prepared && transaction.commit(system).is_ok()
}

/// Carries one operation out, whatever is there already.
fn alone(system: &mut System, operation: &Operation) -> Result<(), KernelError> {
    use Operation::*;
    if let AddMasquerade { owner, .. } | AddGuard { owner, .. } = operation
        && owner.len() > message::COMMENT
    {
        let cause = format!("its owner's name {owner:?} is longer than the {} bytes nf_tables takes", message::COMMENT);
        return Err(plain(explain::what(operation), cause, Errno::EINVAL));
    }
    let refused = |refusal: &Refusal| explain_refused(operation, refusal);
    let mut over = false;
    for _ in 0..ATTEMPTS {
        let mut transaction = Transaction::default();
        transaction.add(system, operation, over).map_err(|refusal| refused(&refusal))?;
        let Err(refusal) = transaction.commit(system) else { return Ok(()) };
        let exists = refusal.is(Errno::EEXIST) || refusal.is(Errno::EBUSY);
        match operation {
            // Somebody else changed the rule set between our look at it and our change.
            _ if refusal.is(Errno::ERESTART) => {}
            CreateMasqueradeTable if exists && stands(system, masquerade::TABLE).map_err(|r| refused(&r))? => {
                return Ok(());
            }
            CreateGuardTable if exists && stands(system, guard::TABLE).map_err(|r| refused(&r))? => return Ok(()),
            CreateExceptions { .. } if refusal.is(Errno::EEXIST) => return Ok(()),
            CreateMasqueradeTable | CreateGuardTable | AddMasquerade { .. } | AddGuard { .. } if exists && !over => {
                over = true;
            }
            // Gone, or in use: then it is not only ours.
            DeleteMasqueradeTable | DeleteGuardTable | DeleteExceptions { .. }
                if exists || refusal.is(Errno::ENOENT) =>
            {
                return Ok(());
            }
            RemoveMasquerade { .. } | RemoveGuard { .. } if refusal.is(Errno::ENOENT) => {}
            _ => return Err(refused(&refusal)),
        }
    }
    Err(plain(explain::what(operation), "somebody else keeps changing nf_tables; try again", Errno::EAGAIN))
}

/// Changes that happen together or not at all.
#[derive(Default)]
struct Transaction {
    /// The state of the rule set that the changes were chosen for, where they depend on it.
    generation: Option<u32>,
    requests: Vec<Request>,
}

impl Transaction {
    /// Adds what an operation needs. `over`: something is in its place and is to be replaced.
    fn add(&mut self, system: &mut System, operation: &Operation, over: bool) -> Result<(), Refusal> {
        use Operation::*;
        let flags = if over { 0 } else { libc::NLM_F_EXCL };
        let requests = match operation {
            CreateMasqueradeTable => masquerade::create_table(flags),
            DeleteMasqueradeTable => masquerade::delete_table(),
            CreateExceptions { except } => masquerade::create_exceptions(except),
            DeleteExceptions { except } => masquerade::delete_exceptions(except),
            AddMasquerade { source, except, owner } => {
                let mut requests = Vec::new();
                if over && let Some((map, key)) = masquerade::slot(*source) {
                    self.look(system)?;
                    if element(system, map, &key)?.is_some() {
                        requests.push(map.remove(&key));
                    }
                }
                requests.push(masquerade::add(*source, except, owner));
                requests
            }
            RemoveMasquerade { source, owner, .. } => {
                self.look(system)?;
                match masquerade::slot(*source) {
                    Some((map, key)) => {
                        let own = element(system, map, &key)?.filter(|element| element.comment == *owner);
                        own.map(|_| map.remove(&key)).into_iter().collect()
                    }
                    None => {
                        let rules = network_rules(system)?.into_iter();
                        rules
                            .filter(|rule| rule.source == source.network() && rule.owner == *owner)
                            .map(|rule| masquerade::TABLE.delete_rules(masquerade::NETWORKS, Some(rule.handle)))
                            .collect()
                    }
                }
            }
            CreateGuardTable => guard::create_table(flags),
            DeleteGuardTable => guard::delete_table(),
            AddGuard { port, mac, owner } => {
                let mut requests = Vec::new();
                if over {
                    self.look(system)?;
                    requests = remove_guard(system, port)?;
                }
                requests.extend(guard::add(port, *mac, owner));
                requests
            }
            RemoveGuard { port, mac, owner } => {
                self.look(system)?;
                let elements =
                    [(guard::GUARDED, guard::port_key(port)), (guard::STATIONS, guard::station_key(port, *mac))];
                let answers = ask(system, &elements.each_ref().map(|(set, key)| set.get(key)))?;
                let is_own = |answer: &Option<crate::wire::Reply>| {
                    let found = answer.as_ref().and_then(|reply| message::parse_elements(reply).pop());
                    found.is_some_and(|element| element.comment == *owner)
                };
                let own = elements.iter().zip(&answers).filter(|(_, answer)| is_own(answer));
                own.map(|((set, key), _)| set.remove(key)).collect()
            }
            _ => Vec::new(),
        };
        self.requests.extend(requests);
        Ok(())
    }

    /// Remembers the state of the rule set that is about to be looked at.
    fn look(&mut self, system: &mut System) -> Result<(), Refusal> {
        if self.generation.is_none() {
            let reply = socket(system)?.ask_one(message::get_generation())?;
            self.generation = message::parse_generation(&reply);
        }
        Ok(())
    }

    fn commit(self, system: &mut System) -> Result<(), Refusal> {
        if self.requests.is_empty() {
            return Ok(());
        }
        let mut requests = vec![message::begin(self.generation)];
        requests.extend(self.requests);
        let last = requests.len() - 1;
        requests.push(message::end());
        socket(system)?.transact(&requests, last).into_iter().collect()
    }
}

/// What takes a port's guard away, whoever's it is.
fn remove_guard(system: &mut System, port: &str) -> Result<Vec<Request>, Refusal> {
    let stations = stations(system, port)?.into_iter();
    let mut requests: Vec<Request> =
        stations.map(|mac| guard::STATIONS.remove(&guard::station_key(port, mac))).collect();
    if element(system, guard::GUARDED, &guard::port_key(port))?.is_some() {
        requests.push(guard::GUARDED.remove(&guard::port_key(port)));
    }
    Ok(requests)
}

// === words ===

/// The socket, the subsystem or the family is missing.
fn is_unavailable(refusal: &Refusal) -> bool {
    [Errno::EPROTONOSUPPORT, Errno::EOPNOTSUPP, Errno::EAFNOSUPPORT, Errno::EINVAL]
        .iter()
        .any(|errno| refusal.is(*errno))
}

fn explain_unavailable(refusal: &Refusal, what: &str) -> KernelError {
    let hint = if is_unavailable(refusal) { UNAVAILABLE } else { "" };
    refusal.explain(what, hint)
}

fn explain_refused(operation: &Operation, refusal: &Refusal) -> KernelError {
    use Operation::*;
    let hint = match (operation, Errno::from_raw(refusal.errno)) {
        (_, Errno::EPROTONOSUPPORT | Errno::EOPNOTSUPP | Errno::EAFNOSUPPORT) => UNAVAILABLE,
        (CreateMasqueradeTable | CreateExceptions { .. }, Errno::ENOENT) => {
            "this kernel's nf_tables can't masquerade (CONFIG_NFT_NAT, CONFIG_NFT_MASQ), or its table was removed"
        }
        (AddMasquerade { .. } | AddGuard { .. }, Errno::ENOENT) => {
            "weft's table or chain is gone: did somebody flush the rule set? Try again"
        }
        (CreateMasqueradeTable | CreateGuardTable, Errno::EEXIST | Errno::EBUSY) => {
            "a table named weft that isn't weft's is in the way; delete it (nft delete table)"
        }
        _ => "",
    };
    refusal.explain(explain::what(operation), hint)
}

/// Reads a payload as every kind of reply, for tests with noise.
#[cfg(test)]
pub(crate) fn read_anything(payload: &[u8]) {
    for kind in [message::NFT_MSG_NEWCHAIN, message::NFT_MSG_NEWRULE, message::NFT_MSG_NEWSETELEM] {
        let reply = crate::wire::Reply { kind, flags: 0, sequence: 0, payload: payload.to_vec() };
        let _ = message::parse_chain_use(&reply);
        let _ = message::parse_generation(&reply);
        if let Some(rule) = message::parse_rule(&reply) {
            let _ = expression::parse_match(rule.expressions);
        }
        for element in message::parse_elements(&reply) {
            let _ = guard::mac_at(&element.key, "p");
        }
    }
    let _ = expression::parse_match(payload);
}
