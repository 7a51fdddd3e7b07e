//! Bad input: for each wrong request the error that a user reads, as golden folders.
//!
//! ```text
//! tests/golden/input/<case>/config.json     the configuration on stdin; or, where it is no JSON, `stdin`
//!                          /env             NAME=VALUE, one a line, over the defaults; -NAME: not set at all;
//!                                           PLUGIN=NAME: under which name weft is called (default: multus)
//!                          /setup           a shell script that prepares the node, run inside it
//!                          /expected.json   the answer, whole
//! ```
//! `WEFT_GOLDEN=write` writes the expectations anew. Whatever the case, stdout holds exactly one JSON, stderr nothing,
//! and nothing is left behind.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "tests and their helpers"
)]

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use weft_tests::lab::{HOME, Node, Pod, Snapshot, isolated};

/// A case as it lies in its folder.
struct Case {
    name: String,
    folder: PathBuf,
    stdin: Vec<u8>,
    plugin: String,
    environment: BTreeMap<String, String>,
    setup: Option<PathBuf>,
}

impl Case {
    fn read(folder: PathBuf) -> Self {
        let stdin = ["config.json", "stdin"].iter().find_map(|name| fs::read(folder.join(name)).ok());
        let defaults = [
            ("CNI_COMMAND", "ADD"),
            ("CNI_CONTAINERID", "pod"),
            ("CNI_NETNS", "/run/netns/pod"),
            ("CNI_IFNAME", "eth0"),
            ("CNI_PATH", "/run/lab/bin"),
        ];
        let mut environment: BTreeMap<String, String> =
            defaults.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        for line in fs::read_to_string(folder.join("env")).unwrap_or_default().lines() {
            match (line.strip_prefix('-'), line.split_once('=')) {
                (Some(name), _) => drop(environment.remove(name)),
                (None, Some((name, value))) => drop(environment.insert(name.to_owned(), value.to_owned())),
                (None, None) => panic!("{}: env: {line:?} is no NAME=VALUE", folder.display()),
            }
        }
        Self {
            name: folder.file_name().unwrap().to_str().unwrap().to_owned(),
            stdin: stdin.unwrap_or_else(|| panic!("{}: neither config.json nor stdin", folder.display())),
            plugin: environment.remove("PLUGIN").unwrap_or_else(|| "multus".to_owned()),
            environment,
            setup: Some(folder.join("setup")).filter(|path| path.exists()),
            folder,
        }
    }

    fn prepare(&self) {
        if let Some(setup) = &self.setup {
            let output = Command::new("sh").arg("-eu").arg(setup).output().expect("sh starts");
            assert!(output.status.success(), "{}: setup: {}", self.name, String::from_utf8_lossy(&output.stderr));
        }
    }

    fn call(&self, node: &Node) -> Output {
        let mut command = Command::new(node.bin().join(&self.plugin));
        for (name, _) in std::env::vars_os() {
            if name.as_encoded_bytes().starts_with(b"CNI_") {
                command.env_remove(name);
            }
        }
        let mut child = command
            .envs(&self.environment)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // Refused by its environment alone, weft ends before it reads.
        let _ = child.stdin.take().unwrap().write_all(&self.stdin);
        child.wait_with_output().unwrap()
    }

    /// What is wrong with the answer, a line each.
    fn judge(&self, output: &Output) -> Vec<String> {
        let mut wrong = Vec::new();
        let (stdout, stderr) = (normal(&output.stdout), normal(&output.stderr));
        if output.status.code() != Some(1) {
            wrong.push(format!("{} instead of exit status 1", output.status));
        }
        if !stderr.is_empty() {
            wrong.push(format!("stderr is not empty: {stderr}"));
        }
        let Ok(found) = serde_json::from_str::<Value>(&stdout) else {
            wrong.push(format!("stdout is not one JSON: {stdout:?}"));
            return wrong;
        };
        let path = self.folder.join("expected.json");
        if std::env::var_os("WEFT_GOLDEN").is_some_and(|how| how == "write") {
            fs::write(&path, format!("{found:#}\n")).unwrap();
            return wrong;
        }
        let expected: Value = serde_json::from_slice(&fs::read(&path).unwrap_or_default()).unwrap_or_default();
        if found != expected {
            wrong.push(format!("found    {found}\n    expected {expected}"));
        }
        wrong
    }
}

/// Without what differs from machine to machine and call to call: where the test's own process stands in `/proc`.
fn normal(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes).replace(HOME, "/LAB");
    text.replace(&format!("/proc/{}/", std::process::id()), "/proc/PID/")
}

fn cases() -> Vec<Case> {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/input");
    let mut folders: Vec<PathBuf> = fs::read_dir(&golden).unwrap().map(|entry| entry.unwrap().path()).collect();
    folders.sort();
    folders.into_iter().filter(|folder| folder.is_dir()).map(Case::read).collect()
}

#[test]
fn each_wrong_request_gets_its_error_and_leaves_nothing() {
    isolated("each_wrong_request_gets_its_error_and_leaves_nothing", |node| {
        if !node.only_weft("its errors") {
            return;
        }
        let mut failures = Vec::new();
        let cases = cases();
        assert!(cases.len() > 40, "only {} cases", cases.len());
        for case in cases {
            let pod = Pod::new("pod");
            case.prepare();
            let before = Snapshot::take(node, &[&pod]).ignoring_shared(&[]);
            let mut wrong = case.judge(&case.call(node));
            let left = Snapshot::diff(&before, &Snapshot::take(node, &[&pod]).ignoring_shared(&[]));
            wrong.extend(left.into_iter().map(|line| format!("left behind: {line}")));
            failures.extend(wrong.into_iter().map(|line| format!("{}: {line}", case.name)));
        }
        assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n"));
    });
}

/// What stands in a golden file was looked at by a person once; these rules hold for every one that is added.
#[test]
fn each_expected_error_says_where_and_never_quotes_a_file() {
    for case in cases() {
        let text = fs::read_to_string(case.folder.join("expected.json"))
            .unwrap_or_else(|error| panic!("{}: expected.json: {error} (WEFT_GOLDEN=write makes it)", case.name));
        let error: Value = serde_json::from_str(&text).unwrap();
        let (code, message) = (error["code"].as_u64().unwrap(), error["msg"].as_str().unwrap());
        assert_ne!(code, 999, "{}: no internal error: {message}", case.name);
        assert!(!text.contains("SECRET"), "{}: the content of a file", case.name);
        if code == 7 {
            assert!(
                message.contains(" at ") && message.contains("found ") && message.contains("allowed: "),
                "{}: {message}",
                case.name
            );
        }
    }
}
