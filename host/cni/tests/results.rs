//! Results of every version.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::net::IpAddr;
use std::path::Path;

use proptest::prelude::*;
use weft_cni::{CniResult, Dns, Interface, IpConfig, Prefix, Route, Version, pretty};
use weft_json::{Map, Value};

fn golden(case: &str, version: Version) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/{case}/{version}.json"));
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn read(text: &str) -> CniResult {
    CniResult::parse(&weft_json::parse(text).unwrap(), Version::V0_1_0).unwrap()
}

#[test]
fn every_version_is_printed_as_go_prints_it() {
    for case in ["static", "static-without-dns", "bridge"] {
        let full = read(&golden(case, Version::CURRENT));
        for version in Version::SUPPORTED {
            let text = golden(case, version);
            assert_eq!(pretty(&full.to_json(version).unwrap()), text, "{case} {version}");
            assert_eq!(pretty(&read(&text).to_json(version).unwrap()), text, "{case} {version} read again");
        }
    }
}

#[test]
fn an_old_result_becomes_a_new_one() {
    for old in [Version::V0_1_0, Version::V0_2_0, Version::V0_3_0, Version::V0_3_1, Version::V0_4_0] {
        let result = read(&golden("static", old));
        assert_eq!(pretty(&result.to_json(Version::V1_1_0).unwrap()), golden("static", Version::V1_1_0), "{old}");
    }
}

#[test]
fn without_an_address_old_versions_have_no_result() {
    for version in Version::SUPPORTED {
        let json = CniResult::default().to_json(version);
        if version < Version::V0_3_0 {
            assert_eq!(json.unwrap_err().code, 1);
        } else if version < Version::V1_0_0 {
            assert_eq!(json.unwrap().to_string(), format!(r#"{{"cniVersion":"{version}","dns":{{}}}}"#));
        } else {
            assert_eq!(json.unwrap().to_string(), format!(r#"{{"cniVersion":"{version}"}}"#));
        }
    }
}

#[test]
fn the_configuration_says_which_version_a_result_without_one_has() {
    let value = weft_json::parse(r#"{"ip4":{"ip":"10.0.0.1/8"},"ips":[{"address":"10.0.0.2/8"}]}"#).unwrap();
    let first = |version| CniResult::parse(&value, version).unwrap().ips[0].address.to_string();
    assert_eq!(first(Version::V0_2_0), "10.0.0.1/8");
    assert_eq!(first(Version::V0_3_0), "10.0.0.2/8");
    let value = weft_json::parse(r#"{"CNIVersion":"0.4.0","IPs":[{"Address":"10.0.0.2/8","Gateway":""}]}"#).unwrap();
    assert_eq!(CniResult::parse(&value, Version::V0_1_0).unwrap().ips[0].gateway, None);
    assert_eq!(CniResult::parse(&Value::Null, Version::V1_0_0), Ok(CniResult::default()));
}

#[test]
fn mistakes_are_pointed_to() {
    let cases = [
        (r#"{"cniVersion":"7.0.0"}"#, "/cniVersion", r#""7.0.0""#),
        (r#"{"cniVersion":"1.0.0","ips":[{}]}"#, "/ips/0/address", "nothing"),
        (r#"{"cniVersion":"1.0.0","ips":[{"address":"10.0.0.1"}]}"#, "/ips/0/address", r#""10.0.0.1""#),
        (r#"{"cniVersion":"1.0.0","ips":[{"address":"::/0","interface":"eth0"}]}"#, "/ips/0/interface", r#""eth0""#),
        (r#"{"cniVersion":"0.4.0","routes":[{"dst":"::/0","gw":"x"}]}"#, "/routes/0/gw", r#""x""#),
        (r#"{"cniVersion":"0.2.0","ip4":{"IP":"1"}}"#, "/ip4/IP", r#""1""#),
        (r#"{"cniVersion":"1.1.0","interfaces":[{"name":"a","mtu":-1}]}"#, "/interfaces/0/mtu", "-1"),
        ("[]", "", "[]"),
    ];
    for (text, pointer, found) in cases {
        let error = CniResult::parse(&weft_json::parse(text).unwrap(), Version::CURRENT).unwrap_err();
        assert_eq!((error.pointer.as_str(), error.found.as_str()), (pointer, found), "{text}");
    }
    let error = CniResult::parse(&weft_json::parse("[]").unwrap(), Version::CURRENT).unwrap_err();
    let error = weft_cni::Error::invalid_result("bridge", &error);
    assert_eq!(error.to_string(), "invalid result of plugin bridge at the top: found [], allowed: an object");
    assert_eq!(error.code, 6);
}

// === any result ===

fn extra() -> impl Strategy<Value = Map<String, Value>> {
    prop::collection::btree_map("x[a-z]{1,3}", any::<i32>().prop_map(Value::from), 0..3)
        .prop_map(|all| all.into_iter().collect())
}

fn prefix() -> impl Strategy<Value = Prefix> {
    any::<(IpAddr, u8)>()
        .prop_map(|(address, length)| Prefix { address, length: length % if address.is_ipv4() { 33 } else { 129 } })
}

/// A text that is there or isn't; never an empty one, which means the same as none.
fn text() -> impl Strategy<Value = Option<String>> {
    prop::option::of("[\\PC]{1,6}")
}

/// Like [`text`].
fn number() -> impl Strategy<Value = Option<u32>> {
    prop::option::of(1..=u32::MAX)
}

fn interface() -> impl Strategy<Value = Interface> {
    ("\\PC{0,4}", text(), number(), text(), text(), text(), extra()).prop_map(
        |(name, mac, mtu, sandbox, socket_path, pci_id, extra)| Interface {
            name,
            mac,
            mtu,
            sandbox,
            socket_path,
            pci_id,
            extra,
        },
    )
}

fn ip() -> impl Strategy<Value = IpConfig> {
    (prefix(), any::<Option<IpAddr>>(), prop::option::of(-1..9_i64), extra())
        .prop_map(|(address, gateway, interface, extra)| IpConfig { address, gateway, interface, extra })
}

fn route() -> impl Strategy<Value = Route> {
    let options = (number(), number(), number(), any::<Option<u32>>(), any::<Option<u32>>());
    (prefix(), any::<Option<IpAddr>>(), options, extra()).prop_map(
        |(dst, gw, (mtu, advmss, priority, table, scope), extra)| Route {
            dst,
            gw,
            mtu,
            advmss,
            priority,
            table,
            scope,
            extra,
        },
    )
}

fn dns() -> impl Strategy<Value = Option<Dns>> {
    let list = || prop::collection::vec("\\PC{0,4}", 0..3);
    (list(), text(), list(), list())
        .prop_map(|(nameservers, domain, search, options)| Dns { nameservers, domain, search, options })
        .prop_map(|dns| Some(dns).filter(|dns| !dns.is_empty()))
}

fn result() -> impl Strategy<Value = CniResult> {
    use prop::collection::vec;
    (vec(interface(), 0..3), vec(ip(), 0..4), vec(route(), 0..4), dns(), extra())
        .prop_map(|(interfaces, ips, routes, dns, extra)| CniResult { interfaces, ips, routes, dns, extra })
}

fn version() -> impl Strategy<Value = Version> {
    prop::sample::select(&Version::SUPPORTED[..])
}

fn settings() -> ProptestConfig {
    let rng_seed = proptest::test_runner::RngSeed::Fixed(7);
    ProptestConfig { cases: 128, failure_persistence: None, rng_seed, ..Default::default() }
}

proptest! {
    #![proptest_config(settings())]

    #[test]
    fn the_newest_version_loses_nothing(result in result(), version in prop::sample::select(vec![Version::V1_0_0, Version::V1_1_0])) {
        let text = pretty(&result.to_json(version).unwrap());
        prop_assert_eq!(read(&text), result);
    }

    #[test]
    fn any_version_says_the_same_when_read_again(result in result(), version in version()) {
        if let Ok(json) = result.to_json(version) {
            prop_assert_eq!(read(&json.to_string()).to_json(version).unwrap(), json);
        } else {
            prop_assert!(result.ips.is_empty());
        }
    }

    #[test]
    fn a_detour_over_a_version_between_changes_nothing(result in result(), a in version(), b in version()) {
        let (newer, older) = (a.max(b), a.min(b));
        if let (Ok(json), Ok(direct)) = (result.to_json(newer), result.to_json(older)) {
            prop_assert_eq!(read(&json.to_string()).to_json(older).unwrap(), direct, "{} {}", newer, older);
        }
    }

    #[test]
    fn spelling_of_keys_does_not_matter(result in result()) {
        let upper = |value: &Value| -> Value {
            value.as_object().unwrap().iter().map(|(key, value)| (key.to_ascii_uppercase(), value.clone())).collect()
        };
        let bare = CniResult { extra: Map::new(), ..result };
        let json = bare.to_json(Version::CURRENT).unwrap();
        prop_assert_eq!(CniResult::parse(&upper(&json), Version::V0_1_0).unwrap(), bare);
    }
}
