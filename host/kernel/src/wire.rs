//! Netlink messages as bytes: the header, attributes, and what is read out of replies.
//!
//! Owns: framing. Requests to rtnetlink are written by `netlink-packet-route`; nf_tables requests by [`Request`]'s own
//! attribute methods. Replies are read attribute by attribute and only where somebody asks, so that an attribute
//! which a newer kernel added or widened can't make a whole reply unreadable.
//! Invariant: reading never panics and never fails; what is cut short ends the iteration.

use netlink_packet_core::{Emitable, NlasIterator};

/// Bytes of `struct nlmsghdr`.
pub(crate) const HEADER: usize = 16;
/// Attribute type flag: holds attributes.
const NESTED: u16 = 0x8000;

/// A request without its sequence number, which the socket fills in.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    bytes: Vec<u8>,
}

/// One message of an answer.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub(crate) kind: u16,
    pub(crate) flags: u16,
    pub(crate) sequence: u32,
    pub(crate) payload: Vec<u8>,
}

// === impl Request ===

impl Request {
    /// A request with a fixed header (`struct nfgenmsg`, `struct genlmsghdr` ...) after the netlink header.
    pub(crate) fn new(kind: u16, flags: i32, fixed: &[u8]) -> Self {
        let mut bytes = Vec::with_capacity(128);
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(&kind.to_ne_bytes());
        bytes.extend_from_slice(&((flags | nix::libc::NLM_F_REQUEST) as u16).to_ne_bytes());
        bytes.extend_from_slice(&[0; 8]);
        bytes.extend_from_slice(fixed);
        Self { bytes }.closed()
    }

    /// A request whose body a library writes.
    pub(crate) fn of(kind: u16, flags: i32, body: &impl Emitable) -> Self {
        let mut request = Self::new(kind, flags, &[]);
        request.bytes.resize(HEADER + body.buffer_len(), 0);
        body.emit(&mut request.bytes[HEADER..]);
        request.closed()
    }

    /// Brings the length in the header up to date.
    fn closed(mut self) -> Self {
        self.close();
        self
    }

    fn close(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
        let length = self.bytes.len() as u32;
        self.bytes[..4].copy_from_slice(&length.to_ne_bytes());
    }

    /// An attribute.
    pub(crate) fn bytes(mut self, kind: u16, value: &[u8]) -> Self {
        self.push(kind, value);
        self.closed()
    }

    /// An attribute with a NUL at its end.
    pub(crate) fn string(self, kind: u16, value: &str) -> Self {
        let mut bytes = value.as_bytes().to_vec();
        bytes.push(0);
        self.bytes(kind, &bytes)
    }

    /// An attribute in network byte order.
    pub(crate) fn be32(self, kind: u16, value: u32) -> Self {
        self.bytes(kind, &value.to_be_bytes())
    }

    /// An attribute in network byte order.
    pub(crate) fn be64(self, kind: u16, value: u64) -> Self {
        self.bytes(kind, &value.to_be_bytes())
    }

    /// An attribute that holds attributes.
    pub(crate) fn nest(mut self, kind: u16, inside: impl FnOnce(Self) -> Self) -> Self {
        let start = self.bytes.len();
        self.push(kind | NESTED, &[]);
        let mut request = inside(self);
        let length = (request.bytes.len() - start) as u16;
        request.bytes[start..start + 2].copy_from_slice(&length.to_ne_bytes());
        request.closed()
    }

    fn push(&mut self, kind: u16, value: &[u8]) {
        let length = (4 + value.len()) as u16;
        self.bytes.extend_from_slice(&length.to_ne_bytes());
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(value);
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    /// The message under a sequence number, with more flags.
    pub(crate) fn write_to(&self, out: &mut Vec<u8>, sequence: u32, flags: i32) {
        let start = out.len();
        out.extend_from_slice(&self.bytes);
        let flags = u16::from_ne_bytes([self.bytes[6], self.bytes[7]]) | flags as u16;
        out[start + 6..start + 8].copy_from_slice(&flags.to_ne_bytes());
        out[start + 8..start + 12].copy_from_slice(&sequence.to_ne_bytes());
    }

    /// The message as it stands, without a sequence number.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }
}

// === reading ===

/// The messages in what one `recv` gave.
pub(crate) fn messages(mut bytes: &[u8]) -> Vec<Reply> {
    let mut messages = Vec::new();
    while bytes.len() >= HEADER {
        let length = u32_at(bytes, 0) as usize;
        if length < HEADER || length > bytes.len() {
            break;
        }
        messages.push(Reply {
            kind: u16_at(bytes, 4),
            flags: u16_at(bytes, 6),
            sequence: u32_at(bytes, 8),
            payload: bytes[HEADER..length].to_vec(),
        });
        bytes = &bytes[length.next_multiple_of(4).min(bytes.len())..];
    }
    messages
}

/// The attributes after `skip` bytes of fixed header, up to the first that is cut short.
pub(crate) fn attributes(bytes: &[u8], skip: usize) -> impl Iterator<Item = (u16, &[u8])> {
    let bytes = bytes.get(skip..).unwrap_or_default();
    NlasIterator::new(bytes).map_while(Result::ok).map(|attribute| {
        let length = attribute.value_length();
        (attribute.kind(), &attribute.into_inner()[4..4 + length])
    })
}

/// One attribute by its type.
pub(crate) fn attribute(bytes: &[u8], skip: usize, kind: u16) -> Option<&[u8]> {
    attributes(bytes, skip).find(|(found, _)| *found == kind).map(|(_, value)| value)
}

/// A number in the machine's byte order; 0 where it is cut short.
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).map_or(0, u32::from_ne_bytes)
}

/// A number in the machine's byte order; 0 where it is cut short.
pub(crate) fn u16_at(bytes: &[u8], at: usize) -> u16 {
    bytes.get(at..at + 2).and_then(|bytes| bytes.try_into().ok()).map_or(0, u16::from_ne_bytes)
}

/// A number in network byte order; 0 where it is cut short.
pub(crate) fn be32(bytes: &[u8]) -> u32 {
    bytes.get(..4).and_then(|bytes| bytes.try_into().ok()).map_or(0, u32::from_be_bytes)
}

/// Text up to a NUL.
pub(crate) fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}
