//! What somebody has in weft's tables, found by his name.

use weft_executor::KernelError;
use weft_executor::operation::Operation;

use crate::error::Refusal;
use crate::nft::{dump, explain_unavailable, guard, is_unavailable, masquerade, message, network_rules};
use crate::system::System;

// === impl System ===

impl System {
    /// The operations that take away everything of one owner's in weft's nf_tables objects: for whoever has no record of
    /// what there is.
    pub fn removals_of(&mut self, owner: &str) -> Result<Vec<Operation>, KernelError> {
        match removals(self, owner) {
            Ok(found) => Ok(found),
            Err(refusal) if is_unavailable(&refusal) => Ok(Vec::new()),
            Err(refusal) => Err(explain_unavailable(&refusal, "look at nf_tables")),
        }
    }
}

fn removals(system: &mut System, owner: &str) -> Result<Vec<Operation>, Refusal> {
    let mut sources = Vec::new();
    for map in [masquerade::MAP_V4, masquerade::MAP_V6] {
        sources.extend(keys(system, map, owner)?.iter().filter_map(|key| masquerade::source_at(key)));
    }
    let rules = network_rules(system)?.into_iter().filter(|rule| rule.owner == owner);
    sources.extend(rules.map(|rule| rule.source));
    let stations = keys(system, guard::STATIONS, owner)?;
    let guards = stations.iter().filter_map(|key| guard::station_at(key));

    let owner = || owner.to_owned();
    let masquerades = sources.into_iter().map(|source| {
        // A removal goes by source and owner.
        Operation::RemoveMasquerade { source, except: Vec::new(), owner: owner() }
    });
    let guards = guards.map(|(port, mac)| Operation::RemoveGuard { port, mac, owner: owner() });
    Ok(masquerades.chain(guards).collect())
}

/// The keys of an owner's elements.
fn keys(system: &mut System, set: message::Set, owner: &str) -> Result<Vec<Vec<u8>>, Refusal> {
    let replies = dump(system, set.list())?;
    let elements = replies.iter().flat_map(message::parse_elements);
    Ok(elements.filter(|element| element.comment == owner).map(|element| element.key).collect())
}
