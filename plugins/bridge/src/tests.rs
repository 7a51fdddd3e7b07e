//! The plan for a configuration, on the fake host.

use weft_sdk::address::parse_mac;
use weft_sdk::netconf;
use weft_sdk::plan::Life;
use weft_sdk::testing::{FakeHost, arg, request};
use weft_sdk::types::{ConfigError, Dns, Place};

use super::*;

fn prefix(text: &str) -> IpPrefix {
    IpPrefix::parse(text).unwrap()
}

fn address(text: &str) -> IpAddress {
    IpAddress::parse(text).unwrap()
}

fn assigned(text: &str, gateway: &str) -> AssignedAddress {
    AssignedAddress { prefix: prefix(text), gateway: IpAddress::parse(gateway), at: None }
}

fn ready(addresses: &[(&str, &str)], routes: Vec<Route>) -> Addressing {
    let addresses = addresses.iter().map(|(text, gateway)| assigned(text, gateway)).collect();
    let dns = Dns { nameservers: vec!["192.0.2.53".into()], ..Dns::default() };
    Addressing::Ready(Allocation { addresses, routes, dns })
}

fn config(keys: &str) -> String {
    format!(r#"{{ "cniVersion": "1.0.0", "name": "net", "type": "bridge"{keys} }}"#)
}

fn add(keys: &str, addressing: Addressing) -> Result<Plan, Error> {
    let mut request = request(&config(keys));
    request.addressing = addressing;
    FakeHost::new().run(&request, Bridge::add)
}

fn link<'p>(plan: &'p Plan, label: &str) -> &'p Link {
    plan.links.iter().find(|link| link.label == label).unwrap()
}

fn report(plan: &Plan) -> &Report {
    let Outcome::Replaced(report) = &plan.outcome else { panic!("{:?}", plan.outcome) };
    report
}

fn texts(addresses: &[Address]) -> Vec<String> {
    addresses.iter().map(|address| address.prefix.to_string()).collect()
}

fn at_fault(result: Result<Plan, Error>) -> ConfigError {
    match result {
        Err(Error::InvalidConfig(error)) => error,
        other => panic!("{other:?}"),
    }
}

#[test]
fn without_ipam_it_is_a_port_and_no_more() {
    let plan = add("", Addressing::Off).unwrap();
    assert_eq!(plan.links.len(), 3);
    let bridge = link(&plan, "bridge");
    assert_eq!((bridge.name.as_deref(), bridge.life, bridge.place), (Some("cni0"), Life::Permanent, Place::Host));
    assert_eq!((bridge.up, bridge.mtu, bridge.promiscuous), (Some(true), None, None));
    assert_eq!(bridge.kind, LinkKind::Bridge(BridgeKind { vlan_filtering: false, default_vlan: None }));
    let host = link(&plan, "host");
    assert_eq!(host.kind, LinkKind::Veth("container".into()));
    assert_eq!((host.place, host.life, host.name.as_deref()), (Place::Host, Life::Attachment, None));
    assert_eq!((host.master.clone(), host.up), (Some(LinkRef::label("bridge")), Some(true)));
    assert_eq!(host.port, Some(BridgePort::default()));
    assert_eq!(host.sysctls, [Sysctl::lenient("ipv6/accept_ra", "0")]);
    let container = link(&plan, "container");
    assert_eq!((container.place, container.up, container.name.as_deref()), (Place::Sandbox, Some(true), None));
    assert!(container.addresses.is_empty() && container.sysctls.is_empty() && plan.routes.is_empty());
    assert!(plan.forwarding.is_empty() && plan.masquerades.is_empty() && plan.filters.is_empty());
    let report = report(&plan);
    assert_eq!(report.interfaces, ["bridge", "host", "container"].map(shown));
    assert!(report.addresses.is_empty() && report.dns == Dns::default());
}

#[test]
fn mtu_is_that_of_every_link_made() {
    let plan = add(r#", "mtu": 1400, "isGateway": true, "vlan": 7"#, ready(&[("10.1.2.2/24", "")], vec![])).unwrap();
    assert_eq!(plan.links.len(), 5);
    assert!(plan.links.iter().all(|link| link.mtu == Some(1400)));
}

#[test]
fn the_gateway_is_on_the_bridge() {
    let allocation = ready(&[("10.1.2.2/24", ""), ("2001:db8::2/64", "2001:db8::99")], vec![]);
    let plan = add(r#", "bridge": "br7", "isGateway": true"#, allocation).unwrap();
    let bridge = link(&plan, "bridge");
    assert_eq!(bridge.name.as_deref(), Some("br7"));
    assert_eq!(texts(&bridge.addresses), ["10.1.2.1/24", "2001:db8::99/64"]);
    assert!(bridge.addresses.iter().all(|address| address.others == Others::Refuse));
    assert_eq!(plan.forwarding, [IpFamily::V4, IpFamily::V6]);
    assert!(plan.routes.is_empty());
    let report = report(&plan);
    let gateways: Vec<_> =
        report.addresses.iter().map(|given| (given.gateway.unwrap().to_string(), given.at)).collect();
    assert_eq!(gateways, [("10.1.2.1".to_owned(), Some(2)), ("2001:db8::99".to_owned(), Some(2))]);
}

#[test]
fn several_ranges_of_one_network_share_a_gateway() {
    let plan =
        add(r#", "isGateway": true"#, ready(&[("10.1.2.2/24", ""), ("10.1.2.77/24", "10.1.2.1")], vec![])).unwrap();
    assert_eq!(texts(&link(&plan, "bridge").addresses), ["10.1.2.1/24"]);
    assert_eq!(texts(&link(&plan, "container").addresses), ["10.1.2.2/24", "10.1.2.77/24"]);
    assert_eq!(plan.forwarding, [IpFamily::V4]);
}

#[test]
fn force_address_replaces_others() {
    let plan = add(r#", "isGateway": true, "forceAddress": true"#, ready(&[("10.1.2.2/24", "")], vec![])).unwrap();
    assert_eq!(link(&plan, "bridge").addresses[0].others, Others::Replace);
}

#[test]
fn a_gateway_that_ipam_names_stays_even_if_the_bridge_is_none() {
    let plan = add("", ready(&[("10.1.2.2/24", "10.1.2.254")], vec![Route::to(prefix("192.0.2.0/24"))])).unwrap();
    assert!(link(&plan, "bridge").addresses.is_empty() && plan.forwarding.is_empty());
    assert_eq!(report(&plan).addresses[0].gateway, Some(address("10.1.2.254")));
    assert_eq!(plan.routes[0].route.gateway, Some(address("10.1.2.254")));
}

#[test]
fn no_room_for_a_gateway_is_an_error() {
    let error = at_fault(add(r#", "isGateway": true"#, ready(&[("10.1.2.2/32", "")], vec![])));
    assert_eq!((error.pointer.as_str(), error.found.as_str()), ("/isGateway", "true with the address 10.1.2.2/32"));
}

#[test]
fn default_routes_are_added_for_families_without_one() {
    let addresses = [("10.1.2.2/24", ""), ("2001:db8::2/64", "")];
    let plan = add(r#", "isDefaultGateway": true"#, ready(&addresses, vec![])).unwrap();
    let defaults: Vec<_> = report(&plan).routes.clone();
    let expected = [("0.0.0.0/0", "10.1.2.1"), ("::/0", "2001:db8::1")];
    assert_eq!(defaults, expected.map(|(to, by)| Route { gateway: Some(address(by)), ..Route::to(prefix(to)) }));
    assert_eq!(plan.routes.len(), 2);
    assert!(plan.routes.iter().all(|route| route.link == LinkRef::label("container")));
    assert!(!link(&plan, "bridge").addresses.is_empty(), "isDefaultGateway implies isGateway");

    let given = Route { gateway: Some(address("10.1.2.9")), ..Route::to(prefix("0.0.0.0/0")) };
    let plan = add(r#", "isDefaultGateway": true"#, ready(&addresses, vec![given])).unwrap();
    assert_eq!(report(&plan).routes.len(), 2);
    assert_eq!(report(&plan).routes[0], given);
}

#[test]
fn routes_lead_through_the_family_s_first_gateway() {
    let routes = vec![
        Route::to(prefix("192.0.2.0/24")),
        Route {
            gateway: Some(address("10.1.2.7")),
            metric: Some(5),
            table: Some(100),
            mtu: Some(1300),
            ..Route::to(prefix("10.0.0.0/8"))
        },
        Route { scope: Some(RouteScope::Link), ..Route::to(prefix("198.51.100.0/24")) },
        Route::to(prefix("2001:db8:1::/48")),
    ];
    let plan = add("", ready(&[("10.1.2.2/24", "10.1.2.1"), ("10.1.3.2/24", "10.1.3.1")], routes.clone())).unwrap();
    let gateways: Vec<_> = plan.routes.iter().map(|entry| entry.route.gateway).collect();
    assert_eq!(gateways, [Some(address("10.1.2.1")), Some(address("10.1.2.7")), None, None]);
    assert_eq!(plan.routes[1].route, routes[1]);
    assert_eq!(report(&plan).routes, routes, "the result shows routes as IPAM gave them");
}

#[test]
fn duplicate_detection_is_off_unless_asked_for() {
    let both = || ready(&[("10.1.2.2/24", "10.1.2.1"), ("2001:db8::2/64", "2001:db8::1")], vec![]);
    let plan = add("", both()).unwrap();
    let container = link(&plan, "container");
    assert!(container.addresses.iter().all(|address| address.detection == Detection::Skip));
    let expected = [
        Sysctl::lenient("ipv6/accept_dad", "0"),
        Sysctl::lenient("ipv4/arp_notify", "1"),
        Sysctl::new("ipv6/disable_ipv6", "0"),
        Sysctl::new("ipv6/keep_addr_on_down", "1"),
    ];
    assert_eq!(container.sysctls, expected);
    assert_eq!(plan.sysctls, [Sysctl::lenient("net/ipv6/conf/lo/disable_ipv6", "0")]);

    let plan = add(r#", "enabledad": true"#, both()).unwrap();
    let container = link(&plan, "container");
    assert!(container.addresses.iter().all(|address| address.detection == Detection::Wait));
    let expected = [Sysctl::lenient("ipv6/enhanced_dad", "1"), Sysctl::lenient("ipv6/accept_dad", "1")];
    assert_eq!(container.sysctls[..2], expected);

    let plan = add("", ready(&[("10.1.2.2/24", "")], vec![])).unwrap();
    assert_eq!(link(&plan, "container").sysctls.len(), 2);
    assert!(plan.sysctls.is_empty());
}

#[test]
fn masquerading_is_per_address_and_spares_its_network() {
    let plan = add(r#", "ipMasq": true"#, ready(&[("10.1.2.2/24", ""), ("2001:db8::2/64", "")], vec![])).unwrap();
    let expected = [("10.1.2.2/32", "10.1.2.0/24"), ("2001:db8::2/128", "2001:db8::/64")];
    assert_eq!(
        plan.masquerades,
        expected.map(|(from, to)| Masquerade { source: prefix(from), except: vec![prefix(to)] })
    );
    for backend in ["iptables", "nftables", ""] {
        assert!(add(&format!(r#", "ipMasqBackend": "{backend}""#), Addressing::Off).is_ok());
    }
    assert_eq!(at_fault(add(r#", "ipMasqBackend": "ebtables""#, Addressing::Off)).pointer, "/ipMasqBackend");
}

#[test]
fn the_port_does_what_is_asked() {
    let plan = add(r#", "hairpinMode": true, "portIsolation": true"#, Addressing::Off).unwrap();
    let port = link(&plan, "host").port.clone().unwrap();
    assert!(port.hairpin && port.isolated);
    let plan = add(r#", "promiscMode": true"#, Addressing::Off).unwrap();
    assert_eq!(link(&plan, "bridge").promiscuous, Some(true));
    let plan = add(r#", "macspoofchk": true"#, Addressing::Off).unwrap();
    let guard = SourceGuard { port: LinkRef::label("host"), station: LinkRef::label("container") };
    assert_eq!(plan.filters, [Filter::SourceGuard(guard)]);
    let plan = add(r#", "disableContainerInterface": true"#, Addressing::Off).unwrap();
    assert_eq!(link(&plan, "container").up, None);
}

#[test]
fn contradictions_are_refused() {
    assert_eq!(at_fault(add(r#", "hairpinMode": true, "promiscMode": true"#, Addressing::Off)).pointer, "/hairpinMode");
    let down = r#", "disableContainerInterface": true"#;
    for addressing in [Addressing::Pending, ready(&[("10.1.2.2/24", "")], vec![])] {
        assert_eq!(at_fault(add(down, addressing)).pointer, "/disableContainerInterface");
    }
    let error = add("", ready(&[], vec![])).unwrap_err();
    assert!(matches!(error, Error::Other(coded) if coded.message.contains("no address")));
    assert_eq!(at_fault(add(r#", "bridge": "a-name-too-long-""#, Addressing::Off)).pointer, "/bridge");
    let long = r#", "bridge": "eleven-long", "vlan": 4000, "isGateway": true"#;
    assert_eq!(at_fault(add(long, ready(&[("10.1.2.2/24", "")], vec![]))).pointer, "/bridge");
}

#[test]
fn values_of_the_wrong_kind_are_named() {
    let error = at_fault(add(r#", "isgateway": "yes""#, Addressing::Off));
    assert_eq!((error.pointer.as_str(), error.found.as_str()), ("/isgateway", "\"yes\""));
    for mtu in ["-5", "67", "65536"] {
        assert_eq!(at_fault(add(&[", \"mtu\": ", mtu].concat(), Addressing::Off)).pointer, "/mtu");
    }
}

fn vlans(keys: &str) -> (bool, bool, Vec<(u16, u16, bool)>) {
    let plan = add(keys, Addressing::Off).unwrap();
    let LinkKind::Bridge(kind) = &link(&plan, "bridge").kind else { panic!() };
    let port = link(&plan, "host").port.clone().unwrap();
    assert!(port.vlans.iter().all(|vlan| vlan.native == vlan.untagged));
    let vlans = port.vlans.iter().map(|vlan| (vlan.first, vlan.last, vlan.native)).collect();
    (kind.vlan_filtering, port.drop_default_vlan, vlans)
}

#[test]
fn vlans_of_the_port() {
    for (keys, filtering, dropped, expected) in [
        ("", false, false, vec![]),
        (r#", "vlan": 0"#, false, false, vec![]),
        (r#", "vlan": 100"#, true, true, vec![(100, 100, true)]),
        (r#", "vlan": 4094, "preserveDefaultVlan": true"#, true, false, vec![(4094, 4094, true)]),
        (r#", "vlanTrunk": []"#, true, false, vec![]),
        (
            r#", "vlanTrunk": [{"minID": 200, "maxID": 210}, {"id": 101}]"#,
            true,
            true,
            vec![(1, 1, true), (101, 101, false), (200, 210, false)],
        ),
        (
            r#", "vlan": 100, "vlanTrunk": [{"id": 5}, {"minID": 98, "maxID": 102}, {"id": 6}]"#,
            true,
            true,
            vec![(100, 100, true), (5, 6, false), (98, 99, false), (101, 102, false)],
        ),
        (r#", "vlanTrunk": [{"minID": 1, "maxID": 3, "id": 2}]"#, true, true, vec![(1, 1, true), (2, 3, false)]),
    ] {
        assert_eq!(vlans(keys), (filtering, dropped, expected), "{keys}");
    }
}

#[test]
fn vlans_that_are_none_are_named() {
    for (keys, pointer) in [
        (r#", "vlan": -100"#, "/vlan"),
        (r#", "vlan": 5000"#, "/vlan"),
        (r#", "vlan": 4095"#, "/vlan"),
        (r#", "vlanTrunk": [{"id": 7}, {"minID": 5}]"#, "/vlanTrunk/1/maxID"),
        (r#", "vlanTrunk": [{"maxID": 5}]"#, "/vlanTrunk/0/minID"),
        (r#", "vlanTrunk": [{"minID": -1, "maxID": 5}]"#, "/vlanTrunk/0/minID"),
        (r#", "vlanTrunk": [{"minID": 1, "maxID": 4095}]"#, "/vlanTrunk/0/maxID"),
        (r#", "vlanTrunk": [{"minID": 9, "maxID": 5}]"#, "/vlanTrunk/0/maxID"),
        (r#", "vlanTrunk": [{"id": 0}]"#, "/vlanTrunk/0/id"),
        (r#", "vlanTrunk": [{"id": 4095}]"#, "/vlanTrunk/0/id"),
        (r#", "vlanTrunk": [{"id": "7"}]"#, "/vlanTrunk/0/id"),
    ] {
        assert_eq!(at_fault(add(keys, Addressing::Off)).pointer, pointer, "{keys}");
    }
}

#[test]
fn on_a_vlan_the_gateway_has_a_link_of_its_own() {
    let plan = add(r#", "isGateway": true, "vlan": 100"#, ready(&[("10.1.2.2/24", "")], vec![])).unwrap();
    assert!(link(&plan, "bridge").addresses.is_empty());
    let gateway = link(&plan, "gateway");
    assert_eq!(
        (gateway.name.as_deref(), gateway.life, gateway.place),
        (Some("cni0.100"), Life::Permanent, Place::Host)
    );
    assert_eq!(texts(&gateway.addresses), ["10.1.2.1/24"]);
    assert_eq!((gateway.kind.clone(), gateway.up), (LinkKind::Veth("gateway-port".into()), Some(true)));
    let port = link(&plan, "gateway-port");
    assert_eq!(
        (port.life, port.place, port.kind.clone()),
        (Life::Permanent, Place::Host, LinkKind::Veth("gateway".into()))
    );
    assert_eq!(port.master, Some(LinkRef::label("bridge")));
    let vlans = port.port.clone().unwrap().vlans;
    assert_eq!(vlans, [PortVlan { first: 100, last: 100, native: true, untagged: true }]);
    assert_eq!(report(&plan).interfaces, ["bridge", "host", "container", "gateway"].map(shown));
    assert_eq!(plan.forwarding, [IpFamily::V4]);
}

#[test]
fn pending_addresses_change_nothing_but_addresses() {
    let keys = r#", "isGateway": true, "ipMasq": true"#;
    let before = add(keys, Addressing::Pending).unwrap();
    let after = add(keys, ready(&[("10.1.2.2/24", "")], vec![])).unwrap();
    let labels = |plan: &Plan| plan.links.iter().map(|link| (link.label.clone(), link.up)).collect::<Vec<_>>();
    assert_eq!(labels(&before), labels(&after));
    assert!(before.links.iter().all(|link| link.addresses.is_empty()));
    assert!(before.masquerades.is_empty() && before.forwarding.is_empty() && report(&before).addresses.is_empty());
}

#[test]
fn resolver_settings_of_the_configuration_replace_ipam_s() {
    let dns = |keys: &str| report(&add(keys, ready(&[("10.1.2.2/24", "")], vec![])).unwrap()).dns.clone();
    assert_eq!(dns("").nameservers, ["192.0.2.53"]);
    assert_eq!(dns(r#", "dns": {}"#).nameservers, ["192.0.2.53"]);
    assert_eq!(dns(r#", "dns": {"search": []}"#), Dns::default());
    let given = dns(r#", "dns": {"nameservers": ["192.0.2.1"], "domain": "example.org", "options": ["ndots:5"]}"#);
    assert_eq!((given.nameservers, given.domain.as_deref()), (vec!["192.0.2.1".to_owned()], Some("example.org")));
    assert_eq!(given.options, ["ndots:5"]);
    assert!(!netconf::Dns::default().is_set());
}

#[test]
fn the_later_source_of_a_mac_counts() {
    let mac = |keys: &str, arguments: &str| {
        let mut request = request(&config(keys));
        request.args = vec![arg("IgnoreUnknown", "1"), arg("MAC", arguments)];
        FakeHost::new().run(&request, Bridge::add).map(|plan| link(&plan, "container").mac)
    };
    let args = r#", "args": {"cni": {"mac": "02:00:00:00:00:02"}}"#;
    let runtime = r#", "runtimeConfig": {"mac": "02:00:00:00:00:03"}"#;
    assert_eq!(mac("", "").unwrap(), None);
    assert_eq!(mac("", "02:00:00:00:00:01").unwrap(), parse_mac("02:00:00:00:00:01"));
    assert_eq!(mac(args, "02:00:00:00:00:01").unwrap(), parse_mac("02:00:00:00:00:02"));
    assert_eq!(mac(&[args, runtime].concat(), "nonsense").unwrap(), parse_mac("02:00:00:00:00:03"));
    let Err(Error::InvalidConfig(error)) = mac("", "nonsense") else { panic!() };
    assert_eq!((error.pointer.as_str(), error.found.as_str()), ("CNI_ARGS/MAC", "\"nonsense\""));
}
