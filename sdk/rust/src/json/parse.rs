//! From text to values (RFC 8259).

use std::borrow::Cow;

use super::{Object, Value};

/// Levels of lists and objects, so that a document can't exhaust the stack.
const DEPTH: u32 = 127;

/// Reads one value and nothing after it. The error is the offset in bytes where the text stops being JSON; lists and
/// objects nested deeper than 127 levels are none.
pub fn parse(text: &str) -> Result<Value<'_>, usize> {
    let mut parser = Parser { text, at: 0 };
    let value = parser.value(DEPTH);
    parser.space();
    match value {
        Some(value) if parser.at == text.len() => Ok(value),
        _ => Err(parser.at),
    }
}

/// Every method returns none where the text isn't what the method reads.
struct Parser<'t> {
    text: &'t str,
    at: usize,
}

impl<'t> Parser<'t> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn eat(&mut self, byte: u8) -> bool {
        let there = self.peek() == Some(byte);
        self.at += usize::from(there);
        there
    }

    fn space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    fn word(&mut self, word: &str, value: Value<'t>) -> Option<Value<'t>> {
        let rest = self.text.as_bytes().get(self.at..)?;
        if !rest.starts_with(word.as_bytes()) {
            return None;
        }
        self.at += word.len();
        Some(value)
    }

    fn value(&mut self, depth: u32) -> Option<Value<'t>> {
        self.space();
        match self.peek()? {
            b'n' => self.word("null", Value::Null),
            b't' => self.word("true", Value::Bool(true)),
            b'f' => self.word("false", Value::Bool(false)),
            b'"' => self.string().map(Value::String),
            b'[' => self.array(depth.checked_sub(1)?),
            b'{' => self.object(depth.checked_sub(1)?),
            _ => self.number(),
        }
    }

    fn array(&mut self, depth: u32) -> Option<Value<'t>> {
        self.at += 1;
        let mut items = Vec::new();
        self.space();
        if self.eat(b']') {
            return Some(Value::Array(items));
        }
        loop {
            items.push(self.value(depth)?);
            self.space();
            if self.eat(b']') {
                return Some(Value::Array(items));
            }
            self.eat(b',').then_some(())?;
        }
    }

    fn object(&mut self, depth: u32) -> Option<Value<'t>> {
        self.at += 1;
        let mut object = Object::default();
        self.space();
        if self.eat(b'}') {
            return Some(Value::Object(object));
        }
        loop {
            self.space();
            let key = self.string()?;
            self.space();
            self.eat(b':').then_some(())?;
            object.set(key, self.value(depth)?);
            self.space();
            if self.eat(b'}') {
                return Some(Value::Object(object));
            }
            self.eat(b',').then_some(())?;
        }
    }

    fn digits(&mut self) -> Option<()> {
        let start = self.at;
        while let Some(b'0'..=b'9') = self.peek() {
            self.at += 1;
        }
        (self.at > start).then_some(())
    }

    fn number(&mut self) -> Option<Value<'t>> {
        let start = self.at;
        self.eat(b'-');
        if !self.eat(b'0') {
            self.digits()?;
        }
        if self.eat(b'.') {
            self.digits()?;
        }
        if self.eat(b'e') || self.eat(b'E') {
            let _ = self.eat(b'+') || self.eat(b'-');
            self.digits()?;
        }
        self.text.get(start..self.at).map(|text| Value::Number(Cow::Borrowed(text)))
    }

    fn string(&mut self) -> Option<Cow<'t, str>> {
        self.eat(b'"').then_some(())?;
        let mut start = self.at;
        let mut out = String::new();
        loop {
            match self.peek()? {
                b'"' => {
                    let rest = self.text.get(start..self.at)?;
                    self.at += 1;
                    if out.is_empty() {
                        return Some(Cow::Borrowed(rest));
                    }
                    out.push_str(rest);
                    return Some(Cow::Owned(out));
                }
                b'\\' => {
                    out.push_str(self.text.get(start..self.at)?);
                    self.at += 1;
                    out.push(self.escape()?);
                    start = self.at;
                }
                0..0x20 => return None,
                _ => self.at += 1,
            }
        }
    }

    fn escape(&mut self) -> Option<char> {
        let letter = self.peek()?;
        self.at += 1;
        Some(match letter {
            b'"' | b'\\' | b'/' => char::from(letter),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let unit = self.hexadecimal()?;
                let mut code = unit;
                if (0xd800..0xdc00).contains(&unit) {
                    (self.eat(b'\\') && self.eat(b'u')).then_some(())?;
                    let low = self.hexadecimal()?;
                    (0xdc00..0xe000).contains(&low).then_some(())?;
                    code = 0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
                }
                char::from_u32(code)?
            }
            _ => return None,
        })
    }

    fn hexadecimal(&mut self) -> Option<u32> {
        let mut code = 0;
        for _ in 0..4 {
            code = code << 4 | char::from(self.peek()?).to_digit(16)?;
            self.at += 1;
        }
        Some(code)
    }
}
