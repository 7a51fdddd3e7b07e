//! What a component says about itself, read from its bytes without compiling or running it.

use wasmparser::component_types::{ComponentEntityType, ComponentItem};
use wasmparser::{Encoding, Parser, Payload, Validator};

use crate::directory::Kind;
use crate::gate::{self, Capability, GateError, Offer};

/// The custom section in which an SDK leaves the version of the contract, as text.
pub const STAMP_SECTION: &str = "weft:contract";

/// A component's capabilities and purpose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// What it is for.
    pub kind: Kind,
    /// The version of the contract it was built for.
    pub contract: String,
    /// The interfaces that it imports functions of, with these functions, in the order of the component.
    pub imports: Vec<Import>,
}

/// One imported interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Import {
    /// With its version: `weft:cni/facts@0.1.0`.
    pub interface: String,
    /// The functions that the component could call.
    pub functions: Vec<String>,
}

/// Why bytes are not an installable component.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// Not WebAssembly, or not valid.
    #[error("{component} is not a valid WebAssembly component: {detail}")]
    Invalid {
        /// What it was to be installed as.
        component: String,
        /// What is wrong.
        detail: String,
    },
    /// A core module.
    #[error(
        "{0} is a core WebAssembly module, not a component; `cargo xtask guests` or `wasm-tools component new` makes one of it"
    )]
    Module(String),
    /// It exports none of the contract's interfaces, or several.
    #[error(
        "{component} exports {found}; a component exports exactly one of weft:cni/delegate, weft:cni/ipam and weft:cni/rewriter"
    )]
    Exports {
        /// What it was to be installed as.
        component: String,
        /// What it exports of them.
        found: String,
    },
    /// It can't be linked.
    #[error(transparent)]
    Gate(#[from] GateError),
}

impl Manifest {
    /// Reads a component; `name` is for errors. A manifest is given for every component of the contract's shape, whether
    /// or not it can be linked here: see [`Manifest::check`].
    pub fn read(name: &str, wasm: &[u8]) -> Result<Self, ManifestError> {
        let invalid = |detail: String| ManifestError::Invalid { component: name.to_owned(), detail };
        if !Parser::is_component(wasm) {
            return Err(match Parser::is_core_wasm(wasm) {
                true => ManifestError::Module(name.to_owned()),
                false => invalid("it does not begin like one".into()),
            });
        }
        let (mut stamp, mut imports, mut exports) = (None, Vec::new(), Vec::new());
        let mut depth = 0_u32;
        for payload in Parser::new(0).parse_all(wasm) {
            match payload.map_err(|error| invalid(error.to_string()))? {
                Payload::Version { encoding: Encoding::Component | Encoding::Module, .. } => depth += 1,
                Payload::End(_) => depth -= 1,
                Payload::ComponentImportSection(section) if depth == 1 => {
                    for import in section {
                        imports.push(import.map_err(|error| invalid(error.to_string()))?.name.name);
                    }
                }
                Payload::ComponentExportSection(section) if depth == 1 => {
                    for export in section {
                        exports.push(export.map_err(|error| invalid(error.to_string()))?.name.name);
                    }
                }
                // Wherever it is: linkers leave it in the core module.
                Payload::CustomSection(section) if section.name() == STAMP_SECTION => {
                    stamp = Some(String::from_utf8_lossy(section.data()).trim_end_matches('\0').trim().to_owned());
                }
                _ => {}
            }
        }
        let types = Validator::new().validate_all(wasm).map_err(|error| invalid(error.to_string()))?;
        let types = types.as_ref();
        let functions = |item: &ComponentItem| match item.ty {
            ComponentEntityType::Instance(id) => types[id]
                .exports
                .iter()
                .filter(|(_, item)| matches!(item.ty, ComponentEntityType::Func(_)))
                .map(|(name, _)| name.clone())
                .collect(),
            // A function or a value without an interface: it must not be taken for a mere type.
            ComponentEntityType::Type { .. } => Vec::new(),
            _ => vec![String::new()],
        };
        let imports = imports
            .into_iter()
            .filter_map(|name| Some((name, types.component_item_for_import(name)?)))
            .map(|(name, item)| Import { interface: name.to_owned(), functions: functions(item) })
            .filter(|import| !import.functions.is_empty())
            .collect();
        let (kind, exported) = kind(name, &exports)?;
        Ok(Self { kind, contract: stamp.unwrap_or(exported), imports })
    }

    /// Whether this weft offers what the component imports, function by function. Grants are another matter.
    pub fn check(&self, name: &str) -> Result<(), GateError> {
        if !gate::speaks(&self.contract) {
            return Err(GateError::Contract { component: name.to_owned(), found: self.contract.clone() });
        }
        for import in &self.imports {
            let unknown = |import: String| GateError::Unknown {
                component: name.to_owned(),
                wasi: import.starts_with("wasi:"),
                import,
            };
            let capability = match gate::offered(name, &import.interface)? {
                Offer::Capability(capability) => capability,
                Offer::Types => return Err(unknown(import.interface.clone())),
                // What of it has no answer ends the call that asks.
                Offer::Nothing => continue,
            };
            let missing = import.functions.iter().find(|function| !capability.functions().contains(&function.as_str()));
            if let Some(function) = missing {
                return Err(unknown(format!("{} of {}", function, import.interface)));
            }
        }
        Ok(())
    }

    /// Whether it imports anything of WASI.
    pub fn wasi(&self) -> bool {
        self.imports.iter().any(|import| import.interface.starts_with("wasi:"))
    }

    /// The capabilities it asks for.
    pub fn capabilities(&self) -> impl Iterator<Item = Capability> + '_ {
        self.imports.iter().filter_map(|import| Capability::of_interface(&import.interface))
    }
}

fn kind(name: &str, exports: &[&str]) -> Result<(Kind, String), ManifestError> {
    let ours = |export: &&&str| {
        gate::split(export).is_some_and(|(package, interface, _)| {
            package == weft_contract::PACKAGE && Kind::ALL.iter().any(|kind| kind.name() == interface)
        })
    };
    let found: Vec<_> = exports.iter().filter(ours).collect();
    let single = match found.as_slice() {
        [export] => gate::split(export)
            .and_then(|(_, interface, version)| {
                Some((Kind::ALL.into_iter().find(|kind| kind.name() == interface)?, version.unwrap_or("of no version")))
            })
            .map(|(kind, version)| (kind, version.to_owned())),
        _ => None,
    };
    single.ok_or_else(|| ManifestError::Exports {
        component: name.to_owned(),
        found: match found.is_empty() {
            true => "none of weft's interfaces".into(),
            false => found.iter().map(|export| **export).collect::<Vec<_>>().join(" and "),
        },
    })
}
