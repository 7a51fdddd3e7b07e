//! Components that misbehave, and components that somebody laid hands on: each is one CNI error that names the
//! component, with nothing left behind.
//!
//! The guests come from `tests/guests`, as components in `WEFT_COMPONENTS` or the workspace's `target/components`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "tests and their helpers"
)]

use std::fs;
use std::io::{Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{FileExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use serde_json::{Value, json};
use weft_tests::lab::{
    HOME, Node, Plugins, Pod, Snapshot, Verb, assert_nothing_left_except_shared, ip, ip_json, isolated, skip_here,
};

/// Guests that `weftctl install` takes.
const GUESTS: [&str; 9] = [
    "allocate",
    "contradiction",
    "empty",
    "foreign-link",
    "huge-list",
    "huge-string",
    "loop-forever",
    "panic",
    "recurse",
];

fn weftctl(node: &Node, arguments: &[&str]) -> Output {
    let Plugins::Weft(dist) = node.plugins() else { panic!("not weft") };
    Command::new(dist.join("weftctl")).args(arguments).output().expect("weftctl starts")
}

/// The component of a guest, where the build leaves it.
fn guest(name: &str) -> Option<PathBuf> {
    let folder = match std::env::var_os("WEFT_COMPONENTS") {
        Some(folder) => PathBuf::from(folder),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/components"),
    };
    Some(folder.join(name).with_extension("wasm")).filter(|path| path.is_file())
}

/// A directory with some guests, for `weftctl install --components`; None: they aren't built, which was said.
fn folder_of(label: &str, names: &[&str]) -> Option<String> {
    let folder = Path::new(HOME).join(label);
    fs::create_dir_all(&folder).unwrap();
    for name in names {
        let Some(path) = guest(name) else {
            skip_here(&format!("no component {name}.wasm (build it with `cargo xtask guests`)"));
            return None;
        };
        fs::copy(path, folder.join(name).with_extension("wasm")).unwrap();
    }
    Some(folder.to_str().unwrap().to_owned())
}

/// Installs guests beside the components of the lab; false: there is nothing to install, which was said.
fn install(node: &Node, names: &[&str]) -> bool {
    if !node.only_weft("its sandbox") {
        return false;
    }
    let Some(folder) = folder_of("guests", names) else { return false };
    let bin = node.bin().to_str().unwrap();
    let output = weftctl(node, &["install", "--cni-bin-dir", bin, "--components", &folder]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    true
}

fn settings(node: &Node, settings: &Value) {
    fs::write(node.bin().join(".weft/settings.json"), settings.to_string()).unwrap();
}

/// A bridge that works, then the guest: what the first one would make must not stay.
fn conf(guest: &str, mut extra: Value) -> Value {
    extra["name"] = "hostile".into();
    extra["type"] = guest.into();
    json!({"cniVersion": "1.0.0", "name": "n", "type": "multus", "logFile": "/run/lab/log", "logLevel": "error",
           "logToStderr": false, "delegates": [
        {"name": "good", "type": "bridge", "bridge": "good0", "isGateway": true,
         "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.66.0.0/24"}]]}},
        extra]})
}

#[test]
fn a_misbehaving_component_is_one_error_and_leaves_nothing() {
    isolated("a_misbehaving_component_is_one_error_and_leaves_nothing", |node| {
        if !install(node, &GUESTS) {
            return;
        }
        let pod = Pod::new("pod");
        ip(node.netns(), "link add docker0 type bridge");
        ip(node.netns(), "addr add 172.17.0.1/16 dev docker0");
        ip(node.netns(), "link set docker0 up");
        let cases: &[(&str, Value, u64, &[&str])] = &[
            ("loop-forever", json!({}), 11, &["exceeded its", "deadline"]),
            ("allocate", json!({}), 999, &["exceeded its memory limit of 64 MiB"]),
            ("panic", json!({}), 999, &["crashed"]),
            ("recurse", json!({}), 999, &["exceeded its stack"]),
            ("huge-string", json!({}), 999, &["exceeded its memory limit"]),
            // It fits into the memory but not through the contract.
            ("huge-string", json!({"bytes": 20_000_000}), 999, &["broke the contract"]),
            ("huge-string", json!({"bytes": 1_000_000}), 999, &["broke the contract"]),
            ("huge-list", json!({}), 999, &["broke the contract"]),
            ("huge-list", json!({"items": 10_000}), 999, &["broke the contract"]),
            ("foreign-link", json!({}), 999, &["its plan is refused", "docker0"]),
            ("contradiction", json!({"way": "undeclared-label"}), 999, &["its plan is refused", "nowhere"]),
            ("contradiction", json!({"way": "same-name"}), 999, &["its plan is refused", "twice"]),
            ("contradiction", json!({"way": "same-label"}), 999, &["its plan is refused", "one"]),
            ("contradiction", json!({"way": "lonely-veth"}), 999, &["its plan is refused", "two"]),
            ("contradiction", json!({"way": "long-prefix"}), 999, &["33"]),
            ("contradiction", json!({"way": "missing-interface"}), 999, &["its plan is refused", "7"]),
            ("contradiction", json!({"way": "none"}), 7, &["/delegates/1/way"]),
        ];
        let before = Snapshot::take(node, &[&pod]);
        for (guest, extra, code, words) in cases {
            // Small only where it has to be waited for: the others may take their time on a busy machine.
            let deadline = if *guest == "loop-forever" { 200 } else { 60_000 };
            settings(node, &json!({"deadlineMilliseconds": deadline}));
            let outcome = node.cni(Verb::Add, "multus", &conf(guest, extra.clone()), &pod, "eth0");
            let error = outcome.error();
            assert_eq!(error.code, *code, "{guest} {extra}: {error:?}");
            assert!(error.message.contains(guest), "{guest} {extra}: not named: {error:?}");
            for word in *words {
                assert!(error.message.contains(word), "{guest} {extra}: no {word:?} in {error:?}");
            }
            assert!(error.message.len() < 1000, "{guest}: the error is {} bytes long", error.message.len());
            assert_eq!(outcome.stderr, "", "{guest} {extra}");
            assert_nothing_left_except_shared(&before, node, &[&pod], &[]);
        }
        let log = fs::read_to_string("/run/lab/log").unwrap();
        assert!(log.contains("panic") && log.contains("the guest gave up on pod"), "{log}");

        // The node is as good as before.
        settings(node, &json!({}));
        node.cni(Verb::Add, "multus", &conf("empty", json!({})), &pod, "eth0").ok();
        assert!(ip_json(pod.netns(), "link show").iter().any(|link| link["ifname"] == "eth0"));
        node.cni(Verb::Del, "multus", &conf("empty", json!({})), &pod, "eth0").ok();
        assert_nothing_left_except_shared(&before, node, &[&pod], &["good0"]);
    });
}

#[test]
fn what_cannot_be_linked_is_not_installed() {
    isolated("what_cannot_be_linked_is_not_installed", |node| {
        if !node.only_weft("its installer") {
            return;
        }
        for (name, word) in [("made-up-import", "guest:made-up/shell"), ("other-contract", "9.9.9")] {
            let Some(folder) = folder_of(name, &[name]) else { return };
            let bin = node.bin().to_str().unwrap();
            let output = weftctl(node, &["install", "--cni-bin-dir", bin, "--components", &folder]);
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(!output.status.success(), "{name} was installed");
            assert!(said.contains(name) && said.contains(word), "{name}: {said}");
            assert!(!node.bin().join(".weft/components").join(name).with_extension("wasm").exists(), "{name} stayed");
            // What was installed before still works.
            let pod = Pod::new("pod");
            let conf = json!({"cniVersion": "1.0.0", "name": "n", "type": "loopback"});
            node.cni(Verb::Add, "loopback", &conf, &pod, "lo").ok();
            node.cni(Verb::Del, "loopback", &conf, &pod, "lo").ok();
            let garbage = Path::new(HOME).join("garbage");
            fs::create_dir_all(&garbage).unwrap();
            fs::write(garbage.join("garbage.wasm"), b"\0asm but no more").unwrap();
            let output = weftctl(node, &["install", "--cni-bin-dir", bin, "--components", garbage.to_str().unwrap()]);
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(!output.status.success() && said.contains("garbage"), "{said}");
        }
    });
}

/// The index of an installed component.
fn index_of(node: &Node, name: &str) -> PathBuf {
    let engines = fs::read_dir(node.bin().join(".weft/index")).unwrap().map(|entry| entry.unwrap().path());
    let found: Vec<PathBuf> =
        engines.map(|engine| engine.join(format!("{name}.json"))).filter(|p| p.exists()).collect();
    let [index] = found.as_slice() else { panic!("{found:?}") };
    index.clone()
}

fn edit(index: &Path, to: &Path, change: impl FnOnce(&mut Value)) {
    let mut value: Value = serde_json::from_slice(&fs::read(index).unwrap()).unwrap();
    change(&mut value);
    fs::write(to, value.to_string()).unwrap();
}

/// What the installer refuses is refused again by weft, where the files were put there without it.
#[test]
fn what_was_put_there_by_hand_gets_no_more_than_the_gate_gives() {
    isolated("what_was_put_there_by_hand_gets_no_more_than_the_gate_gives", |node| {
        if !install(node, &["empty"]) {
            return;
        }
        let pod = Pod::new("pod");
        let before = Snapshot::take(node, &[&pod]);
        let index = index_of(node, "empty");
        let cases: [(&str, Value, Value, &[&str]); 3] = [
            ("shell", json!(["guest:made-up/shell@1.0.0"]), json!("0.1.0"), &["shell", "guest:made-up/shell"]),
            // An interface of the contract, but of another kind of component.
            ("greedy", json!(["weft:cni/leases@0.1.0"]), json!("0.1.0"), &["greedy", "leases", "granted by"]),
            ("later", json!([]), json!("9.9.9"), &["later", "9.9.9"]),
        ];
        for (name, imports, contract, words) in cases {
            fs::copy(
                node.bin().join(".weft/components/empty.wasm"),
                node.bin().join(format!(".weft/components/{name}.wasm")),
            )
            .unwrap();
            edit(&index, &index.with_file_name(format!("{name}.json")), |value| {
                value["type"] = name.into();
                value["imports"] = imports;
                value["contract"] = contract;
            });
            let error = node.cni(Verb::Add, "multus", &conf(name, json!({})), &pod, "eth0").error();
            for word in words {
                assert!(error.message.contains(word), "{name}: no {word:?} in {error:?}");
            }
            assert_nothing_left_except_shared(&before, node, &[&pod], &[]);
        }
    });
}

/// Does what an error recommends.
fn repair(node: &Node, message: &str) {
    let command = message.split('`').nth(1).unwrap_or_else(|| panic!("no command in {message:?}"));
    let output = match command.strip_prefix("weftctl ") {
        Some(arguments) => weftctl(node, &arguments.split(' ').collect::<Vec<_>>()),
        None => Command::new("sh").args(["-c", command]).output().expect("sh starts"),
    };
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn code_that_somebody_laid_hands_on_is_not_run_and_is_repaired_by_the_command_in_the_error() {
    isolated("code_that_somebody_laid_hands_on_is_not_run_and_is_repaired_by_the_command_in_the_error", |node| {
        if !install(node, &["empty"]) {
            return;
        }
        let pod = Pod::new("pod");
        let conf = json!({"cniVersion": "1.0.0", "name": "n", "type": "multus",
                          "delegates": [{"name": "hostile", "type": "empty"}]});
        let works = || {
            node.cni(Verb::Add, "multus", &conf, &pod, "eth0").ok();
            node.cni(Verb::Del, "multus", &conf, &pod, "eth0").ok();
        };
        works();
        let index = index_of(node, "empty");
        let code = || {
            let index: Value = serde_json::from_slice(&fs::read(&index).unwrap()).unwrap();
            node.bin().join(".weft/compiled").join(index["compiled"].as_str().unwrap())
        };
        let chmod = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        let write = |path: &Path| fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
        type Deed<'a> = Box<dyn Fn() + 'a>;
        let deeds: Vec<(&str, &str, Deed<'_>)> = vec![
            ("a flipped bit", "is not the file that was installed (its sha256", {
                Box::new(|| {
                    let file = write(&code());
                    let middle = file.metadata().unwrap().len() / 2;
                    let mut byte = [0];
                    file.read_exact_at(&mut byte, middle).unwrap();
                    file.write_all_at(&[byte[0] ^ 1], middle).unwrap();
                })
            }),
            ("truncated", "is not the file that was installed", { Box::new(|| write(&code()).set_len(1000).unwrap()) }),
            ("longer", "is not the file that was installed", {
                Box::new(|| {
                    let mut file = write(&code());
                    file.seek(SeekFrom::End(0)).unwrap();
                    file.write_all(b"more").unwrap();
                })
            }),
            ("gone", "is missing", Box::new(|| fs::remove_file(code()).unwrap())),
            ("group-writable", "can't be trusted", Box::new(|| chmod(&code(), 0o664))),
            ("a directory for all", "can't be trusted", Box::new(|| chmod(code().parent().unwrap(), 0o777))),
            ("a link", "can't be trusted: it is a symbolic link", {
                Box::new(|| {
                    let elsewhere = Path::new(HOME).join("elsewhere.cwasm");
                    fs::copy(code(), &elsewhere).unwrap();
                    fs::remove_file(code()).unwrap();
                    symlink(&elsewhere, code()).unwrap();
                })
            }),
            ("another engine", "was made for wasmtime 1", {
                Box::new(|| edit(&index, &index, |value| value["engine"] = "wasmtime 1".into()))
            }),
            ("no index", "was made for another engine", Box::new(|| fs::remove_file(&index).unwrap())),
            ("a later format", "index format 99", {
                Box::new(|| edit(&index, &index, |value| value["format"] = 99.into()))
            }),
            ("an index that is none", "not an index", Box::new(|| fs::write(&index, "{").unwrap())),
            ("an index for all", "can't be trusted", Box::new(|| chmod(&index, 0o666))),
        ];
        let before = Snapshot::take(node, &[&pod]);
        for (what, words, deed) in &deeds {
            deed();
            let error = node.cni(Verb::Add, "multus", &conf, &pod, "eth0").error();
            assert!(error.message.contains(words), "{what}: no {words:?} in {error:?}");
            // A directory is no single component's.
            let named = error.message.contains("empty") || error.message.starts_with("/run/lab/bin/.weft/compiled ");
            assert!(named, "{what}: not named: {error:?}");
            assert_nothing_left_except_shared(&before, node, &[&pod], &[]);
            repair(node, &error.message);
            works();
        }
    });
}

#[test]
fn a_file_system_that_runs_nothing_is_named() {
    isolated("a_file_system_that_runs_nothing_is_named", |node| {
        if !install(node, &["empty"]) {
            return;
        }
        let pod = Pod::new("pod");
        let before = Snapshot::take(node, &[&pod]);
        let directory = node.bin().join(".weft");
        let none = None::<&str>;
        mount(Some(&directory), &directory, none, MsFlags::MS_BIND, none).unwrap();
        let flags = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_NOEXEC;
        mount(none, &directory, none, flags, none).unwrap();
        let error = node.cni(Verb::Add, "multus", &conf("empty", json!({})), &pod, "eth0").error();
        assert!(error.message.contains("noexec") && error.message.contains(".cwasm"), "{error:?}");
        assert_nothing_left_except_shared(&before, node, &[&pod], &[]);
        umount2(&directory, MntFlags::empty()).unwrap();
        node.cni(Verb::Add, "multus", &conf("empty", json!({})), &pod, "eth0").ok();
    });
}

#[test]
fn settings_that_cannot_be_read_are_named_with_their_place() {
    isolated("settings_that_cannot_be_read_are_named_with_their_place", |node| {
        if !node.only_weft("its settings") {
            return;
        }
        let pod = Pod::new("pod");
        let before = Snapshot::take(node, &[&pod]);
        let path = node.bin().join(".weft/settings.json");
        let lo = json!({"cniVersion": "1.0.0", "name": "n", "type": "loopback"});
        for (text, words) in [
            ("{\n  \"nativePlugins\": no\n}", "line 2 column"),
            ("{\"deadlineMilliseconds\": \"long\"}", "/deadlineMilliseconds"),
            ("{\"allowedPaths\": \"/run\"}", "/allowedPaths"),
            ("{\"nativePlugin\": false}", "/nativePlugin"),
            ("[]", "an object"),
        ] {
            fs::write(&path, text).unwrap();
            let outcome = node.cni(Verb::Add, "loopback", &lo, &pod, "lo");
            assert!(!outcome.succeeded(), "{text} was taken");
            let error = outcome.error();
            let named = error.message.contains(path.to_str().unwrap());
            assert!(named && error.message.contains(words), "{text}: {error:?}");
            assert!(!error.message.contains("network configuration"), "{text}: {error:?}");
            assert_nothing_left_except_shared(&before, node, &[&pod], &[]);
        }
    });
}
