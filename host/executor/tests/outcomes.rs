//! What CHECK finds, and how `reach` copes with a kernel that doesn't hold still.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

mod support;

use support::*;
use weft_executor::model::Model;
use weft_executor::operation::{Operation, Property, Step};
use weft_executor::reach::{ReachCause, reach};
use weft_executor::scope::scope_full;
use weft_executor::state::{Kind, Observed, Scope};
use weft_executor::verify::verify;
use weft_executor::{Failure, Kernel, KernelError};

fn recorded(_: &[Step]) -> Result<(), String> {
    Ok(())
}

#[test]
fn check_says_what_is_not_as_wanted() {
    let wanted = resolved(&{
        let mut plan = bridge_plan();
        plan.absent_routes = vec![through(label("eth"), route("10.66.0.0/16", None))];
        plan.sysctls = vec![sysctl("net/ipv4/ip_local_port_range", "32768 60999")];
        plan
    })
    .unwrap();
    let near = wanted.links[1].at.clone();
    let mac = weft_contract::text::format_mac(wanted.links[0].mac.unwrap());
    let mut good = node();
    reach(&mut good, &wanted, &mut recorded).unwrap();
    type Harm = fn(&mut Observed, &LinkName);
    let cases: &[(Harm, &[&str])] = &[
        (|_, _| {}, &[]),
        // Extras are nobody's business, nor are a shared link's own properties.
        (
            |it, near| {
                it.links.get_mut(&sandbox("eth0")).unwrap().addresses.push(has("10.99.0.1/24"));
                it.links.get_mut(&host("cni0")).unwrap().mtu = 9000;
                it.links.get_mut(&host("cni0")).unwrap().mac = Some(2);
                it.links.get_mut(near).unwrap().promiscuous = true;
                it.routes.push((sandbox("eth0"), route("10.67.0.0/16", None)));
            },
            &[],
        ),
        (
            |it, _| it.links.get_mut(&sandbox("eth0")).unwrap().addresses.clear(),
            &["eth0 in the sandbox: address 10.1.0.5/24 is missing"],
        ),
        (
            |it, _| it.links.get_mut(&sandbox("eth0")).unwrap().mac = Some(0x0200_0000_0001),
            &["eth0 in the sandbox: MAC is 02:00:00:00:00:01, wanted is MAC"],
        ),
        (
            |it, _| it.links.get_mut(&sandbox("eth0")).unwrap().up = false,
            &["eth0 in the sandbox: up is off, wanted is on"],
        ),
        (
            |it, near| it.links.get_mut(near).unwrap().master = None,
            &["NEAR on the host: master is none, wanted is cni0"],
        ),
        (
            |it, near| it.links.get_mut(near).unwrap().port = None,
            &["NEAR on the host: hairpin mode is off, wanted is on"],
        ),
        (
            |it, _| it.links.get_mut(&host("cni0")).unwrap().kind = Kind::Other("dummy".into()),
            &["cni0 on the host: kind is dummy, wanted is bridge without VLAN filtering"],
        ),
        (|it, _| it.routes.clear(), &["eth0 in the sandbox: route to 0.0.0.0/0 via 10.1.0.1 is missing"]),
        (
            |it, _| it.routes.push((sandbox("eth0"), route("10.66.0.0/16", Some("10.1.0.9")))),
            &["eth0 in the sandbox: route to 10.66.0.0/16 is 10.66.0.0/16 via 10.1.0.9, wanted is absent"],
        ),
        (
            |it, _| {
                it.sysctls.insert((Place::Sandbox, "net/ipv4/ip_local_port_range".into()), "1024\t60999".into());
                it.sysctls.insert((Place::Host, "net/ipv4/ip_forward".into()), "0".into());
            },
            &[
                "the sandbox: net/ipv4/ip_local_port_range is 1024\t60999, wanted is 32768 60999",
                "the host: net/ipv4/ip_forward is 0, wanted is 1",
            ],
        ),
        (
            |it, _| it.filter = Default::default(),
            &[
                "the host: masquerade of 10.1.0.5/32 all but [10.1.0.0/24] for net/pod/eth0 is missing",
                "NEAR on the host: source guard MAC for net/pod/eth0 is missing",
            ],
        ),
        (
            |it, near| {
                it.links.remove(near);
                it.links.remove(&sandbox("eth0"));
                it.routes.clear();
            },
            &[
                "eth0 in the sandbox is missing (wanted: veth)",
                "NEAR on the host is missing (wanted: veth)",
                "eth0 in the sandbox: route to 0.0.0.0/0 via 10.1.0.1 is missing",
            ],
        ),
    ];
    for (harm, expected) in cases {
        let mut kernel = good.clone();
        harm(&mut kernel.0, &near);
        let findings = verify(&wanted, &kernel.observe(&scope_full(&wanted)).unwrap());
        let found: Vec<String> = findings.iter().map(|finding| finding.to_string()).collect();
        let expected: Vec<String> = expected
            .iter()
            .map(|line| {
                line.replace("NEAR", &near.name)
                    .replace("MAC for", &format!("{mac} for"))
                    .replace("is MAC", &format!("is {mac}"))
            })
            .collect();
        assert_eq!(found, expected);
    }
}

#[test]
fn check_misses_the_route_to_an_addresss_network() {
    let wanted = resolved(&bridge_plan()).unwrap();
    let mut kernel = node();
    reach(&mut kernel, &wanted, &mut recorded).unwrap();
    let mut seen = kernel.observe(&scope_full(&wanted)).unwrap();
    seen.routes.retain(|(at, route)| *at != sandbox("eth0") || route.gateway.is_some());
    let findings = verify(&wanted, &seen);
    assert_eq!(findings[0].to_string(), "eth0 in the sandbox: route to 10.1.0.0/24 is missing");
    let mut bare = wanted.clone();
    bare.links[0].addresses[0].bare = true;
    assert_eq!(verify(&bare, &seen), []);
}

/// A kernel in which something happens before the n-th list of operations is carried out.
struct Disturbed<F: FnMut(usize, &mut Model, &[Operation])> {
    model: Model,
    lists: usize,
    disturb: F,
    after: fn(&mut Model),
}

impl<F: FnMut(usize, &mut Model, &[Operation])> Kernel for Disturbed<F> {
    fn observe(&mut self, scope: &Scope) -> Result<Observed, KernelError> {
        self.model.observe(scope)
    }

    fn apply(&mut self, operations: &[Operation]) -> Result<(), Failure> {
        self.lists += 1;
        (self.disturb)(self.lists, &mut self.model, operations);
        self.model.apply(operations)?;
        (self.after)(&mut self.model);
        Ok(())
    }
}

#[test]
fn a_bridge_that_another_made_meanwhile_is_adopted() {
    let wanted = resolved(&bridge_plan()).unwrap();
    let disturb = |list, model: &mut Model, _: &[Operation]| {
        if list == 1 {
            model.0.links.insert(host("cni0"), seen_bridge(50, false));
        }
    };
    let mut kernel = Disturbed { model: node(), lists: 0, disturb, after: |_| {} };
    let mut last = vec![];
    let mut record = |steps: &[Step]| {
        last = steps.to_vec();
        Ok::<_, ()>(())
    };
    let reached = reach(&mut kernel, &wanted, &mut record).unwrap();
    assert_eq!(last, reached.steps);
    let makes = |step: &Step| matches!(&step.operation, Operation::CreateLink { at, .. } if *at == host("cni0"));
    assert!(!reached.steps.iter().any(makes), "another's bridge isn't ours to undo");
    assert_eq!(verify(&wanted, &kernel.observe(&scope_full(&wanted)).unwrap()), []);
}

#[test]
fn a_name_that_another_took_meanwhile_is_a_failure() {
    let wanted = resolved(&bridge_plan()).unwrap();
    let disturb = |_, model: &mut Model, _: &[Operation]| {
        model.0.links.insert(sandbox("eth0"), seen(50, Kind::Other("dummy".into())));
    };
    let mut kernel = Disturbed { model: node(), lists: 0, disturb, after: |_| {} };
    let error = reach(&mut kernel, &wanted, &mut recorded).unwrap_err();
    let ReachCause::Apply(failure) = &*error.cause else { panic!("{error:?}") };
    assert_eq!(error.steps[failure.index].operation.name(), "create-veth");
    assert!(!error.steps.is_empty(), "the caller undoes them");
}

#[test]
fn nothing_is_done_that_could_not_be_recorded() {
    let wanted = resolved(&bridge_plan()).unwrap();
    let mut kernel = node();
    let error = reach(&mut kernel, &wanted, &mut |_| Err("disk full")).unwrap_err();
    assert_eq!(*error.cause, ReachCause::Record("disk full"));
    assert_eq!(kernel, node());
}

fn into_a_routing_domain() -> (Model, weft_executor::wanted::Wanted) {
    let mut kernel = node();
    let mut net1 = seen(20, Kind::Other("dummy".into()));
    net1.addresses = vec![has("fd05::1/64")];
    kernel.0.links.insert(sandbox("net1"), net1);
    let mut member = existing("net1", sandbox("net1"));
    member.master = Some(label("vrf"));
    member.addresses = vec![on_link("fd05::1/64")];
    let vrf = Link { name: Some("red".into()), up: Some(true), ..link("vrf", Place::Sandbox, LinkKind::Vrf(100)) };
    let wanted = resolved(&Plan { links: vec![member, vrf], ..empty_plan() }).unwrap();
    (kernel, wanted)
}

#[test]
fn addresses_that_a_routing_domain_drops_are_added_again() {
    let (model, wanted) = into_a_routing_domain();
    // As Linux: a link that changes its routing domain loses its IPv6 addresses.
    let disturb = |_, model: &mut Model, operations: &[Operation]| {
        let moves = |operation: &Operation| matches!(operation, Operation::SetLink { now: Property::Master(_), .. });
        if operations.iter().any(moves) {
            model.0.links.get_mut(&sandbox("net1")).unwrap().addresses.clear();
        }
    };
    let mut kernel = Disturbed { model, lists: 0, disturb, after: |_| {} };
    let reached = reach(&mut kernel, &wanted, &mut recorded).unwrap();
    assert_eq!(kernel.lists, 2);
    assert!(reached.observed_after.links[&sandbox("net1")].has_address(prefix("fd05::1/64")));
    assert_eq!(verify(&wanted, &kernel.observe(&scope_full(&wanted)).unwrap()), []);
}

#[test]
fn a_kernel_that_never_settles_is_given_up() {
    let (model, wanted) = into_a_routing_domain();
    let after = |model: &mut Model| {
        let net1 = model.0.links.get_mut(&sandbox("net1")).unwrap();
        (net1.master, net1.addresses) = (None, vec![]);
    };
    let mut kernel = Disturbed { model, lists: 0, disturb: |_, _: &mut Model, _: &[Operation]| {}, after };
    let error = reach(&mut kernel, &wanted, &mut recorded).unwrap_err();
    assert_eq!(kernel.lists, 3);
    assert!(error.to_string().contains("not reached after 3 rounds"), "{error}");
}

/// What tuning asks for after the bridge: another MAC, an interface up, a setting, another default route.
fn tuned() -> weft_executor::wanted::Wanted {
    let mut eth0 = existing("eth0", sandbox("eth0"));
    (eth0.mac, eth0.up, eth0.mtu) = (Some(0x0a58_0a01_0005), Some(true), Some(1400));
    eth0.sysctls = vec![sysctl("ipv4/arp_notify", "0")];
    eth0.addresses = vec![Address { others: Others::Replace, ..on_link("10.1.0.77/24") }];
    let away = through(LinkRef::Named(sandbox("eth0")), route("0.0.0.0/0", None));
    let sysctls = vec![sysctl("net/ipv4/conf/eth0/rp_filter", "2")];
    resolved(&Plan { links: vec![eth0], absent_routes: vec![away], sysctls, ..empty_plan() }).unwrap()
}

#[test]
fn a_later_delegate_is_planned_on_what_an_earlier_one_will_make() {
    let (first, second) = (resolved(&bridge_plan()).unwrap(), tuned());
    let mut kernel = node();
    let mut seen = kernel.observe(&weft_executor::scope::scope(&first)).unwrap();
    let mut all = vec![];
    for wanted in [&first, &second] {
        let steps = weft_executor::diff::diff(wanted, &seen).unwrap();
        for step in &steps {
            seen.apply(&step.operation).unwrap();
        }
        all.extend(steps.into_iter().map(|step| step.operation));
    }
    kernel.apply(&all).unwrap();
    assert_eq!(verify(&second, &kernel.observe(&scope_full(&second)).unwrap()), []);
}

#[test]
fn what_a_later_delegate_wants_otherwise_is_not_missed() {
    let (mut first, second) = (resolved(&bridge_plan()).unwrap(), tuned());
    let mut kernel = node();
    reach(&mut kernel, &first, &mut recorded).unwrap();
    reach(&mut kernel, &second, &mut recorded).unwrap();
    let seen = kernel.observe(&scope_full(&first)).unwrap();
    assert_eq!(verify(&first, &seen).len(), 4, "address, MAC, setting and route");
    first.yield_to(&second);
    assert_eq!(verify(&first, &seen), []);
    // What the later one doesn't speak of still counts.
    kernel.0.links.get_mut(&host("cni0")).unwrap().up = false;
    assert_eq!(verify(&first, &kernel.observe(&scope_full(&first)).unwrap()).len(), 1);
}
