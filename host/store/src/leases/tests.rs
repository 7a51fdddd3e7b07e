use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use tempfile::TempDir;

use super::*;

/// In memory where there is such a file system: a disk makes tests that do much wait.
fn directory() -> TempDir {
    TempDir::new_in("/dev/shm").or_else(|_| TempDir::new()).unwrap()
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn ips(texts: &[&str]) -> Vec<IpAddr> {
    texts.iter().copied().map(ip).collect()
}

fn owner(id: &str) -> Owner {
    Owner::new(id, "eth0")
}

fn pool(root: &TempDir) -> Pool {
    Pool::open(root.path(), "net", &Boot::fixed("boot-1", None)).unwrap()
}

fn lease(pool: &Pool, owner: &Owner, addresses: &[&str]) {
    let mut locked = pool.lock(None).unwrap();
    for (set, address) in (0..).zip(addresses) {
        assert!(locked.reserve(set, ip(address)).unwrap());
    }
    assert_eq!(locked.commit(owner).unwrap(), ips(addresses));
}

fn files(root: &TempDir) -> Vec<String> {
    let entries = fs::read_dir(root.path().join("net")).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_lease_is_the_file_host_local_would_have_made() {
    let root = directory();
    lease(&pool(&root), &owner("c1"), &["10.1.2.2", "2001:db8:1::2"]);
    let names = [".weft-boot", "10.1.2.2", "2001:db8:1::2", "last_reserved_ip.0", "last_reserved_ip.1", "lock"];
    assert_eq!(files(&root), names);
    let read = |name: &str| fs::read_to_string(root.path().join("net").join(name)).unwrap();
    assert_eq!(read("10.1.2.2"), "c1\r\neth0");
    assert_eq!(read("2001:db8:1::2"), "c1\r\neth0");
    assert_eq!(read("last_reserved_ip.1"), "2001:db8:1::2");
    let locked = pool(&root).lock(None).unwrap();
    assert_eq!(locked.last_reserved(0).unwrap(), Some(ip("10.1.2.2")));
    assert_eq!(locked.last_reserved(2).unwrap(), None);
    assert_eq!(locked.held(&owner("c1")).unwrap(), ips(&["10.1.2.2", "2001:db8:1::2"]));
}

#[test]
fn the_lowest_free_address_sees_leases_and_this_transaction() {
    let root = directory();
    let pool = pool(&root);
    let first_free = |locked: &mut Locked, first: &str, last: &str| locked.first_free(ip(first), ip(last)).unwrap();
    let mut locked = pool.lock(None).unwrap();
    for last in 2..40 {
        assert_eq!(first_free(&mut locked, "10.0.0.2", "10.0.0.40"), Some(ip(&format!("10.0.0.{last}"))));
        assert!(locked.reserve(0, ip(&format!("10.0.0.{last}"))).unwrap());
        assert!(!locked.reserve(0, ip(&format!("10.0.0.{last}"))).unwrap());
    }
    assert_eq!(locked.reservations().len(), 38);
    locked.commit(&owner("c")).unwrap();
    let mut locked = pool.lock(None).unwrap();
    assert_eq!(locked.last_reserved(0).unwrap(), Some(ip("10.0.0.39")));
    assert_eq!(first_free(&mut locked, "10.0.0.2", "10.0.0.40"), Some(ip("10.0.0.40")));
    assert_eq!(first_free(&mut locked, "10.0.0.2", "10.0.0.39"), None);
    locked.release_ips(&owner("c"), &ips(&["10.0.0.20"])).unwrap();
    assert_eq!(first_free(&mut locked, "10.0.0.2", "10.0.0.39"), Some(ip("10.0.0.20")));
    assert_eq!(first_free(&mut locked, "10.0.0.9", "10.0.0.2"), None, "the wrong order");
    assert_eq!(first_free(&mut locked, "10.0.0.2", "::9"), None, "two families");
    let end = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";
    assert!(locked.reserve(1, ip(end)).unwrap());
    assert_eq!(first_free(&mut locked, end, end), None);
    assert!(locked.reserve(0, ip("255.255.255.255")).unwrap());
    assert_eq!(first_free(&mut locked, "255.255.255.255", "255.255.255.255"), None);
    assert_eq!(first_free(&mut locked, "::5", "::9"), Some(ip("::5")), "small IPv6 numbers stay IPv6");
    assert!(!locked.is_free(ip("::ffff:10.0.0.2")).unwrap(), "an IPv4 address in IPv6 form");
}

#[test]
fn nothing_is_leased_before_commit_and_an_uncommitted_transaction_is_forgotten() {
    let root = directory();
    let mut locked = pool(&root).lock(None).unwrap();
    locked.reserve(0, ip("10.0.0.2")).unwrap();
    drop(locked);
    assert_eq!(files(&root), [".weft-boot", "lock"]);
    assert!(pool(&root).lock(None).unwrap().is_free(ip("10.0.0.2")).unwrap());
}

#[test]
fn release_takes_exactly_this_owners_leases_and_any_number_of_times() {
    let root = directory();
    let pool = pool(&root);
    lease(&pool, &owner("c1"), &["10.0.0.2"]);
    lease(&pool, &Owner::new("c1", "net1"), &["10.0.0.3"]);
    lease(&pool, &owner("c2"), &["10.0.0.4"]);
    let put = |name: &str, content: &str| fs::write(root.path().join("net").join(name), content).unwrap();
    put("10.0.0.5", " c1 \r\n eth0 \n");
    put("10.0.0.6", "legacy\n");
    assert_eq!(pool.release(&owner("c1"), None).unwrap(), ips(&["10.0.0.2", "10.0.0.5"]));
    assert_eq!(pool.release(&owner("c1"), None).unwrap(), ips(&[]));
    assert_eq!(pool.release(&owner("nobody"), None).unwrap(), ips(&[]));
    assert_eq!(pool.release(&owner("legacy"), None).unwrap(), ips(&["10.0.0.6"]));
    let mut locked = pool.lock(None).unwrap();
    assert_eq!(locked.release_ips(&owner("c2"), &ips(&["10.0.0.3", "10.0.0.9"])).unwrap(), ips(&[]), "not its own");
    assert_eq!(locked.release_ips(&owner("c2"), &ips(&["10.0.0.4"])).unwrap(), ips(&["10.0.0.4"]));
    assert_eq!(locked.leases().unwrap(), [Lease { ip: ip("10.0.0.3"), owner: Owner::new("c1", "net1") }]);
}

#[test]
fn a_legacy_lease_of_one_interface_outlives_another_interface_of_its_container() {
    let root = directory();
    let pool = pool(&root);
    lease(&pool, &Owner::new("c1", "net1"), &["10.0.0.3"]);
    fs::write(root.path().join("net/10.0.0.2"), "c1").unwrap();
    assert_eq!(pool.release(&Owner::new("c1", "net1"), None).unwrap(), ips(&["10.0.0.3"]));
    assert_eq!(pool.release(&owner("c1"), None).unwrap(), ips(&["10.0.0.2"]));
}

#[test]
fn collect_keeps_valid_owners_and_what_is_not_a_lease() {
    let root = directory();
    let pool = pool(&root);
    let put = |name: &str, content: &str| fs::write(root.path().join("net").join(name), content).unwrap();
    for (id, address) in [("c1", "10.0.0.2"), ("c2", "10.0.0.3"), ("gone", "fd00::4")] {
        lease(&pool, &owner(id), &[address]);
    }
    put("10.0.0.5", "c1");
    put("10.0.0.6", "gone");
    put("10.0.0.7", "");
    put("README", "gone\r\neth0");
    fs::create_dir(root.path().join("net/sub")).unwrap();
    fs::create_dir(root.path().join("net/10.0.0.8")).unwrap();
    let released = pool.lock(None).unwrap().collect(&[owner("c1"), owner("c2")]).unwrap();
    assert_eq!(released, ips(&["10.0.0.6", "10.0.0.7", "fd00::4"]));
    let released = pool.lock(None).unwrap().collect(&[]).unwrap();
    assert_eq!(released, ips(&["10.0.0.2", "10.0.0.3", "10.0.0.5"]));
    assert_eq!(files(&root), [".weft-boot", "10.0.0.8", "README", "last_reserved_ip.0", "lock", "sub"]);
}

#[test]
fn an_address_taken_without_the_lock_undoes_the_commit() {
    let root = directory();
    let mut locked = pool(&root).lock(None).unwrap();
    locked.reserve(0, ip("10.0.0.2")).unwrap();
    locked.reserve(1, ip("10.0.0.3")).unwrap();
    fs::write(root.path().join("net/10.0.0.3"), "rude\r\neth0").unwrap();
    let error = locked.commit(&owner("c1")).unwrap_err();
    assert!(matches!(error, Error::Taken { ip: taken, .. } if taken == ip("10.0.0.3")));
    let locked = pool(&root).lock(None).unwrap();
    assert_eq!(locked.leases().unwrap(), [Lease { ip: ip("10.0.0.3"), owner: owner("rude") }]);
    assert!(!root.path().join("net/.weft-tmp").exists());
}

#[test]
fn names_that_are_not_names_are_refused() {
    let boot = Boot::fixed("b", None);
    for name in ["", ".", "..", "a/b", "../x", "a\0b"] {
        assert!(matches!(Pool::open(Path::new("/nowhere"), name, &boot), Err(Error::Name(_))), "{name:?}");
    }
    let root = directory();
    for bad in [Owner::new("", "eth0"), Owner::new("a\r\nb", "eth0"), Owner::new("a", "e\nf")] {
        let mut locked = pool(&root).lock(None).unwrap();
        locked.reserve(0, ip("10.0.0.2")).unwrap();
        assert!(matches!(locked.commit(&bad), Err(Error::Owner { .. })));
    }
    assert_eq!(files(&root), [".weft-boot", "lock"]);
}

#[test]
fn what_a_killed_process_left_is_removed_by_the_next() {
    let root = directory();
    let pool = pool(&root);
    lease(&pool, &owner("c1"), &["10.0.0.2"]);
    // Killed between the link and the removal of the first name: truncating that would empty the lease.
    fs::hard_link(root.path().join("net/10.0.0.2"), root.path().join("net/.weft-tmp")).unwrap();
    lease(&pool, &owner("c2"), &["10.0.0.3"]);
    assert_eq!(fs::read_to_string(root.path().join("net/10.0.0.2")).unwrap(), "c1\r\neth0");
    assert!(!root.path().join("net/.weft-tmp").exists());
}

/// Sets when a lease was written, counted from now.
fn age(root: &TempDir, name: &str, seconds: u64) {
    let file = fs::File::options().write(true).open(root.path().join("net").join(name)).unwrap();
    file.set_modified(SystemTime::now() - Duration::from_secs(seconds)).unwrap();
}

#[test]
fn the_first_transaction_of_a_boot_clears_away_what_is_certainly_older() {
    let root = directory();
    lease(&pool(&root), &owner("old"), &["10.0.0.2"]);
    lease(&pool(&root), &owner("new"), &["10.0.0.3"]);
    age(&root, "10.0.0.2", 1000);
    age(&root, "last_reserved_ip.0", 1000);
    let certain = Some(SystemTime::now() - Duration::from_secs(500));
    let pool = |id: &str, before| Pool::open(root.path(), "net", &Boot::fixed(id, before)).unwrap();

    let mut dry = pool("boot-2", certain).peek(None).unwrap();
    assert_eq!(dry.first_free(ip("10.0.0.2"), ip("10.0.0.9")).unwrap(), Some(ip("10.0.0.2")));
    assert!(dry.reserve(0, ip("10.0.0.2")).unwrap() && !dry.is_free(ip("10.0.0.3")).unwrap());
    assert_eq!(dry.leases().unwrap().len(), 1);
    drop(dry);
    assert!(root.path().join("net/10.0.0.2").exists(), "a dry run removes nothing");

    // In doubt everything stays; and it is asked once a boot.
    assert!(!pool("boot-2", None).lock(None).unwrap().is_free(ip("10.0.0.2")).unwrap());
    assert!(!pool("boot-2", certain).lock(None).unwrap().is_free(ip("10.0.0.2")).unwrap());
    assert!(!pool("boot-2", certain).peek(None).unwrap().is_free(ip("10.0.0.2")).unwrap());

    let locked = pool("boot-3", certain).lock(None).unwrap();
    assert_eq!(locked.leases().unwrap(), [Lease { ip: ip("10.0.0.3"), owner: owner("new") }]);
    assert_eq!(locked.last_reserved(0).unwrap(), Some(ip("10.0.0.3")));
    assert_eq!(fs::read_to_string(root.path().join("net/.weft-boot")).unwrap(), "boot-3");
}

#[test]
fn looking_and_releasing_make_nothing() {
    let root = directory();
    let pool = pool(&root);
    let mut dry = pool.peek(None).unwrap();
    assert_eq!(dry.first_free(ip("10.0.0.2"), ip("10.0.0.9")).unwrap(), Some(ip("10.0.0.2")));
    assert!(dry.reserve(0, ip("10.0.0.2")).unwrap());
    assert_eq!(dry.first_free(ip("10.0.0.2"), ip("10.0.0.9")).unwrap(), Some(ip("10.0.0.3")));
    assert_eq!(dry.last_reserved(0).unwrap(), None);
    assert_eq!(pool.release(&owner("c"), None).unwrap(), ips(&[]));
    assert!(!root.path().join("net").exists());
}

#[test]
fn a_data_directory_that_is_a_link_to_nowhere_is_an_error() {
    let root = directory();
    std::os::unix::fs::symlink("nowhere", root.path().join("net")).unwrap();
    let Err(Error::Io { path, .. }) = pool(&root).lock(None) else { panic!("no error") };
    assert_eq!(path, root.path().join("net"));
}

#[test]
fn a_directory_that_is_there_keeps_its_mode() {
    use std::os::unix::fs::PermissionsExt as _;
    let root = directory();
    let mode = |name: &str| fs::metadata(root.path().join(name)).unwrap().permissions().mode() & 0o7777;
    fs::create_dir(root.path().join("net")).unwrap();
    fs::set_permissions(root.path().join("net"), fs::Permissions::from_mode(0o755)).unwrap();
    drop(pool(&root).lock(None).unwrap());
    assert_eq!(mode("net"), 0o755);
    drop(Pool::open(&root.path().join("made"), "net", &Boot::fixed("b", None)).unwrap().lock(None).unwrap());
    assert_eq!((mode("made"), mode("made/net"), mode("made/net/lock")), (0o700, 0o700, 0o600));
}

#[test]
fn those_who_lease_at_once_get_distinct_addresses() {
    let root = directory();
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let pool = pool(&root);
            scope.spawn(move || {
                for round in 0..30 {
                    let mut locked = pool.lock(None).unwrap();
                    let free = locked.first_free(ip("10.0.0.0"), ip("10.0.255.255")).unwrap().unwrap();
                    assert!(locked.reserve(0, free).unwrap());
                    assert_eq!(locked.commit(&owner(&format!("c{thread}-{round}"))).unwrap(), [free]);
                }
            });
        }
    });
    let leases = pool(&root).lock(None).unwrap().leases().unwrap();
    let owners: BTreeSet<_> = leases.iter().map(|lease| lease.owner.container_id.clone()).collect();
    assert_eq!((leases.len(), owners.len()), (240, 240));
    assert_eq!(leases.last().unwrap().ip, ip("10.0.0.239"), "no gaps");
}

#[test]
fn a_pool_that_is_locked_is_busy_when_time_is_up() {
    let root = directory();
    let held = pool(&root).lock(None).unwrap();
    assert!(
        matches!(pool(&root).lock(Some(Instant::now())), Err(Error::Busy { path, .. }) if path.ends_with("net/lock"))
    );
    assert!(matches!(pool(&root).peek(Some(Instant::now())), Err(Error::Busy { .. })));
    drop(held);
    let _dry = pool(&root).peek(None).unwrap();
    assert!(pool(&root).peek(Some(Instant::now())).is_ok(), "dry runs share");
}

#[derive(Clone, Debug)]
enum Act {
    Lease { owner: u8, addresses: Vec<u8>, commit: bool },
    FirstFree { owner: u8, count: u8, commit: bool },
    Release(u8),
    Collect(Vec<u8>),
}

fn act() -> impl Strategy<Value = Act> {
    let addresses = proptest::collection::vec(0_u8..24, 1..4);
    prop_oneof![
        (0_u8..6, addresses, any::<bool>()).prop_map(|(owner, addresses, commit)| Act::Lease {
            owner,
            addresses,
            commit
        }),
        (0_u8..6, 1_u8..12, any::<bool>()).prop_map(|(owner, count, commit)| Act::FirstFree { owner, count, commit }),
        (0_u8..6).prop_map(Act::Release),
        proptest::collection::vec(0_u8..6, 0..5).prop_map(Act::Collect),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, rng_seed: RngSeed::Fixed(11), ..ProptestConfig::default() })]

    /// Against a map from address to owner; a transaction that isn't committed is one whose process was killed.
    #[test]
    fn a_pool_does_what_a_map_does(acts in proptest::collection::vec(act(), 1..25), v6 in any::<bool>()) {
        let root = directory();
        let pool = pool(&root);
        let address = |number: u8| ip(&if v6 { format!("fd00::{number:x}") } else { format!("10.0.0.{number}") });
        let name = |number: u8| owner(&format!("c{number}"));
        let mut model: BTreeMap<IpAddr, u8> = BTreeMap::new();
        let mut last = None;
        for act in acts {
            let mut locked = pool.lock(None).unwrap();
            let mut wanted: Vec<IpAddr> = Vec::new();
            let (who, commit) = match act {
                Act::Lease { owner, addresses, commit } => {
                    for number in addresses {
                        let free = !model.contains_key(&address(number)) && !wanted.contains(&address(number));
                        prop_assert_eq!(locked.reserve(0, address(number)).unwrap(), free);
                        wanted.extend(free.then(|| address(number)));
                    }
                    (owner, commit)
                }
                Act::FirstFree { owner, count, commit } => {
                    for _ in 0..count {
                        let lowest = (0..24).map(address).find(|ip| !model.contains_key(ip) && !wanted.contains(ip));
                        prop_assert_eq!(locked.first_free(address(0), address(23)).unwrap(), lowest);
                        if let Some(lowest) = lowest {
                            prop_assert!(locked.reserve(0, lowest).unwrap());
                            wanted.push(lowest);
                        }
                    }
                    (owner, commit)
                }
                Act::Release(owner) => {
                    let gone: Vec<_> = model.iter().filter(|(_, who)| **who == owner).map(|(ip, _)| *ip).collect();
                    prop_assert_eq!(locked.release(&name(owner)).unwrap(), gone);
                    model.retain(|_, who| *who != owner);
                    (owner, false)
                }
                Act::Collect(valid) => {
                    let owners: Vec<_> = valid.iter().copied().map(name).collect();
                    let gone: Vec<_> = model.iter().filter(|(_, who)| !valid.contains(who)).map(|(ip, _)| *ip).collect();
                    prop_assert_eq!(locked.collect(&owners).unwrap(), gone);
                    model.retain(|_, who| valid.contains(who));
                    (0, false)
                }
            };
            if commit {
                last = wanted.last().copied().or(last);
                prop_assert_eq!(&locked.commit(&name(who)).unwrap(), &wanted);
                model.extend(wanted.into_iter().map(|ip| (ip, who)));
            } else {
                drop(locked);
            }
            let locked = pool.lock(None).unwrap();
            let leases = locked.leases().unwrap();
            let seen: BTreeMap<_, _> = leases.into_iter().map(|lease| (lease.ip, lease.owner)).collect();
            let expected: BTreeMap<_, _> = model.iter().map(|(ip, who)| (*ip, name(*who))).collect();
            prop_assert_eq!(seen, expected);
            prop_assert_eq!(locked.last_reserved(0).unwrap(), last);
        }
    }
}
