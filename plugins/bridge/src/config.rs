//! The configuration, checked: what is read here can be planned.

use serde::Deserialize;
use weft_sdk::address::{MAC, parse_mac};
use weft_sdk::json::quote;
use weft_sdk::netconf::{Dns, indexed};
use weft_sdk::plan::PortVlan;
use weft_sdk::requests::Addressing;
use weft_sdk::{Error, Request};

/// What the kernel takes for a pair: at least what IPv4 needs (RFC 791), at most what an IP packet can be.
const MTU: std::ops::RangeInclusive<u32> = 68..=65535;

/// The highest VLAN there is.
const LAST_VLAN: i64 = 4094;
/// Bytes in a link's name.
const NAME: usize = 15;

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Written {
    bridge: String,
    is_gateway: bool,
    is_default_gateway: bool,
    force_address: bool,
    ip_masq: bool,
    ip_masq_backend: Option<String>,
    mtu: u32,
    hairpin_mode: bool,
    promisc_mode: bool,
    vlan: i64,
    vlan_trunk: Option<Vec<Trunk>>,
    preserve_default_vlan: bool,
    macspoofchk: bool,
    enabledad: bool,
    disable_container_interface: bool,
    port_isolation: bool,
    dns: Dns,
    runtime_config: WithMac,
    args: Args,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Trunk {
    #[serde(rename = "minID")]
    min: Option<i64>,
    #[serde(rename = "maxID")]
    max: Option<i64>,
    id: Option<i64>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct WithMac {
    mac: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Args {
    cni: WithMac,
}

/// What the configuration asks for.
pub(crate) struct Config {
    /// The bridge's name.
    pub(crate) bridge: String,
    /// The bridge carries the gateway's addresses.
    pub(crate) gateway: bool,
    /// The gateway is the sandbox's default route.
    pub(crate) default_gateway: bool,
    /// Other addresses of the bridge give way.
    pub(crate) force_address: bool,
    pub(crate) masquerade: bool,
    pub(crate) mtu: Option<u32>,
    pub(crate) hairpin: bool,
    pub(crate) promiscuous: bool,
    pub(crate) isolated: bool,
    /// The bridge tells VLANs apart.
    pub(crate) vlan_filtering: bool,
    /// The VLAN of untagged frames, on which the gateway is too.
    pub(crate) vlan: Option<u16>,
    /// What the container's port belongs to, and the bridge's default VLAN unless dropped.
    pub(crate) vlans: Vec<PortVlan>,
    pub(crate) drop_default_vlan: bool,
    pub(crate) source_guard: bool,
    pub(crate) detect_duplicates: bool,
    pub(crate) container_up: bool,
    pub(crate) mac: Option<u64>,
    pub(crate) dns: Dns,
}

impl Config {
    pub(crate) fn of(request: &Request) -> Result<Self, Error> {
        let written: Written = request.config()?;
        let mac = mac(request, &written)?;
        if written.hairpin_mode && written.promisc_mode {
            return Err(Error::invalid("/hairpinMode", "true", "false with promiscMode, of which only one can be on"));
        }
        if written.disable_container_interface && request.addressing != Addressing::Off {
            let allowed = "false with an ipam part, because the interface has to be up to have addresses";
            return Err(Error::invalid("/disableContainerInterface", "true", allowed));
        }
        match written.ip_masq_backend.as_deref() {
            None | Some("" | "iptables" | "nftables") => {}
            Some(other) => {
                let allowed = "\"nftables\" or \"iptables\", which are done the same way";
                return Err(Error::invalid("/ipMasqBackend", &quote(other), allowed));
            }
        }
        let bridge = if written.bridge.is_empty() { "cni0".to_owned() } else { written.bridge };
        if bridge.len() > NAME {
            return Err(Error::invalid("/bridge", &quote(&bridge), "a link's name of up to 15 bytes"));
        }
        if written.mtu != 0 && !MTU.contains(&written.mtu) {
            let allowed = "a packet size from 68 to 65535 bytes, or 0 for the kernel's choice";
            return Err(Error::invalid("/mtu", &written.mtu.to_string(), allowed));
        }
        if !(0..=LAST_VLAN).contains(&written.vlan) {
            let allowed = "a VLAN from 1 to 4094, or 0 for none";
            return Err(Error::invalid("/vlan", &written.vlan.to_string(), allowed));
        }
        let vlan = (written.vlan != 0).then_some(written.vlan as u16);
        let trunk = match &written.vlan_trunk {
            Some(trunk) => trunk_ranges(trunk)?,
            None => Vec::new(),
        };
        Ok(Self {
            bridge,
            gateway: written.is_gateway || written.is_default_gateway,
            default_gateway: written.is_default_gateway,
            force_address: written.force_address,
            masquerade: written.ip_masq,
            mtu: (written.mtu != 0).then_some(written.mtu),
            hairpin: written.hairpin_mode,
            promiscuous: written.promisc_mode,
            isolated: written.port_isolation,
            vlan_filtering: vlan.is_some() || written.vlan_trunk.is_some(),
            vlan,
            drop_default_vlan: (vlan.is_some() || !trunk.is_empty()) && !written.preserve_default_vlan,
            vlans: port_vlans(vlan, &trunk),
            source_guard: written.macspoofchk,
            detect_duplicates: written.enabledad,
            container_up: !written.disable_container_interface,
            mac,
            dns: written.dns,
        })
    }

    /// The link that carries the gateway's addresses where it is on a VLAN.
    pub(crate) fn gateway_name(&self, vlan: u16) -> Result<String, Error> {
        let name = [&self.bridge, ".", &vlan.to_string()].concat();
        if name.len() > NAME {
            let allowed = "a name that leaves room for a dot and the VLAN within 15 bytes";
            return Err(Error::invalid("/bridge", &quote(&self.bridge), allowed));
        }
        Ok(name)
    }
}

/// The runtime's wish counts most, then that of `args`, then that of CNI_ARGS.
fn mac(request: &Request, written: &Written) -> Result<Option<u64>, Error> {
    let sources = [
        ("/runtimeConfig/mac", written.runtime_config.mac.as_deref()),
        ("/args/cni/mac", written.args.cni.mac.as_deref()),
        ("CNI_ARGS/MAC", request.arg("MAC")),
    ];
    for (pointer, text) in sources {
        if let Some(text) = text.filter(|text| !text.is_empty()) {
            return match parse_mac(text) {
                Some(mac) => Ok(Some(mac)),
                None => Err(Error::invalid(pointer, &quote(text), MAC)),
            };
        }
    }
    Ok(None)
}

fn vlan_id(at: usize, key: &str, value: i64) -> Result<u16, Error> {
    if (1..=LAST_VLAN).contains(&value) {
        return Ok(value as u16);
    }
    let pointer = [&indexed("/vlanTrunk", at), "/", key].concat();
    Err(Error::invalid(&pointer, &value.to_string(), "a VLAN from 1 to 4094"))
}

/// The VLANs of a trunk, first to last, sorted and joined.
fn trunk_ranges(trunk: &[Trunk]) -> Result<Vec<(u16, u16)>, Error> {
    let mut ranges = Vec::new();
    for (at, entry) in trunk.iter().enumerate() {
        match (entry.min, entry.max) {
            (None, None) => {}
            (Some(min), Some(max)) => {
                let (first, last) = (vlan_id(at, "minID", min)?, vlan_id(at, "maxID", max)?);
                if last < first {
                    let pointer = [&indexed("/vlanTrunk", at), "/maxID"].concat();
                    let allowed = ["at least minID, ", &min.to_string()].concat();
                    return Err(Error::invalid(&pointer, &max.to_string(), &allowed));
                }
                ranges.push((first, last));
            }
            (min, _) => {
                let missing = if min.is_none() { "/minID" } else { "/maxID" };
                let pointer = [&indexed("/vlanTrunk", at), missing].concat();
                return Err(Error::invalid(&pointer, "nothing", "minID and maxID together"));
            }
        }
        if let Some(id) = entry.id {
            let id = vlan_id(at, "id", id)?;
            ranges.push((id, id));
        }
    }
    let mut joined: Vec<(u16, u16)> = Vec::new();
    // By hand: the standard library's sort is as big as all of this plugin's logic.
    while let Some(&(first, last)) = ranges.iter().min() {
        ranges.retain(|&range| range != (first, last));
        match joined.last_mut() {
            Some((_, end)) if first <= *end + 1 => *end = (*end).max(last),
            _ => joined.push((first, last)),
        }
    }
    Ok(joined)
}

/// A trunk's port has a VLAN of untagged frames, too: 1 unless another is asked for. It counts as that one alone.
fn port_vlans(vlan: Option<u16>, trunk: &[(u16, u16)]) -> Vec<PortVlan> {
    let native = match vlan {
        Some(vlan) => vlan,
        None if trunk.is_empty() => return Vec::new(),
        None => 1,
    };
    let mut vlans = vec![PortVlan { first: native, last: native, native: true, untagged: true }];
    for &(first, last) in trunk {
        let parts = if (first..=last).contains(&native) {
            [(first, native - 1), (native + 1, last)]
        } else {
            [(first, last), (1, 0)]
        };
        let parts = parts.into_iter().filter(|(first, last)| first <= last);
        vlans.extend(parts.map(|(first, last)| PortVlan { first, last, native: false, untagged: false }));
    }
    vlans
}
