//! weft as a meta-plugin: from a request to its delegates, their plans, their effects and a result.
//!
//! Owns: delegates and interface names ([`delegates`]), the order in which components are asked ([`planner`]), the verbs
//! ([`add`](mod@add), [`del`](mod@del), [`check`](mod@check), [`gc`](mod@gc), [`status`](mod@status)), executables
//! ([`native`]), what may be read ([`files`]), what is remembered ([`record`]) and shared objects ([`shared`]).
//!
//! Must not: speak netlink, run wasm or know a file format itself; it asks the crates that do.

pub mod add;
mod asking;
pub mod check;
mod convert;
pub mod del;
pub mod delegates;
mod errors;
pub mod files;
pub mod gc;
pub mod incoming;
pub mod log;
pub mod native;
pub mod planner;
mod random;
pub mod record;
mod session;
pub mod settings;
pub mod shared;
pub mod status;
pub mod survey;
mod undo;

pub use session::{Node, Session};
