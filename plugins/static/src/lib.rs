//! Gives the addresses that the configuration lists.
//!
//! What counts: the runtime's `ips` alone; else those of `args`; else `ipam.addresses` and after them those of CNI_ARGS.

use serde::Deserialize;
use weft_sdk::address::{ADDRESS, PREFIX};
use weft_sdk::json::quote;
use weft_sdk::netconf::{Dns, Route, before_0_3, indexed};
use weft_sdk::types::{AssignedAddress, IpAddress, IpFamily, IpPrefix};
use weft_sdk::{Allocation, Error, Ipam, Request};

/// See the crate.
pub struct Static;

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Config {
    cni_version: String,
    ipam: Option<IpamPart>,
    runtime_config: Ips,
    args: Args,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct IpamPart {
    addresses: Vec<Address>,
    routes: Vec<Route>,
    dns: Dns,
}

#[derive(Deserialize)]
struct Address {
    address: IpPrefix,
    #[serde(default)]
    gateway: Option<IpAddress>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Ips {
    ips: Vec<String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Args {
    cni: Ips,
}

impl Ipam for Static {
    fn allocate(request: &Request) -> Result<Allocation, Error> {
        let Config { cni_version, ipam, runtime_config, args } = request.config()?;
        let Some(ipam) = ipam else {
            return Err(Error::invalid("/ipam", "nothing", "an object with the addresses to give"));
        };
        let addresses = if !runtime_config.ips.is_empty() {
            listed(&runtime_config.ips, "/runtimeConfig/ips")?
        } else if !args.cni.ips.is_empty() {
            listed(&args.cni.ips, "/args/cni/ips")?
        } else {
            configured(ipam.addresses, request)?
        };
        if before_0_3(&cni_version) {
            one_per_family(&addresses)?;
        }
        let routes = Route::list_into_contract(ipam.routes, "/ipam/routes")?;
        Ok(Allocation { addresses, routes, dns: ipam.dns.into() })
    }
}

fn assigned(prefix: IpPrefix, gateway: Option<IpAddress>) -> AssignedAddress {
    AssignedAddress { prefix, gateway, at: None }
}

fn listed(texts: &[String], pointer: &str) -> Result<Vec<AssignedAddress>, Error> {
    let one = |(at, text): (usize, &String)| match IpPrefix::parse(text) {
        Some(prefix) => Ok(assigned(prefix, None)),
        None => Err(Error::invalid(&indexed(pointer, at), &quote(text), PREFIX)),
    };
    texts.iter().enumerate().map(one).collect()
}

/// The list of the configuration, then that of CNI_ARGS; a gateway of CNI_ARGS is that of every network it lies in.
fn configured(addresses: Vec<Address>, request: &Request) -> Result<Vec<AssignedAddress>, Error> {
    let mut all: Vec<_> = addresses.into_iter().map(|given| assigned(given.address, given.gateway)).collect();
    for text in request.arg("IP").unwrap_or_default().split(',').map(str::trim).filter(|text| !text.is_empty()) {
        match IpPrefix::parse(text) {
            Some(prefix) => all.push(assigned(prefix, None)),
            None => return Err(Error::invalid("CNI_ARGS/IP", &quote(text), PREFIX)),
        }
    }
    for text in request.arg("GATEWAY").unwrap_or_default().split(',').map(str::trim).filter(|text| !text.is_empty()) {
        let Some(gateway) = IpAddress::parse(text) else {
            return Err(Error::invalid("CNI_ARGS/GATEWAY", &quote(text), ADDRESS));
        };
        for address in all.iter_mut().filter(|address| address.prefix.contains(gateway)) {
            address.gateway = Some(gateway);
        }
    }
    Ok(all)
}

/// Results of old versions have room for one address of a family.
fn one_per_family(addresses: &[AssignedAddress]) -> Result<(), Error> {
    for family in [IpFamily::V4, IpFamily::V6] {
        let mut of_family = addresses.iter().filter(|address| address.prefix.address.family() == family);
        if let (Some(_), Some(second)) = (of_family.next(), of_family.next()) {
            let allowed = "one address of each family, or cniVersion 0.3.0 or later";
            return Err(Error::invalid("/ipam/addresses", &second.prefix.to_string(), allowed));
        }
    }
    Ok(())
}

weft_sdk::export!(Static as ipam);

#[cfg(test)]
mod tests {
    use super::*;
    use weft_sdk::testing::{FakeHost, arg, request};
    use weft_sdk::types::ConfigError;

    const TWO: &str =
        r#""addresses": [{"address": "10.10.0.1/24", "gateway": "10.10.0.254"}, {"address": "3ffe:ffff:0:1ff::1/64"}]"#;

    fn allocate(ipam: &str, rest: &str, arguments: &[(&str, &str)]) -> Result<Allocation, Error> {
        let config =
            format!(r#"{{ "cniVersion": "1.0.0", "name": "net", "ipam": {{ "type": "static", {ipam} }}{rest} }}"#);
        let mut request = request(&config);
        request.args = arguments.iter().map(|(name, value)| arg(name, value)).collect();
        FakeHost::new().run(&request, Static::allocate)
    }

    fn shown(result: Result<Allocation, Error>) -> Vec<String> {
        let gateway = |gateway: Option<IpAddress>| gateway.map_or(String::new(), |gateway| format!(" by {gateway}"));
        let addresses = result.unwrap().addresses;
        addresses.iter().map(|address| format!("{}{}", address.prefix, gateway(address.gateway))).collect()
    }

    fn pointer(result: Result<Allocation, Error>) -> String {
        match result {
            Err(Error::InvalidConfig(ConfigError { pointer, .. })) => pointer,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_is_listed_is_given() {
        let more = r#", "routes": [{"dst": "0.0.0.0/0"}, {"dst": "192.168.0.0/16", "gw": "10.10.5.1"},
            {"dst": "192.168.0.0/16", "gw": "10.10.5.2"}],
            "dns": {"nameservers": ["192.0.2.1"], "domain": "example.org", "search": ["a.example"]}"#;
        let given = allocate(&[TWO, more].concat(), "", &[]).unwrap();
        let gateways: Vec<_> =
            given.routes.iter().map(|route| route.gateway.map(|gateway| gateway.to_string())).collect();
        assert_eq!(gateways, [None, Some("10.10.5.1".to_owned()), Some("10.10.5.2".to_owned())]);
        assert_eq!(
            (given.dns.nameservers[0].as_str(), given.dns.domain.as_deref()),
            ("192.0.2.1", Some("example.org"))
        );
        assert_eq!(shown(allocate(TWO, "", &[])), ["10.10.0.1/24 by 10.10.0.254", "3ffe:ffff:0:1ff::1/64"]);
        assert!(shown(allocate(r#""addresses": []"#, "", &[])).is_empty());
    }

    #[test]
    fn cni_args_add_addresses_and_gateways() {
        let arguments = [("IP", "10.11.0.1/24, 11.11.0.1/24"), ("GATEWAY", "10.11.0.9,3ffe:ffff:0:1ff::9")];
        let expected = [
            "10.10.0.1/24 by 10.10.0.254",
            "3ffe:ffff:0:1ff::1/64 by 3ffe:ffff:0:1ff::9",
            "10.11.0.1/24 by 10.11.0.9",
            "11.11.0.1/24",
        ];
        assert_eq!(shown(allocate(TWO, "", &arguments)), expected);
    }

    #[test]
    fn args_replace_and_the_runtime_replaces_those() {
        let args = r#", "args": {"cni": {"ips": ["10.2.0.1/24"]}}"#;
        let runtime = r#", "runtimeConfig": {"ips": ["10.3.0.1/24", "2001:db8::1/64"]}"#;
        let arguments = [("IP", "10.11.0.1/24")];
        assert_eq!(shown(allocate(TWO, args, &arguments)), ["10.2.0.1/24"]);
        assert_eq!(shown(allocate(TWO, &[args, runtime].concat(), &arguments)), ["10.3.0.1/24", "2001:db8::1/64"]);
        assert_eq!(shown(allocate(TWO, r#", "runtimeConfig": {"ips": []}"#, &[])).len(), 2);
    }

    #[test]
    fn every_source_is_named_in_its_errors() {
        assert_eq!(
            pointer(allocate(r#""addresses": [{"address": "10.10.0.1"}]"#, "", &[])),
            "/ipam/addresses/0/address"
        );
        assert_eq!(pointer(allocate(r#""addresses": [{}]"#, "", &[])), "/ipam/addresses/0/address");
        assert_eq!(
            pointer(allocate(r#""addresses": [{"address": "10.1.0.1/8", "gateway": "x"}]"#, "", &[])),
            "/ipam/addresses/0/gateway"
        );
        assert_eq!(pointer(allocate(TWO, "", &[("IP", "10.10.0.1")])), "CNI_ARGS/IP");
        assert_eq!(pointer(allocate(TWO, "", &[("GATEWAY", "10.10.0.1/24")])), "CNI_ARGS/GATEWAY");
        assert_eq!(pointer(allocate(TWO, r#", "args": {"cni": {"ips": ["1.2.3.4"]}}"#, &[])), "/args/cni/ips/0");
        assert_eq!(
            pointer(allocate(TWO, r#", "runtimeConfig": {"ips": ["1.2.3.4/24", ""]}"#, &[])),
            "/runtimeConfig/ips/1"
        );
        let bare = request(r#"{ "name": "net" }"#);
        assert_eq!(pointer(FakeHost::new().run(&bare, Static::allocate)), "/ipam");
    }

    #[test]
    fn old_versions_have_room_for_one_address_of_a_family() {
        let old = |addresses: &str| {
            let config = format!(r#"{{ "cniVersion": "0.2.0", "ipam": {{ "addresses": [{addresses}] }} }}"#);
            FakeHost::new().run(&request(&config), Static::allocate)
        };
        assert!(old(r#"{"address": "10.1.0.1/24"}, {"address": "2001:db8::1/64"}"#).is_ok());
        assert_eq!(pointer(old(r#"{"address": "10.1.0.1/24"}, {"address": "10.2.0.1/24"}"#)), "/ipam/addresses");
    }
}
