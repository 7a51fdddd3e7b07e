//! Configurations and questions that the bridge tests share.

use serde_json::{Value, json};
use weft_tests::lab::{Netns, Node, Pod, Snapshot, Verb, assert_nothing_left_except_shared, ip_json};

/// The bridge of most configurations.
pub(crate) const BRIDGE: &str = "lab0";

/// A bridge network of pool 10.20.0.0/24 at CNI 1.0.0, with the keys of `more` added; a null removes a key.
pub(crate) fn conf(more: Value) -> Value {
    let mut conf = json!({
        "cniVersion": "1.0.0", "name": "lab", "type": "bridge", "bridge": BRIDGE,
        "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.20.0.0/24"}]]},
    });
    let Value::Object(more) = more else { panic!("an object of keys") };
    for (key, value) in more {
        if value.is_null() {
            conf.as_object_mut().unwrap().remove(&key);
        } else {
            conf[&key] = value;
        }
    }
    conf
}

/// host-local with a pool of each family.
pub(crate) fn dual_stack() -> Value {
    json!({"type": "host-local", "ranges": [[{"subnet": "10.20.0.0/24"}], [{"subnet": "2001:db8:20::/64"}]]})
}

/// `conf` as CHECK and DEL get it.
pub(crate) fn with_result(conf: &Value, result: &Value) -> Value {
    let mut conf = conf.clone();
    conf["prevResult"] = result.clone();
    conf
}

/// ADD, `inspect`, DEL with the result, and nothing may be left but what attachments share.
pub(crate) fn round_trip(node: &Node, conf: &Value, inspect: impl FnOnce(&Pod, &Value)) {
    let pod = Pod::new("pod");
    let before = Snapshot::take(node, &[&pod]);
    let result = node.cni(Verb::Add, "bridge", conf, &pod, "eth0").ok();
    inspect(&pod, &result);
    node.cni(Verb::Del, "bridge", &with_result(conf, &result), &pod, "eth0").ok();
    assert_nothing_left_except_shared(&before, node, &[&pod], &[BRIDGE]);
}

/// ADD has to fail and to leave nothing; returns its message.
pub(crate) fn refused(node: &Node, conf: &Value) -> String {
    let pod = Pod::new("pod");
    let before = Snapshot::take(node, &[&pod]);
    let error = node.cni(Verb::Add, "bridge", conf, &pod, "eth0").error();
    if !node.is_weft() {
        // What a failed ADD of the reference plugins left behind is for DEL, which runtimes send.
        node.cni(Verb::Del, "bridge", conf, &pod, "eth0");
    }
    assert_nothing_left_except_shared(&before, node, &[&pod], &[BRIDGE]);
    error.message
}

/// A link with all its properties, if it exists.
pub(crate) fn link(netns: &Netns, name: &str) -> Option<Value> {
    ip_json(netns, "address show").into_iter().find(|link| link["ifname"] == name)
}

/// Whether a link has a flag, e.g. `UP`.
#[track_caller]
pub(crate) fn has_flag(netns: &Netns, name: &str, flag: &str) -> bool {
    let link = link(netns, name).unwrap_or_else(|| panic!("no link {name}"));
    link["flags"].as_array().unwrap().iter().any(|one| one == flag)
}

/// The addresses that somebody configured on a link, sorted.
pub(crate) fn addresses(netns: &Netns, name: &str) -> Vec<String> {
    let link = link(netns, name).unwrap_or_else(|| panic!("no link {name}"));
    let mut found: Vec<String> = link["addr_info"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|address| address["scope"] == "global")
        .map(|address| format!("{}/{}", address["local"].as_str().unwrap(), address["prefixlen"]))
        .collect();
    found.sort();
    found
}

/// Destination and gateway of the main table's routes with a gateway, sorted: `default via 10.20.0.1`.
pub(crate) fn gateway_routes(netns: &Netns) -> Vec<String> {
    let mut found: Vec<String> = ["-4", "-6"]
        .iter()
        .flat_map(|family| ip_json(netns, &format!("{family} route show")))
        .filter_map(|route| {
            Some(format!("{} via {}", route["dst"].as_str().unwrap(), route.get("gateway")?.as_str().unwrap()))
        })
        .collect();
    found.sort();
    found
}

/// The host's end of the attachment's pair, by the result.
pub(crate) fn host_end(result: &Value) -> String {
    let ends = result["interfaces"].as_array().unwrap();
    ends.iter()
        .filter(|end| end.get("sandbox").is_none_or(|sandbox| sandbox == ""))
        .filter_map(|end| end["name"].as_str())
        .find(|name| name.starts_with("veth"))
        .unwrap_or_else(|| panic!("no veth of the host in {result}"))
        .to_owned()
}

/// Addresses of a result, as it gives them.
pub(crate) fn result_addresses(result: &Value) -> Vec<String> {
    result["ips"].as_array().into_iter().flatten().map(|ip| ip["address"].as_str().unwrap().to_owned()).collect()
}

/// Bridge ports and leases that exist now.
pub(crate) fn ports(node: &Node) -> usize {
    ip_json(node.netns(), "link show").iter().filter(|link| link.get("master").is_some()).count()
}
