//! The CNI protocol, specification 0.1.0 to 1.1.0, from the plugin's side and towards delegates.
//!
//! Owns: what the environment and the network configuration say ([`Environment`], [`NetworkConfig`], [`ConfigList`]), what
//! a delegate is told ([`Invocation`]), results in the shape of every version ([`CniResult`]) and errors as runtimes
//! read them ([`Error`]). Must not: read a file, the process's environment or the kernel; everything is a function from
//! text to values and back.
//!
//! JSON is read by Go's rules (`weft_json`): keys match without regard to case, unknown ones pass through unchanged.

mod config;
mod environment;
mod error;
mod invocation;
mod list;
mod name;
mod prefix;
mod result;
mod version;

pub use config::{MAX_CONFIG, NetworkConfig};
pub use environment::{Command, Environment};
pub use error::{Error, code};
pub use invocation::Invocation;
pub use list::{ConfigList, Plugin};
pub use name::{NAME_RULE, interface_name_problem, is_name};
pub use prefix::{Prefix, PrefixError};
pub use result::{CniResult, Dns, Interface, IpConfig, Route};
pub use version::{Version, about, requested_version, version_reply};

/// JSON with four spaces a level, as Go's library prints results and errors.
pub fn pretty(value: &weft_json::Value) -> String {
    let mut out = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    let mut serializer = serde_json::Serializer::with_formatter(&mut out, formatter);
    match serde::Serialize::serialize(value, &mut serializer) {
        Ok(()) => String::from_utf8(out).unwrap_or_default(),
        // Writing a value to memory doesn't fail; if it did, the plain form would be as good.
        Err(_) => value.to_string(),
    }
}
