//! DEL: as often as a runtime likes, with or without a namespace, and nothing stays.

use std::path::Path;

use serde_json::json;
use weft_tests::lab::{
    HOME, NATIVE, Plugins, Pod, Snapshot, Verb, assert_nothing_left, assert_nothing_left_except_shared, ip, isolated,
    nft_json, ping,
};

use crate::support::{BRIDGE, addresses, conf, dual_stack, link, ports, result_addresses, with_result};

#[test]
fn of_what_was_never_added() {
    isolated("del::of_what_was_never_added", |node| {
        let pod = Pod::new("pod");
        let before = Snapshot::take(node, &[&pod]);
        node.cni(Verb::Del, "bridge", &conf(json!({"isGateway": true, "ipMasq": true})), &pod, "eth0").ok();
        assert_nothing_left_except_shared(&before, node, &[&pod], &[]);
        assert!(!before.entries().any(|(key, _)| key.ends_with(BRIDGE)));
        if node.is_weft() {
            assert_nothing_left(&before, node, &[&pod]);
        }
    });
}

#[test]
fn again_and_again() {
    isolated("del::again_and_again", |node| {
        let conf = conf(json!({"isGateway": true}));
        let pod = Pod::new("pod");
        let before = Snapshot::take(node, &[&pod]);
        let result = node.cni(Verb::Add, "bridge", &conf, &pod, "eth0").ok();
        for _ in 0..3 {
            node.cni(Verb::Del, "bridge", &with_result(&conf, &result), &pod, "eth0").ok();
            assert_nothing_left_except_shared(&before, node, &[&pod], &[BRIDGE]);
        }
        // The name is free again.
        node.cni(Verb::Add, "bridge", &conf, &pod, "eth0").ok();
        ping(pod.netns(), "10.20.0.1");
        node.cni(Verb::Del, "bridge", &conf, &pod, "eth0").ok();
        assert_nothing_left_except_shared(&before, node, &[&pod], &[BRIDGE]);
    });
}

#[test]
fn a_second_add_is_harmless() {
    isolated("del::a_second_add_is_harmless", |node| {
        let conf = conf(json!({"isGateway": true}));
        let pod = Pod::new("pod");
        let before = Snapshot::take(node, &[&pod]);
        let result = node.cni(Verb::Add, "bridge", &conf, &pod, "eth0").ok();
        let second = node.cni(Verb::Add, "bridge", &conf, &pod, "eth0");
        if node.is_weft() {
            // A runtime that died before it read the result asks again.
            assert_eq!(second.ok(), result);
            ping(pod.netns(), "10.20.0.1");
            assert_eq!(ports(node), 1);
        } else {
            second.error();
        }
        node.cni(Verb::Del, "bridge", &conf, &pod, "eth0").ok();
        assert_nothing_left_except_shared(&before, node, &[&pod], &[BRIDGE]);
    });
}

#[test]
fn a_second_add_mends_or_replaces_the_first() {
    isolated("del::a_second_add_mends_or_replaces_the_first", |node| {
        if !node.only_weft("a second ADD") {
            return;
        }
        let first = conf(json!({"isGateway": true}));
        let pod = Pod::new("pod");
        let before = Snapshot::take(node, &[&pod]);
        node.cni(Verb::Add, "bridge", &first, &pod, "eth0").ok();
        // Broken meanwhile.
        ip(pod.netns(), "link del eth0");
        let result = node.cni(Verb::Add, "bridge", &first, &pod, "eth0").ok();
        assert_eq!(addresses(pod.netns(), "eth0"), result_addresses(&result));
        ping(pod.netns(), "10.20.0.1");
        // Another configuration of the same network.
        let other = conf(json!({"isGateway": true, "mtu": 1400}));
        node.cni(Verb::Add, "bridge", &other, &pod, "eth0").ok();
        assert_eq!(link(pod.netns(), "eth0").unwrap()["mtu"], 1400);
        assert_eq!(ports(node), 1);
        // One that can't be had leaves nothing of the first either.
        let refused = conf(json!({"isGateway": true, "mtu": 1400, "vlan": 5000}));
        node.cni(Verb::Add, "bridge", &refused, &pod, "eth0").error();
        assert_nothing_left_except_shared(&before, node, &[&pod], &[BRIDGE]);
        node.cni(Verb::Del, "bridge", &refused, &pod, "eth0").ok();
    });
}

#[test]
fn after_the_namespace_is_gone() {
    isolated("del::after_the_namespace_is_gone", |node| {
        // The reference plugin leaves its NAT chain here, so it is asked without masquerading.
        let conf = conf(json!({"isGateway": true, "ipMasq": node.is_weft(), "ipam": dual_stack()}));
        let before = Snapshot::take(node, &[]);
        for (name, empty) in [("empty", true), ("missing", false)] {
            let pod = Pod::new(name);
            let path = pod.netns().path().to_owned();
            let result = node.cni(Verb::Add, "bridge", &conf, &pod, "eth0").ok();
            pod.remove_netns();
            let netns = if empty { "".into() } else { path };
            let call = node.call(Verb::Del, "bridge", &with_result(&conf, &result)).container(name).netns(netns);
            call.run().ok();
            assert_nothing_left_except_shared(&before, node, &[], &[BRIDGE]);
            call.run().ok();
        }
    });
}

#[test]
fn without_naming_a_living_namespace() {
    isolated("del::without_naming_a_living_namespace", |node| {
        if !node.only_weft("DEL of a living namespace that isn't named") {
            return;
        }
        let conf = conf(json!({"isGateway": true, "ipMasq": true}));
        let pod = Pod::new("pod");
        let before = Snapshot::take(node, &[]);
        node.cni(Verb::Add, "bridge", &conf, &pod, "eth0").ok();
        node.call(Verb::Del, "bridge", &conf).container("pod").netns("").run().ok();
        assert_nothing_left_except_shared(&before, node, &[], &[BRIDGE]);
    });
}

#[test]
fn without_the_configuration_of_add() {
    isolated("del::without_the_configuration_of_add", |node| {
        if !node.only_weft("DEL by its journal alone") {
            return;
        }
        let conf = conf(json!({"isGateway": true, "ipMasq": true}));
        let pod = Pod::new("pod");
        let before = Snapshot::take(node, &[&pod]);
        node.cni(Verb::Add, "bridge", &conf, &pod, "eth0").ok();
        let bare = json!({"cniVersion": "1.0.0", "name": "lab", "type": "bridge"});
        node.cni(Verb::Del, "bridge", &bare, &pod, "eth0").ok();
        assert_nothing_left_except_shared(&before, node, &[&pod], &[BRIDGE]);
    });
}

#[test]
fn of_one_pod_leaves_the_other() {
    isolated("del::of_one_pod_leaves_the_other", |node| {
        let conf = conf(json!({"isDefaultGateway": true, "ipMasq": true}));
        let (first, second) = (Pod::new("first"), Pod::new("second"));
        let result = node.cni(Verb::Add, "bridge", &conf, &first, "eth0").ok();
        let before = Snapshot::take(node, &[&first]);
        let other = node.cni(Verb::Add, "bridge", &conf, &second, "eth0").ok();
        node.cni(Verb::Del, "bridge", &with_result(&conf, &other), &second, "eth0").ok();
        assert_nothing_left_except_shared(&before, node, &[&first], &[BRIDGE]);
        ping(first.netns(), "10.20.0.1");
        if node.is_weft() {
            node.cni(Verb::Check, "bridge", &with_result(&conf, &result), &first, "eth0").ok();
        }
        node.cni(Verb::Del, "bridge", &with_result(&conf, &result), &first, "eth0").ok();
    });
}

#[test]
fn of_what_the_reference_plugins_made() {
    isolated("del::of_what_the_reference_plugins_made", |node| {
        if !node.only_weft("an upgrade from the reference plugins") {
            return;
        }
        let conf = conf(json!({"isGateway": true}));
        for netns_is_gone in [false, true] {
            let pod = Pod::new("pod");
            let before = Snapshot::take(node, &[]);
            let result = node.call(Verb::Add, "bridge", &conf).pod(&pod).path(NATIVE).run().ok();
            let mut call = node.call(Verb::Del, "bridge", &with_result(&conf, &result)).pod(&pod);
            if netns_is_gone {
                pod.remove_netns();
                call = call.netns("");
            }
            call.run().ok();
            assert_nothing_left_except_shared(&before, node, &[], &[BRIDGE]);
        }
    });
}

#[test]
fn of_what_a_replaced_plugin_masqueraded() {
    isolated("del::of_what_a_replaced_plugin_masqueraded", |node| {
        if !node.only_weft("an upgrade from the reference plugins") {
            return;
        }
        // A plugin directory in use, where weft then takes the places of the reference plugins.
        let bin = Path::new(HOME).join("upgraded");
        Plugins::Native(NATIVE.into()).install(&bin);
        let conf = conf(json!({"isGateway": true, "ipMasq": true}));
        let pod = Pod::new("pod");
        let before = Snapshot::take(node, &[&pod]);
        let result = node.call(Verb::Add, "bridge", &conf).pod(&pod).path(&bin).run().ok();
        assert!(!nft_json(node.netns()).is_empty(), "masquerading by iptables");
        node.plugins().install(&bin);
        node.call(Verb::Del, "bridge", &with_result(&conf, &result)).pod(&pod).path(&bin).run().ok();
        assert_nothing_left_except_shared(&before, node, &[&pod], &[BRIDGE]);
    });
}
