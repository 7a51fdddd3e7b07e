//! Addresses asked for: static, and host-local by request.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::{Value, json};
use weft_tests::lab::{Node, Pod, Snapshot, Verb, assert_nothing_left_except_shared, isolated, ping};

use crate::support::{BRIDGE, addresses, conf, gateway_routes, refused, result_addresses, round_trip};

#[test]
fn from_the_configuration() {
    isolated("addresses::from_the_configuration", |node| {
        let ipam = json!({
            "type": "static",
            "addresses": [{"address": "10.20.0.7/24", "gateway": "10.20.0.254"}, {"address": "2001:db8:20::7/64"}],
            "routes": [{"dst": "10.99.0.0/16"}],
            "dns": {"nameservers": ["192.0.2.53"]},
        });
        round_trip(node, &conf(json!({"isGateway": true, "ipam": ipam})), |pod, result| {
            assert_eq!(addresses(pod.netns(), "eth0"), ["10.20.0.7/24", "2001:db8:20::7/64"]);
            assert_eq!(gateway_routes(pod.netns()), ["10.99.0.0/16 via 10.20.0.254"]);
            if node.is_weft() {
                // Older reference plugins put their own, empty `dns` over that of the address plugin.
                assert_eq!(result["dns"]["nameservers"], json!(["192.0.2.53"]));
            }
            assert_eq!(
                result["ips"][1]["gateway"], "2001:db8:20::1",
                "the gateway that isn't named is the first address"
            );
            ping(pod.netns(), "10.20.0.254");
        });
    });
}

#[test]
fn static_from_cni_args() {
    isolated("addresses::static_from_cni_args", |node| {
        let conf = conf(json!({"isGateway": true, "ipam": {"type": "static"}}));
        let pod = Pod::new("pod");
        let args = "IgnoreUnknown=1;IP=10.20.0.8/24,2001:db8:20::8/64;GATEWAY=10.20.0.200";
        let result = node.call(Verb::Add, "bridge", &conf).pod(&pod).args(args).run().ok();
        assert_eq!(addresses(pod.netns(), "eth0"), ["10.20.0.8/24", "2001:db8:20::8/64"]);
        assert_eq!(result["ips"][0]["gateway"], "10.20.0.200");
        node.cni(Verb::Del, "bridge", &conf, &pod, "eth0").ok();
    });
}

#[test]
fn static_at_run_time_replaces_the_rest() {
    isolated("addresses::static_at_run_time_replaces_the_rest", |node| {
        let conf = conf(json!({
            "ipam": {"type": "static", "addresses": [{"address": "10.20.0.7/24"}]},
            "args": {"cni": {"ips": ["10.20.0.8/24"]}},
            "capabilities": {"ips": true}, "runtimeConfig": {"ips": ["10.20.0.9/24"]},
        }));
        round_trip(node, &conf, |pod, _| assert_eq!(addresses(pod.netns(), "eth0"), ["10.20.0.9/24"]));
    });
}

#[test]
fn static_without_a_prefix_length_is_refused() {
    isolated("addresses::static_without_a_prefix_length_is_refused", |node| {
        let ipam = json!({"type": "static", "addresses": [{"address": "10.20.0.7"}]});
        let message = refused(node, &conf(json!({"ipam": ipam})));
        assert!(message.contains("10.20.0.7"), "{message}");
    });
}

#[test]
fn one_of_the_pool_by_request() {
    isolated("addresses::one_of_the_pool_by_request", |node| {
        let conf = conf(json!({"isGateway": true}));
        let (pod, other) = (Pod::new("pod"), Pod::new("other"));
        let call = node.call(Verb::Add, "bridge", &conf).args("IgnoreUnknown=1;IP=10.20.0.77");
        assert_eq!(result_addresses(&call.clone().pod(&pod).run().ok()), ["10.20.0.77/24"]);
        let taken = call.pod(&other).run().error();
        assert!(taken.message.contains("10.20.0.77"), "{taken:?}");
        node.cni(Verb::Del, "bridge", &conf, &pod, "eth0").ok();
        node.cni(Verb::Del, "bridge", &conf, &other, "eth0").ok();
    });
}

#[test]
fn a_pool_at_run_time() {
    isolated("addresses::a_pool_at_run_time", |node| {
        let conf = conf(json!({
            "isGateway": true, "ipam": {"type": "host-local"}, "capabilities": {"ipRanges": true},
            "runtimeConfig": {"ipRanges": [[{"subnet": "10.30.0.0/24"}]]},
        }));
        round_trip(node, &conf, |pod, _| assert_eq!(addresses(pod.netns(), "eth0"), ["10.30.0.2/24"]));
    });
}

/// Puts an address plugin into the node's directory that notes its calls in `/run/calls.*` and answers ADD with `result`.
fn foreign_ipam(node: &Node, result: &Value) {
    let script = format!(
        "#!/bin/sh\ncat > /run/calls.$CNI_COMMAND.json\n\
         echo \"$CNI_CONTAINERID $CNI_IFNAME $CNI_NETNS\" > /run/calls.$CNI_COMMAND\n\
         [ $CNI_COMMAND != ADD ] || echo '{result}'\n"
    );
    let path = node.bin().join("foreign-ipam");
    fs::write(&path, script).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn an_address_plugin_of_others() {
    isolated("addresses::an_address_plugin_of_others", |node| {
        let result = json!({"cniVersion": "1.0.0", "ips": [{"address": "10.20.0.50/24", "gateway": "10.20.0.1"}],
                            "routes": [{"dst": "10.99.0.0/16"}]});
        foreign_ipam(node, &result);
        let ipam = json!({"type": "foreign-ipam", "something": {"of": "its own"}});
        round_trip(node, &conf(json!({"isGateway": true, "ipam": ipam})), |pod, _| {
            assert_eq!(addresses(pod.netns(), "eth0"), ["10.20.0.50/24"]);
            assert_eq!(gateway_routes(pod.netns()), ["10.99.0.0/16 via 10.20.0.1"]);
            assert_eq!(fs::read_to_string("/run/calls.ADD").unwrap(), "pod eth0 /run/netns/pod\n");
            let seen: Value = serde_json::from_slice(&fs::read("/run/calls.ADD.json").unwrap()).unwrap();
            assert_eq!(seen["ipam"], ipam, "it gets the whole configuration");
            assert_eq!((&seen["name"], &seen["type"]), (&json!("lab"), &json!("bridge")));
        });
        assert_eq!(fs::read_to_string("/run/calls.DEL").unwrap(), "pod eth0 /run/netns/pod\n");
    });
}

#[test]
fn an_address_plugin_that_gives_none() {
    isolated("addresses::an_address_plugin_that_gives_none", |node| {
        foreign_ipam(node, &json!({"cniVersion": "1.0.0", "ips": []}));
        refused(node, &conf(json!({"isGateway": true, "ipam": {"type": "foreign-ipam"}})));
        assert!(fs::exists("/run/calls.DEL").unwrap(), "what ADD reserved is given back");
    });
}

#[test]
fn for_a_main_plugin_of_others() {
    isolated("addresses::for_a_main_plugin_of_others", |node| {
        node.add_native("ptp");
        let pod = Pod::new("pod");
        let conf = json!({"cniVersion": "1.0.0", "name": "lab", "type": "ptp",
                          "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.20.0.0/24"}]]}});
        let before = Snapshot::take(node, &[&pod]);
        node.cni(Verb::Add, "ptp", &conf, &pod, "eth0").ok();
        assert_eq!(addresses(pod.netns(), "eth0"), ["10.20.0.2/24"]);
        node.cni(Verb::Del, "ptp", &conf, &pod, "eth0").ok();
        assert_nothing_left_except_shared(&before, node, &[&pod], &[BRIDGE]);
    });
}
