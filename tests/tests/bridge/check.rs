//! CHECK: silent while all is as ADD left it, and naming what isn't.

use std::process::Command;

use serde_json::{Value, json};
use weft_tests::lab::{Node, Pod, Verb, ip, isolated};

use crate::support::{BRIDGE, conf, host_end, with_result};

/// ADD, a CHECK that succeeds, `damage`, and a CHECK that fails; weft's message names one of `names`.
fn broken(test: &str, damage: impl FnOnce(&Node, &Pod, &Value), names: &[&str]) {
    isolated(test, |node| {
        let conf = conf(json!({"isDefaultGateway": true, "ipMasq": true, "cniVersion": "0.4.0"}));
        let pod = Pod::new("pod");
        let result = node.cni(Verb::Add, "bridge", &conf, &pod, "eth0").ok();
        let conf = with_result(&conf, &result);
        node.cni(Verb::Check, "bridge", &conf, &pod, "eth0").ok();
        damage(node, &pod, &result);
        let error = node.cni(Verb::Check, "bridge", &conf, &pod, "eth0").error();
        if node.is_weft() {
            assert!(names.iter().any(|name| error.message.contains(name)), "none of {names:?} in: {}", error.message);
        }
        // Whatever is broken, DEL works.
        node.cni(Verb::Del, "bridge", &conf, &pod, "eth0").ok();
    });
}

#[test]
fn address_removed() {
    let damage = |_: &Node, pod: &Pod, _: &Value| {
        ip(pod.netns(), "addr del 10.20.0.2/24 dev eth0");
    };
    broken("check::address_removed", damage, &["10.20.0.2"]);
}

#[test]
fn route_removed() {
    let damage = |_: &Node, pod: &Pod, _: &Value| {
        ip(pod.netns(), "route del default");
    };
    broken("check::route_removed", damage, &["0.0.0.0/0", "default"]);
}

#[test]
fn link_down() {
    let damage = |_: &Node, pod: &Pod, _: &Value| {
        ip(pod.netns(), "link set eth0 down");
    };
    broken("check::link_down", damage, &["eth0"]);
}

#[test]
fn link_removed() {
    let damage = |_: &Node, pod: &Pod, _: &Value| {
        ip(pod.netns(), "link del eth0");
    };
    broken("check::link_removed", damage, &["eth0"]);
}

#[test]
fn port_released() {
    let damage = |node: &Node, _: &Pod, result: &Value| {
        ip(node.netns(), &format!("link set {} nomaster", host_end(result)));
    };
    broken("check::port_released", damage, &[BRIDGE]);
}

#[test]
fn bridge_removed() {
    let damage = |node: &Node, _: &Pod, _: &Value| {
        ip(node.netns(), &format!("link del {BRIDGE}"));
    };
    broken("check::bridge_removed", damage, &[BRIDGE]);
}

#[test]
fn mac_changed() {
    let damage = |_: &Node, pod: &Pod, _: &Value| {
        ip(pod.netns(), "link set eth0 address 02:00:00:00:00:77");
    };
    broken("check::mac_changed", damage, &["02:00:00:00:00:77", "MAC", "mac", "hardware"]);
}

#[test]
fn lease_removed() {
    let damage = |_: &Node, _: &Pod, _: &Value| {
        std::fs::remove_file("/var/lib/cni/networks/lab/10.20.0.2").unwrap();
    };
    broken("check::lease_removed", damage, &["10.20.0.2", "host-local"]);
}

#[test]
fn masquerade_removed() {
    isolated("check::masquerade_removed", |node| {
        if !node.only_weft("a CHECK of masquerading") {
            return;
        }
        let conf = conf(json!({"isDefaultGateway": true, "ipMasq": true}));
        let pod = Pod::new("pod");
        let result = node.cni(Verb::Add, "bridge", &conf, &pod, "eth0").ok();
        let conf = with_result(&conf, &result);
        node.cni(Verb::Check, "bridge", &conf, &pod, "eth0").ok();
        assert!(Command::new("nft").args(["flush", "ruleset"]).status().unwrap().success());
        let message = node.cni(Verb::Check, "bridge", &conf, &pod, "eth0").error().message;
        assert!(message.to_lowercase().contains("masq") || message.contains("10.20.0.2"), "{message}");
        node.cni(Verb::Del, "bridge", &conf, &pod, "eth0").ok();
    });
}

#[test]
fn versions_without_check() {
    isolated("check::versions_without_check", |node| {
        let conf = conf(json!({"cniVersion": "0.3.1"}));
        let pod = Pod::new("pod");
        let result = node.cni(Verb::Add, "bridge", &conf, &pod, "eth0").ok();
        let error = node.cni(Verb::Check, "bridge", &with_result(&conf, &result), &pod, "eth0").error();
        assert_eq!(error.code, 1, "{error:?}");
        node.cni(Verb::Del, "bridge", &conf, &pod, "eth0").ok();
    });
}
