//! What can go wrong with the store.

use std::net::IpAddr;
use std::path::PathBuf;

use crate::journal::Key;

/// The result of everything in this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// A failure of the store. None of them is part of the CNI specification's reserved codes but 5 (I/O) for [`Error::Io`]
/// and 11 (try again later) for [`Error::Busy`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// A verb: "create", "lock" ...
        action: &'static str,
        /// What it was about.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Another process holds a lock past the deadline.
    #[error(
        "another process{} holds the lock of {}: wait for it to finish, or end it",
        holder.map(|pid| format!(" (pid {pid})")).unwrap_or_default(), path.display()
    )]
    Busy {
        /// What is locked.
        path: PathBuf,
        /// Who holds it, when `/proc/locks` says so.
        holder: Option<i32>,
    },
    /// Two keys have the same digest.
    #[error("{} is the journal of another attachment: network {:?}, container {:?}, interface {:?}, type {:?}",
        path.display(), found.network, found.container_id, found.ifname, found.kind)]
    Collision {
        /// The journal's directory.
        path: PathBuf,
        /// Whose journal it is.
        found: Box<Key>,
    },
    /// A record can't be added to this journal: it has to be started over, or removed.
    #[error("cannot add to the journal {}: {problem}", path.display())]
    NotAppendable {
        /// The log.
        path: PathBuf,
        /// Why not.
        problem: Problem,
    },
    /// A record has no JSON form.
    #[error("cannot write a record as JSON to {}: {source}", path.display())]
    Encode {
        /// Where it was to go.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
    /// A reserved address turned out to be leased to somebody who took no lock.
    #[error("address {ip} in {} was taken meanwhile by a process that doesn't honour the lock there", path.display())]
    Taken {
        /// The address.
        ip: IpAddr,
        /// The directory of the network.
        path: PathBuf,
    },
    /// A network's name can't be the name of a directory.
    #[error(
        "network name {0:?} can't name a directory of leases: it must not be empty, \".\", \"..\" or contain \"/\" or NUL"
    )]
    Name(String),
    /// An owner can't be told from another one in a lease file.
    #[error(
        "container id {container_id:?} with interface {ifname:?} can't own a lease: the container id must not be empty or contain a line break"
    )]
    Owner {
        /// The container id.
        container_id: String,
        /// The interface's name.
        ifname: String,
    },
}

/// What is wrong with a journal that was found. It can always be removed, and started over where the key is known.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// A directory without a record: nothing had begun when the process died, or it is just beginning.
    #[error("nothing was recorded yet")]
    Empty,
    /// Written by another version of weft.
    #[error("its format is {0}, this weft knows format 1")]
    Format(u64),
    /// From this line on, counted from 1, it can't be understood.
    #[error("line {line} can't be read: {reason}")]
    Unreadable {
        /// The line, from 1 (the header).
        line: usize,
        /// What the parser says.
        reason: String,
    },
    /// It was written before the last reboot: what it tells of is gone.
    #[error("it is of another boot")]
    Void,
}
