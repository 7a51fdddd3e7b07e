//! What `resolve` and `confine` make of plans.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

mod support;

use std::collections::BTreeSet;

use support::*;
use weft_executor::confine::{Allowed, confine};
use weft_executor::resolve::PlanError;
use weft_executor::wanted::{Wanted, WantedKind};

fn with(change: impl FnOnce(&mut Plan)) -> Result<Wanted, PlanError> {
    let mut plan = bridge_plan();
    change(&mut plan);
    resolved(&plan)
}

/// The links of `bridge_plan`.
const ETH: usize = 0;
const HOST: usize = 1;
const BRIDGE: usize = 2;

#[test]
fn names_and_macs_are_settled() {
    let wanted = with(|_| {}).unwrap();
    let [eth, near, cni0] = wanted.links.as_slice() else { panic!("{wanted:?}") };
    assert_eq!(eth.at, sandbox("eth0"));
    assert_eq!(cni0.at, host("cni0"));
    assert_eq!(near.at.place, Place::Host);
    assert!(near.at.name.starts_with("veth") && near.at.name.len() == 12, "{}", near.at.name);
    assert_eq!(eth.kind, WantedKind::Veth { peer: near.at.clone() });
    assert_eq!(near.kind, WantedKind::Veth { peer: sandbox("eth0") });
    assert_eq!(near.master.as_deref(), Some("cni0"));
    for link in &wanted.links {
        let mac = link.mac.unwrap();
        assert_eq!((mac >> 48, mac >> 40 & 3), (0, 2), "{mac:x} is not a local one of a single station");
    }
    assert_eq!(wanted.guards[0].port, near.at.name);
    assert_eq!(Some(wanted.guards[0].mac), eth.mac);
    assert_eq!(near.sysctls[0].key, format!("net/ipv6/conf/{}/accept_ra", near.at.name));
    assert_eq!((eth.sysctls[0].place, eth.sysctls[0].key.as_str()), (Place::Sandbox, "net/ipv4/conf/eth0/arp_notify"));
    assert_eq!(wanted.owner, "net/pod/eth0");
}

#[test]
fn prefixes_become_networks_and_lists_are_sorted() {
    let wanted = with(|plan| {
        let except = vec![prefix("10.2.3.4/16"), prefix("10.1.0.9/24"), prefix("10.1.0.0/24"), prefix("fd00::/8")];
        plan.masquerades[0].except = except;
        plan.routes[0].route.destination = prefix("10.7.8.9/16");
        plan.forwarding = vec![IpFamily::V6, IpFamily::V4, IpFamily::V6];
    })
    .unwrap();
    assert_eq!(wanted.masquerades[0].except, [prefix("10.1.0.0/24"), prefix("10.2.0.0/16")]);
    assert_eq!(wanted.routes[0].1.destination, prefix("10.7.0.0/16"));
    assert_eq!(wanted.forwarding, [IpFamily::V4, IpFamily::V6]);
}

#[test]
fn an_announced_address_is_announced_by_the_kernel() {
    let wanted = with(|plan| plan.links[BRIDGE].addresses[0].announce = true).unwrap();
    let sysctl = &wanted.links[BRIDGE].sysctls[0];
    assert_eq!((sysctl.key.as_str(), sysctl.value.as_str()), ("net/ipv4/conf/cni0/arp_notify", "1"));
    let said = with(|plan| plan.links[ETH].addresses[0].announce = true).unwrap();
    assert_eq!(said.links[ETH].sysctls.len(), 1, "it is said already");
}

#[test]
fn a_pair_that_outlives_the_attachment_is_found_again() {
    let mut plan = empty_plan();
    let kind = |peer: &str| LinkKind::Veth(peer.into());
    let near = Link { name: Some("cni0.100".into()), life: Life::Permanent, ..link("a", Place::Host, kind("b")) };
    plan.links = vec![near, Link { life: Life::Permanent, ..link("b", Place::Host, kind("a")) }];
    let far = resolved(&plan).unwrap().links[1].at.clone();
    assert!(far.name.starts_with("veth"), "{far:?}");
    plan.links.rotate_left(1);
    assert_eq!(resolved(&plan).unwrap().links[0].at, far);
}

#[test]
fn existing_links_keep_their_names() {
    let plan = Plan { links: vec![existing("lo", sandbox("lo"))], ..empty_plan() };
    let wanted = resolved(&plan).unwrap();
    assert_eq!(
        (&wanted.links[0].at, &wanted.links[0].kind, wanted.links[0].mac),
        (&sandbox("lo"), &WantedKind::Existing, None)
    );
}

#[test]
fn contradictions_are_named() {
    type Change = fn(&mut Plan);
    let cases: &[(&str, Change)] = &[
        ("two links are labelled \"eth\"", |plan| plan.links[HOST].label = "eth".into()),
        ("is no label", |plan| plan.links[HOST].label = String::new()),
        ("links \"eth\" and \"dummy\" both become eth0 in the sandbox", |plan| {
            plan.links.push(link("dummy", Place::Sandbox, LinkKind::Dummy));
        }),
        ("links[\"host\"].master refers to \"nothing\"", |plan| plan.links[HOST].master = Some(label("nothing"))),
        ("links[\"eth\"].kind.veth refers to \"nothing\"", |plan| {
            plan.links[ETH].kind = LinkKind::Veth("nothing".into())
        }),
        ("routes[0].link refers to \"nothing\"", |plan| plan.routes[0].link = label("nothing")),
        ("filters[0].port refers to \"nothing\"", |plan| {
            let guard = SourceGuard { port: label("nothing"), station: label("eth") };
            plan.filters = vec![Filter::SourceGuard(guard)];
        }),
        ("link \"eth\" is a veth whose other end is \"host\"", |plan| plan.links[HOST].kind = LinkKind::Dummy),
        ("link \"eth\" is a veth whose other end is \"eth\"", |plan| {
            plan.links[ETH].kind = LinkKind::Veth("eth".into())
        }),
        ("veth of the same life", |plan| {
            (plan.links[HOST].life, plan.links[HOST].name) = (Life::Permanent, Some("x".into()))
        }),
        ("\"a-name-too-long!\" is no name", |plan| plan.links[HOST].name = Some("a-name-too-long!".into())),
        ("\"\" is no name", |plan| plan.links[HOST].name = Some(String::new())),
        ("\"..\" is no name", |plan| plan.links[HOST].name = Some("..".into())),
        ("\"a/b\" is no name", |plan| plan.links[HOST].name = Some("a/b".into())),
        ("\"a b\" is no name", |plan| plan.links[HOST].name = Some("a b".into())),
        ("\"eth%d\" is no name", |plan| plan.links[HOST].name = Some("eth%d".into())),
        ("link \"bridge\" outlives the attachment, so it needs a name", |plan| plan.links[BRIDGE].name = None),
        ("03:00:00:00:00:00 is not the MAC of a single link", |plan| plan.links[ETH].mac = Some(0x0300_0000_0000)),
        ("cni0 on the host is not in the namespace", |plan| plan.links[ETH].master = Some(label("bridge"))),
        ("link \"host\" has properties of a bridge port but no master", |plan| plan.links[HOST].master = None),
        ("link \"bridge\" is its own master", |plan| plan.links[BRIDGE].master = Some(label("bridge"))),
        ("\"host\" has VLANs as a port of \"bridge\", which doesn't filter", |plan| {
            plan.links[HOST].port = Some(BridgePort { vlans: vec![vlan(5, true)], ..port() });
        }),
        ("links[\"host\"].port.vlans: VLAN 4095 is not from 1 to 4094", |plan| {
            plan.links[HOST].port = Some(BridgePort { vlans: vec![vlan(4095, true)], ..port() });
        }),
        ("VLAN 0 is not from 1", |plan| {
            plan.links[HOST].port = Some(BridgePort { vlans: vec![vlan(0, true)], ..port() })
        }),
        ("9 to 5 is not a range", |plan| {
            let vlans = vec![PortVlan { first: 9, last: 5, native: false, untagged: false }];
            plan.links[HOST].port = Some(BridgePort { vlans, ..port() });
        }),
        ("VLAN 6 is there twice, or is a second native one", |plan| {
            plan.links[HOST].port = Some(BridgePort { vlans: vec![vlan(5, true), vlan(6, true)], ..port() });
        }),
        ("VLAN 5000 is not from 0 to 4094", |plan| {
            let vlan = Vlan { parent: LinkRef::Named(host("eth0")), id: 5000, protocol: VlanProtocol::Dot1q };
            plan.links.push(link("vlan", Place::Host, LinkKind::Vlan(vlan)));
        }),
        ("table 254 can't be that of a routing domain", |plan| {
            plan.links.push(link("vrf", Place::Host, LinkKind::Vrf(254)))
        }),
        ("10.1.0.5/33 is longer", |plan| plan.links[ETH].addresses[0].prefix.length = 33),
        ("routes[0]: ::/129 is longer", |plan| {
            plan.routes[0].route.destination = IpPrefix { address: address("::"), length: 129 };
        }),
        ("link \"eth\" has the address 10.1.0.5 twice", |plan| plan.links[ETH].addresses.push(on_link("10.1.0.5/32"))),
        ("both have the address 10.1.0.5", |plan| plan.links[HOST].addresses.push(on_link("10.1.0.5/32"))),
        ("routes[0]: the route to 0.0.0.0/0 can't lead through (or have the source) fd00::1", |plan| {
            plan.routes[0].route.gateway = Some(address("fd00::1"));
        }),
        ("\"ipv6/../all/forwarding\" is not a family and a key", |plan| {
            plan.links[HOST].sysctls = vec![sysctl("ipv6/../all/forwarding", "1")];
        }),
        ("\"kernel/x\" is not a family", |plan| plan.links[HOST].sysctls = vec![sysctl("kernel/x", "1")]),
        ("sysctls[0]: \"kernel/panic\" is not a key under net/", |plan| {
            plan.sysctls = vec![sysctl("kernel/panic", "1")]
        }),
        ("\"net/../kernel/panic\"", |plan| plan.sysctls = vec![sysctl("net/../kernel/panic", "1")]),
        ("\"/proc/sys/net/x\"", |plan| plan.sysctls = vec![sysctl("/proc/sys/net/x", "1")]),
        ("\"net//x\"", |plan| plan.sysctls = vec![sysctl("net//x", "1")]),
        ("of more than one line", |plan| plan.sysctls = vec![sysctl("net/x", "1\n2")]),
        ("\"net/ipv4/conf/eth0/arp_notify\" is to be \"1\" and \"0\"", |plan| {
            plan.sysctls = vec![sysctl("net/ipv4/conf/eth0/arp_notify", "0")];
        }),
        ("10.1.0.5/32 is to be masqueraded with two different lists", |plan| {
            plan.masquerades.push(Masquerade { source: prefix("10.1.0.5/32"), except: vec![] });
        }),
        ("eth0 in the sandbox is not in the namespace", |plan| {
            plan.filters = vec![Filter::SourceGuard(SourceGuard { port: label("eth"), station: label("eth") })];
        }),
        ("filters[0].station: the station must be a link of the plan", |plan| {
            let station = LinkRef::Named(sandbox("eth0"));
            plan.filters = vec![Filter::SourceGuard(SourceGuard { port: label("host"), station })];
        }),
        ("has two source guards", |plan| {
            let guard = SourceGuard { port: label("host"), station: label("bridge") };
            plan.filters.push(Filter::SourceGuard(guard));
        }),
        ("links[\"eth\"].extra: \"altname\" is not a name that this version", |plan| {
            plan.links[ETH].extra = vec![Setting { name: "altname".into(), value: "x".into() }];
        }),
        ("extra: \"ttl\" is not a name", |plan| plan.extra = vec![Setting { name: "ttl".into(), value: "x".into() }]),
    ];
    for (expected, change) in cases {
        match with(change) {
            Err(error) => assert!(error.to_string().contains(expected), "{expected:?} is not in {error}"),
            Ok(_) => panic!("accepted: {expected}"),
        }
    }
}

#[test]
fn what_is_not_built_is_refused_by_name() {
    type Change = fn(&mut Plan);
    let cases: &[(&str, Change)] = &[
        ("port-mappings", |plan| {
            plan.port_mappings.push(PortMapping {
                protocol: Protocol::Tcp,
                host_address: None,
                host_port: 80,
                container: address("10.1.0.5"),
                container_port: 80,
                source_nat: SourceNat::Local,
                conditions: vec![],
            });
        }),
        ("rules", |plan| {
            plan.rules.push(Rule {
                place: Place::Sandbox,
                source: None,
                destination: None,
                input: None,
                table: 100,
                priority: None,
            });
        }),
        ("shaping", |plan| {
            plan.shaping.push(Shaping { link: label("host"), bits_per_second: 1, burst_bits: 1 });
        }),
        ("redirects", |plan| plan.redirects.push(Redirect { source: label("host"), target: label("eth") })),
        ("filter same-bridge", |plan| plan.filters.push(Filter::SameBridge(label("bridge")))),
        ("filter isolated", |plan| plan.filters.push(Filter::Isolated(label("bridge")))),
        ("filter accept", |plan| {
            let accept = Accept { address: address("10.1.0.5"), firewalld_zone: None, admin_chain: None };
            plan.filters.push(Filter::Accept(accept));
        }),
        ("kind wireguard", |plan| plan.links.push(link("w", Place::Host, LinkKind::Other("wireguard".into())))),
        ("moving or renaming", |plan| {
            plan.links.push(Link { place: Place::Sandbox, ..existing("card", host("eth1")) });
        }),
        ("anything but its name", |plan| {
            plan.links.push(link("card", Place::Host, LinkKind::Existing(LinkSelector::Pci("0000:00:03.0".into()))));
        }),
        ("a parent in the sandbox", |plan| {
            let parent = LinkRef::Named(sandbox("net1"));
            plan.links.push(Link {
                name: Some("ipv0".into()),
                ..link("ipvlan", Place::Sandbox, LinkKind::Ipvlan(Ipvlan { parent, mode: IpvlanMode::L2 }))
            });
        }),
    ];
    for (expected, change) in cases {
        match with(change) {
            Err(PlanError::Unsupported { what }) => assert!(what.contains(expected), "{expected:?} is not in {what:?}"),
            other => panic!("{expected}: {other:?}"),
        }
    }
}

fn allowed(names: &[&str], parents: &[&str]) -> Allowed {
    let set = |names: &[&str]| names.iter().map(|name| name.to_string()).collect::<BTreeSet<_>>();
    Allowed { host_links: set(names), parents: set(parents) }
}

#[test]
fn a_plan_is_confined_to_its_own_and_what_is_named() {
    let wanted = with(|_| {}).unwrap();
    assert_eq!(confine(&wanted, &allowed(&["cni0"], &[])), Ok(()));
    assert_eq!(
        confine(&wanted, &allowed(&["eth0"], &["cni0"])).unwrap_err().to_string(),
        "link \"bridge\" concerns cni0 on the host, which the network configuration doesn't name"
    );
    type Change = fn(&mut Plan);
    let cases: &[(Change, &str)] = &[
        (|plan| plan.links[HOST].master = Some(LinkRef::Named(host("docker0"))), "the master of link \"host\""),
        (|plan| plan.links.push(existing("card", host("eth0"))), "link \"card\""),
        (|plan| plan.routes[0].link = LinkRef::Named(host("eth0")), "the route to 0.0.0.0/0"),
        (
            |plan| plan.absent_routes = vec![through(LinkRef::Named(host("eth0")), route("0.0.0.0/0", None))],
            "the absent route",
        ),
        (
            |plan| {
                let guard = SourceGuard { port: LinkRef::Named(host("vethother")), station: label("eth") };
                plan.filters = vec![Filter::SourceGuard(guard)];
            },
            "a source guard",
        ),
        (
            |plan| {
                let parent = LinkRef::Named(host("wlan0"));
                let kind =
                    LinkKind::Macvlan(Macvlan { parent, mode: MacvlanMode::Bridge, broadcast_queue_length: None });
                plan.links.push(Link { name: Some("net1".into()), ..link("macvlan", Place::Sandbox, kind) });
            },
            "the parent of link \"macvlan\"",
        ),
    ];
    for (change, what) in cases {
        let error = confine(&with(change).unwrap(), &allowed(&["cni0"], &["eth0"])).unwrap_err();
        assert!(error.to_string().starts_with(what), "{error}");
    }
    let everything = allowed(&["cni0", "docker0", "eth0", "vethother"], &["wlan0"]);
    for (change, _) in cases {
        assert_eq!(confine(&with(change).unwrap(), &everything), Ok(()));
    }
}

#[test]
fn a_vlans_gateway_belongs_to_its_bridge() {
    let kind = |peer: &str| LinkKind::Veth(peer.into());
    let shared = |label: &str, peer: &str| Link { life: Life::Permanent, ..link(label, Place::Host, kind(peer)) };
    let named = |name: &str| {
        let near = Link { name: Some(name.into()), ..shared("a", "b") };
        resolved(&Plan { links: vec![near, shared("b", "a")], ..empty_plan() }).unwrap()
    };
    assert_eq!(confine(&named("cni0.100"), &allowed(&["cni0"], &[])), Ok(()));
    assert!(confine(&named("cni0.x"), &allowed(&["cni0"], &[])).is_err());
    assert!(confine(&named("eth1.100"), &allowed(&["cni0"], &[])).is_err());
}
