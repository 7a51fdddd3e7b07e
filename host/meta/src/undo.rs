//! Taking back what a journal says was done.
//!
//! Owns: the order (the reverse one) and what is tolerated: whatever is gone already, a sandbox that doesn't exist any
//! more, executables that fail (remembered, and tried again by the next DEL). What belongs to others is left alone.

use std::time::Instant;

use weft_cni::Error;
use weft_engine::Clock;
use weft_executor::Kernel as _;
use weft_executor::operation::{Operation, Step};
use weft_executor::undo::{Options, Undo, restorable, undo, undo_scope};
use weft_json::Value;
use weft_kernel::{Netns, System};
use weft_store::journal::Shared;
use weft_store::leases::{Owner, Pool};

use crate::errors;
use crate::record::{Effect, Lease, Native, Story};
use crate::session::{LOCK_WAIT, Session};
use crate::shared;

/// Takes back an attachment that the journal tells of. `void`: it is of another boot, so that only addresses (which
/// survive a reboot) are still there.
pub(crate) fn story(session: &mut Session<'_>, story: &Story, void: bool) -> Result<(), Error> {
    if void {
        return leases(session, &story.effects);
    }
    let recorded = story.begin.as_ref().map(|begin| begin.netns_id);
    let same = recorded.is_none() || session.kernel.sandbox().and_then(Netns::identity) == recorded;
    if !same {
        // A namespace of the same path that came later: nothing in it is ours.
        let reopened = story.begin.as_ref().and_then(|begin| reopen(&begin.netns, begin.netns_id));
        session.kernel = System::new(reopened);
    }
    let gone = session.kernel.sandbox().is_none();
    take_back(session, &story.effects, Undo::Attachment, gone, story.result.as_ref())
}

/// The namespace that a journal names, if it still is that one.
pub(crate) fn reopen(path: &str, id: (u64, u64)) -> Option<Netns> {
    let netns = Netns::open(std::path::Path::new(path)).ok()??;
    (netns.identity() == Some(id)).then_some(netns)
}

/// Takes back an ADD that failed, with the shared objects it made where nobody else can be using them, and forgets it.
pub(crate) fn failed_add(mut session: Session<'_>, shared: Shared<'_>) -> Result<(), Error> {
    let effects = std::mem::take(&mut session.effects);
    let made: Vec<Step> = effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Steps(steps) => Some(steps.iter().filter(|step| step.shared).cloned()),
            _ => None,
        })
        .flatten()
        .collect();
    take_back(&mut session, &effects, Undo::Attachment, false, None)?;
    let Session { mut kernel, journal, node, .. } = session;
    if let Some(journal) = journal {
        journal.remove().map_err(errors::of_store)?;
    }
    if made.is_empty() {
        return Ok(());
    }
    // Only alone can be known that nobody has adopted what this ADD made; else garbage collection gets it.
    if let Some(exclusive) = shared.try_upgrade().map_err(errors::of_store)? {
        shared::collect(&node.state, &exclusive, &mut kernel, |step| made.contains(step))?;
    }
    Ok(())
}

fn take_back(
    session: &mut Session<'_>,
    effects: &[Effect],
    extent: Undo,
    sandbox_gone: bool,
    result: Option<&Value>,
) -> Result<(), Error> {
    let mut failures = Vec::new();
    for effect in effects.iter().rev() {
        match effect {
            Effect::Steps(steps) => {
                let operations = undo(steps, Options { extent, sandbox_gone });
                if let Err(error) = restore(session, operations) {
                    failures.push(error);
                }
            }
            Effect::Native(native, own) => {
                if let Err(error) = native_del(session, native, own.as_ref().or(result), sandbox_gone) {
                    failures.push(error);
                }
            }
            Effect::Lease(_) => {}
        }
    }
    // Addresses last: none may be given to another while this one still answers for it.
    if failures.is_empty()
        && let Err(error) = leases(session, effects)
    {
        failures.push(error);
    }
    join(failures)
}

/// Carries out operations that take something back, leaving out those that would put back an older value over somebody
/// else's.
fn restore(session: &mut Session<'_>, operations: Vec<Operation>) -> Result<(), Error> {
    let scope = undo_scope(&operations);
    let operations = if scope == weft_executor::state::Scope::default() {
        operations
    } else {
        let seen = session.kernel.observe(&scope).map_err(errors::of_kernel)?;
        restorable(operations, &seen)
    };
    if operations.is_empty() {
        return Ok(());
    }
    // A process that lives for one request has one thread, and a runtime that waits for its end.
    let result = match session.node.clock {
        Clock::Signal => session.kernel.apply_detached(&operations),
        Clock::Thread => session.kernel.apply(&operations),
    };
    result.map_err(|failure| {
        let operation = operations.get(failure.index).map(Operation::to_string).unwrap_or_default();
        errors::of_failure("", &operation, &failure)
    })
}

fn native_del(
    session: &Session<'_>,
    native: &Native,
    previous: Option<&Value>,
    sandbox_gone: bool,
) -> Result<(), Error> {
    let netns = if sandbox_gone { "" } else { session.incoming.netns.as_str() };
    session.run_native("DEL", native, previous, netns).map(drop)
}

fn leases(session: &Session<'_>, effects: &[Effect]) -> Result<(), Error> {
    for effect in effects {
        if let Effect::Lease(lease) = effect {
            release(session, lease)?;
        }
    }
    Ok(())
}

fn release(session: &Session<'_>, lease: &Lease) -> Result<(), Error> {
    let boot = session.node.state.boot().map_err(errors::of_store)?;
    let pool = Pool::open(&lease.data_dir, &lease.network, boot).map_err(errors::of_store)?;
    let owner = Owner::new(&session.incoming.container_id, &lease.ifname);
    let deadline = Some(Instant::now() + LOCK_WAIT);
    let Some(mut locked) = pool.lock_existing(deadline).map_err(errors::of_store)? else { return Ok(()) };
    locked.release_ips(&owner, &lease.addresses).map(drop).map_err(errors::of_store)
}

/// One error of several: all texts, the first one's code.
pub(crate) fn join(failures: Vec<Error>) -> Result<(), Error> {
    let mut failures = failures.into_iter();
    let Some(mut first) = failures.next() else { return Ok(()) };
    for other in failures {
        first.msg.push_str("; ");
        first.msg.push_str(&other.msg);
    }
    Err(first)
}
