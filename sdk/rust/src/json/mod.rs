//! JSON as Go's `encoding/json` reads it, in as little code as a component can bear.
//!
//! The rules are those of the host's reader, which a test holds this one against:
//! - A key of a struct matches without regard to ASCII case. Where an object has several spellings of one key, the exact
//!   one counts, else the last. Where a spelling occurs twice, the last counts.
//! - Keys that the struct doesn't have are ignored.
//! - A field that is `null` is absent: `Option` becomes `None`, `#[serde(default)]` its default.
//! - Any other type than the field's is an error; nothing is converted. Integers have no fraction or exponent.
//!
//! Numbers stay text until a type asks for them, so that reading and writing a document changes none of them, and a
//! plugin without floating-point fields has no code for those.

mod de;
mod error;
mod parse;
mod write;

use std::borrow::Cow;

pub(crate) use error::Error;
pub use parse::parse;
pub use write::quote;

/// A value; strings are borrowed from the text where they hold no escapes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value<'t> {
    /// `null`
    Null,
    /// `true`, `false`
    Bool(bool),
    /// As it is written.
    Number(Cow<'t, str>),
    /// Without quotes and escapes.
    String(Cow<'t, str>),
    /// In order.
    Array(Vec<Value<'t>>),
    /// In order.
    Object(Object<'t>),
}

/// The entries of an object, no key twice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Object<'t>(Vec<(Cow<'t, str>, Value<'t>)>);

impl<'t> Value<'t> {
    /// A string.
    pub fn string(text: impl Into<Cow<'t, str>>) -> Self {
        Self::String(text.into())
    }

    /// The text of a string.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }
}

impl<'t> Object<'t> {
    /// The entries, in order.
    pub fn entries(&self) -> &[(Cow<'t, str>, Value<'t>)] {
        &self.0
    }

    /// The value of exactly this key.
    pub fn get_exact(&self, key: &str) -> Option<&Value<'t>> {
        self.0.iter().find(|(name, _)| name == key).map(|(_, value)| value)
    }

    /// The value of a key without regard to case, unless it is null.
    pub fn get(&self, key: &str) -> Option<&Value<'t>> {
        let (_, value) = self.find(key, &[])?;
        (*value != Value::Null).then_some(value)
    }

    /// Sets exactly this key: at its place if it is there, else at the end.
    pub fn set(&mut self, key: impl Into<Cow<'t, str>>, value: Value<'t>) {
        let key = key.into();
        match self.0.iter_mut().find(|(name, _)| *name == key) {
            Some((_, old)) => *old = value,
            None => self.0.push((key, value)),
        }
    }

    /// Removes every spelling of a key.
    pub fn remove(&mut self, key: &str) {
        self.0.retain(|(name, _)| !name.eq_ignore_ascii_case(key));
    }

    /// The entry for a key, but none that is exactly one of the others.
    fn find(&self, key: &str, others: &[&str]) -> Option<(&str, &Value<'t>)> {
        let mut found = None;
        for (name, value) in &self.0 {
            if name == key {
                return Some((name, value));
            }
            if name.eq_ignore_ascii_case(key) && !others.iter().any(|other| name == other) {
                found = Some((name.as_ref(), value));
            }
        }
        found
    }
}

/// Reads a document into a type by the rules above.
pub(crate) fn from_str<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, Error> {
    de::read(&parse(text).map_err(Error::syntax)?)
}

/// Appends a key to a JSON pointer (RFC 6901), escaped.
pub fn pointer_push(pointer: &mut String, key: &str) {
    pointer.push('/');
    for character in key.chars() {
        match character {
            '~' => pointer.push_str("~0"),
            '/' => pointer.push_str("~1"),
            other => pointer.push(other),
        }
    }
}

#[cfg(test)]
mod tests;
