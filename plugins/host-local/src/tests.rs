//! Allocations on the fake host's store.

use weft_sdk::testing::{FakeHost, arg, request};
use weft_sdk::types::{ConfigError, Dns};

use super::*;

fn config(ipam: &str, rest: &str) -> String {
    format!(r#"{{ "cniVersion": "1.0.0", "name": "net", "ipam": {{ "type": "host-local"{ipam} }}{rest} }}"#)
}

fn allocate(host: &mut FakeHost, config: &str) -> Result<Vec<String>, Error> {
    let given = host.run(&request(config), HostLocal::allocate)?;
    assert!(given.addresses.iter().all(|address| address.at.is_none()));
    Ok(given.addresses.iter().map(|address| address.prefix.to_string()).collect())
}

/// What the next attachments get.
fn in_turn(host: &mut FakeHost, config: &str, count: usize) -> Vec<String> {
    let mut all = Vec::new();
    for _ in 0..count {
        match allocate(host, config) {
            Ok(addresses) => all.push(addresses.join(" ")),
            Err(Error::Exhausted(_)) => all.push("exhausted".to_owned()),
            Err(other) => panic!("{other:?}"),
        }
        host.next_attachment();
    }
    all
}

fn at_fault<T: std::fmt::Debug>(result: Result<T, Error>) -> ConfigError {
    match result {
        Err(Error::InvalidConfig(error)) => error,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_first_addresses_of_two_families() {
    let sets = r#", "ranges": [[{"subnet": "10.1.2.0/24"}], [{"subnet": "2001:db8:1::/64"}]],
                  "routes": [{"dst": "0.0.0.0/0"}, {"dst": "192.168.0.0/16", "gw": "10.10.5.1", "mtu": 1400}]"#;
    let mut host = FakeHost::new();
    let given = host.run(&request(&config(sets, "")), HostLocal::allocate).unwrap();
    let shown: Vec<_> =
        given.addresses.iter().map(|one| (one.prefix.to_string(), one.gateway.unwrap().to_string())).collect();
    let expected = [("10.1.2.2/24", "10.1.2.1"), ("2001:db8:1::2/64", "2001:db8:1::1")];
    assert_eq!(shown, expected.map(|(address, gateway)| (address.to_owned(), gateway.to_owned())));
    assert_eq!(given.routes.len(), 2);
    assert_eq!((given.routes[1].gateway.unwrap().to_string().as_str(), given.routes[1].mtu), ("10.10.5.1", Some(1400)));
    assert_eq!(given.dns, Dns::default());
    assert_eq!(host.holding(), ["10.1.2.2", "2001:db8:1::2"]);
}

#[test]
fn the_form_of_old_is_one_set() {
    let old = r#", "subnet": "10.56.217.0/24", "rangeStart": "10.56.217.171", "rangeEnd": "10.56.217.181",
                "gateway": "10.56.217.1""#;
    let mut host = FakeHost::new();
    assert_eq!(in_turn(&mut host, &config(old, ""), 12)[..2], ["10.56.217.171/24", "10.56.217.172/24"]);
    assert_eq!(in_turn(&mut host, &config(old, ""), 1), ["exhausted"]);
}

#[test]
fn sets_of_the_runtime_come_first_and_the_old_form_before_the_list() {
    let ipam = r#", "subnet": "10.2.0.0/24", "ranges": [[{"subnet": "10.3.0.0/24"}]]"#;
    let runtime = r#", "runtimeConfig": {"ipRanges": [[{"subnet": "10.1.0.0/24"}]]}"#;
    let mut host = FakeHost::new();
    assert_eq!(allocate(&mut host, &config(ipam, runtime)).unwrap(), ["10.1.0.2/24", "10.2.0.2/24", "10.3.0.2/24"]);
}

const FEW: &str = r#", "ranges": [[{"subnet": "10.1.2.0/29"}]]"#;

#[test]
fn the_circle_is_walked_and_gateway_and_broadcast_are_passed_over() {
    let mut host = FakeHost::new();
    let expected = ["10.1.2.2/29", "10.1.2.3/29", "10.1.2.4/29", "10.1.2.5/29", "10.1.2.6/29", "exhausted"];
    assert_eq!(in_turn(&mut host, &config(FEW, ""), 6), expected);
}

#[test]
fn a_returned_address_comes_last() {
    let mut host = FakeHost::new();
    assert_eq!(allocate(&mut host, &config(FEW, "")).unwrap(), ["10.1.2.2/29"]);
    host.release();
    let expected = ["10.1.2.3/29", "10.1.2.4/29", "10.1.2.5/29", "10.1.2.6/29", "10.1.2.2/29", "exhausted"];
    assert_eq!(in_turn(&mut host, &config(FEW, ""), 6), expected);
}

#[test]
fn where_the_walk_begins() {
    for (last, taken, expected) in [
        ("10.1.2.4", &[][..], "10.1.2.5/29"),
        ("10.1.2.6", &[], "10.1.2.2/29"),
        ("192.0.2.1", &[], "10.1.2.2/29"),
        ("10.1.2.3", &["10.1.2.4", "10.1.2.5"], "10.1.2.6/29"),
        ("10.1.2.3", &["10.1.2.2", "10.1.2.4", "10.1.2.5", "10.1.2.6"], "10.1.2.3/29"),
    ] {
        let mut host = FakeHost::new().last_reserved(0, last).reserved(taken);
        assert_eq!(in_turn(&mut host, &config(FEW, ""), 1), [expected], "{last} {taken:?}");
    }
}

#[test]
fn ranges_of_a_set_follow_one_another() {
    let set = r#", "ranges": [[
        {"subnet": "10.1.2.0/24", "rangeStart": "10.1.2.9", "rangeEnd": "10.1.2.10"},
        {"subnet": "10.9.0.0/29", "gateway": "10.9.0.6", "rangeStart": "10.9.0.5"},
        {"subnet": "10.1.3.0/30"}
    ]]"#;
    let mut host = FakeHost::new();
    let all = ["10.1.2.9/24", "10.1.2.10/24", "10.9.0.5/29", "10.1.3.2/30"];
    assert_eq!(in_turn(&mut host, &config(set, ""), 5)[..4], all);
    let mut host = FakeHost::new().last_reserved(0, "10.9.0.5");
    assert_eq!(in_turn(&mut host, &config(set, ""), 3), ["10.1.3.2/30", "10.1.2.9/24", "10.1.2.10/24"]);
    let mut host = FakeHost::new().last_reserved(0, "10.1.2.9").reserved(&["10.1.2.10", "10.9.0.5", "10.1.3.2"]);
    assert_eq!(in_turn(&mut host, &config(set, ""), 2), ["10.1.2.9/24", "exhausted"]);
}

#[test]
fn the_last_address_of_ipv6_can_be_given() {
    let set = r#", "ranges": [[{"subnet": "2001:db8::/126"}]]"#;
    let mut host = FakeHost::new();
    assert_eq!(in_turn(&mut host, &config(set, ""), 3), ["2001:db8::2/126", "2001:db8::3/126", "exhausted"]);
}

#[test]
fn exhaustion_names_the_set() {
    let mut host = FakeHost::new().reserved(&["10.1.2.2"]);
    let result = allocate(&mut host, &config(r#", "ranges": [[{"subnet": "10.1.2.0/30"}]]"#, ""));
    let Err(Error::Exhausted(message)) = result else { panic!("{result:?}") };
    assert_eq!(message, "no address is left in range set 10.1.2.1-10.1.2.2");
}

#[test]
fn an_attachment_gets_one_address_of_a_set() {
    let mut host = FakeHost::new().held("10.1.2.5");
    let result = allocate(&mut host, &config(FEW, ""));
    assert!(matches!(&result, Err(Error::Conflict(message)) if message.contains("10.1.2.5")), "{result:?}");
    let elsewhere = FakeHost::new().held("10.7.0.5");
    assert_eq!(allocate(&mut { elsewhere }, &config(FEW, "")).unwrap(), ["10.1.2.2/29"]);
}

const BOTH: &str = r#", "ranges": [[{"subnet": "10.1.2.0/24", "rangeStart": "10.1.2.50", "rangeEnd": "10.1.2.99"}],
                                 [{"subnet": "2001:db8::/64"}]]"#;

#[test]
fn addresses_can_be_asked_for_in_three_places() {
    for rest in [
        r#", "runtimeConfig": {"ips": ["10.1.2.77/24", "2001:db8::77"]}"#,
        r#", "args": {"cni": {"ips": ["2001:db8::77", "10.1.2.77"]}}"#,
        r#", "runtimeConfig": {"ips": ["10.1.2.77"]}, "args": {"cni": {"ips": ["2001:db8::77/64"]}}"#,
    ] {
        let mut host = FakeHost::new();
        assert_eq!(allocate(&mut host, &config(BOTH, rest)).unwrap(), ["10.1.2.77/24", "2001:db8::77/64"], "{rest}");
    }
    let mut asked = request(&config(BOTH, ""));
    asked.args = vec![arg("IgnoreUnknown", "1"), arg("IP", "10.1.2.77")];
    let given = FakeHost::new().run(&asked, HostLocal::allocate).unwrap();
    assert_eq!(given.addresses[0].prefix.to_string(), "10.1.2.77/24");
    assert_eq!(given.addresses[1].prefix.to_string(), "2001:db8::2/64");
    asked.args = vec![arg("IP", "10.1.2.777")];
    assert_eq!(at_fault(FakeHost::new().run(&asked, HostLocal::allocate)).pointer, "CNI_ARGS/IP");
}

#[test]
fn wishes_that_cannot_be_met() {
    let ask = |address: &str| config(BOTH, &format!(r#", "args": {{"cni": {{"ips": ["{address}"]}}}}"#));
    for outside in ["10.1.2.49", "10.1.2.100", "192.0.2.1", "nonsense", "2001:db8::1"] {
        assert_eq!(at_fault(allocate(&mut FakeHost::new(), &ask(outside))).pointer, "/args/cni/ips/0", "{outside}");
    }
    let taken = allocate(&mut FakeHost::new().reserved(&["10.1.2.60"]), &ask("10.1.2.60"));
    assert!(matches!(&taken, Err(Error::Conflict(message)) if message.contains("10.1.2.60")), "{taken:?}");
    let two = config(BOTH, r#", "args": {"cni": {"ips": ["10.1.2.60", "10.1.2.61"]}}"#);
    assert_eq!(at_fault(allocate(&mut FakeHost::new(), &two)).found, "10.1.2.61");
    let twice =
        config(BOTH, r#", "args": {"cni": {"ips": ["10.1.2.60"]}}, "runtimeConfig": {"ips": ["10.1.2.60/24"]}"#);
    assert!(allocate(&mut FakeHost::new(), &twice).is_ok());
}

#[test]
fn configurations_that_are_wrong_are_named() {
    for (ipam, pointer) in [
        ("", "/ipam/ranges"),
        (r#", "ranges": []"#, "/ipam/ranges"),
        (r#", "ranges": [[]]"#, "/ipam/ranges/0"),
        (r#", "ranges": [[{"subnet": "10.1.2.0"}]]"#, "/ipam/ranges/0/0/subnet"),
        (r#", "ranges": [[{"rangeStart": "10.1.2.0"}]]"#, "/ipam/ranges/0/0/subnet"),
        (r#", "ranges": [[{"subnet": "10.1.2.0/24"}], [{"subnet": "10.1.0.0/16"}]]"#, "/ipam/ranges/1"),
        (r#", "subnet": "10.1.2.3/24""#, "/ipam/subnet"),
        (r#", "subnet": "10.1.2.0/24", "rangeEnd": "10.1.3.1""#, "/ipam/rangeEnd"),
        (r#", "subnet": "10.1.2.0/24", "routes": [{"gw": "10.1.2.1"}]"#, "/ipam/routes/0/dst"),
        (r#", "subnet": "10.1.2.0/24", "routes": [{"dst": "10.0.0.0/8", "scope": 7}]"#, "/ipam/routes/0/scope"),
    ] {
        let mut host = FakeHost::new();
        assert_eq!(at_fault(allocate(&mut host, &config(ipam, ""))).pointer, pointer, "{ipam}");
        assert!(host.holding().is_empty());
    }
}

#[test]
fn old_versions_have_room_for_one_address_of_a_family() {
    let two = r#", "ranges": [[{"subnet": "10.1.2.0/24"}], [{"subnet": "10.1.3.0/24"}]]"#;
    for (version, fits) in [("0.2.0", false), ("0.1.0", false), ("", false), ("0.3.0", true), ("1.1.0", true)] {
        let text = config(two, "").replace("1.0.0", version);
        assert_eq!(allocate(&mut FakeHost::new(), &text).is_ok(), fits, "{version}");
        let text = config(BOTH, "").replace("1.0.0", version);
        assert!(allocate(&mut FakeHost::new(), &text).is_ok(), "{version}");
    }
}

#[test]
fn resolver_settings_come_from_the_file_named() {
    let named = config(r#", "subnet": "10.1.2.0/24", "resolvConf": "/etc/pods.conf""#, "");
    let mut host = FakeHost::new().file("/etc/pods.conf", "nameserver 192.0.2.1\n");
    assert_eq!(host.run(&request(&named), HostLocal::allocate).unwrap().dns.nameservers, ["192.0.2.1"]);
    let mut host = FakeHost::new();
    assert!(matches!(host.run(&request(&named), HostLocal::allocate), Err(Error::NotFound(_))));
    assert!(host.holding().is_empty());
}
