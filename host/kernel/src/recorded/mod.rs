//! Requests held against what iproute2 sends for the same, attribute by attribute, and replies made of noise.
//!
//! The order of attributes, sequence numbers, acknowledgement flags, padding and NULs after strings don't count.

use std::collections::BTreeMap;

use proptest::prelude::*;
use weft_contract::plan::{IpvlanMode, MacvlanMode, PortVlan, VlanProtocol};
use weft_contract::types::{IpPrefix, Route};
use weft_executor::operation::Property;
use weft_executor::state::{Address, Kind, PortFlags};

use crate::link::Birth;
use crate::wire::{self, Reply, Request};
use crate::{address, link, port, route};

/// Indexes of the links in the recordings.
const P: u32 = 4;
const X1: u32 = 6;

/// A command and the bytes it sent.
fn recordings() -> BTreeMap<&'static str, Vec<u8>> {
    let lines: Vec<&str> = include_str!("iproute2.txt").lines().filter(|line| !line.starts_with('#')).collect();
    let byte = |digits: &[u8]| u8::from_str_radix(std::str::from_utf8(digits).unwrap(), 16).unwrap();
    lines.chunks(2).map(|pair| (pair[0], pair[1].as_bytes().chunks(2).map(byte).collect())).collect()
}

/// Message type, flags but NLM_F_ACK, fixed header, and attributes by their path.
#[derive(Debug, PartialEq)]
struct Meaning {
    kind: u16,
    flags: u16,
    fixed: Vec<u8>,
    attributes: Vec<(Vec<u16>, Vec<u8>)>,
}

fn meaning(bytes: &[u8]) -> Meaning {
    let [message] = <[Reply; 1]>::try_from(wire::messages(bytes)).unwrap();
    let fixed = match message.kind {
        nix::libc::RTM_NEWADDR => 8,
        nix::libc::RTM_NEWROUTE => 12,
        _ => 16,
    };
    let mut attributes = Vec::new();
    flatten(&message.payload[fixed..], &mut Vec::new(), &mut attributes);
    // Repeated ones keep their order: it matters for ranges.
    attributes.sort_by(|one, other| one.0.cmp(&other.0));
    let mut fixed = message.payload[..fixed].to_vec();
    // iproute2 leaves ifi_type open, the library says "none".
    if fixed.len() == 16 {
        fixed[2..4].fill(0);
    }
    Meaning { kind: message.kind, flags: message.flags & !4, fixed, attributes }
}

fn flatten(bytes: &[u8], path: &mut Vec<u16>, into: &mut Vec<(Vec<u16>, Vec<u8>)>) {
    let mut is_veth = false;
    for (kind, value) in wire::attributes(bytes, 0) {
        path.push(kind);
        match path.as_slice() {
            // IFLA_INFO_DATA of a veth: VETH_INFO_PEER with a header of its own.
            [18, 2] if is_veth => {
                let peer = wire::attribute(value, 0, 1).unwrap();
                into.push((path.clone(), peer[..16].to_vec()));
                flatten(&peer[16..], path, into);
            }
            // IFLA_LINKINFO, IFLA_INFO_DATA, IFLA_INFO_SLAVE_DATA; RTA_METRICS, by the type of its values; IFLA_AF_SPEC.
            [18] | [18, 2 | 5] | [26] => flatten(value, path, into),
            // Names: of links and kinds.
            [3] | [18, 1] | [18, 2, 3] => {
                is_veth |= value.starts_with(b"veth");
                into.push((path.clone(), wire::text(value).into_bytes()));
            }
            _ => into.push((path.clone(), value.to_vec())),
        }
        path.pop();
    }
}

fn prefix(text: &str) -> IpPrefix {
    text.parse().unwrap()
}

fn made(name: &str, kind: &Kind, parent: Option<u32>) -> Request {
    link::create_link(Birth { name, ..Birth::default() }, kind, parent).unwrap()
}

/// What this crate sends for each command.
fn ours() -> BTreeMap<&'static str, Request> {
    let bridge = |default_vlan| made("br1", &Kind::Bridge { vlan_filtering: true, default_vlan }, None);
    let vlan = |first, last, on| PortVlan { first, last, native: on, untagged: on };
    let parent = String::new;
    let end = |name, mac| Birth { name, mac: Some(mac), mtu: Some(1400), ..Birth::default() };
    let address = |text, bare, no_detection| Address { prefix: prefix(text), bare, no_detection };
    let plain = Route {
        destination: prefix("2001:db8:7::/48"),
        gateway: Some("2001:db8::7".parse().unwrap()),
        source: None,
        on_link: false,
        table: None,
        metric: None,
        scope: None,
        mtu: None,
        advertised_mss: None,
    };
    let full = Route {
        destination: prefix("10.9.0.0/16"),
        gateway: Some("192.168.7.1".parse().unwrap()),
        source: Some("10.1.2.9".parse().unwrap()),
        on_link: true,
        table: Some(1000),
        metric: Some(5),
        mtu: Some(1300),
        advertised_mss: Some(1200),
        ..plain.clone()
    };
    [
        ("ip link add br1 type bridge vlan_filtering 1", bridge(None)),
        ("ip link add br1 type bridge vlan_filtering 1 vlan_default_pvid 5", bridge(Some(5))),
        ("bridge vlan add vid 100 dev p pvid untagged", port::add(P, &vlan(100, 100, true))),
        ("bridge vlan add vid 200-210 dev p", port::add(P, &vlan(200, 210, false))),
        ("bridge vlan del vid 100 dev p", port::remove(P, &vlan(100, 100, false))),
        ("bridge vlan del vid 200-210 dev p", port::remove(P, &vlan(200, 210, false))),
        (
            "ip link set dev p type bridge_slave hairpin on isolated off",
            link::set(P, &Property::Port(PortFlags { hairpin: true, isolated: false }), None),
        ),
        (
            "ip link add link p name p.5 type vlan id 5 protocol 802.1ad",
            made("p.5", &Kind::Vlan { parent: parent(), id: 5, protocol: VlanProtocol::Dot1ad }, Some(P)),
        ),
        (
            "ip link add link p name net1 type ipvlan mode l3s",
            made("net1", &Kind::Ipvlan { parent: parent(), mode: IpvlanMode::L3s }, Some(P)),
        ),
        (
            "ip link add link x1 name net1 type macvlan mode passthru",
            made("net1", &Kind::Macvlan { parent: parent(), mode: MacvlanMode::Passthru }, Some(X1)),
        ),
        ("ip link add vrf1 type vrf table 100", made("vrf1", &Kind::Vrf { table: 100 }, None)),
        (
            "ip link add v address 02:00:00:00:00:01 mtu 1400 type veth peer name w mtu 1400 address 02:00:00:00:00:02",
            link::create_veth(end("v", 0x0200_0000_0001), end("w", 0x0200_0000_0002)),
        ),
        ("ip link set dev p mtu 1400", link::set(P, &Property::Mtu(1400), None)),
        ("ip link set dev p txqueuelen 77", link::set(P, &Property::TransmitQueueLength(77), None)),
        ("ip link set dev p promisc on", link::set(P, &Property::Promiscuous(true), None)),
        (
            "ip addr add 10.1.2.3/24 broadcast + dev p noprefixroute",
            address::add(P, address("10.1.2.3/24", true, false)),
        ),
        ("ip addr add 2001:db8::5/64 dev p nodad", address::add(P, address("2001:db8::5/64", false, true))),
        (
            "ip route prepend 10.9.0.0/16 via 192.168.7.1 dev p onlink table 1000 metric 5 mtu 1300 advmss 1200 src 10.1.2.9",
            route::add(P, &full),
        ),
        ("ip route prepend 2001:db8:7::/48 via 2001:db8::7 dev p", route::add(P, &plain)),
    ]
    .into()
}

#[test]
fn requests_mean_what_iproute2_says() {
    let recordings = recordings();
    let ours = ours();
    assert_eq!(ours.keys().collect::<Vec<_>>(), recordings.keys().collect::<Vec<_>>());
    for (command, request) in ours {
        let mut theirs = meaning(&recordings[command]);
        let mut ours = meaning(request.as_bytes());
        // iproute2 names a port's kind as if it were the link's; both are understood, but only ours says what it is.
        if command.contains("bridge_slave") {
            theirs.attributes.retain(|(path, _)| *path != [18, 1]);
            ours.attributes.retain(|(path, _)| *path != [18, 4]);
        }
        // It says that an ipvlan has no flags; so does leaving them out.
        theirs
            .attributes
            .retain(|(path, value)| !(command.contains("ipvlan") && *path == [18, 2, 2] && *value == [0, 0]));
        assert_eq!(ours, theirs, "{command}");
    }
}

#[test]
fn vlans_of_a_port_are_read_with_their_ranges() {
    let mut payload = vec![7, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    payload.extend_from_slice(&[28, 0, 26, 0]);
    for (flags, vlan) in [(6u8, 100u8), (8, 200), (16, 210)] {
        payload.extend_from_slice(&[8, 0, 2, 0, flags, 0, vlan, 0]);
    }
    let reply = Reply { kind: nix::libc::RTM_NEWLINK, flags: 0, sequence: 0, payload };
    let vlan = |first, last, on| PortVlan { first, last, native: on, untagged: on };
    assert_eq!(port::parse(&reply), Some((9, vec![vlan(100, 100, true), vlan(200, 210, false)])));
}

proptest! {
    #![proptest_config(ProptestConfig {
        rng_seed: proptest::test_runner::RngSeed::Fixed(11),
        ..ProptestConfig::with_cases(4000)
    })]

    #[test]
    fn replies_are_read_without_panic(
        header in proptest::collection::vec(any::<u8>(), 0..20),
        attributes in proptest::collection::vec((0u16..60, proptest::collection::vec(any::<u8>(), 0..40)), 0..8),
        tail in proptest::collection::vec(any::<u8>(), 0..8),
        lie: Option<u16>,
    ) {
        let mut payload = header;
        for (kind, value) in attributes {
            payload.extend_from_slice(&lie.unwrap_or(value.len() as u16 + 4).to_ne_bytes());
            payload.extend_from_slice(&kind.to_ne_bytes());
            payload.extend_from_slice(&value);
            payload.resize(payload.len().next_multiple_of(4), 0);
        }
        payload.extend_from_slice(&tail);
        for kind in [nix::libc::RTM_NEWLINK, nix::libc::RTM_NEWADDR, nix::libc::RTM_NEWROUTE, nix::libc::RTM_NEWRULE] {
            let reply = Reply { kind, flags: 0, sequence: 0, payload: payload.clone() };
            if let Some(link) = link::parse(&reply) {
                let _ = link.kind(String::new);
            }
            let _ = address::parse(&reply);
            let _ = route::parse(&reply);
            let _ = port::parse(&reply);
        }
        crate::nft::read_anything(&payload);
    }
}
