//! From values to text, on one line.

use std::fmt;

use super::Value;

/// A string as JSON.
pub fn quote(text: &str) -> String {
    let mut out = String::new();
    string(text, &mut out);
    out
}

impl fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = String::new();
        value(self, &mut out);
        f.write_str(&out)
    }
}

pub(super) fn value(from: &Value<'_>, out: &mut String) {
    match from {
        Value::Null => out.push_str("null"),
        Value::Bool(true) => out.push_str("true"),
        Value::Bool(false) => out.push_str("false"),
        Value::Number(text) => out.push_str(text),
        Value::String(text) => string(text, out),
        Value::Array(items) => {
            let mut before = '[';
            for item in items {
                out.push(before);
                before = ',';
                value(item, out);
            }
            out.push_str(if before == '[' { "[]" } else { "]" });
        }
        Value::Object(object) => {
            let mut before = '{';
            for (key, item) in object.entries() {
                out.push(before);
                before = ',';
                string(key, out);
                out.push(':');
                value(item, out);
            }
            out.push_str(if before == '{' { "{}" } else { "}" });
        }
    }
}

/// Control characters, which could disturb a terminal or a log, are escaped.
fn string(text: &str, out: &mut String) {
    out.push('"');
    for character in text.chars() {
        let code = character as u32;
        match character {
            '"' | '\\' => {
                out.push('\\');
                out.push(character);
            }
            '\n' => out.push_str("\\n"),
            _ if code < 0x20 || (0x7f..0xa0).contains(&code) => {
                out.push_str("\\u00");
                for digit in [code >> 4, code & 15] {
                    out.push(char::from_digit(digit, 16).unwrap_or('0'));
                }
            }
            other => out.push(other),
        }
    }
    out.push('"');
}
