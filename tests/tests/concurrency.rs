//! Many calls at once on one bridge and one pool.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "tests and their helpers"
)]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};
use weft_tests::lab::{
    HOME, Node, Outcome, Plugins, Pod, Snapshot, Verb, assert_nothing_left_except_shared, ip_json, isolated, ping,
};

const PODS: usize = 200;
const AT_ONCE: usize = 32;

/// Calls `work` for every pod, [`AT_ONCE`] at a time.
fn storm(pods: &[Pod], work: impl Fn(usize, &Pod) + Sync) {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some((number, pod)) = {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    pods.get(number).map(|pod| (number, pod))
                } {
                    work(number, pod);
                }
            });
        }
    });
}

fn conf(node: &Node) -> Value {
    // Masquerading through iptables waits for one lock for minutes in all, so only weft is asked for it here.
    json!({"cniVersion": "1.0.0", "name": "storm", "type": "bridge", "bridge": "storm0", "isGateway": true,
           "ipMasq": node.is_weft(),
           "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.20.0.0/22"}], [{"subnet": "2001:db8:20::/64"}]]}})
}

/// 200 ADDs and 200 DELs; `meanwhile` runs once, when half of the ADDs are under way.
fn storm_of_pods(node: &Node, meanwhile: impl Fn() + Sync) {
    let conf = conf(node);
    let pods: Vec<Pod> = (0..PODS).map(|number| Pod::new(&format!("pod{number}"))).collect();
    let before = Snapshot::take(node, &[&pods[0]]);
    let addresses = Mutex::new(BTreeSet::new());
    let results = Mutex::new(vec![Value::Null; PODS]);
    storm(&pods, |number, pod| {
        if number == PODS / 2 {
            meanwhile();
        }
        let result = node.cni(Verb::Add, "bridge", &conf, pod, "eth0").ok();
        for ip in result["ips"].as_array().unwrap() {
            assert!(addresses.lock().unwrap().insert(ip["address"].as_str().unwrap().to_owned()), "given twice: {ip}");
        }
        results.lock().unwrap()[number] = result;
    });
    assert_eq!(addresses.lock().unwrap().len(), 2 * PODS);
    assert_eq!(ip_json(node.netns(), "link show master storm0").len(), PODS);
    for pod in [&pods[0], &pods[PODS - 1]] {
        ping(pod.netns(), "10.20.0.1");
    }
    let results = results.into_inner().unwrap();
    storm(&pods, |number, pod| {
        let mut conf = conf.clone();
        conf["prevResult"] = results[number].clone();
        node.cni(Verb::Del, "bridge", &conf, pod, "eth0").ok();
    });
    assert_nothing_left_except_shared(&before, node, &[&pods[0]], &["storm0"]);
}

#[test]
fn two_hundred_pods_at_once() {
    isolated("two_hundred_pods_at_once", |node| storm_of_pods(node, || {}));
}

#[test]
fn an_upgrade_in_the_middle() {
    isolated("an_upgrade_in_the_middle", |node| {
        let Plugins::Weft(dist) = node.plugins() else {
            node.only_weft("an upgrade under load");
            return;
        };
        let rebuilt = Path::new(HOME).join("rebuilt");
        copy_tree(dist, &rebuilt);
        storm_of_pods(node, || Plugins::Weft(rebuilt.clone()).install(node.bin()));
    });
}

/// Copies a directory; the copies are as new as a build that just ended.
fn copy_tree(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    let output = Command::new("cp").args(["-R", "--preserve=mode,links"]).arg(from.join(".")).arg(to).output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn one_attachment_from_many_sides() {
    isolated("one_attachment_from_many_sides", |node| {
        if !node.only_weft("the same ADD at the same time") {
            return;
        }
        let conf = conf(node);
        let pod = Pod::new("pod");
        let before = Snapshot::take(node, &[&pod]);
        let together = |verb: Verb| -> Vec<Outcome> {
            std::thread::scope(|scope| {
                let calls: Vec<_> =
                    (0..8).map(|_| scope.spawn(|| node.cni(verb, "bridge", &conf, &pod, "eth0"))).collect();
                calls.into_iter().map(|call| call.join().unwrap()).collect()
            })
        };
        // One of them makes it, the others find it standing.
        let added = together(Verb::Add);
        assert!(added.iter().all(|outcome| outcome.ok() == added[0].ok()), "{added:#?}");
        assert_eq!(ip_json(node.netns(), "link show master storm0").len(), 1);
        ping(pod.netns(), "10.20.0.1");
        let deleted = together(Verb::Del);
        assert!(deleted.iter().all(Outcome::succeeded), "{deleted:#?}");
        assert_nothing_left_except_shared(&before, node, &[&pod], &["storm0"]);
    });
}
