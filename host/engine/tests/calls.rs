//! What a component may do during a call, and what becomes of one that does more.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests and their helpers")]

mod support;

use std::time::{Duration, Instant};

use support::{MEMORY, component, delegate, delegate_with, request};
use weft_contract::log::Level;
use weft_contract::types::{self, Place};
use weft_engine::call::Failure;
use weft_engine::host::NoHost;
use weft_engine::{Answer, Capability, Clock, Component, Engine, Grants, Host, Kind, Limits, Refusal};

fn engine() -> Engine {
    Engine::new(Clock::Thread).unwrap()
}

fn linked(wasm: &[u8]) -> Component {
    engine().compile_and_link("x", wasm, &Grants::usual(Kind::Delegate)).unwrap()
}

fn failure(wasm: &[u8], limits: &Limits) -> Failure {
    linked(wasm).add(&request(), &mut NoHost, limits).unwrap_err().why
}

fn limits(milliseconds: u64) -> Limits {
    Limits { deadline: Duration::from_millis(milliseconds), ..Limits::default() }
}

const FOREVER: &str = "(loop (br 0)) (unreachable)";

#[test]
fn a_plan_comes_back_and_nothing_is_left_of_the_call() {
    // Traps if it finds what an earlier call wrote.
    let wasm = delegate(
        "(if (i32.load (i32.const 4096)) (then (unreachable))) (i32.store (i32.const 4096) (i32.const 1)) (i32.const 1024)",
    );
    let component = linked(&wasm);
    for _ in 0..2 {
        let plan = component.add(&request(), &mut NoHost, &Limits::default()).unwrap();
        assert!(plan.links.is_empty());
    }
    assert_eq!((component.name(), component.kind()), ("x", Kind::Delegate));
}

#[test]
fn a_loop_ends_at_its_deadline_by_either_clock() {
    for clock in [Clock::Thread, Clock::Signal] {
        let engine = Engine::new(clock).unwrap();
        let component = engine.compile_and_link("x", &delegate(FOREVER), &Grants::usual(Kind::Delegate)).unwrap();
        let error = component.add(&request(), &mut NoHost, &limits(30)).unwrap_err();
        assert!(matches!(error.why, Failure::Deadline(_)), "{error}");
        assert_eq!(error.to_string(), "component x exceeded its 30 ms deadline");
    }
}

#[test]
fn a_loop_while_it_is_instantiated_ends_too() {
    let fields = format!(
        r#"{MEMORY} (func $start (loop (br 0))) (start $start)
        (func (export "weft:cni/delegate@0.1.0#add") (param i32) (result i32) (i32.const 1024))"#
    );
    let why = failure(&component("delegate-component", &fields), &limits(30));
    assert!(matches!(why, Failure::Deadline(_)), "{why}");
}

#[test]
fn deadlines_of_concurrent_calls_are_their_own() {
    let component = linked(&delegate(FOREVER));
    std::thread::scope(|scope| {
        for milliseconds in [20, 60, 120] {
            let component = component.clone();
            scope.spawn(move || {
                let begun = Instant::now();
                let error = component.add(&request(), &mut NoHost, &limits(milliseconds)).unwrap_err();
                assert!(matches!(error.why, Failure::Deadline(_)), "{error}");
                assert!(begun.elapsed() >= Duration::from_millis(milliseconds), "interrupted by another's deadline");
            });
        }
    });
}

#[test]
fn memory_tables_and_stack_are_bounded() {
    let bomb = delegate("(loop (drop (memory.grow (i32.const 16))) (br 0)) (unreachable)");
    assert_eq!(failure(&bomb, &Limits::default()).to_string(), "exceeded its memory limit of 64 MiB");
    let table = format!(
        r#"{MEMORY} (table 100000 funcref)
        (func (export "weft:cni/delegate@0.1.0#add") (param i32) (result i32) (i32.const 1024))"#
    );
    let why = failure(&component("delegate-component", &table), &Limits::default());
    assert!(matches!(why, Failure::Memory(_)), "{why}");
    let deep = delegate_with(
        "(func $deep (param i32) (result i32) (i32.add (call $deep (local.get 0)) (i32.const 1)))",
        "(call $deep (i32.const 0))",
    );
    let why = failure(&deep, &Limits::default());
    assert!(matches!(why, Failure::Stack), "{why}");
}

#[test]
fn a_crash_is_an_error() {
    let why = failure(&delegate("(unreachable)"), &Limits::default());
    assert!(matches!(why, Failure::Trap(_)), "{why}");
    let why = failure(&delegate("(i32.load (i32.const 0x7ffffff0))"), &Limits::default());
    assert!(matches!(why, Failure::Trap(_)), "{why}");
}

/// Answers with the words at 1024, after `data` has been put at 2048.
fn answering(words: &[u32], data: &str) -> Vec<u8> {
    let bytes: String = words.iter().flat_map(|word| word.to_le_bytes()).map(|byte| format!("\\{byte:02x}")).collect();
    delegate_with(&format!(r#"(data (i32.const 1024) "{bytes}") (data (i32.const 2048) "{data}")"#), "(i32.const 1024)")
}

#[test]
fn the_error_of_a_component_is_its_answer() {
    // result: error; error: try-again; its text.
    let why = failure(&answering(&[1, 2, 2048, 5], "later"), &Limits::default());
    assert!(matches!(&why, Failure::Guest(types::Error::TryAgain(text)) if text == "later"), "{why}");
}

#[test]
fn an_answer_out_of_bounds_or_of_nonsense_is_refused() {
    // result: ok; 65 links, all of zeros.
    let why = failure(&answering(&[0, 4096, 65], ""), &Limits::default());
    assert_eq!(why.to_string(), "broke the contract: plan.links has 65 elements, at most 64 are allowed");
    // A list outside the memory; a text that isn't UTF-8; more than may be handed over at once.
    for wasm in [
        answering(&[0, 0x7fff_0000, 8], ""),
        answering(&[1, 2, 2048, 2], "\\ff\\fe"),
        delegate(
            "(drop (memory.grow (i32.const 128)))
             (i32.store (i32.const 1024) (i32.const 1)) (i32.store (i32.const 1028) (i32.const 2))
             (i32.store (i32.const 1036) (i32.const 6000000)) (i32.const 1024)",
        ),
    ] {
        let why = failure(&wasm, &Limits::default());
        assert!(matches!(why, Failure::Malformed(_)), "{why}");
    }
    // A text of its error that is too long, but not for one transfer.
    let why = failure(
        &delegate(
            "(drop (memory.grow (i32.const 2)))
             (i32.store (i32.const 1024) (i32.const 1)) (i32.store (i32.const 1028) (i32.const 2))
             (i32.store (i32.const 1032) (i32.const 65536)) (i32.store (i32.const 1036) (i32.const 65537)) (i32.const 1024)",
        ),
        &Limits::default(),
    );
    assert_eq!(why.to_string(), "broke the contract: error.try-again has 65537 bytes, at most 65536 are allowed");
}

#[test]
fn a_component_is_asked_only_for_what_it_is_for() {
    let error = linked(&delegate("(i32.const 1024)")).rewrite(&request(), &mut NoHost, &Limits::default()).unwrap_err();
    assert_eq!(error.to_string(), "component x is of kind delegate, not rewriter");
}

const LOG: &str = r#"(import "weft:cni/log@0.1.0" "write" (func $log (param i32 i32 i32)))"#;
const TABLES: &str = r#"(import "weft:cni/facts@0.1.0" "tables-in-use" (func $tables (param i32 i32)))"#;
const READ: &str = r#"(import "weft:cni/files@0.1.0" "read" (func $read (param i32 i32 i32 i32 i32 i32)))"#;

#[derive(Default)]
struct Recorder {
    lines: Vec<(Level, String)>,
    refuse: Option<fn() -> Refusal>,
}

impl Host for Recorder {
    fn log(&mut self, level: Level, message: &str) {
        self.lines.push((level, message.to_owned()));
    }
    fn tables_in_use(&mut self, place: Place) -> Answer<Vec<u32>> {
        assert_eq!(place, Place::Host);
        self.refuse.map_or(Ok(vec![254, 100]), |refuse| Err(refuse()))
    }
    fn read_file(&mut self, pointer: &str, fallback: Option<&str>) -> Answer<Vec<u8>> {
        assert_eq!((pointer, fallback), ("/key", None));
        self.refuse.map_or(Ok(b"contents".to_vec()), |refuse| Err(refuse()))
    }
}

#[test]
fn the_log_is_heard_and_bounded() {
    let wasm = delegate_with(
        &format!(r#"{LOG} (data (i32.const 2048) "hello")"#),
        "(local $i i32)
         (call $log (i32.const 3) (i32.const 2048) (i32.const 5))
         (call $log (i32.const 1) (i32.const 8192) (i32.const 8000))
         (loop
            (call $log (i32.const 0) (i32.const 2048) (i32.const 5))
            (local.set $i (i32.add (local.get $i) (i32.const 1)))
            (br_if 0 (i32.lt_u (local.get $i) (i32.const 300))))
         (i32.const 1024)",
    );
    let mut host = Recorder::default();
    linked(&wasm).add(&request(), &mut host, &Limits::default()).unwrap();
    assert_eq!(host.lines[0], (Level::Error, "hello".to_owned()));
    assert_eq!(host.lines[1].1.len(), 4096);
    assert_eq!(host.lines.len(), 257);
    assert_eq!(host.lines[256], (Level::Warn, "46 more messages were left out".to_owned()));
}

/// Answers `not-found` with what it got: `exhausted` where it got an error.
fn asking() -> Vec<u8> {
    delegate_with(
        &format!(r#"{TABLES} {READ} (data (i32.const 2048) "/key")"#),
        "(call $tables (i32.const 1) (i32.const 3000))
         ;; list at 3000: pointer, length
         (if (i32.ne (i32.load (i32.const 3004)) (i32.const 2)) (then (unreachable)))
         (if (i32.ne (i32.load (i32.load (i32.const 3000))) (i32.const 254)) (then (unreachable)))
         (call $read (i32.const 2048) (i32.const 4) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 3100))
         (i32.store (i32.const 1024) (i32.const 1))
         ;; result: its case, then pointer and length of the contents or the error's case
         (i32.store (i32.const 1028) (select (i32.const 3) (i32.const 5) (i32.load8_u (i32.const 3100))))
         (i32.store (i32.const 1032) (select (i32.const 0) (i32.load (i32.const 3104)) (i32.load8_u (i32.const 3100))))
         (i32.store (i32.const 1036) (select (i32.const 0) (i32.load (i32.const 3108)) (i32.load8_u (i32.const 3100))))
         (i32.const 1024)",
    )
}

#[test]
fn the_hosts_answers_reach_the_component() {
    let why = linked(&asking()).add(&request(), &mut Recorder::default(), &Limits::default()).unwrap_err().why;
    assert!(matches!(&why, Failure::Guest(types::Error::NotFound(text)) if text == "contents"), "{why}");
}

#[test]
fn a_refusal_is_told_or_ends_the_call() {
    let wasm = delegate_with(
        &format!(r#"{READ} (data (i32.const 2048) "/key")"#),
        "(call $read (i32.const 2048) (i32.const 4) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 3100))
         (if (i32.eqz (i32.load8_u (i32.const 3100))) (then (unreachable)))
         (i32.const 1024)",
    );
    let tell = || Refusal::Tell(types::Error::NotFound("no such file".into()));
    let mut host = Recorder { refuse: Some(tell), ..Recorder::default() };
    linked(&wasm).add(&request(), &mut host, &Limits::default()).unwrap();

    let error = linked(&wasm).add(&request(), &mut NoHost, &Limits::default()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "component x could not be answered by the host: files.read: files.read is not offered here"
    );
    // Where the contract has no error to tell, being told one ends the call with it.
    let mut host = Recorder { refuse: Some(tell), ..Recorder::default() };
    let why = linked(&asking()).add(&request(), &mut host, &Limits::default()).unwrap_err().why;
    assert!(matches!(&why, Failure::Guest(types::Error::NotFound(text)) if text == "no such file"), "{why}");
}

#[test]
fn arguments_are_bounded() {
    let wasm = delegate_with(
        READ,
        "(drop (memory.grow (i32.const 2)))
         (call $read (i32.const 65536) (i32.const 65537) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 3100))
         (i32.const 1024)",
    );
    let why = failure(&wasm, &Limits::default());
    assert_eq!(why.to_string(), "broke the contract: files.read: pointer has 65537 bytes, at most 65536 are allowed");
}

#[test]
fn what_is_not_granted_is_not_linked() {
    let grants = Grants::only(&[Capability::Facts], "a policy");
    let error = engine().compile_and_link("x", &asking(), &grants).unwrap_err();
    assert_eq!(
        error.to_string(),
        "component x needs the capability files (weft:cni/files@0.1.0), which it does not have; it must be granted by a policy"
    );
}

#[test]
fn bytes_that_are_no_component_are_named() {
    let engine = engine();
    let grants = Grants::usual(Kind::Delegate);
    for (bytes, text) in [
        (b"no wasm".to_vec(), "x is not a valid WebAssembly component: it does not begin like one"),
        (wat::parse_str("(module)").unwrap(), "x is a core WebAssembly module, not a component"),
        (
            wat::parse_str("(component)").unwrap(),
            "x exports none of weft's interfaces; a component exports exactly one of weft:cni/delegate, weft:cni/ipam and weft:cni/rewriter",
        ),
    ] {
        let error = engine.compile_and_link("x", &bytes, &grants).unwrap_err().to_string();
        assert!(error.starts_with(text), "{error}");
    }
    let mut stamped = delegate("(i32.const 1024)");
    // A custom section at the end: id, size, length of the name, name, text.
    stamped.extend_from_slice(b"\x00\x13\x0dweft:contract0.9.0");
    let error = engine.compile_and_link("x", &stamped, &grants).unwrap_err().to_string();
    assert_eq!(
        error,
        "component x is built for contract 0.9.0, this weft speaks 0.1.0; install a build of the component for 0.1.0"
    );
}
