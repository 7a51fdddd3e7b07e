//! containerd and podman as they come from Debian, calling the plugins under test. Needs root.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "tests and their helpers"
)]

use weft_tests::lab::ip_json;
use weft_tests::runtimes::{Containerd, Podman, SERVER, isolated, serves};

/// Shows a container's first interface and reaches its gateway.
const LOOK: &str = "ip -o -4 addr show eth0 && ip route && ping -c 1 -W 5 ";

#[test]
fn ctr_runs_a_container() {
    isolated("ctr_runs_a_container", |site| {
        let containerd = Containerd::start(site, &site.network("ctr", "1.0.0", "ctr0", 40));
        // What attachments share is made by the first.
        containerd.run("warm", "true");
        let before = site.traces();
        for name in ["one", "two"] {
            let seen = containerd.run(name, &format!("{LOOK} 10.40.0.1"));
            assert!(seen.contains(" 10.40.0.") && seen.contains("default via 10.40.0.1"), "{seen}");
            site.assert_no_traces(&before, &["ctr0"]);
        }
    });
}

#[test]
fn pods_through_the_runtime_interface() {
    isolated("pods_through_the_runtime_interface", |site| {
        let containerd = Containerd::start(site, &site.network("cri", "1.0.0", "cri0", 41));
        containerd.import_sandbox_image();
        let warm = containerd.run_sandbox("warm", Some("18090:80"));
        containerd.stop_sandbox(&warm);
        containerd.remove_sandbox(&warm);

        let before = site.traces();
        let (first, second) =
            (containerd.run_sandbox("first", Some("18091:80")), containerd.run_sandbox("second", None));
        let address = |id: &str| {
            let status = containerd.sandbox(id);
            assert_eq!(status["ready"], true, "{status}");
            let address = status["ip"].as_str().unwrap().to_owned();
            assert!(address.starts_with("10.41.0."), "{status}");
            address
        };
        serves(site.node().netns(), &format!("{}:80", address(&first)));
        serves(site.node().netns(), &format!("{}:80", address(&second)));
        serves(site.outside(), "192.0.2.1:18091");

        containerd.stop_sandbox(&first);
        serves(site.node().netns(), &format!("{}:80", address(&second)));
        // A runtime repeats itself, and comes back without the namespace.
        containerd.stop_sandbox(&first);
        containerd.remove_sandbox(&first);
        containerd.remove_sandbox(&first);
        containerd.stop_sandbox(&second);
        containerd.remove_sandbox(&second);
        site.assert_no_traces(&before, &["cri0"]);
    });
}

#[test]
fn a_pod_that_cannot_start_leaves_nothing() {
    isolated("a_pod_that_cannot_start_leaves_nothing", |site| {
        let mut list = site.network("cri", "1.0.0", "cri0", 42);
        list["plugins"][0]["ipam"]["ranges"] =
            serde_json::json!([[{"subnet": "10.42.0.0/24", "rangeStart": "10.42.0.9", "rangeEnd": "10.42.0.9"}]]);
        let containerd = Containerd::start(site, &list);
        containerd.import_sandbox_image();
        let first = containerd.run_sandbox("first", None);
        let before = site.traces();
        let message = containerd.run_sandbox_fails("late");
        assert!(message.contains("10.42.0.9"), "the runtime's user reads the cause: {message}");
        site.assert_no_traces(&before, &["cri0"]);
        serves(site.node().netns(), "10.42.0.9:80");
        containerd.stop_sandbox(&first);
        containerd.remove_sandbox(&first);
    });
}

#[test]
fn podman_publishes_ports_and_connects_networks() {
    isolated("podman_publishes_ports_and_connects_networks", |site| {
        let networks = [site.network("lab", "0.4.0", "pod0", 43), site.network("more", "0.4.0", "pod1", 44)];
        let podman = Podman::new(site, &networks);
        let bridges = ["pod0", "pod1"];
        podman.run("warm", "lab,more", &["-p", "18092:80"], &SERVER);
        podman.remove("warm");

        let before = site.traces();
        podman.run("web", "lab", &["-p", "18092:80"], &SERVER);
        let seen = podman.exec("web", &format!("{LOOK} 10.43.0.1"));
        assert!(seen.contains(" 10.43.0."), "{seen}");
        serves(site.outside(), "192.0.2.1:18092");
        serves(site.node().netns(), "127.0.0.1:18092");

        let alone = site.traces();
        podman.command(&["network", "connect", "more", "web"]);
        let seen = podman.exec("web", "ip -o -4 addr show eth1");
        assert!(seen.contains(" 10.44.0."), "{seen}");
        podman.command(&["network", "disconnect", "more", "web"]);
        let links = podman.exec("web", "ip -o link");
        assert!(!links.contains("eth1") && links.contains("eth0"), "{links}");
        site.assert_no_traces(&alone, &bridges);
        serves(site.outside(), "192.0.2.1:18092");

        podman.remove("web");
        site.assert_no_traces(&before, &bridges);
        assert!(ip_json(site.node().netns(), "link show master pod0").is_empty());
    });
}
