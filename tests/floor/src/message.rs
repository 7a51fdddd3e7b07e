//! rtnetlink requests, built by hand in one buffer, and the answers to them.
//!
//! Message: header (length u32, type u16, flags u16, sequence u32, port u32), a fixed structure, attributes (length u16,
//! type u16, value, padded to 4). See rtnetlink(7).

use std::io::{Error, Result};
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};

const HEADER: usize = 16;
pub(crate) const REQUEST: u16 = 1;
pub(crate) const ACK: u16 = 4;
pub(crate) const CREATE: u16 = 0x400;
pub(crate) const EXCLUSIVE: u16 = 0x200;

/// One or more requests, sent at once.
pub(crate) struct Batch {
    bytes: Vec<u8>,
    start: usize,
    sequence: u32,
}

impl Batch {
    pub(crate) fn new() -> Self {
        Self { bytes: Vec::with_capacity(1024), start: 0, sequence: 0 }
    }

    /// Begins a message; what is added next belongs to it.
    pub(crate) fn message(&mut self, kind: u16, flags: u16, fixed: &[u8]) -> &mut Self {
        self.finish();
        self.sequence += 1;
        self.start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 4]);
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(&(REQUEST | flags).to_ne_bytes());
        self.bytes.extend_from_slice(&self.sequence.to_ne_bytes());
        self.bytes.extend_from_slice(&[0; 4]);
        self.bytes.extend_from_slice(fixed);
        self
    }

    pub(crate) fn attribute(&mut self, kind: u16, value: &[u8]) -> &mut Self {
        let length = u16::try_from(4 + value.len()).unwrap_or(u16::MAX);
        self.bytes.extend_from_slice(&length.to_ne_bytes());
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(value);
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
        self
    }

    pub(crate) fn name(&mut self, kind: u16, name: &str) -> &mut Self {
        self.attribute(kind, &[name.as_bytes(), &[0]].concat())
    }

    /// Attributes inside an attribute, after `fixed`.
    pub(crate) fn nest(&mut self, kind: u16, fixed: &[u8], inside: impl FnOnce(&mut Self)) -> &mut Self {
        let at = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 2]);
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(fixed);
        inside(self);
        let length = u16::try_from(self.bytes.len() - at).unwrap_or(u16::MAX);
        self.bytes[at..at + 2].copy_from_slice(&length.to_ne_bytes());
        self
    }

    fn finish(&mut self) {
        if let Some(head) = self.bytes.get(self.start..).filter(|message| message.len() >= HEADER) {
            let length = u32::try_from(head.len()).unwrap_or(u32::MAX);
            self.bytes[self.start..self.start + 4].copy_from_slice(&length.to_ne_bytes());
        }
    }
}

/// `struct ifinfomsg`.
pub(crate) fn link(index: u32, flags: u32, change: u32) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[4..8].copy_from_slice(&index.to_ne_bytes());
    bytes[8..12].copy_from_slice(&flags.to_ne_bytes());
    bytes[12..16].copy_from_slice(&change.to_ne_bytes());
    bytes
}

/// An rtnetlink socket in the namespace the thread is in.
pub(crate) struct Socket(OwnedFd);

#[allow(unsafe_code, reason = "socket calls without a library in between: this program is the floor")]
impl Socket {
    pub(crate) fn open() -> Result<Self> {
        // SAFETY: plain system call; the descriptor it returns is ours alone.
        let socket = unsafe {
            let fd = libc::socket(libc::AF_NETLINK, libc::SOCK_RAW | libc::SOCK_CLOEXEC, libc::NETLINK_ROUTE);
            if fd < 0 {
                return Err(Error::last_os_error());
            }
            OwnedFd::from_raw_fd(fd)
        };
        Ok(Self(socket))
    }

    /// Sends the batch and waits for the answer to each message: index and MAC of the link where one is described.
    pub(crate) fn exchange(&self, batch: &mut Batch) -> Result<Option<(u32, [u8; 6])>> {
        batch.finish();
        let (bytes, fd) = (&batch.bytes, self.0.as_raw_fd());
        // SAFETY: the buffer outlives the call.
        if unsafe { libc::send(fd, bytes.as_ptr().cast(), bytes.len(), 0) } < 0 {
            return Err(Error::last_os_error());
        }
        let mut described = None;
        let mut left = batch.sequence;
        let mut buffer = vec![0_u8; 16384];
        while left > 0 {
            // SAFETY: the kernel writes at most the given length into the buffer.
            let received = unsafe { libc::recv(fd, buffer.as_mut_ptr().cast(), buffer.len(), 0) };
            let Ok(mut end) = usize::try_from(received) else { return Err(Error::last_os_error()) };
            let mut at = 0;
            while end >= HEADER {
                let length = (read_u32(&buffer, at) as usize).clamp(HEADER, end);
                let kind = u16::from_ne_bytes([buffer[at + 4], buffer[at + 5]]);
                if kind == 2 {
                    let code = read_u32(&buffer, at + HEADER).cast_signed();
                    if code != 0 {
                        return Err(Error::from_raw_os_error(-code));
                    }
                } else if kind == libc::RTM_NEWLINK {
                    described = Some(described_link(&buffer[at..at + length]));
                }
                left = left.saturating_sub(1);
                let step = length.next_multiple_of(4).min(end);
                (at, end) = (at + step, end - step);
            }
        }
        Ok(described)
    }
}

fn read_u32(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).and_then(|b| b.try_into().ok()).map_or(0, u32::from_ne_bytes)
}

fn described_link(message: &[u8]) -> (u32, [u8; 6]) {
    let mut mac = [0; 6];
    let mut at = HEADER + 16;
    while let Some(head) = message.get(at..at + 4) {
        let length = usize::from(u16::from_ne_bytes([head[0], head[1]])).max(4);
        let kind = u16::from_ne_bytes([head[2], head[3]]);
        if kind == libc::IFLA_ADDRESS
            && let Some(value) = message.get(at + 4..at + 10)
        {
            mac.copy_from_slice(value);
        }
        at += length.next_multiple_of(4);
    }
    (read_u32(message, HEADER + 4), mac)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_cover_nested_attributes() {
        let mut batch = Batch::new();
        batch.message(16, ACK, &link(0, 1, 1)).nest(18, &[], |link| {
            link.name(1, "veth");
        });
        batch.finish();
        assert_eq!(batch.bytes.len(), HEADER + 16 + 4 + 12);
        assert_eq!(read_u32(&batch.bytes, 0) as usize, batch.bytes.len());
        assert_eq!(batch.bytes[32..34], 16_u16.to_ne_bytes());
        assert_eq!(batch.bytes[36..38], 9_u16.to_ne_bytes());
    }

    #[test]
    fn messages_of_a_batch_are_numbered_and_closed() {
        let mut batch = Batch::new();
        batch.message(16, 0, &link(1, 0, 0));
        batch.message(17, 0, &link(2, 0, 0)).name(3, "a");
        batch.finish();
        assert_eq!((read_u32(&batch.bytes, 0), read_u32(&batch.bytes, 8)), (32, 1));
        assert_eq!((read_u32(&batch.bytes, 32), read_u32(&batch.bytes, 40)), (40, 2));
    }
}
