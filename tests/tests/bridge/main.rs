//! A pod on a bridge, through the CNI protocol alone: bridge with host-local or static, and loopback.
//!
//! What holds for the reference plugins too is asserted for any plugin directory; what only weft promises is behind
//! `Node::only_weft`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "tests and their helpers"
)]

mod addresses;
mod check;
mod configurations;
mod del;
mod host_local;
mod loopback;
mod network;
mod results;
mod support;
