//! What libcni does with a network configuration list: one call per plugin, results handed on, capabilities filtered.

use serde_json::{Map, Value, json};

use super::node::{Node, Outcome, Verb};
use super::pod::Pod;

/// One attachment of a pod to the network of a configuration list, as a runtime remembers it.
#[derive(Clone, Debug)]
pub struct Attachment {
    container: String,
    netns: String,
    ifname: String,
    args: String,
    capabilities: Value,
    result: Option<Value>,
}

/// The plugin of a list that failed, and how.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The plugin's `type`.
    pub plugin: String,
    /// Its end.
    pub outcome: Outcome,
}

impl Attachment {
    /// `pod`'s interface `ifname`.
    pub fn new(pod: &Pod, ifname: &str) -> Self {
        Self {
            container: pod.name().to_owned(),
            netns: pod.netns().path().display().to_string(),
            ifname: ifname.to_owned(),
            args: String::new(),
            capabilities: json!({}),
            result: None,
        }
    }

    /// `CNI_ARGS`.
    #[must_use]
    pub fn args(mut self, args: &str) -> Self {
        args.clone_into(&mut self.args);
        self
    }

    /// Values by capability, e.g. `{"portMappings": [...]}`: a plugin gets those it declares.
    #[must_use]
    pub fn capabilities(mut self, values: Value) -> Self {
        self.capabilities = values;
        self
    }

    /// The namespace is gone: `CNI_NETNS` is empty from now on.
    pub fn forget_netns(&mut self) {
        self.netns.clear();
    }

    /// What the last ADD returned.
    pub fn result(&self) -> Option<&Value> {
        self.result.as_ref()
    }
}

impl Node {
    /// ADD, CHECK or DEL of an attachment through all plugins of `list`; ADD's result is kept in the attachment, DEL
    /// forgets it. Returns the last plugin's result, null for CHECK and DEL.
    ///
    /// # Errors
    /// The first plugin that failed; the ones after it weren't called.
    pub fn exec_list(&self, verb: Verb, list: &Value, attachment: &mut Attachment) -> Result<Value, Box<Failure>> {
        if verb == Verb::Check && list["disableCheck"] == json!(true) {
            return Ok(Value::Null);
        }
        let mut plugins: Vec<&Value> = plugins_of(list).iter().collect();
        if verb == Verb::Del {
            plugins.reverse();
        }
        let mut previous = if verb == Verb::Add { None } else { attachment.result.clone() };
        for plugin in plugins {
            let conf = configuration(list, plugin, &attachment.capabilities, previous.as_ref());
            let name = type_of(plugin);
            let outcome = self
                .call(verb, name, &conf)
                .container(&attachment.container)
                .netns(&attachment.netns)
                .ifname(&attachment.ifname)
                .args(&attachment.args)
                .run();
            if !outcome.succeeded() {
                return Err(Box::new(Failure { plugin: name.to_owned(), outcome }));
            }
            if verb == Verb::Add {
                previous = Some(outcome.json());
            }
        }
        match verb {
            Verb::Add => attachment.result.clone_from(&previous),
            Verb::Del => attachment.result = None,
            _ => return Ok(Value::Null),
        }
        Ok(previous.filter(|_| verb == Verb::Add).unwrap_or_default())
    }

    /// STATUS of all plugins of `list`.
    ///
    /// # Errors
    /// The first plugin that isn't ready.
    pub fn status_list(&self, list: &Value) -> Result<(), Box<Failure>> {
        self.exec_network(Verb::Status, list, None)
    }

    /// GC of all plugins of `list`: what belongs to none of `valid` (container id, interface) may go.
    ///
    /// # Errors
    /// The first plugin that failed; the others are called all the same.
    pub fn gc_list(&self, list: &Value, valid: &[(&str, &str)]) -> Result<(), Box<Failure>> {
        let valid: Vec<Value> = valid.iter().map(|(id, ifname)| json!({"containerID": id, "ifname": ifname})).collect();
        self.exec_network(Verb::Gc, list, Some(Value::from(valid)))
    }

    fn exec_network(&self, verb: Verb, list: &Value, valid: Option<Value>) -> Result<(), Box<Failure>> {
        let mut first = Ok(());
        for plugin in plugins_of(list) {
            let mut conf = configuration(list, plugin, &json!({}), None);
            if let Some(valid) = &valid {
                conf["cni.dev/valid-attachments"] = valid.clone();
            }
            let name = type_of(plugin);
            let outcome = self.call(verb, name, &conf).run();
            if !outcome.succeeded() && first.is_ok() {
                first = Err(Box::new(Failure { plugin: name.to_owned(), outcome }));
            }
        }
        first
    }
}

fn plugins_of(list: &Value) -> &Vec<Value> {
    list["plugins"].as_array().expect("`plugins` of the configuration list")
}

fn type_of(plugin: &Value) -> &str {
    plugin["type"].as_str().expect("`type` of a plugin")
}

/// The configuration that one plugin of a list gets.
fn configuration(list: &Value, plugin: &Value, capabilities: &Value, previous: Option<&Value>) -> Value {
    let mut conf = plugin.clone();
    conf["name"] = list["name"].clone();
    conf["cniVersion"] = list["cniVersion"].clone();
    let declared = plugin["capabilities"].as_object();
    let wanted: Map<String, Value> = capabilities
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(name, _)| declared.is_some_and(|declared| declared.get(*name) == Some(&json!(true))))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    if !wanted.is_empty() {
        conf["runtimeConfig"] = Value::Object(wanted);
    }
    if let Some(previous) = previous {
        conf["prevResult"] = previous.clone();
    }
    conf
}
