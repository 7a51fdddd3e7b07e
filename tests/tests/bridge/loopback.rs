//! loopback.

use serde_json::json;
use weft_tests::lab::{Pod, Snapshot, Verb, assert_nothing_left_except_shared, ip, isolated};

use crate::support::has_flag;

#[test]
fn goes_up_and_down() {
    isolated("loopback::goes_up_and_down", |node| {
        let conf = json!({"cniVersion": "1.0.0", "name": "lo", "type": "loopback"});
        let pod = Pod::new("pod");
        // The kernel never takes 127.0.0.1 back once `lo` was up.
        ip(pod.netns(), "link set lo up");
        ip(pod.netns(), "link set lo down");
        let before = Snapshot::take(node, &[&pod]);
        let result = node.cni(Verb::Add, "loopback", &conf, &pod, "lo").ok();
        assert!(has_flag(pod.netns(), "lo", "UP"));
        assert_eq!(result["interfaces"][0]["name"], "lo");
        assert_eq!(result["interfaces"][0]["sandbox"], pod.netns().path().to_str().unwrap());
        let mut check = conf.clone();
        check["prevResult"] = result;
        node.cni(Verb::Check, "loopback", &check, &pod, "lo").ok();
        node.cni(Verb::Del, "loopback", &conf, &pod, "lo").ok();
        assert!(!has_flag(pod.netns(), "lo", "UP"));
        node.cni(Verb::Del, "loopback", &conf, &pod, "lo").ok();
        assert_nothing_left_except_shared(&before, node, &[&pod], &[]);
        node.cni(Verb::Check, "loopback", &check, &pod, "lo").error();
    });
}

#[test]
fn del_without_a_namespace() {
    isolated("loopback::del_without_a_namespace", |node| {
        let conf = json!({"cniVersion": "1.0.0", "name": "lo", "type": "loopback"});
        for netns in ["", "/run/netns/gone"] {
            node.call(Verb::Del, "loopback", &conf).container("pod").netns(netns).ifname("lo").run().ok();
        }
    });
}
