//! The table `bridge weft`: by a guarded port only frames with the station's MAC come in.
//!
//! ```text
//! table bridge weft {
//!   set guarded { type ifname; elements = { "veth1" comment "OWNER" } }
//!   set stations { type ifname . ether_addr; elements = { "veth1" . 0a:58:0a:01:00:05 comment "OWNER" } }
//!   chain guard { type filter hook prerouting priority -300; iifname @guarded iifname . ether saddr != @stations drop }
//! }
//! ```

use nix::libc;
use weft_contract::types::MacAddress;

use crate::nft::expression::{self, Base, Register};
use crate::nft::message::{Element, Set, Table, Verdict};
use crate::wire::Request;

pub(crate) const TABLE: Table = Table { family: libc::NFPROTO_BRIDGE as u8, name: "weft" };
pub(crate) const BASE: &str = "guard";
/// How many rules [`BASE`] has.
pub(crate) const BASE_RULES: u32 = 1;
/// `nft`'s number of the type of link names.
pub(crate) const TYPE_NAME: u32 = 41;
const TYPE_MAC: u32 = 9;
const NAME: usize = libc::IFNAMSIZ;
pub(crate) const GUARDED: Set =
    Set { table: TABLE, name: "guarded", key_type: TYPE_NAME, key_length: NAME as u32, is_map: false, id: 1 };
/// Parts of a concatenation are filled up to multiples of four bytes.
pub(crate) const STATIONS: Set = Set {
    table: TABLE,
    name: "stations",
    key_type: TYPE_NAME << 6 | TYPE_MAC,
    key_length: NAME as u32 + 8,
    is_map: false,
    id: 2,
};
const PREROUTING: u32 = 0;
/// Before anything else on a bridge.
const PRIORITY: i32 = -300;

/// See [`super::masquerade::create_table`].
pub(crate) fn create_table(flags: i32) -> Vec<Request> {
    let mut requests = vec![
        TABLE.create(flags, "made by weft; its elements carry their attachment"),
        GUARDED.create(),
        STATIONS.create(),
        TABLE.create_base_chain(BASE, "filter", PREROUTING, PRIORITY),
    ];
    if flags & libc::NLM_F_EXCL == 0 {
        requests.push(TABLE.delete_rules(BASE, None));
    }
    requests.push(TABLE.add_rule(BASE, None, |rule| {
        let rule = expression::look_up(expression::load_input_name(rule, Register::First), GUARDED, false);
        let rule = expression::load_input_name(rule, Register::First);
        // The source MAC, behind the destination's.
        let rule = expression::load(rule, Base::Link, 6, 6, Register::Second);
        expression::decide(expression::look_up(rule, STATIONS, true), &Verdict::Drop)
    }));
    requests
}

/// Takes the table away if it guards nothing; else EBUSY.
pub(crate) fn delete_table() -> Vec<Request> {
    vec![
        TABLE.delete_rules(BASE, None),
        TABLE.delete_chain(BASE, super::message::NLM_F_NONREC),
        GUARDED.delete(),
        STATIONS.delete(),
        TABLE.delete(),
    ]
}

/// A port's key.
pub(crate) fn port_key(port: &str) -> Vec<u8> {
    let mut key = port.as_bytes().to_vec();
    key.resize(NAME, 0);
    key
}

/// A station's key.
pub(crate) fn station_key(port: &str, mac: MacAddress) -> Vec<u8> {
    let mut key = port_key(port);
    key.extend_from_slice(&mac.to_be_bytes()[2..]);
    key.extend_from_slice(&[0; 2]);
    key
}

/// The MAC in a station's key, if it is one of this port.
pub(crate) fn mac_at(key: &[u8], port: &str) -> Option<MacAddress> {
    let mac = key.strip_prefix(port_key(port).as_slice())?.get(..6)?;
    Some(mac.iter().fold(0, |mac, byte| mac << 8 | u64::from(*byte)))
}

/// The port and the MAC that a station's key names.
pub(crate) fn station_at(key: &[u8]) -> Option<(String, MacAddress)> {
    let name = key.get(..NAME)?.split(|byte| *byte == 0).next()?;
    let port = String::from_utf8(name.to_vec()).ok()?;
    let mac = mac_at(key, &port)?;
    Some((port, mac))
}

/// A port's two elements.
pub(crate) fn add(port: &str, mac: MacAddress, owner: &str) -> Vec<Request> {
    let element = |key| Element { key, jump: None, comment: owner.to_owned() };
    vec![GUARDED.add(&element(port_key(port))), STATIONS.add(&element(station_key(port, mac)))]
}
