//! Whatever is wanted of whatever kernel: the diff reaches it, the undo takes it back.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

mod support;

use proptest::collection::vec;
use proptest::prelude::{ProptestConfig, any};
use proptest::test_runner::{RngAlgorithm, TestCaseError, TestRng, TestRunner};
use support::*;
use weft_executor::Kernel;
use weft_executor::diff::diff;
use weft_executor::model::Model;
use weft_executor::operation::{Operation, Step};
use weft_executor::reach::reach;
use weft_executor::resolve::{Choices, resolve};
use weft_executor::scope::{scope, scope_full};
use weft_executor::state::{self, Guard, Kind, Masquerade as Masqueraded, Observed, PortFlags};
use weft_executor::undo::{Options, Undo, restorable, undo, undo_scope};
use weft_executor::verify::verify;
use weft_executor::wanted::Wanted;

/// Decisions, from bytes that proptest picks and shrinks; zeros are the plainest.
struct Dice<'a>(std::slice::Iter<'a, u8>);

impl Dice<'_> {
    fn below(&mut self, limit: u8) -> u8 {
        self.0.next().copied().unwrap_or(0) % limit
    }

    fn flip(&mut self) -> bool {
        self.below(2) == 1
    }

    fn maybe<T>(&mut self, make: impl FnOnce(&mut Self) -> T) -> Option<T> {
        self.flip().then(|| make(self))
    }

    fn one<T: Clone>(&mut self, of: &[T]) -> T {
        of[usize::from(self.below(of.len() as u8))].clone()
    }

    fn some<T: Clone>(&mut self, of: &[T]) -> Vec<T> {
        of.iter().filter(|_| self.flip()).cloned().collect()
    }
}

fn kernel(dice: &mut Dice) -> Model {
    let Model(mut all) = node();
    let filtering = dice.flip();
    if dice.flip() {
        let mut cni0 = seen_bridge(10, filtering);
        cni0.up = dice.flip();
        cni0.promiscuous = dice.flip();
        cni0.addresses = dice.some(&[has("10.1.0.1/24"), has("10.9.0.1/16"), has("fd00::7/64")]);
        all.links.insert(host("cni0"), cni0);
        all.sysctls.insert((Place::Host, "net/ipv6/conf/cni0/accept_ra".into()), dice.one(&["0", "1"]).into());
        if dice.flip() {
            let mut other = seen(11, Kind::Veth);
            other.peer_index = Some(5);
            other.master = Some("cni0".into());
            other.port = Some(PortFlags { hairpin: dice.flip(), isolated: dice.flip() });
            other.vlans = if filtering { vec![vlan(1, true), vlan(7, false)] } else { vec![] };
            all.links.insert(host("other"), other);
        }
    }
    if dice.flip() {
        let mut net1 = seen(20, Kind::Other("dummy".into()));
        net1.up = dice.flip();
        net1.addresses = dice.some(&[has("10.5.0.1/24"), has("10.5.0.2/24"), has("fd05::1/64")]);
        all.links.insert(sandbox("net1"), net1);
        all.sysctls.insert((Place::Sandbox, "net/ipv4/conf/net1/arp_notify".into()), "0".into());
        let routes = [route("10.77.0.0/16", Some("10.5.0.9")), route("0.0.0.0/0", Some("10.5.0.9"))];
        all.routes.extend(dice.some(&routes).into_iter().map(|route| (sandbox("net1"), route)));
    }
    if dice.flip() {
        all.links.insert(sandbox("eth0"), seen(21, Kind::Veth));
    }
    let except = vec![prefix("10.1.0.0/24")];
    all.filter.masquerade_table = dice.flip();
    if all.filter.masquerade_table && dice.flip() {
        all.filter.exceptions.insert(except.clone());
        let owner = dice.one(&["net/pod/eth0", "another"]).to_owned();
        let source = dice.one(&[prefix("10.1.0.5/32"), prefix("10.1.0.99/32")]);
        all.filter.masquerades.insert(source, Masqueraded { except, owner });
    }
    all.filter.guard_table = dice.flip();
    if all.filter.guard_table && dice.flip() {
        let port = dice.one(&["veth0001", "elsewhere"]).to_owned();
        all.filter.guards.insert(port, Guard { mac: 5, owner: "another".into() });
    }
    Model(all)
}

fn addresses(dice: &mut Dice, of: &[&str]) -> Vec<Address> {
    let pick = |dice: &mut Dice, text: &str| Address {
        prefix: prefix(text),
        others: dice.one(&[Others::Keep, Others::Replace, Others::Replace, Others::Refuse]),
        detection: dice.one(&[Detection::Skip, Detection::Wait]),
        bare: dice.flip(),
        announce: dice.flip(),
    };
    of.iter().filter_map(|text| dice.maybe(|dice| pick(dice, text))).collect()
}

fn properties(dice: &mut Dice, link: &mut Link) {
    link.up = dice.one(&[Some(true), Some(true), None, Some(false)]);
    link.mtu = dice.maybe(|dice| dice.one(&[1400, 9000]));
    link.mac = dice.maybe(|_| 0x0a58_0a01_0005);
    link.transmit_queue_length = dice.maybe(|_| 500);
    link.promiscuous = dice.maybe(Dice::flip);
    link.all_multicast = dice.maybe(Dice::flip);
}

fn plan(dice: &mut Dice) -> Plan {
    let mut plan = empty_plan();
    let filtering = dice.flip();
    let master = if dice.below(4) == 3 { LinkRef::Named(host("cni0")) } else { label("bridge") };
    let has_bridge = master == label("bridge");
    if has_bridge {
        let mut bridge = bridge(dice.one(&["cni0", "cni0", "cni1"]), filtering);
        bridge.life = dice.one(&[Life::Permanent, Life::Permanent, Life::LastUser, Life::Attachment]);
        properties(dice, &mut bridge);
        bridge.addresses = addresses(dice, &["10.1.0.1/24", "fd00::1/64"]);
        bridge.sysctls = dice.some(&[sysctl("ipv6/accept_ra", "0")]);
        if dice.flip() {
            plan.routes.push(through(label("bridge"), route("10.200.0.0/16", Some("10.1.0.77"))));
        }
        plan.links.push(bridge);
    }
    let port_of = |dice: &mut Dice| BridgePort {
        hairpin: dice.flip(),
        isolated: dice.flip(),
        vlans: if filtering {
            dice.some(&[vlan(5, true), vlan(7, false), vlan(8, false), vlan(1, false)])
        } else {
            vec![]
        },
        drop_default_vlan: dice.flip(),
    };
    if dice.below(8) != 7 {
        let [mut near, mut far] = pair();
        properties(dice, &mut near);
        properties(dice, &mut far);
        near.name = dice.maybe(|_| "veth0001".into());
        if dice.flip() {
            near.master = Some(master.clone());
            near.port = dice.maybe(port_of);
            if dice.flip() {
                let guard = SourceGuard { port: label("host"), station: label("eth") };
                plan.filters.push(Filter::SourceGuard(guard));
            }
        }
        near.sysctls = dice.some(&[sysctl("ipv6/accept_ra", "0"), sysctl("ipv4/proxy_arp", "1")]);
        far.sysctls = dice.some(&[sysctl("ipv6/accept_dad", "0"), sysctl("ipv4/arp_notify", "1")]);
        far.addresses = addresses(dice, &["10.1.0.5/24", "10.1.0.6/32", "fd00::5/64"]);
        let routes =
            [route("0.0.0.0/0", Some("10.1.0.1")), route("10.50.0.0/16", None), route("::/0", Some("fd00::1"))];
        plan.routes.extend(dice.some(&routes).into_iter().map(|route| through(label("eth"), route)));
        plan.sysctls.extend(dice.some(&[sysctl("net/ipv4/conf/eth0/rp_filter", "2")]));
        plan.links.extend(if dice.flip() { [far, near] } else { [near, far] });
    }
    if filtering && has_bridge && dice.flip() {
        // The gateway of a VLAN: a pair on the host whose far end is a port.
        let kind = |peer: &str| LinkKind::Veth(peer.into());
        let mut gateway = link("gateway", Place::Host, kind("gateway-port"));
        gateway.name = Some("cni0.100".into());
        gateway.addresses = addresses(dice, &["10.3.0.1/24"]);
        let mut far = link("gateway-port", Place::Host, kind("gateway"));
        (gateway.up, far.up) = (Some(true), Some(true));
        (far.master, far.port) = (Some(label("bridge")), Some(port_of(dice)));
        let life = plan.links[0].life;
        (gateway.life, far.life) = (life, life);
        if life == Life::Attachment {
            far.name = Some("gwport".into());
        }
        plan.links.extend([gateway, far]);
    }
    if dice.flip() {
        let mut card = existing("card", host(dice.one(&["eth0", "other"])));
        properties(dice, &mut card);
        if dice.flip() {
            card.master = Some(master);
            card.port = dice.maybe(port_of);
        }
        card.sysctls = match card.kind {
            LinkKind::Existing(LinkSelector::Named(ref at)) if at.name == "eth0" => {
                dice.some(&[sysctl("ipv6/accept_ra", "2")])
            }
            _ => vec![],
        };
        card.addresses = addresses(dice, &["192.168.0.2/24", "192.168.7.1/24"]);
        plan.links.push(card);
        plan.absent_routes.extend(dice.some(&[through(label("card"), route("0.0.0.0/0", None))]));
    }
    if dice.flip() {
        let mut net1 = existing("net1", sandbox("net1"));
        properties(dice, &mut net1);
        net1.addresses = addresses(dice, &["10.5.0.1/24", "10.5.0.3/24", "fd05::2/64"]);
        net1.sysctls = dice.some(&[sysctl("ipv4/arp_notify", "1")]);
        plan.routes.extend(dice.some(&[through(label("net1"), route("10.77.0.0/16", Some("10.5.0.9")))]));
        plan.absent_routes.extend(dice.some(&[through(label("net1"), route("0.0.0.0/0", None))]));
        plan.links.push(net1);
    }
    if dice.flip() {
        plan.links.push(Link { name: Some("dum0".into()), ..link("dummy", Place::Sandbox, LinkKind::Dummy) });
        let parent = LinkRef::Named(host("eth0"));
        let macvlan = Macvlan { parent, mode: MacvlanMode::Bridge, broadcast_queue_length: None };
        plan.links
            .push(Link { name: Some("mac0".into()), ..link("macvlan", Place::Sandbox, LinkKind::Macvlan(macvlan)) });
    }
    plan.sysctls.extend(dice.some(&[
        sysctl("net/ipv4/ip_local_port_range", "32768 60999"),
        sysctl("net/ipv6/conf/all/disable_ipv6", "1"),
        Sysctl { lenient: true, ..sysctl("net/ipv4/absent", "1") },
    ]));
    plan.forwarding = dice.some(&[IpFamily::V4, IpFamily::V6]);
    plan.masquerades = dice.some(&[
        Masquerade { source: prefix("10.1.0.5/32"), except: vec![prefix("10.1.0.0/24")] },
        Masquerade { source: prefix("fd00::5/128"), except: vec![] },
        Masquerade { source: prefix("10.1.0.6/32"), except: vec![prefix("10.1.0.0/24"), prefix("10.2.0.0/16")] },
    ]);
    plan
}

/// What a kernel holds, without numbers and orders that mean nothing.
fn plain(Model(all): &Model) -> Observed {
    let mut all = all.clone();
    all.routes.sort_by_key(|route| format!("{route:?}"));
    for link in all.links.values_mut() {
        (link.index, link.peer_index) = (0, link.peer_index.map(|_| 0));
        link.addresses.sort();
    }
    all
}

fn operations(steps: &[Step]) -> Vec<Operation> {
    steps.iter().map(|step| step.operation.clone()).collect()
}

fn take_back(kernel: &mut Model, steps: &[Step], extent: Undo) {
    let operations = undo(steps, Options { extent, sandbox_gone: false });
    let seen = kernel.observe(&undo_scope(&operations)).unwrap();
    kernel.apply(&restorable(operations, &seen)).unwrap();
}

fn round_trip<T: serde::Serialize + serde::de::DeserializeOwned + PartialEq + std::fmt::Debug>(value: &T) {
    let json = serde_json::to_string(value).unwrap();
    assert_eq!(*value, serde_json::from_str(&json).unwrap(), "{json}");
}

struct Case {
    before: Model,
    wanted: Wanted,
    steps: Vec<Step>,
}

/// None: the plan contradicts itself or the kernel.
fn case(bytes: &[u8]) -> Option<Case> {
    let mut dice = Dice(bytes.iter());
    let mut before = kernel(&mut dice);
    let plan = plan(&mut dice);
    let mut choices = Choices::default();
    let mut seed = 7_u64;
    let mut random = || {
        seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1);
        seed >> 8
    };
    let wanted = resolve(&plan, &identity(), &mut choices, &mut random).ok()?;
    let mut journalled = choices.clone();
    let again =
        resolve(&plan, &identity(), &mut journalled, &mut || unreachable!("everything is chosen already")).unwrap();
    assert_eq!((&wanted, &choices), (&again, &journalled));
    let seen = before.observe(&scope(&wanted)).unwrap();
    let steps = diff(&wanted, &seen).ok()?;
    Some(Case { before, wanted, steps })
}

/// Runs a property over a fixed sequence of cases, of which enough must not be conflicts.
fn check(cases: u32, property: impl Fn(Case, &mut dyn FnMut(usize) -> usize)) {
    let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let real = std::cell::Cell::new(0);
    let result = runner.run(&(vec(any::<u8>(), 160), any::<usize>()), |(bytes, number)| {
        if let Some(case) = case(&bytes) {
            real.set(real.get() + 1);
            let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                property(case, &mut |below| number % below.max(1));
            }));
            outcome.map_err(|_| TestCaseError::fail("see above"))?;
        }
        Ok(())
    });
    assert!(result.is_ok(), "the last panic above is that of the smallest case");
    assert!(real.get() * 10 > cases, "only {} of {cases} cases could be reached", real.get());
}

#[test]
fn the_steps_of_a_diff_reach_what_is_wanted() {
    check(800, |Case { mut before, wanted, steps }, _| {
        before.apply(&operations(&steps)).unwrap();
        let after = before.observe(&scope_full(&wanted)).unwrap();
        assert_eq!(verify(&wanted, &after), [], "{wanted:#?}");
        assert_eq!(diff(&wanted, &after), Ok(vec![]), "{wanted:#?}");
    });
}

#[test]
fn undoing_everything_leaves_no_trace() {
    check(800, |Case { mut before, steps, .. }, _| {
        let original = plain(&before);
        before.apply(&operations(&steps)).unwrap();
        take_back(&mut before, &steps, Undo::Everything);
        same(&plain(&before), &original, &steps);
    });
}

#[test]
fn undoing_after_a_crash_at_any_step_leaves_no_trace() {
    check(800, |Case { mut before, steps, .. }, number| {
        let original = plain(&before);
        let done = number(steps.len() + 1);
        before.apply(&operations(&steps[..done])).unwrap();
        take_back(&mut before, &steps, Undo::Everything);
        same(&plain(&before), &original, &steps);
        // And again, should the undo itself have been cut short.
        take_back(&mut before, &steps, Undo::Everything);
        same(&plain(&before), &original, &steps);
    });
}

#[test]
fn undoing_the_attachment_leaves_what_is_shared() {
    check(800, |Case { mut before, steps, .. }, _| {
        let mut shared = before.clone();
        let only_shared: Vec<Step> = steps.iter().filter(|step| step.shared).cloned().collect();
        shared.apply(&operations(&only_shared)).unwrap();
        before.apply(&operations(&steps)).unwrap();
        take_back(&mut before, &steps, Undo::Attachment);
        same(&plain(&before), &plain(&shared), &steps);
    });
}

#[test]
fn an_inverse_of_an_inverse_is_the_operation_and_json_keeps_all() {
    check(400, |Case { wanted, steps, before }, _| {
        round_trip(&wanted);
        round_trip(&before.0);
        for step in &steps {
            round_trip(step);
            if let Some(inverse) = step.operation.inverse() {
                assert_eq!(inverse.inverse().as_ref(), Some(&step.operation));
                round_trip(&inverse);
            }
        }
    });
}

#[test]
fn reaching_does_it_all_and_knows_the_outcome() {
    check(400, |Case { before, wanted, steps }, _| {
        let mut kernel = before.clone();
        let mut recorded = vec![];
        let mut record = |steps: &[Step]| {
            recorded = steps.to_vec();
            Ok::<_, ()>(())
        };
        let reached = reach(&mut kernel, &wanted, &mut record).unwrap();
        assert_eq!((&recorded, &reached.steps), (&steps, &steps));
        for link in &wanted.links {
            let known: &state::Link = &reached.observed_after.links[&link.at];
            let mut found = kernel.0.links[&link.at].clone();
            // Without its VLANs where these weren't asked for.
            found.vlans = known.vlans.clone();
            assert_eq!((known.mac, known.mtu, &known.addresses), (found.mac, found.mtu, &found.addresses));
        }
        let after = kernel.observe(&scope_full(&wanted)).unwrap();
        assert_eq!(verify(&wanted, &after), []);
    });
}

/// Compares, and says by lines what differs.
fn same(found: &Observed, expected: &Observed, steps: &[Step]) {
    let lines =
        |it: &Observed| serde_json::to_string_pretty(it).unwrap().lines().map(str::to_owned).collect::<Vec<_>>();
    let only = |in_it: &[String], not_in: &[String]| {
        in_it.iter().filter(|line| !not_in.contains(line)).cloned().collect::<Vec<_>>().join("\n")
    };
    let shown: Vec<String> =
        steps.iter().map(|step| format!("{}{}", if step.shared { "shared: " } else { "" }, step.operation)).collect();
    let (a, b) = (lines(found), lines(expected));
    assert!(found == expected, "{shown:#?}\ntoo much:\n{}\nmissing:\n{}", only(&a, &b), only(&b, &a));
}
