//! The host's reader is the measure.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde::Deserialize;

use super::*;

#[derive(Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Shape {
    #[serde(default)]
    is_on: bool,
    #[serde(default)]
    small: Option<u8>,
    signed: Option<i32>,
    big: Option<u64>,
    #[serde(default)]
    text: String,
    #[serde(default)]
    list: Vec<Shape>,
    map: Option<BTreeMap<String, u16>>,
    mode: Option<Mode>,
    pair: Option<(u8, String)>,
    float: Option<f64>,
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Mode {
    Fast,
    Slow(u8),
}

/// The value, or pointer, found and allowed of the error.
fn both(text: &str) -> [Result<Shape, (String, String, String)>; 2] {
    let ours = from_str::<Shape>(text).map_err(|error| {
        let problem = error.into_problem();
        (problem.pointer, problem.found, problem.allowed)
    });
    let host = weft_json::from_str::<Shape>(text).map_err(|error| {
        let problem = error.into_problem();
        (problem.pointer, problem.found, problem.allowed)
    });
    [ours, host]
}

#[test]
fn it_reads_as_the_host_does() {
    for text in [
        "{}",
        r#"{"isOn": true, "small": 255, "signed": -7, "big": 18446744073709551615, "text": "a\u00e9\ud83d\ude00\n"}"#,
        r#"{"ISON": true, "isOn": false, "ison": true}"#,
        r#"{"ISON": false, "ison": true}"#,
        r#"{"ISON": false, "ison": true, "ISON": false}"#,
        r#"{"isOn": null, "small": null, "text": null, "list": null, "map": null}"#,
        r#"{"small": 256}"#,
        r#"{"small": -1}"#,
        r#"{"small": 1.0}"#,
        r#"{"signed": "7"}"#,
        r#"{"isOn": "yes"}"#,
        r#"{"text": 5}"#,
        r#"{"list": {"a": 1}}"#,
        r#"{"list": [{}, {"LIST": [{"small": [1, 2]}]}]}"#,
        r#"{"map": {"A": 1, "a": 2}}"#,
        r#"{"map": {"a/b~c": 65536}}"#,
        r#"{"mode": "fast"}"#,
        r#"{"mode": {"slow": 5}}"#,
        r#"{"mode": {"slow": 500}}"#,
        r#"{"mode": "medium"}"#,
        r#"{"mode": 5}"#,
        r#"{"pair": [1, "x"]}"#,
        r#"{"pair": [1]}"#,
        r#"{"pair": ["x", 1]}"#,
        r#"{"float": 1.5}"#,
        r#"{"float": 7}"#,
        r#"{"unknown": [1, {"x": null}], "text": "x"}"#,
        "[]",
        "null",
        r#"{"text": ["a long value that goes on and on and on and on and on and on and on and on"]}"#,
    ] {
        let [ours, host] = both(text);
        assert_eq!(ours, host, "{text}");
    }
}

#[test]
fn numbers_that_do_not_fit_are_shown_as_they_are_written() {
    for number in ["1e1", "18446744073709551616", "0.10"] {
        let [ours, host] = both(&format!("{{\"big\": {number}}}"));
        let (pointer, found, allowed) = ours.unwrap_err();
        let (host_pointer, _, host_allowed) = host.unwrap_err();
        assert_eq!((pointer, found, allowed), (host_pointer, number.to_owned(), host_allowed));
    }
}

#[test]
fn what_is_no_json_is_refused() {
    for text in [
        "",
        " ",
        "{",
        "[1,]",
        "{\"a\":1,}",
        "{a:1}",
        "01",
        "1.",
        "-",
        "+1",
        "1e",
        ".5",
        "nul",
        "truee",
        "\"",
        "\"\\x\"",
        "\"\\ud800\"",
        "\"\\ud800\\u0041\"",
        "\"\t\"",
        "1 2",
        "{\"a\" 1}",
        "[1 2]",
        "\u{feff}1",
        "'a'",
    ] {
        assert!(parse(text).is_err(), "{text}");
        assert!(weft_json::parse(text).is_err(), "{text}");
    }
    assert!(parse(&"[".repeat(100_000)).is_err());
    let deep = |levels: usize| ["[".repeat(levels), "]".repeat(levels)].concat();
    for levels in [126, 127, 128, 129] {
        assert_eq!(parse(&deep(levels)).is_ok(), weft_json::parse(&deep(levels)).is_ok(), "{levels}");
    }
}

#[test]
fn what_is_written_is_what_was_read() {
    for text in [r#"{"b":[1.50,-0,1e400,"a\"\\b",{}],"a":null,"c":[],"d":true}"#, "\"\\u0001\\u001f\\u007f\"", "false"]
    {
        assert_eq!(parse(text).unwrap().to_string(), text);
    }
}

fn any_json() -> impl Strategy<Value = String> {
    let key = prop::sample::select(vec!["isOn", "ison", "small", "Small", "text", "list", "LIST", "map", "x", "mode"]);
    let leaf = prop_oneof![
        Just("null".to_owned()),
        any::<bool>().prop_map(|value| value.to_string()),
        any::<i16>().prop_map(|value| value.to_string()),
        "[a-z\"\\\\\u{0}-\u{1f}é]{0,4}".prop_map(|text| quote(&text)),
    ];
    leaf.prop_recursive(4, 32, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(|items| format!("[{}]", items.join(" , "))),
            prop::collection::vec((key.clone(), inner), 0..5).prop_map(|entries| {
                let entries: Vec<_> = entries.iter().map(|(key, value)| format!("\"{key}\" : {value}")).collect();
                format!("{{{}}}", entries.join(","))
            }),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, rng_seed: proptest::test_runner::RngSeed::Fixed(7), ..ProptestConfig::default() })]

    #[test]
    fn random_documents_read_as_the_host_reads_them(text in any_json()) {
        let [ours, host] = both(&text);
        prop_assert_eq!(ours, host);
        let again = parse(&text).unwrap().to_string();
        prop_assert_eq!(weft_json::parse(&again).unwrap(), weft_json::parse(&text).unwrap());
    }

    #[test]
    fn damaged_documents_are_no_panic(text in any_json(), at in any::<prop::sample::Index>(), with in any::<char>()) {
        let mut characters: Vec<char> = text.chars().collect();
        let at = at.index(characters.len());
        characters[at] = with;
        let damaged: String = characters.into_iter().collect();
        prop_assert_eq!(parse(&damaged).is_ok(), weft_json::parse(&damaged).is_ok(), "{}", damaged);
    }
}
