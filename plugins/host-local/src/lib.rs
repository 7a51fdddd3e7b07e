//! Gives addresses out of configured ranges, one of every set, and remembers them on this node.
//!
//! A set is walked round and round: the next address after the last one given, so that an address that was just given
//! back comes last. Gateways are never given out. What the store remembers, and where, is the host's business.

mod config;
mod range;
mod resolver;

use weft_sdk::types::{AssignedAddress, IpAddress};
use weft_sdk::{Allocation, Error, Ipam, Request, files, leases};

use config::{Config, Wish};
use range::{Range, RangeSet};

/// See the crate.
pub struct HostLocal;

impl Ipam for HostLocal {
    fn allocate(request: &Request) -> Result<Allocation, Error> {
        let config = Config::of(request)?;
        let dns = if config.resolv_conf {
            resolver::parse(&files::read("/ipam/resolvConf", None)?)
        } else {
            Default::default()
        };
        let mut wishes = config.wishes;
        let mut addresses = Vec::new();
        for (number, set) in config.sets.iter().enumerate() {
            let wish = wishes.iter().position(|wish| range_of(set, wish.address).is_some());
            let wish = wish.map(|at| wishes.remove(at));
            addresses.push(from_set(number as u32, set, wish)?);
        }
        match wishes.first() {
            None => Ok(Allocation { addresses, routes: config.routes, dns }),
            Some(Wish { address, pointer }) => {
                let allowed = "addresses of the configured ranges, one of every set";
                Err(Error::invalid(pointer, &address.to_string(), allowed))
            }
        }
    }
}

fn range_of(set: &RangeSet, address: IpAddress) -> Option<&Range> {
    set.iter().find(|range| range.contains(address))
}

/// One address of a set: the one asked for, or else the next.
fn from_set(number: u32, set: &RangeSet, wish: Option<Wish>) -> Result<AssignedAddress, Error> {
    let (address, range) = match wish {
        Some(wish) => wished(number, set, &wish)?,
        None => next(number, set)?,
    };
    let prefix = weft_sdk::types::IpPrefix { address, length: range.subnet.length };
    Ok(AssignedAddress { prefix, gateway: Some(range.gateway), at: None })
}

fn wished<'s>(number: u32, set: &'s RangeSet, wish: &Wish) -> Result<(IpAddress, &'s Range), Error> {
    let Some(range) = range_of(set, wish.address) else { return Err(exhausted(set)) };
    let text = wish.address.to_string();
    if wish.address == range.gateway {
        return Err(Error::invalid(&wish.pointer, &text, "an address other than the range's gateway"));
    }
    if leases::reserve(number, wish.address)? {
        return Ok((wish.address, range));
    }
    let message = ["the requested address ", &text, " is not available in range set ", &range::set_text(set)].concat();
    Err(Error::Conflict(message))
}

fn next(number: u32, set: &RangeSet) -> Result<(IpAddress, &Range), Error> {
    if let Some(held) = leases::held()?.into_iter().find(|held| range_of(set, *held).is_some()) {
        let message =
            ["this attachment has ", &held.to_string(), " already; delete it before adding it again"].concat();
        return Err(Error::Conflict(message));
    }
    let last = leases::last_reserved(number)?;
    let start = last.and_then(|last| Some((set.iter().position(|range| range.contains(last))?, last)));
    // The whole circle in pieces, each within one range.
    if let Some((at, last)) = start {
        let (before, rest) = set.split_at(at);
        for (piece, range) in rest.iter().enumerate() {
            let first = if piece == 0 { last.next() } else { Some(range.first) };
            if let Some(found) = within(number, range, first, range.last)? {
                return Ok((found, range));
            }
        }
        for range in before {
            if let Some(found) = within(number, range, Some(range.first), range.last)? {
                return Ok((found, range));
            }
        }
        let range = &set[at];
        if let Some(found) = within(number, range, Some(range.first), last)? {
            return Ok((found, range));
        }
    } else {
        for range in set {
            if let Some(found) = within(number, range, Some(range.first), range.last)? {
                return Ok((found, range));
            }
        }
    }
    Err(exhausted(set))
}

/// Reserves the lowest free address from `first` to `last` that isn't the gateway.
fn within(number: u32, range: &Range, first: Option<IpAddress>, last: IpAddress) -> Result<Option<IpAddress>, Error> {
    let mut from = first;
    while let Some(first) = from.filter(|first| first.bits() <= last.bits()) {
        let Some(free) = leases::first_free(first, last)? else { return Ok(None) };
        if free != range.gateway && leases::reserve(number, free)? {
            return Ok(Some(free));
        }
        from = free.next();
    }
    Ok(None)
}

fn exhausted(set: &RangeSet) -> Error {
    Error::Exhausted(["no address is left in range set ", &range::set_text(set)].concat())
}

weft_sdk::export!(HostLocal as ipam);

#[cfg(test)]
mod tests;
