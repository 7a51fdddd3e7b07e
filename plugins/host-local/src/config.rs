//! The configuration, checked: sets of ranges in the order in which the address store counts them, and what is asked
//! for.

use serde::Deserialize;
use weft_sdk::address::ADDRESS;
use weft_sdk::json::quote;
use weft_sdk::netconf::{Route, before_0_3, indexed};
use weft_sdk::types::{self, IpAddress, IpFamily, IpPrefix};
use weft_sdk::{Error, Request};

use crate::range::{self, RangeSet};

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Written {
    cni_version: String,
    ipam: Ipam,
    runtime_config: RuntimeConfig,
    args: Args,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Ipam {
    ranges: Vec<Vec<range::Written>>,
    // One range as the part itself: the older form.
    subnet: Option<IpPrefix>,
    range_start: Option<IpAddress>,
    range_end: Option<IpAddress>,
    gateway: Option<IpAddress>,
    routes: Vec<Route>,
    resolv_conf: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct RuntimeConfig {
    #[serde(rename = "ipRanges")]
    ranges: Vec<Vec<range::Written>>,
    ips: Vec<String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Args {
    cni: CniArgs,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct CniArgs {
    ips: Vec<String>,
}

/// An address that is asked for, and where.
pub(crate) struct Wish {
    pub(crate) address: IpAddress,
    pub(crate) pointer: String,
}

/// What the configuration asks for.
pub(crate) struct Config {
    /// A set's place is its number in the address store.
    pub(crate) sets: Vec<RangeSet>,
    pub(crate) wishes: Vec<Wish>,
    pub(crate) routes: Vec<types::Route>,
    /// Whether a file with resolver settings is named.
    pub(crate) resolv_conf: bool,
}

impl Config {
    pub(crate) fn of(request: &Request) -> Result<Self, Error> {
        let Written { cni_version, ipam, runtime_config, args } = request.config()?;
        let legacy = range::Written {
            subnet: ipam.subnet,
            range_start: ipam.range_start,
            range_end: ipam.range_end,
            gateway: ipam.gateway,
        };
        let mut sets = Vec::new();
        read_sets(&mut sets, &runtime_config.ranges, "/runtimeConfig/ipRanges")?;
        if legacy.subnet.is_some() {
            add_set(&mut sets, &[legacy], "/ipam", range::Form::Plain)?;
        }
        read_sets(&mut sets, &ipam.ranges, "/ipam/ranges")?;
        if sets.is_empty() {
            return Err(Error::invalid(
                "/ipam/ranges",
                "nothing",
                "one set of ranges at least, such as [[{\"subnet\": \"10.1.2.0/24\"}]]",
            ));
        }
        if before_0_3(&cni_version) {
            one_per_family(&sets)?;
        }
        let mut wishes = Vec::new();
        wish_for(&mut wishes, &runtime_config.ips, "/runtimeConfig/ips")?;
        wish_for(&mut wishes, &args.cni.ips, "/args/cni/ips")?;
        if let Some(text) = request.arg("IP") {
            wish_for_one(&mut wishes, text, "CNI_ARGS/IP".to_owned())?;
        }
        let routes = Route::list_into_contract(ipam.routes, "/ipam/routes")?;
        Ok(Self { sets, wishes, routes, resolv_conf: !ipam.resolv_conf.is_empty() })
    }
}

fn read_sets(sets: &mut Vec<RangeSet>, written: &[Vec<range::Written>], pointer: &str) -> Result<(), Error> {
    for (at, ranges) in written.iter().enumerate() {
        add_set(sets, ranges, &indexed(pointer, at), range::Form::List)?;
    }
    Ok(())
}

fn add_set(sets: &mut Vec<RangeSet>, ranges: &[range::Written], pointer: &str, form: range::Form) -> Result<(), Error> {
    let set = range::read_set(ranges, pointer, form)?;
    range::check_apart(&set, sets, pointer)?;
    sets.push(set);
    Ok(())
}

/// Results of old versions have room for one address of a family.
fn one_per_family(sets: &[RangeSet]) -> Result<(), Error> {
    for family in [IpFamily::V4, IpFamily::V6] {
        let count = sets.iter().filter(|set| set.iter().all(|range| range.first.family() == family)).count();
        if count > 1 {
            let found = [&count.to_string(), " sets of one family"].concat();
            return Err(Error::invalid("/ipam/ranges", &found, "one set of each family, or cniVersion 0.3.0 or later"));
        }
    }
    Ok(())
}

fn wish_for(wishes: &mut Vec<Wish>, texts: &[String], pointer: &str) -> Result<(), Error> {
    for (at, text) in texts.iter().enumerate() {
        wish_for_one(wishes, text, indexed(pointer, at))?;
    }
    Ok(())
}

/// A prefix length after the address says nothing here; the range has one.
fn wish_for_one(wishes: &mut Vec<Wish>, text: &str, pointer: String) -> Result<(), Error> {
    let prefix = IpPrefix::parse(text).map(|prefix| prefix.address);
    let Some(address) = prefix.or_else(|| IpAddress::parse(text)) else {
        return Err(Error::invalid(&pointer, &quote(text), ADDRESS));
    };
    if wishes.iter().all(|wish| wish.address != address) {
        wishes.push(Wish { address, pointer });
    }
    Ok(())
}
