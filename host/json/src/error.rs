//! What is wrong with a document, where, and what may stand there.

use std::fmt::{self, Write as _};
use std::ops::Deref;

use serde::de::{self, Expected, Unexpected};
use serde_json::Value;

use crate::de::Path;

/// Characters of a value that an error shows.
const SHOWN: usize = 64;

/// Which kind of mistake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// Not one JSON value. Lines and columns count from 1.
    Syntax {
        /// Where the parser stopped.
        line: usize,
        /// Where the parser stopped, in bytes.
        column: usize,
        /// What it expected, without the place.
        message: String,
    },
    /// JSON, but not what is asked for.
    Value,
}

/// The parts of an [`Error`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Syntax or value.
    pub kind: Kind,
    /// JSON pointer (RFC 6901) of the value, with keys as the document spells them; empty for the whole document.
    pub pointer: String,
    /// What stands there, as JSON cut to 64 characters; `nothing` for a key that is missing. Of a syntax error: the message.
    pub found: String,
    /// What may stand there, in words.
    pub allowed: String,
}

/// A document that can't be read. Its parts are reached by dereferencing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error(Box<Inner>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Inner {
    problem: Problem,
    /// A key that is missing in the value that the error will be located at.
    missing: Option<&'static str>,
    /// What a type said without saying what it would take.
    remark: Option<String>,
    located: bool,
}

/// The error of a type that takes only certain values, for any deserializer: `found` is shown as given, so strings
/// should come with their quotes (`{:?}`); `allowed` completes the phrase "allowed: ...".
///
/// It travels as serde's `invalid_value` with [`Unexpected::Other`]; a type that doesn't know this crate can do the same.
pub fn invalid<E: de::Error>(found: &str, allowed: &str) -> E {
    E::invalid_value(Unexpected::Other(found), &allowed)
}

/// A value as JSON on one line, cut to 64 characters (`...` at the end says so).
pub fn render(value: &Value) -> String {
    let mut out = String::new();
    write_value(value, &mut out);
    cut(out)
}

// === impl Error ===

impl Error {
    /// An error at a place known to the caller.
    pub fn new(pointer: &str, found: &str, allowed: &str) -> Self {
        let mut error = Self::value(found.to_owned(), allowed.to_owned());
        error.0.problem.pointer = pointer.to_owned();
        error.0.located = true;
        error
    }

    /// The same error in a document that has this one at `pointer`. A syntax error stays as it is.
    #[must_use]
    pub fn under(mut self, pointer: &str) -> Self {
        if self.0.problem.kind == Kind::Value {
            self.0.problem.pointer.insert_str(0, pointer);
        }
        self
    }

    /// The parts, to keep.
    pub fn into_problem(self) -> Problem {
        self.0.problem
    }

    fn value(found: String, allowed: String) -> Self {
        let problem = Problem { kind: Kind::Value, pointer: String::new(), found: cut(found), allowed };
        Self(Box::new(Inner { problem, missing: None, remark: None, located: false }))
    }

    pub(crate) fn syntax(error: &serde_json::Error) -> Self {
        let text = error.to_string();
        let message = text.split(" at line ").next().unwrap_or_default().to_owned();
        let mut new = Self::value(message.clone(), "a JSON document".to_owned());
        new.0.problem.kind = Kind::Syntax { line: error.line(), column: error.column(), message };
        new.0.located = true;
        new
    }

    /// What a value of the wrong type is, from the words a visitor has for what it expects.
    pub(crate) fn mismatch(expected: &dyn Expected) -> Self {
        Self::value(String::new(), plain(expected.to_string()))
    }

    /// The innermost value whose deserialization failed is the one at fault: later calls change nothing.
    pub(crate) fn locate(mut self, path: &Path<'_>, value: &Value) -> Self {
        let inner = &mut *self.0;
        if inner.located {
            return self;
        }
        inner.located = true;
        path.write(&mut inner.problem.pointer);
        if let Some(key) = inner.missing {
            crate::pointer_push(&mut inner.problem.pointer, key);
        } else if inner.problem.found.is_empty() {
            inner.problem.found = render(value);
        }
        if let Some(remark) = inner.remark.take() {
            inner.problem.found.push_str(" (");
            inner.problem.found.push_str(&remark);
            inner.problem.found.push(')');
        }
        self
    }
}

impl Deref for Error {
    type Target = Problem;

    fn deref(&self) -> &Problem {
        &self.0.problem
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Problem { kind, pointer, found, allowed } = &self.0.problem;
        match kind {
            Kind::Syntax { line, column, message } => write!(f, "not JSON at line {line} column {column}: {message}"),
            Kind::Value if pointer.is_empty() => write!(f, "found {found}, allowed: {allowed}"),
            Kind::Value => write!(f, "at {pointer}: found {found}, allowed: {allowed}"),
        }
    }
}

impl std::error::Error for Error {}

impl de::Error for Error {
    fn custom<T: fmt::Display>(message: T) -> Self {
        let mut error = Self::value(String::new(), "a valid value".to_owned());
        error.0.remark = Some(cut(message.to_string()));
        error
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
        Self::value(String::new(), variants.join(", "))
    }

    fn unknown_field(key: &str, fields: &'static [&'static str]) -> Self {
        Self::value(key.to_owned(), fields.join(", "))
    }

    fn missing_field(key: &'static str) -> Self {
        let mut error = Self::value("nothing".to_owned(), "a value, the key is required".to_owned());
        error.0.missing = Some(key);
        error
    }

    fn duplicate_field(key: &'static str) -> Self {
        Self::value(String::new(), ["one spelling of the key ", key].concat())
    }
}

// === words ===

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

fn cut(mut text: String) -> String {
    if let Some((end, _)) = text.char_indices().nth(SHOWN)
        && let Some((keep, _)) = text.char_indices().nth(SHOWN - 3)
        && end > keep
    {
        text.truncate(keep);
        text.push_str("...");
    }
    text
}

/// Writes JSON, and stops caring once more than can be shown is there.
fn write_value(value: &Value, out: &mut String) {
    if out.len() > SHOWN * 4 {
        return;
    }
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(true) => out.push_str("true"),
        Value::Bool(false) => out.push_str("false"),
        Value::Number(number) => {
            let _ = write!(out, "{number}");
        }
        Value::String(text) => write_string(text, out),
        Value::Array(items) => {
            out.push('[');
            for (at, item) in items.iter().take(SHOWN).enumerate() {
                if at > 0 {
                    out.push(',');
                }
                write_value(item, out);
            }
            out.push(']');
        }
        Value::Object(object) => {
            out.push('{');
            for (at, (key, item)) in object.iter().take(SHOWN).enumerate() {
                if at > 0 {
                    out.push(',');
                }
                write_string(key, out);
                out.push(':');
                write_value(item, out);
            }
            out.push('}');
        }
    }
}

/// Control characters, which could disturb a terminal or a log, are escaped.
fn write_string(text: &str, out: &mut String) {
    out.push('"');
    for character in text.chars().take(SHOWN + 1) {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            other if (other as u32) < 0x20 || (0x7f..0xa0).contains(&(other as u32)) => {
                let _ = write!(out, "\\u{:04x}", other as u32);
            }
            other => out.push(other),
        }
    }
    out.push('"');
}
