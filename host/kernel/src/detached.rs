//! Taking an attachment back without waiting for the kernel to let go of it.
//!
//! The acknowledgement of RTM_DELLINK comes after some 15 ms, when nobody can hold the link any more; its name and
//! addresses are free, and no packet passes, after 0.3 ms, which the kernel announces. So a forked child sends the
//! request and waits for the acknowledgement, and this process goes on when the announcement is there. The child also
//! keeps the nf_tables socket open, because the last one to close it after deletions waits as long.
//!
//! Invariants: when [`System::apply_detached`] returns, everything is done that [`weft_executor::Kernel::apply`] would have
//! done. The child holds no descriptor but these two sockets, so whoever waits for the end of this process's output
//! doesn't wait for it. If it can't be started, is killed, or an announcement is lost, this process does the work itself.

use std::os::fd::{AsRawFd as _, RawFd};
use std::time::{Duration, Instant};

use nix::libc;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork};
use weft_contract::types::LinkName;
use weft_executor::operation::Operation;
use weft_executor::{Failure, Kernel as _, KernelError};

use crate::removal::Removal;
use crate::system::System;
use crate::{link, nft};

/// How long an announcement is waited for before anything is looked at.
const PATIENCE: Duration = Duration::from_millis(20);
/// How long a child may take in all; the kernel needs 15 ms, and longer only under heavy load.
const LIMIT: Duration = Duration::from_secs(10);

// === impl System ===

impl System {
    /// As `apply`, for operations that take something back, without waiting for what can't be seen any more. Only for a
    /// process with one thread: the child is forked.
    pub fn apply_detached(&mut self, operations: &[Operation]) -> Result<(), Failure> {
        let deletes = |operation: &Operation| matches!(operation, Operation::DeleteLink { .. });
        let one_at_a_time = weft_fault::ARMED && weft_fault::detach().is_none();
        if one_at_a_time || !operations.iter().any(deletes) {
            return self.apply(operations);
        }
        // Links go first, as in every undo; what follows doesn't depend on them.
        for (index, operation) in operations.iter().enumerate() {
            if let Operation::DeleteLink { at, creation } = operation {
                self.delete_detached(at, creation, operations).map_err(|error| Failure { index, error })?;
            }
        }
        // Those that were deleted are gone, and that is no error.
        self.apply(operations)
    }

    fn delete_detached(
        &mut self,
        at: &LinkName,
        creation: &Operation,
        operations: &[Operation],
    ) -> Result<(), KernelError> {
        let Some(removal) = self.delete_request(at, creation)? else { return Ok(()) };
        let mut watch = self.watch(at.place)?;
        let mut kept = vec![self.socket(at.place)?.descriptor().as_raw_fd()];
        if operations.iter().any(nft::concerns) {
            // Without it there is nothing to remove either, as the operation itself will say.
            kept.extend(nft::socket(self).ok().map(|socket| socket.descriptor().as_raw_fd()));
        }
        let Some(child) = start(&removal, &kept) else { return Ok(()) };
        let end = Instant::now() + LIMIT;
        loop {
            if watch.wait_deleted(removal.index, PATIENCE)? || !self.exists(&removal)? {
                self.forget_link(at);
                return Ok(());
            }
            // Killed, or refused: the caller applies the operation itself.
            if has_ended(child) || Instant::now() >= end {
                return Ok(());
            }
        }
    }

    fn exists(&mut self, removal: &Removal) -> Result<bool, KernelError> {
        let found = self.look_up(removal.place, &[link::get_by_index(removal.index)])?;
        Ok(found.into_iter().any(|link| link.is_some()))
    }
}

fn has_ended(child: Pid) -> bool {
    !matches!(waitpid(child, Some(WaitPidFlag::WNOHANG)), Ok(WaitStatus::StillAlive))
}

/// Starts the child; None where the system has no room for one.
fn start(removal: &Removal, kept: &[RawFd]) -> Option<Pid> {
    let fate = weft_fault::detach();
    if fate == Some("refused") {
        return None;
    }
    // SAFETY: the process has one thread, so the child's copy of memory is consistent; the child makes system calls
    // only and ends without running anything of the parent's.
    #[allow(unsafe_code, reason = "a child that waits in the parent's place")]
    match unsafe { fork() } {
        Ok(ForkResult::Parent { child }) => Some(child),
        Ok(ForkResult::Child) => {
            close_all_but(kept);
            if fate == Some("killed") {
                // SAFETY: ends this child.
                #[allow(unsafe_code, reason = "as a killer would")]
                unsafe {
                    libc::raise(libc::SIGKILL);
                }
            }
            let message = removal.bytes.as_ptr().cast();
            // SAFETY: the message lives through the call, which returns when the kernel has let go of the link.
            #[allow(unsafe_code, reason = "neither returns through Rust")]
            unsafe {
                libc::send(kept[0], message, removal.bytes.len(), 0);
                libc::_exit(0)
            }
        }
        Err(_) => None,
    }
}

/// Closes every descriptor but these, with those of the runtime among them.
fn close_all_but(kept: &[RawFd]) {
    let mut first: RawFd = 0;
    let mut sorted = [RawFd::MAX; 2];
    for (slot, descriptor) in sorted.iter_mut().zip(kept) {
        *slot = *descriptor;
    }
    sorted.sort_unstable();
    for descriptor in sorted {
        close_range(first, descriptor.saturating_sub(1));
        first = descriptor.saturating_add(1);
    }
}

/// Closes descriptors from first to last; on kernels before 5.9 one by one, up to where weft's own can't lie beyond.
fn close_range(first: RawFd, last: RawFd) {
    if first > last {
        return;
    }
    // SAFETY: system calls; nothing in the child uses these descriptors any more.
    #[allow(unsafe_code, reason = "closing what the child must not hold")]
    unsafe {
        if libc::syscall(libc::SYS_close_range, first, last, 0) != 0 {
            for descriptor in first..=last.min(4096) {
                libc::close(descriptor);
            }
        }
    }
}
