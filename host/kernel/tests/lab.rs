//! Every operation against a real kernel, in namespaces of its own: each test runs itself again under `unshare -rnm`,
//! so it needs no root and can't touch the machine's network.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "the bodies of tests stand in a macro")]

#[macro_use]
mod namespaces;

use namespaces::{Lab, host, prefix, sandbox};
use serde_json::json;
use weft_contract::facts::LinkFacts;
use weft_contract::plan::{MacvlanMode, PortVlan};
use weft_contract::types::{IpFamily, LinkSelector, Place, Route, RouteScope};
use weft_executor::operation::{Operation, Property, VethEnd};
use weft_executor::state::{Address, Kind, PortFlags};

fn veth(first: VethEnd, second: VethEnd) -> Operation {
    Operation::CreateVeth { first, second }
}

fn end(at: weft_contract::types::LinkName) -> VethEnd {
    VethEnd { at, mac: None, mtu: None, master: None, up: false }
}

fn bridge(name: &str) -> Operation {
    Operation::CreateLink {
        at: host(name),
        kind: Kind::Bridge { vlan_filtering: false, default_vlan: None },
        mac: Some(0x0a58_0a01_0001),
        mtu: None,
        up: true,
    }
}

fn address(text: &str) -> Address {
    Address { prefix: prefix(text), bare: false, no_detection: false }
}

fn route(destination: &str, gateway: Option<&str>) -> Route {
    Route {
        destination: prefix(destination),
        gateway: gateway.map(|gateway| gateway.parse().unwrap()),
        source: None,
        on_link: false,
        table: None,
        metric: None,
        scope: None,
        mtu: None,
        advertised_mss: None,
    }
}

lab_test!(a_veth_pair_is_born_in_its_places, |lab| {
    lab.apply(&[bridge("br0")]);
    let pair = veth(
        VethEnd {
            mtu: Some(1400),
            mac: Some(0x0200_0000_0001),
            master: Some("br0".into()),
            up: true,
            ..end(host("weft1"))
        },
        VethEnd { mtu: Some(1400), mac: Some(0x0200_0000_0002), ..end(sandbox("eth0")) },
    );
    let before = lab.dump();
    lab.apply(std::slice::from_ref(&pair));
    let seen = lab.observe(&[host("weft1"), sandbox("eth0")]);
    let first = &seen.links[&host("weft1")];
    let second = &seen.links[&sandbox("eth0")];
    assert_eq!((first.kind.clone(), first.up, first.mtu, first.mac), (Kind::Veth, true, 1400, Some(0x0200_0000_0001)));
    assert_eq!(
        (second.kind.clone(), second.up, second.mtu, second.mac),
        (Kind::Veth, false, 1400, Some(0x0200_0000_0002))
    );
    assert_eq!(first.master.as_deref(), Some("br0"));
    assert_eq!((first.peer_index, second.peer_index), (Some(second.index), Some(first.index)));
    assert_eq!(first.port, Some(PortFlags::default()));
    // The master is looked up, too.
    assert!(seen.links[&host("br0")].up);
    assert_eq!(seen.links[&host("br0")].mac, Some(0x0a58_0a01_0001));
    let independent = lab.ip(Place::Host, &["link", "show", "weft1"]);
    assert_eq!(independent[0]["master"], "br0");
    assert_eq!(independent[0]["address"], "02:00:00:00:00:01");
    assert_eq!(lab.ip(Place::Sandbox, &["link", "show", "eth0"])[0]["address"], "02:00:00:00:00:02");
    // Deleting twice is as good as once.
    lab.apply(&[pair.inverse().unwrap()]);
    assert_eq!(lab.dump(), before);
    lab.apply(&[pair.inverse().unwrap()]);
});

lab_test!(a_pair_can_be_born_in_the_sandbox_first, |lab| {
    let pair = veth(VethEnd { up: true, ..end(sandbox("eth0")) }, end(host("weft1")));
    lab.apply(std::slice::from_ref(&pair));
    assert!(lab.observe(&[sandbox("eth0")]).links[&sandbox("eth0")].up);
    assert!(lab.observe(&[host("weft1")]).links.contains_key(&host("weft1")));
    lab.apply(&[pair.inverse().unwrap()]);
    let both = veth(end(host("a")), end(host("b")));
    lab.apply(std::slice::from_ref(&both));
    assert_eq!(lab.observe(&[host("a"), host("b")]).links.len(), 2);
    lab.apply(&[both.inverse().unwrap()]);
    assert!(lab.observe(&[host("a"), host("b"), sandbox("eth0")]).links.is_empty());
});

lab_test!(a_name_that_is_taken_is_named_with_its_side, |lab| {
    lab.apply(&[veth(end(host("weft1")), end(sandbox("eth0")))]);
    let failure = lab.refused(&[veth(end(host("weft2")), end(sandbox("eth0")))]);
    assert!(failure.error.to_string().contains("eth0 (sandbox) exists already"), "{failure}");
    assert_eq!(failure.error.errno, 17);
    let failure = lab.refused(&[veth(end(host("weft1")), end(sandbox("eth1")))]);
    assert!(failure.error.to_string().contains(": weft1 (host) exists already"), "{failure}");
    let failure = lab.refused(&[veth(end(host("a-name-that-is-far-too-long")), end(sandbox("eth1")))]);
    assert!(failure.error.to_string().contains("is no name for a link"), "{failure}");
});

lab_test!(a_link_of_another_kind_is_not_deleted, |lab| {
    let pair = veth(end(host("x")), end(sandbox("eth0")));
    lab.apply(&[Operation::CreateLink {
        at: host("x"),
        kind: Kind::Bridge { vlan_filtering: false, default_vlan: None },
        mac: None,
        mtu: None,
        up: false,
    }]);
    lab.apply(&[pair.inverse().unwrap()]);
    assert!(lab.observe(&[host("x")]).links.contains_key(&host("x")));
});

lab_test!(a_bridge_with_ports_is_left_to_those_who_use_it, |lab| {
    lab.apply(&[bridge("br0"), veth(VethEnd { master: Some("br0".into()), ..end(host("p")) }, end(sandbox("eth0")))]);
    lab.apply(&[bridge("br0").inverse().unwrap()]);
    assert!(lab.observe(&[host("br0")]).links.contains_key(&host("br0")));
    lab.apply(&[veth(end(host("p")), end(sandbox("eth0"))).inverse().unwrap(), bridge("br0").inverse().unwrap()]);
    assert!(lab.observe(&[host("br0")]).links.is_empty());
});

lab_test!(every_property_is_set_and_set_back, |lab| {
    lab.apply(&[bridge("br0"), veth(end(host("p")), end(sandbox("eth0")))]);
    let before = lab.dump();
    let set = |was, now| Operation::SetLink { at: host("p"), was, now };
    let mac = lab.observe(&[host("p")]).links[&host("p")].mac.unwrap();
    let operations = [
        set(Property::Mtu(1500), Property::Mtu(1300)),
        set(Property::Mac(mac), Property::Mac(0x0200_0000_00aa)),
        set(Property::Master(None), Property::Master(Some("br0".into()))),
        set(Property::Port(PortFlags::default()), Property::Port(PortFlags { hairpin: true, isolated: true })),
        set(Property::Up(false), Property::Up(true)),
        set(Property::Promiscuous(false), Property::Promiscuous(true)),
        set(Property::AllMulticast(false), Property::AllMulticast(true)),
        set(Property::TransmitQueueLength(1000), Property::TransmitQueueLength(77)),
    ];
    lab.apply(&operations);
    let link = lab.observe(&[host("p")]).links[&host("p")].clone();
    assert_eq!((link.mtu, link.mac, link.transmit_queue_length), (1300, Some(0x0200_0000_00aa), 77));
    assert_eq!((link.up, link.promiscuous, link.all_multicast), (true, true, true));
    assert_eq!(link.port, Some(PortFlags { hairpin: true, isolated: true }));
    let independent = lab.ip(Place::Host, &["-d", "link", "show", "p"]);
    assert_eq!(independent[0]["linkinfo"]["info_slave_data"]["hairpin"], true);
    assert_eq!(independent[0]["linkinfo"]["info_slave_data"]["isolated"], true);
    assert_eq!(independent[0]["mtu"], 1300);
    // A bridge's port is promiscuous for the bridge's sake: nobody asked for it.
    lab.apply(&[operations[5].inverse().unwrap()]);
    assert!(!lab.observe(&[host("p")]).links[&host("p")].promiscuous);
    lab.apply(&[operations[5].clone()]);
    let back: Vec<Operation> = operations.iter().rev().map(|operation| operation.inverse().unwrap()).collect();
    lab.apply(&back);
    assert_eq!(lab.dump(), before);
});

lab_test!(addresses_come_with_flags_and_go, |lab| {
    lab.apply(&[veth(VethEnd { up: true, ..end(host("p")) }, end(sandbox("eth0")))]);
    let before = lab.dump();
    let addresses = [
        address("10.1.2.3/24"),
        address("10.9.9.9/32"),
        Address { bare: true, ..address("10.3.0.1/31") },
        Address { no_detection: true, ..address("2001:db8::5/64") },
        Address { bare: true, no_detection: true, ..address("2001:db8:1::5/64") },
    ];
    let operations: Vec<Operation> =
        addresses.iter().map(|address| Operation::AddAddress { at: sandbox("eth0"), address: *address }).collect();
    lab.apply(&operations);
    let mut seen = lab.observe(&[sandbox("eth0")]).links[&sandbox("eth0")].addresses.clone();
    let mut wanted = addresses.to_vec();
    wanted.sort();
    seen.sort();
    assert_eq!(seen, wanted);
    let independent = lab.ip(Place::Sandbox, &["addr", "show", "eth0"]);
    let of = |local: &str| {
        let all = independent[0]["addr_info"].as_array().unwrap().clone();
        all.into_iter().find(|info| info["local"] == local).unwrap()
    };
    assert_eq!(of("10.1.2.3")["broadcast"], "10.1.2.255");
    assert_eq!(of("10.9.9.9").get("broadcast"), None);
    assert_eq!(of("10.3.0.1").get("broadcast"), None);
    assert_eq!(of("10.3.0.1")["noprefixroute"], true);
    assert_eq!(of("2001:db8::5")["nodad"], true);
    let again = lab.refused(&operations[..1]);
    assert!(again.error.to_string().contains("the link has it already"), "{again}");
    let back: Vec<Operation> = operations.iter().map(|operation| operation.inverse().unwrap()).collect();
    lab.apply(&back);
    lab.apply(&back);
    assert_eq!(lab.dump(), before);
});

lab_test!(an_address_without_its_family_is_explained, |lab| {
    let key = "net/ipv6/conf/eth0/disable_ipv6";
    lab.apply(&[
        veth(end(host("p")), end(sandbox("eth0"))),
        Operation::WriteSysctl { place: Place::Sandbox, key: key.into(), was: None, now: "1".into(), lenient: false },
    ]);
    let failure = lab.refused(&[Operation::AddAddress { at: sandbox("eth0"), address: address("2001:db8::5/64") }]);
    assert!(failure.error.to_string().contains(key), "{failure}");
    let failure = lab.refused(&[
        Operation::AddAddress { at: sandbox("eth0"), address: address("10.0.0.5/8") },
        Operation::AddAddress { at: sandbox("eth1"), address: address("10.0.0.6/8") },
    ]);
    assert_eq!((failure.index, failure.error.errno), (1, nix::libc::ENODEV));
    assert!(failure.error.to_string().contains("there is no link eth1 (sandbox)"), "{failure}");
});

lab_test!(routes_are_read_back_as_they_were_written, |lab| {
    lab.apply(&[
        veth(VethEnd { up: true, ..end(host("p")) }, end(sandbox("eth0"))),
        Operation::SetLink { at: sandbox("eth0"), was: Property::Up(false), now: Property::Up(true) },
        Operation::AddAddress { at: sandbox("eth0"), address: address("10.1.2.3/24") },
        Operation::AddAddress {
            at: sandbox("eth0"),
            address: Address { no_detection: true, ..address("2001:db8::5/64") },
        },
    ]);
    let before = lab.dump();
    let routes = [
        route("0.0.0.0/0", Some("10.1.2.1")),
        route("10.7.0.0/16", None),
        Route { scope: Some(RouteScope::Universe), metric: Some(5), ..route("10.8.0.0/16", None) },
        Route { on_link: true, ..route("10.9.0.0/16", Some("192.168.7.1")) },
        Route { table: Some(1000), source: Some("10.1.2.3".parse().unwrap()), ..route("0.0.0.0/0", Some("10.1.2.1")) },
        Route {
            table: Some(77),
            mtu: Some(1300),
            advertised_mss: Some(1200),
            ..route("10.10.0.0/16", Some("10.1.2.9"))
        },
        route("::/0", Some("2001:db8::1")),
        Route { metric: Some(7), mtu: Some(1290), ..route("2001:db8:7::/48", None) },
        Route { table: Some(300), ..route("2001:db8:8::/48", Some("fe80::1")) },
    ];
    let operations: Vec<Operation> =
        routes.iter().map(|route| Operation::AddRoute { at: sandbox("eth0"), route: route.clone() }).collect();
    lab.apply(&operations);
    let seen = lab.observe_routes(Place::Sandbox);
    // What was left open is filled in by the kernel, the rest is as it was said.
    let is_there = |wish: &Route, found: &Route| {
        let filled = Route { metric: wish.metric.or(found.metric), scope: wish.scope.or(found.scope), ..wish.clone() };
        filled == *found
    };
    for wish in &routes {
        let found = seen.iter().any(|(at, found)| *at == sandbox("eth0") && is_there(wish, found));
        assert!(found, "{wish:?} is not in {seen:#?}");
    }
    let default = lab.ip(Place::Sandbox, &["route", "show", "default"]);
    assert_eq!((default[0]["gateway"].clone(), default[0]["dev"].clone()), (json!("10.1.2.1"), json!("eth0")));
    // As a component would ask.
    let facts: LinkFacts = lab.system.default_link(Place::Sandbox, IpFamily::V6).unwrap().unwrap();
    assert_eq!(facts.link, sandbox("eth0"));
    assert_eq!(facts.peer, Some(host("p")));
    assert_eq!(lab.system.default_link(Place::Host, IpFamily::V4).unwrap(), None);
    let tables = lab.system.tables_in_use(Place::Sandbox).unwrap();
    for table in [77, 254, 255, 300, 1000] {
        assert!(tables.contains(&table), "{tables:?}");
    }
    let of_link = lab.system.routes(&sandbox("eth0")).unwrap();
    assert!(routes.iter().all(|wish| of_link.iter().any(|found| is_there(wish, found))), "{of_link:#?}");
    let again = lab.refused(&operations[..1]);
    assert!(again.error.to_string().contains("this very route is there already"), "{again}");
    let unreachable =
        lab.refused(&[Operation::AddRoute { at: sandbox("eth0"), route: route("9.9.9.0/24", Some("9.1.1.1")) }]);
    assert!(unreachable.error.to_string().contains("gateway"), "{unreachable}");
    let back: Vec<Operation> = operations.iter().rev().map(|operation| operation.inverse().unwrap()).collect();
    let after = lab.dump();
    lab.apply(&back);
    lab.apply(&back);
    assert_eq!(lab.dump(), before);
    // What was read back can be written again: undoing a removal.
    let again: Vec<Operation> = seen
        .iter()
        .filter(|(_, found)| routes.iter().any(|wish| is_there(wish, found)))
        .map(|(at, route)| Operation::AddRoute { at: at.clone(), route: route.clone() })
        .collect();
    lab.apply(&again);
    assert_eq!(lab.dump(), after);
});

lab_test!(settings_are_written_where_they_belong, |lab| {
    let write = |place, key: &str, was: Option<&str>, now: &str, lenient| Operation::WriteSysctl {
        place,
        key: key.into(),
        was: was.map(str::to_owned),
        now: now.into(),
        lenient,
    };
    let key = "net/ipv4/conf/all/arp_notify";
    let write_it = write(Place::Sandbox, key, Some("0"), "1", false);
    lab.apply(&[write_it.clone(), write(Place::Sandbox, "net/ipv4/conf/none/arp_notify", None, "1", true)]);
    assert_eq!(lab.system.sysctl(Place::Sandbox, key).unwrap().as_deref(), Some("1"));
    assert_eq!(lab.system.sysctl(Place::Host, key).unwrap().as_deref(), Some("0"));
    lab.apply(&[write_it.inverse().unwrap()]);
    assert_eq!(lab.system.sysctl(Place::Sandbox, key).unwrap().as_deref(), Some("0"));
    let failure = lab.refused(&[write_it, write(Place::Sandbox, "net/ipv4/conf/none/arp_notify", None, "1", false)]);
    assert_eq!(failure.index, 1);
    assert!(failure.error.to_string().contains("/proc/sys/net/ipv4/conf/none/arp_notify"), "{failure}");
});

lab_test!(macvlans_come_up_in_the_sandbox, |lab| {
    lab.apply(&[veth(VethEnd { up: true, ..end(host("parent")) }, VethEnd { ..end(host("other")) })]);
    for mode in
        [MacvlanMode::Bridge, MacvlanMode::Private, MacvlanMode::Vepa, MacvlanMode::Passthru, MacvlanMode::Source]
    {
        let kind = Kind::Macvlan { parent: "parent".into(), mode };
        let create =
            Operation::CreateLink { at: sandbox("net1"), kind: kind.clone(), mac: None, mtu: Some(1400), up: true };
        lab.apply(std::slice::from_ref(&create));
        let seen = lab.observe(&[sandbox("net1")]).links[&sandbox("net1")].clone();
        assert_eq!((seen.kind, seen.mtu, seen.up), (kind, 1400, true));
        let facts = lab.system.link_by(&LinkSelector::Named(sandbox("net1"))).unwrap().unwrap();
        assert_eq!(facts.parent, Some(host("parent")));
        lab.apply(&[create.inverse().unwrap()]);
        assert!(lab.observe(&[sandbox("net1")]).links.is_empty());
    }
});

lab_test!(links_are_found_by_what_they_are, |lab| {
    lab.apply(&[veth(
        VethEnd { mac: Some(0x0200_0000_0011), ..end(host("a")) },
        VethEnd { mac: Some(0x0200_0000_0022), ..end(sandbox("b")) },
    )]);
    let found = lab.system.link_by(&LinkSelector::Mac(0x0200_0000_0022)).unwrap().unwrap();
    assert_eq!((found.link, found.peer, found.kind.as_str()), (sandbox("b"), Some(host("a")), "veth"));
    assert_eq!(lab.system.link_by(&LinkSelector::Mac(1)).unwrap(), None);
    assert_eq!(lab.system.link_by(&LinkSelector::Pci("../..".into())).unwrap(), None);
    let names: Vec<String> = lab.system.links(Place::Host).unwrap().into_iter().map(|link| link.link.name).collect();
    assert!(names.contains(&"lo".to_owned()) && names.contains(&"a".to_owned()), "{names:?}");
    let lo = lab.system.link_by(&LinkSelector::Named(host("lo"))).unwrap().unwrap();
    assert_eq!((lo.kind.as_str(), lo.mac), ("loopback", None));
});

lab_test!(what_the_kernel_lacks_is_said_by_its_option, |lab| {
    let filtering = Operation::CreateLink {
        at: host("br0"),
        kind: Kind::Bridge { vlan_filtering: true, default_vlan: Some(1) },
        mac: None,
        mtu: None,
        up: false,
    };
    if lab.lacks("CONFIG_BRIDGE_VLAN_FILTERING") {
        let failure = lab.refused(std::slice::from_ref(&filtering));
        let text = failure.error.to_string();
        assert!(text.contains("this kernel has no bridge VLAN filtering (CONFIG_BRIDGE_VLAN_FILTERING)"), "{text}");
        lab.apply(&[
            bridge("br1"),
            veth(VethEnd { master: Some("br1".into()), ..end(host("p")) }, end(sandbox("eth0"))),
        ]);
        let vlan = PortVlan { first: 100, last: 100, native: true, untagged: true };
        let failure = lab.refused(&[Operation::AddPortVlan { at: host("p"), vlan }]);
        assert!(failure.error.to_string().contains("CONFIG_BRIDGE_VLAN_FILTERING"), "{failure}");
    } else {
        lab.apply(&[filtering, veth(VethEnd { master: Some("br0".into()), ..end(host("p")) }, end(sandbox("eth0")))]);
        let vlans = [
            PortVlan { first: 100, last: 100, native: true, untagged: true },
            PortVlan { first: 200, last: 210, native: false, untagged: false },
        ];
        for vlan in &vlans {
            lab.apply(&[Operation::AddPortVlan { at: host("p"), vlan: vlan.clone() }]);
        }
        let seen = lab.observe_vlans(&host("p"));
        assert!(vlans.iter().all(|vlan| seen.contains(vlan)), "{seen:?}");
        for vlan in &vlans {
            lab.apply(&[Operation::RemovePortVlan { at: host("p"), vlan: vlan.clone() }]);
        }
        assert!(lab.observe_vlans(&host("p")).iter().all(|vlan| !vlans.contains(vlan)));
    }
    for (kind, option) in [(Kind::Other("dummy".into()), "CONFIG_DUMMY"), (Kind::Vrf { table: 100 }, "CONFIG_NET_VRF")]
    {
        if lab.lacks(option) {
            let create = Operation::CreateLink { at: host("k"), kind, mac: None, mtu: None, up: false };
            let failure = lab.refused(&[create]);
            assert!(failure.error.to_string().contains(option), "{failure}");
        } else {
            println!("SKIP: this kernel has {option}");
        }
    }
});

lab_test!(without_a_sandbox_removals_succeed, |lab| {
    let mut lab = Lab::without_sandbox(lab);
    let pair = veth(end(sandbox("eth0")), end(host("p")));
    lab.apply(&[
        pair.inverse().unwrap(),
        Operation::RemoveAddress { at: sandbox("eth0"), address: address("10.0.0.1/8") },
        Operation::RemoveRoute { at: sandbox("eth0"), route: route("0.0.0.0/0", None) },
    ]);
    let failure = lab.refused(&[Operation::AddAddress { at: sandbox("eth0"), address: address("10.0.0.1/8") }]);
    assert!(failure.error.to_string().contains("this attachment has none"), "{failure}");
});

lab_test!(a_deleted_link_is_announced_long_before_it_is_acknowledged, |lab| {
    let pair = veth(end(host("p")), end(sandbox("eth0")));
    lab.apply(std::slice::from_ref(&pair));
    let removal = lab.system.delete_request(&host("p"), &pair).unwrap().unwrap();
    let mut watch = lab.system.watch(Place::Host).unwrap();
    assert!(!watch.wait_deleted(removal.index, std::time::Duration::ZERO).unwrap());
    lab.apply(&[pair.inverse().unwrap()]);
    assert!(watch.wait_deleted(removal.index, std::time::Duration::from_secs(5)).unwrap());
    assert_eq!(lab.system.delete_request(&host("p"), &pair).unwrap(), None);
});
