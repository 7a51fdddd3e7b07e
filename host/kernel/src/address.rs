//! Addresses on links: requests, and what a reply says. Must not: send anything.

use std::net::{IpAddr, Ipv4Addr};

use netlink_packet_route::AddressFamily;
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage};
use nix::libc;
use weft_contract::types::{IpAddress, IpPrefix};
use weft_executor::state::Address;

use crate::wire::{self, Reply, Request};

/// Bytes of `struct ifaddrmsg`.
const IFADDRMSG: usize = 8;
const IFA_FLAGS: u16 = 8;
const IFA_F_NODAD: u32 = 0x02;
const IFA_F_NOPREFIXROUTE: u32 = 0x200;

/// The addresses of one link, of both families.
pub(crate) fn list(link: u32) -> Request {
    let mut message = AddressMessage::default();
    message.header.index = link;
    Request::of(libc::RTM_GETADDR, 0, &message)
}

/// Puts an address on a link, with the broadcast address of its network where there is one.
pub(crate) fn add(link: u32, address: Address) -> Request {
    let mut message = message(link, address.prefix);
    if let IpAddress::V4(_) = address.prefix.address
        && let IpAddr::V4(v4) = IpAddr::from(address.prefix.address)
        && address.prefix.length < 31
    {
        let host_bits = u32::MAX.checked_shr(address.prefix.length.into()).unwrap_or(0);
        message.attributes.push(AddressAttribute::Broadcast(Ipv4Addr::from_bits(v4.to_bits() | host_bits)));
    }
    let mut flags = AddressFlags::empty();
    flags.set(AddressFlags::Nodad, address.no_detection);
    flags.set(AddressFlags::Noprefixroute, address.bare);
    message.header.flags = AddressHeaderFlags::from_bits_retain(flags.bits() as u8);
    // The header has room for the first eight only; the attribute replaces them.
    if flags.bits() > 0xff {
        message.attributes.push(AddressAttribute::Flags(flags));
    }
    Request::of(libc::RTM_NEWADDR, libc::NLM_F_CREATE | libc::NLM_F_EXCL, &message)
}

/// Takes an address off a link.
pub(crate) fn remove(link: u32, address: Address) -> Request {
    Request::of(libc::RTM_DELADDR, 0, &message(link, address.prefix))
}

fn message(link: u32, prefix: IpPrefix) -> AddressMessage {
    let mut message = AddressMessage::default();
    let ip = IpAddr::from(prefix.address);
    message.header.family = if ip.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    message.header.prefix_len = prefix.length;
    message.header.index = link;
    message.attributes = vec![AddressAttribute::Local(ip), AddressAttribute::Address(ip)];
    message
}

/// The link's index and the address that a reply describes; None: it describes none.
pub(crate) fn parse(reply: &Reply) -> Option<(u32, Address)> {
    let payload = &reply.payload;
    if reply.kind != libc::RTM_NEWADDR || payload.len() < IFADDRMSG {
        return None;
    }
    let mut flags = u32::from(payload[2]);
    let (mut local, mut address) = (None, None);
    for (kind, value) in wire::attributes(payload, IFADDRMSG) {
        match kind {
            libc::IFA_LOCAL => local = ip(value),
            libc::IFA_ADDRESS => address = ip(value),
            IFA_FLAGS => flags = wire::u32_at(value, 0),
            _ => {}
        }
    }
    // On a point-to-point link IFA_ADDRESS is the other side.
    let prefix = IpPrefix { address: local.or(address)?, length: payload[1] };
    let address = Address { prefix, bare: flags & IFA_F_NOPREFIXROUTE != 0, no_detection: flags & IFA_F_NODAD != 0 };
    Some((wire::u32_at(payload, 4), address))
}

/// An address by its length.
pub(crate) fn ip(bytes: &[u8]) -> Option<IpAddress> {
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        return Some(IpAddr::from(v4).into());
    }
    <[u8; 16]>::try_from(bytes).ok().map(|v6| IpAddr::from(v6).into())
}
