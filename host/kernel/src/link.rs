//! Links: requests that look up, create, change and delete them, and what a reply says.
//!
//! Owns: the encoding of [`Kind`] and [`Property`]. Must not: send anything.

use std::os::fd::RawFd;

use netlink_packet_route::AddressFamily;
use netlink_packet_route::link::{
    InfoBridge, InfoBridgePort, InfoData, InfoIpVlan, InfoKind, InfoMacVlan, InfoPortData, InfoPortKind, InfoVeth,
    InfoVlan, InfoVrf, IpVlanMode, LinkAttribute, LinkExtentMask, LinkFlags, LinkInfo, LinkMessage, MacVlanMode,
    VlanProtocol as WireVlanProtocol,
};
use nix::libc;
use weft_contract::plan::{IpvlanMode, MacvlanMode, VlanProtocol};
use weft_contract::types::MacAddress;
use weft_executor::operation::{Property, VethEnd};
use weft_executor::state::{Kind, PortFlags};

use crate::wire::{self, Reply, Request};

/// Bytes of `struct ifinfomsg`.
pub(crate) const IFINFOMSG: usize = 16;

const IFLA_LINKINFO: u16 = 18;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const IFLA_INFO_SLAVE_KIND: u16 = 4;
const IFLA_INFO_SLAVE_DATA: u16 = 5;
const IFLA_LINK_NETNSID: u16 = 37;
const IFLA_PARENT_DEV_NAME: u16 = 56;
const IFLA_BR_VLAN_FILTERING: u16 = 7;
const IFLA_BR_VLAN_DEFAULT_PVID: u16 = 39;
const IFLA_BRPORT_MODE: u16 = 4;
const IFLA_BRPORT_ISOLATED: u16 = 33;
const IFLA_MACVLAN_MODE: u16 = 1;
const IFLA_IPVLAN_MODE: u16 = 1;
const IFLA_VLAN_ID: u16 = 1;
const IFLA_VLAN_PROTOCOL: u16 = 5;
const IFLA_VRF_TABLE: u16 = 1;

/// A link as a reply describes it; other links by index.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RawLink {
    pub(crate) index: u32,
    pub(crate) name: String,
    pub(crate) flags: u32,
    pub(crate) mtu: u32,
    pub(crate) mac: Option<MacAddress>,
    pub(crate) master: Option<u32>,
    /// The parent, or a veth's peer.
    pub(crate) lower: Option<u32>,
    /// The namespace of `lower`, as this namespace numbers it; None: this one.
    pub(crate) lower_netns: Option<i32>,
    pub(crate) transmit_queue_length: u32,
    /// Empty: a device with a driver.
    pub(crate) kind: String,
    pub(crate) data: Vec<u8>,
    pub(crate) port: Option<PortFlags>,
    /// The bus address of its device.
    pub(crate) device: Option<String>,
}

// === requests ===

fn message(index: u32, attributes: Vec<LinkAttribute>) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.header.index = index;
    message.attributes = attributes;
    message
}

/// The link of this name.
pub(crate) fn get_by_name(name: &str) -> Request {
    let attributes = vec![LinkAttribute::IfName(name.into()), LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats])];
    Request::of(libc::RTM_GETLINK, 0, &message(0, attributes))
}

/// The link of this index.
pub(crate) fn get_by_index(index: u32) -> Request {
    let attributes = vec![LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats])];
    Request::of(libc::RTM_GETLINK, 0, &message(index, attributes))
}

/// Every link, or every port of a master.
pub(crate) fn list(master: Option<u32>) -> Request {
    let mut attributes = vec![LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats])];
    attributes.extend(master.map(LinkAttribute::Controller));
    Request::of(libc::RTM_GETLINK, 0, &message(0, attributes))
}

/// What is said of a link that is to be created, besides its kind.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Birth<'a> {
    pub(crate) name: &'a str,
    pub(crate) mac: Option<MacAddress>,
    pub(crate) mtu: Option<u32>,
    pub(crate) master: Option<u32>,
    pub(crate) up: bool,
    /// Where it is born; None: in the socket's namespace.
    pub(crate) netns: Option<RawFd>,
}

impl Birth<'_> {
    fn message(self) -> LinkMessage {
        let mut attributes = vec![LinkAttribute::IfName(self.name.into())];
        attributes.extend(self.mac.map(|mac| LinkAttribute::Address(mac_bytes(mac))));
        attributes.extend(self.mtu.map(LinkAttribute::Mtu));
        attributes.extend(self.master.map(LinkAttribute::Controller));
        attributes.extend(self.netns.map(LinkAttribute::NetNsFd));
        let mut message = message(0, attributes);
        if self.up {
            message.header.flags = LinkFlags::Up;
            message.header.change_mask = LinkFlags::Up;
        }
        message
    }
}

impl<'a> Birth<'a> {
    pub(crate) fn of(end: &'a VethEnd, master: Option<u32>, netns: Option<RawFd>) -> Self {
        Self { name: &end.at.name, mac: end.mac, mtu: end.mtu, master, up: end.up, netns }
    }
}

fn create(birth: Birth<'_>, lower: Option<u32>, kind: InfoKind, data: Option<InfoData>) -> Request {
    let mut message = birth.message();
    message.attributes.extend(lower.map(LinkAttribute::Link));
    let info = std::iter::once(LinkInfo::Kind(kind)).chain(data.map(LinkInfo::Data)).collect();
    message.attributes.push(LinkAttribute::LinkInfo(info));
    Request::of(libc::RTM_NEWLINK, libc::NLM_F_CREATE | libc::NLM_F_EXCL, &message)
}

/// Both ends of a pair. The kernel refuses to set the second up: its peer isn't there yet.
pub(crate) fn create_veth(first: Birth<'_>, second: Birth<'_>) -> Request {
    let peer = Birth { up: false, ..second }.message();
    create(first, None, InfoKind::Veth, Some(InfoData::Veth(InfoVeth::Peer(peer))))
}

/// A link of another kind; `parent` by index in the socket's namespace. None: not a kind that can be created.
pub(crate) fn create_link(birth: Birth<'_>, kind: &Kind, parent: Option<u32>) -> Option<Request> {
    let (kind, data) = match kind {
        Kind::Loopback | Kind::Veth => return None,
        Kind::Bridge { vlan_filtering, default_vlan } => {
            let mut data = Vec::new();
            if *vlan_filtering {
                data.push(InfoBridge::VlanFiltering(true));
            }
            data.extend(default_vlan.map(InfoBridge::VlanDefaultPvid));
            (InfoKind::Bridge, (!data.is_empty()).then_some(InfoData::Bridge(data)))
        }
        Kind::Macvlan { mode, .. } => {
            let mode = match mode {
                MacvlanMode::Bridge => MacVlanMode::Bridge,
                MacvlanMode::Private => MacVlanMode::Private,
                MacvlanMode::Vepa => MacVlanMode::Vepa,
                MacvlanMode::Passthru => MacVlanMode::Passthrough,
                MacvlanMode::Source => MacVlanMode::Source,
            };
            (InfoKind::MacVlan, Some(InfoData::MacVlan(vec![InfoMacVlan::Mode(mode)])))
        }
        Kind::Ipvlan { mode, .. } => {
            let mode = match mode {
                IpvlanMode::L2 => IpVlanMode::L2,
                IpvlanMode::L3 => IpVlanMode::L3,
                IpvlanMode::L3s => IpVlanMode::L3S,
            };
            (InfoKind::IpVlan, Some(InfoData::IpVlan(vec![InfoIpVlan::Mode(mode)])))
        }
        Kind::Vlan { id, protocol, .. } => {
            let protocol = match protocol {
                VlanProtocol::Dot1q => WireVlanProtocol::Ieee8021Q,
                VlanProtocol::Dot1ad => WireVlanProtocol::Ieee8021Ad,
            };
            (InfoKind::Vlan, Some(InfoData::Vlan(vec![InfoVlan::Id(*id), InfoVlan::Protocol(protocol)])))
        }
        Kind::Vrf { table } => (InfoKind::Vrf, Some(InfoData::Vrf(vec![InfoVrf::TableId(*table)]))),
        Kind::Other(kind) if kind.is_empty() || kind == "tun" => return None,
        Kind::Other(kind) => (InfoKind::Other(kind.clone()), None),
    };
    Some(create(birth, parent, kind, data))
}

/// Removes a link.
pub(crate) fn delete(index: u32) -> Request {
    Request::of(libc::RTM_DELLINK, 0, &message(index, Vec::new()))
}

/// Changes one property; `master` is the index behind [`Property::Master`].
pub(crate) fn set(index: u32, property: &Property, master: Option<u32>) -> Request {
    let mut message = message(index, Vec::new());
    let mut flag = |flag: LinkFlags, on: bool| {
        message.header.change_mask = flag;
        message.header.flags = if on { flag } else { LinkFlags::empty() };
    };
    match property {
        Property::Up(on) => flag(LinkFlags::Up, *on),
        Property::Promiscuous(on) => flag(LinkFlags::Promisc, *on),
        Property::AllMulticast(on) => flag(LinkFlags::Allmulti, *on),
        Property::Mtu(mtu) => message.attributes.push(LinkAttribute::Mtu(*mtu)),
        Property::Mac(mac) => message.attributes.push(LinkAttribute::Address(mac_bytes(*mac))),
        Property::Master(_) => message.attributes.push(LinkAttribute::Controller(master.unwrap_or(0))),
        Property::TransmitQueueLength(packets) => message.attributes.push(LinkAttribute::TxQueueLen(*packets)),
        Property::Port(flags) => {
            let data = vec![InfoBridgePort::HairpinMode(flags.hairpin), InfoBridgePort::Isolated(flags.isolated)];
            message.attributes.push(LinkAttribute::LinkInfo(vec![
                LinkInfo::PortKind(InfoPortKind::Bridge),
                LinkInfo::PortData(InfoPortData::BridgePort(data)),
            ]));
        }
    }
    // Not RTM_SETLINK, which ignores IFLA_LINKINFO.
    Request::of(libc::RTM_NEWLINK, 0, &message)
}

fn mac_bytes(mac: MacAddress) -> Vec<u8> {
    mac.to_be_bytes()[2..].to_vec()
}

/// `struct ifinfomsg` of a family, for requests with attributes of our own.
pub(crate) fn header(family: AddressFamily, index: u32) -> LinkMessage {
    let mut message = message(index, Vec::new());
    message.header.interface_family = family;
    message
}

// === replies ===

/// The link that a reply describes; None: it describes none.
pub(crate) fn parse(reply: &Reply) -> Option<RawLink> {
    if reply.kind != libc::RTM_NEWLINK || reply.payload.len() < IFINFOMSG {
        return None;
    }
    let payload = &reply.payload;
    let mut link = RawLink { index: wire::u32_at(payload, 4), flags: wire::u32_at(payload, 8), ..RawLink::default() };
    for (kind, value) in wire::attributes(payload, IFINFOMSG) {
        match kind {
            libc::IFLA_IFNAME => link.name = wire::text(value),
            libc::IFLA_MTU => link.mtu = wire::u32_at(value, 0),
            libc::IFLA_ADDRESS if value.len() == 6 => {
                link.mac = Some(value.iter().fold(0, |mac, byte| mac << 8 | u64::from(*byte)));
            }
            libc::IFLA_MASTER => link.master = Some(wire::u32_at(value, 0)),
            libc::IFLA_LINK => link.lower = Some(wire::u32_at(value, 0)).filter(|index| *index != 0),
            IFLA_LINK_NETNSID => link.lower_netns = Some(wire::u32_at(value, 0) as i32),
            libc::IFLA_TXQLEN => link.transmit_queue_length = wire::u32_at(value, 0),
            IFLA_PARENT_DEV_NAME => link.device = Some(wire::text(value)),
            IFLA_LINKINFO => parse_info(value, &mut link),
            _ => {}
        }
    }
    Some(link)
}

fn parse_info(info: &[u8], link: &mut RawLink) {
    let mut port_of = String::new();
    for (kind, value) in wire::attributes(info, 0) {
        match kind {
            IFLA_INFO_KIND => link.kind = wire::text(value),
            IFLA_INFO_DATA => link.data = value.to_vec(),
            IFLA_INFO_SLAVE_KIND => port_of = wire::text(value),
            IFLA_INFO_SLAVE_DATA if port_of == "bridge" => {
                let flag = |kind| wire::attribute(value, 0, kind).is_some_and(|value| value.first() == Some(&1));
                link.port = Some(PortFlags { hairpin: flag(IFLA_BRPORT_MODE), isolated: flag(IFLA_BRPORT_ISOLATED) });
            }
            _ => {}
        }
    }
}

impl RawLink {
    pub(crate) fn has(&self, flag: i32) -> bool {
        self.flags & flag as u32 != 0
    }

    /// Its kind. `parent` is the name behind `lower`, empty where that is nowhere to be seen.
    pub(crate) fn kind(&self, parent: impl FnOnce() -> String) -> Kind {
        let data = |kind| wire::attribute(&self.data, 0, kind).unwrap_or_default();
        match self.kind.as_str() {
            "" if self.has(libc::IFF_LOOPBACK) => Kind::Loopback,
            "veth" => Kind::Veth,
            "bridge" => {
                let vlan_filtering = data(IFLA_BR_VLAN_FILTERING).first() == Some(&1);
                let default_vlan = Some(wire::u16_at(data(IFLA_BR_VLAN_DEFAULT_PVID), 0)).filter(|vlan| *vlan != 0);
                Kind::Bridge { vlan_filtering, default_vlan }
            }
            "macvlan" => Kind::Macvlan {
                parent: parent(),
                mode: match wire::u32_at(data(IFLA_MACVLAN_MODE), 0) {
                    1 => MacvlanMode::Private,
                    2 => MacvlanMode::Vepa,
                    8 => MacvlanMode::Passthru,
                    16 => MacvlanMode::Source,
                    _ => MacvlanMode::Bridge,
                },
            },
            "ipvlan" => Kind::Ipvlan {
                parent: parent(),
                mode: match wire::u16_at(data(IFLA_IPVLAN_MODE), 0) {
                    1 => IpvlanMode::L3,
                    2 => IpvlanMode::L3s,
                    _ => IpvlanMode::L2,
                },
            },
            "vlan" => Kind::Vlan {
                parent: parent(),
                id: wire::u16_at(data(IFLA_VLAN_ID), 0),
                protocol: match data(IFLA_VLAN_PROTOCOL) {
                    [0x88, 0xa8, ..] => VlanProtocol::Dot1ad,
                    _ => VlanProtocol::Dot1q,
                },
            },
            "vrf" => Kind::Vrf { table: wire::u32_at(data(IFLA_VRF_TABLE), 0) },
            other => Kind::Other(other.to_owned()),
        }
    }
}

/// The kernel's name of a kind, as [`RawLink::kind`] has it.
pub(crate) fn kernel_name(kind: &Kind) -> &str {
    match kind {
        Kind::Loopback => "",
        Kind::Veth => "veth",
        Kind::Bridge { .. } => "bridge",
        Kind::Macvlan { .. } => "macvlan",
        Kind::Ipvlan { .. } => "ipvlan",
        Kind::Vlan { .. } => "vlan",
        Kind::Vrf { .. } => "vrf",
        Kind::Other(kind) => kind,
    }
}
