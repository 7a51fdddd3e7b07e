//! Which steps there are, in which order, what is in their way, and what takes them back.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

mod support;

use std::collections::BTreeSet;

use support::*;
use weft_executor::Kernel;
use weft_executor::diff::{Conflict, diff};
use weft_executor::model::Model;
use weft_executor::operation::{Operation, Property, Step, VethEnd};
use weft_executor::scope::{scope, scope_full};
use weft_executor::state::{Kind, PortFlags};
use weft_executor::undo::{Options, Undo, restorable, undo, undo_scope};

fn steps(kernel: &mut Model, plan: &Plan) -> Result<Vec<Step>, Conflict> {
    let wanted = resolved(plan).unwrap();
    diff(&wanted, &kernel.observe(&scope(&wanted)).unwrap())
}

fn told(steps: &[Step]) -> Vec<String> {
    let line = |step: &Step| format!("{}{}", if step.shared { "shared: " } else { "" }, step.operation);
    steps.iter().map(line).collect()
}

fn done(kernel: &mut Model, plan: &Plan) -> Vec<Step> {
    let steps = steps(kernel, plan).unwrap();
    let operations: Vec<_> = steps.iter().map(|step| step.operation.clone()).collect();
    kernel.apply(&operations).unwrap();
    steps
}

/// A node on which another attachment of the same network stands.
fn busy_node() -> Model {
    let mut kernel = node();
    let mut plan = bridge_plan();
    (plan.links, plan.routes, plan.filters) = (vec![plan.links.remove(2)], vec![], vec![]);
    plan.masquerades[0].source = prefix("10.1.0.99/32");
    let guard_table = Operation::CreateGuardTable;
    done(&mut kernel, &plan);
    kernel.apply(&[guard_table]).unwrap();
    kernel
}

#[test]
fn a_pod_on_a_bridge_takes_few_steps_in_the_right_order() {
    let told = told(&steps(&mut busy_node(), &bridge_plan()).unwrap());
    let near =
        told.iter().find_map(|line| Some(line.split_once("veth pair ")?.1.split(' ').next()?.to_owned())).unwrap();
    let mac = told[1].split(' ').nth(2).unwrap();
    assert_eq!(
        told,
        [
            "masquerade 10.1.0.5/32 except to 10.1.0.0/24".to_owned(),
            format!("let only {mac} enter by port {near}"),
            format!("create veth pair {near} on the host - eth0 in the sandbox, a port of cni0"),
            format!("write 0 to net/ipv6/conf/{near}/accept_ra on the host"),
            format!("set {near} on the host hairpin on, isolated off"),
            format!("set {near} on the host up"),
            "write 1 to net/ipv4/conf/eth0/arp_notify in the sandbox".to_owned(),
            "add address 10.1.0.5/24 to eth0 in the sandbox".to_owned(),
            "set eth0 in the sandbox up".to_owned(),
            "add route 0.0.0.0/0 via 10.1.0.1 through eth0 in the sandbox".to_owned(),
        ]
    );
}

#[test]
fn a_first_pod_makes_what_is_shared() {
    let steps = steps(&mut node(), &bridge_plan()).unwrap();
    let shared: Vec<String> =
        told(&steps).into_iter().filter_map(|line| Some(line.strip_prefix("shared: ")?.to_owned())).collect();
    assert!(shared[4].starts_with("create bridge cni0 on the host address "), "{shared:?}");
    assert_eq!(
        shared[..4],
        [
            "create nftables table inet weft",
            "create nftables chain for 10.1.0.0/24",
            "create nftables table bridge weft",
            "write 1 to net/ipv4/ip_forward on the host",
        ]
    );
    assert_eq!(shared[5..], ["add address 10.1.0.1/24 to cni0 on the host"]);
}

#[test]
fn without_settings_both_ends_take_one_request_and_one_more() {
    let mut plan = Plan { links: pair().to_vec(), ..empty_plan() };
    plan.links[0].mtu = Some(1400);
    let steps = steps(&mut node(), &plan).unwrap();
    let [Step { operation: Operation::CreateVeth { first, second }, shared: false }, up] = steps.as_slice() else {
        panic!("{steps:?}")
    };
    assert_eq!((first.at.place, first.mtu, first.up), (Place::Host, Some(1400), true));
    assert_eq!((second.at.clone(), second.mtu, second.up), (sandbox("eth0"), None, false));
    let (was, now) = (Property::Up(false), Property::Up(true));
    assert_eq!(up.operation, Operation::SetLink { at: sandbox("eth0"), was, now });
}

#[test]
fn settings_of_a_new_link_have_no_older_value() {
    let steps = steps(&mut node(), &bridge_plan()).unwrap();
    for step in &steps {
        if let Operation::WriteSysctl { key, was, .. } = &step.operation {
            assert_eq!(was.as_deref(), (key == "net/ipv4/ip_forward").then_some("0"), "{key}");
        }
    }
}

#[test]
fn a_vlan_port_gets_exactly_its_vlans() {
    let mut plan = bridge_plan();
    plan.links[2] = bridge("cni0", true);
    plan.links[1].port = Some(BridgePort { vlans: vec![vlan(5, true)], drop_default_vlan: true, ..port() });
    let mut kernel = node();
    let lines: Vec<String> = told(&done(&mut kernel, &plan)).into_iter().filter(|line| line.contains("VLAN")).collect();
    assert!(lines[0].starts_with("remove VLAN 1-1") && lines[1].starts_with("add VLAN 5-5"), "{lines:?}");
    let near = kernel.0.links.values().find(|link| link.port.is_some()).unwrap();
    assert_eq!(near.vlans, [vlan(5, true)]);
    // A native VLAN beside the default one takes its place for untagged frames.
    plan.links[1].port = Some(BridgePort { vlans: vec![vlan(5, true)], ..port() });
    let mut kernel = node();
    done(&mut kernel, &plan);
    let near = kernel.0.links.values().find(|link| link.port.is_some()).unwrap();
    assert_eq!(near.vlans, [PortVlan { native: false, ..vlan(1, true) }, vlan(5, true)]);
}

#[test]
fn a_shared_link_is_adopted_as_it_is() {
    let mut kernel = node();
    let mut cni0 = seen_bridge(9, false);
    (cni0.up, cni0.mtu, cni0.promiscuous) = (false, 9000, true);
    cni0.addresses = vec![has("10.1.0.1/24")];
    kernel.0.links.insert(host("cni0"), cni0);
    let mut plan = Plan { links: vec![bridge("cni0", false)], ..empty_plan() };
    (plan.links[0].mtu, plan.links[0].promiscuous) = (Some(1400), Some(false));
    plan.links[0].addresses = vec![Address { others: Others::Refuse, ..on_link("10.1.0.1/24") }];
    assert_eq!(told(&steps(&mut kernel, &plan).unwrap()), ["shared: set cni0 on the host up"]);
}

#[test]
fn an_address_alone_replaces_the_others() {
    let mut kernel = node();
    let mut cni0 = seen_bridge(9, false);
    cni0.addresses = vec![has("10.9.0.1/16"), has("fd00::7/64"), has("fd99::7/64"), has("fe80::1/64")];
    kernel.0.links.insert(host("cni0"), cni0);
    let mut plan = Plan { links: vec![bridge("cni0", false)], ..empty_plan() };
    let alone = |text: &str| Address { others: Others::Replace, ..on_link(text) };
    plan.links[0].addresses = vec![alone("10.1.0.1/24"), alone("fd00::1/64")];
    assert_eq!(
        told(&steps(&mut kernel, &plan).unwrap()),
        [
            "shared: remove address 10.9.0.1/16 from cni0 on the host",
            "shared: remove address fd00::7/64 from cni0 on the host",
            "shared: add address 10.1.0.1/24 to cni0 on the host",
            "shared: add address fd00::1/64 to cni0 on the host",
        ]
    );
}

#[test]
fn a_stale_element_of_another_is_replaced_and_not_restored_on_del() {
    let mut kernel = busy_node();
    let stale = Operation::AddMasquerade {
        source: prefix("10.1.0.5/32"),
        except: vec![prefix("10.1.0.0/24")],
        owner: "gone".into(),
    };
    kernel.apply(&[stale]).unwrap();
    let steps = done(&mut kernel, &bridge_plan());
    let undone = undo(&steps, Options::default());
    assert!(!undone.iter().any(|operation| matches!(operation, Operation::AddMasquerade { .. })), "{undone:?}");
    let all = undo(&steps, Options { extent: Undo::Everything, sandbox_gone: false });
    assert!(all.iter().any(|operation| matches!(operation, Operation::AddMasquerade { owner, .. } if owner == "gone")));
}

#[test]
fn conflicts_name_what_is_in_the_way() {
    type World = fn(&mut Model);
    type Change = fn(&mut Plan);
    let nothing: Change = |_| {};
    let with_bridge: World = |kernel| {
        kernel.0.links.insert(host("cni0"), seen_bridge(9, false));
    };
    let cases: &[(World, Change, &str)] = &[
        (
            |kernel| {
                kernel.0.links.insert(sandbox("eth0"), seen(7, Kind::Other("dummy".into())));
            },
            nothing,
            "the sandbox already has an interface named eth0 (a dummy)",
        ),
        (
            |kernel| {
                kernel.0.links.insert(host("taken"), seen(7, Kind::Veth));
            },
            |plan| plan.links[1].name = Some("taken".into()),
            "the host already has an interface named taken (a veth)",
        ),
        (
            |kernel| {
                kernel.0.links.insert(host("cni0"), seen(9, Kind::Other("dummy".into())));
            },
            nothing,
            "cni0 on the host is a dummy, not a bridge",
        ),
        (
            with_bridge,
            |plan| plan.links[2] = bridge("cni0", true),
            "cni0 on the host exists with vlan_filtering 0, wanted is 1",
        ),
        (
            with_bridge,
            |plan| {
                plan.links.remove(2);
                plan.links[0].addresses.clear();
                plan.links[1].master = Some(LinkRef::Named(host("cni0")));
                plan.links[1].port = Some(BridgePort { vlans: vec![vlan(5, true)], ..port() });
            },
            "is to have VLANs on cni0, which doesn't filter VLANs",
        ),
        (
            |kernel| {
                let mut cni0 = seen_bridge(9, false);
                cni0.addresses = vec![has("10.9.0.1/24")];
                kernel.0.links.insert(host("cni0"), cni0);
            },
            nothing,
            "cni0 on the host already has an IP address different from 10.1.0.1/24: 10.9.0.1/24; \
             remove that address, or have it replaced (forceAddress",
        ),
        (
            |kernel| {
                let mut cni0 = seen_bridge(9, false);
                cni0.addresses = vec![has("fd00::9/48")];
                kernel.0.links.insert(host("cni0"), cni0);
            },
            |plan| plan.links[2].addresses = vec![Address { others: Others::Refuse, ..on_link("fd00::1/64") }],
            "different from fd00::1/64: fd00::9/48",
        ),
        (|_| {}, |plan| plan.links.push(existing("net1", sandbox("net1"))), "there is no net1 in the sandbox"),
        (
            |_| {},
            |plan| plan.links[1].master = Some(LinkRef::Named(host("br7"))),
            "there is no br7 on the host (the master of veth",
        ),
        (
            |_| {},
            |plan| plan.routes[0].link = LinkRef::Named(sandbox("net1")),
            "there is no net1 in the sandbox (the way to 0.0.0.0/0)",
        ),
        (
            |_| {},
            |plan| plan.sysctls = vec![sysctl("net/nothing", "1")],
            "there is no setting net/nothing in the sandbox",
        ),
        (
            |kernel| {
                kernel.0.links.insert(host("cni0.5"), seen(9, Kind::Veth));
            },
            |plan| {
                let kind = |peer: &str| LinkKind::Veth(peer.into());
                let shared = |label: &str, peer| Link { life: Life::Permanent, ..link(label, Place::Host, kind(peer)) };
                plan.links.push(Link { name: Some("cni0.5".into()), ..shared("a", "b") });
                plan.links.push(shared("b", "a"));
            },
            "cni0.5 on the host exists, but is not one end of a pair whose other end is veth",
        ),
        (
            |kernel| {
                let (mut near, mut far) = (seen(9, Kind::Veth), seen(10, Kind::Veth));
                (near.peer_index, far.peer_index) = (Some(10), Some(9));
                near.master = Some("docker0".into());
                kernel.0.links.insert(host("cni0.5"), near);
                kernel.0.links.insert(host("far"), far);
                kernel.0.links.insert(host("docker0"), seen_bridge(8, false));
            },
            |plan| {
                let kind = |peer: &str| LinkKind::Veth(peer.into());
                let shared = |label: &str, peer| Link { life: Life::Permanent, ..link(label, Place::Host, kind(peer)) };
                let master = Some(label("bridge"));
                plan.links.push(Link { name: Some("cni0.5".into()), master, ..shared("a", "b") });
                plan.links.push(Link { name: Some("far".into()), ..shared("b", "a") });
            },
            "cni0.5 on the host already belongs to docker0, wanted is cni0",
        ),
    ];
    for (world, change, expected) in cases {
        let (mut kernel, mut plan) = (node(), bridge_plan());
        world(&mut kernel);
        change(&mut plan);
        match steps(&mut kernel, &plan) {
            Err(conflict) => assert!(conflict.to_string().contains(expected), "{expected:?} is not in {conflict}"),
            Ok(steps) => panic!("{expected}: {:#?}", told(&steps)),
        }
    }
}

#[test]
fn somebody_elses_pair_of_the_same_names_is_not_taken_over() {
    let mut plan = Plan { links: pair().to_vec(), ..empty_plan() };
    plan.links[0].name = Some("vetha".into());
    let mut kernel = node();
    done(&mut kernel, &plan);
    assert_eq!(steps(&mut kernel, &plan), Ok(vec![]), "it is ours");
    kernel.0.links.get_mut(&sandbox("eth0")).unwrap().mac = Some(0x0200_0000_0001);
    assert!(matches!(steps(&mut kernel, &plan), Err(Conflict::NameTaken { .. })));
}

#[test]
fn an_add_looks_at_little() {
    let wanted = resolved(&bridge_plan()).unwrap();
    let (little, all) = (scope(&wanted), scope_full(&wanted));
    assert_eq!(little.routes, BTreeSet::new(), "a route through a link that isn't there yet");
    assert_eq!(all.routes, BTreeSet::from([Place::Sandbox, Place::Host]));
    let keys: Vec<_> = little.sysctls.iter().map(|(_, key)| key.as_str()).collect();
    assert_eq!(keys, ["net/ipv4/ip_forward"]);
    assert_eq!(all.sysctls.len(), 3);
    assert_eq!(little.links.len(), 3);
    assert_eq!(little.vlan_ports, BTreeSet::new());
}

#[test]
fn del_of_a_pod_on_a_bridge_is_three_operations() {
    let steps = done(&mut busy_node(), &bridge_plan());
    for sandbox_gone in [false, true] {
        let operations = undo(&steps, Options { extent: Undo::Attachment, sandbox_gone });
        let [Operation::DeleteLink { at, .. }, Operation::RemoveGuard { .. }, Operation::RemoveMasquerade { .. }] =
            operations.as_slice()
        else {
            panic!("{operations:#?}")
        };
        assert_eq!(at.place, Place::Host);
        assert_eq!(undo_scope(&operations), Default::default(), "nothing has to be looked at");
    }
}

#[test]
fn what_was_in_a_sandbox_that_is_gone_is_not_undone() {
    let mut kernel = node();
    let mut net1 = seen(20, Kind::Other("dummy".into()));
    net1.up = false;
    kernel.0.links.insert(sandbox("net1"), net1);
    let mut tuned = existing("net1", sandbox("net1"));
    (tuned.up, tuned.promiscuous) = (Some(true), Some(true));
    tuned.addresses = vec![on_link("10.5.0.1/24")];
    let mut plan = Plan { links: vec![tuned], ..empty_plan() };
    plan.links.push(Link { name: Some("dum0".into()), ..link("dummy", Place::Sandbox, LinkKind::Dummy) });
    plan.sysctls = vec![sysctl("net/ipv6/conf/all/disable_ipv6", "1")];
    let steps = done(&mut kernel, &plan);
    assert_eq!(undo(&steps, Options { extent: Undo::Attachment, sandbox_gone: true }), []);
    assert_eq!(undo(&steps, Options::default()).len(), 5);
}

#[test]
fn a_value_that_somebody_changed_since_is_left() {
    let mut kernel = node();
    let mut card = existing("card", host("eth0"));
    (card.mtu, card.promiscuous) = (Some(9000), Some(true));
    card.sysctls = vec![sysctl("ipv6/accept_ra", "2")];
    let steps = done(&mut kernel, &Plan { links: vec![card], ..empty_plan() });
    kernel.0.links.get_mut(&host("eth0")).unwrap().mtu = 4000;
    let operations = undo(&steps, Options::default());
    let seen = kernel.observe(&undo_scope(&operations)).unwrap();
    let right = restorable(operations, &seen);
    let lines: Vec<String> = right.iter().map(Operation::to_string).collect();
    assert_eq!(lines, ["set eth0 on the host promiscuous off", "write 1 to net/ipv6/conf/eth0/accept_ra on the host"]);
    kernel.0.links.remove(&host("eth0"));
    kernel.0.sysctls.clear();
    let operations = undo(&steps, Options::default());
    let seen = kernel.observe(&undo_scope(&operations)).unwrap();
    assert_eq!(restorable(operations, &seen), [], "the card is gone");
}

#[test]
fn what_others_use_by_now_survives_the_undo_of_everything() {
    let mut kernel = node();
    let steps = done(&mut kernel, &bridge_plan());
    let mut second = bridge_plan();
    second.links[0].name = Some("net1".into());
    second.links[1].name = Some("other".into());
    second.links[0].addresses = vec![];
    second.routes.clear();
    second.masquerades[0].source = prefix("10.1.0.6/32");
    done(&mut kernel, &second);
    let operations = undo(&steps, Options { extent: Undo::Everything, sandbox_gone: false });
    let seen = kernel.observe(&undo_scope(&operations)).unwrap();
    kernel.apply(&restorable(operations, &seen)).unwrap();
    assert_eq!(kernel.0.links[&host("other")].master.as_deref(), Some("cni0"));
    assert!(kernel.0.filter.masquerades.contains_key(&prefix("10.1.0.6/32")));
    assert!(kernel.0.filter.guards.contains_key("other"));
}

#[test]
fn names_covers_every_operation() {
    let at = || host("a");
    let vlan = || vlan(5, false);
    let address = has("10.0.0.1/24");
    let way = || route("10.0.0.0/8", None);
    let end = |at| VethEnd { at, mac: None, mtu: None, master: None, up: false };
    let creation = || Operation::CreateVeth { first: end(host("a")), second: end(host("b")) };
    let owner = || "o".to_owned();
    let (source, mac) = (prefix("10.0.0.1/32"), 5);
    use Operation::*;
    let all = [
        creation(),
        CreateLink { at: at(), kind: Kind::Veth, mac: None, mtu: None, up: false },
        DeleteLink { at: at(), creation: Box::new(creation()) },
        SetLink {
            at: at(),
            was: Property::Port(PortFlags::default()),
            now: Property::Port(PortFlags { hairpin: true, isolated: true }),
        },
        AddAddress { at: at(), address },
        RemoveAddress { at: at(), address },
        AddRoute { at: at(), route: way() },
        RemoveRoute { at: at(), route: way() },
        AddPortVlan { at: at(), vlan: vlan() },
        RemovePortVlan { at: at(), vlan: vlan() },
        WriteSysctl { place: Place::Host, key: "net/x".into(), was: Some("0".into()), now: "1".into(), lenient: true },
        CreateMasqueradeTable,
        DeleteMasqueradeTable,
        CreateExceptions { except: vec![source] },
        DeleteExceptions { except: vec![source] },
        AddMasquerade { source, except: vec![source], owner: owner() },
        RemoveMasquerade { source, except: vec![source], owner: owner() },
        CreateGuardTable,
        DeleteGuardTable,
        AddGuard { port: "a".into(), mac, owner: owner() },
        RemoveGuard { port: "a".into(), mac, owner: owner() },
    ];
    // A case that is added to the type doesn't compile here before it is added above.
    let position = |operation: &Operation| match operation {
        CreateVeth { .. } => 0,
        CreateLink { .. } => 1,
        DeleteLink { .. } => 2,
        SetLink { .. } => 3,
        AddAddress { .. } => 4,
        RemoveAddress { .. } => 5,
        AddRoute { .. } => 6,
        RemoveRoute { .. } => 7,
        AddPortVlan { .. } => 8,
        RemovePortVlan { .. } => 9,
        WriteSysctl { .. } => 10,
        CreateMasqueradeTable => 11,
        DeleteMasqueradeTable => 12,
        CreateExceptions { .. } => 13,
        DeleteExceptions { .. } => 14,
        AddMasquerade { .. } => 15,
        RemoveMasquerade { .. } => 16,
        CreateGuardTable => 17,
        DeleteGuardTable => 18,
        AddGuard { .. } => 19,
        RemoveGuard { .. } => 20,
    };
    for (index, operation) in all.iter().enumerate() {
        assert_eq!((position(operation), Operation::NAMES[index]), (index, operation.name()));
        assert_eq!(operation.inverse().unwrap().inverse().as_ref(), Some(operation));
        let json = serde_json::to_string(&Step { operation: operation.clone(), shared: true }).unwrap();
        assert_eq!(serde_json::from_str::<Step>(&json).unwrap().operation, *operation, "{json}");
    }
    assert_eq!(all.len(), Operation::NAMES.len());
}

#[test]
fn a_new_bridge_has_its_settings_before_it_is_up() {
    let mut plan = Plan { links: vec![bridge("cni0", false)], ..empty_plan() };
    let up = |operation: &Operation| match operation {
        Operation::CreateLink { up, .. } => *up,
        _ => matches!(operation, Operation::SetLink { now: Property::Up(true), .. }),
    };
    let ups =
        |plan: &Plan| steps(&mut node(), plan).unwrap().iter().map(|step| up(&step.operation)).collect::<Vec<_>>();
    assert_eq!(ups(&plan), [true], "one request is enough");
    plan.links[0].sysctls = vec![sysctl("ipv6/accept_ra", "0")];
    assert_eq!(ups(&plan), [false, false, true], "create, write, up");
}

#[test]
fn a_gateways_own_route_comes_before_the_route_by_it() {
    let mut plan = bridge_plan();
    plan.links[0].addresses = vec![on_link("10.1.0.5/32")];
    plan.routes = vec![
        through(label("eth"), route("0.0.0.0/0", Some("169.254.1.1"))),
        through(label("eth"), route("169.254.1.1/32", None)),
    ];
    let told = told(&steps(&mut node(), &plan).unwrap());
    assert_eq!(
        told[told.len() - 2..],
        [
            "add route 169.254.1.1/32 through eth0 in the sandbox",
            "add route 0.0.0.0/0 via 169.254.1.1 through eth0 in the sandbox"
        ]
    );
}

#[test]
fn a_port_that_never_left_its_bridge_keeps_what_it_has_there() {
    moves_and_crashes(true, vec![vlan(3, true), vlan(5, false)]);
    moves_and_crashes(false, vec![]);
}

fn moves_and_crashes(vlan_filtering: bool, vlans: Vec<PortVlan>) {
    let mut kernel = node();
    kernel.0.links.insert(host("old"), seen_bridge(9, vlan_filtering));
    let mut card = seen(10, Kind::Other(String::new()));
    (card.master, card.port) = (Some("old".into()), Some(PortFlags { hairpin: true, isolated: false }));
    card.vlans = vlans;
    kernel.0.links.insert(host("card"), card);
    let mut moved = existing("card", host("card"));
    moved.master = Some(label("bridge"));
    moved.port = Some(BridgePort { vlans: vec![vlan(5, false), vlan(3, true)], isolated: true, ..port() });
    let plan = Plan { links: vec![bridge("cni0", true), moved], ..empty_plan() };
    let steps = steps(&mut kernel, &plan).unwrap();
    for crash in 0..=steps.len() {
        let mut kernel = kernel.clone();
        let before = kernel.clone();
        let done: Vec<_> = steps[..crash].iter().map(|step| step.operation.clone()).collect();
        kernel.apply(&done).unwrap();
        let operations = undo(&steps, Options { extent: Undo::Everything, sandbox_gone: false });
        let seen = kernel.observe(&undo_scope(&operations)).unwrap();
        kernel.apply(&restorable(operations, &seen)).unwrap();
        assert_eq!(kernel, before, "after {crash} of {:#?}", told(&steps));
    }
}
