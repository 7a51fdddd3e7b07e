//! What is wrong with a document, where, and what may stand there.

use std::fmt;

use serde::de::{self, Expected, Unexpected};

use super::{Value, pointer_push, write};
use crate::types::ConfigError;

/// Characters of a value that an error shows.
const SHOWN: usize = 64;

/// A document that can't be read.
#[derive(Debug)]
pub(crate) struct Error(Box<Inner>);

#[derive(Debug)]
struct Inner {
    problem: ConfigError,
    /// A key that is missing in the value that the error will be located at.
    missing: Option<&'static str>,
    located: bool,
}

impl Error {
    fn new(found: String, allowed: String) -> Self {
        let problem = ConfigError { pointer: String::new(), found: cut(found), allowed };
        Self(Box::new(Inner { problem, missing: None, located: false }))
    }

    /// Not JSON from this byte on.
    pub(super) fn syntax(at: usize) -> Self {
        let mut error = Self::new(["no JSON from byte ", &at.to_string()].concat(), "a JSON document".to_owned());
        error.0.located = true;
        error
    }

    /// A value of the wrong type; a visitor knows what it expects.
    pub(super) fn mismatch(expected: &dyn Expected) -> Self {
        Self::new(String::new(), plain(expected.to_string()))
    }

    /// The innermost value whose deserialization failed is the one at fault: later calls change nothing.
    pub(super) fn locate(mut self, path: &super::de::Path<'_>, value: &Value<'_>) -> Self {
        let inner = &mut *self.0;
        if !inner.located {
            inner.located = true;
            path.write(&mut inner.problem.pointer);
            match inner.missing {
                Some(key) => pointer_push(&mut inner.problem.pointer, key),
                None if inner.problem.found.is_empty() => {
                    let mut found = String::new();
                    write::value(value, &mut found);
                    inner.problem.found = cut(found);
                }
                None => {}
            }
        }
        self
    }

    /// To hand out.
    pub(crate) fn into_problem(self) -> ConfigError {
        self.0.problem
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.problem.pointer)?;
        f.write_str(": found ")?;
        f.write_str(&self.0.problem.found)?;
        f.write_str(", allowed: ")?;
        f.write_str(&self.0.problem.allowed)
    }
}

impl std::error::Error for Error {}

impl de::Error for Error {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(String::new(), message.to_string())
    }

    fn invalid_type(_: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::mismatch(expected)
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        let mut error = Self::mismatch(expected);
        if let Unexpected::Other(text) = found {
            error.0.problem.found = cut(text.to_owned());
        }
        error
    }

    fn invalid_length(_: usize, expected: &dyn Expected) -> Self {
        Self::mismatch(expected)
    }

    fn unknown_variant(_: &str, variants: &'static [&'static str]) -> Self {
        Self::new(String::new(), variants.join(", "))
    }

    fn unknown_field(key: &str, fields: &'static [&'static str]) -> Self {
        Self::new(key.to_owned(), fields.join(", "))
    }

    fn missing_field(key: &'static str) -> Self {
        let mut error = Self::new("nothing".to_owned(), "a value, the key is required".to_owned());
        error.0.missing = Some(key);
        error
    }

    fn duplicate_field(key: &'static str) -> Self {
        Self::new(String::new(), ["one spelling of the key ", key].concat())
    }
}

/// serde's and Rust's words for a type in those of a person who writes JSON.
fn plain(expected: String) -> String {
    let words = match expected.as_str() {
        "u8" => "an integer from 0 to 255",
        "u16" => "an integer from 0 to 65535",
        "u32" => "an integer from 0 to 4294967295",
        "u64" | "usize" => "an integer from 0",
        "i8" => "an integer from -128 to 127",
        "i16" => "an integer from -32768 to 32767",
        "i32" => "an integer from -2147483648 to 2147483647",
        "i64" | "isize" => "an integer",
        "f32" | "f64" => "a number",
        "a boolean" => "true or false",
        "a sequence" => "a list",
        "a map" => "an object",
        _ => return expected,
    };
    words.to_owned()
}

fn cut(text: String) -> String {
    if text.chars().count() <= SHOWN {
        return text;
    }
    text.chars().take(SHOWN - 3).chain("...".chars()).collect()
}
