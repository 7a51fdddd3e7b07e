//! Modes don't depend on the umask. One test in a process of its own: the umask is the process's.

#![allow(clippy::unwrap_used, reason = "tests, and their helpers")]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use nix::sys::stat::{Mode, umask};
use weft_store::{Boot, Key, Owner, Pool, State};

fn check(path: &Path) {
    for entry in fs::read_dir(path).unwrap() {
        let path = entry.unwrap().path();
        let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o7777;
        if path.is_dir() {
            assert_eq!(mode, 0o700, "{}", path.display());
            check(&path);
        } else {
            assert_eq!(mode, 0o600, "{}", path.display());
        }
    }
}

#[test]
fn directories_are_0700_and_files_0600() {
    for mask in [0, 0o022, 0o077, 0o277, 0o777] {
        let root = tempfile::TempDir::new().unwrap();
        let before = umask(Mode::from_bits_truncate(mask));
        let boot = Boot::fixed("boot", None);
        let state = State::with_boot(&root.path().join("deep/weft"), boot.clone());
        let text = str::to_owned;
        let key = |id| Key { network: text("n"), container_id: text(id), ifname: text("eth0"), kind: text("bridge") };
        let mut attachment = state.lock::<u32>(&key("a"), None).unwrap();
        attachment.append(&1).unwrap();
        let mut other = state.lock::<u32>(&key("b"), None).unwrap();
        other.append(&1).unwrap();
        other.restart().unwrap();
        state.share(None).unwrap().record(&1).unwrap();
        let mut locked = Pool::open(&root.path().join("deep/leases"), "n", &boot).unwrap().lock(None).unwrap();
        assert!(locked.reserve(0, "10.0.0.2".parse().unwrap()).unwrap());
        locked.commit(&Owner::new("a", "eth0")).unwrap();
        umask(before);
        check(root.path());
        assert!(attachment.path().exists());
    }
}
