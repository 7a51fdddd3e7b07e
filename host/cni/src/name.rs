//! Which names the specification lets through.

use serde::{Deserialize, Deserializer};

/// What [`is_name`] asks for, for people.
pub const NAME_RULE: &str = "letters, digits, `_`, `.` and `-`, a letter or digit first";

/// Whether it may name a network or a container: `[a-zA-Z0-9][a-zA-Z0-9_.-]*`.
pub fn is_name(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    text.bytes().all(allowed) && text.as_bytes().first().is_some_and(u8::is_ascii_alphanumeric)
}

/// Why the kernel would not take it as an interface's name; none: it would.
pub fn interface_name_problem(text: &str) -> Option<&'static str> {
    let forbidden = |character: char| matches!(character, '/' | ':' | '\0') || character.is_whitespace();
    match text {
        "" => Some("it is empty"),
        "." | ".." => Some("it would be a directory"),
        _ if text.len() > 15 => Some("it is longer than 15 bytes"),
        _ if text.contains(forbidden) => Some("it contains `/`, `:` or white space"),
        _ => None,
    }
}

/// A network's name.
pub(crate) struct Name(pub(crate) String);

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        if is_name(&text) {
            return Ok(Self(text));
        }
        Err(weft_json::invalid(&format!("{text:?}"), NAME_RULE))
    }
}

/// A `type`: the name of a file in a plugin directory, or nothing.
pub(crate) struct Kind(pub(crate) String);

impl<'de> Deserialize<'de> for Kind {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        if text.contains(['/', '\0']) || text == "." || text == ".." {
            return Err(weft_json::invalid(&format!("{text:?}"), "a plugin's name, without a path"));
        }
        Ok(Self(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for good in ["a", "0", "cbr0", "a_b.c-d", "A..", &"x".repeat(300)] {
            assert!(is_name(good), "{good}");
        }
        for bad in ["", ".", "-a", "_a", "a/b", "a b", "é", "a\n", "..", "a\0"] {
            assert!(!is_name(bad), "{bad:?}");
        }
    }

    #[test]
    fn interface_names() {
        for good in ["eth0", "a", "...", "net1.100", "a@b", "é", "fifteen-bytes-x"] {
            assert_eq!(interface_name_problem(good), None, "{good}");
        }
        for bad in ["", ".", "..", "a/b", "a:b", "a b", "a\tb", "a\u{a0}", "sixteen-bytes-xy", "éééééééé"] {
            assert!(interface_name_problem(bad).is_some(), "{bad}");
        }
    }
}
