//! Components for tests, made of core modules written by hand.

#![allow(dead_code, reason = "each test file uses some of it")]

use std::path::Path;

use weft_contract::requests::Request;

/// A component of one of the contract's worlds, whose code is the text of a core module's fields. It gets a memory of
/// one page and an allocator that starts at 32768; the rest is up to the caller.
pub(crate) fn component(world: &str, fields: &str) -> Vec<u8> {
    component_of(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../wit"), world, fields)
}

/// The same for the contract in another directory.
pub(crate) fn component_of(wit: &Path, world: &str, fields: &str) -> Vec<u8> {
    let mut module = wat::parse_str(format!("(module {fields})")).expect("the test's core module");
    let mut resolve = wit_parser::Resolve::default();
    let (package, _) = resolve.push_dir(wit).expect("wit/");
    let world = resolve.select_world(&[package], Some(world)).expect("world");
    wit_component::embed_component_metadata(&mut module, &resolve, world, wit_component::StringEncoding::UTF8, false)
        .unwrap();
    let mut encoder = wit_component::ComponentEncoder::default();
    encoder.validate(true);
    encoder.module(&module).unwrap();
    encoder.encode().expect("the test's component")
}

/// Memory and allocator.
pub(crate) const MEMORY: &str = r#"
    (memory (export "memory") 1)
    (global $next (mut i32) (i32.const 32768))
    (func $realloc (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
        (local $at i32)
        (local.set $at (i32.and (i32.add (global.get $next) (i32.const 7)) (i32.const -8)))
        (global.set $next (i32.add (local.get $at) (local.get 3)))
        (block $fits
            (br_if $fits (i32.le_u (global.get $next) (i32.mul (memory.size) (i32.const 65536))))
            (drop (memory.grow (i32.const 64))))
        (local.get $at))
"#;

/// A delegate whose `add` has this body. The answer is a pointer; zeros there are a plan of nothing.
pub(crate) fn delegate(body: &str) -> Vec<u8> {
    delegate_with("", body)
}

/// The same with imports before it. 23 parameters would be too many, so the request comes as a pointer.
pub(crate) fn delegate_with(imports: &str, body: &str) -> Vec<u8> {
    let fields = format!(
        r#"{imports} {MEMORY} (func (export "weft:cni/delegate@0.1.0#add") (param $request i32) (result i32) {body})"#
    );
    component("delegate-component", &fields)
}

/// A request about nothing in particular.
pub(crate) fn request() -> Request {
    serde_json::from_str(
        r#"{"container-id":"c1","interface-name":"eth0","network":"net","config":"{\"type\":\"x\"}","args":[],"addressing":"off"}"#,
    )
    .unwrap()
}
