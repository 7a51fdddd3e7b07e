//! A component that imports WASI, as those of languages with a library of their own do: it runs, and gets nothing by it.
//!
//! The guest comes from `tests/guests/wasi`, as a component in `WEFT_COMPONENTS` or the workspace's `target/components`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests and their helpers")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use weft_tests::lab::{
    HOME, Node, Plugins, Pod, Snapshot, Verb, assert_nothing_left_except_shared, isolated, skip_here,
};

/// Installs the guest; false: there is nothing to install, which was said.
fn install(node: &Node) -> bool {
    if !node.only_weft("components that import WASI") {
        return false;
    }
    let components = match std::env::var_os("WEFT_COMPONENTS") {
        Some(folder) => PathBuf::from(folder),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/components"),
    };
    let folder = Path::new(HOME).join("wasi");
    fs::create_dir_all(&folder).unwrap();
    if fs::copy(components.join("wasi.wasm"), folder.join("wasi.wasm")).is_err() {
        skip_here("no component wasi.wasm (build it with `cargo xtask guests`)");
        return false;
    }
    let Plugins::Weft(dist) = node.plugins() else { panic!("not weft") };
    let output = Command::new(dist.join("weftctl"))
        .args(["install", "--cni-bin-dir"])
        .arg(node.bin())
        .arg("--components")
        .arg(&folder)
        .output()
        .expect("weftctl starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    true
}

fn conf(exit: bool) -> Value {
    json!({"cniVersion": "1.0.0", "name": "n", "type": "multus", "logFile": "/run/lab/log", "logLevel": "verbose",
           "logToStderr": false, "delegates": [{"type": "wasi", "exit": exit}]})
}

#[test]
fn a_component_that_imports_wasi_finds_nothing_and_speaks_in_the_log() {
    isolated("a_component_that_imports_wasi_finds_nothing_and_speaks_in_the_log", |node| {
        if !install(node) {
            return;
        }
        let pod = Pod::new("pod");
        // Its own code compares: the process has an environment, arguments and directories.
        node.cni(Verb::Add, "multus", &conf(false), &pod, "eth0").ok();
        let log = fs::read_to_string("/run/lab/log").unwrap();
        assert!(log.contains("wasi: said by way of WASI\n"), "{log}");
        let del = node.cni(Verb::Del, "multus", &conf(false), &pod, "eth0");
        assert!(del.succeeded(), "{del}");
    });
}

#[test]
fn leaving_by_wasi_fails_the_request_and_not_weft() {
    isolated("leaving_by_wasi_fails_the_request_and_not_weft", |node| {
        if !install(node) {
            return;
        }
        let pod = Pod::new("pod");
        let before = Snapshot::take(node, &[&pod]);
        let error = node.cni(Verb::Add, "multus", &conf(true), &pod, "eth0").error();
        assert_eq!(error.code, 999, "{error:?}");
        assert!(error.message.contains("wasi") && error.message.contains("wasi:cli/exit@0.2.6#exit"), "{error:?}");
        assert_nothing_left_except_shared(&before, node, &[&pod], &[]);
    });
}
