//! From what `cargo build` makes of a guest to a component.

use anyhow::{Context, Result, bail};
use wasmparser::{Parser, Payload};
use wit_component::ComponentEncoder;

/// The custom section in which a guest says which version of the contract it was built with.
const CONTRACT_SECTION: &str = "weft:contract";

/// Wraps a core module, built with a guest SDK, as a component that imports only what the module does.
///
/// # Errors
/// If the module carries no description of its world, or the result is not a valid component.
pub(crate) fn componentize(core: &[u8]) -> Result<Vec<u8>> {
    let stamp =
        contract(core)?.context("no section weft:contract: is it built with a weft SDK and its export! macro?")?;
    let mut component = ComponentEncoder::default()
        .validate(true)
        .module(core)
        .context("reading the module's description of its world")?
        .encode()
        .context("wrapping the module as a component")?;
    append_section(&mut component, CONTRACT_SECTION, stamp);
    Ok(component)
}

/// The contract version that a module was stamped with.
fn contract(core: &[u8]) -> Result<Option<&[u8]>> {
    let mut found = None;
    for payload in Parser::new(0).parse_all(core) {
        if let Payload::CustomSection(section) = payload.context("not a WebAssembly module")?
            && section.name() == CONTRACT_SECTION
        {
            if found.is_some() {
                bail!("two sections weft:contract: a component exports one type only");
            }
            found = Some(section.data());
        }
    }
    Ok(found)
}

/// Custom sections may stand anywhere between sections, so also at the end.
fn append_section(component: &mut Vec<u8>, name: &str, data: &[u8]) {
    let mut body = Vec::new();
    unsigned(&mut body, name.len());
    body.extend_from_slice(name.as_bytes());
    body.extend_from_slice(data);
    component.push(0);
    unsigned(component, body.len());
    component.extend_from_slice(&body);
}

/// LEB128.
fn unsigned(out: &mut Vec<u8>, mut value: usize) {
    loop {
        let byte = (value & 0x7f) as u8;
        value >>= 7;
        if value == 0 {
            out.push(byte);
            return;
        }
        out.push(byte | 0x80);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &[u8] = b"\0asm\x01\0\0\0";

    fn stamped(stamps: &[&[u8]]) -> Vec<u8> {
        let mut module = EMPTY.to_vec();
        stamps.iter().for_each(|stamp| append_section(&mut module, CONTRACT_SECTION, stamp));
        module
    }

    #[test]
    fn the_stamp_is_found() {
        assert_eq!(contract(EMPTY).unwrap(), None);
        assert_eq!(contract(&stamped(&[b"0.1.0"])).unwrap(), Some(&b"0.1.0"[..]));
        let long = [b'x'; 300];
        assert_eq!(contract(&stamped(&[&long])).unwrap(), Some(&long[..]));
    }

    #[test]
    fn what_no_sdk_made_is_refused() {
        let message = |core: &[u8]| format!("{:#}", componentize(core).unwrap_err());
        assert!(message(EMPTY).contains("weft:contract"));
        assert!(message(&stamped(&[b"0.1.0", b"0.1.0"])).contains("one type only"));
        assert!(message(b"no wasm").contains("not a WebAssembly module"));
    }
}
