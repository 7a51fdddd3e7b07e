//! Configuration lists (`.conflist`): plugins that run one after the other for one attachment.

use serde::Deserialize;
use weft_json::{Map, Value};

use crate::config::{self, Flag};
use crate::name::{Kind, Name};
use crate::{Error, NetworkConfig, Version};

/// A list of plugins.
#[derive(Debug, Clone, PartialEq)]
pub struct ConfigList {
    /// The highest version that both sides know.
    pub cni_version: Version,
    /// The network's name.
    pub name: String,
    /// CHECK does nothing and succeeds.
    pub disable_check: bool,
    /// GC does nothing and succeeds.
    pub disable_gc: bool,
    /// Don't append what lies in the directory of the network's name.
    pub load_only_inlined_plugins: bool,
    /// In the order of ADD. Empty only where plugins may be appended from that directory.
    pub plugins: Vec<Plugin>,
}

/// A plugin in a list.
#[derive(Debug, Clone, PartialEq)]
pub struct Plugin {
    /// Its `type`.
    pub kind: String,
    /// Its configuration, without what the list adds ([`crate::Invocation`]).
    pub object: Map<String, Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Head {
    cni_version: Option<String>,
    cni_versions: Option<Vec<String>>,
    name: Name,
    #[serde(default)]
    disable_check: Flag,
    #[serde(rename = "disableGC", default)]
    disable_gc: Flag,
    #[serde(default)]
    load_only_inlined_plugins: Flag,
    plugins: Option<Vec<Map<String, Value>>>,
}

#[derive(Deserialize)]
struct PluginHead {
    r#type: Option<Kind>,
}

// === impl ConfigList ===

impl ConfigList {
    /// Reads a file's or stdin's bytes.
    ///
    /// # Errors
    /// Code 6 for what isn't JSON, 7 for a wrong value, 1 if no version fits.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        Self::from_object(config::read_object(bytes)?, "")
    }

    /// Reads a list that stands in another document at the JSON pointer `at`, which errors will show.
    ///
    /// # Errors
    /// As [`Self::parse`].
    pub fn from_object(object: Map<String, Value>, at: &str) -> Result<Self, Error> {
        let value = Value::Object(object);
        let locate = |error: weft_json::Error| Error::from(error.under(at));
        let head: Head = weft_json::from_value(&value).map_err(locate)?;
        let cni_version = choose_version(head.cni_version.as_deref(), head.cni_versions.as_deref(), at)?;
        let inlined_only = head.load_only_inlined_plugins.0;
        let wrong =
            |found: &str| Error::invalid_config(&format!("{at}/plugins"), found, "a list of at least one plugin");
        let objects = match head.plugins {
            None if inlined_only => return Err(wrong("nothing")),
            Some(objects) if objects.is_empty() => return Err(wrong("[]")),
            objects => objects.unwrap_or_default(),
        };
        let mut plugins = Vec::with_capacity(objects.len());
        for (index, object) in objects.into_iter().enumerate() {
            let place = format!("{at}/plugins/{index}");
            plugins.push(Plugin::from_object(object, &place)?);
        }
        Ok(Self {
            cni_version,
            name: head.name.0,
            disable_check: head.disable_check.0,
            disable_gc: head.disable_gc.0,
            load_only_inlined_plugins: inlined_only,
            plugins,
        })
    }

    /// A single configuration as a list of one.
    pub fn single(config: &NetworkConfig) -> Self {
        Self {
            cni_version: config.cni_version,
            name: config.name.clone(),
            disable_check: config.disable_check,
            disable_gc: false,
            load_only_inlined_plugins: true,
            plugins: vec![Plugin { kind: config.kind.clone(), object: config.object.clone() }],
        }
    }
}

impl Plugin {
    /// Reads a plugin's configuration, which needs no name and no version; `at` as for [`ConfigList::from_object`].
    ///
    /// # Errors
    /// Code 7: no `type`.
    pub fn from_object(object: Map<String, Value>, at: &str) -> Result<Self, Error> {
        let value = Value::Object(object);
        let head: PluginHead = weft_json::from_value(&value).map_err(|error| Error::from(error.under(at)))?;
        let kind = head.r#type.map(|kind| kind.0).filter(|kind| !kind.is_empty());
        let kind = kind.ok_or_else(|| config::no_type(&value, at))?;
        let object = if let Value::Object(object) = value { object } else { Map::new() };
        Ok(Self { kind, object })
    }
}

// === versions ===

/// The highest supported version among `cniVersion` and `cniVersions`; newer ones than weft knows are passed over. Without
/// `cniVersions`, `cniVersion` alone decides; without both it is 0.1.0.
///
/// # Errors
/// Code 1: none is supported. Code 7: an entry of `cniVersions` isn't a version at all.
fn choose_version(one: Option<&str>, several: Option<&[String]>, at: &str) -> Result<Version, Error> {
    let Some(several) = several.filter(|several| !several.is_empty()) else {
        return Version::parse(one.unwrap_or_default());
    };
    for (index, text) in several.iter().enumerate() {
        if !is_version(text) {
            let found = weft_json::render(&Value::from(text.as_str()));
            return Err(Error::invalid_config(&format!("{at}/cniVersions/{index}"), &found, "a version such as 1.0.0"));
        }
    }
    let offered = several.iter().map(String::as_str).chain(one.filter(|one| !one.is_empty()));
    let best = offered.clone().filter_map(|text| Version::parse(text).ok()).max();
    best.ok_or_else(|| {
        let offered: Vec<_> = offered.collect();
        Error::incompatible_version(&format!(
            "the configuration offers {}, supported are {}",
            weft_json::render(&Value::from(offered)),
            crate::version::join(&Version::SUPPORTED)
        ))
    })
}

/// One to three numbers with dots.
fn is_version(text: &str) -> bool {
    let number = |part: &str| !part.is_empty() && part.len() < 10 && part.bytes().all(|byte| byte.is_ascii_digit());
    text.split('.').count() <= 3 && text.split('.').all(number)
}
