//! GC: removes what belongs to attachments of a network that the runtime no longer knows.
//!
//! Owns: what counts as unknown. By journal: every attachment of this network and type that isn't listed. By address
//! store: every lease whose owner isn't listed and has no live journal of its own (a meta-plugin's delegates lease under
//! interface names that the runtime never saw).

use std::collections::BTreeSet;
use std::time::Instant;

use weft_cni::Error;
use weft_json::Value;
use weft_kernel::System;
use weft_store::Problem;
use weft_store::leases::{Owner, Pool};

use crate::delegates::Element;
use crate::errors;
use crate::incoming::Incoming;
use crate::log::Log;
use crate::planner;
use crate::record::{Effect, Native, Record, Story};
use crate::session::{LOCK_WAIT, Node, Session, data_dir};
use crate::undo::{self, join};

/// Runs a GC.
pub fn gc(node: &Node, incoming: &Incoming, log: &Log) -> Result<(), Error> {
    let valid: BTreeSet<(&str, &str)> = match &incoming.valid {
        Some(valid) => valid.iter().map(|(container, ifname)| (container.as_str(), ifname.as_str())).collect(),
        None => {
            return Err(Error::invalid_config(
                "/cni.dev~1valid-attachments",
                "nothing",
                "the list of attachments to keep; an empty list removes all",
            ));
        }
    };
    let mut failures = Vec::new();
    let keep = attachments(node, incoming, log, &valid, &mut failures)?;
    for (element, network) in networks(incoming)? {
        failures.extend(leases(node, &element, &network, &valid, &keep).err());
    }
    failures.extend(natives(node, incoming, log).err());
    join(failures)
}

/// Deletes unlisted attachments of this network; the owners of addresses that the others hold.
fn attachments(
    node: &Node,
    incoming: &Incoming,
    log: &Log,
    valid: &BTreeSet<(&str, &str)>,
    failures: &mut Vec<Error>,
) -> Result<Vec<Owner>, Error> {
    let mut keep = Vec::new();
    for listed in node.state.list::<Record>().map_err(errors::of_store)? {
        let Some(key) = listed.entry.key.clone() else {
            if listed.entry.problem == Some(Problem::Empty) {
                // Of a request that was killed before it wrote or after it removed its log; looking clears it away,
                // unless one that lives has it locked.
                let _ = node.state.find_listed(&listed, Some(Instant::now()));
            }
            continue;
        };
        let ours = key.network == incoming.network && key.kind == incoming.kind;
        if !ours || valid.contains(&(key.container_id.as_str(), key.ifname.as_str())) {
            let story = Story::read(listed.entry.records);
            keep.extend(story.effects.iter().filter_map(|effect| match effect {
                Effect::Lease(lease) => Some(Owner::new(&key.container_id, &lease.ifname)),
                _ => None,
            }));
            continue;
        }
        failures.extend(remove(node, log, &listed).err());
    }
    Ok(keep)
}

/// Takes one attachment back.
pub fn remove(node: &Node, log: &Log, listed: &weft_store::Listed<Record>) -> Result<(), Error> {
    let deadline = Some(Instant::now() + LOCK_WAIT);
    let _shared = node.state.share(deadline).map_err(errors::of_store)?;
    let Some(journal) = node.state.find_listed::<Record>(listed, deadline).map_err(errors::of_store)? else {
        return Ok(());
    };
    if let (Some(entry), Some(key)) = (journal.entry(), &listed.entry.key) {
        let story = Story::read(entry.records);
        let netns = story.begin.as_ref().and_then(|begin| undo::reopen(&begin.netns, begin.netns_id));
        let request = Incoming::of_journal(key, story.begin.as_ref(), netns.is_some());
        let mut session = Session::new(node, &request, log, System::new(netns), None);
        undo::story(&mut session, &story, entry.void)?;
    }
    journal.remove().map_err(errors::of_store)
}

/// The configurations whose address stores belong to this request, with their networks.
fn networks(incoming: &Incoming) -> Result<Vec<(Element, String)>, Error> {
    let mut networks = Vec::new();
    for attachment in incoming.attachments()? {
        for element in attachment.chain {
            networks.push((element, attachment.network.clone()));
        }
    }
    Ok(networks)
}

fn leases(
    node: &Node,
    Element { config, pointer, .. }: &Element,
    network: &str,
    valid: &BTreeSet<(&str, &str)>,
    keep: &[Owner],
) -> Result<(), Error> {
    let local = matches!(planner::ipam_type(config)?, Some(kind) if kind == "host-local");
    if !local && weft_json::get(config, "delegate").is_none() {
        return Ok(());
    }
    let data_dir = data_dir(config, pointer, &node.settings)?;
    let boot = node.state.boot().map_err(errors::of_store)?;
    let pool = Pool::open(&data_dir, network, boot).map_err(errors::of_store)?;
    let deadline = Some(Instant::now() + LOCK_WAIT);
    let Some(mut locked) = pool.lock_existing(deadline).map_err(errors::of_store)? else { return Ok(()) };
    let mut owners: Vec<Owner> = valid.iter().map(|(container, ifname)| Owner::new(container, ifname)).collect();
    owners.extend(keep.iter().cloned());
    locked.collect(&owners).map(drop).map_err(errors::of_store)
}

/// Executables that know GC are told, with the runtime's list.
fn natives(node: &Node, incoming: &Incoming, log: &Log) -> Result<(), Error> {
    let mut session = Session::new(node, incoming, log, System::new(None), None);
    let mut failures = Vec::new();
    for attachment in incoming.attachments()? {
        for element in &attachment.chain {
            let version = incoming.version_of(&element.config)?;
            if session.component(&element.kind)?.is_some() || !version.supports(weft_cni::Command::Gc) {
                continue;
            }
            let Ok(program) = session.executable(&element.kind) else { continue };
            let mut config = element.config.clone();
            if let Some(list) = weft_json::get(&incoming.config, "cni.dev/valid-attachments") {
                weft_json::set(&mut config, "cni.dev/valid-attachments", list.clone());
            }
            let native = Native { position: 0, program, config: Value::Object(config), ifname: String::new() };
            failures.extend(session.run_native("GC", &native, None, "").err());
        }
    }
    join(failures)
}
