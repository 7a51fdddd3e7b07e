//! Deleting a link without waiting for the kernel to let go of it.
//!
//! The acknowledgement of RTM_DELLINK takes some 15 ms (the kernel waits until nobody can hold the link any more); that
//! it is gone is announced after 0.3 ms. Whoever may not wait lets another process send the [`Removal`] and waits for
//! the announcement with a [`Watch`] of his own, opened before.

use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use weft_contract::types::{LinkName, Place};
use weft_executor::KernelError;
use weft_executor::operation::Operation;

use crate::error::plain;
use crate::socket::{Protocol, Socket};
use crate::system::System;
use crate::{apply, link, wire};

/// A request that deletes a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Removal {
    /// Where it is to be sent.
    pub place: Place,
    /// The link's index there.
    pub index: u32,
    /// A whole netlink message, for a route socket of that namespace.
    pub bytes: Vec<u8>,
}

/// A subscription to what becomes of a place's links.
pub struct Watch {
    socket: Socket,
}

// === impl System ===

impl System {
    /// The request that would delete what `creation` made at `at`; None: it is gone, or something else by now.
    pub fn delete_request(&mut self, at: &LinkName, creation: &Operation) -> Result<Option<Removal>, KernelError> {
        let index = apply::removable(self, at, creation)?;
        Ok(index.map(|index| Removal { place: at.place, index, bytes: link::delete(index).as_bytes().to_vec() }))
    }

    /// Subscribes to what becomes of a place's links from now on.
    pub fn watch(&mut self, place: Place) -> Result<Watch, KernelError> {
        let socket = self.inside(place, || {
            let mut socket = Socket::open(Protocol::Route)?;
            socket.join(libc::RTNLGRP_LINK)?;
            Ok(socket)
        })?;
        let socket = socket.map_err(|refusal: crate::error::Refusal| refusal.explain("watch links", ""))?;
        Ok(Watch { socket })
    }
}

// === impl Watch ===

impl Watch {
    /// Waits until a link is gone; false: it wasn't in time, or announcements were lost.
    pub fn wait_deleted(&mut self, index: u32, timeout: Duration) -> Result<bool, KernelError> {
        let failed = |errno: Errno| plain("wait for a link to go", errno.desc(), errno);
        let end = Instant::now() + timeout;
        loop {
            let replies = match self.socket.notifications() {
                // Too much was announced at once: what became of the link is for the caller to look up.
                Err(refusal) if refusal.is(Errno::ENOBUFS) => return Ok(false),
                other => other.map_err(|refusal| refusal.explain("wait for a link to go", ""))?,
            };
            let gone =
                |reply: &wire::Reply| reply.kind == libc::RTM_DELLINK && wire::u32_at(&reply.payload, 4) == index;
            if replies.iter().any(gone) {
                return Ok(true);
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(false);
            }
            let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
            match poll(&mut [PollFd::new(self.socket.descriptor(), PollFlags::POLLIN)], timeout) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(errno) => return Err(failed(errno)),
            }
        }
    }
}
