//! What rules are made of: expressions that load, compare, look up and decide.

use std::net::IpAddr;

use nix::libc;
use weft_contract::types::{IpFamily, IpPrefix};

use crate::nft::message::{self, NFTA_DATA_VALUE, NFTA_LIST_ELEM, Set, Verdict, verdict};
use crate::wire::{self, Request};

const NFTA_EXPR_NAME: u16 = 1;
const NFTA_EXPR_DATA: u16 = 2;
const NFTA_META_DREG: u16 = 1;
const NFTA_META_KEY: u16 = 2;
const NFTA_PAYLOAD_DREG: u16 = 1;
const NFTA_PAYLOAD_BASE: u16 = 2;
const NFTA_PAYLOAD_OFFSET: u16 = 3;
const NFTA_PAYLOAD_LEN: u16 = 4;
const NFTA_CMP_SREG: u16 = 1;
const NFTA_CMP_OP: u16 = 2;
const NFTA_CMP_DATA: u16 = 3;
const NFTA_BITWISE_SREG: u16 = 1;
const NFTA_BITWISE_DREG: u16 = 2;
const NFTA_BITWISE_LEN: u16 = 3;
const NFTA_BITWISE_MASK: u16 = 4;
const NFTA_BITWISE_XOR: u16 = 5;
const NFTA_LOOKUP_SET: u16 = 1;
const NFTA_LOOKUP_SREG: u16 = 2;
const NFTA_LOOKUP_DREG: u16 = 3;
const NFTA_LOOKUP_FLAGS: u16 = 5;
const NFTA_IMMEDIATE_DREG: u16 = 1;
const NFTA_IMMEDIATE_DATA: u16 = 2;

/// A register of 16 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Register {
    First = libc::NFT_REG_1 as isize,
    Second = libc::NFT_REG_2 as isize,
}

/// Which header an offset counts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Base {
    Link = libc::NFT_PAYLOAD_LL_HEADER as isize,
    Network = libc::NFT_PAYLOAD_NETWORK_HEADER as isize,
}

/// Which address of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Source,
    Destination,
}

impl Side {
    fn offset(self, family: IpFamily) -> u32 {
        match (family, self) {
            (IpFamily::V4, Self::Source) => 12,
            (IpFamily::V4, Self::Destination) => 16,
            (IpFamily::V6, Self::Source) => 8,
            (IpFamily::V6, Self::Destination) => 24,
        }
    }
}

fn expression(rule: Request, name: &str, data: impl FnOnce(Request) -> Request) -> Request {
    rule.nest(NFTA_LIST_ELEM, |element| element.string(NFTA_EXPR_NAME, name).nest(NFTA_EXPR_DATA, data))
}

fn meta(rule: Request, key: i32, into: Register) -> Request {
    expression(rule, "meta", |data| data.be32(NFTA_META_DREG, into as u32).be32(NFTA_META_KEY, key as u32))
}

fn compare(rule: Request, value: &[u8]) -> Request {
    expression(rule, "cmp", |data| {
        data.be32(NFTA_CMP_SREG, Register::First as u32)
            .be32(NFTA_CMP_OP, libc::NFT_CMP_EQ as u32)
            .nest(NFTA_CMP_DATA, |nest| nest.bytes(NFTA_DATA_VALUE, value))
    })
}

/// Bytes of the packet.
pub(crate) fn load(rule: Request, base: Base, offset: u32, length: u32, into: Register) -> Request {
    expression(rule, "payload", |data| {
        data.be32(NFTA_PAYLOAD_DREG, into as u32)
            .be32(NFTA_PAYLOAD_BASE, base as u32)
            .be32(NFTA_PAYLOAD_OFFSET, offset)
            .be32(NFTA_PAYLOAD_LEN, length)
    })
}

/// The name of the link that the packet came in by.
pub(crate) fn load_input_name(rule: Request, into: Register) -> Request {
    meta(rule, libc::NFT_META_IIFNAME, into)
}

/// Goes on only with packets of a family, with an address of them in the first register.
pub(crate) fn load_address(rule: Request, family: IpFamily, side: Side) -> Request {
    let (protocol, length) = match family {
        IpFamily::V4 => (libc::NFPROTO_IPV4 as u8, 4),
        IpFamily::V6 => (libc::NFPROTO_IPV6 as u8, 16),
    };
    let rule = compare(meta(rule, libc::NFT_META_NFPROTO, Register::First), &[protocol]);
    load(rule, Base::Network, side.offset(family), length, Register::First)
}

/// Goes on only with packets that have an address in a prefix.
pub(crate) fn match_prefix(rule: Request, side: Side, prefix: IpPrefix) -> Request {
    let rule = load_address(rule, prefix.address.family(), side);
    let network = octets(prefix.network());
    let mask = mask(prefix);
    let rule = expression(rule, "bitwise", |data| {
        data.be32(NFTA_BITWISE_SREG, Register::First as u32)
            .be32(NFTA_BITWISE_DREG, Register::First as u32)
            .be32(NFTA_BITWISE_LEN, network.len() as u32)
            .nest(NFTA_BITWISE_MASK, |nest| nest.bytes(NFTA_DATA_VALUE, &mask))
            .nest(NFTA_BITWISE_XOR, |nest| nest.bytes(NFTA_DATA_VALUE, &vec![0; network.len()]))
    });
    compare(rule, &network)
}

/// Does what a map says of the first register; goes on if it says nothing.
pub(crate) fn decide_by(rule: Request, map: Set) -> Request {
    expression(rule, "lookup", |data| {
        data.string(NFTA_LOOKUP_SET, map.name)
            .be32(NFTA_LOOKUP_SREG, Register::First as u32)
            .be32(NFTA_LOOKUP_DREG, libc::NFT_REG_VERDICT as u32)
    })
}

/// Goes on only if a set has (or has not) what the registers from the first on hold.
pub(crate) fn look_up(rule: Request, set: Set, absent: bool) -> Request {
    expression(rule, "lookup", |data| {
        let data = data.string(NFTA_LOOKUP_SET, set.name).be32(NFTA_LOOKUP_SREG, Register::First as u32);
        if absent { data.be32(NFTA_LOOKUP_FLAGS, libc::NFT_LOOKUP_F_INV as u32) } else { data }
    })
}

/// Decides.
pub(crate) fn decide(rule: Request, what: &Verdict) -> Request {
    expression(rule, "immediate", |data| {
        data.be32(NFTA_IMMEDIATE_DREG, libc::NFT_REG_VERDICT as u32)
            .nest(NFTA_IMMEDIATE_DATA, |nest| verdict(nest, what))
    })
}

/// The packet leaves under the address of the link it leaves by.
pub(crate) fn masquerade(rule: Request) -> Request {
    expression(rule, "masq", |data| data)
}

/// An address's bytes as they stand in a packet.
pub(crate) fn octets(prefix: IpPrefix) -> Vec<u8> {
    match IpAddr::from(prefix.address) {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}

fn mask(prefix: IpPrefix) -> Vec<u8> {
    let ones = IpPrefix { address: ones(prefix.address.family()), length: prefix.length };
    octets(ones.network())
}

fn ones(family: IpFamily) -> weft_contract::types::IpAddress {
    match family {
        IpFamily::V4 => IpAddr::from([0xff; 4]).into(),
        IpFamily::V6 => IpAddr::from([0xff; 16]).into(),
    }
}

/// The prefix that a rule of [`match_prefix`] matches and the chain that it jumps to; also as `nft` would have
/// written it (without a mask for a single address, or comparing only the bytes that count).
pub(crate) fn parse_match(expressions: &[u8]) -> (Option<IpPrefix>, Option<String>) {
    let (mut family, mut compared, mut masked, mut jump) = (None, None, None, None);
    for (_, element) in wire::attributes(expressions, 0).filter(|(kind, _)| *kind == NFTA_LIST_ELEM) {
        let name = wire::attribute(element, 0, NFTA_EXPR_NAME).map(wire::text).unwrap_or_default();
        let data = wire::attribute(element, 0, NFTA_EXPR_DATA).unwrap_or_default();
        let value = |kind| {
            let nest = wire::attribute(data, 0, kind).unwrap_or_default();
            wire::attribute(nest, 0, NFTA_DATA_VALUE).unwrap_or_default().to_vec()
        };
        match name.as_str() {
            // The first comparison is about the family.
            "cmp" if family.is_none() => family = Some(value(NFTA_CMP_DATA)),
            "cmp" => compared = Some(value(NFTA_CMP_DATA)),
            "bitwise" => masked = Some(value(NFTA_BITWISE_MASK)),
            "immediate" => {
                jump = wire::attribute(data, 0, NFTA_IMMEDIATE_DATA).and_then(message::parse_jump);
            }
            _ => {}
        }
    }
    let prefix = compared.and_then(|mut network| {
        let width = if family.as_deref() == Some(&[libc::NFPROTO_IPV4 as u8]) { 4 } else { 16 };
        let mask = masked.unwrap_or_else(|| vec![0xff; network.len()]);
        let length = u8::try_from(mask.iter().map(|byte| byte.count_ones()).sum::<u32>()).ok()?;
        network.resize(width, 0);
        let address = crate::address::ip(&network)?;
        (length <= address.width()).then_some(IpPrefix { address, length })
    });
    (prefix, jump)
}
