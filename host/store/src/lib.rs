//! What weft remembers on disk.
//!
//! Owns: the [`journal`] of attachments and of the shared objects weft made (under `/run/weft`), and the address
//! [`leases`] in the layout of the `host-local` plugin (under `/var/lib/cni/networks`), with their locks.
//! Must not: know what a record means (payloads are generic), touch the network, or start anything.
//!
//! Invariants:
//! - Every file appears whole: it is written under another name and renamed or linked, or it is appended to by one
//!   `write(2)` a line, and a torn last line is nothing. So a `kill -9` at any instruction leaves a state that reads.
//! - Nothing is synced to the disk. After a loss of power the kernel's network state is gone too, and both the journal
//!   and the leases of another boot are void.
//! - Locks are `flock(2)` on descriptors that close on exec; the kernel gives them back when a process dies.
//! - Who takes more than one lock takes them in this order: [`State::share`] or [`State::exclusive`], then
//!   [`State::lock`], then [`leases::Pool::lock`].

mod boot;
mod dir;
mod error;
pub mod journal;
pub mod leases;

pub use boot::Boot;
pub use error::{Error, Problem, Result};
pub use journal::{Attachment, Entry, Exclusive, Key, Listed, Made, Shared, State};
pub use leases::{Draft, Lease, Locked, Owner, Pool, Reservation};

/// The names of the kill points in this crate, one for each kind of change to the disk and each lock. A point is hit
/// as `before` and `after`.
pub const POINTS: &[&str] = &[
    "make-directory",
    "journal-mkdir",
    "journal-lock",
    "journal-create",
    "journal-append",
    "journal-cut",
    "journal-restart",
    "journal-rename",
    "journal-unlink",
    "journal-rmdir",
    "shared-lock",
    "shared-write",
    "shared-rename",
    "shared-unlink",
    "lease-lock",
    "lease-unlink",
    "lease-write",
    "lease-link",
    "lease-commit",
    "lease-rename",
];
