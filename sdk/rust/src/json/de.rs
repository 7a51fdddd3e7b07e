//! A serde deserializer over a parsed value that knows where it is.

use serde::de::value::{BorrowedStrDeserializer, StrDeserializer};
use serde::de::{DeserializeSeed, Deserializer, EnumAccess, MapAccess, SeqAccess, VariantAccess, Visitor};
use serde::forward_to_deserialize_any;

use super::{Error, Object, Value, pointer_push};

/// The way from the document to a value, kept on the stack: it costs nothing unless an error needs it.
pub(super) enum Path<'p> {
    Root,
    Key(&'p Path<'p>, &'p str),
    Index(&'p Path<'p>, usize),
}

impl Path<'_> {
    /// Appends the way as a JSON pointer.
    pub(super) fn write(&self, pointer: &mut String) {
        match self {
            Path::Root => {}
            Path::Key(parent, key) => {
                parent.write(pointer);
                pointer_push(pointer, key);
            }
            Path::Index(parent, index) => {
                parent.write(pointer);
                pointer_push(pointer, &index.to_string());
            }
        }
    }
}

/// Reads a document.
pub(super) fn read<'v, T: serde::Deserialize<'v>>(value: &'v Value<'v>) -> Result<T, Error> {
    let path = Path::Root;
    T::deserialize(Node { value, path: &path }).map_err(|error| error.locate(&path, value))
}

/// A value and the way to it.
#[derive(Clone, Copy)]
struct Node<'v, 'p> {
    value: &'v Value<'v>,
    path: &'p Path<'p>,
}

impl<'v> Node<'v, '_> {
    /// What the text of a number is as a type; an integer has no fraction or exponent.
    fn number<T: std::str::FromStr>(&self) -> Option<T> {
        match self.value {
            Value::Number(text) => text.parse().ok(),
            _ => None,
        }
    }

    fn unsigned<V: Visitor<'v>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.number() {
            Some(number) => visitor.visit_u64(number),
            None => Err(Error::mismatch(&visitor)),
        }
    }

    fn signed<V: Visitor<'v>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.number() {
            Some(number) => visitor.visit_i64(number),
            None => Err(Error::mismatch(&visitor)),
        }
    }
}

macro_rules! as_is {
    ($($method:ident => $through:ident)*) => { $(
        fn $method<V: Visitor<'v>>(self, visitor: V) -> Result<V::Value, Error> {
            self.$through(visitor)
        }
    )* };
}

impl<'v> Deserializer<'v> for Node<'v, '_> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'v>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.value {
            Value::Null => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(*value),
            Value::Number(text) => match (self.number(), self.number(), text.parse()) {
                (Some(number), ..) => visitor.visit_u64(number),
                (_, Some(number), _) => visitor.visit_i64(number),
                (.., Ok(number)) => visitor.visit_f64(number),
                _ => Err(Error::mismatch(&visitor)),
            },
            Value::String(text) => visitor.visit_borrowed_str(text),
            Value::Array(_) => self.deserialize_seq(visitor),
            Value::Object(_) => self.deserialize_map(visitor),
        }
    }

    fn deserialize_bool<V: Visitor<'v>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.value {
            Value::Bool(value) => visitor.visit_bool(*value),
            _ => Err(Error::mismatch(&visitor)),
        }
    }

    as_is! {
        deserialize_u8 => unsigned
        deserialize_u16 => unsigned
        deserialize_u32 => unsigned
        deserialize_u64 => unsigned
        deserialize_i8 => signed
        deserialize_i16 => signed
        deserialize_i32 => signed
        deserialize_i64 => signed
        deserialize_f32 => deserialize_f64
        deserialize_string => deserialize_str
        deserialize_char => deserialize_str
        deserialize_identifier => deserialize_str
    }

    fn deserialize_f64<V: Visitor<'v>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.number() {
            Some(number) => visitor.visit_f64(number),
            None => Err(Error::mismatch(&visitor)),
        }
    }

    fn deserialize_str<V: Visitor<'v>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.value {
            Value::String(text) => visitor.visit_borrowed_str(text),
            _ => Err(Error::mismatch(&visitor)),
        }
    }

    fn deserialize_option<V: Visitor<'v>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.value {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'v>>(self, _: &'static str, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'v>>(self, visitor: V) -> Result<V::Value, Error> {
        let Value::Array(items) = self.value else { return Err(Error::mismatch(&visitor)) };
        visitor.visit_seq(Items { items, next: 0, path: self.path })
    }

    /// A list of exactly that many.
    fn deserialize_tuple<V: Visitor<'v>>(self, length: usize, visitor: V) -> Result<V::Value, Error> {
        match self.value {
            Value::Array(items) if items.len() == length => self.deserialize_seq(visitor),
            _ => Err(Error::mismatch(&visitor)),
        }
    }

    fn deserialize_tuple_struct<V: Visitor<'v>>(
        self,
        _: &'static str,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.deserialize_tuple(length, visitor)
    }

    fn deserialize_map<V: Visitor<'v>>(self, visitor: V) -> Result<V::Value, Error> {
        let Value::Object(object) = self.value else { return Err(Error::mismatch(&"an object")) };
        visitor.visit_map(Entries { object, next: 0, path: self.path })
    }

    fn deserialize_struct<V: Visitor<'v>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        let Value::Object(object) = self.value else { return Err(Error::mismatch(&"an object")) };
        visitor.visit_map(Fields { object, path: self.path, fields, next: 0, entry: None })
    }

    fn deserialize_enum<V: Visitor<'v>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        let wrong = || <Error as serde::de::Error>::unknown_variant("", variants);
        match self.value {
            Value::String(name) => visitor.visit_enum(Variant { name, content: None, path: self.path }),
            Value::Object(object) => match object.entries() {
                [(name, value)] => visitor.visit_enum(Variant { name, content: Some(value), path: self.path }),
                _ => Err(wrong()),
            },
            _ => Err(wrong()),
        }
    }

    fn deserialize_ignored_any<V: Visitor<'v>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }

    forward_to_deserialize_any! { <V: Visitor<'v>> u128 i128 bytes byte_buf unit unit_struct }
}

/// Deserializes one value; an error that has no place yet is about this one.
fn descend<'v, T: DeserializeSeed<'v>>(seed: T, value: &'v Value<'v>, path: &Path<'_>) -> Result<T::Value, Error> {
    seed.deserialize(Node { value, path }).map_err(|error| error.locate(path, value))
}

// === lists ===

struct Items<'v, 'p> {
    items: &'v [Value<'v>],
    next: usize,
    path: &'p Path<'p>,
}

impl<'v> SeqAccess<'v> for Items<'v, '_> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'v>>(&mut self, seed: T) -> Result<Option<T::Value>, Error> {
        let Some(value) = self.items.get(self.next) else { return Ok(None) };
        let path = Path::Index(self.path, self.next);
        self.next += 1;
        descend(seed, value, &path).map(Some)
    }
}

// === objects ===

/// Every entry, as it is spelled.
struct Entries<'v, 'p> {
    object: &'v Object<'v>,
    /// The entry whose key comes next; its value comes after it.
    next: usize,
    path: &'p Path<'p>,
}

impl<'v> MapAccess<'v> for Entries<'v, '_> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'v>>(&mut self, seed: K) -> Result<Option<K::Value>, Error> {
        let Some((key, value)) = self.object.entries().get(self.next) else { return Ok(None) };
        let key_error = |error: Error| error.locate(&Path::Key(self.path, key), value);
        seed.deserialize(BorrowedStrDeserializer::<Error>::new(key)).map(Some).map_err(key_error)
    }

    fn next_value_seed<T: DeserializeSeed<'v>>(&mut self, seed: T) -> Result<T::Value, Error> {
        let Some((key, value)) = self.object.entries().get(self.next) else { return Err(out_of_turn()) };
        self.next += 1;
        descend(seed, value, &Path::Key(self.path, key))
    }
}

fn out_of_turn() -> Error {
    Error::mismatch(&"a key before its value")
}

/// The entries that a struct has a field for, under the field's name.
struct Fields<'v, 'p> {
    object: &'v Object<'v>,
    path: &'p Path<'p>,
    fields: &'static [&'static str],
    next: usize,
    entry: Option<(&'v str, &'v Value<'v>)>,
}

impl Fields<'_, '_> {
    /// The next field that is there and isn't null.
    fn advance(&mut self) -> Option<&'static str> {
        while let Some(field) = self.fields.get(self.next) {
            self.next += 1;
            match self.object.find(field, self.fields) {
                None | Some((_, Value::Null)) => {}
                found => {
                    self.entry = found;
                    return Some(field);
                }
            }
        }
        None
    }
}

impl<'v> MapAccess<'v> for Fields<'v, '_> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'v>>(&mut self, seed: K) -> Result<Option<K::Value>, Error> {
        let Some(field) = self.advance() else { return Ok(None) };
        seed.deserialize(StrDeserializer::<Error>::new(field)).map(Some)
    }

    fn next_value_seed<T: DeserializeSeed<'v>>(&mut self, seed: T) -> Result<T::Value, Error> {
        match self.entry.take() {
            Some((key, value)) => descend(seed, value, &Path::Key(self.path, key)),
            None => Err(out_of_turn()),
        }
    }
}

// === enums ===

/// `"name"` or `{"name": content}`.
struct Variant<'v, 'p> {
    name: &'v str,
    content: Option<&'v Value<'v>>,
    path: &'p Path<'p>,
}

impl<'v, 'p> EnumAccess<'v> for Variant<'v, 'p> {
    type Error = Error;
    type Variant = Self;

    fn variant_seed<T: DeserializeSeed<'v>>(self, seed: T) -> Result<(T::Value, Self), Error> {
        Ok((seed.deserialize(BorrowedStrDeserializer::<Error>::new(self.name))?, self))
    }
}

impl<'v> Variant<'v, '_> {
    fn inside<T>(self, read: impl FnOnce(Node<'v, '_>) -> Result<T, Error>) -> Result<T, Error> {
        let path = Path::Key(self.path, self.name);
        match self.content {
            Some(value) => read(Node { value, path: &path }).map_err(|error| error.locate(&path, value)),
            None => Err(Error::mismatch(&"an object with the variant as its key")),
        }
    }
}

impl<'v> VariantAccess<'v> for Variant<'v, '_> {
    type Error = Error;

    fn unit_variant(self) -> Result<(), Error> {
        match self.content {
            None | Some(Value::Null) => Ok(()),
            Some(_) => Err(Error::mismatch(&"the variant's name as a string")),
        }
    }

    fn newtype_variant_seed<T: DeserializeSeed<'v>>(self, seed: T) -> Result<T::Value, Error> {
        self.inside(|node| seed.deserialize(node))
    }

    fn tuple_variant<V: Visitor<'v>>(self, length: usize, visitor: V) -> Result<V::Value, Error> {
        self.inside(|node| node.deserialize_tuple(length, visitor))
    }

    fn struct_variant<V: Visitor<'v>>(self, fields: &'static [&'static str], visitor: V) -> Result<V::Value, Error> {
        self.inside(|node| node.deserialize_struct("", fields, visitor))
    }
}
