//! Which delegates a configuration names, in what order, under which interface names.
//!
//! Owns: reading `delegates`, flattening chains, naming interfaces, and passing on what the runtime gave
//! (`runtimeConfig`, `args`). Pure: a configuration in, attachments out.
//!
//! Naming. Today's multus: the first delegate gets the runtime's interface name and provides the result, delegate N
//! gets `netN`. As soon as one delegate says `masterplugin`: that one gets the runtime's name, provides the result and
//! goes first; the others are `net0`, `net1` ... in their order.

use weft_cni::{Error, Version};
use weft_json::{Map, Value};

/// An object of a configuration, keys as they stand there.
pub type Object = Map<String, Value>;

/// One attachment that a request makes: a chain of delegates on one interface.
#[derive(Clone, Debug, PartialEq)]
pub struct Attachment {
    /// Network name: of the delegate's own configuration, else the request's.
    pub network: String,
    /// The interface in the sandbox.
    pub ifname: String,
    /// Whether its result is what the runtime gets.
    pub master: bool,
    /// The chain, first to last; never empty.
    pub chain: Vec<Element>,
}

/// One delegate of a chain.
#[derive(Clone, Debug, PartialEq)]
pub struct Element {
    /// Its `type`.
    pub kind: String,
    /// Its configuration as it is passed on, `name` and `cniVersion` filled in, without `prevResult`.
    pub config: Object,
    /// Where it stands in the request's configuration, as a JSON pointer; empty: it is the configuration.
    pub pointer: String,
}

/// The attachments of a meta configuration, in the order in which they are made.
pub fn of_meta(config: &Object, ifname: &str) -> Result<Vec<Attachment>, Error> {
    let delegates = match weft_json::get(config, "delegates") {
        Some(Value::Array(delegates)) if !delegates.is_empty() => delegates,
        Some(Value::Array(_)) => return Err(invalid("/delegates", "[]", "at least one delegate")),
        Some(other) => {
            return Err(invalid("/delegates", &weft_json::render(other), "an array of network configurations"));
        }
        None => return Err(invalid("/delegates", "nothing", "an array of network configurations (delegates)")),
    };
    let mut attachments = Vec::with_capacity(delegates.len());
    let mut master = None;
    for (index, delegate) in delegates.iter().enumerate() {
        let pointer = format!("/delegates/{index}");
        let Value::Object(object) = delegate else {
            return Err(invalid(&pointer, &weft_json::render(delegate), "a network configuration or a list of them"));
        };
        if is_master(object, &pointer)? && master.replace(index).is_some() {
            return Err(invalid(&format!("{pointer}/masterplugin"), "true", "true in one delegate only"));
        }
        attachments.push(attachment(config, object, &pointer)?);
    }
    name_interfaces(&mut attachments, master, ifname);
    // Only the runtime's own name can be one of those that are counted.
    if let Some(other) = attachments.iter().find(|attachment| !attachment.master && attachment.ifname == ifname) {
        let at = other.chain.first().map(|element| element.pointer.as_str()).unwrap_or_default();
        return Err(Error::environment(format!(
            "CNI_IFNAME {ifname:?} is the name that the interface of {at} gets; choose one that isn't net and a number"
        )));
    }
    Ok(attachments)
}

/// The one attachment of an ordinary configuration: what weft does when it is called under a delegate's name.
pub fn of_delegate(config: &Object, kind: &str, network: &str, ifname: &str) -> Attachment {
    let mut config = config.clone();
    weft_json::remove(&mut config, "prevResult");
    Attachment {
        network: network.to_owned(),
        ifname: ifname.to_owned(),
        master: true,
        chain: vec![Element { kind: kind.to_owned(), config, pointer: String::new() }],
    }
}

fn is_master(delegate: &Object, pointer: &str) -> Result<bool, Error> {
    match weft_json::get(delegate, "masterplugin") {
        None | Some(Value::Null) => Ok(false),
        Some(Value::Bool(master)) => Ok(*master),
        Some(other) => Err(invalid(&format!("{pointer}/masterplugin"), &weft_json::render(other), "true or false")),
    }
}

fn attachment(outer: &Object, delegate: &Object, pointer: &str) -> Result<Attachment, Error> {
    let network = match text(delegate, "name", pointer)?.filter(|name| !name.is_empty()) {
        Some(name) if !weft_cni::is_name(name) => {
            return Err(invalid(&format!("{pointer}/name"), &format!("{name:?}"), weft_cni::NAME_RULE));
        }
        Some(name) => name.to_owned(),
        None => text(outer, "name", "")?.unwrap_or_default().to_owned(),
    };
    let version = text(delegate, "cniVersion", pointer)?.or(text(outer, "cniVersion", "")?).unwrap_or_default();
    Version::parse(version).map_err(|error| error.context(pointer))?;
    let mut chain = Vec::new();
    match weft_json::get(delegate, "plugins") {
        None => chain.push(element(outer, delegate, &network, version, pointer.to_owned())?),
        Some(Value::Array(plugins)) if !plugins.is_empty() => {
            for (index, plugin) in plugins.iter().enumerate() {
                let pointer = format!("{pointer}/plugins/{index}");
                let Value::Object(plugin) = plugin else {
                    return Err(invalid(&pointer, &weft_json::render(plugin), "a network configuration"));
                };
                chain.push(element(outer, plugin, &network, version, pointer)?);
            }
        }
        Some(other) => {
            return Err(invalid(
                &format!("{pointer}/plugins"),
                &weft_json::render(other),
                "a list of network configurations",
            ));
        }
    }
    Ok(Attachment { network, ifname: String::new(), master: false, chain })
}

fn element(outer: &Object, plugin: &Object, network: &str, version: &str, pointer: String) -> Result<Element, Error> {
    let kind = match text(plugin, "type", &pointer)? {
        Some(kind) if !kind.contains('/') && !["", ".", ".."].contains(&kind) => kind.to_owned(),
        Some(kind) => {
            return Err(invalid(&format!("{pointer}/type"), &format!("{kind:?}"), "a plugin's name without a path"));
        }
        None => return Err(invalid(&format!("{pointer}/type"), "nothing", "a plugin's name")),
    };
    match weft_json::get(plugin, "ipam") {
        None | Some(Value::Null) => {}
        Some(Value::Object(ipam)) => drop(text(ipam, "type", &format!("{pointer}/ipam"))?),
        Some(other) => return Err(invalid(&format!("{pointer}/ipam"), &weft_json::render(other), "an object")),
    }
    let mut config = plugin.clone();
    weft_json::remove(&mut config, "prevResult");
    weft_json::remove(&mut config, "masterplugin");
    weft_json::set(&mut config, "name", Value::from(network));
    if version.is_empty() {
        weft_json::remove(&mut config, "cniVersion");
    } else {
        weft_json::set(&mut config, "cniVersion", Value::from(version));
    }
    if let Some(offered) = runtime_config(outer, plugin, &pointer)? {
        weft_json::set(&mut config, "runtimeConfig", offered);
    }
    if weft_json::get(&config, "args").is_none()
        && let Some(args) = weft_json::get(outer, "args")
    {
        weft_json::set(&mut config, "args", args.clone());
    }
    Ok(Element { kind, config, pointer })
}

/// What a plugin gets of the runtime's `runtimeConfig`: the keys whose capability it declares, as libcni picks them,
/// over what its configuration already holds.
fn runtime_config(outer: &Object, plugin: &Object, pointer: &str) -> Result<Option<Value>, Error> {
    let capabilities = match weft_json::get(plugin, "capabilities") {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::Object(capabilities)) => capabilities,
        Some(other) => {
            let allowed = "an object of capabilities and true or false";
            return Err(invalid(&format!("{pointer}/capabilities"), &weft_json::render(other), allowed));
        }
    };
    if let Some((name, other)) = capabilities.iter().find(|(_, enabled)| !enabled.is_boolean()) {
        let mut pointer = format!("{pointer}/capabilities");
        weft_json::pointer_push(&mut pointer, name);
        return Err(invalid(&pointer, &weft_json::render(other), "true or false"));
    }
    let Some(Value::Object(offered)) = weft_json::get(outer, "runtimeConfig") else { return Ok(None) };
    let mut own = match weft_json::get(plugin, "runtimeConfig") {
        Some(Value::Object(own)) => own.clone(),
        _ => Object::new(),
    };
    for (capability, enabled) in capabilities {
        if enabled == &Value::Bool(true)
            && let Some(value) = offered.get(capability)
        {
            own.insert(capability.clone(), value.clone());
        }
    }
    Ok((!own.is_empty()).then_some(Value::Object(own)))
}

fn name_interfaces(attachments: &mut Vec<Attachment>, master: Option<usize>, ifname: &str) {
    match master {
        None => {
            for (index, attachment) in attachments.iter_mut().enumerate() {
                attachment.master = index == 0;
                attachment.ifname = if index == 0 { ifname.to_owned() } else { format!("net{index}") };
            }
        }
        Some(master) => {
            let first = attachments.remove(master);
            for (index, attachment) in attachments.iter_mut().enumerate() {
                attachment.ifname = format!("net{index}");
            }
            attachments.insert(0, Attachment { ifname: ifname.to_owned(), master: true, ..first });
        }
    }
}

/// A text value of an object; null is absent, anything else an error.
pub fn text<'o>(object: &'o Object, key: &str, pointer: &str) -> Result<Option<&'o str>, Error> {
    match weft_json::get(object, key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(other) => Err(invalid(&format!("{pointer}/{key}"), &weft_json::render(other), "a string")),
    }
}

/// A configuration error (code 7) that says where, what stands there, and what may.
pub fn invalid(pointer: &str, found: &str, allowed: &str) -> Error {
    Error::invalid_config(pointer, found, allowed)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(value: Value) -> Object {
        match value {
            Value::Object(object) => object,
            other => panic!("{other} is no object"),
        }
    }

    fn names(config: Value) -> Vec<(String, String, bool)> {
        of_meta(&object(config), "eth0")
            .unwrap()
            .into_iter()
            .map(|attachment| (attachment.network, attachment.ifname, attachment.master))
            .collect()
    }

    #[test]
    fn without_masterplugin_the_first_delegate_is_the_master_and_the_others_count_from_one() {
        let config = json!({"name": "n", "delegates": [
            {"name": "a", "type": "bridge"}, {"name": "b", "type": "bridge"}, {"type": "ptp"}]});
        let expected = [("a", "eth0", true), ("b", "net1", false), ("n", "net2", false)];
        assert_eq!(names(config), expected.map(|(n, i, m)| (n.to_owned(), i.to_owned(), m)));
    }

    #[test]
    fn masterplugin_goes_first_and_the_others_count_from_zero() {
        let config = json!({"name": "n", "delegates": [
            {"name": "a", "type": "bridge"}, {"name": "b", "type": "bridge"},
            {"name": "c", "type": "bridge", "MasterPlugin": true}]});
        let expected = [("c", "eth0", true), ("a", "net0", false), ("b", "net1", false)];
        assert_eq!(names(config), expected.map(|(n, i, m)| (n.to_owned(), i.to_owned(), m)));
    }

    #[test]
    fn the_runtimes_name_is_nobody_elses() {
        let two = [json!({"type": "bridge"}), json!({"type": "bridge"})];
        let config = object(json!({"name": "n", "delegates": two}));
        let error = of_meta(&config, "net1").unwrap_err();
        assert_eq!(error.code, 4);
        assert!(error.msg.contains("net1") && error.msg.contains("/delegates/1"), "{error}");
        assert!(of_meta(&config, "net0").is_ok());
        // Verbs about the network have no interface.
        assert!(of_meta(&config, "").is_ok());
    }

    #[test]
    fn a_second_masterplugin_is_refused_with_its_place() {
        let config = json!({"name": "n", "delegates": [
            {"type": "bridge", "masterplugin": true}, {"type": "bridge", "masterplugin": true}]});
        let error = of_meta(&object(config), "eth0").unwrap_err();
        assert_eq!(error.code, 7);
        assert!(error.msg.contains("/delegates/1/masterplugin"), "{error}");
    }

    #[test]
    fn a_chain_shares_name_and_version_and_gets_what_its_elements_declare() {
        let config = json!({"cniVersion": "1.0.0", "name": "n",
            "runtimeConfig": {"portMappings": [{"hostPort": 80}], "mac": "02:00:00:00:00:01"},
            "args": {"cni": {"labels": []}},
            "delegates": [{"name": "list", "cniVersion": "0.4.0", "plugins": [
                {"type": "bridge", "prevResult": {}},
                {"type": "portmap", "capabilities": {"portMappings": true, "mac": false}}]}]});
        let attachments = of_meta(&object(config), "eth0").unwrap();
        let chain = &attachments[0].chain;
        assert_eq!(chain[0].pointer, "/delegates/0/plugins/0");
        assert_eq!(chain[0].config["cniVersion"], "0.4.0");
        assert!(!chain[0].config.contains_key("prevResult") && !chain[0].config.contains_key("runtimeConfig"));
        assert_eq!(chain[1].config["name"], "list");
        assert_eq!(chain[1].config["runtimeConfig"], json!({"portMappings": [{"hostPort": 80}]}));
        assert_eq!(chain[1].config["args"], json!({"cni": {"labels": []}}));
    }

    #[test]
    fn what_is_no_delegate_is_refused_with_its_place() {
        for (config, pointer) in [
            (json!({"name": "n"}), "/delegates"),
            (json!({"name": "n", "delegates": []}), "/delegates"),
            (json!({"name": "n", "delegates": ["x"]}), "/delegates/0"),
            (json!({"name": "n", "delegates": [{"name": "a"}]}), "/delegates/0/type"),
            (json!({"name": "n", "delegates": [{"type": "../x"}]}), "/delegates/0/type"),
            (json!({"name": "n", "delegates": [{"plugins": []}]}), "/delegates/0/plugins"),
            (json!({"name": "n", "delegates": [{"type": "b", "masterplugin": "yes"}]}), "/delegates/0/masterplugin"),
            (json!({"name": "n", "delegates": [{"type": "b", "ipam": "host-local"}]}), "/delegates/0/ipam"),
            (json!({"name": "n", "delegates": [{"type": "b", "ipam": {"type": 5}}]}), "/delegates/0/ipam/type"),
            (json!({"name": "n", "delegates": [{"type": "b", "cniVersion": "9.9"}]}), "/delegates/0"),
            (json!({"name": "n", "delegates": [{"type": "b", "name": "../x"}]}), "/delegates/0/name"),
            (json!({"name": "n", "delegates": [{"type": ".."}]}), "/delegates/0/type"),
            (json!({"name": "n", "delegates": [{"type": "b", "capabilities": ["mac"]}]}), "/delegates/0/capabilities"),
            (
                json!({"name": "n", "delegates": [{"type": "b", "capabilities": {"a/b": 1}}]}),
                "/delegates/0/capabilities/a~1b",
            ),
        ] {
            let error = of_meta(&object(config), "eth0").unwrap_err();
            assert!(
                error.msg.contains(&format!("{pointer}:")) || error.msg.contains(&format!("{pointer} ")),
                "{error}"
            );
        }
    }
}
