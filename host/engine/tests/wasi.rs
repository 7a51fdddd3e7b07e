//! Components that import WASI: what they are told, and what they can't do.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use std::path::Path;

use support::{MEMORY, component_of, request};
use weft_contract::log::Level;
use weft_engine::{CallError, Clock, Engine, Grants, Host, Kind, Limits};

/// The interfaces of WASI that the guests here import, as they are published.
const WASI: &[(&str, &str)] = &[
    (
        "cli",
        "package wasi:cli@0.2.3;
        interface environment {
            get-environment: func() -> list<tuple<string, string>>;
            get-arguments: func() -> list<string>;
            initial-cwd: func() -> option<string>;
        }
        interface exit { exit: func(status: result); }
        interface stdin { use wasi:io/streams@0.2.3.{input-stream}; get-stdin: func() -> input-stream; }
        interface stderr { use wasi:io/streams@0.2.3.{output-stream}; get-stderr: func() -> output-stream; }",
    ),
    (
        "filesystem",
        "package wasi:filesystem@0.2.3;
        interface types { resource descriptor { sync: func() -> result; } }
        interface preopens { use types.{descriptor}; get-directories: func() -> list<tuple<descriptor, string>>; }",
    ),
    (
        "io",
        "package wasi:io@0.2.3;
        interface error { resource error { to-debug-string: func() -> string; } }
        interface streams {
            use error.{error};
            variant stream-error { last-operation-failed(error), closed }
            resource input-stream { blocking-read: func(len: u64) -> result<list<u8>, stream-error>; }
            resource output-stream {
                check-write: func() -> result<u64, stream-error>;
                blocking-write-and-flush: func(contents: list<u8>) -> result<_, stream-error>;
            }
        }",
    ),
    ("random", "package wasi:random@0.2.3; interface random { get-random-bytes: func(len: u64) -> list<u8>; }"),
    (
        "clocks",
        "package wasi:clocks@0.2.3;
        interface wall-clock { record datetime { seconds: u64, nanoseconds: u32 } now: func() -> datetime; }",
    ),
];

/// A delegate whose `add` has this body, and that imports what stands before it.
fn delegate(imports: &[&str], fields: &str, body: &str) -> Vec<u8> {
    let wit = tempfile::tempdir().unwrap();
    let contract = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../wit/cni.wit")).unwrap();
    let imports: String = imports.iter().map(|import| format!("import wasi:{import}@0.2.3; ")).collect();
    let world = format!("world guest {{ import log; {imports} export delegate; }}");
    std::fs::write(wit.path().join("cni.wit"), format!("{contract}\n{world}\n")).unwrap();
    for (name, text) in WASI {
        let folder = wit.path().join("deps").join(name);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("wasi.wit"), text).unwrap();
    }
    let fields =
        format!(r#"{fields} {MEMORY} (func (export "weft:cni/delegate@0.1.0#add") (param i32) (result i32) {body})"#);
    component_of(wit.path(), "guest", &fields)
}

#[derive(Default)]
struct Listener(Vec<(Level, String)>);

impl Host for Listener {
    fn log(&mut self, level: Level, message: &str) {
        self.0.push((level, message.to_owned()));
    }
}

fn call(wasm: &[u8]) -> (Result<usize, CallError>, Listener) {
    let engine = Engine::new(Clock::Thread).unwrap();
    let component = engine.compile_and_link("x", wasm, &Grants::usual(Kind::Delegate)).unwrap();
    let mut host = Listener::default();
    let answer = component.add(&request(), &mut host, &Limits::default()).map(|plan| plan.links.len());
    (answer, host)
}

/// Traps unless the two numbers are one.
fn same(one: &str, other: &str) -> String {
    format!("(if (i32.ne {one} {other}) (then (unreachable)))")
}

#[test]
fn what_a_language_asks_when_it_starts_is_answered_with_nothing() {
    let fields = r#"
        (import "wasi:cli/environment@0.2.3" "get-environment" (func $environment (param i32)))
        (import "wasi:cli/environment@0.2.3" "get-arguments" (func $arguments (param i32)))
        (import "wasi:cli/environment@0.2.3" "initial-cwd" (func $cwd (param i32)))
        (import "wasi:filesystem/preopens@0.2.3" "get-directories" (func $directories (param i32)))
        (import "wasi:cli/stdin@0.2.3" "get-stdin" (func $stdin (result i32)))
        (import "wasi:io/streams@0.2.3" "[method]input-stream.blocking-read" (func $read (param i32 i64 i32)))
        (import "wasi:io/streams@0.2.3" "[resource-drop]input-stream" (func $drop (param i32)))
        (import "wasi:clocks/wall-clock@0.2.3" "now" (func $now (param i32)))
        (import "wasi:random/random@0.2.3" "get-random-bytes" (func $random (param i64 i32)))
    "#;
    let empty_list = |function: &str| {
        format!("(call ${function} (i32.const 64)) {}", same("(i32.load (i32.const 68))", "(i32.const 0)"))
    };
    let body = [
        empty_list("environment"),
        empty_list("arguments"),
        empty_list("directories"),
        "(call $cwd (i32.const 64))".to_owned(),
        same("(i32.load8_u (i32.const 64))", "(i32.const 0)"),
        // result: an error (1), and which: closed (1).
        "(local.set $stream (call $stdin)) (call $read (local.get $stream) (i64.const 10) (i32.const 64))".to_owned(),
        same("(i32.load8_u (i32.const 64))", "(i32.const 1)"),
        same("(i32.load8_u (i32.const 68))", "(i32.const 1)"),
        "(call $drop (local.get $stream))".to_owned(),
        "(call $now (i32.const 64)) (if (i64.lt_u (i64.load (i32.const 64)) (i64.const 1500000000)) (then (unreachable)))"
            .to_owned(),
        "(call $random (i64.const 8) (i32.const 64))".to_owned(),
        same("(i32.load (i32.const 68))", "(i32.const 8)"),
        "(i32.const 1024)".to_owned(),
    ]
    .concat();
    let imports =
        ["cli/environment", "filesystem/preopens", "cli/stdin", "io/streams", "clocks/wall-clock", "random/random"];
    let wasm = delegate(&imports, fields, &format!("(local $stream i32) {body}"));
    assert_eq!(call(&wasm).0.unwrap(), 0);
}

#[test]
fn what_is_written_to_stderr_is_logged_line_by_line() {
    let fields = r#"
        (import "wasi:cli/stderr@0.2.3" "get-stderr" (func $stderr (result i32)))
        (import "wasi:io/streams@0.2.3" "[method]output-stream.blocking-write-and-flush"
            (func $write (param i32 i32 i32 i32)))
        (data (i32.const 512) "something odd\nand more")
    "#;
    let body = "(local $stream i32) (local.set $stream (call $stderr))
        (call $write (local.get $stream) (i32.const 512) (i32.const 4) (i32.const 64))
        (call $write (local.get $stream) (i32.const 516) (i32.const 18) (i32.const 64)) (i32.const 1024)";
    let (answer, host) = call(&delegate(&["cli/stderr", "io/streams"], fields, body));
    assert_eq!(answer.unwrap(), 0);
    assert_eq!(host.0, [(Level::Warn, "something odd".to_owned()), (Level::Warn, "and more".to_owned())]);
}

#[test]
fn leaving_and_what_reaches_out_ends_the_call() {
    let fields = r#"(import "wasi:cli/exit@0.2.3" "exit" (func $exit (param i32)))"#;
    let (answer, _) = call(&delegate(&["cli/exit"], fields, "(call $exit (i32.const 0)) (i32.const 1024)"));
    let text = answer.unwrap_err().to_string();
    assert_eq!(text, "component x crashed: it called wasi:cli/exit@0.2.3#exit, which has no answer here");
}

#[test]
fn handles_are_counted() {
    let fields = r#"(import "wasi:cli/stdin@0.2.3" "get-stdin" (func $stdin (result i32)))"#;
    let body = "(loop $again (drop (call $stdin)) (br $again)) (unreachable)";
    let (answer, _) = call(&delegate(&["cli/stdin"], fields, body));
    let text = answer.unwrap_err().to_string();
    assert!(text.contains("it asked for more than 65536 handles"), "{text}");
}
