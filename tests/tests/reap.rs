//! DEL doesn't wait for the kernel to let go of a link: whatever becomes of the child that waits instead, when DEL has
//! returned the name is free and nothing is left.
//!
//! Needs a weft with fault points (`WEFT_FAULTY`, set by `cargo xtask test`).

#![allow(clippy::unwrap_used, reason = "tests and their helpers")]

use serde_json::json;
use weft_tests::lab::{self, Node, Pod, Snapshot, Verb};

fn conf() -> serde_json::Value {
    json!({
        "cniVersion": "1.0.0", "name": "reap", "type": "bridge", "bridge": "cni0",
        "isGateway": true, "isDefaultGateway": true, "ipMasq": true,
        "ipam": { "type": "host-local", "ranges": [[{ "subnet": "10.44.0.0/24" }]] }
    })
}

fn del_with(node: &Node, fate: &str) {
    let pod = Pod::new("p");
    node.cni(Verb::Add, "bridge", &conf(), &pod, "eth0").ok();
    node.call(Verb::Del, "bridge", &conf()).pod(&pod).ifname("eth0").env("WEFT_FAULT", fate).run().ok();
    // At once: the name and the address are free again.
    node.cni(Verb::Add, "bridge", &conf(), &pod, "eth0").ok();
    node.cni(Verb::Del, "bridge", &conf(), &pod, "eth0").ok();
    let after = Snapshot::take(node, &[&pod]);
    let left: Vec<_> =
        after.entries().filter(|(name, state)| name.contains("veth") || state.contains("veth")).collect();
    assert!(left.is_empty(), "{fate}: {left:?}");
}

#[test]
fn by_a_child() {
    lab::isolated("by_a_child", |node| {
        if node.arm() {
            del_with(node, "detach:works");
        }
    });
}

#[test]
fn where_no_child_can_be_forked() {
    lab::isolated("where_no_child_can_be_forked", |node| {
        if node.arm() {
            del_with(node, "detach:refused");
        }
    });
}

#[test]
fn where_the_child_is_killed() {
    lab::isolated("where_the_child_is_killed", |node| {
        if node.arm() {
            del_with(node, "detach:killed");
        }
    });
}

#[test]
fn while_the_namespace_is_destroyed() {
    lab::isolated("while_the_namespace_is_destroyed", |node| {
        if !node.only_weft("waits by a child") {
            return;
        }
        let before = Snapshot::take(node, &[]);
        for round in 0..10 {
            let pod = Pod::new(&format!("p{round}"));
            node.cni(Verb::Add, "bridge", &conf(), &pod, "eth0").ok();
            std::thread::scope(|scope| {
                let del = scope.spawn(|| node.call(Verb::Del, "bridge", &conf()).pod(&pod).ifname("eth0").run());
                pod.remove_netns();
                del.join().unwrap().ok();
            });
        }
        lab::assert_nothing_left_except_shared(&before, node, &[], &["cni0"]);
    });
}
