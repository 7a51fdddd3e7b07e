//! What a plugin author writes against.
//!
//! A plugin is a type that implements [`Delegate`], [`Ipam`] or [`Rewriter`] and is exported with [`export!`]. Its logic
//! is a function from a [`Request`] to an answer; what it may look at meanwhile are the capabilities, plain functions in
//! [`facts`], [`files`], [`leases`], [`devices`] and [`log`]. Compiled for `wasm32` they ask the host; compiled natively
//! they ask the [`testing::FakeHost`] of the calling thread, so that `cargo test` needs neither WebAssembly nor root.
//!
//! A component imports exactly the functions it calls: that list is its manifest.
//!
//! ```
//! use weft_sdk::plan::{Link, LinkKind};
//! use weft_sdk::{Delegate, Error, Plan, Request};
//!
//! #[derive(serde::Deserialize)]
//! struct Config {
//!     #[serde(default)]
//!     mtu: Option<u32>,
//! }
//!
//! struct Dummy;
//!
//! impl Delegate for Dummy {
//!     fn add(request: &Request) -> Result<Plan, Error> {
//!         let config: Config = request.config()?;
//!         let link = Link { mtu: config.mtu, up: Some(true), ..Link::in_sandbox("container", LinkKind::Dummy) };
//!         Ok(Plan { links: vec![link], ..Plan::default() })
//!     }
//! }
//!
//! weft_sdk::export!(Dummy as delegate);
//!
//! let request = weft_sdk::testing::request(r#"{ "name": "net", "type": "dummy", "mtu": 1400 }"#);
//! let plan = weft_sdk::testing::FakeHost::new().run(&request, Dummy::add).unwrap();
//! assert_eq!(plan.links[0].mtu, Some(1400));
//! ```

#[doc(hidden)]
#[allow(unsafe_code, reason = "the canonical ABI passes pointers; wit-bindgen writes this code")]
#[allow(missing_docs, unreachable_pub, clippy::all)]
pub mod bindings;

pub mod address;
#[cfg(all(target_arch = "wasm32", feature = "allocator"))]
mod allocator;
mod capability;
mod error;
mod export;
pub mod json;
pub mod netconf;
mod record;
#[cfg(not(target_arch = "wasm32"))]
pub mod testing;

pub use bindings::shared::weft::cni::{plan, requests, types};
pub use capability::{devices, facts, files, leases, log};
#[doc(hidden)]
pub use export::start;
pub use plan::Plan;
pub use requests::{Allocation, Request};
pub use types::Error;

/// The version of the contract that components built with this SDK speak; stamped into them as section `weft:contract`.
pub const CONTRACT: [u8; 5] = *b"0.1.0";

/// Configures an attachment, or part of it.
pub trait Delegate {
    /// The state that the attachment wants. Called again when a pending address has come: labels must be the same.
    ///
    /// # Errors
    /// What the runtime is told; nothing has been changed then.
    fn add(request: &Request) -> Result<Plan, Error>;
}

/// Chooses addresses.
pub trait Ipam {
    /// The addresses, with routes and resolver settings, of one attachment.
    ///
    /// # Errors
    /// What the runtime is told; whatever was reserved is given back then.
    fn allocate(request: &Request) -> Result<Allocation, Error>;
}

/// Answers with another configuration to run instead.
pub trait Rewriter {
    /// The configuration, JSON, its `ipam` part included.
    ///
    /// # Errors
    /// What the runtime is told.
    fn rewrite(request: &Request) -> Result<String, Error>;
}

/// The plugin that README.md shows compiles.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
mod readme {}
