//! Killed at any point, what is on disk reads, loses nothing that was announced, and is cleared away by what a runtime
//! does next. Needs the points compiled in: `cargo test -p weft-store --features points`.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "tests, and their helpers")]

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Command, ExitStatus};

use tempfile::TempDir;
use weft_store::{Boot, Key, Owner, POINTS, Pool, State};

/// In memory where there is such a file system: a disk makes tests that do much wait.
fn directory() -> TempDir {
    TempDir::new_in("/dev/shm").or_else(|_| TempDir::new()).unwrap()
}

fn key() -> Key {
    let text = str::to_owned;
    Key { network: text("net"), container_id: text("c"), ifname: text("eth0"), kind: text("bridge") }
}

fn owner() -> Owner {
    Owner::new("c", "eth0")
}

fn state(root: &Path) -> State {
    State::with_boot(&root.join("weft"), Boot::fixed("boot", None))
}

fn pool(root: &Path) -> Pool {
    let later = std::time::SystemTime::now() - std::time::Duration::from_secs(1000);
    Pool::open(&root.join("leases"), "net", &Boot::fixed("boot", Some(later))).unwrap()
}

/// What an ADD and a DEL do with the store; the second record announces a lease.
fn scene(root: &Path, name: &str) {
    let state = state(root);
    let shared = state.share(None).unwrap();
    if name == "add" || name == "again" {
        let mut attachment = state.lock::<String>(&key(), None).unwrap();
        if name == "again" {
            pool(root).release(&owner(), None).unwrap();
            attachment.restart().unwrap();
        }
        shared.record(&"br0").unwrap();
        attachment.append(&"begin".to_owned()).unwrap();
        let mut locked = pool(root).lock(None).unwrap();
        for set in 0..2 {
            let first = format!("10.{set}.0.2").parse().unwrap();
            let free = locked.first_free(first, format!("10.{set}.0.9").parse().unwrap()).unwrap().unwrap();
            assert!(locked.reserve(set, free).unwrap());
        }
        let leases: Vec<_> = locked.reservations().iter().map(|reservation| reservation.ip.to_string()).collect();
        attachment.append(&leases.join(" ")).unwrap();
        locked.commit(&owner()).unwrap();
        attachment.append(&"done".to_owned()).unwrap();
    } else {
        let attachment = state.find::<String>(&key(), None).unwrap();
        pool(root).release(&owner(), None).unwrap();
        if let Some(attachment) = attachment {
            attachment.remove().unwrap();
        }
        if let Some(alone) = shared.try_upgrade().unwrap() {
            for made in state.made::<String>().unwrap() {
                alone.forget(&made.name).unwrap();
            }
        }
    }
}

/// Runs a scene in a process of its own.
fn run(root: &Path, name: &str, fault: &str) -> ExitStatus {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--quiet"])
        .env("WEFT_STORE_SCENE", name)
        .env("WEFT_STORE_ROOT", root)
        .env("WEFT_FAULT", fault)
        .output()
        .unwrap()
        .status
}

#[test]
fn child() {
    if let (Ok(name), Ok(root)) = (std::env::var("WEFT_STORE_SCENE"), std::env::var("WEFT_STORE_ROOT")) {
        scene(Path::new(&root), &name);
    }
}

/// Every lease on disk is announced, whole and this owner's; the journal reads.
fn check(root: &Path, at: &str) {
    let listed = state(root).list::<String>().unwrap();
    assert!(listed.len() <= 1);
    let records = listed.first().map(|listed| listed.entry.records.clone()).unwrap_or_default();
    for listed in &listed {
        let problem = listed.entry.problem.as_ref();
        assert!(problem.is_none_or(|problem| *problem == weft_store::Problem::Empty), "{at}: {problem:?}");
    }
    for lease in pool(root).peek(None).unwrap().leases().unwrap() {
        assert_eq!(lease.owner, owner(), "{at}");
        assert!(records.iter().any(|record| record.contains(&lease.ip.to_string())), "{at}: {} is lost", lease.ip);
    }
    for made in state(root).made::<String>().unwrap() {
        assert!(made.object.is_some(), "{at}: a torn shared object");
    }
}

/// After a DEL: nothing but locks, marks and empty directories that stay.
fn check_clean(root: &Path, at: &str) {
    assert!(state(root).list::<String>().unwrap().is_empty(), "{at}");
    assert!(state(root).made::<String>().unwrap().is_empty(), "{at}");
    for directory in ["weft/attachments", "weft/shared"] {
        assert_eq!(fs::read_dir(root.join(directory)).map_or(0, Iterator::count), 0, "{at}: {directory}");
    }
    let stay = ["lock", ".weft-boot", "last_reserved_ip.0", "last_reserved_ip.1"];
    for entry in fs::read_dir(root.join("leases/net")).into_iter().flatten() {
        let name = entry.unwrap().file_name();
        assert!(stay.iter().any(|stay| *stay == name), "{at}: {name:?} is left");
    }
}

/// A lease and an old record from the boot before, so that the first scene sweeps.
fn old(root: &Path) {
    let before = Pool::open(&root.join("leases"), "net", &Boot::fixed("before", None)).unwrap();
    let mut locked = before.lock(None).unwrap();
    assert!(locked.reserve(0, "10.0.0.9".parse().unwrap()).unwrap());
    locked.commit(&Owner::new("old", "eth0")).unwrap();
    let lease = fs::File::options().write(true).open(root.join("leases/net/10.0.0.9")).unwrap();
    lease.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
}

#[test]
fn killed_at_any_point_nothing_is_lost_or_left_behind() {
    if !weft_fault::ARMED {
        eprintln!("SKIP: built without the feature points");
        return;
    }
    for (before, name) in [(None, "add"), (Some("sweep"), "add"), (Some("add"), "again"), (Some("add"), "del")] {
        let mut kills = 0;
        for point in 1.. {
            let root = directory();
            match before {
                Some("add") => assert!(run(root.path(), "add", "").success()),
                Some(_) => old(root.path()),
                None => {}
            }
            let status = run(root.path(), name, &format!("kill:{point}"));
            let at = format!("{name} after {before:?}, point {point}");
            check(root.path(), &at);
            if status.success() {
                break;
            }
            assert_eq!(status.signal(), Some(9), "{at}");
            kills += 1;
            if kills % 2 == 0 {
                assert!(run(root.path(), "again", "").success(), "{at}");
                check(root.path(), &at);
            }
            assert!(run(root.path(), "del", "").success(), "{at}");
            check_clean(root.path(), &at);
        }
        assert!(kills > 10, "{name}: only {kills} points");
    }
}

#[test]
fn failing_at_any_step_is_an_error_that_leaves_what_a_kill_would() {
    if !weft_fault::ARMED {
        eprintln!("SKIP: built without the feature points");
        return;
    }
    for name in ["add", "del"] {
        for point in 1.. {
            let root = directory();
            if name == "del" {
                assert!(run(root.path(), "add", "").success());
            }
            let status = run(root.path(), name, &format!("fail:{point}"));
            let at = format!("{name}, step {point}");
            check(root.path(), &at);
            assert_eq!(status.signal(), None, "{at}");
            assert!(run(root.path(), "del", "").success(), "{at}");
            check_clean(root.path(), &at);
            if status.success() {
                // A failure that was put up with, or past the last step.
                let list = root.path().join("list");
                assert!(run(root.path(), name, &format!("list:{}", list.display())).success());
                let steps =
                    fs::read_to_string(&list).unwrap().lines().filter(|line| line.starts_with("fallible")).count();
                if point > steps + 2 {
                    break;
                }
            }
        }
    }
}

#[test]
fn the_points_are_those_that_are_named() {
    if !weft_fault::ARMED {
        eprintln!("SKIP: built without the feature points");
        return;
    }
    let root = directory();
    let list = root.path().join("list");
    for name in ["add", "del", "add", "torn", "del"] {
        if name == "torn" {
            let attachments = root.path().join("weft/attachments");
            let directory = fs::read_dir(attachments).unwrap().next().unwrap().unwrap().path();
            fs::write(directory.join("log"), "torn").unwrap();
            pool(root.path()).release(&owner(), None).unwrap();
            assert!(run(root.path(), "add", &format!("list:{}", list.display())).success());
            assert!(run(root.path(), "again", &format!("list:{}", list.display())).success());
        } else {
            assert!(run(root.path(), name, &format!("list:{}", list.display())).success());
        }
    }
    let lines = fs::read_to_string(&list).unwrap();
    let hit: BTreeSet<&str> = lines.lines().filter_map(|line| line.split_once(' ')).map(|(_, name)| name).collect();
    assert_eq!(hit, POINTS.iter().copied().collect());
}
