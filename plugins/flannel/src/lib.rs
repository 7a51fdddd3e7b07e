//! Turns a network configuration of type `flannel` into the one to run: the `delegate` part, by default a bridge, with
//! this node's subnet for host-local and the overlay's MTU.
//!
//! What the delegate part sets stays, but for `name` and `ipam`, which it must not set; what it leaves out is filled in.

mod environment;

use weft_sdk::json::{self, Object, Value};
use weft_sdk::netconf::indexed;
use weft_sdk::types::IpPrefix;
use weft_sdk::{Error, Request, Rewriter, address, files, log};

use environment::Environment;

/// See the crate.
pub struct Flannel;

const DEFAULT_FILE: &str = "/run/flannel/subnet.env";
const HINT: &str = "Check the flannel pod log for this node.";

impl Rewriter for Flannel {
    fn rewrite(request: &Request) -> Result<String, Error> {
        let parsed = json::parse(&request.config);
        let Ok(Value::Object(config)) = parsed else {
            return Err(Error::invalid("", "something else", "a network configuration, a JSON object"));
        };
        let delegate = delegate(&config)?;
        let ipam = object(&config, "ipam")?;
        check_routes(&ipam)?;
        let environment = environment(&config)?;
        let rewritten = merge(&config, delegate, ipam, &environment)?;
        // Not the whole configuration: it may hold secrets, and a log is read by more people.
        let kind = rewritten.get("type").and_then(Value::as_str).unwrap_or_default();
        let subnets = environment.subnets.iter().map(IpPrefix::to_string).collect::<Vec<_>>().join(", ");
        log::write(log::Level::Debug, &["runs ", kind, " with ", &subnets, ", MTU ", &environment.mtu].concat());
        Ok(Value::Object(rewritten).to_string())
    }
}

/// An object at the top of the configuration; an empty one if there is none.
fn object<'t>(config: &Object<'t>, key: &'static str) -> Result<Object<'t>, Error> {
    match config.get(key) {
        None => Ok(Object::default()),
        Some(Value::Object(object)) => Ok(object.clone()),
        Some(other) => Err(Error::invalid(&["/", key].concat(), &other.to_string(), "an object")),
    }
}

fn delegate<'t>(config: &Object<'t>) -> Result<Object<'t>, Error> {
    let delegate = object(config, "delegate")?;
    if let Some(kind) = delegate.get("type")
        && kind.as_str().is_none()
    {
        return Err(Error::invalid("/delegate/type", &kind.to_string(), "a string, the plugin to run"));
    }
    for (key, allowed) in [
        ("name", "nothing; the delegate is part of this network and has its name"),
        ("ipam", "nothing; it is set by flannel, and what to add to it stands in /ipam"),
    ] {
        if let Some(found) = delegate.get(key) {
            return Err(Error::invalid(&["/delegate/", key].concat(), &found.to_string(), allowed));
        }
    }
    Ok(delegate)
}

/// Routes of the configuration are handed on as they stand, so they are checked where their place is still known.
fn check_routes(ipam: &Object<'_>) -> Result<(), Error> {
    let routes = match ipam.get("routes") {
        None => return Ok(()),
        Some(Value::Array(routes)) => routes,
        Some(other) => return Err(Error::invalid("/ipam/routes", &other.to_string(), "a list of routes")),
    };
    for (at, route) in routes.iter().enumerate() {
        let destination = match route {
            Value::Object(route) => route.get("dst"),
            _ => None,
        };
        if destination.and_then(Value::as_str).and_then(IpPrefix::parse).is_none() {
            let pointer = [&indexed("/ipam/routes", at), "/dst"].concat();
            let found = destination.map_or_else(|| "nothing".to_owned(), Value::to_string);
            return Err(Error::invalid(&pointer, &found, address::PREFIX));
        }
    }
    Ok(())
}

fn environment(config: &Object<'_>) -> Result<Environment, Error> {
    let content = files::read("/subnetFile", Some(DEFAULT_FILE)).map_err(|error| match error {
        Error::NotFound(what) => {
            Error::NotFound(["failed to load flannel 'subnet.env' file: ", &what, ". ", HINT].concat())
        }
        other => other,
    })?;
    environment::parse(&content).map_err(|wrong| {
        let file = config.get("subnetFile").and_then(Value::as_str).filter(|path| !path.is_empty());
        let file = file.unwrap_or(DEFAULT_FILE);
        Error::NotFound([file, " ", &wrong, ". ", HINT].concat())
    })
}

fn merge<'t>(
    config: &Object<'t>,
    delegate: Object<'t>,
    ipam: Object<'t>,
    environment: &Environment,
) -> Result<Object<'t>, Error> {
    let mut out = delegate;
    if let Some(runtime) = config.get("runtimeConfig") {
        out.set("runtimeConfig", runtime.clone());
    }
    let Some(name @ Value::String(_)) = config.get("name") else {
        return Err(Error::invalid("/name", "nothing", "the network's name, a string"));
    };
    out.set("name", name.clone());
    default(&mut out, "type", Value::string("bridge"));
    default(&mut out, "ipMasq", Value::Bool(!environment.masquerades));
    default(&mut out, "mtu", Value::Number(environment.mtu.clone().into()));
    if out.get("type").and_then(Value::as_str) == Some("bridge") {
        default(&mut out, "isGateway", Value::Bool(true));
    }
    if let Some(version) = config.get("cniVersion").filter(|version| version.as_str() != Some("")) {
        out.set("cniVersion", version.clone());
    }
    out.set("ipam", Value::Object(merge_ipam(ipam, environment)));
    Ok(out)
}

fn merge_ipam<'t>(mut ipam: Object<'t>, environment: &Environment) -> Object<'t> {
    default(&mut ipam, "type", Value::string("host-local"));
    let one = |key: &'static str, prefix: &IpPrefix| {
        let mut object = Object::default();
        object.set(key, Value::string(prefix.to_string()));
        Value::Object(object)
    };
    let sets = environment.subnets.iter().map(|subnet| Value::Array(vec![one("subnet", subnet)])).collect();
    replace(&mut ipam, "ranges", Value::Array(sets));
    let mut routes = match ipam.get("routes") {
        Some(Value::Array(routes)) => routes.clone(),
        _ => Vec::new(),
    };
    routes.extend(environment.networks.iter().map(|network| one("dst", network)));
    replace(&mut ipam, "routes", Value::Array(routes));
    ipam
}

/// Sets a key that is there in no spelling.
fn default<'t>(object: &mut Object<'t>, key: &'static str, value: Value<'t>) {
    if object.get(key).is_none() {
        replace(object, key, value);
    }
}

/// Makes a key, so spelled, the only spelling of it.
fn replace<'t>(object: &mut Object<'t>, key: &'static str, value: Value<'t>) {
    object.remove(key);
    object.set(key, value);
}

weft_sdk::export!(Flannel as rewriter);

#[cfg(test)]
mod tests {
    use super::*;
    use weft_sdk::testing::{FakeHost, request};
    use weft_sdk::types::ConfigError;

    const ENV: &str =
        "FLANNEL_NETWORK=10.1.0.0/16\nFLANNEL_SUBNET=10.1.17.1/24\nFLANNEL_MTU=1472\nFLANNEL_IPMASQ=true\n";

    fn rewrite_with(env: &str, config: &str) -> Result<String, Error> {
        let mut host =
            FakeHost::new().file(DEFAULT_FILE, env).file("/run/flannel/subnet2.env", &ENV.replace("10.1.", "10.2."));
        host.run(&request(config), Flannel::rewrite)
    }

    fn rewrite(config: &str) -> Result<String, Error> {
        rewrite_with(ENV, config)
    }

    /// Key order doesn't matter.
    fn assert_same(text: &str, expected: &str) {
        fn sorted(value: &Value<'_>) -> String {
            match value {
                Value::Array(items) => format!("[{}]", items.iter().map(sorted).collect::<Vec<_>>().join(",")),
                Value::Object(object) => {
                    let mut entries: Vec<_> =
                        object.entries().iter().map(|(key, value)| format!("{key}:{}", sorted(value))).collect();
                    entries.sort();
                    format!("{{{}}}", entries.join(","))
                }
                other => other.to_string(),
            }
        }
        assert_eq!(sorted(&json::parse(text).unwrap()), sorted(&json::parse(expected).unwrap()));
    }

    fn at_fault(result: Result<String, Error>) -> String {
        match result {
            Err(Error::InvalidConfig(ConfigError { pointer, .. })) => pointer,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_bridge_with_this_node_s_subnet() {
        let expected = r#"{"ipMasq": false, "ipam": {"ranges": [[{"subnet": "10.1.17.0/24"}]],
            "routes": [{"dst": "10.1.0.0/16"}], "type": "host-local"},
            "isGateway": true, "mtu": 1472, "name": "cni-flannel", "type": "bridge"}"#;
        assert_same(&rewrite(r#"{"name": "cni-flannel", "type": "flannel"}"#).unwrap(), expected);
        let ignored = r#"{"name": "cni-flannel", "type": "flannel", "masterplugin": true, "dns": {"domain": "x"},
            "args": {}, "capabilities": {"mac": true}, "subnetFile": "", "dataDir": "/x", "delegate": null, "ipam": null, "cniVersion": ""}"#;
        assert_same(&rewrite(ignored).unwrap(), expected);
    }

    #[test]
    fn what_the_delegate_sets_stays() {
        let config = r#"{"cniVersion": "0.3.1", "name": "n", "subnetFile": "/run/flannel/subnet2.env",
            "delegate": {"bridge": "kbr1", "isDefaultGateway": false, "hairpinMode": true, "mtu": 1300, "ipMasq": true,
                         "isGateway": false, "vlan": 5.0},
            "runtimeConfig": {"mac": "02:00:00:00:00:01"}}"#;
        let expected = r#"{"bridge": "kbr1", "isDefaultGateway": false, "hairpinMode": true, "mtu": 1300, "ipMasq": true,
            "isGateway": false, "vlan": 5.0, "cniVersion": "0.3.1", "name": "n", "type": "bridge",
            "runtimeConfig": {"mac": "02:00:00:00:00:01"},
            "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.2.17.0/24"}]], "routes": [{"dst": "10.2.0.0/16"}]}}"#;
        assert_same(&rewrite(config).unwrap(), expected);
    }

    #[test]
    fn other_delegates_are_no_gateways() {
        let config = r#"{"name": "n", "delegate": {"type": "ptp", "MTU": 1300}}"#;
        let expected = r#"{"name": "n", "type": "ptp", "MTU": 1300, "ipMasq": false,
            "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.1.17.0/24"}]], "routes": [{"dst": "10.1.0.0/16"}]}}"#;
        assert_same(&rewrite(config).unwrap(), expected);
    }

    #[test]
    fn the_network_s_ipam_is_kept_but_for_its_ranges() {
        let env =
            ENV.replace("true", "false") + "FLANNEL_IPV6_NETWORK=2001:db8::/32\nFLANNEL_IPV6_SUBNET=2001:db8:1::1/64\n";
        let config = r#"{"name": "n", "ipam": {"type": "other", "dataDir": "/d", "ranges": [["x"]],
            "routes": [{"dst": "192.168.0.0/16", "gw": "10.1.17.9"}]}}"#;
        let expected = r#"{"name": "n", "type": "bridge", "isGateway": true, "mtu": 1472, "ipMasq": true,
            "ipam": {"type": "other", "dataDir": "/d",
                     "ranges": [[{"subnet": "10.1.17.0/24"}], [{"subnet": "2001:db8:1::/64"}]],
                     "routes": [{"dst": "192.168.0.0/16", "gw": "10.1.17.9"}, {"dst": "10.1.0.0/16"}, {"dst": "2001:db8::/32"}]}}"#;
        assert_same(&rewrite_with(&env, config).unwrap(), expected);
    }

    #[test]
    fn keys_that_are_not_the_delegate_s_are_refused() {
        for (config, pointer) in [
            (r#"{"name": "n", "delegate": {"type": 5}}"#, "/delegate/type"),
            (r#"{"name": "n", "delegate": {"name": "x"}}"#, "/delegate/name"),
            (r#"{"name": "n", "delegate": {"ipam": {}}}"#, "/delegate/ipam"),
            (r#"{"name": "n", "delegate": []}"#, "/delegate"),
            (r#"{"name": "n", "ipam": "x"}"#, "/ipam"),
            (r#"{"name": "n", "ipam": {"routes": {}}}"#, "/ipam/routes"),
            (r#"{"name": "n", "ipam": {"routes": [{"dst": "0.0.0.0/0"}, {"dst": "x"}]}}"#, "/ipam/routes/1/dst"),
            (r#"{"name": "n", "ipam": {"routes": [{}]}}"#, "/ipam/routes/0/dst"),
            (r#"{"type": "flannel"}"#, "/name"),
        ] {
            assert_eq!(at_fault(rewrite(config)), pointer, "{config}");
        }
    }

    #[test]
    fn without_a_daemon_the_error_says_where_to_look() {
        let plain = r#"{"name": "n", "subnetFile": "/nowhere.env"}"#;
        let Err(Error::NotFound(message)) = rewrite(plain) else { panic!() };
        let expected = "failed to load flannel 'subnet.env' file: open /nowhere.env: no such file or directory. \
                        Check the flannel pod log for this node.";
        assert_eq!(message, expected);
        let Err(Error::NotFound(message)) = rewrite_with("FLANNEL_MTU=1\n", r#"{"name": "n"}"#) else { panic!() };
        assert!(message.starts_with("/run/flannel/subnet.env is missing FLANNEL_NETWORK, "), "{message}");
    }
}
