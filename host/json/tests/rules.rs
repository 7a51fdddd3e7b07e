//! The rules of reading, as a plugin's configuration meets them.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::HashMap;
use std::net::IpAddr;

use proptest::prelude::*;
use serde::{Deserialize, Deserializer, de};
use weft_json::{Error, Kind, Map, Value, from_str, from_value, get, parse, pointer_get, remove, render, set};

#[derive(Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Config {
    name: String,
    #[serde(default)]
    is_gateway: bool,
    #[serde(default = "usual_mtu")]
    mtu: u16,
    offset: Option<i8>,
    rate: Option<f64>,
    mode: Option<Mode>,
    ipam: Option<Ipam>,
    #[serde(default)]
    capabilities: HashMap<String, bool>,
    #[serde(default)]
    args: Map<String, Value>,
    pair: Option<(u8, u8)>,
}

fn usual_mtu() -> u16 {
    1500
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Mode {
    Bridge,
    Vlan(u16),
    Trunk { first: u16, last: u16 },
}

#[derive(Debug, PartialEq, Deserialize)]
struct Ipam {
    r#type: String,
    #[serde(default)]
    ranges: Vec<Vec<Range>>,
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Range {
    subnet: Option<Subnet>,
    range_start: Option<IpAddr>,
}

#[derive(Debug, PartialEq)]
struct Subnet(String);

impl<'de> Deserialize<'de> for Subnet {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        if text.contains('/') {
            return Ok(Self(text));
        }
        Err(weft_json::invalid(&format!("{text:?}"), "a prefix such as 10.1.0.0/16"))
    }
}

/// `Config` by name only.
fn named(name: &str) -> Config {
    from_str(&format!(r#"{{"name":"{name}"}}"#)).unwrap()
}

#[test]
fn keys_match_without_regard_to_case_at_every_level() {
    let config: Config =
        from_str(r#"{"NAME":"n","ISgateway":true,"IPAM":{"Type":"t","RANGES":[[{"SubNet":"1/2"}]]}}"#).unwrap();
    assert!(config.is_gateway);
    let ipam = config.ipam.unwrap();
    assert_eq!(ipam.r#type, "t");
    assert_eq!(ipam.ranges[0][0].subnet, Some(Subnet("1/2".to_owned())));
}

#[test]
fn one_of_several_spellings_counts() {
    let cases = [
        (r#"{"name":"a","name":"b"}"#, "b"),
        (r#"{"name":"a","NAME":"b"}"#, "a"),
        (r#"{"NAME":"b","name":"a"}"#, "a"),
        (r#"{"Name":"a","NAME":"b"}"#, "b"),
        (r#"{"NAME":"b","Name":"a"}"#, "a"),
    ];
    for (text, expected) in cases {
        assert_eq!(from_str::<Config>(text).unwrap().name, expected, "{text}");
        let value = parse(text).unwrap();
        assert_eq!(get(value.as_object().unwrap(), "name").unwrap(), expected, "{text}");
        assert_eq!(pointer_get(&value, "/name").unwrap().1, expected, "{text}");
    }
}

#[test]
fn a_key_that_is_exactly_another_field_belongs_to_that_one() {
    #[derive(Debug, PartialEq, Deserialize)]
    struct Both {
        mac: Option<u8>,
        #[serde(rename = "MAC")]
        upper: Option<u8>,
    }
    assert_eq!(from_str::<Both>(r#"{"MAC":1}"#).unwrap(), Both { mac: None, upper: Some(1) });
}

#[test]
fn null_is_absent_and_unknown_is_ignored() {
    let text = r#"{"name":"n","isGateway":null,"mtu":null,"offset":null,"ipam":null,"capabilities":null,"args":null,
        "cni.dev/what":[1]}"#;
    assert_eq!(from_str::<Config>(text).unwrap(), named("n"));
}

#[test]
fn maps_keep_their_keys_and_nulls() {
    let config: Config =
        from_str(r#"{"name":"n","args":{"CNI":{"Ips":null},"cni":1},"capabilities":{"portMappings":true}}"#).unwrap();
    assert_eq!(Value::Object(config.args).to_string(), r#"{"CNI":{"Ips":null},"cni":1}"#);
    assert!(config.capabilities["portMappings"]);
}

#[test]
fn enums_have_their_three_forms() {
    let mode = |text: &str| from_str::<Config>(&format!(r#"{{"name":"n","mode":{text}}}"#)).map(|config| config.mode);
    assert_eq!(mode(r#""bridge""#), Ok(Some(Mode::Bridge)));
    assert_eq!(mode(r#"{"vlan":7}"#), Ok(Some(Mode::Vlan(7))));
    assert_eq!(mode(r#"{"trunk":{"FIRST":1,"Last":2}}"#), Ok(Some(Mode::Trunk { first: 1, last: 2 })));
    assert_eq!(mode(r#"{"vlan":"x"}"#).unwrap_err().pointer, "/mode/vlan");
}

#[test]
fn errors_name_the_place_what_is_there_and_what_may_be() {
    let ipam = |inner: &str| format!(r#"{{"name":"n","ipam":{{"type":"t","Ranges":{inner}}}}}"#);
    let long = "x".repeat(100);
    let cases = [
        ("{}".to_owned(), "/name", "nothing", "a value, the key is required"),
        (r#"{"name":null}"#.to_owned(), "/name", "nothing", "a value, the key is required"),
        (r#"{"name":"n","ipam":{"TYPE":null}}"#.to_owned(), "/ipam/type", "nothing", "a value, the key is required"),
        (r#"{"NAME":7}"#.to_owned(), "/NAME", "7", "a string"),
        (r#"{"name":"n","isGateway":"true"}"#.to_owned(), "/isGateway", r#""true""#, "true or false"),
        (r#"{"name":"n","mtu":70000}"#.to_owned(), "/mtu", "70000", "an integer from 0 to 65535"),
        (r#"{"name":"n","mtu":1.0}"#.to_owned(), "/mtu", "1.0", "an integer from 0 to 65535"),
        (r#"{"name":"n","mtu":-1}"#.to_owned(), "/mtu", "-1", "an integer from 0 to 65535"),
        (r#"{"name":"n","mtu":1e30}"#.to_owned(), "/mtu", "1e+30", "an integer from 0 to 65535"),
        (r#"{"name":"n","offset":200}"#.to_owned(), "/offset", "200", "an integer from -128 to 127"),
        (r#"{"name":"n","mode":"brigde"}"#.to_owned(), "/mode", r#""brigde""#, "bridge, vlan, trunk"),
        (r#"{"name":"n","mode":{"vlan":1,"x":2}}"#.to_owned(), "/mode", r#"{"vlan":1,"x":2}"#, "bridge, vlan, trunk"),
        (r#"{"name":"n","capabilities":{"a/b~":1}}"#.to_owned(), "/capabilities/a~1b~0", "1", "true or false"),
        (r#"{"name":"n","pair":[1]}"#.to_owned(), "/pair", "[1]", "a tuple of size 2"),
        (r#"{"name":"n","ipam":[]}"#.to_owned(), "/ipam", "[]", "an object"),
        ("[]".to_owned(), "", "[]", "an object"),
        (ipam("[[],[{},7]]"), "/ipam/Ranges/1/1", "7", "an object"),
        (
            ipam(r#"[[{"subnet":"10.1.2.3"}]]"#),
            "/ipam/Ranges/0/0/subnet",
            r#""10.1.2.3""#,
            "a prefix such as 10.1.0.0/16",
        ),
        (
            ipam(r#"[[{"rangeStart":"x"}]]"#),
            "/ipam/Ranges/0/0/rangeStart",
            r#""x" (invalid IP address syntax)"#,
            "a valid value",
        ),
        (format!(r#"{{"name":["{long}"]}}"#), "/name", &format!("[\"{}...", &long[..59]), "a string"),
    ];
    for (text, pointer, found, allowed) in cases {
        let error = from_str::<Config>(&text).unwrap_err();
        assert_eq!((&*error.pointer, &*error.found, &*error.allowed), (pointer, found, allowed), "{text}");
        assert_eq!(error.kind, Kind::Value, "{text}");
    }
}

#[test]
fn a_type_unaware_of_this_crate_can_say_what_it_takes() {
    #[derive(Debug)]
    struct Even;
    impl<'de> Deserialize<'de> for Even {
        fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
            let number = u64::deserialize(from)?;
            Err(de::Error::invalid_value(de::Unexpected::Unsigned(number), &"an even number"))
        }
    }
    let error = from_str::<Vec<Even>>("[3]").unwrap_err();
    assert_eq!(error.to_string(), "at /0: found 3, allowed: an even number");
}

#[test]
fn syntax_errors_have_a_line_and_a_column() {
    let error = from_str::<Config>("{\n  \"name\": \"n\",\n}").unwrap_err();
    assert_eq!(error.to_string(), "not JSON at line 3 column 1: trailing comma");
    let Kind::Syntax { line: 3, column: 1, .. } = &error.kind else { panic!("{error:?}") };
    for text in ["", "{", "nul", "{} {}", "\u{feff}{}", "{\"a\":1,}", &"[".repeat(200)] {
        assert!(matches!(parse(text).unwrap_err().kind, Kind::Syntax { .. }), "{text}");
    }
}

#[test]
fn strings_are_borrowed_from_a_value() {
    let value = parse(r#"["a"]"#).unwrap();
    assert_eq!(from_value::<Vec<&str>>(&value), Ok(vec!["a"]));
}

#[test]
fn pointers_give_the_spelling_of_the_document() {
    let value = parse(r#"{"IPAM":{"Ranges":[[{"sub/net":1}]],"":2,"~":3}}"#).unwrap();
    let found = |pointer: &str| pointer_get(&value, pointer).map(|(canonical, value)| (canonical, value.to_string()));
    let some = |pointer: &str, value: &str| Some((pointer.to_owned(), value.to_owned()));
    assert_eq!(found("/ipam/ranges/0/0/SUB~1net"), some("/IPAM/Ranges/0/0/sub~1net", "1"));
    assert_eq!(found("/ipam/"), some("/IPAM/", "2"));
    assert_eq!(found("/ipam/~0"), some("/IPAM/~0", "3"));
    for nothing in [
        "ipam",
        "/ipam/ranges/00",
        "/ipam/ranges/+0",
        "/ipam/ranges/-",
        "/ipam/ranges/",
        "/ipam/~2",
        "/x",
        "/ipam/ranges/1",
    ] {
        assert_eq!(found(nothing), None, "{nothing}");
    }
    assert_eq!(found("").unwrap().0, "");
}

#[test]
fn remove_and_set_leave_no_other_spelling() {
    let mut object: Map<String, Value> = from_str(r#"{"A":1,"b":2,"a":3,"c":4}"#).unwrap();
    let text = |object: &Map<String, Value>| Value::Object(object.clone()).to_string();
    let mut other = object.clone();
    assert_eq!(remove(&mut other, "a"), Some(3.into()));
    assert_eq!(text(&other), r#"{"b":2,"c":4}"#);
    set(&mut object, "a", 9.into());
    assert_eq!(text(&object), r#"{"b":2,"a":9,"c":4}"#);
    set(&mut object, "B", 8.into());
    assert_eq!(text(&object), r#"{"a":9,"c":4,"B":8}"#);
}

#[test]
fn what_is_shown_is_short_and_harmless() {
    assert_eq!(render(&Value::from("a\u{1b}[31m\n\"\\")), r#""a\u001b[31m\n\"\\""#);
    assert_eq!(render(&parse(r#"{"a":[true,false,null,-1.5]}"#).unwrap()), r#"{"a":[true,false,null,-1.5]}"#);
    assert_eq!(render(&Value::from("é".repeat(1000))).chars().count(), 64);
    assert_eq!(render(&Value::from(vec![0; 100_000])).len(), 64);
}

/// Any JSON, small.
fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[a-zA-Z0-9/~.\"é]{0,8}".prop_map(Value::from),
    ];
    let key = prop_oneof!["(?i)name|mtu|ipam|type|ranges|mode|vlan|pair|subnet|args", "[a-z~/]{0,3}"];
    leaf.prop_recursive(4, 32, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::vec((key.clone(), inner), 0..8).prop_map(|all| Value::Object(all.into_iter().collect())),
        ]
    })
}

/// The same with letters of keys in the other case, as the bits say.
fn recased(value: &Value, flips: &mut u64) -> Value {
    let mut recase = |letter: char| {
        *flips = flips.rotate_right(1);
        if *flips & 1 == 0 {
            letter
        } else if letter.is_ascii_lowercase() {
            letter.to_ascii_uppercase()
        } else {
            letter.to_ascii_lowercase()
        }
    };
    match value {
        Value::Object(object) => {
            let keys: Vec<String> = object.keys().map(|key| key.chars().map(&mut recase).collect()).collect();
            keys.into_iter().zip(object.values()).map(|(key, inner)| (key, recased(inner, flips))).collect()
        }
        Value::Array(items) => items.iter().map(|item| recased(item, flips)).collect(),
        other => other.clone(),
    }
}

fn settings() -> ProptestConfig {
    ProptestConfig {
        cases: 256,
        failure_persistence: None,
        rng_seed: proptest::test_runner::RngSeed::Fixed(7),
        ..Default::default()
    }
}

proptest! {
    #![proptest_config(settings())]

    #[test]
    fn case_of_keys_does_not_matter(mut flips in any::<u64>()) {
        let value = parse(
            r#"{"name":"n","isGateway":true,"mtu":9000,"ipam":{"type":"t","ranges":[[{"subnet":"1/2"}]]},"offset":-1}"#,
        ).unwrap();
        let flipped = recased(&value, &mut flips);
        prop_assert_eq!(from_value::<Config>(&flipped).unwrap(), from_value::<Config>(&value).unwrap(), "{}", flipped);
    }

    #[test]
    fn any_text_is_an_answer(text in "\\PC{0,40}|[\\[\\]{}\",:0-9a-z\\\\.eE+-]{0,40}") {
        let _ = from_str::<Config>(&text);
        if let Ok(value) = parse(&text) {
            prop_assert_eq!(&from_value::<Value>(&value).unwrap(), &value);
        }
    }

    #[test]
    fn errors_point_to_what_is_there(value in any_value()) {
        let answers: [Option<Error>; 3] = [
            from_value::<Config>(&value).err(),
            from_value::<Vec<Mode>>(&value).err(),
            from_value::<HashMap<String, Option<Ipam>>>(&value).err(),
        ];
        for error in answers.into_iter().flatten() {
            prop_assert_eq!(&error.kind, &Kind::Value);
            let there = pointer_get(&value, &error.pointer);
            if error.found == "nothing" {
                prop_assert!(there.is_none_or(|(_, value)| value.is_null()), "{}", error);
            } else {
                let (canonical, found) = there.unwrap();
                prop_assert_eq!(&canonical, &error.pointer);
                prop_assert!(error.found.starts_with(&render(found)) || error.found.starts_with('"'), "{}", error);
            }
        }
    }
}
