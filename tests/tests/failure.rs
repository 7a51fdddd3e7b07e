//! Every step of an ADD made to fail: one error that says what and why, and nothing left.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "tests and their helpers"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::{Value, json};
use weft_executor::operation::Operation;
use weft_tests::lab::{Node, Outcome, Pod, Snapshot, Trial, Verb, isolated};

const TWO_FLANNELS: &str = include_str!("../../conf/two-flannels/10-two-flannels.conf");
const SUBNETS: [(&str, &str); 2] = [
    ("subnet.env", include_str!("../../conf/two-flannels/subnet.env")),
    ("subnet2.env", include_str!("../../conf/two-flannels/subnet2.env")),
];

fn two_flannels(node: &Node) -> Trial<'_> {
    fs::create_dir_all("/run/flannel").unwrap();
    for (name, text) in SUBNETS {
        fs::write(format!("/run/flannel/{name}"), text).unwrap();
    }
    Trial::new(node, "multus", serde_json::from_str(TWO_FLANNELS).unwrap(), &["kbr0", "kbr1"])
}

fn bridge_conf() -> Value {
    json!({
        "type": "bridge", "bridge": "fail0", "isDefaultGateway": true, "ipMasq": true, "macspoofchk": true,
        "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.31.0.0/24"}], [{"subnet": "2001:db8:31::/64"}]]},
    })
}

fn bridge(node: &Node) -> Trial<'_> {
    let mut conf = bridge_conf();
    conf["cniVersion"] = json!("1.0.0");
    conf["name"] = json!("failing");
    Trial::new(node, "bridge", conf, &["fail0"])
}

/// The names of the steps that can fail, in order.
fn fallible(steps: &[String]) -> Vec<&str> {
    steps.iter().filter_map(|step| step.strip_prefix("fallible ")).collect()
}

/// What a node that was empty may keep: directories, locks, and what the address stores remember of the last search.
fn may_stay(key: &str) -> bool {
    match key.split_once(' ') {
        Some(("directory", _)) => true,
        Some(("file", path)) => {
            let name = path.rsplit('/').next().unwrap();
            path == "/run/weft/shared.lock"
                || path.starts_with("/var/lib/cni/")
                    && (["lock", ".weft-boot", ".weft-tmp"].contains(&name) || name.starts_with("last_reserved_ip."))
        }
        _ => false,
    }
}

/// The node and the pod are as they were before anything was attached: shared objects are gone, too.
#[track_caller]
fn assert_empty(trial: &Trial<'_>, pod: &Pod, about: &str) {
    let kept = |snapshot: &Snapshot| -> BTreeMap<String, String> {
        let entries = snapshot.entries().filter(|(key, _)| !may_stay(key));
        entries.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
    };
    let before = kept(&trial.empty);
    let mut left = Vec::new();
    // The kernel finishes removals in the background.
    for _ in 0..50 {
        let after = kept(&Snapshot::take(trial.node, &[pod]));
        left = after
            .iter()
            .filter(|(key, value)| before.get(*key) != Some(value))
            .map(|(k, v)| format!("+ {k}: {v}"))
            .collect();
        left.extend(before.keys().filter(|key| !after.contains_key(*key)).map(|key| format!("- {key}")));
        if left.is_empty() {
            return;
        }
    }
    panic!("{about} left behind:\n  {}", left.join("\n  "));
}

/// The one error that a failed call printed.
#[track_caller]
fn message(outcome: &Outcome, about: &str) -> String {
    assert_eq!(outcome.status.code(), Some(1), "{about}: {outcome}");
    let error: Value =
        serde_json::from_str(&outcome.stdout).unwrap_or_else(|error| panic!("{about}: {error}: {outcome}"));
    assert!(error["code"].as_u64().is_some_and(|code| code > 0), "{about}: {outcome}");
    assert!(error["cniVersion"].is_string(), "{about}: {outcome}");
    outcome.error().message
}

/// What an error says of an operation.
fn told(operation: &str) -> &'static str {
    match operation {
        "create-veth" => "veth",
        "create-link" => "create bridge",
        "set-link" => "set ",
        "add-address" => "add address",
        "add-route" => "add route",
        "write-sysctl" => "net/",
        "create-masquerade-table" | "create-guard-table" => "create nftables table",
        "create-exceptions" => "create nftables chain",
        "add-masquerade" => "masquerade",
        "add-guard" => "enter by port",
        other => panic!("say how errors tell of {other}"),
    }
}

fn every_step_fails(trial: &Trial<'_>, delegate: &str) {
    let steps = trial.steps(Verb::Add, &trial.fresh_pod());
    let steps = fallible(&steps);
    let mut kinds = BTreeSet::new();
    for (index, step) in steps.iter().enumerate() {
        let about = format!("{} made to fail at {} ({step})", trial.plugin, index + 1);
        let pod = trial.fresh_pod();
        let outcome = trial.faulty(Verb::Add, &pod, &format!("fail:{}", index + 1));
        if outcome.succeeded() {
            // Nothing that the attachment needs; said by name, so that no other failure is swallowed.
            assert!(TOLERATED.contains(step), "{about}, and nobody says so: {outcome}");
            trial.call(Verb::Del, &pod).run().ok();
            trial.assert_detached(&pod, &about);
            continue;
        }
        let message = message(&outcome, &about);
        if Operation::NAMES.contains(step) {
            kinds.insert(*step);
            assert!(message.contains("made to fail") && message.contains(delegate), "{about}: {message}");
            assert!(message.contains(told(step)), "{about}: {message}");
        } else {
            assert!(message.contains("Input/output error") && message.contains('/'), "{about}: {message}");
        }
        assert_empty(trial, &pod, &about);
        trial.call(Verb::Add, &pod).run().ok();
        trial.call(Verb::Del, &pod).run().ok();
        trial.assert_detached(&pod, &format!("{about}, then ADD and DEL"));
    }
    println!("{}: {} steps made to fail, among them {kinds:?}", trial.plugin, steps.len());
    assert!(kinds.len() >= 6, "{kinds:?}");
}

/// Steps whose failure costs nothing that anybody asked for.
const TOLERATED: [&str; 0] = [];

#[test]
fn two_flannels_failing() {
    isolated("two_flannels_failing", |node| {
        if node.arm() {
            every_step_fails(&two_flannels(node), "bridge");
        }
    });
}

#[test]
fn bridge_failing() {
    isolated("bridge_failing", |node| {
        if node.arm() {
            every_step_fails(&bridge(node), "bridge");
        }
    });
}

/// Where the executable in a chain writes what it was called with.
const CALLS: &str = "/run/lab/calls";

/// A chain of weft's bridge and an executable that does `on_add`, through the meta-plugin.
fn chain<'a>(node: &'a Node, on_add: &str) -> Trial<'a> {
    let path = node.bin().join("scripted");
    let script = format!(
        "#!/bin/sh\nconf=$(cat)\necho \"$CNI_COMMAND $CNI_CONTAINERID $CNI_IFNAME $CNI_NETNS\" >> {CALLS}\n\
         [ \"$CNI_COMMAND\" = ADD ] || exit 0\n{on_add}\n"
    );
    fs::write(&path, script).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    let conf = json!({
        "cniVersion": "1.0.0", "name": "chained", "type": "multus",
        "delegates": [{"name": "chain", "plugins": [bridge_conf(), {"type": "scripted"}]}],
    });
    Trial::new(node, "multus", conf, &["fail0"])
}

/// The calls of the executable so far, which are forgotten.
fn calls() -> Vec<String> {
    let calls = fs::read_to_string(CALLS).unwrap_or_default().lines().map(str::to_owned).collect();
    let _ = fs::remove_file(CALLS);
    calls
}

#[test]
fn an_executable_behind_a_bridge_fails() {
    isolated("an_executable_behind_a_bridge_fails", |node| {
        if !node.only_weft("chains through the meta-plugin") {
            return;
        }
        for (how, on_add, expected) in [
            ("an error", r#"echo '{"code": 111, "msg": "no luck today"}'; exit 1"#, "no luck today"),
            ("nothing but a status", "exit 3", "exit status: 3"),
            ("a result that is none", "echo nonsense", "no JSON"),
            ("a signal", "kill -9 $$", "signal: 9"),
        ] {
            let trial = chain(node, on_add);
            let pod = trial.fresh_pod();
            let error = message(&trial.call(Verb::Add, &pod).run(), how);
            assert!(error.contains(expected) && error.contains("scripted"), "{how}: {error}");
            let netns = pod.netns().path().display().to_string();
            assert_eq!(calls(), [format!("ADD pod eth0 {netns}"), format!("DEL pod eth0 {netns}")], "{how}");
            assert_empty(&trial, &pod, how);
            trial.call(Verb::Del, &pod).run().ok();
            assert_empty(&trial, &pod, &format!("{how}, then DEL"));
            calls();
        }
    });
}

#[test]
fn an_executable_that_fails_once() {
    isolated("an_executable_that_fails_once", |node| {
        if !node.only_weft("chains through the meta-plugin") {
            return;
        }
        let once =
            r#"if [ -e /run/lab/failed ]; then echo '{"cniVersion": "1.0.0"}'; else touch /run/lab/failed; exit 1; fi"#;
        let trial = chain(node, once);
        let pod = trial.fresh_pod();
        message(&trial.call(Verb::Add, &pod).run(), "the first ADD");
        trial.call(Verb::Add, &pod).run().ok();
        calls();
        trial.call(Verb::Del, &pod).run().ok();
        assert_eq!(calls().len(), 1, "DEL is passed on");
        trial.assert_detached(&pod, "ADD that failed, ADD, DEL");
    });
}

/// Killed while it takes back what it did because an executable failed.
#[test]
fn killed_while_giving_up() {
    isolated("killed_while_giving_up", |node| {
        if !node.arm() {
            return;
        }
        let trial = chain(node, r#"echo '{"code": 111, "msg": "no luck today"}'; exit 1"#);
        let pod = trial.fresh_pod();
        let list = "/run/lab/giving-up";
        message(&trial.faulty(Verb::Add, &pod, &format!("list:{list}")), "ADD");
        let steps = fs::read_to_string(list).unwrap();
        let steps: Vec<&str> = steps.lines().filter(|step| !step.starts_with("fallible ")).collect();
        // What follows the last step forward is the way back.
        let first = steps.iter().rposition(|step| *step == "after add-guard").unwrap() + 1;
        println!("an ADD that gives up can be killed at {} steps on its way back", steps.len() - first);
        assert!(steps[first..].contains(&"after shared-unlink"), "{steps:?}");
        for number in first + 1..=steps.len() {
            let about = format!("killed at {number} ({}) while giving up", steps[number - 1]);
            let pod = trial.fresh_pod();
            let outcome = trial.faulty(Verb::Add, &pod, &format!("kill:{number}"));
            assert!(outcome.was_killed(), "{about}: {outcome}");
            trial.call(Verb::Del, &pod).run().ok();
            trial.assert_detached(&pod, &about);
        }
    });
}
