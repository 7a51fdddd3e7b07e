//! host-local called by itself, as a bridge plugin of others would call it, and its directory as others read it.

use std::fs;

use serde_json::{Value, json};
use weft_tests::lab::{Node, Outcome, Verb, isolated};

use crate::support::result_addresses;

const STORE: &str = "/var/lib/cni/networks/pool";

fn conf(ipam: &Value) -> Value {
    let mut conf = json!({"cniVersion": "1.0.0", "name": "pool", "type": "bridge", "ipam": {"type": "host-local"}});
    for (key, value) in ipam.as_object().unwrap() {
        conf["ipam"][key] = value.clone();
    }
    conf
}

fn call(node: &Node, verb: Verb, conf: &Value, container: &str) -> Outcome {
    node.call(verb, "host-local", conf).container(container).netns("/run/netns/none").run()
}

fn allocate(node: &Node, conf: &Value, container: &str) -> String {
    result_addresses(&call(node, Verb::Add, conf, container).ok()).join(" ")
}

#[test]
fn the_files_are_those_of_the_reference() {
    isolated("host_local::the_files_are_those_of_the_reference", |node| {
        let conf = conf(&json!({"ranges": [[{"subnet": "10.1.2.0/24"}], [{"subnet": "2001:db8:1::/64"}]],
                                "routes": [{"dst": "0.0.0.0/0"}]}));
        let result = call(node, Verb::Add, &conf, "one").ok();
        assert_eq!(result_addresses(&result), ["10.1.2.2/24", "2001:db8:1::2/64"]);
        assert_eq!(result["ips"][0]["gateway"], "10.1.2.1");
        assert_eq!(result["routes"], json!([{"dst": "0.0.0.0/0"}]));
        assert!(result.get("interfaces").is_none_or(|list| list == &json!([]) || list.is_null()), "{result}");
        let read = |name: &str| fs::read_to_string(format!("{STORE}/{name}")).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(read("10.1.2.2"), "one\r\neth0");
        assert_eq!(read("2001:db8:1::2"), "one\r\neth0");
        assert_eq!(read("last_reserved_ip.0"), "10.1.2.2");
        assert_eq!(read("last_reserved_ip.1"), "2001:db8:1::2");
        call(node, Verb::Check, &conf, "one").ok();
        call(node, Verb::Del, &conf, "one").ok();
        assert!(!fs::exists(format!("{STORE}/10.1.2.2")).unwrap());
        assert!(!fs::exists(format!("{STORE}/2001:db8:1::2")).unwrap());
        call(node, Verb::Check, &conf, "one").error();
        call(node, Verb::Del, &conf, "one").ok();
        call(node, Verb::Del, &conf, "unknown").ok();
    });
}

#[test]
fn addresses_go_round() {
    isolated("host_local::addresses_go_round", |node| {
        let range = json!({"subnet": "10.1.2.0/24", "rangeStart": "10.1.2.10", "rangeEnd": "10.1.2.12"});
        let conf = conf(&json!({"ranges": [[range]]}));
        assert_eq!(allocate(node, &conf, "a"), "10.1.2.10/24");
        assert_eq!(allocate(node, &conf, "b"), "10.1.2.11/24");
        call(node, Verb::Del, &conf, "a").ok();
        assert_eq!(allocate(node, &conf, "c"), "10.1.2.12/24", "a released address rests until the search comes round");
        assert_eq!(allocate(node, &conf, "d"), "10.1.2.10/24");
        let message = call(node, Verb::Add, &conf, "e").error().message;
        assert!(message.contains("10.1.2.10") && message.contains("10.1.2.12"), "{message}");
    });
}

#[test]
fn the_gateway_and_the_broadcast_address_are_never_given() {
    isolated("host_local::the_gateway_and_the_broadcast_address_are_never_given", |node| {
        let conf = conf(&json!({"subnet": "10.1.2.0/29", "gateway": "10.1.2.3"}));
        let given: Vec<String> = (0..5).map(|number| allocate(node, &conf, &format!("c{number}"))).collect();
        assert_eq!(given, ["10.1.2.1/29", "10.1.2.2/29", "10.1.2.4/29", "10.1.2.5/29", "10.1.2.6/29"]);
        call(node, Verb::Add, &conf, "late").error();
    });
}

#[test]
fn one_interface_owns_one_address_per_set() {
    isolated("host_local::one_interface_owns_one_address_per_set", |node| {
        let conf = conf(&json!({"ranges": [[{"subnet": "10.1.2.0/24"}]]}));
        let first = allocate(node, &conf, "a");
        let again = call(node, Verb::Add, &conf, "a");
        if node.is_weft() {
            // The same request again has the same answer.
            assert_eq!(result_addresses(&again.ok()), [first]);
        } else {
            again.error();
        }
        let second = node.call(Verb::Add, "host-local", &conf).container("a").netns("/none").ifname("eth1").run().ok();
        assert_eq!(result_addresses(&second), ["10.1.2.3/24"]);
        call(node, Verb::Del, &conf, "a").ok();
        assert!(fs::exists(format!("{STORE}/10.1.2.3")).unwrap(), "the other interface keeps its own");
    });
}

#[test]
fn leases_of_other_hands_are_honoured() {
    isolated("host_local::leases_of_other_hands_are_honoured", |node| {
        let conf = conf(&json!({"ranges": [[{"subnet": "10.1.2.0/24"}]]}));
        fs::create_dir_all(STORE).unwrap();
        fs::write(format!("{STORE}/10.1.2.2"), "old").unwrap();
        fs::write(format!("{STORE}/10.1.2.3"), "  someone \r\n eth0 \n").unwrap();
        assert_eq!(allocate(node, &conf, "new"), "10.1.2.4/24");
        call(node, Verb::Del, &conf, "old").ok();
        assert!(!fs::exists(format!("{STORE}/10.1.2.2")).unwrap(), "a file with only a container id is released");
        assert!(fs::exists(format!("{STORE}/10.1.2.3")).unwrap());
    });
}

#[test]
fn another_data_directory() {
    isolated("host_local::another_data_directory", |node| {
        let elsewhere = |directory: &str| conf(&json!({"subnet": "10.1.2.0/24", "dataDir": directory}));
        if node.is_weft() {
            // Whoever writes a configuration doesn't choose any directory of the node.
            let message = call(node, Verb::Add, &elsewhere("/run/elsewhere"), "a").error().message;
            assert!(message.contains("/ipam/dataDir") && message.contains("allowedPaths"), "{message}");
            assert!(!fs::exists("/run/elsewhere").unwrap());
            fs::write(node.bin().join(".weft/settings.json"), r#"{"allowedPaths": ["/run/elsewhere"]}"#).unwrap();
        }
        let conf = elsewhere("/run/elsewhere");
        assert_eq!(allocate(node, &conf, "a"), "10.1.2.2/24");
        assert_eq!(fs::read_to_string("/run/elsewhere/pool/10.1.2.2").unwrap(), "a\r\neth0");
        call(node, Verb::Del, &conf, "a").ok();
        assert!(!fs::exists("/run/elsewhere/pool/10.1.2.2").unwrap());
    });
}

#[test]
fn pools_that_make_no_sense_are_refused() {
    isolated("host_local::pools_that_make_no_sense_are_refused", |node| {
        let subnet = |range: Value| json!({"ranges": [[range]]});
        for (ipam, names) in [
            (subnet(json!({"subnet": "10.1.2.5/24"})), "10.1.2.5"),
            (subnet(json!({"subnet": "10.1.2.0/31"})), "10.1.2.0/31"),
            (subnet(json!({"subnet": "10.1.2.0/24", "rangeStart": "10.9.0.1"})), "10.9.0.1"),
            (subnet(json!({"subnet": "10.1.2.0/24", "rangeEnd": "10.9.0.1"})), "10.9.0.1"),
            (json!({"ranges": [[{"subnet": "10.1.2.0/24"}, {"subnet": "10.1.2.128/25"}]]}), "10.1.2."),
            (json!({"ranges": [[{"subnet": "10.1.2.0/24"}, {"subnet": "2001:db8::/64"}]]}), ""),
            (json!({}), ""),
        ] {
            let error = call(node, Verb::Add, &conf(&ipam), "a").error();
            assert!(!node.is_weft() || error.message.contains(names), "{ipam}: {error:?}");
        }
    });
}
