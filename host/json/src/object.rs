//! Looking up keys without regard to case, by the rule of the deserializer.

use std::fmt::Write as _;

use serde_json::{Map, Value};

/// The value of a key: of its exact spelling, else of the last one that differs in ASCII case only. May be `null`.
pub fn get<'v>(object: &'v Map<String, Value>, key: &str) -> Option<&'v Value> {
    find(object, key, &[]).map(|(_, value)| value)
}

/// The entry for `key`, but none that is exactly one of the `others`.
pub(crate) fn find<'v>(object: &'v Map<String, Value>, key: &str, others: &[&str]) -> Option<(&'v String, &'v Value)> {
    object.get_key_value(key).or_else(|| {
        object.iter().rev().find(|(name, _)| name.eq_ignore_ascii_case(key) && !others.contains(&name.as_str()))
    })
}

/// Removes every spelling of a key and gives the value that [`get`] would have given. The order of the others stays.
pub fn remove(object: &mut Map<String, Value>, key: &str) -> Option<Value> {
    let mut chosen = None;
    while let Some((name, _)) = find(object, key, &[]) {
        let name = name.clone();
        let value = object.shift_remove(&name);
        chosen = chosen.or(value);
    }
    chosen
}

/// Makes `key`, so spelled, the only spelling of it, with this value; at its place if it was there, else at the end.
pub fn set(object: &mut Map<String, Value>, key: &str, value: Value) {
    if !object.contains_key(key) {
        remove(object, key);
    } else {
        let variant = |name: &String| name != key && name.eq_ignore_ascii_case(key);
        object.retain(|name, _| !variant(name));
    }
    object.insert(key.to_owned(), value);
}

/// The value at a JSON pointer (RFC 6901), keys chosen as by [`get`], and the pointer in the document's own spelling.
/// None: nothing there, or not a pointer.
pub fn pointer_get<'v>(value: &'v Value, pointer: &str) -> Option<(String, &'v Value)> {
    let mut canonical = String::new();
    let mut at = value;
    if pointer.is_empty() {
        return Some((canonical, at));
    }
    for token in pointer.strip_prefix('/')?.split('/') {
        match at {
            Value::Object(object) => {
                let (name, child) = find(object, &unescape(token)?, &[])?;
                pointer_push(&mut canonical, name);
                at = child;
            }
            Value::Array(items) => {
                let plain = token == "0" || (!token.starts_with('0') && token.bytes().all(|b| b.is_ascii_digit()));
                let index: usize = if plain { token.parse().ok()? } else { return None };
                at = items.get(index)?;
                push_index(&mut canonical, index);
            }
            _ => return None,
        }
    }
    Some((canonical, at))
}

/// Appends a key to a JSON pointer, escaped.
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

pub(crate) fn push_index(pointer: &mut String, index: usize) {
    let _ = write!(pointer, "/{index}");
}

/// None: a tilde that begins no escape.
fn unescape(token: &str) -> Option<String> {
    let mut out = String::with_capacity(token.len());
    let mut characters = token.chars();
    while let Some(character) = characters.next() {
        out.push(match character {
            '~' => match characters.next()? {
                '0' => '~',
                '1' => '/',
                _ => return None,
            },
            other => other,
        });
    }
    Some(out)
}
