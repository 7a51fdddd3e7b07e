//! JSON as Go's `encoding/json` reads it, for configurations that were written for Go plugins.
//!
//! Owns: the rules by which a document becomes a typed value, and errors that say where, what and what else.
//! Must not: know any particular document. Compiled into plugins too, so it stays small: one pass of `serde_json` into
//! a [`Value`], then a thin deserializer over that.
//!
//! Rules, at every level:
//! - A key of a struct matches without regard to ASCII case. Where an object has several spellings of one key, the exact
//!   one counts, else the last. ([`get`] and [`pointer_get`] choose by the same rule.) Where a spelling occurs twice, the
//!   last counts.
//! - Keys that the struct doesn't have are ignored.
//! - A field that is `null` is absent: `Option` becomes `None`, `#[serde(default)]` its default.
//! - Any other type than the field's is an error; nothing is converted. Integers have no fraction or exponent.
//! - Keys of maps (`HashMap`, [`Map`], [`Value`]) and names of enum variants are kept as written.
//!
//! `#[serde(flatten)]`, `untagged` and internally tagged types read through serde's own buffer: inside them keys match
//! exactly and errors point to the outer value.
//!
//! A type that parses text says what it would have taken with [`invalid`]; any other error of a `Deserialize`
//! (`Error::custom`) gets its pointer too.
//!
//! ```
//! # use serde::{Deserialize, Deserializer};
//! struct Port(u16);
//! impl<'de> Deserialize<'de> for Port {
//!     fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
//!         match u16::deserialize(from)? {
//!             0 => Err(weft_json::invalid("0", "a port from 1 to 65535")),
//!             port => Ok(Port(port)),
//!         }
//!     }
//! }
//! #[derive(Deserialize)]
//! #[serde(rename_all = "camelCase")]
//! struct Mapping { host_port: Port }
//!
//! assert_eq!(weft_json::from_str::<Mapping>(r#"{"HostPort": 80}"#).ok().map(|m| m.host_port.0), Some(80));
//! let error = weft_json::from_str::<Mapping>(r#"{"HOSTPORT": 0}"#).err().unwrap();
//! assert_eq!((error.pointer.as_str(), error.found.as_str()), ("/HOSTPORT", "0"));
//! assert_eq!(error.allowed, "a port from 1 to 65535");
//! ```

mod de;
mod error;
mod object;

pub use error::{Error, Kind, Problem, invalid, render};
pub use object::{get, pointer_get, pointer_push, remove, set};
pub use serde_json::{Map, Number, Value};

use serde::Deserialize;
use serde::de::DeserializeOwned;

/// Parses a document by the rules above.
///
/// # Errors
/// [`Kind::Syntax`] for what isn't one JSON value, [`Kind::Value`] for one that doesn't fit `T`.
pub fn from_str<T: DeserializeOwned>(text: &str) -> Result<T, Error> {
    from_value(&parse(text)?)
}

/// Reads a value by the rules above; strings may be borrowed from it.
///
/// # Errors
/// [`Kind::Value`] for one that doesn't fit `T`.
pub fn from_value<'v, T: Deserialize<'v>>(value: &'v Value) -> Result<T, Error> {
    T::deserialize(de::Node::root(value)).map_err(|error| error.locate(&de::Path::Root, value))
}

/// Parses a document as it stands. Nesting deeper than 128 levels is a syntax error.
///
/// # Errors
/// [`Kind::Syntax`] only.
pub fn parse(text: &str) -> Result<Value, Error> {
    serde_json::from_str(text).map_err(|error| Error::syntax(&error))
}
