//! One network's leases shared with the Go plugin host-local.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "tests, and their helpers")]

use std::collections::BTreeSet;
use std::io::Write as _;
use std::net::IpAddr;
use std::path::Path;
use std::process::{Command, Stdio};

use tempfile::TempDir;
use weft_store::{Boot, Owner, Pool};

const PLUGIN: &str = "/usr/lib/cni/host-local";

fn absent() -> bool {
    let absent = !Path::new(PLUGIN).exists();
    if absent {
        eprintln!("SKIP: {PLUGIN} is not installed");
    }
    absent
}

fn go(root: &Path, command: &str, id: &str) -> (bool, serde_json::Value) {
    let config = serde_json::json!({
        "cniVersion": "1.0.0", "name": "net", "type": "bridge",
        "ipam": {
            "type": "host-local", "dataDir": root,
            "ranges": [[{"subnet": "10.1.2.0/27"}], [{"subnet": "2001:db8:1::/64"}]],
        },
    });
    let mut child = Command::new(PLUGIN)
        .env_clear()
        .envs([("CNI_COMMAND", command), ("CNI_CONTAINERID", id), ("CNI_IFNAME", "eth0")])
        .envs([("CNI_NETNS", "/proc/self/ns/net"), ("CNI_PATH", "/usr/lib/cni")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(config.to_string().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    (output.status.success(), serde_json::from_slice(&output.stdout).unwrap_or_default())
}

fn go_add(root: &Path, id: &str) -> Vec<IpAddr> {
    let (done, result) = go(root, "ADD", id);
    assert!(done, "{result}");
    let ips = result["ips"].as_array().unwrap().iter();
    ips.map(|ip| ip["address"].as_str().unwrap().split_once('/').unwrap().0.parse().unwrap()).collect()
}

fn pool(root: &Path) -> Pool {
    Pool::open(root, "net", &Boot::current().unwrap()).unwrap()
}

fn ours(root: &Path, id: &str) -> Vec<IpAddr> {
    let mut locked = pool(root).lock(None).unwrap();
    for (set, first, last) in [(0, "10.1.2.2", "10.1.2.30"), (1, "2001:db8:1::2", "2001:db8:1::ffff")] {
        let free = locked.first_free(first.parse().unwrap(), last.parse().unwrap()).unwrap().unwrap();
        assert!(locked.reserve(set, free).unwrap());
    }
    locked.commit(&Owner::new(id, "eth0")).unwrap()
}

#[test]
fn addresses_alternate_and_each_gives_back_only_its_own() {
    if absent() {
        return;
    }
    let root = TempDir::new().unwrap();
    let root = root.path();
    let mut seen = BTreeSet::new();
    for round in 0..5 {
        for ip in ours(root, &format!("weft{round}")).into_iter().chain(go_add(root, &format!("go{round}"))) {
            assert!(seen.insert(ip), "{ip} was given twice");
        }
    }
    assert_eq!(seen.len(), 20);
    let first: Vec<String> = seen.iter().take(2).map(ToString::to_string).collect();
    assert_eq!(first, ["10.1.2.2", "10.1.2.3"]);

    // Each sees the other's owners.
    assert!(!go(root, "ADD", "weft0").0, "the Go plugin knows weft0's lease and refuses a second one");
    assert!(go(root, "CHECK", "weft1").0);
    assert_eq!(pool(root).lock(None).unwrap().held(&Owner::new("go1", "eth0")).unwrap().len(), 2);
    let owners = |root: &Path| -> BTreeSet<String> {
        let leases = pool(root).lock(None).unwrap().leases().unwrap();
        leases.into_iter().map(|lease| lease.owner.container_id).collect()
    };
    let before = owners(root);
    assert!(go(root, "DEL", "go2").0);
    assert_eq!(&before - &owners(root), BTreeSet::from(["go2".to_owned()]));
    assert_eq!(pool(root).release(&Owner::new("weft2", "eth0"), None).unwrap().len(), 2);
    assert_eq!(&before - &owners(root), BTreeSet::from(["go2".to_owned(), "weft2".to_owned()]));
    // Across: what one made the other can give back.
    assert!(go(root, "DEL", "weft3").0);
    assert_eq!(pool(root).release(&Owner::new("go3", "eth0"), None).unwrap().len(), 2);
    assert_eq!(owners(root).len(), 6);
}

#[test]
fn what_weft_leased_last_is_where_host_local_goes_on() {
    if absent() {
        return;
    }
    let root = TempDir::new().unwrap();
    let mut locked = pool(root.path()).lock(None).unwrap();
    assert!(locked.reserve(0, "10.1.2.9".parse().unwrap()).unwrap());
    locked.commit(&Owner::new("weft", "eth0")).unwrap();
    assert_eq!(go_add(root.path(), "go")[0].to_string(), "10.1.2.10");
    let locked = pool(root.path()).lock(None).unwrap();
    assert_eq!(locked.last_reserved(0).unwrap().unwrap().to_string(), "10.1.2.10");
    assert_eq!(locked.last_reserved(1).unwrap().unwrap().to_string(), "2001:db8:1::2");
}

#[test]
fn at_once_no_address_is_given_twice() {
    if absent() {
        return;
    }
    let root = TempDir::new().unwrap();
    let root = root.path();
    let all: Vec<IpAddr> = std::thread::scope(|scope| {
        let mut threads = Vec::new();
        for number in 0..6 {
            threads.push(scope.spawn(move || go_add(root, &format!("go{number}"))));
            threads.push(scope.spawn(move || ours(root, &format!("weft{number}"))));
        }
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), 24);
}
