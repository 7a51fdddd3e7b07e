//! Plans and kernels to test with, written as short as can be.
#![allow(dead_code, reason = "each test file uses its part of this")]
#![allow(clippy::unwrap_used, unreachable_pub, reason = "a test")]

use std::collections::BTreeMap;

pub use weft_contract::plan::*;
pub use weft_contract::types::*;
use weft_executor::model::Model;
use weft_executor::resolve::{Choices, Identity, PlanError, resolve};
use weft_executor::state::{self, Kind, Observed};
use weft_executor::wanted::Wanted;

pub fn prefix(text: &str) -> IpPrefix {
    text.parse().unwrap()
}

pub fn address(text: &str) -> IpAddress {
    text.parse().unwrap()
}

pub fn host(name: &str) -> LinkName {
    LinkName { place: Place::Host, name: name.into() }
}

pub fn sandbox(name: &str) -> LinkName {
    LinkName { place: Place::Sandbox, name: name.into() }
}

pub fn label(label: &str) -> LinkRef {
    LinkRef::Label(label.into())
}

pub fn empty_plan() -> Plan {
    Plan {
        links: vec![],
        rules: vec![],
        routes: vec![],
        absent_routes: vec![],
        sysctls: vec![],
        forwarding: vec![],
        masquerades: vec![],
        port_mappings: vec![],
        filters: vec![],
        shaping: vec![],
        redirects: vec![],
        functions: vec![],
        outcome: Outcome::Extended(vec![]),
        extra: vec![],
    }
}

pub fn link(label: &str, place: Place, kind: LinkKind) -> Link {
    Link {
        label: label.into(),
        kind,
        place,
        name: None,
        life: Life::Attachment,
        up: None,
        mtu: None,
        mac: None,
        master: None,
        port: None,
        addresses: vec![],
        sysctls: vec![],
        transmit_queue_length: None,
        promiscuous: None,
        all_multicast: None,
        extra: vec![],
    }
}

pub fn existing(label: &str, at: LinkName) -> Link {
    link(label, at.place, LinkKind::Existing(LinkSelector::Named(at)))
}

pub fn bridge(name: &str, vlan_filtering: bool) -> Link {
    Link {
        name: Some(name.into()),
        life: Life::Permanent,
        up: Some(true),
        ..link("bridge", Place::Host, LinkKind::Bridge(Bridge { vlan_filtering, default_vlan: None }))
    }
}

/// A pair of the labels `host` and `eth`.
pub fn pair() -> [Link; 2] {
    [
        Link { up: Some(true), ..link("host", Place::Host, LinkKind::Veth("eth".into())) },
        Link { up: Some(true), ..link("eth", Place::Sandbox, LinkKind::Veth("host".into())) },
    ]
}

pub fn port() -> BridgePort {
    BridgePort { hairpin: false, isolated: false, vlans: vec![], drop_default_vlan: false }
}

pub fn vlan(id: u16, native: bool) -> PortVlan {
    PortVlan { first: id, last: id, native, untagged: native }
}

pub fn on_link(text: &str) -> Address {
    Address { prefix: prefix(text), others: Others::Keep, detection: Detection::Skip, bare: false, announce: false }
}

pub fn route(destination: &str, gateway: Option<&str>) -> Route {
    Route {
        destination: prefix(destination),
        gateway: gateway.map(address),
        source: None,
        on_link: false,
        table: None,
        metric: None,
        scope: None,
        mtu: None,
        advertised_mss: None,
    }
}

pub fn through(link: LinkRef, route: Route) -> LinkRoute {
    LinkRoute { link, route }
}

pub fn sysctl(key: &str, value: &str) -> Sysctl {
    Sysctl { key: key.into(), value: value.into(), lenient: false }
}

/// What the bridge plugin asks for: a bridge with a gateway's address, a pair, an address, a route, masquerading and a
/// guard.
pub fn bridge_plan() -> Plan {
    let [mut near, mut far] = pair();
    near.master = Some(label("bridge"));
    near.port = Some(BridgePort { hairpin: true, ..port() });
    near.sysctls = vec![sysctl("ipv6/accept_ra", "0")];
    far.addresses = vec![on_link("10.1.0.5/24")];
    far.sysctls = vec![sysctl("ipv4/arp_notify", "1")];
    let mut cni0 = bridge("cni0", false);
    cni0.addresses = vec![Address { others: Others::Refuse, ..on_link("10.1.0.1/24") }];
    Plan {
        links: vec![far, near, cni0],
        routes: vec![through(label("eth"), route("0.0.0.0/0", Some("10.1.0.1")))],
        forwarding: vec![IpFamily::V4],
        masquerades: vec![Masquerade { source: prefix("10.1.0.5/32"), except: vec![prefix("10.1.0.0/24")] }],
        filters: vec![Filter::SourceGuard(SourceGuard { port: label("host"), station: label("eth") })],
        ..empty_plan()
    }
}

pub fn identity() -> Identity {
    Identity { owner: "net/pod/eth0".into(), ifname: "eth0".into() }
}

pub fn resolved(plan: &Plan) -> Result<Wanted, PlanError> {
    let mut next = 0x1234_5678_9abc_def0_u64;
    let mut random = || {
        next = next.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        next >> 16
    };
    resolve(plan, &identity(), &mut Choices::default(), &mut random)
}

pub fn seen(index: u32, kind: Kind) -> state::Link {
    state::Link {
        index,
        kind,
        up: true,
        mtu: 1500,
        mac: Some(0x0200_0000_0000 + u64::from(index)),
        master: None,
        peer_index: None,
        transmit_queue_length: 1000,
        promiscuous: false,
        all_multicast: false,
        port: None,
        vlans: vec![],
        addresses: vec![],
    }
}

pub fn seen_bridge(index: u32, vlan_filtering: bool) -> state::Link {
    seen(index, Kind::Bridge { vlan_filtering, default_vlan: Some(1) })
}

pub fn has(text: &str) -> state::Address {
    state::Address { prefix: prefix(text), bare: false, no_detection: false }
}

/// A node with a card and a sandbox with nothing but loopback.
pub fn node() -> Model {
    let mut all = Observed::default();
    let mut eth0 = seen(2, Kind::Other(String::new()));
    eth0.addresses = vec![has("192.168.0.2/24")];
    all.links = BTreeMap::from([
        (host("lo"), seen(1, Kind::Loopback)),
        (host("eth0"), eth0),
        (sandbox("lo"), seen(3, Kind::Loopback)),
    ]);
    all.routes = vec![(host("eth0"), route("0.0.0.0/0", Some("192.168.0.1")))];
    for (place, key, value) in [
        (Place::Host, "net/ipv4/ip_forward", "0"),
        (Place::Host, "net/ipv6/conf/all/forwarding", "0"),
        (Place::Host, "net/ipv6/conf/eth0/accept_ra", "1"),
        (Place::Sandbox, "net/ipv4/ip_local_port_range", "32768\t60999"),
        (Place::Sandbox, "net/ipv6/conf/all/disable_ipv6", "0"),
    ] {
        all.sysctls.insert((place, key.into()), value.into());
    }
    Model(all)
}
