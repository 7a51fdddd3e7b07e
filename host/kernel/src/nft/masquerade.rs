//! The table `inet weft`: which sources leave under the node's address.
//!
//! ```text
//! table inet weft {
//!   map masq4 { type ipv4_addr : verdict; elements = { 10.1.2.3 comment "OWNER" : jump except-HASH } }
//!   map masq6 { type ipv6_addr : verdict }
//!   chain postrouting { type nat hook postrouting priority srcnat; ip saddr vmap @masq4; ip6 saddr vmap @masq6; jump networks }
//!   chain networks { ip saddr 10.4.0.0/16 jump except-HASH comment "OWNER" }
//!   chain except-HASH { ip daddr 10.0.0.0/8 return; ip daddr 224.0.0.0/4 return; ip6 daddr ff00::/8 return; masquerade }
//! }
//! ```
//!
//! Single addresses, which is nearly all, are elements: found at once however many there are. Networks are rules, since
//! several owners may want the same or overlapping ones, which an interval map can't hold. HASH is of the list, so that
//! attachments with the same exceptions share a chain.

use std::net::IpAddr;

use nix::libc;
use sha2::{Digest as _, Sha256};
use weft_contract::types::{IpFamily, IpPrefix};

use crate::nft::expression::{self, Side};
use crate::nft::message::{Element, NLM_F_NONREC, Set, Table, Verdict};
use crate::wire::Request;

pub(crate) const TABLE: Table = Table { family: libc::NFPROTO_INET as u8, name: "weft" };
/// Where packets come in.
pub(crate) const BASE: &str = "postrouting";
/// How many rules [`BASE`] has.
pub(crate) const BASE_RULES: u32 = 3;
/// Where networks have their rules.
pub(crate) const NETWORKS: &str = "networks";
pub(crate) const MAP_V4: Set = Set { table: TABLE, name: "masq4", key_type: 7, key_length: 4, is_map: true, id: 1 };
pub(crate) const MAP_V6: Set = Set { table: TABLE, name: "masq6", key_type: 8, key_length: 16, is_map: true, id: 2 };
const POSTROUTING: u32 = libc::NF_INET_POST_ROUTING as u32;
const SRCNAT: i32 = 100;

/// The table with its chains and maps; `flags` NLM_F_EXCL: it must not be there.
/// Without, what is missing is made and the base chain's rules are made anew, in one transaction.
pub(crate) fn create_table(flags: i32) -> Vec<Request> {
    let family = |family, map| {
        TABLE.add_rule(BASE, None, |rule| {
            expression::decide_by(expression::load_address(rule, family, Side::Source), map)
        })
    };
    let mut requests = vec![
        TABLE.create(flags, "made by weft; its elements carry their attachment"),
        MAP_V4.create(),
        MAP_V6.create(),
        TABLE.create_chain(NETWORKS, 0),
        TABLE.create_base_chain(BASE, "nat", POSTROUTING, SRCNAT),
    ];
    if flags & libc::NLM_F_EXCL == 0 {
        requests.push(TABLE.delete_rules(BASE, None));
    }
    requests.push(family(IpFamily::V4, MAP_V4));
    requests.push(family(IpFamily::V6, MAP_V6));
    requests.push(TABLE.add_rule(BASE, None, |rule| expression::decide(rule, &Verdict::Jump(NETWORKS.into()))));
    requests
}

/// Takes the table away if nobody has anything in it; else EBUSY.
pub(crate) fn delete_table() -> Vec<Request> {
    vec![
        TABLE.delete_rules(BASE, None),
        TABLE.delete_chain(BASE, NLM_F_NONREC),
        TABLE.delete_chain(NETWORKS, NLM_F_NONREC),
        MAP_V4.delete(),
        MAP_V6.delete(),
        TABLE.delete(),
    ]
}

/// The name of a list's chain.
pub(crate) fn chain_of(except: &[IpPrefix]) -> String {
    let mut list: Vec<IpPrefix> = except.iter().map(IpPrefix::network).collect();
    list.sort();
    list.dedup();
    let mut hash = Sha256::new();
    for prefix in list {
        hash.update(prefix.to_string());
        hash.update("\n");
    }
    let digest = hash.finalize();
    let hex: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    format!("except-{hex}")
}

/// Multicast is left alone, too: routers don't forward what is masqueraded here.
fn multicast() -> [IpPrefix; 2] {
    let prefix = |octets: IpAddr, length| IpPrefix { address: octets.into(), length };
    [prefix([224, 0, 0, 0].into(), 4), prefix([0xff00, 0, 0, 0, 0, 0, 0, 0].into(), 8)]
}

/// The chain of a list with its rules.
pub(crate) fn create_exceptions(except: &[IpPrefix]) -> Vec<Request> {
    let chain = chain_of(except);
    let mut requests = vec![TABLE.create_chain(&chain, libc::NLM_F_EXCL)];
    for prefix in except.iter().copied().chain(multicast()) {
        requests.push(TABLE.add_rule(&chain, None, |rule| {
            expression::decide(expression::match_prefix(rule, Side::Destination, prefix), &Verdict::Return)
        }));
    }
    requests.push(TABLE.add_rule(&chain, None, expression::masquerade));
    requests
}

/// Takes the chain of a list away; EBUSY if a source leads to it.
pub(crate) fn delete_exceptions(except: &[IpPrefix]) -> Vec<Request> {
    vec![TABLE.delete_chain(&chain_of(except), 0)]
}

/// The list of a chain, from the prefixes that its rules match.
pub(crate) fn exceptions_of(rules: impl Iterator<Item = Option<IpPrefix>>) -> Vec<IpPrefix> {
    let mut list: Vec<IpPrefix> = rules.flatten().filter(|prefix| !multicast().contains(prefix)).collect();
    list.sort();
    list.dedup();
    list
}

/// The map and the key of a source; None: it is a network.
pub(crate) fn slot(source: IpPrefix) -> Option<(Set, Vec<u8>)> {
    if source.length < source.address.width() {
        return None;
    }
    let map = match source.address.family() {
        IpFamily::V4 => MAP_V4,
        IpFamily::V6 => MAP_V6,
    };
    Some((map, expression::octets(source)))
}

/// The source that a map's key names.
pub(crate) fn source_at(key: &[u8]) -> Option<IpPrefix> {
    let address: IpAddr = match key.len() {
        4 => <[u8; 4]>::try_from(key).ok()?.into(),
        _ => <[u8; 16]>::try_from(key).ok()?.into(),
    };
    Some(IpPrefix { address: address.into(), length: if address.is_ipv4() { 32 } else { 128 } })
}

/// A source's element or rule.
pub(crate) fn add(source: IpPrefix, except: &[IpPrefix], owner: &str) -> Request {
    let chain = chain_of(except);
    match slot(source) {
        Some((map, key)) => map.add(&Element { key, jump: Some(chain), comment: owner.to_owned() }),
        None => TABLE.add_rule(NETWORKS, Some(owner), |rule| {
            expression::decide(expression::match_prefix(rule, Side::Source, source), &Verdict::Jump(chain))
        }),
    }
}
