//! CNI errors from what went wrong below: which code, and a text that names delegate, operation and cause.

use weft_cni::Error;
use weft_contract::types::{self, ConfigError};
use weft_engine::call::Failure as CallFailure;
use weft_engine::{CallError, LoadError};
use weft_executor::diff::Conflict;
use weft_executor::reach::{ReachCause, ReachError};
use weft_executor::resolve::PlanError;
use weft_executor::{Failure, KernelError};
use weft_kernel::NetnsError;

use crate::convert::OutcomeError;

/// From a call of a component; `at` is where its configuration stands in the request's.
pub(crate) fn of_call(delegate: &str, at: &str, error: CallError) -> Error {
    match error.why {
        CallFailure::Guest(error) => of_guest(delegate, at, error),
        CallFailure::Deadline(_) => Error::try_again(error.to_string()),
        CallFailure::Host { function, why } => {
            Error::io(format!("{delegate}: {function} could not be answered: {why}"))
        }
        _ => Error::internal(error.to_string()),
    }
}

fn of_guest(delegate: &str, at: &str, error: types::Error) -> Error {
    let named = |text: String| format!("{delegate}: {text}");
    match error {
        types::Error::InvalidConfig(ConfigError { pointer, found, allowed }) => {
            Error::invalid_config(&[at, &pointer].concat(), &found, &allowed).context(delegate)
        }
        types::Error::Unsupported(ConfigError { pointer, found, allowed }) => {
            Error::unsupported(&[at, &pointer].concat(), &found, &allowed).context(delegate)
        }
        types::Error::TryAgain(text) => Error::try_again(named(text)),
        types::Error::Exhausted(text) => Error::exhausted(named(text)),
        types::Error::Conflict(text) => Error::conflict(named(text)),
        types::Error::NotFound(text) => Error::not_found(named(text)),
        types::Error::Other(coded) => Error {
            code: if coded.code >= 110 { coded.code } else { 999 },
            msg: named(coded.message),
            details: coded.details,
        },
    }
}

/// From loading a component.
pub(crate) fn of_load(error: LoadError) -> Error {
    Error::internal(error.to_string())
}

/// From the store.
pub(crate) fn of_store(error: weft_store::Error) -> Error {
    match error {
        weft_store::Error::Busy { .. } | weft_store::Error::Taken { .. } => Error::try_again(error.to_string()),
        weft_store::Error::Name(_) | weft_store::Error::Owner { .. } => Error::environment(error.to_string()),
        _ => Error::io(error.to_string()),
    }
}

/// From a plan that contradicts itself or reaches too far: the component's fault.
pub(crate) fn of_plan(delegate: &str, error: PlanError) -> Error {
    Error::internal(format!("{delegate}: its plan is refused: {error}"))
}

/// From a plan whose outcome contradicts it.
pub(crate) fn of_outcome(delegate: &str, error: OutcomeError) -> Error {
    Error::internal(format!("{delegate}: its plan is refused: {error}"))
}

/// From a plan that the node as it is doesn't admit.
pub(crate) fn of_conflict(delegate: &str, conflict: &Conflict) -> Error {
    Error::conflict(format!("{delegate}: {conflict}"))
}

/// From looking at the kernel.
pub(crate) fn of_kernel(error: KernelError) -> Error {
    Error::internal(error.to_string())
}

/// From an operation.
pub(crate) fn of_failure(delegate: &str, operation: &str, failure: &Failure) -> Error {
    let separator = if delegate.is_empty() { "" } else { ": " };
    Error::internal(format!("{delegate}{separator}could not {operation}: {}", failure.error.cause))
}

/// From a network namespace that isn't to be had.
pub(crate) fn of_netns(error: NetnsError) -> Error {
    Error::invalid_netns(format!("CNI_NETNS: {error}"))
}

/// From a second try at a wanted state.
pub(crate) fn of_reach(delegate: &str, error: ReachError<Error>) -> Error {
    let ReachError { steps, cause } = error;
    match *cause {
        ReachCause::Observe(error) => of_kernel(error),
        ReachCause::Conflict(conflict) => of_conflict(delegate, &conflict),
        ReachCause::Record(error) => error,
        ReachCause::Apply(failure) => {
            let operation = steps.get(failure.index).map(|step| step.operation.to_string()).unwrap_or_default();
            of_failure(delegate, &operation, &failure)
        }
        other @ ReachCause::Unsettled { .. } => Error::internal(format!("{delegate}: {other}")),
    }
}
