//! What the journals know, for people: every attachment with its state, and whether it still is as it was made.

use std::time::Duration;

use serde::Serialize;
use weft_cni::Error;
use weft_executor::undo::{Options, Undo, undo};
use weft_kernel::System;
use weft_store::{Key, Listed, Problem};

use crate::errors;
use crate::incoming::Incoming;
use crate::log::Log;
use crate::record::{Effect, Record, Story};
use crate::session::{Node, Session};
use crate::undo::reopen;

/// How an attachment stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// Made, and its namespace exists.
    Attached,
    /// Made, but its namespace is gone: DEL never came.
    Orphaned,
    /// Its ADD or DEL never finished, or runs at this moment.
    Unfinished,
    /// Of another boot: only its addresses may be left.
    Void,
    /// Of another version of weft, or damaged.
    Unreadable,
}

/// One attachment of the journals.
pub struct Known {
    /// Which.
    pub key: Option<Key>,
    /// How it stands.
    pub standing: Standing,
    /// CNI_NETNS of its ADD.
    pub netns: String,
    /// Since its last change.
    pub age: Duration,
    /// Addresses it holds in pools.
    pub addresses: Vec<String>,
    /// Its delegates, in order: component, network, interface.
    pub delegates: Vec<(String, String, String)>,
    /// Why it can't be read.
    pub problem: Option<String>,
    listed: Listed<Record>,
}

/// Every attachment that the journals know.
pub fn known(node: &Node) -> Result<Vec<Known>, Error> {
    let listed = node.state.list::<Record>().map_err(errors::of_store)?;
    Ok(listed.into_iter().filter(|listed| !matches!(listed.entry.problem, Some(Problem::Empty))).map(one).collect())
}

fn one(listed: Listed<Record>) -> Known {
    let story = Story::read(listed.entry.records.clone());
    let alive = story.begin.as_ref().is_some_and(|begin| reopen(&begin.netns, begin.netns_id).is_some());
    let standing = match (&listed.entry.problem, listed.entry.void, &story.result, alive) {
        (_, true, ..) => Standing::Void,
        (Some(_), ..) => Standing::Unreadable,
        (_, _, None, _) => Standing::Unfinished,
        (_, _, Some(_), true) => Standing::Attached,
        (_, _, Some(_), false) => Standing::Orphaned,
    };
    let addresses = story.effects.iter().filter_map(|effect| match effect {
        Effect::Lease(lease) => Some(lease.addresses.iter().map(ToString::to_string)),
        _ => None,
    });
    Known {
        key: listed.entry.key.clone(),
        standing,
        netns: story.begin.as_ref().map(|begin| begin.netns.clone()).unwrap_or_default(),
        age: listed.age(),
        addresses: addresses.flatten().collect(),
        delegates: story
            .plans
            .iter()
            .map(|plan| (plan.delegate.clone(), plan.network.clone(), plan.ifname.clone()))
            .collect(),
        problem: listed.entry.problem.as_ref().map(ToString::to_string),
        listed,
    }
}

/// What of an attachment isn't as it was made; works for configurations of every version.
pub fn examine(node: &Node, log: &Log, known: &Known) -> Result<Vec<String>, Error> {
    let Some(key) = &known.key else { return Ok(known.problem.iter().cloned().collect()) };
    match known.standing {
        Standing::Attached => {}
        Standing::Orphaned => return Ok(vec![format!("its namespace {} is gone", known.netns)]),
        Standing::Unfinished => return Ok(vec!["its ADD or DEL never finished".to_owned()]),
        Standing::Void => return Ok(vec!["it is of another boot".to_owned()]),
        Standing::Unreadable => return Ok(known.problem.iter().cloned().collect()),
    }
    let story = Story::read(known.listed.entry.records.clone());
    let netns = story.begin.as_ref().and_then(|begin| reopen(&begin.netns, begin.netns_id));
    let request = Incoming::of_journal(key, story.begin.as_ref(), netns.is_some());
    let mut session = Session::new(node, &request, log, System::new(netns), None);
    crate::check::problems(&mut session, &story)
}

/// Takes back an attachment, as a DEL would.
pub fn remove(node: &Node, log: &Log, known: &Known) -> Result<(), Error> {
    crate::gc::remove(node, log, &known.listed)
}

/// Removes shared objects that weft made and nobody uses; what was removed, for people.
pub fn collect_shared(node: &Node) -> Result<Vec<String>, Error> {
    let deadline = Some(std::time::Instant::now() + crate::session::LOCK_WAIT);
    let exclusive = node.state.exclusive(deadline).map_err(errors::of_store)?;
    crate::shared::collect(&node.state, &exclusive, &mut System::new(None), |_| true)
}

/// The operations that a DEL of an attachment carries out, for people.
pub fn undo_of(known: &Known) -> Vec<String> {
    let story = Story::read(known.listed.entry.records.clone());
    let gone = known.standing != Standing::Attached;
    let mut operations = Vec::new();
    for effect in story.effects.iter().rev() {
        match effect {
            Effect::Steps(steps) => {
                let options = Options { extent: Undo::Attachment, sandbox_gone: gone };
                operations.extend(undo(steps, options).iter().map(ToString::to_string));
            }
            Effect::Native(native, _) => operations.push(format!("run {} DEL", native.program.display())),
            Effect::Lease(_) => {}
        }
    }
    operations.extend(known.addresses.iter().map(|address| format!("give back {address}")));
    operations
}
