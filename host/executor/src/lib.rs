//! From the state that is wanted and the state that is to the operations between them.
//!
//! Owns: [`resolve`] (a contract plan with every name and MAC settled becomes [`wanted`]) and [`confine`] (what it may
//! touch), [`state`] (what was observed), [`scope`] (what to look at), [`operation`] (one kernel change with its undo),
//! [`diff`](mod@diff) (the pure function between them), [`model`] (what an operation makes of an observation), [`undo`],
//! [`verify`] and [`reach`] (all of it in order). The trait [`Kernel`] is what carries operations out.
//!
//! Must not: have effects, know of CNI, components, journals or policy. The crate `weft-kernel` acts.

pub mod confine;
mod conflict;
pub mod diff;
mod merge;
pub mod model;
pub mod operation;
mod problem;
pub mod reach;
pub mod resolve;
mod routes;
pub mod scope;
pub mod state;
pub mod text;
pub mod undo;
pub mod verify;
mod vlans;
pub mod wanted;

use operation::Operation;
use state::{Observed, Scope};

/// Something that can be looked at and changed: the real kernel, or a model of it in tests.
pub trait Kernel {
    /// Looks at what the scope names.
    fn observe(&mut self, scope: &Scope) -> Result<Observed, KernelError>;

    /// Carries operations out in order. Those after a failing one may have been carried out too (requests are
    /// pipelined); undoing all of them is always right, since an inverse of what wasn't done does nothing.
    fn apply(&mut self, operations: &[Operation]) -> Result<(), Failure>;
}

/// Why the kernel could not be asked or changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}: {cause}")]
pub struct KernelError {
    /// What was attempted, with the names it concerns.
    pub what: String,
    /// The kernel's answer, with its extended message where it gave one, and what to do where that is known.
    pub cause: String,
    /// Its number; 0 where there is none.
    pub errno: i32,
}

/// Which operation could not be carried out, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{error}")]
pub struct Failure {
    /// Its position in the list.
    pub index: usize,
    /// What the kernel said.
    pub error: KernelError,
}
