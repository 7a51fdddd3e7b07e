//! Writes the Rust types of the contract from `wit/`: one module an interface, one type a WIT type.
//!
//! Only types are generated. The functions of an interface are a handful, and whoever links or calls them
//! (the engine) names them itself, because which of them a component gets is the gate's decision.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use wit_parser::{Interface, Resolve, Type, TypeDef, TypeDefKind, TypeOwner};

/// Types whose JSON is text; `src/text.rs` has their serde implementations.
const TEXTUAL: [&str; 2] = ["ip-address", "ip-prefix"];
/// The alias whose fields are written as `aa:bb:cc:dd:ee:ff`.
const MAC_ADDRESS: &str = "mac-address";

fn main() -> Result<()> {
    let manifest = PathBuf::from(std::env::var("CARGO_MANIFEST_DIR")?);
    let wit = manifest.join("../../wit");
    println!("cargo::rerun-if-changed={}", wit.display());
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_dir(&wit).with_context(|| format!("reading {}", wit.display()))?;
    let generator = Generator { resolve: &resolve, component: std::env::var_os("CARGO_FEATURE_COMPONENT").is_some() };
    let mut out = String::new();
    for (name, id) in &resolve.packages[package].interfaces {
        generator.interface(&mut out, name, &resolve.interfaces[*id])?;
    }
    let target = Path::new(&std::env::var("OUT_DIR")?).join("contract.rs");
    std::fs::write(&target, out).with_context(|| format!("writing {}", target.display()))
}

struct Generator<'a> {
    resolve: &'a Resolve,
    /// Whether wasmtime's traits are derived.
    component: bool,
}

impl Generator<'_> {
    fn interface(&self, out: &mut String, name: &str, interface: &Interface) -> Result<()> {
        doc(out, "", interface.docs.contents.as_deref());
        writeln!(out, "pub mod {} {{", snake(name))?;
        for (name, id) in &interface.types {
            let definition = &self.resolve.types[*id];
            self.definition(out, name, definition).with_context(|| format!("type {name}"))?;
        }
        writeln!(out, "}}")?;
        Ok(())
    }

    fn definition(&self, out: &mut String, name: &str, definition: &TypeDef) -> Result<()> {
        doc(out, "    ", definition.docs.contents.as_deref());
        let rust = camel(name);
        match &definition.kind {
            TypeDefKind::Record(record) => {
                self.attributes(out, name, "record", "")?;
                writeln!(out, "    pub struct {rust} {{")?;
                for field in &record.fields {
                    doc(out, "        ", field.docs.contents.as_deref().or(Some(&field.name)));
                    self.field_name(out, &field.name)?;
                    self.serde_field(out, &field.ty)?;
                    writeln!(out, "        pub {}: {},", snake(&field.name), self.rust_type(&field.ty)?)?;
                }
                writeln!(out, "    }}")?;
            }
            TypeDefKind::Variant(variant) => {
                self.attributes(out, name, "variant", "")?;
                writeln!(out, "    pub enum {rust} {{")?;
                for case in &variant.cases {
                    doc(out, "        ", case.docs.contents.as_deref().or(Some(&case.name)));
                    self.field_name(out, &case.name)?;
                    match &case.ty {
                        Some(ty) => writeln!(out, "        {}({}),", camel(&case.name), self.rust_type(ty)?)?,
                        None => writeln!(out, "        {},", camel(&case.name))?,
                    }
                }
                writeln!(out, "    }}")?;
            }
            TypeDefKind::Enum(cases) => {
                self.attributes(out, name, "enum", "Copy, Default, PartialOrd, Ord, Hash, ")?;
                writeln!(out, "    #[repr(u8)]\n    pub enum {rust} {{")?;
                for (index, case) in cases.cases.iter().enumerate() {
                    doc(out, "        ", case.docs.contents.as_deref().or(Some(&case.name)));
                    self.field_name(out, &case.name)?;
                    let default = if index == 0 { "#[default] " } else { "" };
                    writeln!(out, "        {default}{},", camel(&case.name))?;
                }
                writeln!(out, "    }}")?;
            }
            TypeDefKind::Type(Type::Id(id)) => {
                let TypeOwner::Interface(owner) = self.resolve.types[*id].owner else {
                    bail!("not owned by an interface");
                };
                let module = self.resolve.interfaces[owner].name.as_deref().context("an interface without a name")?;
                writeln!(out, "    pub use super::{}::{rust};", snake(module))?;
            }
            TypeDefKind::Type(primitive) => {
                writeln!(out, "    pub type {rust} = {};", self.rust_type(primitive)?)?;
            }
            other => bail!("{} has no Rust form here; extend host/contract/build.rs", other.as_str()),
        }
        Ok(())
    }

    fn attributes(&self, out: &mut String, name: &str, shape: &str, more: &str) -> Result<()> {
        // Copy where it is plainly cheap: addresses are passed around everywhere.
        let more = match name {
            "ip-address" | "ip-prefix" | "ipv6-address" => "Copy, PartialOrd, Ord, Hash, ",
            // A key of maps.
            "link-name" => "PartialOrd, Ord, Hash, ",
            _ => more,
        };
        write!(out, "    #[derive({more}Clone, Debug, PartialEq, Eq")?;
        if !TEXTUAL.contains(&name) {
            write!(out, ", serde::Serialize, serde::Deserialize")?;
        }
        if self.component {
            write!(out, ", wasmtime::component::ComponentType, wasmtime::component::Lift, wasmtime::component::Lower")?;
        }
        writeln!(out, ")]")?;
        if !TEXTUAL.contains(&name) {
            writeln!(out, "    #[serde(rename_all = \"kebab-case\")]")?;
        }
        if self.component {
            writeln!(out, "    #[component({shape})]")?;
        }
        Ok(())
    }

    fn field_name(&self, out: &mut String, name: &str) -> Result<()> {
        if self.component {
            writeln!(out, "        #[component(name = \"{name}\")]")?;
        }
        Ok(())
    }

    fn serde_field(&self, out: &mut String, ty: &Type) -> Result<()> {
        let Type::Id(id) = ty else { return Ok(()) };
        match &self.resolve.types[*id].kind {
            TypeDefKind::Option(inner) if self.is_mac(inner) => writeln!(
                out,
                "        #[serde(default, skip_serializing_if = \"Option::is_none\", with = \"crate::text::optional_mac\")]"
            )?,
            TypeDefKind::Option(_) => {
                writeln!(out, "        #[serde(default, skip_serializing_if = \"Option::is_none\")]")?;
            }
            TypeDefKind::List(_) => {
                writeln!(out, "        #[serde(default, skip_serializing_if = \"Vec::is_empty\")]")?;
            }
            _ if self.is_mac(ty) => writeln!(out, "        #[serde(with = \"crate::text::mac\")]")?,
            _ => {}
        }
        Ok(())
    }

    fn is_mac(&self, ty: &Type) -> bool {
        let &Type::Id(mut id) = ty else { return false };
        loop {
            let definition = &self.resolve.types[id];
            if definition.name.as_deref() == Some(MAC_ADDRESS) {
                return true;
            }
            match definition.kind {
                TypeDefKind::Type(Type::Id(next)) => id = next,
                _ => return false,
            }
        }
    }

    fn rust_type(&self, ty: &Type) -> Result<String> {
        Ok(match ty {
            Type::Bool => "bool".into(),
            Type::U8 => "u8".into(),
            Type::U16 => "u16".into(),
            Type::U32 => "u32".into(),
            Type::U64 => "u64".into(),
            Type::S32 => "i32".into(),
            Type::S64 => "i64".into(),
            Type::String => "String".into(),
            Type::Id(id) => {
                let definition = &self.resolve.types[*id];
                match (&definition.name, &definition.kind) {
                    (Some(name), _) => camel(name),
                    (None, TypeDefKind::Option(inner)) => format!("Option<{}>", self.rust_type(inner)?),
                    (None, TypeDefKind::List(inner)) => format!("Vec<{}>", self.rust_type(inner)?),
                    (None, other) => bail!("an unnamed {} has no Rust form here", other.as_str()),
                }
            }
            other => bail!("{other:?} has no Rust form here"),
        })
    }
}

fn doc(out: &mut String, indent: &str, text: Option<&str>) {
    for line in text.unwrap_or_default().trim().lines() {
        let _ = writeln!(out, "{indent}/// {}", line.trim());
    }
}

fn snake(kebab: &str) -> String {
    kebab.replace('-', "_")
}

fn camel(kebab: &str) -> String {
    kebab
        .split('-')
        .map(|word| {
            let mut letters = word.chars();
            letters.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(letters).collect::<String>()
        })
        .collect()
}
