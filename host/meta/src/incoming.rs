//! A request as it came in: environment and configuration, parsed and checked, before anything is looked at.

use std::path::PathBuf;

use weft_cni::CniResult;
use weft_cni::Error;
use weft_cni::NetworkConfig;
use weft_cni::Version;
use weft_cni::{Command, Environment};
use weft_json::Value;

use crate::delegates::{self, Attachment, Object, text};
use crate::record::Begin;

/// Names under which weft is the meta-plugin.
const META: [&str; 2] = ["weft", "multus"];

/// See the module.
#[derive(Clone, Debug)]
pub struct Incoming {
    /// The verb.
    pub command: Command,
    /// CNI_CONTAINERID.
    pub container_id: String,
    /// CNI_NETNS; empty: none was given.
    pub netns: String,
    /// CNI_IFNAME.
    pub ifname: String,
    /// CNI_ARGS, parsed.
    pub args: Vec<(String, String)>,
    /// CNI_ARGS as it was given.
    pub args_text: String,
    /// CNI_PATH.
    pub path: Vec<PathBuf>,
    /// CNI_PATH as it was given.
    pub path_text: String,
    /// The network's name.
    pub network: String,
    /// The version of results and errors.
    pub version: Version,
    /// What weft was called as: `multus` for the meta-plugin under any of its names, else a delegate's type.
    pub kind: String,
    /// The configuration as it was read, without `prevResult`.
    pub config: Object,
    /// The result of the plugins before this one.
    pub previous: Option<CniResult>,
    /// Whether the node's own namespace is meant where CNI_NETNS names it.
    pub netns_override: bool,
    /// GC: the attachments to keep, as container id and interface.
    pub valid: Option<Vec<(String, String)>>,
}

impl Incoming {
    /// From a parsed environment and configuration. `called` is the name weft was started under; under its own name the
    /// configuration's type says what it is. `path_text` is CNI_PATH as it was given.
    pub fn new(
        environment: Environment,
        config: NetworkConfig,
        called: &str,
        path_text: String,
    ) -> Result<Self, Error> {
        let kind = if META.contains(&called) && !config.kind.is_empty() { &config.kind } else { called };
        let kind = if META.contains(&kind) { META[1] } else { kind };
        let version = config.cni_version;
        let args_text = environment.args_text();
        let previous = config
            .prev_result
            .as_ref()
            .map(|value| CniResult::parse(value, version).map_err(|error| error.under("/prevResult")))
            .transpose()?;
        let mut object = config.object;
        weft_json::remove(&mut object, "prevResult");
        Ok(Self {
            command: environment.command,
            container_id: environment.container_id,
            netns: environment.netns.unwrap_or_default(),
            ifname: environment.ifname,
            args_text,
            args: environment.args,
            path: environment.path,
            path_text,
            network: config.name,
            version,
            kind: kind.to_owned(),
            config: object,
            previous,
            netns_override: environment.netns_override,
            valid: config.valid_attachments,
        })
    }

    /// Whether it is for the meta-plugin.
    pub fn is_meta(&self) -> bool {
        self.kind == META[1]
    }

    /// Whether weft was called for the configuration's `ipam` part: under a name that isn't the configuration's type.
    pub fn is_ipam(&self) -> bool {
        !self.is_meta()
            && text(&self.config, "type", "").ok().flatten().is_some_and(|kind| kind != self.kind)
            && matches!(crate::planner::ipam_type(&self.config), Ok(Some(kind)) if kind == self.kind)
    }

    /// The attachments that it asks for.
    pub fn attachments(&self) -> Result<Vec<Attachment>, Error> {
        if self.is_meta() {
            delegates::of_meta(&self.config, &self.ifname)
        } else {
            Ok(vec![delegates::of_delegate(&self.config, &self.kind, &self.network, &self.ifname)])
        }
    }

    /// The version in which a delegate with this configuration speaks.
    pub fn version_of(&self, config: &Object) -> Result<Version, Error> {
        Version::parse(text(config, "cniVersion", "")?.unwrap_or_default())
    }

    /// The request of a DEL for an attachment that a journal tells of. `alive`: its namespace still exists.
    pub fn of_journal(key: &weft_store::Key, begin: Option<&Begin>, alive: bool) -> Self {
        let config = begin.and_then(|begin| begin.config.as_object()).cloned().unwrap_or_default();
        let version = text(&config, "cniVersion", "").ok().flatten().and_then(|text| Version::parse(text).ok());
        let path_text = begin.map(|begin| begin.path.clone()).unwrap_or_default();
        Self {
            command: Command::Del,
            container_id: key.container_id.clone(),
            netns: begin.filter(|_| alive).map(|begin| begin.netns.clone()).unwrap_or_default(),
            ifname: key.ifname.clone(),
            args: Vec::new(),
            args_text: begin.map(|begin| begin.args.clone()).unwrap_or_default(),
            path: std::env::split_paths(&path_text).collect(),
            path_text,
            network: key.network.clone(),
            version: version.unwrap_or(Version::CURRENT),
            kind: key.kind.clone(),
            config,
            previous: None,
            netns_override: false,
            valid: None,
        }
    }

    /// The configuration for the journal.
    pub fn config_value(&self) -> Value {
        Value::Object(self.config.clone())
    }

    /// The journal's key.
    pub fn key(&self) -> weft_store::Key {
        weft_store::Key {
            network: self.network.clone(),
            container_id: self.container_id.clone(),
            ifname: self.ifname.clone(),
            kind: self.kind.clone(),
        }
    }
}
