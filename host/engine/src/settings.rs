//! The engine's settings, the same for the build that compiles and for the one that runs.
//!
//! Compiled code fits exactly the settings it was compiled under. [`IDENTITY`] names them and stands in every index
//! and in every compiled file; change the text whenever the rest of this file does.

use wasmtime::{Config, ModuleVersionStrategy};

/// What compiled code must have been made by: wasmtime's version and the settings below, by name.
pub const IDENTITY: &str =
    concat!("wasmtime ", env!("WASMTIME_VERSION"), "; epoch, cow, reservation 64M, guard 64K, no unwind tables, 1");

/// Address space set aside for a linear memory. Enough for the usual limit without ever moving the memory, and small
/// enough for processes under RLIMIT_AS (wasmtime's own choice, 4 GiB and more, isn't).
const MEMORY_RESERVATION: u64 = 64 << 20;
/// Unmapped space behind a memory: offsets below it need no check of their own.
const MEMORY_GUARD: u64 = 64 << 10;
/// What a component's own stack may take, of the thread's.
const WASM_STACK: usize = 512 << 10;

/// [`IDENTITY`] as 8 hex digits, for names of files.
pub fn generation() -> String {
    const HASH: u32 = fnv(IDENTITY.as_bytes());
    format!("{HASH:08x}")
}

/// FNV-1a: tells apart, protects nothing.
const fn fnv(bytes: &[u8]) -> u32 {
    let mut hash = 0x811c_9dc5_u32;
    let mut at = 0;
    while at < bytes.len() {
        hash = (hash ^ bytes[at] as u32).wrapping_mul(0x0100_0193);
        at += 1;
    }
    hash
}

/// Settings for both builds.
pub(crate) fn common() -> wasmtime::Result<Config> {
    let mut config = Config::new();
    // A deadline costs some 15 % of pure computation; fuel would cost 60 %.
    config.epoch_interruption(true);
    // A memory's initial contents are mapped from the compiled file, not copied.
    config.memory_init_cow(true);
    config.memory_reservation(MEMORY_RESERVATION);
    config.memory_guard_size(MEMORY_GUARD);
    config.memory_reservation_for_growth(16 << 20);
    config.max_wasm_stack(WASM_STACK);
    // Nothing unwinds through guest code: traps are caught by signal handlers and backtraces follow frame pointers.
    config.native_unwind_info(false);
    config.module_version(ModuleVersionStrategy::Custom(IDENTITY.to_owned()))?;
    Ok(config)
}

/// Settings of a build that only runs.
#[cfg(not(feature = "compiler"))]
pub(crate) use common as engine;

/// Settings of a build that compiles, too: for the processor's baseline, so that a component directory can be copied to
/// any node of the same architecture, and loading needn't ask the processor what it can do.
#[cfg(feature = "compiler")]
pub(crate) fn engine() -> wasmtime::Result<Config> {
    let mut config = common()?;
    // The C library makes no difference to the code, but an engine loads only for the very target it was given.
    let library = if cfg!(target_env = "musl") { "musl" } else { "gnu" };
    config.target(&format!("{}-unknown-linux-{library}", std::env::consts::ARCH))?;
    config.cranelift_opt_level(wasmtime::OptLevel::Speed);
    Ok(config)
}
