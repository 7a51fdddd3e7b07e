//! From JSON of any version.

use serde::Deserialize;
use weft_json::{Error, Map, Value};

use super::{CniResult, Dns, Interface, IpConfig, Route};
use crate::prefix::MaybeIp;
use crate::{Prefix, Version};

/// Keys with a meaning in some version; they are never kept as somebody else's.
const RESULT: &[&str] = &["cniVersion", "interfaces", "ips", "routes", "dns", "ip4", "ip6"];
const INTERFACE: &[&str] = &["name", "mac", "mtu", "sandbox", "socketPath", "pciID"];
const IP: &[&str] = &["version", "address", "gateway", "interface", "ip", "routes"];
const ROUTE: &[&str] = &["dst", "gw", "mtu", "advmss", "priority", "table", "scope"];

#[derive(Deserialize)]
struct Head {
    #[serde(rename = "cniVersion")]
    cni_version: Option<String>,
}

/// Since 0.3.0.
#[derive(Deserialize)]
struct New {
    #[serde(default)]
    interfaces: Vec<NewInterface>,
    #[serde(default)]
    ips: Vec<NewIp>,
    #[serde(default)]
    routes: Vec<AnyRoute>,
    dns: Option<Dns>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct NewInterface {
    #[serde(default)]
    name: String,
    mac: Option<String>,
    mtu: Option<u32>,
    sandbox: Option<String>,
    socket_path: Option<String>,
    #[serde(rename = "pciID")]
    pci_id: Option<String>,
}

#[derive(Deserialize)]
struct NewIp {
    address: Prefix,
    #[serde(default)]
    gateway: MaybeIp,
    interface: Option<i64>,
}

#[derive(Deserialize)]
struct AnyRoute {
    dst: Prefix,
    #[serde(default)]
    gw: MaybeIp,
    mtu: Option<u32>,
    advmss: Option<u32>,
    priority: Option<u32>,
    table: Option<u32>,
    scope: Option<u32>,
}

/// Before 0.3.0.
#[derive(Deserialize)]
struct Old {
    ip4: Option<OldIp>,
    ip6: Option<OldIp>,
    dns: Option<Dns>,
}

#[derive(Deserialize)]
struct OldIp {
    ip: Prefix,
    #[serde(default)]
    gateway: MaybeIp,
    #[serde(default)]
    routes: Vec<AnyRoute>,
}

impl CniResult {
    /// Reads a result by its own `cniVersion`, or by `version` (the configuration's) if it has none. `null`, which some
    /// plugins print, is an empty result.
    ///
    /// # Errors
    /// A version or a value that isn't allowed, with its pointer within the result.
    pub fn parse(value: &Value, version: Version) -> Result<Self, Error> {
        if value.is_null() {
            return Ok(Self::default());
        }
        let head: Head = weft_json::from_value(value)?;
        let own = head.cni_version.filter(|text| !text.is_empty());
        let version = match own.as_deref() {
            None => version,
            Some(text) => Version::parse(text).map_err(|_| {
                let allowed = crate::version::join(&Version::SUPPORTED);
                Error::new("/cniVersion", &weft_json::render(&Value::from(text)), &allowed)
            })?,
        };
        let mut result = if version < Version::V0_3_0 { read_old(value)? } else { read_new(value)? };
        result.extra = extra(Some(value), RESULT);
        Ok(result)
    }
}

fn read_new(value: &Value) -> Result<CniResult, Error> {
    let New { interfaces, ips, routes, dns } = weft_json::from_value(value)?;
    Ok(CniResult {
        interfaces: interfaces
            .into_iter()
            .enumerate()
            .map(|(at, interface)| Interface {
                name: interface.name,
                mac: some(interface.mac),
                mtu: some(interface.mtu),
                sandbox: some(interface.sandbox),
                socket_path: some(interface.socket_path),
                pci_id: some(interface.pci_id),
                extra: extra(item(Some(value), "interfaces", at), INTERFACE),
            })
            .collect(),
        ips: ips
            .into_iter()
            .enumerate()
            .map(|(at, ip)| IpConfig {
                address: ip.address,
                gateway: ip.gateway.0,
                interface: ip.interface,
                extra: extra(item(Some(value), "ips", at), IP),
            })
            .collect(),
        routes: read_routes(Some(value), routes),
        dns: dns.filter(|dns| !dns.is_empty()),
        extra: Map::new(),
    })
}

fn read_old(value: &Value) -> Result<CniResult, Error> {
    let Old { ip4, ip6, dns } = weft_json::from_value(value)?;
    let mut result = CniResult { dns: dns.filter(|dns| !dns.is_empty()), ..CniResult::default() };
    for (key, ip) in [("ip4", ip4), ("ip6", ip6)] {
        let Some(ip) = ip else { continue };
        let object = key_of(Some(value), key);
        result.ips.push(IpConfig { address: ip.ip, gateway: ip.gateway.0, interface: None, extra: extra(object, IP) });
        result.routes.extend(read_routes(object, ip.routes));
    }
    Ok(result)
}

/// The routes of `parent`, which is there again as JSON for what they have besides.
fn read_routes(parent: Option<&Value>, routes: Vec<AnyRoute>) -> Vec<Route> {
    let read = |(at, route): (usize, AnyRoute)| Route {
        dst: route.dst,
        gw: route.gw.0,
        mtu: some(route.mtu),
        advmss: some(route.advmss),
        priority: some(route.priority),
        table: route.table,
        scope: route.scope,
        extra: extra(item(parent, "routes", at), ROUTE),
    };
    routes.into_iter().enumerate().map(read).collect()
}

/// Go's library writes a value only if it isn't its type's zero, and so says the same with zero and with nothing.
fn some<T: Default + PartialEq>(value: Option<T>) -> Option<T> {
    value.filter(|value| *value != T::default())
}

fn key_of<'v>(value: Option<&'v Value>, key: &str) -> Option<&'v Value> {
    weft_json::get(value?.as_object()?, key)
}

fn item<'v>(value: Option<&'v Value>, key: &str, at: usize) -> Option<&'v Value> {
    key_of(value, key)?.as_array()?.get(at)
}

/// The keys that aren't among the known ones, in any spelling.
fn extra(value: Option<&Value>, known: &[&str]) -> Map<String, Value> {
    let is_known = |name: &str| known.iter().any(|key| key.eq_ignore_ascii_case(name));
    let entries = value.and_then(Value::as_object).into_iter().flatten();
    entries.filter(|(name, _)| !is_known(name)).map(|(name, value)| (name.clone(), value.clone())).collect()
}
