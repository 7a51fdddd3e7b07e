//! The WASI that components get which were made with a language's usual library: closed.
//!
//! Such libraries import WASI 0.2 whether or not a program uses it. What they ask while they start is answered with
//! nothing: no arguments, no environment, no directories, no terminal, stdin at its end. Clocks and random numbers are the
//! machine's. What is written to stdout and stderr goes to the log. Everything else (opening, connecting, exiting) ends the call.
//! Nothing in here reaches a file or a socket, so importing WASI asks for no capability.
//!
//! Only a component that imports WASI is linked to this; others don't pay for it.

use std::fmt;
use std::io::Read as _;
use std::time::SystemTime;

use wasmtime::StoreContextMut;
use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, ComponentType, Lift, Linker, LinkerInstance, Lower, Resource, ResourceType};

use crate::link::State;

/// The package family.
const PREFIX: &str = "wasi:";
/// The version whose shape this is; any patch of it.
const VERSION: &str = "0.2.";
/// What a program may write at once.
const WRITE: u64 = 4 << 10;
/// Random bytes at once.
const RANDOM: u64 = 64 << 10;
/// Handles that one call may get: they live in the host's memory.
const HANDLES: u32 = 64 << 10;

const STDOUT: u32 = 1;
const STDERR: u32 = 2;

/// Whether an import is of the WASI that is offered.
pub(crate) fn is_offered(import: &str) -> bool {
    import.strip_prefix(PREFIX).and_then(|rest| rest.split_once('@')).is_some_and(|(_, version)| {
        version
            .strip_prefix(VERSION)
            .is_some_and(|patch| !patch.is_empty() && patch.bytes().all(|b| b.is_ascii_digit()))
    })
}

// The resources of WASI; all that tells them apart is their number.
struct Input;
struct Output;
struct Pollable;
struct IoError;
struct TerminalInput;
struct TerminalOutput;
struct Descriptor;

#[derive(ComponentType, Lift, Lower)]
#[component(variant)]
enum StreamError {
    #[component(name = "last-operation-failed")]
    #[allow(dead_code, reason = "the type has it")]
    LastOperationFailed(Resource<IoError>),
    #[component(name = "closed")]
    Closed,
}

#[derive(ComponentType, Lift, Lower)]
#[component(record)]
struct Datetime {
    seconds: u64,
    nanoseconds: u32,
}

/// What this WASI does not do.
#[derive(Debug)]
pub(crate) struct Refused(String);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
impl std::error::Error for Refused {}

type Caller<'a> = StoreContextMut<'a, State>;

/// Links what a component imports of WASI.
pub(crate) fn link(
    linker: &mut Linker<State>,
    engine: &wasmtime::Engine,
    component: &Component,
) -> wasmtime::Result<()> {
    let types = component.component_type();
    for (import, item) in types.imports(engine) {
        let ComponentItem::ComponentInstance(interface) = item.ty else { continue };
        if !is_offered(import) {
            continue;
        }
        let mut instance = linker.instance(import)?;
        let name = import.split_once('@').map_or(import, |(name, _)| name);
        for (export, item) in interface.exports(engine) {
            match item.ty {
                ComponentItem::Resource(_) => instance.resource(export, resource(export), |_, _| Ok(()))?,
                ComponentItem::ComponentFunc(_) if !answered(&mut instance, name, export)? => {
                    let why = format!("it called {import}#{export}, which has no answer here");
                    let refuse =
                        move |_: Caller<'_>, _, _: &[_], _: &mut [_]| Err(wasmtime::Error::new(Refused(why.clone())));
                    instance.func_new(export, refuse)?;
                }
                _ => {}
            }
        }
    }
    Ok(())
}

fn resource(name: &str) -> ResourceType {
    match name {
        "input-stream" => ResourceType::host::<Input>(),
        "output-stream" => ResourceType::host::<Output>(),
        "pollable" => ResourceType::host::<Pollable>(),
        "error" => ResourceType::host::<IoError>(),
        "terminal-input" => ResourceType::host::<TerminalInput>(),
        "terminal-output" => ResourceType::host::<TerminalOutput>(),
        "descriptor" => ResourceType::host::<Descriptor>(),
        _ => ResourceType::host::<()>(),
    }
}

/// Defines a function, if it is one that has an answer.
fn answered(instance: &mut LinkerInstance<'_, State>, interface: &str, function: &str) -> wasmtime::Result<bool> {
    match interface {
        "wasi:cli/environment" => environment(instance, function),
        "wasi:cli/stdin" | "wasi:cli/stdout" | "wasi:cli/stderr" => standard(instance, function),
        "wasi:cli/terminal-stdin" | "wasi:cli/terminal-stdout" | "wasi:cli/terminal-stderr" => {
            terminal(instance, function)
        }
        "wasi:clocks/monotonic-clock" | "wasi:clocks/wall-clock" => clocks(instance, interface, function),
        "wasi:filesystem/preopens" => preopens(instance, function),
        "wasi:io/poll" => poll(instance, function),
        "wasi:io/streams" => streams(instance, function),
        "wasi:random/random" | "wasi:random/insecure" | "wasi:random/insecure-seed" => random(instance, function),
        _ => Ok(false),
    }
}

fn environment(instance: &mut LinkerInstance<'_, State>, function: &str) -> wasmtime::Result<bool> {
    match function {
        "get-environment" => {
            instance.func_wrap(function, |_: Caller<'_>, (): ()| Ok((Vec::<(String, String)>::new(),)))?;
        }
        "get-arguments" => instance.func_wrap(function, |_: Caller<'_>, (): ()| Ok((Vec::<String>::new(),)))?,
        "initial-cwd" => instance.func_wrap(function, |_: Caller<'_>, (): ()| Ok((None::<String>,)))?,
        _ => return Ok(false),
    }
    Ok(true)
}

fn standard(instance: &mut LinkerInstance<'_, State>, function: &str) -> wasmtime::Result<bool> {
    let number = if function == "get-stderr" { STDERR } else { STDOUT };
    match function {
        "get-stdin" => instance.func_wrap(function, |mut caller: Caller<'_>, (): ()| new::<Input>(&mut caller, 0))?,
        "get-stdout" | "get-stderr" => {
            instance.func_wrap(function, move |mut caller: Caller<'_>, (): ()| new::<Output>(&mut caller, number))?;
        }
        _ => return Ok(false),
    }
    Ok(true)
}

fn terminal(instance: &mut LinkerInstance<'_, State>, function: &str) -> wasmtime::Result<bool> {
    match function {
        "get-terminal-stdin" => {
            instance.func_wrap(function, |_: Caller<'_>, (): ()| Ok((None::<Resource<TerminalInput>>,)))?;
        }
        "get-terminal-stdout" | "get-terminal-stderr" => {
            instance.func_wrap(function, |_: Caller<'_>, (): ()| Ok((None::<Resource<TerminalOutput>>,)))?;
        }
        _ => return Ok(false),
    }
    Ok(true)
}

fn clocks(instance: &mut LinkerInstance<'_, State>, interface: &str, function: &str) -> wasmtime::Result<bool> {
    let monotonic = interface == "wasi:clocks/monotonic-clock";
    match function {
        // Since the epoch, too: nobody may compare it with another process's.
        "now" if monotonic => {
            instance.func_wrap(function, |_: Caller<'_>, (): ()| Ok((since_1970().as_nanos() as u64,)))?;
        }
        "resolution" if monotonic => instance.func_wrap(function, |_: Caller<'_>, (): ()| Ok((1_000_u64,)))?,
        "now" => instance.func_wrap(function, |_: Caller<'_>, (): ()| {
            let now = since_1970();
            Ok((Datetime { seconds: now.as_secs(), nanoseconds: now.subsec_nanos() },))
        })?,
        "resolution" => {
            instance.func_wrap(function, |_: Caller<'_>, (): ()| Ok((Datetime { seconds: 0, nanoseconds: 1_000 },)))?;
        }
        _ => return Ok(false),
    }
    Ok(true)
}

fn since_1970() -> std::time::Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}

fn preopens(instance: &mut LinkerInstance<'_, State>, function: &str) -> wasmtime::Result<bool> {
    if function != "get-directories" {
        return Ok(false);
    }
    instance.func_wrap(function, |_: Caller<'_>, (): ()| Ok((Vec::<(Resource<Descriptor>, String)>::new(),)))?;
    Ok(true)
}

/// Whatever is waited for is ready: only streams can be, and these are.
fn poll(instance: &mut LinkerInstance<'_, State>, function: &str) -> wasmtime::Result<bool> {
    match function {
        "[method]pollable.ready" => {
            instance.func_wrap(function, |_: Caller<'_>, (_,): (Resource<Pollable>,)| Ok((true,)))?;
        }
        "[method]pollable.block" => {
            instance.func_wrap(function, |_: Caller<'_>, (_,): (Resource<Pollable>,)| Ok(()))?;
        }
        "poll" => instance.func_wrap(function, |_: Caller<'_>, (all,): (Vec<Resource<Pollable>>,)| {
            Ok(((0..all.len() as u32).collect::<Vec<_>>(),))
        })?,
        _ => return Ok(false),
    }
    Ok(true)
}

fn streams(instance: &mut LinkerInstance<'_, State>, function: &str) -> wasmtime::Result<bool> {
    type Read = Result<Vec<u8>, StreamError>;
    type Skip = Result<u64, StreamError>;
    type Written = Result<(), StreamError>;
    match function {
        "[method]input-stream.read" | "[method]input-stream.blocking-read" => {
            instance.func_wrap(function, |_: Caller<'_>, (_, _): (Resource<Input>, u64)| {
                Ok((Read::Err(StreamError::Closed),))
            })?;
        }
        "[method]input-stream.skip" | "[method]input-stream.blocking-skip" => {
            instance.func_wrap(function, |_: Caller<'_>, (_, _): (Resource<Input>, u64)| {
                Ok((Skip::Err(StreamError::Closed),))
            })?;
        }
        "[method]input-stream.subscribe" => {
            instance.func_wrap(function, |mut caller: Caller<'_>, (_,): (Resource<Input>,)| {
                new::<Pollable>(&mut caller, 0)
            })?;
        }
        "[method]output-stream.subscribe" => {
            instance.func_wrap(function, |mut caller: Caller<'_>, (_,): (Resource<Output>,)| {
                new::<Pollable>(&mut caller, 0)
            })?;
        }
        "[method]output-stream.check-write" => {
            instance.func_wrap(function, |_: Caller<'_>, (_,): (Resource<Output>,)| Ok((Skip::Ok(WRITE),)))?;
        }
        "[method]output-stream.write" | "[method]output-stream.blocking-write-and-flush" => {
            instance.func_wrap(function, |mut caller: Caller<'_>, (stream, bytes): (Resource<Output>, Vec<u8>)| {
                caller.data_mut().print(stream.rep() == STDERR, &bytes);
                Ok((Written::Ok(()),))
            })?;
        }
        "[method]output-stream.flush" | "[method]output-stream.blocking-flush" => {
            instance.func_wrap(function, |_: Caller<'_>, (_,): (Resource<Output>,)| Ok((Written::Ok(()),)))?;
        }
        _ => return Ok(false),
    }
    Ok(true)
}

fn random(instance: &mut LinkerInstance<'_, State>, function: &str) -> wasmtime::Result<bool> {
    match function {
        "get-random-bytes" | "get-insecure-random-bytes" => {
            instance.func_wrap(function, |_: Caller<'_>, (count,): (u64,)| Ok((random_bytes(count)?,)))?;
        }
        "get-random-u64" | "get-insecure-random-u64" => {
            instance.func_wrap(function, |_: Caller<'_>, (): ()| Ok((random_number()?,)))?;
        }
        "insecure-seed" => {
            instance.func_wrap(function, |_: Caller<'_>, (): ()| Ok(((random_number()?, random_number()?),)))?;
        }
        _ => return Ok(false),
    }
    Ok(true)
}

fn random_bytes(count: u64) -> wasmtime::Result<Vec<u8>> {
    if count > RANDOM {
        return Err(wasmtime::Error::new(Refused(format!("it asked for {count} random bytes at once"))));
    }
    let mut bytes = vec![0; count as usize];
    std::fs::File::open("/dev/urandom")
        .and_then(|mut file| file.read_exact(&mut bytes))
        .map_err(wasmtime::Error::new)?;
    Ok(bytes)
}

fn random_number() -> wasmtime::Result<u64> {
    Ok(random_bytes(8)?.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
}

fn new<T: 'static>(caller: &mut Caller<'_>, number: u32) -> wasmtime::Result<(Resource<T>,)> {
    if !caller.data_mut().take_handle(HANDLES) {
        return Err(wasmtime::Error::new(Refused(format!("it asked for more than {HANDLES} handles"))));
    }
    Ok((Resource::new_own(number),))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_preview_is_offered_in_any_patch() {
        for (import, offered) in [
            ("wasi:cli/environment@0.2.0", true),
            ("wasi:io/streams@0.2.12", true),
            ("wasi:cli/environment@0.3.0", false),
            ("wasi:cli/environment@0.2.", false),
            ("wasi:cli/environment@0.2.0-rc", false),
            ("wasi:cli/environment", false),
            ("weft:cni/log@0.2.0", false),
        ] {
            assert_eq!(is_offered(import), offered, "{import}");
        }
    }
}
