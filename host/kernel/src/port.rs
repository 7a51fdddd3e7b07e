//! VLANs of bridge ports: requests, and what a reply says. Must not: send anything.

use netlink_packet_route::AddressFamily;
use netlink_packet_route::link::{AfSpecBridge, BridgeVlanInfo, BridgeVlanInfoFlags, LinkAttribute, LinkExtentMask};
use nix::libc;
use weft_contract::plan::PortVlan;

use crate::link::{IFINFOMSG, header};
use crate::wire::{self, Reply, Request};

const IFLA_AF_SPEC: u16 = 26;
const IFLA_BRIDGE_VLAN_INFO: u16 = 2;

/// The VLANs of every bridge port (the kernel has no request for one), consecutive ones as ranges.
pub(crate) fn list() -> Request {
    let mut message = header(AddressFamily::Bridge, 0);
    message.attributes.push(LinkAttribute::ExtMask(vec![LinkExtentMask::BrvlanCompressed]));
    Request::of(libc::RTM_GETLINK, 0, &message)
}

/// Adds VLANs to a port.
pub(crate) fn add(port: u32, vlan: &PortVlan) -> Request {
    request(libc::RTM_SETLINK, port, vlan)
}

/// Takes VLANs off a port.
pub(crate) fn remove(port: u32, vlan: &PortVlan) -> Request {
    request(libc::RTM_DELLINK, port, vlan)
}

fn request(kind: u16, port: u32, vlan: &PortVlan) -> Request {
    let mut flags = BridgeVlanInfoFlags::empty();
    flags.set(BridgeVlanInfoFlags::Pvid, vlan.native);
    flags.set(BridgeVlanInfoFlags::Untagged, vlan.untagged);
    let info = |flags, vid| AfSpecBridge::VlanInfo(BridgeVlanInfo { flags, vid });
    let vlans = if vlan.first == vlan.last {
        vec![info(flags, vlan.first)]
    } else {
        vec![
            info(flags | BridgeVlanInfoFlags::RangeBegin, vlan.first),
            info(flags | BridgeVlanInfoFlags::RangeEnd, vlan.last),
        ]
    };
    let mut message = header(AddressFamily::Bridge, port);
    message.attributes.push(LinkAttribute::AfSpecBridge(vlans));
    Request::of(kind, 0, &message)
}

/// The port's index and its VLANs; None: the reply is not about a port.
pub(crate) fn parse(reply: &Reply) -> Option<(u32, Vec<PortVlan>)> {
    if reply.kind != libc::RTM_NEWLINK || reply.payload.len() < IFINFOMSG {
        return None;
    }
    let specification = wire::attribute(&reply.payload, IFINFOMSG, IFLA_AF_SPEC).unwrap_or_default();
    let mut vlans = Vec::new();
    let mut begun = None;
    for (_, value) in wire::attributes(specification, 0).filter(|(kind, _)| *kind == IFLA_BRIDGE_VLAN_INFO) {
        let flags = BridgeVlanInfoFlags::from_bits_retain(wire::u16_at(value, 0));
        let last = wire::u16_at(value, 2);
        if flags.contains(BridgeVlanInfoFlags::RangeBegin) {
            begun = Some(last);
            continue;
        }
        let first = begun.take().filter(|_| flags.contains(BridgeVlanInfoFlags::RangeEnd)).unwrap_or(last);
        vlans.push(PortVlan {
            first,
            last,
            native: flags.contains(BridgeVlanInfoFlags::Pvid),
            untagged: flags.contains(BridgeVlanInfoFlags::Untagged),
        });
    }
    Some((wire::u32_at(&reply.payload, 4), vlans))
}
