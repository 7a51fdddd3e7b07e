//! Bounds on everything a component hands over.
//!
//! wasmtime bounds the bytes of one transfer ([`TRANSFER`]); this looks at the value that came of it, before anybody
//! else does. It walks the value the way it would be written as JSON, which every type of the contract can be, so a
//! type added to the contract is bounded without being mentioned here.

use std::fmt::{self, Write as _};

use serde::ser::{self, Serialize};

/// Bytes of one transfer from a component.
pub(crate) const TRANSFER: usize = 4 << 20;
/// Bytes in a link's name, as the kernel has it.
const NAME: usize = 15;
/// Bytes in a label.
const LABEL: usize = 64;
/// Bytes in any other text.
const TEXT: usize = 64 << 10;
/// Bytes in a configuration that a rewriter answers with.
pub(crate) const CONFIG: usize = 1 << 20;
/// Links in a plan.
const LINKS: usize = 64;
/// Elements in any other list.
const LIST: usize = 1024;

/// What the strings and lists in a field or a case may hold, where that isn't the usual.
fn cap_of(owner: &str, field: &str) -> Option<usize> {
    Some(match (owner, field) {
        ("Plan", "links") => LINKS,
        ("Link", "name")
        | ("LinkName", "name")
        | ("VirtualFunction", "physical")
        | ("ConditionField", "input-link") => NAME,
        ("Link", "label") | ("LinkRef", "label") | ("LinkKind", "veth") => LABEL,
        _ => return None,
    })
}

/// A component handed over more than the contract allows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place} has {found} {unit}, at most {cap} are allowed")]
pub struct CapExceeded {
    /// Where: `plan.links[3].name`.
    pub place: String,
    /// How much is there.
    pub found: usize,
    /// How much may be.
    pub cap: usize,
    /// Of what: bytes or elements.
    pub unit: &'static str,
}

/// Checks a value that is called `root` in the error.
pub(crate) fn check<T: Serialize + ?Sized>(root: &'static str, value: &T) -> Result<(), CapExceeded> {
    let mut walk = Walk { root, path: Vec::new(), cap: None };
    value.serialize(&mut walk).map_err(|error| error.0)
}

/// Checks a text on its own.
pub(crate) fn check_text(place: &'static str, text: &str, cap: usize) -> Result<(), CapExceeded> {
    match text.len() {
        found if found > cap => Err(CapExceeded { place: place.to_owned(), found, cap, unit: "bytes" }),
        _ => Ok(()),
    }
}

struct Walk {
    root: &'static str,
    path: Vec<Step>,
    /// For the strings and lists directly in the field that is being looked at.
    cap: Option<usize>,
}

#[derive(Clone, Copy)]
enum Step {
    Field(&'static str),
    Element(usize),
}

impl Walk {
    fn within(&self, found: usize, usual: usize, unit: &'static str) -> Result<(), Stop> {
        let cap = self.cap.unwrap_or(usual);
        if found <= cap {
            return Ok(());
        }
        let mut place = self.root.to_owned();
        for step in &self.path {
            let _ = match step {
                Step::Field(name) => write!(place, ".{name}"),
                Step::Element(index) => write!(place, "[{index}]"),
            };
        }
        Err(Stop(CapExceeded { place, found, cap, unit }))
    }

    fn step<T: Serialize + ?Sized>(&mut self, step: Step, cap: Option<usize>, value: &T) -> Result<(), Stop> {
        let outer = std::mem::replace(&mut self.cap, cap);
        self.path.push(step);
        value.serialize(&mut *self)?;
        self.path.pop();
        self.cap = outer;
        Ok(())
    }
}

#[derive(Debug)]
struct Stop(CapExceeded);

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
impl ser::StdError for Stop {}
impl ser::Error for Stop {
    fn custom<T: fmt::Display>(message: T) -> Self {
        // No type of the contract fails to be written; were one to, it must not pass unseen.
        Self(CapExceeded { place: message.to_string(), found: 1, cap: 0, unit: "faults" })
    }
}

/// A list or a record that is being walked.
struct Parts<'a> {
    walk: &'a mut Walk,
    owner: &'static str,
    next: usize,
}

impl Parts<'_> {
    fn element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Stop> {
        self.next += 1;
        self.walk.step(Step::Element(self.next - 1), None, value)
    }

    fn field<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Result<(), Stop> {
        self.walk.step(Step::Field(name), cap_of(self.owner, name), value)
    }
}

macro_rules! scalars {
    ($($method:ident: $type:ty),*) => {$(
        fn $method(self, _: $type) -> Result<(), Stop> { Ok(()) }
    )*};
}

impl<'a> ser::Serializer for &'a mut Walk {
    type Ok = ();
    type Error = Stop;
    type SerializeSeq = Parts<'a>;
    type SerializeTuple = Parts<'a>;
    type SerializeTupleStruct = Parts<'a>;
    type SerializeTupleVariant = Parts<'a>;
    type SerializeMap = Parts<'a>;
    type SerializeStruct = Parts<'a>;
    type SerializeStructVariant = Parts<'a>;

    scalars!(
        serialize_bool: bool, serialize_i8: i8, serialize_i16: i16, serialize_i32: i32, serialize_i64: i64,
        serialize_u8: u8, serialize_u16: u16, serialize_u32: u32, serialize_u64: u64, serialize_f32: f32,
        serialize_f64: f64, serialize_char: char, serialize_unit_struct: &'static str
    );

    fn serialize_str(self, text: &str) -> Result<(), Stop> {
        self.within(text.len(), TEXT, "bytes")
    }
    /// Addresses and the like, of a bounded length.
    fn collect_str<T: fmt::Display + ?Sized>(self, _: &T) -> Result<(), Stop> {
        Ok(())
    }
    fn serialize_bytes(self, bytes: &[u8]) -> Result<(), Stop> {
        self.within(bytes.len(), TEXT, "bytes")
    }
    fn serialize_none(self) -> Result<(), Stop> {
        Ok(())
    }
    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Stop> {
        value.serialize(self)
    }
    fn serialize_unit(self) -> Result<(), Stop> {
        Ok(())
    }
    fn serialize_unit_variant(self, _: &'static str, _: u32, _: &'static str) -> Result<(), Stop> {
        Ok(())
    }
    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, value: &T) -> Result<(), Stop> {
        value.serialize(self)
    }
    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        owner: &'static str,
        _: u32,
        case: &'static str,
        value: &T,
    ) -> Result<(), Stop> {
        self.step(Step::Field(case), cap_of(owner, case), value)
    }
    fn serialize_seq(self, length: Option<usize>) -> Result<Parts<'a>, Stop> {
        self.within(length.unwrap_or(0), LIST, "elements")?;
        Ok(Parts { walk: self, owner: "", next: 0 })
    }
    fn serialize_tuple(self, _: usize) -> Result<Parts<'a>, Stop> {
        Ok(Parts { walk: self, owner: "", next: 0 })
    }
    fn serialize_tuple_struct(self, owner: &'static str, _: usize) -> Result<Parts<'a>, Stop> {
        Ok(Parts { walk: self, owner, next: 0 })
    }
    fn serialize_tuple_variant(
        self,
        owner: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Parts<'a>, Stop> {
        Ok(Parts { walk: self, owner, next: 0 })
    }
    fn serialize_map(self, length: Option<usize>) -> Result<Parts<'a>, Stop> {
        self.serialize_seq(length)
    }
    fn serialize_struct(self, owner: &'static str, _: usize) -> Result<Parts<'a>, Stop> {
        Ok(Parts { walk: self, owner, next: 0 })
    }
    fn serialize_struct_variant(
        self,
        owner: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Parts<'a>, Stop> {
        Ok(Parts { walk: self, owner, next: 0 })
    }
}

macro_rules! parts {
    ($($trait:ident: $method:ident),*) => {$(
        impl ser::$trait for Parts<'_> {
            type Ok = ();
            type Error = Stop;
            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Stop> { self.element(value) }
            fn end(self) -> Result<(), Stop> { Ok(()) }
        }
    )*};
}
parts!(
    SerializeSeq: serialize_element,
    SerializeTuple: serialize_element,
    SerializeTupleStruct: serialize_field,
    SerializeTupleVariant: serialize_field
);

impl ser::SerializeMap for Parts<'_> {
    type Ok = ();
    type Error = Stop;
    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Stop> {
        self.element(key)
    }
    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Stop> {
        self.element(value)
    }
    fn end(self) -> Result<(), Stop> {
        Ok(())
    }
}

macro_rules! records {
    ($($trait:ident),*) => {$(
        impl ser::$trait for Parts<'_> {
            type Ok = ();
            type Error = Stop;
            fn serialize_field<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Result<(), Stop> {
                self.field(name, value)
            }
            fn end(self) -> Result<(), Stop> { Ok(()) }
        }
    )*};
}
records!(SerializeStruct, SerializeStructVariant);

#[cfg(test)]
mod tests {
    use super::*;
    use weft_contract::plan::{Link, LinkKind, Masquerade, Outcome, Plan, Sysctl};
    use weft_contract::types::{LinkName, LinkRef, LinkSelector, Place};

    fn link() -> Link {
        serde_json::from_str(
            r#"{"label":"a","kind":"dummy","place":"sandbox","name":"eth0","life":"attachment","addresses":[],"sysctls":[]}"#,
        )
        .unwrap()
    }

    fn plan(change: impl FnOnce(&mut Plan)) -> Plan {
        let mut plan: Plan = serde_json::from_str(r#"{"outcome":{"extended":[]}}"#).unwrap();
        plan.links.push(link());
        change(&mut plan);
        plan
    }

    fn refused(change: impl FnOnce(&mut Plan)) -> String {
        check("plan", &plan(change)).unwrap_err().to_string()
    }

    #[test]
    fn what_fits_exactly_passes() {
        let full = plan(|plan| {
            plan.links = vec![link(); LINKS];
            plan.links[0].name = Some("n".repeat(NAME));
            plan.links[0].label = "l".repeat(LABEL);
            plan.sysctls = vec![Sysctl { key: "k".into(), value: "v".repeat(TEXT), lenient: false }; 2];
            plan.masquerades = vec![Masquerade { source: "10.0.0.0/8".parse().unwrap(), except: Vec::new() }; LIST];
        });
        assert_eq!(check("plan", &full), Ok(()));
    }

    #[test]
    fn what_is_too_much_is_named_with_its_place() {
        assert_eq!(
            refused(|plan| plan.links = vec![link(); LINKS + 1]),
            "plan.links has 65 elements, at most 64 are allowed"
        );
        assert_eq!(
            refused(|plan| plan.links[0].name = Some("n".repeat(NAME + 1))),
            "plan.links[0].name has 16 bytes, at most 15 are allowed"
        );
        assert_eq!(
            refused(|plan| plan.links[0].master = Some(LinkRef::Label("l".repeat(LABEL + 1)))),
            "plan.links[0].master.label has 65 bytes, at most 64 are allowed"
        );
        assert_eq!(
            refused(|plan| plan.links[0].kind = LinkKind::Veth("l".repeat(LABEL + 1))),
            "plan.links[0].kind.veth has 65 bytes, at most 64 are allowed"
        );
        let named = LinkName { place: Place::Host, name: "n".repeat(NAME + 1) };
        assert_eq!(
            refused(|plan| plan.links[0].kind = LinkKind::Existing(LinkSelector::Named(named))),
            "plan.links[0].kind.existing.named.name has 16 bytes, at most 15 are allowed"
        );
        assert_eq!(
            refused(|plan| plan.outcome = Outcome::Extended(vec![LinkRef::Label(String::new()); LIST + 1])),
            "plan.outcome.extended has 1025 elements, at most 1024 are allowed"
        );
        assert_eq!(
            refused(
                |plan| plan.sysctls = vec![Sysctl { key: "k".repeat(TEXT + 1), value: String::new(), lenient: false }]
            ),
            "plan.sysctls[0].key has 65537 bytes, at most 65536 are allowed"
        );
    }
}
