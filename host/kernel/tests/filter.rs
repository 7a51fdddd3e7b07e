//! weft's nf_tables objects against a real kernel, checked with `nft` and with packets.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "the bodies of tests stand in a macro")]

#[macro_use]
mod namespaces;

use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::time::Duration;

use namespaces::{fresh, host, prefix, run, sandbox};
use weft_contract::types::{IpPrefix, Place, Route};
use weft_executor::operation::Operation::{self, *};
use weft_executor::operation::{Property, VethEnd};
use weft_executor::state::{Address, Filter, Guard, Kind, Masquerade, Scope};
use weft_executor::{Kernel as _, KernelError};
use weft_kernel::{Netns, System};

const MAC: u64 = 0x0a58_0a01_0005;

fn add(source: &str, except: &[&str], owner: &str) -> Operation {
    AddMasquerade { source: prefix(source), except: list(except), owner: owner.into() }
}

fn list(except: &[&str]) -> Vec<IpPrefix> {
    except.iter().map(|text| prefix(text)).collect()
}

fn guard(port: &str, mac: u64, owner: &str) -> Operation {
    AddGuard { port: port.into(), mac, owner: owner.into() }
}

fn observe(system: &mut System, sources: &[&str], lists: &[&[&str]], ports: &[&str]) -> Filter {
    let scope = Scope {
        masquerades: sources.iter().map(|text| prefix(text)).collect(),
        exceptions: lists.iter().map(|except| list(except)).collect(),
        guards: ports.iter().map(|port| (*port).to_owned()).collect(),
        ..Scope::default()
    };
    system.observe(&scope).unwrap().filter
}

fn masquerade(except: &[&str], owner: &str) -> Masquerade {
    Masquerade { except: list(except), owner: owner.into() }
}

fn ruleset() -> String {
    run(None, "nft", &["list", "ruleset"])
}

lab_test!(masquerades_are_made_seen_and_removed, |lab| {
    let except = ["10.0.0.0/8", "192.168.0.0/17", "2001:db8::/33"];
    let operations = [
        CreateMasqueradeTable,
        CreateExceptions { except: list(&except) },
        CreateExceptions { except: Vec::new() },
        add("10.1.2.3/32", &except, "net/container/eth0"),
        add("2001:db8::5/128", &[], "net/container/eth0"),
        add("10.4.0.0/15", &except, "net/container/net1"),
    ];
    let sources = ["10.1.2.3/32", "2001:db8::5/128", "10.4.0.0/15", "10.9.9.9/32"];
    assert_eq!(observe(&mut lab.system, &sources, &[&except], &[]), Filter::default());
    lab.apply(&operations);
    let seen = observe(&mut lab.system, &sources, &[&except, &[], &["1.0.0.0/8"]], &[]);
    assert!(seen.masquerade_table && !seen.guard_table);
    assert_eq!(seen.exceptions, [list(&except), Vec::new()].into());
    let wanted = [
        (prefix("10.1.2.3/32"), masquerade(&except, "net/container/eth0")),
        (prefix("2001:db8::5/128"), masquerade(&[], "net/container/eth0")),
        (prefix("10.4.0.0/15"), masquerade(&except, "net/container/net1")),
    ];
    assert_eq!(seen.masquerades, wanted.clone().into());
    // A list that nobody says is read out of its chain.
    assert_eq!(observe(&mut lab.system, &sources, &[], &[]).masquerades, wanted.into());
    // As a person sees it.
    let shown = ruleset();
    for part in [
        "table inet weft {",
        "type nat hook postrouting priority srcnat; policy accept;",
        "ip saddr vmap @masq4",
        "ip6 saddr vmap @masq6",
        "jump networks",
        "10.1.2.3 comment \"net/container/eth0\" : jump except-",
        "2001:db8::5 comment \"net/container/eth0\" : jump except-",
        "ip saddr 10.4.0.0/15 jump except-",
        "comment \"net/container/net1\"",
        "ip daddr 10.0.0.0/8 return",
        "ip daddr 192.168.0.0/17 return",
        "ip6 daddr 2001:db8::/33 return",
        "ip daddr 224.0.0.0/4 return",
        "ip6 daddr ff00::/8 return",
        "masquerade",
    ] {
        assert!(shown.contains(part), "{part:?} is not in\n{shown}");
    }
    // What nft prints, nft reads.
    run(None, "sh", &["-c", "nft list ruleset | nft -c -f -"]);
    let back: Vec<Operation> = operations.iter().rev().map(|operation| operation.inverse().unwrap()).collect();
    lab.apply(&back);
    assert_eq!(ruleset(), "");
    // Again, one by one: what is gone is no error.
    for operation in back {
        lab.apply(&[operation]);
    }
});

lab_test!(only_the_owner_removes_and_the_latest_owns, |lab| {
    let first = add("10.1.2.3/32", &[], "first");
    let second = add("10.1.2.3/32", &["10.0.0.0/8"], "second");
    lab.apply(&[
        CreateMasqueradeTable,
        CreateExceptions { except: Vec::new() },
        CreateExceptions { except: list(&["10.0.0.0/8"]) },
        first.clone(),
    ]);
    lab.apply(std::slice::from_ref(&first));
    lab.apply(std::slice::from_ref(&second));
    let owner = |lab: &mut namespaces::Lab| {
        let seen = observe(&mut lab.system, &["10.1.2.3/32"], &[&["10.0.0.0/8"]], &[]);
        seen.masquerades.get(&prefix("10.1.2.3/32")).cloned()
    };
    assert_eq!(owner(&mut lab), Some(masquerade(&["10.0.0.0/8"], "second")));
    lab.apply(&[first.inverse().unwrap()]);
    assert!(owner(&mut lab).is_some(), "the late DEL of a container took the address from the next");
    // What is in use stays.
    lab.apply(&[DeleteExceptions { except: list(&["10.0.0.0/8"]) }]);
    lab.apply(&[DeleteMasqueradeTable]);
    assert!(owner(&mut lab).is_some());
    // Two owners of one network are both there.
    lab.apply(&[add("10.4.0.0/16", &[], "first"), add("10.4.0.0/16", &[], "second")]);
    lab.apply(&[add("10.4.0.0/16", &[], "first").inverse().unwrap()]);
    let seen = observe(&mut lab.system, &["10.4.0.0/16"], &[&[]], &[]);
    assert_eq!(seen.masquerades[&prefix("10.4.0.0/16")].owner, "second");
    lab.apply(&[DeleteMasqueradeTable]);
    assert!(ruleset().contains("10.4.0.0/16"));
    lab.apply(&[add("10.4.0.0/16", &[], "second").inverse().unwrap(), second.inverse().unwrap()]);
    let text = lab.refused(&[add("10.1.2.3/32", &[], &"x".repeat(300))]).error.to_string();
    assert!(text.contains("longer than the 253 bytes"), "{text}");
    lab.apply(&[add("10.1.2.3/32", &[], &"x".repeat(253))]);
});

lab_test!(a_table_is_made_once_and_mended, |lab| {
    lab.apply(&[CreateMasqueradeTable, CreateGuardTable]);
    let whole = ruleset();
    lab.apply(&[CreateMasqueradeTable, CreateGuardTable]);
    assert_eq!(ruleset(), whole);
    run(None, "nft", &["flush", "chain", "inet", "weft", "postrouting"]);
    run(None, "nft", &["delete", "chain", "bridge", "weft", "guard"]);
    let seen = observe(&mut lab.system, &["10.0.0.1/32"], &[], &["p"]);
    assert!(!seen.masquerade_table && !seen.guard_table);
    lab.apply(&[CreateMasqueradeTable, CreateGuardTable]);
    assert_eq!(sorted(&ruleset()), sorted(&whole));
    run(None, "nft", &["flush", "ruleset"]);
    let text = lab.refused(&[add("10.1.2.3/32", &[], "owner")]).error.to_string();
    assert!(text.contains("did somebody flush the rule set?"), "{text}");
});

fn sorted(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

lab_test!(many_at_once_make_one_table, |_lab| {
    let work = |number: u8| {
        move || -> Result<(), KernelError> {
            let mut system = System::new(None);
            for round in 0..4 {
                let source = format!("10.1.{number}.{round}/32");
                let operations = [
                    CreateMasqueradeTable,
                    CreateExceptions { except: Vec::new() },
                    add(&source, &[], "me"),
                    CreateGuardTable,
                    guard(&format!("p{number}-{round}"), MAC, "me"),
                ];
                system.apply(&operations).map_err(|failure| failure.error)?;
                if round % 2 == 0 {
                    let back: Vec<Operation> = operations.iter().rev().filter_map(Operation::inverse).collect();
                    system.apply(&back).map_err(|failure| failure.error)?;
                }
            }
            Ok(())
        }
    };
    let threads: Vec<_> = (0..4).map(|number| std::thread::spawn(work(number))).collect();
    let results: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
    // A table or chain that another one has just taken away is said to be gone; nothing else may happen.
    for result in results {
        if let Err(error) = result {
            assert_eq!(error.errno, nix::libc::ENOENT, "{error}");
        }
    }
    let shown = ruleset();
    assert_eq!(shown.matches("vmap @masq4").count(), 1, "{shown}");
    assert_eq!(shown.matches("@guarded").count(), 1, "{shown}");
});

lab_test!(what_an_owner_has_is_found_by_his_name, |lab| {
    lab.apply(&[
        CreateMasqueradeTable,
        CreateGuardTable,
        CreateExceptions { except: Vec::new() },
        add("10.1.2.3/32", &[], "container/eth0"),
        add("2001:db8::5/128", &[], "container/eth0"),
        add("10.4.0.0/15", &[], "container/eth0"),
        add("10.1.2.4/32", &[], "other/eth0"),
        guard("veth1", MAC, "container/eth0"),
        guard("veth2", MAC, "other/eth0"),
    ]);
    let removals = lab.system.removals_of("container/eth0").unwrap();
    assert_eq!(removals.len(), 4, "{removals:?}");
    lab.apply(&removals);
    assert_eq!(lab.system.removals_of("container/eth0").unwrap(), []);
    let seen = observe(&mut lab.system, &["10.1.2.3/32", "10.1.2.4/32", "10.4.0.0/15"], &[&[]], &["veth1", "veth2"]);
    assert_eq!(seen.masquerades.keys().collect::<Vec<_>>(), [&prefix("10.1.2.4/32")]);
    assert_eq!(seen.guards.keys().collect::<Vec<_>>(), ["veth2"]);
});

lab_test!(owners_are_looked_for_where_there_are_no_tables, |lab| {
    assert_eq!(lab.system.removals_of("container/eth0").unwrap(), []);
});

lab_test!(guards_are_made_seen_and_removed, |lab| {
    let first = guard("veth1", MAC, "first");
    lab.apply(&[CreateGuardTable, first.clone(), guard("veth2", MAC + 1, "other")]);
    let seen = observe(&mut lab.system, &[], &[], &["veth1", "veth2", "veth3"]);
    let of = |mac, owner: &str| Guard { mac, owner: owner.into() };
    assert!(seen.guard_table && !seen.masquerade_table);
    assert_eq!(
        seen.guards,
        [("veth1".to_owned(), of(MAC, "first")), ("veth2".to_owned(), of(MAC + 1, "other"))].into()
    );
    let shown = ruleset();
    for part in [
        "table bridge weft {",
        "type filter hook prerouting priority",
        "\"veth1\" comment \"first\"",
        "\"veth1\" . 0a:58:0a:01:00:05 comment \"first\"",
        "iifname @guarded iifname . ether saddr != @stations drop",
    ] {
        assert!(shown.contains(part), "{part:?} is not in\n{shown}");
    }
    run(None, "sh", &["-c", "nft list ruleset | nft -c -f -"]);
    lab.apply(&[guard("veth1", MAC + 7, "second")]);
    lab.apply(&[first.inverse().unwrap()]);
    let seen = observe(&mut lab.system, &[], &[], &["veth1"]);
    assert_eq!(seen.guards["veth1"], of(MAC + 7, "second"));
    assert!(!ruleset().contains("0a:58:0a:01:00:05"), "the old station may still enter");
    lab.apply(&[DeleteGuardTable]);
    assert!(ruleset().contains("veth2"), "a table in use was deleted");
    lab.apply(&[
        guard("veth1", MAC + 7, "second").inverse().unwrap(),
        guard("veth2", MAC + 1, "other").inverse().unwrap(),
        DeleteGuardTable,
    ]);
    assert_eq!(ruleset(), "");
});

// === with packets ===

fn pair(
    first: weft_contract::types::LinkName,
    second: weft_contract::types::LinkName,
    master: Option<&str>,
) -> Operation {
    let end = |at| VethEnd { at, mac: None, mtu: None, master: None, up: false };
    CreateVeth { first: VethEnd { up: true, master: master.map(str::to_owned), ..end(first) }, second: end(second) }
}

fn up(at: weft_contract::types::LinkName) -> Operation {
    SetLink { at, was: Property::Up(false), now: Property::Up(true) }
}

fn has(at: weft_contract::types::LinkName, address: &str) -> Operation {
    AddAddress { at, address: Address { prefix: prefix(address), bare: false, no_detection: true } }
}

fn default_via(at: weft_contract::types::LinkName, gateway: &str) -> Operation {
    let gateway: weft_contract::types::IpAddress = gateway.parse().unwrap();
    let all = if gateway.width() == 32 { "0.0.0.0/0" } else { "::/0" };
    let route = Route {
        destination: prefix(all),
        gateway: Some(gateway),
        source: None,
        on_link: false,
        table: None,
        metric: None,
        scope: None,
        mtu: None,
        advertised_mss: None,
    };
    AddRoute { at, route }
}

fn enabled(place: Place, key: &str) -> Operation {
    WriteSysctl { place, key: key.into(), was: None, now: "1".into(), lenient: false }
}

/// A System whose sandbox is another namespace.
fn system_of(netns: &Netns) -> System {
    let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&std::os::fd::AsFd::as_fd(netns)));
    System::new(Netns::open(Path::new(&path)).unwrap())
}

fn bound(netns: &Netns, address: &str) -> UdpSocket {
    let socket = netns.inside(|| UdpSocket::bind(address)).unwrap().unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    socket
}

/// Where a datagram seems to come from.
fn seen_from(receiver: &UdpSocket, sender: &UdpSocket, to: &str) -> SocketAddr {
    sender.send_to(b"hello", to).unwrap();
    receiver.recv_from(&mut [0; 16]).unwrap().1
}

lab_test!(packets_leave_under_the_nodes_address, |lab| {
    let outside = fresh();
    let mut far = system_of(&outside);
    far.apply(&[
        pair(host("up0"), sandbox("eth0"), None),
        has(host("up0"), "192.0.2.1/24"),
        has(host("up0"), "2001:db8:9::1/64"),
        up(sandbox("eth0")),
        has(sandbox("eth0"), "192.0.2.9/24"),
        has(sandbox("eth0"), "198.51.100.9/32"),
        has(sandbox("eth0"), "2001:db8:9::9/64"),
        default_via(sandbox("eth0"), "192.0.2.1"),
        default_via(sandbox("eth0"), "2001:db8:9::1"),
    ])
    .unwrap();
    lab.apply(&[
        pair(host("p"), sandbox("eth0"), None),
        has(host("p"), "10.1.2.1/24"),
        has(host("p"), "2001:db8:1::1/64"),
        up(sandbox("eth0")),
        has(sandbox("eth0"), "10.1.2.3/24"),
        has(sandbox("eth0"), "2001:db8:1::3/64"),
        default_via(sandbox("eth0"), "10.1.2.1"),
        default_via(sandbox("eth0"), "2001:db8:1::1"),
        enabled(Place::Host, "net/ipv4/ip_forward"),
        enabled(Place::Host, "net/ipv6/conf/all/forwarding"),
        CreateMasqueradeTable,
        CreateExceptions { except: list(&["198.51.100.0/24"]) },
        add("10.1.2.3/32", &["198.51.100.0/24"], "owner"),
        add("2001:db8:1::3/128", &["198.51.100.0/24"], "owner"),
    ]);
    run(None, "ip", &["route", "add", "198.51.100.9/32", "via", "192.0.2.9"]);
    let pod = lab.netns(Place::Sandbox).unwrap();
    let server = bound(&outside, "0.0.0.0:7000");
    let server6 = bound(&outside, "[::]:7001");
    let masqueraded = seen_from(&server, &bound(pod, "10.1.2.3:0"), "192.0.2.9:7000");
    assert_eq!(masqueraded.ip().to_string(), "192.0.2.1");
    let excepted = seen_from(&server, &bound(pod, "10.1.2.3:0"), "198.51.100.9:7000");
    assert_eq!(excepted.ip().to_string(), "10.1.2.3");
    let masqueraded = seen_from(&server6, &bound(pod, "[2001:db8:1::3]:0"), "[2001:db8:9::9]:7001");
    assert_eq!(masqueraded.ip().to_string(), "2001:db8:9::1");
    lab.apply(&[add("10.1.2.3/32", &["198.51.100.0/24"], "owner").inverse().unwrap()]);
    let pod = lab.netns(Place::Sandbox).unwrap();
    let plain = seen_from(&server, &bound(pod, "10.1.2.3:0"), "192.0.2.9:7000");
    assert_eq!(plain.ip().to_string(), "10.1.2.3");
    lab.apply(&[add("10.1.0.0/16", &["198.51.100.0/24"], "owner")]);
    let pod = lab.netns(Place::Sandbox).unwrap();
    let of_network = seen_from(&server, &bound(pod, "10.1.2.3:0"), "192.0.2.9:7000");
    assert_eq!(of_network.ip().to_string(), "192.0.2.1");
});

lab_test!(a_spoofed_frame_is_dropped, |lab| {
    let other = fresh();
    let mut far = system_of(&other);
    lab.apply(&[
        CreateLink {
            at: host("br0"),
            kind: Kind::Bridge { vlan_filtering: false, default_vlan: None },
            mac: None,
            mtu: None,
            up: true,
        },
        pair(host("p"), sandbox("eth0"), Some("br0")),
        up(sandbox("eth0")),
        has(sandbox("eth0"), "10.1.2.3/24"),
    ]);
    far.apply(&[
        pair(host("q"), sandbox("eth0"), Some("br0")),
        up(sandbox("eth0")),
        has(sandbox("eth0"), "10.1.2.4/24"),
    ])
    .unwrap();
    let scope = Scope { links: [sandbox("eth0")].into(), ..Scope::default() };
    let mac_of = |system: &mut System| system.observe(&scope).unwrap().links[&sandbox("eth0")].mac.unwrap();
    let (mac, far_mac) = (mac_of(&mut lab.system), mac_of(&mut far));
    let spoof = |was, now| SetLink { at: sandbox("eth0"), was: Property::Mac(was), now: Property::Mac(now) };
    let far_text = weft_contract::text::format_mac(far_mac);
    let pod = lab.netns(Place::Sandbox).unwrap();
    let receiver = bound(&other, "0.0.0.0:7000");
    let sender = bound(pod, "0.0.0.0:0");
    run(Some(pod), "ip", &["neigh", "replace", "10.1.2.4", "lladdr", &far_text, "dev", "eth0", "nud", "permanent"]);
    let send = |text: &str| sender.send_to(text.as_bytes(), "10.1.2.4:7000").unwrap();
    let received = || {
        let mut buffer = [0; 64];
        let (length, _) = receiver.recv_from(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    };
    // Without a guard anything goes.
    lab.apply(&[spoof(mac, mac ^ 0xff)]);
    send("spoofed, unguarded");
    assert_eq!(received(), "spoofed, unguarded");
    lab.apply(&[CreateGuardTable, guard("p", mac, "owner")]);
    send("spoofed, guarded");
    lab.apply(&[spoof(mac ^ 0xff, mac)]);
    send("honest");
    assert_eq!(received(), "honest");
    lab.apply(&[guard("p", mac, "owner").inverse().unwrap(), spoof(mac, mac ^ 0xff)]);
    send("spoofed, unguarded again");
    assert_eq!(received(), "spoofed, unguarded again");
});
