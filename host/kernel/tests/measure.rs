//! What an attachment costs in the kernel: printed, never judged (`cargo test -p weft-kernel --test measure --release
//! -- --nocapture`).

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "the bodies of tests stand in a macro")]

#[macro_use]
mod namespaces;

use std::time::{Duration, Instant};

use namespaces::{host, prefix, sandbox};
use weft_contract::types::{IpPrefix, Place, Route};
use weft_executor::Kernel as _;
use weft_executor::operation::Operation::*;
use weft_executor::operation::{Operation, Property, VethEnd};
use weft_executor::state::{Address, Kind, Scope};
use weft_kernel::{Netns, System};

const ROUNDS: usize = 40;

fn attachment(masquerade: bool) -> Vec<Operation> {
    let end = |at| VethEnd { at, mac: Some(0x0a58_0a01_0005), mtu: Some(1500), master: None, up: false };
    let eth0 = || sandbox("eth0");
    let mut operations = vec![
        CreateVeth {
            first: VethEnd { mac: None, master: Some("br0".into()), up: true, ..end(host("weft1")) },
            second: end(eth0()),
        },
        AddAddress { at: eth0(), address: Address { prefix: prefix("10.1.0.5/16"), bare: false, no_detection: false } },
        SetLink { at: eth0(), was: Property::Up(false), now: Property::Up(true) },
        AddRoute {
            at: eth0(),
            route: Route {
                destination: prefix("0.0.0.0/0"),
                gateway: Some("10.1.0.1".parse().unwrap()),
                source: None,
                on_link: false,
                table: None,
                metric: None,
                scope: None,
                mtu: None,
                advertised_mss: None,
            },
        },
    ];
    if masquerade {
        let except: Vec<IpPrefix> = vec![prefix("10.1.0.0/16")];
        operations.push(AddMasquerade { source: prefix("10.1.0.5/32"), except, owner: "net/container/eth0".into() });
    }
    operations
}

fn scope(masquerade: bool) -> Scope {
    let mut scope = Scope {
        links: [host("br0"), host("weft1"), sandbox("eth0")].into(),
        sysctls: [(Place::Host, "net/ipv4/ip_forward".to_owned())].into(),
        ..Scope::default()
    };
    if masquerade {
        scope.masquerades.insert(prefix("10.1.0.5/32"));
        scope.exceptions.insert(vec![prefix("10.1.0.0/16")]);
    }
    scope
}

fn median(times: &mut [Duration]) -> u128 {
    times.sort();
    times[times.len() / 2].as_micros()
}

lab_test!(measure, |lab| {
    lab.apply(&[
        CreateLink {
            at: host("br0"),
            kind: Kind::Bridge { vlan_filtering: false, default_vlan: None },
            mac: None,
            mtu: None,
            up: true,
        },
        AddAddress {
            at: host("br0"),
            address: Address { prefix: prefix("10.1.0.1/16"), bare: false, no_detection: false },
        },
        CreateMasqueradeTable,
        CreateExceptions { except: vec![prefix("10.1.0.0/16")] },
    ]);
    for masquerade in [false, true] {
        let (mut opening, mut observing, mut applying, mut removing) = (vec![], vec![], vec![], vec![]);
        for _ in 0..ROUNDS {
            let path = lab.sandbox_path();
            let begin = Instant::now();
            let mut system = System::new(Netns::open(&path).unwrap());
            opening.push(begin.elapsed());
            let begin = Instant::now();
            system.observe(&scope(masquerade)).unwrap();
            observing.push(begin.elapsed());
            let operations = attachment(masquerade);
            let begin = Instant::now();
            system.apply(&operations).unwrap();
            applying.push(begin.elapsed());
            let back: Vec<Operation> = operations.iter().rev().filter_map(Operation::inverse).collect();
            let begin = Instant::now();
            system.apply(&back).unwrap();
            removing.push(begin.elapsed());
        }
        println!(
            "masquerade {masquerade}: open {} us, observe {} us, apply {} us, undo {} us (medians of {ROUNDS})",
            median(&mut opening),
            median(&mut observing),
            median(&mut applying),
            median(&mut removing)
        );
    }
    // What the kernel makes its caller wait for where something of nf_tables is deleted: the change, or the close.
    let except = vec![prefix("172.16.0.0/12")];
    let source = prefix("10.1.0.9/32");
    let element = AddMasquerade { source, except: vec![prefix("10.1.0.0/16")], owner: "o".into() };
    for (what, operation) in [("an element", element), ("a chain", CreateExceptions { except })] {
        let (mut removing, mut closing) = (vec![], vec![]);
        for _ in 0..ROUNDS {
            let mut system = System::new(None);
            system.apply(std::slice::from_ref(&operation)).unwrap();
            let back = operation.inverse().unwrap();
            let begin = Instant::now();
            system.apply(&[back]).unwrap();
            removing.push(begin.elapsed());
            let begin = Instant::now();
            drop(system);
            closing.push(begin.elapsed());
        }
        println!("nf_tables, {what}: remove {} us, close {} us", median(&mut removing), median(&mut closing));
    }
});
