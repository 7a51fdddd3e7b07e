//! Whole networks: configuration lists, GC and STATUS.

use serde_json::{Value, json};
use weft_tests::lab::{Attachment, Pod, Snapshot, Verb, assert_nothing_left_except_shared, isolated, ping, tcp};

use crate::support::BRIDGE;

fn list(version: &str, masquerade: bool) -> Value {
    json!({"cniVersion": version, "name": "lab", "plugins": [
        {"type": "bridge", "bridge": BRIDGE, "isDefaultGateway": true, "ipMasq": masquerade,
         "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.20.0.0/24"}]]}},
        {"type": "portmap", "capabilities": {"portMappings": true}},
    ]})
}

/// The list without the plugins that are Debian's, which know neither GC nor STATUS.
fn own_list() -> Value {
    let mut list = list("1.1.0", true);
    list["plugins"].as_array_mut().unwrap().truncate(1);
    list
}

#[test]
fn a_list_with_the_reference_portmap() {
    isolated("network::a_list_with_the_reference_portmap", |node| {
        node.add_native("portmap");
        let outside = node.outside();
        let list = list("1.0.0", true);
        let pod = Pod::new("pod");
        // What portmap sets up once for all stays; a first attachment makes it.
        let warm = Pod::new("warm");
        let ports = |port: u16| json!({"portMappings": [{"hostPort": port, "containerPort": 80, "protocol": "tcp"}]});
        let mut attachment = Attachment::new(&warm, "eth0").capabilities(ports(8081));
        node.exec_list(Verb::Add, &list, &mut attachment).unwrap();
        node.exec_list(Verb::Del, &list, &mut attachment).unwrap();

        let before = Snapshot::take(node, &[&pod]);
        let mut attachment = Attachment::new(&pod, "eth0").capabilities(ports(8080));
        let result = node.exec_list(Verb::Add, &list, &mut attachment).unwrap();
        let address = result["ips"][0]["address"].as_str().unwrap().split('/').next().unwrap();
        let listen = format!("{address}:80").parse().unwrap();
        tcp(outside.netns(), pod.netns(), listen, "192.0.2.1:8080".parse().unwrap()).expect("the mapped port");
        let mut bridge = list.clone();
        // Debian's portmap looks for IPv6 chains that a pod without IPv6 doesn't have.
        bridge["plugins"].as_array_mut().unwrap().truncate(1);
        node.exec_list(Verb::Check, &bridge, &mut attachment).unwrap();
        node.exec_list(Verb::Del, &list, &mut attachment).unwrap();
        assert_nothing_left_except_shared(&before, node, &[&pod], &[BRIDGE]);
        node.exec_list(Verb::Del, &list, &mut attachment).unwrap();
    });
}

#[test]
fn garbage_is_what_no_valid_attachment_owns() {
    isolated("network::garbage_is_what_no_valid_attachment_owns", |node| {
        if !node.only_weft("GC") {
            return;
        }
        let list = own_list();
        let (kept, lost, gone) = (Pod::new("kept"), Pod::new("lost"), Pod::new("gone"));
        let mut attachment = Attachment::new(&kept, "eth0");
        node.exec_list(Verb::Add, &list, &mut attachment).unwrap();
        let before = Snapshot::take(node, &[&kept, &lost]);
        node.exec_list(Verb::Add, &list, &mut Attachment::new(&lost, "eth0")).unwrap();
        node.exec_list(Verb::Add, &list, &mut Attachment::new(&gone, "eth0")).unwrap();
        gone.remove_netns();

        node.gc_list(&list, &[("kept", "eth0")]).unwrap();
        assert_nothing_left_except_shared(&before, node, &[&kept, &lost], &[BRIDGE]);
        ping(kept.netns(), "10.20.0.1");
        node.exec_list(Verb::Check, &list, &mut attachment).unwrap();

        // Another interface of a valid container is no valid attachment.
        node.gc_list(&list, &[("kept", "eth1")]).unwrap();
        assert!(!std::fs::exists("/var/lib/cni/networks/lab/10.20.0.2").unwrap());
        node.exec_list(Verb::Del, &list, &mut attachment).unwrap();
    });
}

#[test]
fn garbage_of_one_network_only() {
    isolated("network::garbage_of_one_network_only", |node| {
        if !node.only_weft("GC") {
            return;
        }
        let list = own_list();
        let mut other = own_list();
        other["name"] = json!("other");
        let pod = Pod::new("pod");
        let mut attachment = Attachment::new(&pod, "eth0");
        node.exec_list(Verb::Add, &list, &mut attachment).unwrap();
        node.gc_list(&other, &[]).unwrap();
        node.exec_list(Verb::Check, &list, &mut attachment).unwrap();
        node.exec_list(Verb::Del, &list, &mut attachment).unwrap();
    });
}

#[test]
fn status() {
    isolated("network::status", |node| {
        if !node.only_weft("STATUS") {
            return;
        }
        node.status_list(&own_list()).unwrap();
        let mut broken = own_list();
        broken["plugins"][0]["ipam"]["type"] = json!("no-such-ipam");
        let failure = node.status_list(&broken).unwrap_err();
        assert!(failure.outcome.error().message.contains("no-such-ipam"), "{}", failure.outcome);
    });
}
