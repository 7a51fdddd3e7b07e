//! What the environment may say, and what is said about the rest.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::PathBuf;

use proptest::prelude::*;
use weft_cni::{Command, Environment, Error};

fn parse(variables: &[(&str, &str)]) -> Result<Option<Environment>, Error> {
    Environment::parse(|name| variables.iter().rev().find(|(key, _)| *key == name).map(|(_, value)| value.into()))
}

/// An ADD, with some variables else than usual.
fn add(other: &[(&str, &str)]) -> Result<Environment, Error> {
    let usual = [
        ("CNI_COMMAND", "ADD"),
        ("CNI_CONTAINERID", "c1"),
        ("CNI_NETNS", "/run/netns/a"),
        ("CNI_IFNAME", "eth0"),
        ("CNI_PATH", "/opt/cni/bin::/usr/lib/cni:"),
    ];
    parse(&[&usual, other].concat()).map(Option::unwrap)
}

#[test]
fn a_whole_request() {
    let environment = add(&[("CNI_ARGS", "IgnoreUnknown=1;A=x;A=y;B="), ("CNI_NETNS_OVERRIDE", "TRUE")]).unwrap();
    assert_eq!(environment.command, Command::Add);
    assert_eq!((environment.container_id.as_str(), environment.ifname.as_str()), ("c1", "eth0"));
    assert_eq!(environment.netns.as_deref(), Some("/run/netns/a"));
    assert_eq!(environment.path, ["/opt/cni/bin", "/usr/lib/cni"].map(PathBuf::from));
    assert_eq!((environment.arg("A"), environment.arg("B"), environment.arg("a")), (Some("y"), Some(""), None));
    assert!(environment.ignore_unknown() && environment.netns_override);
    assert_eq!(environment.args_text(), "IgnoreUnknown=1;A=x;A=y;B=");
}

#[test]
fn no_runtime_calls() {
    assert_eq!(parse(&[]), Ok(None));
    assert_eq!(parse(&[("CNI_COMMAND", ""), ("CNI_ARGS", "?")]), Ok(None));
}

#[test]
fn each_verb_names_all_that_is_missing() {
    let cases = [
        ("ADD", "CNI_CONTAINERID, CNI_NETNS, CNI_IFNAME, CNI_PATH"),
        ("CHECK", "CNI_CONTAINERID, CNI_NETNS, CNI_IFNAME, CNI_PATH"),
        ("DEL", "CNI_CONTAINERID, CNI_IFNAME, CNI_PATH"),
        ("GC", "CNI_PATH"),
        ("STATUS", "CNI_PATH"),
    ];
    for (verb, missing) in cases {
        let error = parse(&[("CNI_COMMAND", verb), ("CNI_IFNAME", "")]).unwrap_err();
        assert_eq!(error.code, 4);
        assert!(error.msg.ends_with(missing) && error.msg.starts_with(verb), "{error}");
    }
    assert_eq!(parse(&[("CNI_COMMAND", "VERSION"), ("CNI_ARGS", "?")]).unwrap().unwrap().command, Command::Version);
    let error = add(&[("CNI_NETNS", "")]).unwrap_err();
    assert_eq!(error.msg, "ADD needs the environment variable CNI_NETNS");
}

#[test]
fn del_needs_no_namespace_and_gc_no_attachment() {
    assert_eq!(add(&[("CNI_COMMAND", "DEL"), ("CNI_NETNS", "")]).unwrap().netns, None);
    let gc = add(&[("CNI_COMMAND", "GC"), ("CNI_CONTAINERID", "?"), ("CNI_IFNAME", "../..")]).unwrap();
    assert_eq!((gc.container_id.as_str(), gc.ifname.as_str(), gc.netns), ("", "", None));
}

#[test]
fn wrong_values_are_named() {
    let cases = [
        ("CNI_COMMAND", "add", "\"add\""),
        ("CNI_CONTAINERID", "../../etc", "\"../../etc\""),
        ("CNI_CONTAINERID", "a b", "\"a b\""),
        ("CNI_IFNAME", "..", "directory"),
        ("CNI_IFNAME", "a/b", "\"a/b\""),
        ("CNI_IFNAME", "0123456789abcdef", "15 bytes"),
        ("CNI_ARGS", "A", "\"A\""),
        ("CNI_ARGS", "A=1;", "\"\""),
        ("CNI_ARGS", "A=1=2", "\"A=1=2\""),
        ("CNI_ARGS", "=1", "\"=1\""),
        ("CNI_ARGS", "IgnoreUnknown=maybe", "maybe"),
    ];
    for (name, value, said) in cases {
        let error = add(&[(name, value)]).unwrap_err();
        assert_eq!(error.code, 4, "{name}={value}");
        assert!(error.msg.contains(name) && error.msg.contains(said), "{error}");
    }
}

#[test]
fn only_utf8() {
    for name in ["CNI_COMMAND", "CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_PATH", "CNI_ARGS"] {
        let error = Environment::parse(|asked| match asked {
            _ if asked == name => Some(OsString::from_vec(vec![b'a', 0xff])),
            "CNI_COMMAND" => Some("ADD".into()),
            "CNI_ARGS" | "CNI_NETNS_OVERRIDE" => None,
            _ => Some("a".into()),
        })
        .unwrap_err();
        assert_eq!(error.code, 4);
        assert!(error.msg.starts_with(&format!("{name} is not UTF-8")), "{error}");
    }
}

fn settings() -> ProptestConfig {
    let rng_seed = proptest::test_runner::RngSeed::Fixed(7);
    ProptestConfig { cases: 512, failure_persistence: None, rng_seed, ..Default::default() }
}

/// Something for a variable: bytes, or what looks like a pair list, a name or a path.
fn value() -> impl Strategy<Value = Option<OsString>> {
    let bytes = prop::collection::vec(1_u8.., 0..6).prop_map(OsString::from_vec);
    prop::option::of(prop_oneof![bytes, "[a-zA-Z0-9=;:./ ]{0,16}".prop_map(OsString::from)])
}

proptest! {
    #![proptest_config(settings())]

    #[test]
    fn any_environment_is_an_answer(
        command in prop_oneof![value(), "ADD|DEL|CHECK|GC|STATUS|VERSION".prop_map(|verb| Some(verb.into()))],
        values in prop::collection::vec(value(), 6),
    ) {
        const NAMES: [&str; 6] =
            ["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_PATH", "CNI_ARGS", "CNI_NETNS_OVERRIDE"];
        let answer = Environment::parse(|name| match NAMES.iter().position(|known| *known == name) {
            Some(at) => values[at].clone(),
            None => command.clone(),
        });
        match answer {
            Err(error) => prop_assert!(error.code == 4 && error.msg.contains("CNI_"), "{}", error),
            Ok(Some(environment)) if environment.command != Command::Version => {
                prop_assert_eq!(environment.args_text(), values[4].clone().unwrap_or_default().into_string().unwrap());
                if environment.command.has_attachment() {
                    prop_assert!(weft_cni::is_name(&environment.container_id));
                    prop_assert_eq!(weft_cni::interface_name_problem(&environment.ifname), None);
                    prop_assert!(environment.netns.is_some() || environment.command == Command::Del);
                }
            }
            Ok(_) => {}
        }
    }
}
