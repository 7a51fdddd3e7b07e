//! End-to-end tests: what a container runtime and its user would see.
//!
//! Owns: the lab (a node and its pods as network namespaces made for one test) and the real runtimes started inside it.
//! The tests in `tests/` speak only the CNI protocol, so the same files also run against any other plugin directory:
//! `WEFT_LAB_PLUGINS=/usr/lib/cni cargo test -p weft-tests`.
//!
//! Must not: touch the machine's own network, mounts or files outside the target directory, or link any of weft's crates
//! (but for the names that weft gives to its steps).
//!
//! | variable | meaning |
//! |---|---|
//! | `WEFT_DIST` | where `weft` and `weftctl` lie; without it `target/dist` of the workspace |
//! | `WEFT_FAULTY` | a weft built with the feature `fault-points`, for tests that kill it or make it fail |
//! | `WEFT_LAB_PLUGINS` | test the plugins of this directory instead of weft |
//! | `WEFT_LAB_REQUIRED` | set to anything: what would be skipped fails |

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "test support: whatever goes wrong here has to fail the test that called it"
)]

pub mod lab;
pub mod runtimes;
