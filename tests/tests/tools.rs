//! weftctl on a node with attachments: what it shows is what is there, and it changes nothing but what it is told to.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "tests and their helpers"
)]

use std::fs;
use std::process::Command;

use serde_json::{Value, json};
use weft_tests::lab::{
    HOME, Node, Plugins, Pod, Snapshot, Verb, assert_nothing_left, ip, ip_json, isolated, nft_json, ping,
};

/// A network with everything that attachments share: a bridge with an address, forwarding, masquerading.
fn conf(name: &str, bridge: &str, net: u8) -> Value {
    json!({"cniVersion": "1.0.0", "name": name, "type": "bridge", "bridge": bridge,
           "isDefaultGateway": true, "ipMasq": true,
           "ipam": {"type": "host-local", "ranges": [[{"subnet": format!("10.{net}.0.0/24")}]]}})
}

/// What weftctl printed, on standard output and error, and whether it succeeded.
struct Said {
    out: String,
    err: String,
    succeeded: bool,
}

impl Said {
    /// The output of a call that has to succeed.
    #[track_caller]
    fn ok(self) -> String {
        assert!(self.succeeded, "{}{}", self.out, self.err);
        self.out
    }

    /// Output and error of a call that has to fail.
    #[track_caller]
    fn failed(self) -> (String, String) {
        assert!(!self.succeeded, "should have failed: {}", self.out);
        (self.out, self.err)
    }
}

fn weftctl(node: &Node, arguments: &[&str]) -> Said {
    let Plugins::Weft(dist) = node.plugins() else { panic!("only with weft") };
    let mut command = Command::new(dist.join("weftctl"));
    let output = command.args(arguments).arg("--cni-bin-dir").arg(node.bin()).output().expect("weftctl starts");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Said { out: text(&output.stdout), err: text(&output.stderr), succeeded: output.status.success() }
}

/// `body` on a node with weft.
fn with_weft(test: &str, body: impl FnOnce(&Node)) {
    isolated(test, |node| {
        if node.only_weft("weftctl") {
            body(node);
        }
    });
}

/// The file of a configuration.
fn file(conf: &Value) -> String {
    let path = format!("{HOME}/conf.json");
    fs::write(&path, conf.to_string()).unwrap();
    path
}

/// What of the network differs between two snapshots: not files.
fn network_difference(before: &Snapshot, after: &Snapshot) -> Vec<String> {
    let is_file = |line: &String| line[2..].starts_with("file ") || line[2..].starts_with("directory ");
    Snapshot::diff(before, after).into_iter().filter(|line| !is_file(line)).collect()
}

#[test]
fn a_plan_changes_nothing_and_says_what_add_does() {
    with_weft("a_plan_changes_nothing_and_says_what_add_does", |node| {
        let conf = conf("lab", "lab0", 20);
        let file = file(&conf);
        let pod = Pod::new("pod");
        let netns = pod.netns().path().to_str().unwrap();
        let before = Snapshot::take(node, &[&pod]);
        for place in [&[][..], &["--netns", netns][..]] {
            let text = weftctl(node, &[&["plan", "--conf", &file][..], place].concat()).ok();
            for word in ["lab as eth0", "lab0", "veth", "10.20.0.2/24", "10.20.0.1/24", "ip_forward", "masquerade"] {
                assert!(text.contains(word), "no {word} in:\n{text}");
            }
            assert_nothing_left(&before, node, &[&pod]);
        }
        let planned = weftctl(node, &["plan", "--conf", &file, "--netns", netns, "--output", "json"]).ok();
        let planned: Value = serde_json::from_str(&planned).unwrap();
        assert_nothing_left(&before, node, &[&pod]);

        let result = node.cni(Verb::Add, "bridge", &conf, &pod, "eth0").ok();
        assert_eq!(planned["result"]["ips"], result["ips"]);
        let before = Snapshot::take(node, &[&pod]);
        let del = ["plan", "--command", "DEL", "--conf", &file, "--container-id", "pod"];
        let text = weftctl(node, &del).ok();
        let veth = result["interfaces"][1]["name"].as_str().unwrap();
        assert!(text.contains(veth) && text.contains("10.20.0.2"), "{text}");
        assert_nothing_left(&before, node, &[&pod]);
        // The bridge is there now: only what is the attachment's own is left to do.
        let other = Pod::new("other");
        let netns = other.netns().path().to_str().unwrap();
        let text = weftctl(node, &["plan", "--conf", &file, "--container-id", "other", "--netns", netns]).ok();
        assert!(text.contains("10.20.0.3/24") && !text.contains("shared, stays"), "{text}");
        assert_nothing_left(&before, node, &[&pod]);
    });
}

#[test]
fn a_plan_of_a_list_names_what_it_cannot_foresee() {
    with_weft("a_plan_of_a_list_names_what_it_cannot_foresee", |node| {
        node.add_native("portmap");
        let mut bridge = conf("lab", "lab0", 20);
        bridge.as_object_mut().unwrap().retain(|key, _| key != "cniVersion" && key != "name");
        let list = json!({"cniVersion": "1.0.0", "name": "lab", "plugins": [
            bridge, {"type": "portmap", "capabilities": {"portMappings": true}},
        ]});
        let text = weftctl(node, &["plan", "--conf", &file(&list)]).ok();
        assert!(text.contains("10.20.0.2/24") && text.contains("/portmap (what it does isn't known"), "{text}");

        let mut broken = conf("lab", "lab0", 20);
        broken["mtu"] = json!("big");
        let (_, error) = weftctl(node, &["plan", "--conf", &file(&broken)]).failed();
        assert!(error.contains("/mtu") && error.contains("big"), "{error}");
        let (_, error) = weftctl(node, &["plan", "--conf", "/run/none.json"]).failed();
        assert!(error.contains("/run/none.json"), "{error}");
        let (_, error) = weftctl(node, &["plan", "--command", "DEL", "--conf", &file(&list)]).failed();
        assert!(error.contains("weftctl list"), "{error}");
    });
}

#[test]
fn check_tells_what_differs() {
    with_weft("check_tells_what_differs", |node| {
        assert_eq!(weftctl(node, &["check"]).ok(), "no attachments to check\n");
        // A version that has no CHECK.
        let mut old = conf("old", "old0", 21);
        old["cniVersion"] = json!("0.3.1");
        let (well, ill) = (Pod::new("well"), Pod::new("ill"));
        node.cni(Verb::Add, "bridge", &conf("lab", "lab0", 20), &well, "eth0").ok();
        node.cni(Verb::Add, "bridge", &old, &ill, "eth0").ok();
        assert_eq!(weftctl(node, &["check"]).ok(), "lab well eth0: ok\nold ill eth0: ok\n");

        ip(ill.netns(), "addr del 10.21.0.2/24 dev eth0");
        fs::remove_file("/var/lib/cni/networks/old/10.21.0.2").unwrap();
        let before = Snapshot::take(node, &[&well, &ill]);
        let (out, err) = weftctl(node, &["check"]).failed();
        assert!(out.contains("lab well eth0: ok\nold ill eth0: DIFFERS\n"), "{out}");
        assert!(out.contains("bridge: ") && out.contains("10.21.0.2/24") && out.contains("eth0"), "{out}");
        assert!(out.contains("not leased") && out.contains("/var/lib/cni/networks/old"), "{out}");
        assert!(err.contains("1 attachment is not as it was made"), "{err}");
        assert_nothing_left(&before, node, &[&well, &ill]);

        let (out, _) = weftctl(node, &["check", "--output", "json"]).failed();
        let rows: Value = serde_json::from_str(&out).unwrap();
        assert_eq!(rows[0]["problems"], json!([]));
        assert_eq!((&rows[1]["network"], &rows[1]["container"]), (&json!("old"), &json!("ill")));
        assert_eq!(weftctl(node, &["check", "--container-id", "well"]).ok(), "lab well eth0: ok\n");
        assert_eq!(weftctl(node, &["check", "--network", "lab"]).ok(), "lab well eth0: ok\n");
        let path = ill.netns().path().display().to_string();
        ill.remove_netns();
        let (out, _) = weftctl(node, &["check", "--network", "old"]).failed();
        assert!(out.contains(&format!("its namespace {path} is gone")), "{out}");
    });
}

#[test]
fn list_and_gc_of_what_del_never_came_for() {
    with_weft("list_and_gc_of_what_del_never_came_for", |node| {
        let conf = conf("lab", "lab0", 20);
        let (kept, lost) = (Pod::new("kept"), Pod::new("lost"));
        node.cni(Verb::Add, "bridge", &conf, &kept, "eth0").ok();
        let before = Snapshot::take(node, &[&kept]);
        node.cni(Verb::Add, "bridge", &conf, &lost, "eth0").ok();
        lost.remove_netns();
        let rows: Value = serde_json::from_str(&weftctl(node, &["list", "--output", "json"]).ok()).unwrap();
        let row = |number: usize| -> Vec<&str> {
            ["network", "container", "ifname", "type", "standing"]
                .map(|key| rows[number][key].as_str().unwrap())
                .to_vec()
        };
        assert_eq!(row(0), ["lab", "kept", "eth0", "bridge", "attached"]);
        assert_eq!(row(1), ["lab", "lost", "eth0", "bridge", "orphaned"]);
        assert_eq!(rows[0]["addresses"], json!(["10.20.0.2"]));
        let text = weftctl(node, &["list"]).ok();
        assert!(text.lines().next().unwrap().starts_with("NETWORK  CONTAINER"), "{text}");
        assert!(text.lines().any(|line| line.contains("lost") && line.contains("10.20.0.3")), "{text}");

        assert_eq!(weftctl(node, &["gc"]).ok(), "removed attachment lab lost eth0\n");
        let before = before.ignoring_shared(&["lab0"]);
        let after = Snapshot::take(node, &[&kept]).ignoring_shared(&["lab0"]);
        assert_eq!(Snapshot::diff(&before, &after), Vec::<String>::new());
        assert_eq!(weftctl(node, &["gc"]).ok(), "nothing to remove\n");
        ping(kept.netns(), "10.20.0.1");
    });
}

#[test]
fn gc_of_shared_objects_leaves_an_empty_node() {
    with_weft("gc_of_shared_objects_leaves_an_empty_node", |node| {
        let before = Snapshot::take(node, &[]);
        for (conf, name) in [(conf("lab", "lab0", 20), "one"), (conf("more", "lab1", 21), "two")] {
            let pod = Pod::new(name);
            node.cni(Verb::Add, "bridge", &conf, &pod, "eth0").ok();
            node.cni(Verb::Del, "bridge", &conf, &pod, "eth0").ok();
            pod.remove_netns();
        }
        let text = weftctl(node, &["gc", "--shared"]).ok();
        assert!(text.contains("lab0") && text.contains("lab1"), "{text}");
        let after = Snapshot::take(node, &[]);
        assert_eq!(network_difference(&before, &after), Vec::<String>::new());
        assert_eq!(fs::read_dir("/run/weft/shared").map_or(0, Iterator::count), 0);
        assert_eq!(weftctl(node, &["gc", "--shared"]).ok(), "nothing to remove\n");
    });
}

#[test]
fn gc_of_shared_objects_keeps_what_is_used() {
    with_weft("gc_of_shared_objects_keeps_what_is_used", |node| {
        let outside = node.outside();
        let (used, unused) = (conf("lab", "lab0", 20), conf("more", "lab1", 21));
        let (pod, gone) = (Pod::new("pod"), Pod::new("gone"));
        let result = node.cni(Verb::Add, "bridge", &used, &pod, "eth0").ok();
        let before = Snapshot::take(node, &[&pod]);
        node.cni(Verb::Add, "bridge", &unused, &gone, "eth0").ok();
        node.cni(Verb::Del, "bridge", &unused, &gone, "eth0").ok();
        let text = weftctl(node, &["gc", "--shared"]).ok();
        assert!(text.contains("lab1") && !text.contains("lab0"), "{text}");
        assert_eq!(network_difference(&before, &Snapshot::take(node, &[&pod])), Vec::<String>::new());
        assert!(!nft_json(node.netns()).is_empty());
        ping(pod.netns(), "10.20.0.1");
        // Through forwarding and masquerading: nobody out there knows the way to the pod.
        ping(pod.netns(), "192.0.2.2");
        drop(outside);
        let mut check = used.clone();
        check["prevResult"] = result;
        node.cni(Verb::Check, "bridge", &check, &pod, "eth0").ok();
    });
}

#[test]
fn gc_of_shared_objects_keeps_the_bridges_of_others() {
    with_weft("gc_of_shared_objects_keeps_the_bridges_of_others", |node| {
        ip(node.netns(), "link add lab0 address 02:00:00:00:00:01 type bridge");
        ip(node.netns(), "addr add 2001:db8:9::1/64 dev lab0 nodad");
        ip(node.netns(), "link set lab0 up");
        ip(node.netns(), "link add idle0 type bridge");
        let before = Snapshot::take(node, &[]);
        let conf = conf("lab", "lab0", 20);
        let pod = Pod::new("pod");
        node.cni(Verb::Add, "bridge", &conf, &pod, "eth0").ok();
        assert_eq!(weftctl(node, &["gc", "--shared"]).ok(), "nothing to remove\n");
        node.cni(Verb::Del, "bridge", &conf, &pod, "eth0").ok();
        // The address that weft gave the bridge goes, the bridge and its own address stay.
        let text = weftctl(node, &["gc", "--shared"]).ok();
        assert!(text.contains("10.20.0.1"), "{text}");
        assert_eq!(network_difference(&before, &Snapshot::take(node, &[])), Vec::<String>::new());
        assert_eq!(ip_json(node.netns(), "link show type bridge").len(), 2);
    });
}
