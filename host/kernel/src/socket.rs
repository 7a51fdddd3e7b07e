//! A netlink socket: sending requests, matching answers to them.
//!
//! Owns: sequence numbers, acknowledgements with extended messages, dumps and their interruption, buffer sizes.
//! The kernel answers within `send` (for a dump, the next part within each `recv`), so no read ever waits: an answer
//! that isn't there won't come. A socket belongs to the namespace in which it was opened.

use std::os::fd::{AsRawFd, BorrowedFd};

use netlink_sys::Socket as Inner;
use nix::errno::Errno;
use nix::libc::{NLM_F_ACK, NLM_F_DUMP};
use nix::sys::socket::{MsgFlags, recv, send, setsockopt, sockopt};

use crate::error::Refusal;
use crate::wire::{self, Reply, Request};

/// The kernel cuts the parts of a dump to what a reader offers, up to this.
const BUFFER: usize = 32 * 1024;
/// How often an interrupted dump is begun again.
const DUMP_ATTEMPTS: usize = 5;
/// Requests in one `send`: the errors of all of them fit the smallest receive buffer.
const PIPELINE: usize = 64;
/// Attributes of an error message.
const NLMSGERR_ATTR_MSG: u16 = 1;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_DUMP_INTR: u16 = 0x10;
const NLM_F_CAPPED: u16 = 0x100;

/// What the socket talks to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// rtnetlink.
    Route,
    /// nfnetlink.
    Netfilter,
}

pub(crate) struct Socket {
    inner: Inner,
    sequence: u32,
    buffer: Vec<u8>,
}

// === impl Socket ===

impl Socket {
    /// Opens a socket in the namespace of the calling thread.
    pub(crate) fn open(protocol: Protocol) -> Result<Self, Refusal> {
        let number = match protocol {
            Protocol::Route => netlink_sys::protocols::NETLINK_ROUTE,
            Protocol::Netfilter => netlink_sys::protocols::NETLINK_NETFILTER,
        };
        let inner = Inner::new(number)?;
        // Without these answers are only less precise.
        let _ = inner.set_ext_ack(true);
        let _ = inner.set_cap_ack(true);
        if protocol == Protocol::Route {
            inner.set_netlink_get_strict_chk(true).map_err(|error| Refusal {
                message: "this kernel can't filter dumps (NETLINK_GET_STRICT_CHK, Linux 4.20)".into(),
                ..Refusal::from(error)
            })?;
        }
        Ok(Self { inner, sequence: 1, buffer: vec![0; BUFFER] })
    }

    /// Subscribes to a multicast group.
    pub(crate) fn join(&mut self, group: u32) -> Result<(), Refusal> {
        self.inner.bind_auto()?;
        Ok(self.inner.add_membership(group)?)
    }

    /// For polling.
    #[allow(unsafe_code, reason = "netlink-sys 0.9 only has AsRawFd")]
    pub(crate) fn descriptor(&self) -> BorrowedFd<'_> {
        // SAFETY: the descriptor is open as long as `inner`, which is borrowed for as long as the result.
        unsafe { BorrowedFd::borrow_raw(self.inner.as_raw_fd()) }
    }

    /// Sends requests that have one answer each; an answer or an error for each, in order.
    pub(crate) fn ask(&mut self, requests: &[Request]) -> Vec<Result<Reply, Refusal>> {
        requests.chunks(PIPELINE).flat_map(|chunk| self.ask_chunk(chunk)).collect()
    }

    /// The same for one request.
    pub(crate) fn ask_one(&mut self, request: Request) -> Result<Reply, Refusal> {
        self.ask(&[request]).pop().unwrap_or_else(|| Err(Errno::EIO.into()))
    }

    fn ask_chunk(&mut self, requests: &[Request]) -> Vec<Result<Reply, Refusal>> {
        let mut answers: Vec<Option<Result<Reply, Refusal>>> = vec![None; requests.len()];
        // A second round for an answer that was longer than the buffer, which has grown by then.
        for _ in 0..2 {
            let missing: Vec<usize> = (0..requests.len()).filter(|index| answers[*index].is_none()).collect();
            let first = self.sequence;
            let sent: Vec<&Request> = missing.iter().map(|index| &requests[*index]).collect();
            let mut outcome = self.send(&sent, 0, None);
            let mut open = missing.len();
            while open > 0 && outcome.is_ok() {
                outcome = self.read().map(|replies| {
                    for reply in replies {
                        let position = reply.sequence.wrapping_sub(first) as usize;
                        let Some(answer) = missing.get(position).and_then(|index| answers.get_mut(*index)) else {
                            continue;
                        };
                        if answer.is_none() {
                            open -= 1;
                            *answer = Some(match refusal(&reply) {
                                Some(refusal) => Err(refusal),
                                None => Ok(reply),
                            });
                        }
                    }
                });
            }
            match outcome {
                Ok(()) => break,
                Err(refusal) if refusal.is(Errno::EMSGSIZE) => continue,
                Err(refusal) => {
                    for answer in &mut answers {
                        answer.get_or_insert_with(|| Err(refusal.clone()));
                    }
                }
            }
        }
        answers.into_iter().map(|answer| answer.unwrap_or_else(|| Err(Errno::EMSGSIZE.into()))).collect()
    }

    /// Sends requests that have no answer; what became of each, in order. Later ones are carried out even where an
    /// earlier one fails. Only the last is acknowledged: errors come without being asked for.
    pub(crate) fn batch(&mut self, requests: &[Request]) -> Vec<Result<(), Refusal>> {
        requests.chunks(PIPELINE).flat_map(|chunk| self.transact(chunk, chunk.len().saturating_sub(1))).collect()
    }

    /// The same, in one `send` however many they are, `last` being the one that is acknowledged: for nf_tables, where
    /// a batch is a transaction and its end isn't acknowledged by every kernel.
    pub(crate) fn transact(&mut self, requests: &[Request], last: usize) -> Vec<Result<(), Refusal>> {
        let mut results = vec![Ok(()); requests.len()];
        if requests.is_empty() {
            return results;
        }
        let first = self.sequence;
        let requests: Vec<&Request> = requests.iter().collect();
        let mut outcome = self.send(&requests, 0, Some(last));
        let mut open = true;
        while open && outcome.is_ok() {
            outcome = self.read().map(|replies| {
                for reply in replies {
                    let position = reply.sequence.wrapping_sub(first) as usize;
                    let Some(result) = results.get_mut(position) else { continue };
                    if let Some(refusal) = refusal(&reply)
                        && result.is_ok()
                    {
                        *result = Err(refusal);
                    }
                    open &= position != last;
                }
            });
            // An error that keeps the kernel from going on to the last request is all there will be.
            if matches!(&outcome, Err(refusal) if refusal.is(Errno::EAGAIN)) && results.iter().any(Result::is_err) {
                return results;
            }
        }
        if let Err(refusal) = outcome {
            for result in &mut results {
                if result.is_ok() {
                    *result = Err(refusal.clone());
                }
            }
        }
        results
    }

    /// Every message of a dump. A dump during which the kernel's tables changed is begun again.
    pub(crate) fn dump(&mut self, request: Request) -> Result<Vec<Reply>, Refusal> {
        for _ in 0..DUMP_ATTEMPTS {
            let sequence = self.sequence;
            self.send(&[&request], NLM_F_DUMP, None)?;
            let mut all = Vec::new();
            let mut whole = true;
            let mut done = false;
            while !done {
                let replies = match self.read() {
                    // Cut short: the rest must be read before another dump can begin.
                    Err(refusal) if refusal.is(Errno::EMSGSIZE) => {
                        whole = false;
                        continue;
                    }
                    other => other?,
                };
                for reply in replies.into_iter().filter(|reply| reply.sequence == sequence) {
                    whole &= reply.flags & NLM_F_DUMP_INTR == 0;
                    match (reply.kind, refusal(&reply)) {
                        (_, Some(refusal)) => return Err(refusal),
                        (NLMSG_DONE, None) => done = true,
                        _ => all.push(reply),
                    }
                }
            }
            if whole {
                return Ok(all);
            }
        }
        Err(Refusal { errno: Errno::EINTR as i32, message: "what is to be listed keeps changing; try again".into() })
    }

    /// What came by itself, where something did.
    pub(crate) fn notifications(&mut self) -> Result<Vec<Reply>, Refusal> {
        match self.read() {
            Err(refusal) if refusal.is(Errno::EAGAIN) => Ok(Vec::new()),
            other => other,
        }
    }

    fn send(&mut self, requests: &[&Request], flags: i32, acknowledged: Option<usize>) -> Result<(), Refusal> {
        let mut bytes = Vec::with_capacity(requests.iter().map(|request| request.as_bytes().len()).sum());
        for (index, request) in requests.iter().enumerate() {
            let more = if acknowledged == Some(index) { NLM_F_ACK } else { 0 };
            request.write_to(&mut bytes, self.sequence, flags | more);
            self.sequence = self.sequence.wrapping_add(1);
        }
        match send(self.inner.as_raw_fd(), &bytes, MsgFlags::empty()) {
            Err(Errno::EMSGSIZE) => {
                // A long transaction. The forced form goes beyond net.core.wmem_max and needs CAP_NET_ADMIN.
                let wanted = bytes.len() * 2 + 4096;
                let _ = setsockopt(&self.descriptor(), sockopt::SndBuf, &wanted);
                let _ = setsockopt(&self.descriptor(), sockopt::SndBufForce, &wanted);
                send(self.inner.as_raw_fd(), &bytes, MsgFlags::empty())?
            }
            other => other?,
        };
        Ok(())
    }

    /// The messages of one datagram. EAGAIN: there is none. EMSGSIZE: it was too long and is lost, the next fits.
    fn read(&mut self) -> Result<Vec<Reply>, Refusal> {
        loop {
            match recv(self.inner.as_raw_fd(), &mut self.buffer, MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_TRUNC) {
                Err(Errno::EINTR) => continue,
                Err(errno) => return Err(errno.into()),
                Ok(length) if length > self.buffer.len() => {
                    self.buffer.resize(length.next_power_of_two(), 0);
                    return Err(Errno::EMSGSIZE.into());
                }
                Ok(length) => return Ok(wire::messages(&self.buffer[..length])),
            }
        }
    }
}

/// The error that a reply is, if it is one (an acknowledgement isn't).
fn refusal(reply: &Reply) -> Option<Refusal> {
    if reply.kind != NLMSG_ERROR && reply.kind != NLMSG_DONE {
        return None;
    }
    let errno = (wire::u32_at(&reply.payload, 0) as i32).checked_neg().filter(|errno| *errno > 0)?;
    // After the number: for an error the header of the request, whole or only its header, then attributes.
    let skip = match (reply.kind, reply.flags & NLM_F_CAPPED) {
        (NLMSG_DONE, _) => 4,
        (_, 0) => 4 + (wire::u32_at(&reply.payload, 4) as usize).max(wire::HEADER).next_multiple_of(4),
        _ => 4 + wire::HEADER,
    };
    let message = wire::attribute(&reply.payload, skip, NLMSGERR_ATTR_MSG).map(wire::text).unwrap_or_default();
    Some(Refusal { errno, message })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_extended_message_is_found_after_a_capped_header() {
        let mut payload = (-95i32).to_ne_bytes().to_vec();
        payload.extend_from_slice(&[0; 16]);
        payload.extend_from_slice(&[10, 0, 1, 0, b'n', b'o', b'n', b'e', b'.', 0, 0, 0]);
        let reply = Reply { kind: NLMSG_ERROR, flags: NLM_F_CAPPED, sequence: 0, payload };
        assert_eq!(refusal(&reply), Some(Refusal { errno: 95, message: "none.".into() }));
    }

    proptest! {
        #![proptest_config(ProptestConfig { rng_seed: proptest::test_runner::RngSeed::Fixed(7), ..ProptestConfig::with_cases(2000) })]
        #[test]
        fn whatever_the_kernel_sends_is_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..256), flags: u16) {
            for mut reply in wire::messages(&bytes) {
                reply.kind = NLMSG_ERROR;
                let _ = refusal(&reply);
            }
            let _ = refusal(&Reply { kind: NLMSG_ERROR, flags, sequence: 0, payload: bytes });
        }
    }
}
