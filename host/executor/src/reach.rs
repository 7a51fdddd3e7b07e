//! Look, compare, record, change: from a wanted state to a kernel that has it.
//!
//! Owns: when to look again. Some changes make the kernel drop what it held (a link that moves to a routing domain or goes
//! down loses addresses and routes, an address takes others of its network along), so these are compared
//! again, three times at most. Two attachments that create one shared object at once: who comes second compares again and
//! adopts it. Invariant: no step is carried out before it was recorded.

use weft_contract::types::LinkName;

use crate::conflict::Conflict;
use crate::diff::diff;
use crate::operation::{Operation, Property, Step};
use crate::scope::{scope, scope_full};
use crate::state::{Kind, Observed};
use crate::wanted::Wanted;
use crate::{Failure, Kernel, KernelError};

const ROUNDS: usize = 3;
/// How often somebody else may have been quicker.
const RACES: usize = 4;
const EEXIST: i32 = 17;

/// What was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reached {
    /// All of it, in order.
    pub steps: Vec<Step>,
    /// What the scope names, after the steps: as seen, or as an observation of before becomes by the steps.
    pub observed_after: Observed,
}

/// The wanted state wasn't reached.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{cause}")]
pub struct ReachError<E> {
    /// What was or may have been carried out; the caller undoes it.
    pub steps: Vec<Step>,
    /// Why.
    pub cause: Box<ReachCause<E>>,
}

/// Why a wanted state wasn't reached.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReachCause<E> {
    /// The kernel could not be asked.
    #[error("{0}")]
    Observe(KernelError),
    /// Something is in the way.
    #[error("{0}")]
    Conflict(Conflict),
    /// The steps could not be recorded, so they were not carried out.
    #[error("{0}")]
    Record(E),
    /// A step failed; the index counts in `steps`.
    #[error("{0}")]
    Apply(Failure),
    /// However often it is changed, something else is left to do.
    #[error(
        "the state is not reached after {ROUNDS} rounds; something else changes it, or the kernel drops it: {next} is left to do"
    )]
    Unsettled {
        /// The name of the first operation that would come next.
        next: &'static str,
    },
}

/// Makes the kernel what is wanted. `record` is called with all steps so far before the last of them are carried out, and
/// with all but one where that one turned out to be another's work.
pub fn reach<E>(
    kernel: &mut dyn Kernel,
    wanted: &Wanted,
    record: &mut dyn FnMut(&[Step]) -> Result<(), E>,
) -> Result<Reached, ReachError<E>> {
    let mut steps: Vec<Step> = Vec::new();
    let result = reach_into(&mut steps, kernel, wanted, record);
    match result {
        Ok(observed_after) => Ok(Reached { steps, observed_after }),
        Err(cause) => Err(ReachError { steps, cause: Box::new(cause) }),
    }
}

fn reach_into<E>(
    steps: &mut Vec<Step>,
    kernel: &mut dyn Kernel,
    wanted: &Wanted,
    record: &mut dyn FnMut(&[Step]) -> Result<(), E>,
) -> Result<Observed, ReachCause<E>> {
    let (mut rounds, mut races) = (0, 0);
    let mut look_at = scope(wanted);
    loop {
        let observed = kernel.observe(&look_at).map_err(ReachCause::Observe)?;
        let next = diff(wanted, &observed).map_err(ReachCause::Conflict)?;
        let Some(first) = next.first() else { return Ok(observed) };
        if rounds == ROUNDS {
            return Err(ReachCause::Unsettled { next: first.operation.name() });
        }
        let start = steps.len();
        steps.extend(next);
        record(steps).map_err(ReachCause::Record)?;
        let operations: Vec<Operation> = steps[start..].iter().map(|step| step.operation.clone()).collect();
        match kernel.apply(&operations) {
            Ok(()) => {
                if let (false, Some(after)) = (may_not_settle(&operations, &observed), predict(&operations, &observed))
                {
                    return Ok(after);
                }
                rounds += 1;
            }
            Err(Failure { index, error }) => {
                let index = start + index;
                let lost = error.errno == EEXIST && steps.get(index).is_some_and(|step| step.shared);
                if !lost || races == RACES {
                    return Err(ReachCause::Apply(Failure { index, error }));
                }
                // Not ours, so not ours to undo.
                steps.remove(index);
                record(steps).map_err(ReachCause::Record)?;
                races += 1;
            }
        }
        look_at = scope_full(wanted);
    }
}

/// The observation after the operations; None where it depends on what wasn't observed.
fn predict(operations: &[Operation], observed: &Observed) -> Option<Observed> {
    let mut after = observed.clone();
    for operation in operations {
        // Its MAC or MTU is the kernel's choice.
        if let Operation::CreateLink { kind, mac, mtu, .. } = operation
            && (mac.is_none() || mtu.is_none() && kind.parent().is_some())
        {
            return None;
        }
        after.apply(operation).ok()?;
    }
    Some(after)
}

/// Whether the kernel may have dropped something by the way.
fn may_not_settle(operations: &[Operation], observed: &Observed) -> bool {
    operations.iter().any(|operation| match operation {
        Operation::SetLink { at, now: Property::Up(false), .. } => observed.links.contains_key(at),
        Operation::SetLink { at, now: Property::Master(now), was } => {
            let is_vrf =
                |name: &String| is_vrf(&LinkName { place: at.place, name: name.clone() }, operations, observed);
            let left = match was {
                Property::Master(was) => was.as_ref().is_some_and(is_vrf),
                _ => false,
            };
            observed.links.contains_key(at) && (left || now.as_ref().is_some_and(is_vrf))
        }
        // An IPv4 address takes those along that came later to its network.
        Operation::RemoveAddress { at, address } => observed.links.get(at).is_some_and(|link| {
            link.addresses
                .iter()
                .any(|other| other.prefix != address.prefix && other.prefix.network() == address.prefix.network())
        }),
        _ => false,
    })
}

fn is_vrf(at: &LinkName, operations: &[Operation], observed: &Observed) -> bool {
    let made = |operation: &Operation| match operation {
        Operation::CreateLink { at: made, kind: Kind::Vrf { .. }, .. } => made == at,
        _ => false,
    };
    observed.links.get(at).is_some_and(|link| matches!(link.kind, Kind::Vrf { .. })) || operations.iter().any(made)
}
