//! Which capabilities a component is linked to: the single place that decides.
//!
//! A component asks for a capability by importing a function of its interface. What it imports is read from its type
//! when it is installed and stands in the index; here that list meets a set of grants, and the linker gets the granted
//! interfaces and nothing else. So a component that hides an import from its index still isn't linked to it.
//!
//! Grammar of an import: `PACKAGE ":" NAME "/" INTERFACE ["@" VERSION]`.

use std::borrow::Cow;
use std::fmt;

use crate::directory::{Index, Kind};
use crate::wasi;

/// Something a component can be allowed to do, by the interface of the same name in the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Capability {
    /// Look at links, routes and settings.
    Facts,
    /// Read files that the configuration names.
    Files,
    /// Reserve addresses.
    Leases,
    /// Look at and hold devices.
    Devices,
    /// Write to the log.
    Log,
}

/// Interfaces that hold types only: importing them asks for nothing.
const TYPES: [&str; 3] = ["types", "plan", "requests"];

impl Capability {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Facts, Self::Files, Self::Leases, Self::Devices, Self::Log];

    /// The interface's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Facts => "facts",
            Self::Files => "files",
            Self::Leases => "leases",
            Self::Devices => "devices",
            Self::Log => "log",
        }
    }

    /// The functions behind it, as the contract names them.
    pub fn functions(self) -> &'static [&'static str] {
        match self {
            Self::Facts => &["link", "default-link", "routes", "tables-in-use", "sysctl"],
            Self::Files => &["read"],
            Self::Leases => &["reserve", "first-free", "last-reserved", "held"],
            Self::Devices => &["device", "functions", "claim"],
            Self::Log => &["write"],
        }
    }

    /// The one an import asks for, whatever its version; none if it is no capability's.
    pub fn of_interface(import: &str) -> Option<Self> {
        let (package, interface, _) = split(import)?;
        (package == weft_contract::PACKAGE).then(|| Self::named(interface)).flatten()
    }

    fn named(interface: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|capability| capability.name() == interface)
    }

    /// As a component imports it.
    pub fn interface(self) -> String {
        interface(self.name())
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The full name of one of the contract's interfaces.
pub(crate) fn interface(name: &str) -> String {
    format!("{}/{name}@{}", weft_contract::PACKAGE, weft_contract::VERSION)
}

/// What a component may be linked to, and on whose word.
#[derive(Debug, Clone)]
pub struct Grants {
    capabilities: Vec<Capability>,
    /// Who could grant more, for the error of a component that lacks something: completes "it must be granted by ...".
    by: Cow<'static, str>,
}

impl Grants {
    /// What the contract gives to components of this kind where no policy says otherwise.
    pub fn usual(kind: Kind) -> Self {
        use Capability::{Devices, Facts, Files, Leases, Log};
        let (capabilities, by) = match kind {
            Kind::Delegate => {
                (vec![Facts, Files, Devices, Log], "the contract, which gives leases to ipam components only")
            }
            Kind::Ipam => {
                (vec![Leases, Files, Facts, Log], "the contract, which gives devices to delegate components only")
            }
            Kind::Rewriter => (vec![Files, Log], "the contract, which gives a rewriter files and log only"),
        };
        Self { capabilities, by: Cow::Borrowed(by) }
    }

    /// Exactly these. `by` completes "it must be granted by ...".
    pub fn only(capabilities: &[Capability], by: impl Into<Cow<'static, str>>) -> Self {
        Self { capabilities: capabilities.to_vec(), by: by.into() }
    }

    /// Whether a capability is among them.
    pub fn has(&self, capability: Capability) -> bool {
        self.capabilities.contains(&capability)
    }
}

/// Why a component is not linked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GateError {
    /// It imports a capability that it wasn't granted.
    #[error("component {component} needs the capability {capability} ({}), which it does not have; it must be granted by {by}", .capability.interface())]
    NotGranted {
        /// The component's type.
        component: String,
        /// What it needs.
        capability: Capability,
        /// Who could grant it.
        by: String,
    },
    /// It imports something that isn't in the contract.
    #[error("component {component} needs {import}, which this weft does not offer{}", if *.wasi { "; it offers WASI 0.2" } else { "" })]
    Unknown {
        /// The component's type.
        component: String,
        /// What it imports.
        import: String,
        /// Whether that is part of WASI.
        wasi: bool,
    },
    /// It was built for a contract that this build doesn't speak.
    #[error("component {component} is built for contract {found}, this weft speaks {speaks}; install a build of the component for {speaks}", speaks = weft_contract::VERSION)]
    Contract {
        /// The component's type.
        component: String,
        /// The version it was built for.
        found: String,
    },
    /// Its imports or its export have the right names but not the contract's types.
    #[error("component {component} does not fit contract {}: {detail}", weft_contract::VERSION)]
    Types {
        /// The component's type.
        component: String,
        /// What does not fit.
        detail: String,
    },
}

/// The capabilities to link a component to: those it imports, all of which must be granted.
pub fn check(index: &Index, grants: &Grants) -> Result<Vec<Capability>, GateError> {
    if !speaks(&index.contract) {
        return Err(GateError::Contract { component: index.type_name.clone(), found: index.contract.clone() });
    }
    let mut wanted = Vec::with_capacity(index.imports.len());
    for import in &index.imports {
        let Offer::Capability(capability) = offered(&index.type_name, import)? else { continue };
        if !grants.has(capability) {
            return Err(GateError::NotGranted {
                component: index.type_name.clone(),
                capability,
                by: grants.by.clone().into_owned(),
            });
        }
        if !wanted.contains(&capability) {
            wanted.push(capability);
        }
    }
    Ok(wanted)
}

/// What an import asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Offer {
    /// A capability.
    Capability(Capability),
    /// Types.
    Types,
    /// Something that everybody gets because it reaches nothing: WASI, closed.
    Nothing,
}

/// What an import asks for, if it is offered at all.
pub(crate) fn offered(component: &str, import: &str) -> Result<Offer, GateError> {
    let unknown = || GateError::Unknown {
        component: component.to_owned(),
        import: import.to_owned(),
        wasi: import.starts_with("wasi:"),
    };
    if wasi::is_offered(import) {
        return Ok(Offer::Nothing);
    }
    let (package, interface, version) = split(import).ok_or_else(unknown)?;
    if package != weft_contract::PACKAGE {
        return Err(unknown());
    }
    if !version.is_some_and(speaks) {
        let found = version.unwrap_or("of no version").to_owned();
        return Err(GateError::Contract { component: component.to_owned(), found });
    }
    match Capability::named(interface) {
        Some(capability) => Ok(Offer::Capability(capability)),
        None if TYPES.contains(&interface) => Ok(Offer::Types),
        None => Err(unknown()),
    }
}

/// `weft:cni/facts@0.1.0` as (`weft:cni`, `facts`, `0.1.0`).
pub(crate) fn split(import: &str) -> Option<(&str, &str, Option<&str>)> {
    let (package, rest) = import.split_once('/')?;
    Some(match rest.split_once('@') {
        Some((interface, version)) => (package, interface, Some(version)),
        None => (package, rest, None),
    })
}

/// Whether a component built for a version of the contract can be linked: types are frozen within a major version, and
/// within a minor version of 0.x, where only functions of the host may be added.
pub(crate) fn speaks(version: &str) -> bool {
    fn key(version: &str) -> Option<(u32, u32)> {
        let mut numbers = version.splitn(3, '.').map(|number| number.parse::<u32>());
        let (major, minor) = (numbers.next()?.ok()?, numbers.next()?.ok()?);
        numbers.next()?.ok()?;
        Some((major, if major == 0 { minor } else { 0 }))
    }
    key(version).is_some_and(|found| Some(found) == key(weft_contract::VERSION))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directory::{FORMAT, Stamp};

    fn index(imports: &[&str]) -> Index {
        Index {
            format: FORMAT,
            type_name: "x".into(),
            kind: Kind::Delegate,
            contract: weft_contract::VERSION.into(),
            imports: imports.iter().map(|import| (*import).to_owned()).collect(),
            wasm_sha256: String::new(),
            compiled: "x".into(),
            compiled_sha256: String::new(),
            engine: String::new(),
            stamp: Stamp { dev: 0, ino: 0, size: 0, ctime_ns: 0 },
            wasi: false,
            grants: Vec::new(),
        }
    }

    #[test]
    fn only_what_is_imported_and_granted_is_linked() {
        let index = index(&["weft:cni/types@0.1.0", "weft:cni/facts@0.1.0", "weft:cni/log@0.1.0"]);
        assert_eq!(check(&index, &Grants::usual(Kind::Delegate)), Ok(vec![Capability::Facts, Capability::Log]));
        let refused = check(&index, &Grants::only(&[Capability::Log], "the policy /etc/weft/p")).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "component x needs the capability facts (weft:cni/facts@0.1.0), which it does not have; \
             it must be granted by the policy /etc/weft/p"
        );
    }

    #[test]
    fn what_is_not_in_the_contract_is_named() {
        for (import, text) in [
            ("weft:cni/http@0.1.0", "component x needs weft:cni/http@0.1.0, which this weft does not offer"),
            ("acme:net/facts@0.1.0", "component x needs acme:net/facts@0.1.0, which this weft does not offer"),
            ("facts", "component x needs facts, which this weft does not offer"),
            (
                "wasi:cli/environment@0.3.0",
                "component x needs wasi:cli/environment@0.3.0, which this weft does not offer; it offers WASI 0.2",
            ),
            (
                "weft:cni/facts@0.2.0",
                "component x is built for contract 0.2.0, this weft speaks 0.1.0; \
                 install a build of the component for 0.1.0",
            ),
        ] {
            let refused = check(&index(&[import]), &Grants::usual(Kind::Delegate)).unwrap_err();
            assert_eq!(refused.to_string(), text);
        }
    }

    #[test]
    fn versions_of_the_same_key_are_spoken() {
        for (version, spoken) in [
            ("0.1.0", true),
            ("0.1.7", true),
            ("0.2.0", false),
            ("1.1.0", false),
            ("0.1", false),
            ("", false),
            ("a.b.c", false),
        ] {
            assert_eq!(speaks(version), spoken, "{version}");
        }
    }

    #[test]
    fn kinds_get_what_their_world_imports() {
        for (kind, expected) in [
            (Kind::Delegate, "facts files devices log"),
            (Kind::Ipam, "facts files leases log"),
            (Kind::Rewriter, "files log"),
        ] {
            let grants = Grants::usual(kind);
            let names: Vec<_> = Capability::ALL.into_iter().filter(|c| grants.has(*c)).map(Capability::name).collect();
            assert_eq!(names.join(" "), expected);
        }
    }
}
