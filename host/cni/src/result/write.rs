//! To JSON of a given version, key by key as Go's types print it.

use std::fmt::Display;

use weft_json::{Map, Value};

use super::{CniResult, Dns, Interface, IpConfig, Route};
use crate::{Error, Version};

impl CniResult {
    /// The result in the shape of a version.
    ///
    /// What that has no word for is left out: before 1.0.0 MTU, socket and PCI address of interfaces; before 0.3.0 all of
    /// the interfaces, all addresses but the first of each family, the routes of a family without an address, and of
    /// the others all but destination and router.
    ///
    /// # Errors
    /// Code 1: before 0.3.0 there is no result without an address.
    pub fn to_json(&self, version: Version) -> Result<Value, Error> {
        let mut object = Map::new();
        object.insert("cniVersion".to_owned(), version.as_str().into());
        if version < Version::V0_3_0 {
            self.write_old(version, &mut object)?;
        } else {
            let interfaces = self.interfaces.iter().map(|interface| write_interface(interface, version)).collect();
            let ips = self.ips.iter().map(|ip| write_ip(ip, version)).collect();
            put_list(&mut object, "interfaces", interfaces);
            put_list(&mut object, "ips", ips);
            put_list(&mut object, "routes", self.routes.iter().map(write_route).collect());
        }
        let dns = self.dns.as_ref().filter(|dns| !dns.is_empty());
        if dns.is_some() || version < Version::V1_0_0 {
            object.insert("dns".to_owned(), Value::Object(dns.map(write_dns).unwrap_or_default()));
        }
        Ok(with_extra(object, &self.extra))
    }

    fn write_old(&self, version: Version, object: &mut Map<String, Value>) -> Result<(), Error> {
        for (key, is_v4) in [("ip4", true), ("ip6", false)] {
            let Some(ip) = self.ips.iter().find(|ip| ip.address.address.is_ipv4() == is_v4) else { continue };
            let mut entry = Map::new();
            put(&mut entry, "ip", Some(ip.address));
            put(&mut entry, "gateway", ip.gateway);
            let routes = self.routes.iter().filter(|route| route.dst.address.is_ipv4() == is_v4);
            let bare = |route: &Route| with_extra(route_head(route), &route.extra);
            put_list(&mut entry, "routes", routes.map(bare).collect());
            object.insert(key.to_owned(), with_extra(entry, &ip.extra));
        }
        if self.ips.is_empty() {
            return Err(Error::incompatible_version(&format!(
                "cniVersion {version} can't express a result without an address: write 0.3.0 or newer in the configuration"
            )));
        }
        Ok(())
    }
}

fn write_interface(interface: &Interface, version: Version) -> Value {
    let mut object = Map::new();
    object.insert("name".to_owned(), interface.name.as_str().into());
    put(&mut object, "mac", interface.mac.as_ref());
    if version >= Version::V1_0_0 {
        put_number(&mut object, "mtu", interface.mtu.filter(|mtu| *mtu != 0));
    }
    put(&mut object, "sandbox", interface.sandbox.as_ref());
    if version >= Version::V1_0_0 {
        put(&mut object, "socketPath", interface.socket_path.as_ref());
        put(&mut object, "pciID", interface.pci_id.as_ref());
    }
    with_extra(object, &interface.extra)
}

fn write_ip(ip: &IpConfig, version: Version) -> Value {
    let mut object = Map::new();
    if version < Version::V1_0_0 {
        put(&mut object, "version", Some(if ip.address.address.is_ipv4() { "4" } else { "6" }));
    }
    put_number(&mut object, "interface", ip.interface);
    put(&mut object, "address", Some(ip.address));
    put(&mut object, "gateway", ip.gateway);
    with_extra(object, &ip.extra)
}

fn route_head(route: &Route) -> Map<String, Value> {
    let mut object = Map::new();
    put(&mut object, "dst", Some(route.dst));
    put(&mut object, "gw", route.gw);
    object
}

fn write_route(route: &Route) -> Value {
    let mut object = route_head(route);
    put_number(&mut object, "mtu", route.mtu.filter(|value| *value != 0));
    put_number(&mut object, "advmss", route.advmss.filter(|value| *value != 0));
    put_number(&mut object, "priority", route.priority.filter(|value| *value != 0));
    put_number(&mut object, "table", route.table);
    put_number(&mut object, "scope", route.scope);
    with_extra(object, &route.extra)
}

fn write_dns(dns: &Dns) -> Map<String, Value> {
    let list = |texts: &[String]| texts.iter().map(|text| Value::from(text.as_str())).collect();
    let mut object = Map::new();
    put_list(&mut object, "nameservers", list(&dns.nameservers));
    put(&mut object, "domain", dns.domain.as_ref());
    put_list(&mut object, "search", list(&dns.search));
    put_list(&mut object, "options", list(&dns.options));
    object
}

// === keys ===

/// No key for an empty text either.
fn put<T: Display>(object: &mut Map<String, Value>, key: &str, value: Option<T>) {
    if let Some(text) = value.map(|value| value.to_string()).filter(|text| !text.is_empty()) {
        object.insert(key.to_owned(), Value::String(text));
    }
}

fn put_number(object: &mut Map<String, Value>, key: &str, value: Option<impl Into<Value>>) {
    if let Some(value) = value {
        object.insert(key.to_owned(), value.into());
    }
}

fn put_list(object: &mut Map<String, Value>, key: &str, list: Vec<Value>) {
    if !list.is_empty() {
        object.insert(key.to_owned(), Value::Array(list));
    }
}

/// Keys of other plugins come last and never take the place of one of the protocol's.
fn with_extra(mut object: Map<String, Value>, extra: &Map<String, Value>) -> Value {
    for (key, value) in extra {
        if weft_json::get(&object, key).is_none() {
            object.insert(key.clone(), value.clone());
        }
    }
    Value::Object(object)
}
