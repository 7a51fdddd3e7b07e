//! What a delegate is told: its configuration with what belongs to the network and to this request.

use weft_json::{Map, Value};

use crate::Version;
use crate::config::VALID_ATTACHMENTS;

/// A request to the plugins of one network.
#[derive(Debug, Clone, Copy)]
pub struct Invocation<'a> {
    /// The network's name.
    pub network: &'a str,
    /// The network's version.
    pub version: Version,
    /// What the runtime gives for capabilities: `portMappings`, `ips`, `mac` ...
    pub capability_args: &'a Map<String, Value>,
    /// The result before, in the network's version.
    pub prev_result: Option<&'a Value>,
    /// GC: (container id, interface name) of what is still there.
    pub valid_attachments: Option<&'a [(String, String)]>,
}

// === impl Invocation ===

impl Invocation<'_> {
    /// The configuration for a plugin: its own with name, version, previous result (or none), the list for GC (or none),
    /// and `runtimeConfig`, where the plugin has a capability that the runtime gives a value for. All else stays as it
    /// is, `capabilities` included.
    pub fn configure(&self, plugin: &Map<String, Value>) -> Map<String, Value> {
        let mut config = plugin.clone();
        weft_json::set(&mut config, "cniVersion", self.version.as_str().into());
        weft_json::set(&mut config, "name", self.network.into());
        let runtime = self.runtime_config(plugin);
        if !runtime.is_empty() {
            weft_json::set(&mut config, "runtimeConfig", Value::Object(runtime));
        }
        match self.prev_result {
            Some(result) => weft_json::set(&mut config, "prevResult", result.clone()),
            None => drop(weft_json::remove(&mut config, "prevResult")),
        }
        for key in VALID_ATTACHMENTS {
            match self.valid_attachments {
                Some(list) => weft_json::set(&mut config, key, attachments(list)),
                None => drop(weft_json::remove(&mut config, key)),
            }
        }
        config
    }

    /// The intersection of the plugin's enabled capabilities and what the runtime gives.
    fn runtime_config(&self, plugin: &Map<String, Value>) -> Map<String, Value> {
        let capabilities = weft_json::get(plugin, "capabilities").and_then(Value::as_object);
        let enabled = capabilities.into_iter().flatten().filter(|(_, enabled)| **enabled == Value::Bool(true));
        enabled
            .filter_map(|(name, _)| self.capability_args.get(name).map(|value| (name.clone(), value.clone())))
            .collect()
    }
}

fn attachments(list: &[(String, String)]) -> Value {
    let entry = |(container_id, ifname): &(String, String)| {
        let mut entry = Map::new();
        entry.insert("containerID".to_owned(), container_id.as_str().into());
        entry.insert("ifname".to_owned(), ifname.as_str().into());
        Value::Object(entry)
    };
    list.iter().map(entry).collect()
}
