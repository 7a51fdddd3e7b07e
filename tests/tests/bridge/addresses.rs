//! Addresses asked for: static, and host-local by request.

use serde_json::json;
use weft_tests::lab::{Pod, Verb, isolated, ping};

use crate::support::{addresses, conf, gateway_routes, refused, result_addresses, round_trip};

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
