//! Runs components: the only crate that builds a wasmtime engine.
//!
//! Owns: the engine's settings ([`settings`]), the component directory beside the executable ([`directory`]), loading
//! compiled code safely ([`load`]), which capabilities a component is linked to ([`gate`]), the functions behind them
//! ([`host`]) and calling a component under limits ([`call`]). The feature `compiler` adds [`compile`], for weftctl and
//! for tests; what a runtime starts is built without it and can only run what was compiled before.
//!
//! Must not: know CNI's error codes, read a configuration, or touch the network. What a capability answers is the
//! business of whoever implements [`host::Host`].

pub mod call;
mod caps;
mod clock;
#[cfg(feature = "compiler")]
pub mod compile;
pub mod directory;
pub mod gate;
pub mod host;
mod limits;
mod link;
pub mod load;
#[cfg(feature = "compiler")]
mod manifest;
pub mod settings;
pub mod trust;
mod wasi;

pub use call::{CallError, Component};
pub use clock::Clock;
pub use directory::{Directory, Index, Kind};
pub use gate::{Capability, GateError, Grants};
pub use host::{Answer, Host, Refusal};
pub use limits::Limits;
pub use load::LoadError;

/// Loads and runs components. Cheap to clone; one a process is enough.
#[derive(Clone)]
pub struct Engine {
    wasmtime: wasmtime::Engine,
    clock: Clock,
}

/// wasmtime refused its settings: a defect of this program or a machine it does not support.
#[derive(Debug, thiserror::Error)]
#[error("the WebAssembly engine does not start: {0}")]
pub struct EngineError(String);

impl Engine {
    /// An engine with [`settings`]. `clock` says what interrupts a component that runs for too long.
    pub fn new(clock: Clock) -> Result<Self, EngineError> {
        let make = || wasmtime::Engine::new(&settings::engine()?);
        let wasmtime = clock.engine(make).map_err(|error| EngineError(format!("{error:#}")))?;
        Ok(Self { wasmtime, clock })
    }
}
