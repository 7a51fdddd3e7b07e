//! The kernel's side of the executor: the one place where weft looks at and changes network state.
//!
//! Owns: network namespaces ([`Netns`]), netlink sockets, and what each [`Operation`](weft_executor::operation::Operation)
//! is in messages: rtnetlink for links, addresses and routes, nf_tables spoken directly for masquerade and guards, files
//! for settings. [`System`] implements [`weft_executor::Kernel`].
//!
//! Must not: decide what to do, know of attachments or journals, run programs, or be used on a thread that runs
//! asynchronous tasks (it changes the thread's network namespace for moments).

mod address;
mod apply;
mod detached;
mod error;
mod explain;
mod facts;
mod link;
mod netns;
mod nft;
mod observe;
mod port;
#[cfg(test)]
mod recorded;
mod removal;
mod route;
mod socket;
mod sysctl;
mod system;
mod wire;

pub use netns::{Netns, NetnsError};
pub use removal::{Removal, Watch};
pub use system::System;

use weft_executor::operation::Operation;
use weft_executor::state::{Observed, Scope};
use weft_executor::{Failure, Kernel, KernelError};

impl Kernel for System {
    fn observe(&mut self, scope: &Scope) -> Result<Observed, KernelError> {
        observe::observe(self, scope)
    }

    fn apply(&mut self, operations: &[Operation]) -> Result<(), Failure> {
        apply::apply(self, operations)
    }
}
