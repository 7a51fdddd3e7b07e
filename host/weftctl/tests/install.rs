//! install, compile, inspect and uninstall on a directory of executables, as a user runs them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests and their helpers")]

#[path = "../../engine/tests/support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use support::{delegate, delegate_with};
use weft_engine::{Clock, Directory, Engine, Grants};

struct Lab {
    root: tempfile::TempDir,
}

impl Lab {
    /// A release with two components, and a directory of executables with somebody else's `bridge` and `loopback`.
    fn new() -> Self {
        let lab = Self { root: tempfile::tempdir().unwrap() };
        fs::create_dir_all(lab.path("release/components")).unwrap();
        fs::create_dir(lab.path("bin")).unwrap();
        fs::write(lab.path("release/weft"), "weft 1").unwrap();
        fs::write(lab.path("release/components/bridge.wasm"), delegate("(i32.const 1024)")).unwrap();
        fs::write(lab.path("release/components/flannel.wasm"), delegate("(i32.const 1032)")).unwrap();
        fs::write(lab.path("release/components/flannel.grants.json"), r#"{"files": ["/run/flannel/subnet.env"]}"#)
            .unwrap();
        for name in ["bridge", "loopback"] {
            fs::write(lab.path("bin").join(name), format!("native {name}")).unwrap();
            fs::set_permissions(lab.path("bin").join(name), fs::Permissions::from_mode(0o751)).unwrap();
        }
        lab
    }

    fn path(&self, relative: &str) -> PathBuf {
        self.root.path().canonicalize().unwrap().join(relative)
    }

    fn run(&self, arguments: &[&str]) -> Result<String, String> {
        // A umask that would spoil everything.
        let output = Command::new("sh")
            .args(["-c", r#"umask 0077; exec "$@""#, "sh", env!("CARGO_BIN_EXE_weftctl")])
            .args(arguments)
            .current_dir(self.root.path())
            .output()
            .unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
    }

    fn install(&self, more: &[&str]) -> Result<String, String> {
        let always =
            ["install", "--cni-bin-dir", "bin", "--components", "release/components", "--weft", "release/weft"];
        self.run(&[&always, more].concat())
    }

    /// Every path under `bin` with what is there: mode and contents, or target. Not what is written differently each time.
    fn tree(&self) -> BTreeMap<PathBuf, String> {
        let mut found = BTreeMap::new();
        walk(&self.path("bin"), &mut found);
        found
    }

    fn directory(&self) -> Directory {
        Directory::in_bin_dir(&self.path("bin")).unwrap()
    }

    fn compiled(&self) -> usize {
        fs::read_dir(self.directory().compiled()).unwrap().count()
    }
}

fn walk(path: &Path, found: &mut BTreeMap<PathBuf, String>) {
    let metadata = fs::symlink_metadata(path).unwrap();
    let mode = metadata.permissions().mode() & 0o7777;
    if metadata.is_symlink() {
        found.insert(path.to_owned(), format!("-> {}", fs::read_link(path).unwrap().display()));
    } else if metadata.is_dir() {
        found.insert(path.to_owned(), format!("{mode:o}"));
        for entry in fs::read_dir(path).unwrap() {
            walk(&entry.unwrap().path(), found);
        }
    } else {
        found.insert(path.to_owned(), format!("{mode:o} {:?}", fs::read(path).unwrap()));
    }
}

#[test]
fn install_makes_the_directory_complete_and_uninstall_gives_it_back() {
    let lab = Lab::new();
    let before = lab.tree();
    lab.install(&["--replace", "bridge"]).unwrap();

    assert_eq!(fs::read_to_string(lab.path("bin/weft")).unwrap(), "weft 1");
    assert_eq!(fs::read_link(lab.path("bin/multus")).unwrap(), Path::new("weft"));
    assert_eq!(fs::read_link(lab.path("bin/bridge")).unwrap(), Path::new("weft"));
    assert_eq!(fs::read_to_string(lab.path("bin/.weft/originals/bridge")).unwrap(), "native bridge");
    assert_eq!(fs::read_to_string(lab.path("bin/loopback")).unwrap(), "native loopback");
    for (path, what) in lab.tree() {
        let relative = path.strip_prefix(lab.path("bin")).unwrap();
        let expected = match relative.to_str().unwrap() {
            "weft" => "755",
            "loopback" | ".weft/originals/bridge" => "751",
            _ if what.starts_with("->") => "->",
            _ if path.is_dir() => "755",
            _ => "644",
        };
        assert!(what.starts_with(expected), "{}: {what:.20}", path.display());
    }
    let engine = Engine::new(Clock::Thread).unwrap();
    let indices = lab.directory().list().unwrap();
    assert_eq!(indices.iter().map(|index| index.type_name.as_str()).collect::<Vec<_>>(), ["bridge", "flannel"]);
    assert_eq!(indices[1].grants, [Path::new("/run/flannel/subnet.env")]);
    for index in indices {
        engine.load(&lab.directory(), &index, &Grants::usual(index.kind)).unwrap();
    }

    lab.run(&["uninstall", "--cni-bin-dir", "bin"]).unwrap();
    assert_eq!(lab.tree(), before);
    let error = lab.run(&["uninstall", "--cni-bin-dir", "bin"]).unwrap_err();
    assert!(error.contains("weft is not installed in bin"), "{error}");
}

#[test]
fn installing_again_changes_nothing() {
    let lab = Lab::new();
    lab.install(&["--replace", "bridge"]).unwrap();
    let before = lab.tree();
    let report: Value =
        serde_json::from_str(&lab.install(&["--replace", "bridge", "--output", "json"]).unwrap()).unwrap();
    assert_eq!(lab.tree(), before);
    assert!(
        report["components"].as_array().unwrap().iter().all(|component| component["compiled"] == false),
        "{report}"
    );
    assert_eq!(report["executables"]["bridge"], "unchanged");
    // Not mentioned is not undone.
    lab.install(&[]).unwrap();
    assert_eq!(lab.tree(), before);
}

#[test]
fn an_upgrade_keeps_the_previous_generation_and_drops_older_ones() {
    let lab = Lab::new();
    lab.install(&[]).unwrap();
    let first = lab.directory().find("bridge").unwrap().unwrap().compiled;
    let mut generations = vec![first];
    for constant in ["1040", "1048"] {
        fs::write(lab.path("release/components/bridge.wasm"), delegate(&format!("(i32.const {constant})"))).unwrap();
        fs::write(lab.path("release/weft"), format!("weft {constant}")).unwrap();
        lab.install(&[]).unwrap();
        generations.push(lab.directory().find("bridge").unwrap().unwrap().compiled);
    }
    assert_eq!(fs::read_to_string(lab.path("bin/weft")).unwrap(), "weft 1048");
    let there = |name: &String| lab.directory().compiled().join(name).exists();
    assert_eq!(generations.iter().map(there).collect::<Vec<_>>(), [false, true, true]);
    assert_eq!(lab.compiled(), 3);
}

#[test]
fn what_somebody_else_put_there_is_left_alone() {
    let lab = Lab::new();
    fs::write(lab.path("bin/multus"), "native multus").unwrap();
    let report: Value =
        serde_json::from_str(&lab.install(&["--replace", "bridge", "--output", "json"]).unwrap()).unwrap();
    assert_eq!(report["executables"]["multus"], "left-alone");
    // A package manager brings its bridge back.
    fs::remove_file(lab.path("bin/bridge")).unwrap();
    fs::write(lab.path("bin/bridge"), "native bridge 2").unwrap();
    let text = lab.run(&["uninstall", "--cni-bin-dir", "bin"]).unwrap();
    assert!(text.contains("bin/bridge: left alone"), "{text}");
    assert_eq!(fs::read_to_string(lab.path("bin/bridge")).unwrap(), "native bridge 2");
    assert_eq!(fs::read_to_string(lab.path("bin/multus")).unwrap(), "native multus");
    assert_eq!(fs::read_to_string(lab.path("bin/.weft/originals/bridge")).unwrap(), "native bridge");
}

#[test]
fn what_an_interrupted_install_left_is_finished_or_undone() {
    let lab = Lab::new();
    let before = lab.tree();
    lab.install(&["--replace", "bridge"]).unwrap();
    let complete = lab.tree();
    // Kept but not yet replaced, with a file half written.
    fs::remove_file(lab.path("bin/bridge")).unwrap();
    fs::hard_link(lab.path("bin/.weft/originals/bridge"), lab.path("bin/bridge")).unwrap();
    fs::write(lab.path("bin/.weft.123.tmp"), "we").unwrap();
    fs::write(lab.path("bin/.weft/compiled/.x.cwasm.123.tmp"), "x").unwrap();
    lab.install(&["--replace", "bridge"]).unwrap();
    assert_eq!(lab.tree(), complete);

    fs::remove_file(lab.path("bin/bridge")).unwrap();
    fs::hard_link(lab.path("bin/.weft/originals/bridge"), lab.path("bin/bridge")).unwrap();
    lab.run(&["uninstall", "--cni-bin-dir", "bin"]).unwrap();
    assert_eq!(lab.tree(), before);
}

#[test]
fn nothing_is_changed_where_something_is_wrong() {
    let lab = Lab::new();
    let before = lab.tree();
    let wrong = |arguments: &[&str], text: &str| {
        let error = lab.run(arguments).unwrap_err();
        assert!(error.contains(text), "{error}");
    };
    wrong(
        &["install", "--cni-bin-dir", "bin", "--components", "release/components", "--weft", "nowhere/weft"],
        "nowhere/weft: the weft to install; name it with --weft",
    );
    wrong(
        &["install", "--cni-bin-dir", "bin", "--components", "nowhere", "--weft", "release/weft"],
        "nowhere is not a directory of components",
    );
    wrong(&["compile", "--cni-bin-dir", "bin"], "weft is not installed in bin");
    assert_eq!(lab.tree(), before);
    let error = lab.install(&["--replace", "bridge,ptp"]).unwrap_err();
    assert!(
        error.contains("--replace ptp: no component serves that type; weft can replace multus, bridge, flannel"),
        "{error}"
    );
    assert_eq!(fs::read_to_string(lab.path("bin/bridge")).unwrap(), "native bridge");
    assert!(!lab.path("bin/weft").exists());
}

#[test]
fn compile_makes_what_is_missing() {
    let lab = Lab::new();
    lab.install(&[]).unwrap();
    let compiled = lab.directory().compiled().join(lab.directory().find("bridge").unwrap().unwrap().compiled);
    let code = fs::read(&compiled).unwrap();
    fs::remove_file(&compiled).unwrap();
    let text = lab.run(&["compile", "--cni-bin-dir", "bin", "bridge"]).unwrap();
    assert!(text.starts_with("bridge (delegate, uses nothing): compiled in "), "{text}");
    assert_eq!(fs::read(&compiled).unwrap(), code);
    let text = lab.run(&["compile", "--cni-bin-dir", "bin"]).unwrap();
    assert_eq!(text, "bridge (delegate, uses nothing): in order\nflannel (delegate, uses nothing): in order\n");
    assert_eq!(lab.directory().find("flannel").unwrap().unwrap().grants.len(), 1);
    let error = lab.run(&["compile", "--cni-bin-dir", "bin", "ptp"]).unwrap_err();
    assert!(error.contains("no component ptp is installed in bin; there are: bridge, flannel"), "{error}");
}

#[test]
fn inspect_shows_what_a_component_could_do() {
    let lab = Lab::new();
    let wasm = delegate_with(
        r#"(import "weft:cni/log@0.1.0" "write" (func $log (param i32 i32 i32)))"#,
        "(call $log (i32.const 0) (i32.const 0) (i32.const 0)) (i32.const 1024)",
    );
    fs::write(lab.path("talker.wasm"), &wasm).unwrap();
    let report: Value =
        serde_json::from_str(&lab.run(&["inspect", "talker.wasm", "--output", "json"]).unwrap()).unwrap();
    assert_eq!(report["type"], "talker");
    assert_eq!(report["kind"], "delegate");
    assert_eq!(report["contract"], "0.1.0");
    assert_eq!(report["problem"], Value::Null);
    assert_eq!(report["size"], wasm.len());
    assert_eq!(report["imports"][0]["capability"], "log");
    assert_eq!(report["imports"][0]["functions"][0], "write");
    assert_eq!(report["imports"].as_array().unwrap().len(), 1);

    lab.install(&[]).unwrap();
    let text = lab.run(&["inspect", "flannel", "--cni-bin-dir", "bin"]).unwrap();
    for line in ["component   flannel (delegate)", "could call  nothing", "may read    /run/flannel/subnet.env"] {
        assert!(text.contains(line), "{text}");
    }
    assert!(!text.contains("problem"), "{text}");
    fs::write(lab.directory().compiled().join(lab.directory().find("flannel").unwrap().unwrap().compiled), "?")
        .unwrap();
    let text = lab.run(&["inspect", "flannel", "--cni-bin-dir", "bin"]).unwrap();
    assert!(text.contains("is not the file that was installed"), "{text}");
    let error = lab.run(&["inspect", "ptp", "--cni-bin-dir", "bin"]).unwrap_err();
    assert!(error.contains("no component ptp is installed in bin"), "{error}");
}

#[test]
fn completions_are_printed() {
    let script = Lab::new().run(&["completions", "bash"]).unwrap();
    assert!(script.contains("uninstall"));
}
