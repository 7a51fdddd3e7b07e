//! A serde deserializer over a parsed value that knows where it is.

use serde::de::value::{BorrowedStrDeserializer, StrDeserializer};
use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, Error as _, MapAccess, SeqAccess, Unexpected, VariantAccess, Visitor,
};
use serde_json::{Map, Number, Value};

use crate::Error;
use crate::object;

/// The way from the document to a value, kept on the stack: it costs nothing unless an error needs it.
pub(crate) enum Path<'p> {
    Root,
    Key(&'p Path<'p>, &'p str),
    Index(&'p Path<'p>, usize),
}

impl Path<'_> {
    /// Appends the way as a JSON pointer.
    pub(crate) fn write(&self, pointer: &mut String) {
        match self {
            Path::Root => {}
            Path::Key(parent, key) => {
                parent.write(pointer);
                object::pointer_push(pointer, key);
            }
            Path::Index(parent, index) => {
                parent.write(pointer);
                object::push_index(pointer, *index);
            }
        }
    }
}

/// A value and the way to it.
pub(crate) struct Node<'v, 'p> {
    value: &'v Value,
    path: &'p Path<'p>,
}

impl<'v> Node<'v, 'static> {
    pub(crate) fn root(value: &'v Value) -> Self {
        Self { value, path: &Path::Root }
    }
}

// === impl Node ===

macro_rules! numbers {
    ($($method:ident)*) => { $(
        fn $method<V: Visitor<'v>>(self, visitor: V) -> Result<V::Value, Error> {
            match self.value {
                Value::Number(number) => visit_number(number, visitor),
                _ => Err(Error::mismatch(&visitor)),
            }
        }
    )* };
}

impl<'v> Deserializer<'v> for Node<'v, '_> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'v>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.value {
            Value::Null => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(*value),
            Value::Number(number) => visit_number(number, visitor),
            Value::String(text) => visitor.visit_borrowed_str(text),
            Value::Array(items) => visitor.visit_seq(Items::new(items, self.path)),
            Value::Object(object) => visitor.visit_map(Entries::new(object, self.path)),
        }
    }

    fn deserialize_bool<V: Visitor<'v>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.value {
            Value::Bool(value) => visitor.visit_bool(*value),
            _ => Err(Error::mismatch(&visitor)),
        }
    }

    numbers! {
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128
        deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128
        deserialize_f32 deserialize_f64
    }

    fn deserialize_str<V: Visitor<'v>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.value {
            Value::String(text) => visitor.visit_borrowed_str(text),
            _ => Err(Error::mismatch(&visitor)),
        }
    }

    fn deserialize_string<V: Visitor<'v>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_str(visitor)
    }

    fn deserialize_char<V: Visitor<'v>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_str(visitor)
    }

    fn deserialize_identifier<V: Visitor<'v>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_str(visitor)
    }

    fn deserialize_bytes<V: Visitor<'v>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_any(visitor)
    }

    fn deserialize_byte_buf<V: Visitor<'v>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_any(visitor)
    }

    fn deserialize_option<V: Visitor<'v>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.value {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_unit<V: Visitor<'v>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.value {
            Value::Null => visitor.visit_unit(),
            _ => Err(Error::mismatch(&visitor)),
        }
    }

    fn deserialize_unit_struct<V: Visitor<'v>>(self, _: &'static str, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_unit(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'v>>(self, _: &'static str, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'v>>(self, visitor: V) -> Result<V::Value, Error> {
        let Value::Array(items) = self.value else { return Err(Error::mismatch(&visitor)) };
        visitor.visit_seq(Items::new(items, self.path))
    }

    /// A list of exactly that many.
    fn deserialize_tuple<V: Visitor<'v>>(self, length: usize, visitor: V) -> Result<V::Value, Error> {
        match self.value {
            Value::Array(items) if items.len() == length => visitor.visit_seq(Items::new(items, self.path)),
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
        visitor.visit_map(Entries::new(object, self.path))
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
        match self.value {
            Value::String(name) => visitor.visit_enum(Variant { name, content: None, path: self.path }),
            Value::Object(object) if object.len() == 1 => match object.iter().next() {
                Some((name, value)) => visitor.visit_enum(Variant { name, content: Some(value), path: self.path }),
                None => Err(Error::unknown_variant("", variants)),
            },
            _ => Err(Error::unknown_variant("", variants)),
        }
    }

    fn deserialize_ignored_any<V: Visitor<'v>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }
}

fn visit_number<'v, V: Visitor<'v>>(number: &Number, visitor: V) -> Result<V::Value, Error> {
    if let Some(value) = number.as_u64() {
        visitor.visit_u64(value)
    } else if let Some(value) = number.as_i64() {
        visitor.visit_i64(value)
    } else if let Some(value) = number.as_f64() {
        visitor.visit_f64(value)
    } else {
        Err(Error::mismatch(&visitor))
    }
}

// === lists ===

struct Items<'v, 'p> {
    items: std::slice::Iter<'v, Value>,
    next: usize,
    path: &'p Path<'p>,
}

impl<'v, 'p> Items<'v, 'p> {
    fn new(items: &'v [Value], path: &'p Path<'p>) -> Self {
        Self { items: items.iter(), next: 0, path }
    }
}

impl<'v> SeqAccess<'v> for Items<'v, '_> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'v>>(&mut self, seed: T) -> Result<Option<T::Value>, Error> {
        let Some(value) = self.items.next() else { return Ok(None) };
        let path = Path::Index(self.path, self.next);
        self.next += 1;
        descend(seed, value, &path).map(Some)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.items.len())
    }
}

/// Deserializes one value; an error that has no place yet is about this one.
fn descend<'v, T: DeserializeSeed<'v>>(seed: T, value: &'v Value, path: &Path<'_>) -> Result<T::Value, Error> {
    seed.deserialize(Node { value, path }).map_err(|error| error.locate(path, value))
}

// === objects ===

/// Every entry, as it is spelled.
struct Entries<'v, 'p> {
    entries: serde_json::map::Iter<'v>,
    entry: Option<(&'v String, &'v Value)>,
    path: &'p Path<'p>,
}

impl<'v, 'p> Entries<'v, 'p> {
    fn new(object: &'v Map<String, Value>, path: &'p Path<'p>) -> Self {
        Self { entries: object.iter(), entry: None, path }
    }
}

impl<'v> MapAccess<'v> for Entries<'v, '_> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'v>>(&mut self, seed: K) -> Result<Option<K::Value>, Error> {
        self.entry = self.entries.next();
        let Some((key, value)) = self.entry else { return Ok(None) };
        let from = BorrowedStrDeserializer::<Error>::new(key);
        seed.deserialize(from).map(Some).map_err(|error| error.locate(&Path::Key(self.path, key), value))
    }

    fn next_value_seed<T: DeserializeSeed<'v>>(&mut self, seed: T) -> Result<T::Value, Error> {
        match self.entry.take() {
            Some((key, value)) => descend(seed, value, &Path::Key(self.path, key)),
            None => Err(Error::custom("a value was asked for before its key")),
        }
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.entries.len())
    }
}

/// The entries that a struct has a field for, under the field's name.
struct Fields<'v, 'p> {
    object: &'v Map<String, Value>,
    path: &'p Path<'p>,
    fields: &'static [&'static str],
    next: usize,
    entry: Option<(&'v String, &'v Value)>,
}

impl<'v> Fields<'v, '_> {
    /// The next field that is there and isn't null.
    fn advance(&mut self) -> Option<&'static str> {
        while let Some(field) = self.fields.get(self.next) {
            self.next += 1;
            match object::find(self.object, field, self.fields) {
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
            None => Err(Error::custom("a value was asked for before its key")),
        }
    }
}

// === enums ===

/// `"name"` or `{"name": content}`.
struct Variant<'v, 'p> {
    name: &'v str,
    content: Option<&'v Value>,
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
            None => Err(Error::invalid_type(Unexpected::UnitVariant, &"an object with the variant as its key")),
        }
    }
}

impl<'v> VariantAccess<'v> for Variant<'v, '_> {
    type Error = Error;

    fn unit_variant(self) -> Result<(), Error> {
        match self.content {
            None | Some(Value::Null) => Ok(()),
            Some(_) => Err(Error::invalid_type(Unexpected::NewtypeVariant, &"the variant's name as a string")),
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
