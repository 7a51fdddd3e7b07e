//! The parts of a network configuration that many plugins read, and how a plugin reads its own.
//!
//! A plugin derives `serde::Deserialize` for what it needs and calls [`Request::config`]; keys match without regard to
//! case, `null` is absent, and errors name the key by its JSON pointer, what stands there and what may.

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::requests::Request;
use crate::types::{self, Error, IpAddress, IpPrefix, RouteScope};

impl Request {
    /// The network configuration as a type of the plugin's.
    ///
    /// # Errors
    /// `invalid-config` with the pointer of the first key that doesn't fit.
    pub fn config<T: DeserializeOwned>(&self) -> Result<T, Error> {
        crate::json::from_str(&self.config).map_err(Error::from)
    }

    /// The value of a name in CNI_ARGS; the last one if it is there twice, none if it is empty.
    pub fn arg(&self, name: &str) -> Option<&str> {
        let found = self.args.iter().rev().find(|setting| setting.name == name)?;
        (!found.value.is_empty()).then_some(found.value.as_str())
    }
}

/// Resolver settings as a configuration has them; a field that is there overrides even if it is empty.
#[derive(Deserialize, Default)]
#[serde(default)]
pub struct Dns {
    /// Addresses.
    pub nameservers: Option<Vec<String>>,
    /// The local domain.
    pub domain: Option<String>,
    /// Search list.
    pub search: Option<Vec<String>>,
    /// Options of resolv.conf.
    pub options: Option<Vec<String>>,
}

impl Dns {
    /// Whether any of the fields is there.
    pub fn is_set(&self) -> bool {
        self.nameservers.is_some() || self.domain.is_some() || self.search.is_some() || self.options.is_some()
    }
}

impl From<Dns> for types::Dns {
    fn from(dns: Dns) -> Self {
        Self {
            nameservers: dns.nameservers.unwrap_or_default(),
            domain: dns.domain.filter(|domain| !domain.is_empty()),
            search: dns.search.unwrap_or_default(),
            options: dns.options.unwrap_or_default(),
        }
    }
}

/// A route as an `ipam` part has it.
#[derive(Deserialize)]
pub struct Route {
    /// Where to.
    pub dst: IpPrefix,
    /// Through whom.
    #[serde(default)]
    pub gw: Option<IpAddress>,
    /// Bytes.
    #[serde(default)]
    pub mtu: Option<u32>,
    /// Bytes.
    #[serde(default)]
    pub advmss: Option<u32>,
    /// The metric.
    #[serde(default)]
    pub priority: Option<u32>,
    /// The table's number.
    #[serde(default)]
    pub table: Option<u32>,
    /// How far: 0 universe, 200 site, 253 link, 254 host.
    #[serde(default)]
    pub scope: Option<u8>,
}

impl Route {
    /// As the contract has it; `pointer` is the JSON pointer of this route.
    ///
    /// # Errors
    /// `invalid-config` for a scope that isn't one.
    pub fn into_contract(self, pointer: &str) -> Result<types::Route, Error> {
        let scope = match self.scope {
            None => None,
            Some(0) => Some(RouteScope::Universe),
            Some(200) => Some(RouteScope::Site),
            Some(253) => Some(RouteScope::Link),
            Some(254) => Some(RouteScope::Host),
            Some(other) => {
                let allowed = "0 (universe), 200 (site), 253 (link) or 254 (host)";
                return Err(Error::invalid(&[pointer, "/scope"].concat(), &other.to_string(), allowed));
            }
        };
        Ok(types::Route {
            gateway: self.gw,
            table: self.table,
            metric: self.priority,
            scope,
            mtu: self.mtu.filter(|&mtu| mtu != 0),
            advertised_mss: self.advmss.filter(|&mss| mss != 0),
            ..types::Route::to(self.dst.network())
        })
    }

    /// A list of routes; `pointer` is the JSON pointer of the list.
    ///
    /// # Errors
    /// See [`Route::into_contract`].
    pub fn list_into_contract(routes: Vec<Self>, pointer: &str) -> Result<Vec<types::Route>, Error> {
        let one = |(at, route): (usize, Self)| route.into_contract(&indexed(pointer, at));
        routes.into_iter().enumerate().map(one).collect()
    }
}

/// The JSON pointer of an item of a list.
pub fn indexed(pointer: &str, at: usize) -> String {
    [pointer, "/", &at.to_string()].concat()
}

/// Whether a `cniVersion` is from before 0.3.0, whose results have room for one address of a family. None given counts as
/// 0.1.0, what isn't a version as later.
pub fn before_0_3(version: &str) -> bool {
    version.is_empty() || ["0.0.", "0.1.", "0.2."].iter().any(|old| version.starts_with(old))
}
