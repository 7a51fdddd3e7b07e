//! CHECK: whether what an ADD made still is as it was wanted.
//!
//! Owns: the comparison of a journal's wanted states with the kernel and of its addresses with the pools, and asking the
//! executables of a chain. No component is called.

use std::time::Instant;

use weft_cni::Error;
use weft_executor::Kernel as _;
use weft_executor::scope::scope_full;
use weft_executor::verify::{Finding, verify};
use weft_kernel::System;
use weft_store::leases::{Owner, Pool};

use crate::add::sandbox;
use crate::errors;
use crate::incoming::Incoming;
use crate::log::Log;
use crate::record::{Effect, Lease, Record, Story};
use crate::session::{LOCK_WAIT, Node, Session};

/// Runs a CHECK.
pub fn check(node: &Node, incoming: &Incoming, log: &Log) -> Result<(), Error> {
    let netns = sandbox(incoming)?;
    let deadline = Some(Instant::now() + LOCK_WAIT);
    let journal = node.state.find::<Record>(&incoming.key(), deadline).map_err(errors::of_store)?;
    let entry = journal.as_ref().and_then(|journal| journal.entry()).filter(|entry| !entry.void);
    let Some(entry) = entry else {
        return Err(Error::unknown_container(format!(
            "network {}: no attachment of container {} as {} is remembered in {}",
            incoming.network,
            incoming.container_id,
            incoming.ifname,
            node.settings.state_directory.display()
        )));
    };
    let story = Story::read(entry.records);
    if story.result.is_none() {
        return Err(Error::try_again(format!(
            "network {}: the ADD of container {} as {} never finished",
            incoming.network, incoming.container_id, incoming.ifname
        )));
    }
    let mut session = Session::new(node, incoming, log, System::new(netns), None);
    let found = problems(&mut session, &story)?;
    if !found.is_empty() {
        return Err(Error::internal(format!("network {}: {}", incoming.network, found.join("; "))));
    }
    for effect in &story.effects {
        if let Effect::Native(native, result) = effect {
            let previous = result.as_ref().or(story.result.as_ref());
            let version = match &native.config {
                serde_json::Value::Object(config) => incoming.version_of(config)?,
                _ => incoming.version,
            };
            if version.supports(weft_cni::Command::Check) {
                session.run_native("CHECK", native, previous, &incoming.netns)?;
            }
        }
    }
    Ok(())
}

/// What isn't as it was made, for people: the delegate that wants it, and what is there instead.
pub fn problems(session: &mut Session<'_>, story: &Story) -> Result<Vec<String>, Error> {
    let found = findings(session, story)?;
    let mut problems: Vec<String> =
        found.into_iter().map(|(delegate, finding)| format!("{delegate}: {finding}")).collect();
    for effect in &story.effects {
        if let Effect::Lease(lease) = effect {
            lost(session, lease, &mut problems)?;
        }
    }
    Ok(problems)
}

fn findings(session: &mut Session<'_>, story: &Story) -> Result<Vec<(String, Finding)>, Error> {
    let mut found = Vec::new();
    for (position, plan) in story.plans.iter().enumerate() {
        // What a later delegate wants otherwise is no fault of the earlier one's.
        let mut wanted = plan.wanted.clone();
        story.plans[position + 1..].iter().for_each(|later| wanted.yield_to(&later.wanted));
        let seen = session.kernel.observe(&scope_full(&wanted)).map_err(errors::of_kernel)?;
        found.extend(verify(&wanted, &seen).into_iter().map(|finding| (plan.delegate.clone(), finding)));
    }
    Ok(found)
}

/// The addresses of a lease that the pool has as free, or as somebody else's.
fn lost(session: &Session<'_>, lease: &Lease, problems: &mut Vec<String>) -> Result<(), Error> {
    let boot = session.node.state.boot().map_err(errors::of_store)?;
    let pool = Pool::open(&lease.data_dir, &lease.network, boot).map_err(errors::of_store)?;
    let held = pool.peek(Some(Instant::now() + LOCK_WAIT)).map_err(errors::of_store)?;
    let owner = Owner::new(&session.incoming.container_id, &lease.ifname);
    for ip in &lease.addresses {
        if !held.holds(&owner, *ip).map_err(errors::of_store)? {
            problems.push(format!(
                "address {ip} is not leased to container {} as {} any more in {}",
                session.incoming.container_id,
                lease.ifname,
                lease.data_dir.join(&lease.network).display()
            ));
        }
    }
    Ok(())
}
