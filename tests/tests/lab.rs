//! The lab itself: it isolates, reports failures and sees what is left behind. Needs no plugins.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "tests and their helpers"
)]

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

use weft_tests::lab::{
    Node, Plugins, Pod, Privilege, Snapshot, ip, ip_json, is_inside, isolated_bare, nft_json, ping, ping_fails, tcp,
    udp,
};

/// A node without plugins.
fn bare(test: &str, body: impl FnOnce(&Node)) {
    isolated_bare(Privilege::User, test, || {
        let none = PathBuf::from("/run/no-plugins");
        fs::create_dir_all(&none).unwrap();
        body(&Node::new(Plugins::Native(none)));
    });
}

#[test]
fn is_apart_from_the_machine() {
    bare("is_apart_from_the_machine", |node| {
        let links = ip_json(node.netns(), "link show");
        assert_eq!(links.iter().map(|link| &link["ifname"]).collect::<Vec<_>>(), ["lo"]);
        assert!(!fs::exists("/var/lib/dpkg").unwrap(), "/var/lib is private");
        fs::write("/run/trace-of-the-lab", "").unwrap();
        ip(node.netns(), "link add trace type bridge");
    });
    if !is_inside() {
        assert!(!fs::exists("/run/trace-of-the-lab").unwrap());
        assert!(!fs::exists("/sys/class/net/trace").unwrap());
    }
}

#[test]
fn a_failure_inside_is_a_failure_outside() {
    let outcome = std::panic::catch_unwind(|| {
        isolated_bare(Privilege::User, "a_failure_inside_is_a_failure_outside", || panic!("on purpose"));
    });
    if is_inside() {
        outcome.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    } else if namespaces_work() {
        assert!(outcome.is_err());
    }
}

#[test]
fn a_wrong_name_is_a_failure() {
    let outcome = std::panic::catch_unwind(|| isolated_bare(Privilege::User, "no_such_test", || {}));
    assert!(outcome.is_err() || !namespaces_work());
}

fn namespaces_work() -> bool {
    Command::new("unshare").args(["--user", "--map-root-user", "--net", "--mount", "true"]).status().unwrap().success()
}

#[test]
fn whatever_is_left_behind_shows() {
    bare("whatever_is_left_behind_shows", |node| {
        let pod = Pod::new("pod");
        ip(node.netns(), "link add keep type bridge");
        ip(node.netns(), "link set keep up");
        let before = Snapshot::take(node, &[&pod]);
        assert_eq!(Snapshot::diff(&before, &Snapshot::take(node, &[&pod])), Vec::<String>::new());

        let nft = |line: &str| assert!(Command::new("nft").arg(line).status().unwrap().success(), "{line}");
        ip(node.netns(), "link add left type bridge");
        ip(node.netns(), "addr add 10.0.0.1/24 dev keep");
        ip(node.netns(), "route add 10.9.0.0/16 dev keep");
        ip(node.netns(), "rule add from 10.7.0.0/16 lookup 77");
        ip(pod.netns(), "link add eth0 type veth peer name eth1");
        nft("add table ip weft");
        nft("add set ip weft pods { type ipv4_addr; }");
        nft("add element ip weft pods { 10.0.0.2 }");
        nft("add chain ip weft post");
        nft("add rule ip weft post ip saddr @pods masquerade");
        nft("add table ip other");
        fs::write("/proc/sys/net/ipv4/ip_forward", "1").unwrap();
        fs::create_dir_all("/var/lib/cni/networks/n").unwrap();
        fs::write("/var/lib/cni/networks/n/10.0.0.2", "pod").unwrap();
        fs::write("/var/lib/cni/networks/n/last_reserved_ip.0", "10.0.0.2").unwrap();
        assert!(!nft_json(node.netns()).is_empty());

        let after = Snapshot::take(node, &[&pod]);
        let everything = Snapshot::diff(&before, &after);
        let remaining = Snapshot::diff(&before.ignoring_shared(&["keep"]), &after.ignoring_shared(&["keep"]));
        let has = |list: &[String], start: &str| list.iter().any(|line| line.starts_with(start));
        // Whose it is decides whether it may stay.
        for (start, shared) in [
            ("+ node link left", false),
            ("+ node address keep 10.0.0.1/24", true),
            ("+ node route main 10.9.0.0/16 dev keep", true),
            ("+ node rule ipv4", false),
            ("+ pod link eth1", false),
            ("+ node nft table ip weft", true),
            ("+ node nft rule ip weft", true),
            ("+ node nft set ip weft pods", true),
            ("+ node nft element ip weft pods \"10.0.0.2\"", false),
            ("+ node nft table ip other", false),
            ("~ node sysctl ipv4 forwarding", true),
            ("+ file /var/lib/cni/networks/n/10.0.0.2", false),
            ("+ file /var/lib/cni/networks/n/last_reserved_ip.0", true),
        ] {
            assert!(has(&everything, start), "{start} is not in {everything:#?}");
            assert_eq!(!has(&remaining, start), shared, "{start}: {remaining:#?}");
        }
        pod.remove_netns();
        assert!(has(&Snapshot::diff(&after, &Snapshot::take(node, &[&pod])), "+ pod namespace: gone"));
    });
}

#[test]
fn traffic_is_real() {
    bare("traffic_is_real", |node| {
        let outside = node.outside();
        ping(outside.netns(), "192.0.2.1");
        ping(node.netns(), "2001:db8:ffff::2");
        ping_fails(outside.netns(), "192.0.2.99");
        let server: SocketAddr = "192.0.2.1:80".parse().unwrap();
        assert_eq!(tcp(outside.netns(), node.netns(), server, server).unwrap().ip().to_string(), "192.0.2.2");
        assert_eq!(udp(outside.netns(), node.netns(), server, server).unwrap().ip().to_string(), "192.0.2.2");
        let nobody: SocketAddr = "192.0.2.1:81".parse().unwrap();
        tcp(outside.netns(), node.netns(), server, nobody).unwrap_err();
        udp(outside.netns(), node.netns(), server, nobody).unwrap_err();
    });
}
