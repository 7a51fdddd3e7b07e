//! weft killed at every step, and at any time: DEL or GC bring the node back, and ADD can be tried again.

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
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use weft_executor::operation::{Operation, Step};
use weft_executor::undo::{Options, undo};
use weft_tests::lab::{FAULT, Node, Pod, Trial, Verb, isolated};

/// Two flannel networks through the meta-plugin, as nodes have them.
const TWO_FLANNELS: &str = include_str!("../../conf/two-flannels/10-two-flannels.conf");
const SUBNETS: [(&str, &str); 2] = [
    ("subnet.env", include_str!("../../conf/two-flannels/subnet.env")),
    ("subnet2.env", include_str!("../../conf/two-flannels/subnet2.env")),
];

/// Store points that only other requests than an ADD on a fresh node pass: DEL, an ADD after a crash, an ADD that failed.
const LATER: [&str; 6] =
    ["journal-cut", "journal-restart", "journal-rename", "journal-unlink", "journal-rmdir", "shared-unlink"];

/// Kernel operations that these configurations have to bring along, or the tests prove less than they say.
const EXPECTED: [&str; 11] = [
    "create-veth",
    "create-link",
    "set-link",
    "add-address",
    "add-route",
    "write-sysctl",
    "create-masquerade-table",
    "create-exceptions",
    "add-masquerade",
    "create-guard-table",
    "add-guard",
];

fn two_flannels(node: &Node) -> Trial<'_> {
    fs::create_dir_all("/run/flannel").unwrap();
    for (name, text) in SUBNETS {
        fs::write(format!("/run/flannel/{name}"), text).unwrap();
    }
    Trial::new(node, "multus", serde_json::from_str(TWO_FLANNELS).unwrap(), &["kbr0", "kbr1"])
}

/// A bridge with everything that lives outside links, and one free address of each family.
fn bridge(node: &Node) -> Trial<'_> {
    let conf = json!({
        "cniVersion": "1.0.0", "name": "crash", "type": "bridge", "bridge": "crash0", "isDefaultGateway": true,
        "ipMasq": true, "macspoofchk": true,
        "ipam": {"type": "host-local", "ranges": [
            [{"subnet": "10.30.0.0/24", "rangeStart": "10.30.0.9", "rangeEnd": "10.30.0.9"}],
            [{"subnet": "2001:db8:30::/64", "rangeStart": "2001:db8:30::9", "rangeEnd": "2001:db8:30::9"}],
        ]},
    });
    Trial::new(node, "bridge", conf, &["crash0"])
}

/// The steps at which the process can be killed.
fn kills(steps: &[String]) -> Vec<&str> {
    steps.iter().map(String::as_str).filter(|step| !step.starts_with("fallible ")).collect()
}

/// The names of steps with a moment before and one after.
fn covered(steps: &[String]) -> BTreeSet<&str> {
    let at = |moment: &str| -> BTreeSet<&str> { steps.iter().filter_map(|step| step.strip_prefix(moment)).collect() };
    at("before ").intersection(&at("after ")).copied().collect()
}

/// What the journal of the only attachment says was done.
fn journalled() -> Vec<Step> {
    let directory = fs::read_dir("/run/weft/attachments").unwrap().next().unwrap().unwrap();
    let log = fs::read_to_string(directory.path().join("log")).unwrap();
    let records = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    records
        .filter(|record| record["record"] == "steps")
        .flat_map(|record| serde_json::from_value::<Vec<Step>>(record["steps"].clone()).unwrap())
        .collect()
}

fn names(operations: impl IntoIterator<Item = Operation>) -> BTreeSet<&'static str> {
    operations.into_iter().map(|operation| operation.name()).collect()
}

/// The steps of an ADD on the empty node and of its DEL, with the kinds of operations that the ADD was made of.
fn learn(trial: &Trial<'_>) -> (Vec<String>, Vec<String>, BTreeSet<&'static str>) {
    let pod = trial.fresh_pod();
    let add = trial.steps(Verb::Add, &pod);
    let done = journalled();
    let del = trial.steps(Verb::Del, &pod);
    let made = names(done.iter().map(|step| step.operation.clone()));
    for (verb, steps, operations) in
        [("ADD", &add, made.clone()), ("DEL", &del, names(undo(&done, Options::default())))]
    {
        assert!(operations.iter().all(|name| Operation::NAMES.contains(name)), "{operations:?}");
        let missing: Vec<_> = operations.difference(&covered(steps)).copied().collect();
        assert!(missing.is_empty(), "{verb} is not killed before and after {missing:?}");
    }
    let missing: Vec<_> =
        weft_store::POINTS.iter().filter(|point| !LATER.contains(point) && !covered(&add).contains(*point)).collect();
    assert!(missing.is_empty(), "ADD is not killed before and after {missing:?}");
    (add, del, made)
}

/// Kills the `number`th (from 1) step of a call.
#[track_caller]
fn kill(trial: &Trial<'_>, verb: Verb, pod: &Pod, number: usize) {
    let outcome = trial.faulty(verb, pod, &format!("kill:{number}"));
    assert!(outcome.was_killed(), "not killed at step {number}: {outcome}");
}

/// Brings the node back after a crash in one of the ways in which runtimes do.
#[track_caller]
fn recover(trial: &Trial<'_>, pod: &Pod, way: usize) -> &'static str {
    match way % 3 {
        0 => {
            trial.gc().ok();
            "GC"
        }
        1 => {
            trial.call(Verb::Del, pod).run().ok();
            "DEL"
        }
        _ => {
            pod.remove_netns();
            trial.call(Verb::Del, pod).netns("").run().ok();
            "DEL without a namespace"
        }
    }
}

fn killed_in_add(trial: &Trial<'_>) {
    let (add, _, _) = learn(trial);
    let kills = kills(&add);
    for (index, step) in kills.iter().enumerate() {
        let number = index + 1;
        let pod = trial.fresh_pod();
        kill(trial, Verb::Add, &pod, number);
        let way = recover(trial, &pod, index);
        trial.assert_detached(&pod, &format!("ADD killed at {number} ({step}), then {way}"));

        let pod = trial.fresh_pod();
        kill(trial, Verb::Add, &pod, number);
        trial.call(Verb::Add, &pod).run().ok();
        trial.call(Verb::Del, &pod).run().ok();
        trial.assert_detached(&pod, &format!("ADD killed at {number} ({step}), ADD again, DEL"));
    }
}

fn killed_in_del(trial: &Trial<'_>) {
    let (_, del, _) = learn(trial);
    for (index, step) in kills(&del).iter().enumerate() {
        let pod = trial.fresh_pod();
        trial.call(Verb::Add, &pod).run().ok();
        kill(trial, Verb::Del, &pod, index + 1);
        let way = recover(trial, &pod, index);
        trial.assert_detached(&pod, &format!("DEL killed at {} ({step}), then {way}", index + 1));
    }
}

/// An ADD that finds a half-made attachment and is killed while it takes that back.
fn killed_in_add_again(trial: &Trial<'_>) {
    let (add, _, _) = learn(trial);
    let half = kills(&add).iter().rposition(|step| *step == "after add-route").unwrap() + 1;
    let pod = trial.fresh_pod();
    kill(trial, Verb::Add, &pod, half);
    let again = trial.steps(Verb::Add, &pod);
    let last = kills(&again).iter().position(|step| *step == "after journal-rename").unwrap() + 1;
    println!("an ADD after a crash takes the half-made attachment back in {last} steps");
    for number in 1..=last + 1 {
        let pod = trial.fresh_pod();
        kill(trial, Verb::Add, &pod, half);
        kill(trial, Verb::Add, &pod, number);
        let way = recover(trial, &pod, number);
        trial.assert_detached(&pod, &format!("ADD killed at {half}, ADD again killed at {number}, then {way}"));
    }
}

#[test]
fn every_kind_of_step_can_be_killed() {
    isolated("every_kind_of_step_can_be_killed", |node| {
        if !node.arm() {
            return;
        }
        let mut made = BTreeSet::new();
        for (name, trial) in [("two-flannels", two_flannels(node)), ("bridge", bridge(node))] {
            let (add, del, operations) = learn(&trial);
            let (adds, dels) = (kills(&add).len(), kills(&del).len());
            println!("{name}: {adds} steps to be killed at in an ADD on an empty node, {dels} in its DEL");
            assert!(adds >= 25, "{add:#?}");
            made.extend(operations);
            trial.fresh_pod();
        }
        let missing: Vec<_> = EXPECTED.iter().filter(|name| !made.contains(*name)).collect();
        assert!(missing.is_empty(), "no configuration here needs {missing:?}");
    });
}

#[test]
fn two_flannels_killed_in_add() {
    isolated("two_flannels_killed_in_add", |node| {
        if node.arm() {
            killed_in_add(&two_flannels(node));
        }
    });
}

#[test]
fn bridge_killed_in_add() {
    isolated("bridge_killed_in_add", |node| {
        if node.arm() {
            killed_in_add(&bridge(node));
        }
    });
}

#[test]
fn killed_in_del_or_while_adding_again() {
    isolated("killed_in_del_or_while_adding_again", |node| {
        if node.arm() {
            for trial in [two_flannels(node), bridge(node)] {
                killed_in_del(&trial);
                killed_in_add_again(&trial);
                trial.fresh_pod();
            }
        }
    });
}

/// SplitMix64: the same times in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }
}

#[test]
fn killed_at_any_time() {
    const KILLS: u32 = 200;
    const LIMIT: Duration = Duration::from_secs(60);
    isolated("killed_at_any_time", |node| {
        if !node.only_weft("surviving its own death") {
            return;
        }
        // The weft that users run.
        let trial = two_flannels(node);
        let pod = trial.fresh_pod();
        let usual: [u64; 10] = std::array::from_fn(|_| {
            let start = Instant::now();
            trial.call(Verb::Add, &pod).run().ok();
            let took = start.elapsed();
            trial.call(Verb::Del, &pod).run().ok();
            u64::try_from(took.as_micros()).unwrap()
        });
        let mut random = Random(20_240_607);
        let (start, mut done, mut killed) = (Instant::now(), 0, 0);
        while done < KILLS && start.elapsed() < LIMIT {
            done += 1;
            let whole = usual[usize::try_from(random.below(10)).unwrap()];
            let time = Duration::from_micros(random.below(whole));
            let verb = if done % 4 == 0 { Verb::Del } else { Verb::Add };
            if verb == Verb::Del {
                trial.call(Verb::Add, &pod).run().ok();
            }
            killed += u32::from(trial.call(verb, &pod).run_killed_after(time).was_killed());
            trial.call(Verb::Del, &pod).run().ok();
            if done % 20 == 0 {
                trial.assert_detached(&pod, &format!("{done} calls killed at random times"));
            }
        }
        trial.assert_detached(&pod, &format!("{done} calls killed at random times"));
        println!("{killed} of {done} calls killed; ADDs usually take {usual:?} us; {:?} in all", start.elapsed());
        assert!(killed >= done / 3, "only {killed} of {done} calls were killed before they ended");
    });
}

/// Damages the journal of the only attachment; a second DEL and ADD must not meet it again.
fn damaged(trial: &Trial<'_>, what: &str, damage: impl FnOnce(Vec<u8>) -> Vec<u8>) {
    let pod = trial.fresh_pod();
    trial.call(Verb::Add, &pod).run().ok();
    let directory = fs::read_dir("/run/weft/attachments").unwrap().next().unwrap().unwrap().path();
    let log = directory.join("log");
    fs::write(&log, damage(fs::read(&log).unwrap())).unwrap();
    trial.call(Verb::Del, &pod).run().ok();
    assert!(!directory.exists(), "{what}: the journal stays");
    // What no longer has an owner that anybody knows (netfilter elements) must not be in the next one's way.
    trial.call(Verb::Add, &pod).run().ok();
    trial.call(Verb::Del, &pod).run().ok();
    trial.assert_detached(&pod, &format!("DEL with {what}, then ADD and DEL"));
}

#[test]
fn a_journal_that_cannot_be_read_never_blocks_del() {
    isolated("a_journal_that_cannot_be_read_never_blocks_del", |node| {
        if !node.only_weft("its journal") {
            return;
        }
        for trial in [bridge(node), two_flannels(node)] {
            damaged(&trial, "a journal of an unknown format", |log| {
                let text = String::from_utf8(log).unwrap();
                assert!(text.starts_with("{\"format\":1,"), "{text}");
                text.replacen("\"format\":1", "\"format\":99", 1).into_bytes()
            });
            damaged(&trial, "an empty journal", |_| Vec::new());
            for part in [1, 4, 7] {
                damaged(&trial, &format!("{part}/8 of a journal"), |log| log[..log.len() * part / 8].to_vec());
            }
            damaged(&trial, "a journal of noise", |log| {
                let mut random = Random(1);
                log.iter().map(|_| u8::try_from(random.below(256)).unwrap()).collect()
            });
            damaged(&trial, "a journal with a damaged record", |mut log| {
                let record = log.iter().position(|byte| *byte == b'\n').unwrap() + 1;
                log[record] = b'#';
                log
            });
            trial.fresh_pod();
        }
    });
}

#[test]
fn leases_of_another_boot_do_not_exhaust_a_pool() {
    isolated("leases_of_another_boot_do_not_exhaust_a_pool", |node| {
        if !node.only_weft("leases of another boot") {
            return;
        }
        let trial = bridge(node);
        let pod = trial.fresh_pod();
        let network = "/var/lib/cni/networks/crash";
        fs::create_dir_all(network).unwrap();
        for address in ["10.30.0.9", "2001:db8:30::9"] {
            let file = fs::File::create(format!("{network}/{address}")).unwrap();
            std::io::Write::write_all(&mut &file, b"gone\r\neth0").unwrap();
            file.set_modified(std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000)).unwrap();
        }
        fs::write(format!("{network}/.weft-boot"), "00000000-0000-0000-0000-000000000000").unwrap();
        // Where process 1 can't be looked at (in a container, or without privilege) it isn't certain that they are
        // older than the boot: then they stay until GC.
        if fs::metadata("/proc/1/root/proc").is_err() {
            let error = trial.call(Verb::Add, &pod).run().error();
            assert!(error.message.contains("10.30.0.9"), "{error:?}");
            trial.gc().ok();
        }
        trial.call(Verb::Add, &pod).run().ok();
        trial.call(Verb::Del, &pod).run().ok();
        trial.assert_detached(&pod, "leases of another boot, ADD, DEL");
    });
}

/// As [`FAULT`] promises: what users run knows nothing of it.
#[test]
fn what_users_run_has_no_kill_points() {
    isolated("what_users_run_has_no_kill_points", |node| {
        if !node.only_weft("kill points") {
            return;
        }
        let trial = bridge(node);
        let pod = trial.fresh_pod();
        trial.call(Verb::Add, &pod).env(FAULT, "kill:1").run().ok();
    });
}
