//! Configurations, lists, and what delegates are told.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use proptest::prelude::*;
use weft_cni::{Command, ConfigList, Invocation, MAX_CONFIG, NetworkConfig, Version};
use weft_json::{Map, Value};

fn object(text: &str) -> Map<String, Value> {
    weft_json::from_str(text).unwrap()
}

/// The code and text of the error for a configuration.
fn refused(stdin: &[u8]) -> (u32, String) {
    let error = NetworkConfig::parse(stdin).unwrap_err();
    (error.code, error.to_string())
}

#[test]
fn a_whole_configuration() {
    let text = r#"{"zeta":1,"CNIVersion":"1.1.0","name":"n","type":"bridge","IPAM":{"Type":"host-local"},"prevResult":{"ips":[]},
        "runtimeConfig":{"mac":"m"},"args":{"cni":{"ips":["::1"]}},"capabilities":{"mac":true,"ips":false},"disableCheck":true,
        "cni.dev/valid-attachments":[{"containerID":"c","ifname":"eth0"}],"cni.dev/attachments":[],
        "dns":{"nameservers":["1.1.1.1"]},"alpha":null,"bridge":"b","bridge":"c"}"#;
    let config = NetworkConfig::parse(text.as_bytes()).unwrap();
    assert_eq!((config.cni_version, config.name.as_str(), config.kind.as_str()), (Version::V1_1_0, "n", "bridge"));
    assert_eq!(config.ipam_type.as_deref(), Some("host-local"));
    assert_eq!(config.prev_result.as_ref().unwrap().to_string(), r#"{"ips":[]}"#);
    assert_eq!(config.runtime_config["mac"], "m");
    assert_eq!(config.args["cni"]["ips"][0], "::1");
    assert_eq!(
        config.capabilities.iter().filter(|(_, on)| **on).map(|(name, _)| name.as_str()).collect::<Vec<_>>(),
        ["mac"]
    );
    assert_eq!(config.valid_attachments, Some(vec![("c".to_owned(), "eth0".to_owned())]));
    assert!(config.disable_check && !config.is_list());
    assert_eq!(config.dns.unwrap().nameservers, ["1.1.1.1"]);
    let keys: Vec<_> = config.object.keys().map(String::as_str).collect();
    assert_eq!((keys[0], keys[1], *keys.last().unwrap()), ("zeta", "CNIVersion", "bridge"));
    assert_eq!(config.object["bridge"], "c");
}

#[test]
fn little_is_enough() {
    let config =
        NetworkConfig::parse(br#"{"name":"n","type":"t","ipam":{},"prevResult":{},"dns":null,"cniVersion":""}"#)
            .unwrap();
    assert_eq!(
        (config.cni_version, config.ipam_type, config.prev_result, config.dns),
        (Version::V0_1_0, None, None, None)
    );
    assert_eq!(config.valid_attachments, None);
    let older = NetworkConfig::parse(br#"{"name":"n","type":"t","cni.dev/attachments":[]}"#).unwrap();
    assert_eq!(older.valid_attachments, Some(vec![]));
    let list = NetworkConfig::parse(br#"{"name":"n","plugins":[{"type":"t"}]}"#).unwrap();
    assert!(list.is_list() && list.kind.is_empty());
}

#[test]
fn wrong_values_are_pointed_to() {
    let cases = [
        (r#"{"type":"t"}"#, "/name: found nothing"),
        (r#"{"name":"","type":"t"}"#, r#"/name: found """#),
        (r#"{"name":"a/b","type":"t"}"#, r#"/name: found "a/b""#),
        (r#"{"name":"n"}"#, "/type: found nothing"),
        (r#"{"name":"n","Type":""}"#, r#"/Type: found """#),
        (r#"{"name":"n","type":"../sh"}"#, r#"/type: found "../sh""#),
        (r#"{"name":"n","type":".."}"#, r#"/type: found "..""#),
        (r#"{"name":"n","type":"t","ipam":{"type":"/bin/sh"}}"#, r#"/ipam/type: found "/bin/sh""#),
        (r#"{"name":"n","type":"t","ipam":"x"}"#, r#"/ipam: found "x""#),
        (r#"{"name":"n","type":"t","prevResult":[]}"#, "/prevResult: found []"),
        (r#"{"name":"n","type":"t","cniVersion":1}"#, "/cniVersion: found 1"),
        (r#"{"name":"n","type":"t","capabilities":{"mac":1}}"#, "/capabilities/mac: found 1"),
        (r#"{"name":"n","type":"t","disableCheck":"maybe"}"#, r#"/disableCheck: found "maybe""#),
        (
            r#"{"name":"n","type":"t","cni.dev/valid-attachments":[{"ifname":"a"}]}"#,
            "/cni.dev~1valid-attachments/0/containerID",
        ),
        ("[]", "the top: found []"),
    ];
    for (text, said) in cases {
        let (code, message) = refused(text.as_bytes());
        assert_eq!(code, 7, "{text}");
        assert!(message.starts_with(&format!("invalid configuration at {said}")), "{message}");
    }
    let (code, message) = refused(br#"{"cniVersion":"9.9.9","name":7}"#);
    assert!(code == 1 && message.contains("9.9.9") && message.contains("1.1.0"), "{message}");
}

#[test]
fn what_is_no_json_is_said_to_be_none() {
    let long = format!("{{\"name\":\"{}\"}}", "x".repeat(MAX_CONFIG));
    let cases: [(&[u8], &str); 6] = [
        (b"", "stdin is empty"),
        (b"\n", "stdin is empty"),
        (b"\xef\xbb\xbf{}", "byte order mark"),
        (b"{\"a\":\"\xff\"}", "not UTF-8: byte 6"),
        (b"{\n  \"a\" 1}", "line 2 column 7"),
        (long.as_bytes(), "longer than 1048576 bytes"),
    ];
    for (stdin, said) in cases {
        let (code, message) = refused(stdin);
        assert_eq!(code, 6, "{message}");
        assert!(message.contains(said), "{message}");
    }
}

#[test]
fn verbs_need_their_version() {
    let config = |version: &str| {
        NetworkConfig::parse(format!(r#"{{"name":"n","type":"t","cniVersion":"{version}"}}"#).as_bytes()).unwrap()
    };
    assert_eq!(config("0.4.0").check_verb(Command::Check), Ok(()));
    let error = config("0.3.1").check_verb(Command::Check).unwrap_err();
    assert_eq!((error.code, error.details.as_str()), (1, "cniVersion 0.3.1 has no CHECK: it needs 0.4.0"));
    assert_eq!(config("1.0.0").check_verb(Command::Gc).unwrap_err().code, 1);
    assert_eq!(config("0.1.0").check_verb(Command::Del), Ok(()));
}

#[test]
fn lists() {
    let text = br#"{"name":"n","cniVersion":"0.4.0","cniVersions":["1.0.0","0.3.1","7.0.0"],"disableGC":"True",
        "plugins":[{"type":"a"},{"TYPE":"b"}]}"#;
    let list = ConfigList::parse(text).unwrap();
    assert_eq!((list.cni_version, list.name.as_str()), (Version::V1_0_0, "n"));
    assert_eq!(list.plugins.iter().map(|plugin| plugin.kind.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    assert!(list.disable_gc && !list.disable_check && !list.load_only_inlined_plugins);
    assert!(ConfigList::parse(br#"{"name":"n"}"#).unwrap().plugins.is_empty());
    let single = NetworkConfig::parse(br#"{"name":"n","type":"t","cniVersion":"0.3.1"}"#).unwrap();
    assert_eq!(ConfigList::single(&single).plugins[0].object, single.object);
}

#[test]
fn lists_that_are_refused() {
    let cases = [
        (r#"{"plugins":[{"type":"a"}]}"#, 7, "/d/0/name"),
        (r#"{"name":"n","plugins":[]}"#, 7, "/d/0/plugins: found []"),
        (r#"{"name":"n","loadOnlyInlinedPlugins":true}"#, 7, "/d/0/plugins: found nothing"),
        (r#"{"name":"n","plugins":[{"type":"a"},{}]}"#, 7, "/d/0/plugins/1/type: found nothing"),
        (r#"{"name":"n","plugins":[{"type":"a"},7]}"#, 7, "/d/0/plugins/1: found 7"),
        (r#"{"name":"n","plugins":[{"type":"a/b"}]}"#, 7, r#"/d/0/plugins/0/type: found "a/b""#),
        (
            r#"{"name":"n","cniVersions":["1.0.0","one"],"plugins":[{"type":"a"}]}"#,
            7,
            r#"/d/0/cniVersions/1: found "one""#,
        ),
        (r#"{"name":"n","cniVersions":["7.0.0"],"plugins":[{"type":"a"}]}"#, 1, "7.0.0"),
        (r#"{"name":"n","cniVersion":"0.5.0","plugins":[{"type":"a"}]}"#, 1, "0.5.0"),
    ];
    for (text, code, said) in cases {
        let error = ConfigList::from_object(object(text), "/d/0").unwrap_err();
        assert_eq!(error.code, code, "{text}");
        assert!(error.to_string().contains(said), "{error}");
    }
}

#[test]
fn what_a_delegate_is_told() {
    let plugin = object(
        r#"{"type":"p","NAME":"own","prevResult":{"stale":1},"capabilities":{"mac":true,"ips":false,"x":true},"keep":{"Z":1}}"#,
    );
    let capability_args = object(r#"{"mac":"m","ips":["::1"],"bandwidth":{}}"#);
    let result = Value::Object(object(r#"{"cniVersion":"0.4.0"}"#));
    let add = Invocation {
        network: "net",
        version: Version::V0_4_0,
        capability_args: &capability_args,
        prev_result: None,
        valid_attachments: None,
    };
    let told = Value::Object(add.configure(&plugin)).to_string();
    assert_eq!(
        told,
        r#"{"type":"p","capabilities":{"mac":true,"ips":false,"x":true},"keep":{"Z":1},"cniVersion":"0.4.0","name":"net","runtimeConfig":{"mac":"m"}}"#
    );
    let next = Invocation { prev_result: Some(&result), capability_args: &Map::new(), ..add }.configure(&plugin);
    assert_eq!(next["prevResult"], result);
    assert!(!next.contains_key("runtimeConfig"));
    let valid = [("c".to_owned(), "eth0".to_owned())];
    let gc = Invocation { valid_attachments: Some(&valid), ..add }.configure(&plugin);
    let list = r#"[{"containerID":"c","ifname":"eth0"}]"#;
    assert_eq!(gc["cni.dev/valid-attachments"].to_string(), list);
    assert_eq!(gc["cni.dev/attachments"].to_string(), list);
    let read = NetworkConfig::from_object(gc, "").unwrap();
    assert_eq!(read.valid_attachments.as_deref(), Some(&valid[..]));
}

fn settings() -> ProptestConfig {
    let rng_seed = proptest::test_runner::RngSeed::Fixed(7);
    ProptestConfig { cases: 512, failure_persistence: None, rng_seed, ..Default::default() }
}

fn json() -> impl Strategy<Value = String> {
    let leaf = prop_oneof!["null|true|7|-1|\"\"|\"1\\.0\\.0\"|\"a\"|\"a/b\""];
    let key =
        "name|type|ipam|cniVersion|cniVersions|plugins|prevResult|args|capabilities|dns|Name|cni\\.dev/attachments|x";
    leaf.prop_recursive(3, 24, 5, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(|all| format!("[{}]", all.join(","))),
            prop::collection::vec((key, inner), 0..7).prop_map(|all| {
                let entries: Vec<_> = all.iter().map(|(key, value)| format!("\"{key}\":{value}")).collect();
                format!("{{{}}}", entries.join(","))
            }),
        ]
    })
}

proptest! {
    #![proptest_config(settings())]

    #[test]
    fn any_bytes_are_an_answer(bytes in prop_oneof![prop::collection::vec(any::<u8>(), 0..24), json().prop_map(String::into_bytes)]) {
        let _ = weft_cni::requested_version(&bytes);
        if let Ok(config) = NetworkConfig::parse(&bytes) {
            prop_assert!(weft_cni::is_name(&config.name) && !config.kind.contains('/'));
            prop_assert_eq!(&NetworkConfig::from_object(config.object.clone(), "").unwrap(), &config);
        }
        if let Err(error) = ConfigList::parse(&bytes) {
            prop_assert!(matches!(error.code, 1 | 6 | 7), "{}", error);
        }
    }
}
