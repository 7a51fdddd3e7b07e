//! The network configuration that a plugin gets on stdin.
//!
//! Every key is kept in `object`, in its order; the fields are what the protocol itself gives a meaning to. Where a key
//! stands twice, the last one counts.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};
use weft_json::{Map, Value};

use crate::name::{Kind, Name};
use crate::{Command, Dns, Error, Version};

/// Bytes a network configuration may have.
pub const MAX_CONFIG: usize = 1 << 20;

/// The key by which GC says what is still there, and the one that libcni wrote by mistake.
pub(crate) const VALID_ATTACHMENTS: [&str; 2] = ["cni.dev/valid-attachments", "cni.dev/attachments"];

/// A network configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct NetworkConfig {
    /// 0.1.0 if it doesn't say.
    pub cni_version: Version,
    /// The network's name, valid by [`crate::is_name`].
    pub name: String,
    /// `type`: a plugin's name without a path. Empty only if [`Self::is_list`].
    pub kind: String,
    /// `ipam.type`; none: no addresses are asked for.
    pub ipam_type: Option<String>,
    /// The result of the plugin before, or of ADD; an object, to be read by [`crate::CniResult::parse`].
    pub prev_result: Option<Value>,
    /// Values for capabilities.
    pub runtime_config: Map<String, Value>,
    /// Other values of the runtime's.
    pub args: Map<String, Value>,
    /// What the plugin is said to be capable of.
    pub capabilities: BTreeMap<String, bool>,
    /// GC: the attachments (container id, interface name) that are still there. None: nothing is said about it.
    pub valid_attachments: Option<Vec<(String, String)>>,
    /// CHECK does nothing and succeeds.
    pub disable_check: bool,
    /// Resolver settings for the result.
    pub dns: Option<Dns>,
    /// All of it, as it was read.
    pub object: Map<String, Value>,
}

/// The keys with a meaning of their own.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Head {
    /// Read before all else; here only its type is checked.
    #[serde(rename = "cniVersion")]
    _cni_version: Option<String>,
    name: Name,
    r#type: Option<Kind>,
    ipam: Option<IpamHead>,
    prev_result: Option<Map<String, Value>>,
    #[serde(default)]
    runtime_config: Map<String, Value>,
    #[serde(default)]
    args: Map<String, Value>,
    #[serde(default)]
    capabilities: BTreeMap<String, bool>,
    #[serde(rename = "cni.dev/valid-attachments")]
    valid_attachments: Option<Vec<Attachment>>,
    #[serde(rename = "cni.dev/attachments")]
    attachments: Option<Vec<Attachment>>,
    #[serde(default)]
    disable_check: Flag,
    dns: Option<Dns>,
    plugins: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
struct IpamHead {
    r#type: Option<Kind>,
}

#[derive(Deserialize)]
struct Attachment {
    #[serde(rename = "containerID")]
    container_id: String,
    ifname: String,
}

/// true or false, also as text, which libcni takes.
#[derive(Default)]
pub(crate) struct Flag(pub(crate) bool);

impl<'de> Deserialize<'de> for Flag {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(from)?;
        match &value {
            Value::Bool(value) => return Ok(Self(*value)),
            Value::String(text) if text.eq_ignore_ascii_case("true") => return Ok(Self(true)),
            Value::String(text) if text.eq_ignore_ascii_case("false") => return Ok(Self(false)),
            _ => {}
        }
        Err(weft_json::invalid(&weft_json::render(&value), "true or false"))
    }
}

/// Bytes from stdin or a file to an object.
///
/// # Errors
/// Code 6: too long, not UTF-8, with a byte order mark, not JSON. Code 7: no object.
pub(crate) fn read_object(bytes: &[u8]) -> Result<Map<String, Value>, Error> {
    if bytes.len() > MAX_CONFIG {
        return Err(Error::decode(format!("the network configuration is longer than {MAX_CONFIG} bytes")));
    }
    let text = std::str::from_utf8(bytes).map_err(|error| {
        Error::decode(format!("the network configuration is not UTF-8: byte {} and on", error.valid_up_to()))
    })?;
    if text.starts_with('\u{feff}') {
        return Err(Error::decode(
            "the network configuration is not JSON: it begins with a byte order mark, remove it",
        ));
    }
    if text.trim_ascii().is_empty() {
        return Err(Error::decode("the network configuration is not JSON: stdin is empty"));
    }
    match weft_json::parse(text)? {
        Value::Object(object) => Ok(object),
        other => Err(Error::invalid_config("", &weft_json::render(&other), "an object")),
    }
}

/// The error for a configuration at `at` without a `type`, or with an empty one.
pub(crate) fn no_type(config: &Value, at: &str) -> Error {
    let (place, found) = match weft_json::pointer_get(config, "/type") {
        Some((place, value)) => (place, weft_json::render(value)),
        None => ("/type".to_owned(), "nothing".to_owned()),
    };
    Error::invalid_config(&format!("{at}{place}"), &found, "the name of a plugin")
}

// === impl NetworkConfig ===

impl NetworkConfig {
    /// Reads what came on stdin.
    ///
    /// # Errors
    /// Code 6 for what isn't JSON of at most [`MAX_CONFIG`] bytes, 7 for a wrong value, 1 for an unknown version.
    pub fn parse(stdin: &[u8]) -> Result<Self, Error> {
        Self::from_object(read_object(stdin)?, "")
    }

    /// Reads a configuration that stands in another document at the JSON pointer `at`, which errors will show.
    ///
    /// # Errors
    /// As [`Self::parse`].
    pub fn from_object(object: Map<String, Value>, at: &str) -> Result<Self, Error> {
        // First of all: another version may give the other keys another meaning.
        let cni_version = match weft_json::get(&object, "cniVersion") {
            Some(Value::String(text)) => Version::parse(text)?,
            // Absent, or an error that the next step finds.
            _ => Version::V0_1_0,
        };
        let value = Value::Object(object);
        let head: Head = weft_json::from_value(&value).map_err(|error| Error::from(error.under(at)))?;
        let kind = head.r#type.map(|kind| kind.0).unwrap_or_default();
        if kind.is_empty() && head.plugins.is_none() {
            return Err(no_type(&value, at));
        }
        let valid_attachments = head
            .valid_attachments
            .or(head.attachments)
            .map(|list| list.into_iter().map(|entry| (entry.container_id, entry.ifname)).collect());
        Ok(Self {
            cni_version,
            name: head.name.0,
            kind,
            ipam_type: head.ipam.and_then(|ipam| ipam.r#type).map(|kind| kind.0).filter(|kind| !kind.is_empty()),
            prev_result: head.prev_result.filter(|result| !result.is_empty()).map(Value::Object),
            runtime_config: head.runtime_config,
            args: head.args,
            capabilities: head.capabilities,
            valid_attachments,
            disable_check: head.disable_check.0,
            dns: head.dns,
            object: match value {
                Value::Object(object) => object,
                _ => Map::new(),
            },
        })
    }

    /// Whether it is a list of plugins ([`crate::ConfigList`]) rather than one plugin's configuration.
    pub fn is_list(&self) -> bool {
        weft_json::get(&self.object, "plugins").is_some_and(|plugins| !plugins.is_null())
    }

    /// Whether the verb exists in this configuration's version.
    ///
    /// # Errors
    /// Code 1: it came later.
    pub fn check_verb(&self, command: Command) -> Result<(), Error> {
        if self.cni_version.supports(command) {
            return Ok(());
        }
        let first =
            Version::SUPPORTED.into_iter().find(|version| version.supports(command)).unwrap_or(Version::CURRENT);
        Err(Error::incompatible_version(&format!("cniVersion {} has no {command}: it needs {first}", self.cni_version)))
    }
}
