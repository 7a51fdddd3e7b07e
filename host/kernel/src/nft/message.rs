//! nf_tables messages: tables, chains, rules, sets and elements; and what replies say of them.
//!
//! Owns: attribute numbers (`linux/netfilter/nf_tables.h`) and `nft`'s own format of user data, so that
//! `nft list ruleset` shows comments. Uses nothing that is newer than Linux 5.4; older kernels skip attributes that they
//! don't know (the comment of a table).

use nix::libc;

use crate::wire::{self, Reply, Request};

const SUBSYSTEM: u16 = 10;
/// Bytes of `struct nfgenmsg`.
pub(crate) const NFGENMSG: usize = 4;

pub(crate) const NLM_F_NONREC: i32 = 0x100;
pub(crate) const NFT_MSG_NEWCHAIN: u16 = SUBSYSTEM << 8 | 3;
pub(crate) const NFT_MSG_NEWRULE: u16 = SUBSYSTEM << 8 | 6;
pub(crate) const NFT_MSG_NEWSETELEM: u16 = SUBSYSTEM << 8 | 12;

const NFTA_TABLE_NAME: u16 = 1;
const NFTA_TABLE_USERDATA: u16 = 6;
const NFTA_CHAIN_TABLE: u16 = 1;
const NFTA_CHAIN_NAME: u16 = 3;
const NFTA_CHAIN_HOOK: u16 = 4;
const NFTA_CHAIN_POLICY: u16 = 5;
const NFTA_CHAIN_USE: u16 = 6;
const NFTA_CHAIN_TYPE: u16 = 7;
const NFTA_HOOK_HOOKNUM: u16 = 1;
const NFTA_HOOK_PRIORITY: u16 = 2;
const NFTA_RULE_TABLE: u16 = 1;
const NFTA_RULE_CHAIN: u16 = 2;
const NFTA_RULE_HANDLE: u16 = 3;
const NFTA_RULE_EXPRESSIONS: u16 = 4;
const NFTA_RULE_USERDATA: u16 = 7;
const NFTA_SET_TABLE: u16 = 1;
const NFTA_SET_NAME: u16 = 2;
const NFTA_SET_FLAGS: u16 = 3;
const NFTA_SET_KEY_TYPE: u16 = 4;
const NFTA_SET_KEY_LEN: u16 = 5;
const NFTA_SET_DATA_TYPE: u16 = 6;
const NFTA_SET_ID: u16 = 10;
const NFTA_SET_USERDATA: u16 = 13;
const NFTA_SET_ELEM_LIST_TABLE: u16 = 1;
const NFTA_SET_ELEM_LIST_SET: u16 = 2;
const NFTA_SET_ELEM_LIST_ELEMENTS: u16 = 3;
const NFTA_SET_ELEM_KEY: u16 = 1;
const NFTA_SET_ELEM_DATA: u16 = 2;
const NFTA_SET_ELEM_USERDATA: u16 = 6;
pub(crate) const NFTA_LIST_ELEM: u16 = 1;
pub(crate) const NFTA_DATA_VALUE: u16 = 1;
pub(crate) const NFTA_DATA_VERDICT: u16 = 2;
const NFTA_VERDICT_CODE: u16 = 1;
const NFTA_VERDICT_CHAIN: u16 = 2;
const NFTA_GEN_ID: u16 = 1;
const NFNL_BATCH_GENID: u16 = 1;

const NFT_SET_MAP: u32 = 8;
const NFT_DATA_VERDICT: u32 = 0xffff_ff00;
/// `nft`'s user data: type, length, value. The comment has a NUL at its end.
const UDATA_COMMENT: u8 = 0;
const UDATA_SET_KEY_BYTE_ORDER: u8 = 0;

/// A table: its family and its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Table {
    pub(crate) family: u8,
    pub(crate) name: &'static str,
}

/// A set or map of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Set {
    pub(crate) table: Table,
    pub(crate) name: &'static str,
    /// `nft`'s number of the key's type; of a concatenation, six bits each.
    pub(crate) key_type: u32,
    pub(crate) key_length: u32,
    /// A map to verdicts.
    pub(crate) is_map: bool,
    /// Unique within a transaction.
    pub(crate) id: u32,
}

/// An element of a set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Element {
    pub(crate) key: Vec<u8>,
    /// The chain that a map's element jumps to.
    pub(crate) jump: Option<String>,
    pub(crate) comment: String,
}

/// What is done with a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Drop,
    Return,
    Jump(String),
}

/// Longest comment: user data is at most 256 bytes, two of which are a header and one a NUL.
pub(crate) const COMMENT: usize = 253;

fn request(message: u16, flags: i32, family: u8) -> Request {
    Request::new(SUBSYSTEM << 8 | message, flags, &[family, libc::NFNETLINK_V0 as u8, 0, 0])
}

/// What begins a transaction; with a generation, only if nothing has changed since it was read.
pub(crate) fn begin(generation: Option<u32>) -> Request {
    let begin = Request::new(libc::NFNL_MSG_BATCH_BEGIN as u16, 0, &[0, 0, 0, SUBSYSTEM as u8]);
    match generation {
        Some(generation) => begin.be32(NFNL_BATCH_GENID, generation),
        None => begin,
    }
}

/// What ends a transaction.
pub(crate) fn end() -> Request {
    Request::new(libc::NFNL_MSG_BATCH_END as u16, 0, &[0, 0, 0, SUBSYSTEM as u8])
}

/// The number of the rule set's state; it changes with every transaction of anybody.
pub(crate) fn get_generation() -> Request {
    request(libc::NFT_MSG_GETGEN as u16, 0, 0)
}

pub(crate) fn parse_generation(reply: &Reply) -> Option<u32> {
    wire::attribute(&reply.payload, NFGENMSG, NFTA_GEN_ID).map(wire::be32)
}

// === impl Table ===

impl Table {
    pub(crate) fn create(self, flags: i32, comment: &str) -> Request {
        request(libc::NFT_MSG_NEWTABLE as u16, libc::NLM_F_CREATE | flags, self.family)
            .string(NFTA_TABLE_NAME, self.name)
            .bytes(NFTA_TABLE_USERDATA, &user_data(comment))
    }

    pub(crate) fn delete(self) -> Request {
        request(libc::NFT_MSG_DELTABLE as u16, NLM_F_NONREC, self.family).string(NFTA_TABLE_NAME, self.name)
    }

    pub(crate) fn create_chain(self, chain: &str, flags: i32) -> Request {
        request(libc::NFT_MSG_NEWCHAIN as u16, libc::NLM_F_CREATE | flags, self.family)
            .string(NFTA_CHAIN_TABLE, self.name)
            .string(NFTA_CHAIN_NAME, chain)
    }

    /// A chain that packets come to by themselves; they are accepted unless a rule says otherwise.
    pub(crate) fn create_base_chain(self, chain: &str, kind: &str, hook: u32, priority: i32) -> Request {
        self.create_chain(chain, 0)
            .nest(NFTA_CHAIN_HOOK, |nest| nest.be32(NFTA_HOOK_HOOKNUM, hook).be32(NFTA_HOOK_PRIORITY, priority as u32))
            .be32(NFTA_CHAIN_POLICY, libc::NF_ACCEPT as u32)
            .string(NFTA_CHAIN_TYPE, kind)
    }

    pub(crate) fn get_chain(self, chain: &str) -> Request {
        request(libc::NFT_MSG_GETCHAIN as u16, 0, self.family)
            .string(NFTA_CHAIN_TABLE, self.name)
            .string(NFTA_CHAIN_NAME, chain)
    }

    /// With its rules, unless `flags` says only without (NLM_F_NONREC). A chain that rules or elements lead to is EBUSY.
    pub(crate) fn delete_chain(self, chain: &str, flags: i32) -> Request {
        request(libc::NFT_MSG_DELCHAIN as u16, flags, self.family)
            .string(NFTA_CHAIN_TABLE, self.name)
            .string(NFTA_CHAIN_NAME, chain)
    }

    /// A rule at the end of a chain.
    pub(crate) fn add_rule(
        self,
        chain: &str,
        comment: Option<&str>,
        expressions: impl FnOnce(Request) -> Request,
    ) -> Request {
        let rule = request(libc::NFT_MSG_NEWRULE as u16, libc::NLM_F_CREATE | libc::NLM_F_APPEND, self.family)
            .string(NFTA_RULE_TABLE, self.name)
            .string(NFTA_RULE_CHAIN, chain)
            .nest(NFTA_RULE_EXPRESSIONS, expressions);
        match comment {
            Some(comment) => rule.bytes(NFTA_RULE_USERDATA, &user_data(comment)),
            None => rule,
        }
    }

    /// The rules of a chain: for a dump.
    pub(crate) fn list_rules(self, chain: &str) -> Request {
        request(libc::NFT_MSG_GETRULE as u16, 0, self.family)
            .string(NFTA_RULE_TABLE, self.name)
            .string(NFTA_RULE_CHAIN, chain)
    }

    /// One rule of a chain, or all.
    pub(crate) fn delete_rules(self, chain: &str, handle: Option<u64>) -> Request {
        let request = request(libc::NFT_MSG_DELRULE as u16, 0, self.family)
            .string(NFTA_RULE_TABLE, self.name)
            .string(NFTA_RULE_CHAIN, chain);
        match handle {
            Some(handle) => request.be64(NFTA_RULE_HANDLE, handle),
            None => request,
        }
    }
}

/// How many rules and references a chain has; None: the reply is not about a chain.
pub(crate) fn parse_chain_use(reply: &Reply) -> Option<u32> {
    (reply.kind == NFT_MSG_NEWCHAIN)
        .then(|| wire::attribute(&reply.payload, NFGENMSG, NFTA_CHAIN_USE).map_or(0, wire::be32))
}

/// A rule as a reply has it.
#[derive(Clone, Debug, Default)]
pub(crate) struct RawRule<'a> {
    pub(crate) handle: u64,
    pub(crate) expressions: &'a [u8],
    pub(crate) comment: String,
}

pub(crate) fn parse_rule(reply: &Reply) -> Option<RawRule<'_>> {
    if reply.kind != NFT_MSG_NEWRULE {
        return None;
    }
    let mut rule = RawRule::default();
    for (kind, value) in wire::attributes(&reply.payload, NFGENMSG) {
        match kind {
            NFTA_RULE_HANDLE => rule.handle = u64::from_be_bytes(value.try_into().ok()?),
            NFTA_RULE_EXPRESSIONS => rule.expressions = value,
            NFTA_RULE_USERDATA => rule.comment = comment(value),
            _ => {}
        }
    }
    Some(rule)
}

// === impl Set ===

impl Set {
    pub(crate) fn create(self) -> Request {
        let set = request(libc::NFT_MSG_NEWSET as u16, libc::NLM_F_CREATE, self.table.family)
            .string(NFTA_SET_TABLE, self.table.name)
            .string(NFTA_SET_NAME, self.name)
            .be32(NFTA_SET_FLAGS, if self.is_map { NFT_SET_MAP } else { 0 })
            .be32(NFTA_SET_KEY_TYPE, self.key_type)
            .be32(NFTA_SET_KEY_LEN, self.key_length)
            .be32(NFTA_SET_ID, self.id);
        // So that nft prints keys that are names: 1 is the machine's byte order, 2 the network's.
        let order: u32 = if self.key_type == super::guard::TYPE_NAME { 1 } else { 2 };
        let mut data = vec![UDATA_SET_KEY_BYTE_ORDER, 4];
        data.extend_from_slice(&order.to_ne_bytes());
        let set = set.bytes(NFTA_SET_USERDATA, &data);
        if self.is_map { set.be32(NFTA_SET_DATA_TYPE, NFT_DATA_VERDICT) } else { set }
    }

    /// Only an empty one; else EBUSY.
    pub(crate) fn delete(self) -> Request {
        request(libc::NFT_MSG_DELSET as u16, NLM_F_NONREC, self.table.family)
            .string(NFTA_SET_TABLE, self.table.name)
            .string(NFTA_SET_NAME, self.name)
    }

    fn elements(self, message: i32, flags: i32, element: impl FnOnce(Request) -> Request) -> Request {
        request(message as u16, flags, self.table.family)
            .string(NFTA_SET_ELEM_LIST_TABLE, self.table.name)
            .string(NFTA_SET_ELEM_LIST_SET, self.name)
            .nest(NFTA_SET_ELEM_LIST_ELEMENTS, |list| list.nest(NFTA_LIST_ELEM, element))
    }

    /// An element that must not be there yet.
    pub(crate) fn add(self, element: &Element) -> Request {
        self.elements(libc::NFT_MSG_NEWSETELEM, libc::NLM_F_CREATE | libc::NLM_F_EXCL, |nest| {
            let nest = key(nest, &element.key);
            let nest = match &element.jump {
                Some(chain) => nest.nest(NFTA_SET_ELEM_DATA, |data| verdict(data, &Verdict::Jump(chain.clone()))),
                None => nest,
            };
            nest.bytes(NFTA_SET_ELEM_USERDATA, &user_data(&element.comment))
        })
    }

    pub(crate) fn remove(self, of: &[u8]) -> Request {
        self.elements(libc::NFT_MSG_DELSETELEM, 0, |nest| key(nest, of))
    }

    pub(crate) fn get(self, of: &[u8]) -> Request {
        self.elements(libc::NFT_MSG_GETSETELEM, 0, |nest| key(nest, of))
    }

    /// Every element: for a dump.
    pub(crate) fn list(self) -> Request {
        request(libc::NFT_MSG_GETSETELEM as u16, 0, self.table.family)
            .string(NFTA_SET_ELEM_LIST_TABLE, self.table.name)
            .string(NFTA_SET_ELEM_LIST_SET, self.name)
    }
}

fn key(request: Request, key: &[u8]) -> Request {
    request.nest(NFTA_SET_ELEM_KEY, |nest| nest.bytes(NFTA_DATA_VALUE, key))
}

/// The attribute that holds a verdict.
pub(crate) fn verdict(request: Request, verdict: &Verdict) -> Request {
    request.nest(NFTA_DATA_VERDICT, |nest| match verdict {
        Verdict::Drop => nest.be32(NFTA_VERDICT_CODE, libc::NF_DROP as u32),
        Verdict::Return => nest.be32(NFTA_VERDICT_CODE, libc::NFT_RETURN as u32),
        Verdict::Jump(chain) => nest.be32(NFTA_VERDICT_CODE, libc::NFT_JUMP as u32).string(NFTA_VERDICT_CHAIN, chain),
    })
}

/// The chain that a verdict (in NFTA_SET_ELEM_DATA or NFTA_IMMEDIATE_DATA) jumps to.
pub(crate) fn parse_jump(data: &[u8]) -> Option<String> {
    let verdict = wire::attribute(data, 0, NFTA_DATA_VERDICT)?;
    wire::attribute(verdict, 0, NFTA_VERDICT_CHAIN).map(wire::text)
}

/// The elements in a reply.
pub(crate) fn parse_elements(reply: &Reply) -> Vec<Element> {
    if reply.kind != NFT_MSG_NEWSETELEM {
        return Vec::new();
    }
    let list = wire::attribute(&reply.payload, NFGENMSG, NFTA_SET_ELEM_LIST_ELEMENTS).unwrap_or_default();
    let parse = |element: &[u8]| {
        let mut parsed = Element { key: Vec::new(), jump: None, comment: String::new() };
        for (kind, value) in wire::attributes(element, 0) {
            match kind {
                NFTA_SET_ELEM_KEY => {
                    parsed.key = wire::attribute(value, 0, NFTA_DATA_VALUE).unwrap_or_default().to_vec();
                }
                NFTA_SET_ELEM_DATA => parsed.jump = parse_jump(value),
                NFTA_SET_ELEM_USERDATA => parsed.comment = comment(value),
                _ => {}
            }
        }
        parsed
    };
    wire::attributes(list, 0).filter(|(kind, _)| *kind == NFTA_LIST_ELEM).map(|(_, element)| parse(element)).collect()
}

fn user_data(comment: &str) -> Vec<u8> {
    let comment = comment.as_bytes();
    let comment = &comment[..comment.len().min(COMMENT)];
    let mut data = vec![UDATA_COMMENT, comment.len() as u8 + 1];
    data.extend_from_slice(comment);
    data.push(0);
    data
}

fn comment(mut data: &[u8]) -> String {
    while let [kind, length, rest @ ..] = data {
        let Some((value, rest)) = rest.split_at_checked(usize::from(*length)) else { break };
        if *kind == UDATA_COMMENT {
            return wire::text(value);
        }
        data = rest;
    }
    String::new()
}
