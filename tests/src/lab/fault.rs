//! Attachments whose weft is killed at, or made to fail in, a chosen step.
//!
//! Owns: putting a weft with fault points in the place of the installed one, what its steps are called, and clearing the
//! node between two tries, so that one lab serves for all steps.

use std::path::Path;

use nix::mount::{MntFlags, umount2};
use serde_json::{Value, json};

use super::node::{Call, Node, Outcome, Verb};
use super::pod::Pod;
use super::snapshot::Snapshot;
use super::{HOME, eventually, ip, skip_here};

/// Names the weft with fault points.
const FAULTY: &str = "WEFT_FAULTY";

/// Orders a fault: `kill:N`, `fail:N` or `list:FILE`.
pub const FAULT: &str = "WEFT_FAULT";

/// One network, attached to one pod again and again.
#[derive(Debug)]
pub struct Trial<'a> {
    /// The node.
    pub node: &'a Node,
    /// What weft is called as.
    pub plugin: &'static str,
    /// The configuration.
    pub conf: Value,
    /// The bridges that it makes.
    pub bridges: &'static [&'static str],
    /// The node before anything was attached to it.
    pub empty: Snapshot,
}

impl Node {
    /// Puts the weft with fault points in the place of the installed one. False: there is none, so the test is skipped.
    pub fn arm(&self) -> bool {
        if !self.only_weft("faults") {
            return false;
        }
        let Some(faulty) = std::env::var_os(FAULTY) else {
            skip_here(&format!(
                "{FAULTY} names no weft with fault points (cargo build -p weft --features fault-points)"
            ));
            return false;
        };
        let new = self.bin().join(".faulty");
        std::fs::copy(&faulty, &new).unwrap_or_else(|error| panic!("{}: {error}", faulty.display()));
        std::fs::rename(new, self.bin().join("weft")).expect("the place of weft");
        true
    }
}

impl<'a> Trial<'a> {
    /// Of a node to which nothing is attached yet.
    pub fn new(node: &'a Node, plugin: &'static str, conf: Value, bridges: &'static [&'static str]) -> Self {
        let empty = Snapshot::take(node, &[&Pod::new("pod")]);
        Self { node, plugin, conf, bridges, empty }
    }

    /// A call for the pod's `eth0`.
    pub fn call(&self, verb: Verb, pod: &Pod) -> Call {
        self.node.call(verb, self.plugin, &self.conf).pod(pod)
    }

    /// [`Trial::call`] with a fault ordered.
    pub fn faulty(&self, verb: Verb, pod: &Pod, fault: &str) -> Outcome {
        self.call(verb, pod).env(FAULT, fault).run()
    }

    /// GC by which no attachment is to be kept.
    pub fn gc(&self) -> Outcome {
        let mut conf = self.conf.clone();
        conf["cniVersion"] = json!("1.1.0");
        conf["cni.dev/valid-attachments"] = json!([]);
        self.node.call(Verb::Gc, self.plugin, &conf).run()
    }

    /// What a call that has to succeed passes: `before NAME`, `after NAME`, `fallible NAME`, in order.
    pub fn steps(&self, verb: Verb, pod: &Pod) -> Vec<String> {
        let list = Path::new(HOME).join("steps");
        let _ = std::fs::remove_file(&list);
        self.faulty(verb, pod, &format!("list:{}", list.display())).ok();
        let steps = std::fs::read_to_string(&list).expect("the list of steps");
        steps.lines().map(str::to_owned).collect()
    }

    /// A pod on the node as it was at first: what earlier tries made for all is gone.
    pub fn fresh_pod(&self) -> Pod {
        // Not /sys/class/net, which shows the namespace in which /sys was mounted.
        let settings = Path::new("/proc/sys/net/ipv4/conf");
        for bridge in self.bridges.iter().filter(|bridge| settings.join(bridge).exists()) {
            ip(self.node.netns(), &format!("link del {bridge}"));
        }
        let status = std::process::Command::new("nft").args(["flush", "ruleset"]).status().expect("nft starts");
        assert!(status.success(), "nft flush ruleset: {status}");
        for key in ["ipv4/ip_forward", "ipv6/conf/all/forwarding"] {
            std::fs::write(Path::new("/proc/sys/net").join(key), "0").unwrap_or_else(|error| panic!("{key}: {error}"));
        }
        for directory in ["/run/weft", "/var/lib/cni"] {
            if Path::new(directory).exists() {
                std::fs::remove_dir_all(directory).unwrap_or_else(|error| panic!("{directory}: {error}"));
            }
        }
        let path = Path::new("/run/netns/pod");
        if path.exists() {
            let _ = umount2(path, MntFlags::MNT_DETACH);
            std::fs::remove_file(path).expect("the old pod's namespace");
        }
        // Pairs of an earlier pod go with its namespace, some time after it.
        let only_lo = ["all", "default", "lo"].len();
        eventually("an empty node", || std::fs::read_dir(settings).is_ok_and(|links| links.count() == only_lo));
        Pod::new("pod")
    }

    /// Nothing of an attachment may be left, but what attachments share may.
    #[track_caller]
    pub fn assert_detached(&self, pod: &Pod, about: &str) {
        let before = self.empty.ignoring_shared(self.bridges);
        super::snapshot::settle(about, || {
            let after = Snapshot::take(self.node, &[pod]).ignoring_shared(self.bridges);
            let is_about_gone = |line: &String| line.starts_with("- pod ") || line.contains("pod namespace: gone");
            let gone = !pod.netns().path().exists();
            Snapshot::diff(&before, &after).into_iter().filter(|line| !(gone && is_about_gone(line))).collect()
        });
        let journals = std::fs::read_dir("/run/weft/attachments").into_iter().flatten().count();
        assert_eq!(journals, 0, "{about}: a journal is left");
    }
}
