//! What a configuration of the bridge plugin does, one configuration a test.

use std::net::SocketAddr;

use serde_json::{Value, json};
use weft_tests::lab::{self, Node, Pod, Verb, ip, isolated, ping, ping_fails, skip_here, tcp};

use crate::support::{
    BRIDGE, addresses, conf, dual_stack, gateway_routes, has_flag, host_end, link, refused, result_addresses,
    round_trip,
};

#[test]
fn l3_v4() {
    isolated("configurations::l3_v4", |node| {
        round_trip(node, &conf(json!({"isGateway": true})), |pod, result| {
            assert_eq!(addresses(pod.netns(), "eth0"), ["10.20.0.2/24"]);
            assert_eq!(addresses(node.netns(), BRIDGE), ["10.20.0.1/24"]);
            assert_eq!(gateway_routes(pod.netns()), Vec::<String>::new());
            assert!(has_flag(node.netns(), BRIDGE, "UP"));
            ping(pod.netns(), "10.20.0.1");
            assert_eq!(std::fs::read_to_string("/proc/sys/net/ipv4/ip_forward").unwrap().trim(), "1");
            assert_eq!(link(node.netns(), &host_end(result)).unwrap()["master"], BRIDGE);
        });
    });
}

#[test]
fn without_a_gateway_the_bridge_has_no_address() {
    isolated("configurations::without_a_gateway_the_bridge_has_no_address", |node| {
        round_trip(node, &conf(json!({})), |pod, _| {
            assert_eq!(addresses(pod.netns(), "eth0"), ["10.20.0.2/24"]);
            assert_eq!(addresses(node.netns(), BRIDGE), Vec::<String>::new());
        });
    });
}

#[test]
fn dual_stack_with_default_gateways() {
    isolated("configurations::dual_stack_with_default_gateways", |node| {
        round_trip(node, &conf(json!({"isDefaultGateway": true, "ipam": dual_stack()})), |pod, result| {
            assert_eq!(addresses(pod.netns(), "eth0"), ["10.20.0.2/24", "2001:db8:20::2/64"]);
            assert_eq!(addresses(node.netns(), BRIDGE), ["10.20.0.1/24", "2001:db8:20::1/64"]);
            assert_eq!(gateway_routes(pod.netns()), ["default via 10.20.0.1", "default via 2001:db8:20::1"]);
            let routes: Vec<&str> =
                result["routes"].as_array().unwrap().iter().map(|route| route["dst"].as_str().unwrap()).collect();
            assert_eq!(routes, ["0.0.0.0/0", "::/0"]);
            ping(pod.netns(), "10.20.0.1");
            ping(pod.netns(), "2001:db8:20::1");
            assert_eq!(std::fs::read_to_string("/proc/sys/net/ipv6/conf/all/forwarding").unwrap().trim(), "1");
        });
    });
}

#[test]
fn routes_of_the_pool() {
    isolated("configurations::routes_of_the_pool", |node| {
        let ipam = json!({
            "type": "host-local", "ranges": [[{"subnet": "10.20.0.0/24", "gateway": "10.20.0.254"}]],
            "routes": [{"dst": "0.0.0.0/0"}, {"dst": "10.99.0.0/16", "gw": "10.20.0.77"}],
        });
        round_trip(node, &conf(json!({"isGateway": true, "ipam": ipam})), |pod, _| {
            assert_eq!(addresses(node.netns(), BRIDGE), ["10.20.0.254/24"]);
            assert_eq!(gateway_routes(pod.netns()), ["10.99.0.0/16 via 10.20.0.77", "default via 10.20.0.254"]);
        });
    });
}

#[test]
fn pods_of_one_network_reach_each_other() {
    isolated("configurations::pods_of_one_network_reach_each_other", |node| {
        let conf = conf(json!({"isGateway": true}));
        round_trip(node, &conf, |pod, _| {
            let other = Pod::new("other");
            node.cni(Verb::Add, "bridge", &conf, &other, "eth0").ok();
            let server: SocketAddr = "10.20.0.3:80".parse().unwrap();
            assert_eq!(tcp(pod.netns(), other.netns(), server, server).unwrap().ip().to_string(), "10.20.0.2");
            node.cni(Verb::Del, "bridge", &conf, &other, "eth0").ok();
            // The first pod is as before.
            ping(pod.netns(), "10.20.0.1");
        });
    });
}

#[test]
fn masquerade() {
    isolated("configurations::masquerade", |node| {
        let outside = node.outside();
        let conf = conf(json!({"isDefaultGateway": true, "ipMasq": true, "ipam": dual_stack()}));
        round_trip(node, &conf, |pod, _| {
            for (server, node_address) in [("192.0.2.2:80", "192.0.2.1"), ("[2001:db8:ffff::2]:80", "2001:db8:ffff::1")]
            {
                let server: SocketAddr = server.parse().unwrap();
                if server.is_ipv6() {
                    ping(pod.netns(), "2001:db8:20::1");
                }
                let seen = tcp(pod.netns(), outside.netns(), server, server).expect("masqueraded");
                assert_eq!(seen.ip().to_string(), node_address);
            }
            let other = Pod::new("other");
            node.cni(Verb::Add, "bridge", &conf, &other, "eth0").ok();
            let server: SocketAddr = "10.20.0.3:80".parse().unwrap();
            let seen = tcp(pod.netns(), other.netns(), server, server).expect("inside the network");
            assert_eq!(seen.ip().to_string(), "10.20.0.2", "traffic inside the network keeps its source");
            node.cni(Verb::Del, "bridge", &conf, &other, "eth0").ok();
        });
    });
}

#[test]
fn without_masquerade_the_source_stays() {
    isolated("configurations::without_masquerade_the_source_stays", |node| {
        let outside = node.outside();
        ip(outside.netns(), "route add 10.20.0.0/24 via 192.0.2.1");
        round_trip(node, &conf(json!({"isDefaultGateway": true})), |pod, _| {
            let server: SocketAddr = "192.0.2.2:80".parse().unwrap();
            assert_eq!(tcp(pod.netns(), outside.netns(), server, server).unwrap().ip().to_string(), "10.20.0.2");
        });
    });
}

#[test]
fn l2_only() {
    isolated("configurations::l2_only", |node| {
        round_trip(node, &conf(json!({"ipam": null})), |pod, result| {
            assert_eq!(result_addresses(result), Vec::<String>::new());
            assert_eq!(addresses(pod.netns(), "eth0"), Vec::<String>::new());
            assert!(has_flag(pod.netns(), "eth0", "UP"));
            assert!(has_flag(pod.netns(), "eth0", "LOWER_UP"));
        });
    });
}

#[test]
fn hairpin_and_promiscuous_mode() {
    isolated("configurations::hairpin_and_promiscuous_mode", |node| {
        let port =
            |result: &Value| link(node.netns(), &host_end(result)).unwrap()["linkinfo"]["info_slave_data"].clone();
        round_trip(node, &conf(json!({})), |_, result| assert_eq!(port(result)["hairpin"], false));
        round_trip(node, &conf(json!({"hairpinMode": true})), |_, result| assert_eq!(port(result)["hairpin"], true));
        round_trip(node, &conf(json!({"promiscMode": true})), |_, _| {
            assert!(has_flag(node.netns(), BRIDGE, "PROMISC"))
        });
        let message = refused(node, &conf(json!({"promiscMode": true, "hairpinMode": true})));
        assert!(message.to_lowercase().contains("hairpin"), "{message}");
    });
}

#[test]
fn port_isolation() {
    isolated("configurations::port_isolation", |node| {
        if !node.only_weft("portIsolation") {
            return;
        }
        let conf = conf(json!({"isGateway": true, "portIsolation": true}));
        round_trip(node, &conf, |pod, result| {
            let port = link(node.netns(), &host_end(result)).unwrap();
            assert_eq!(port["linkinfo"]["info_slave_data"]["isolated"], true);
            let other = Pod::new("other");
            node.cni(Verb::Add, "bridge", &conf, &other, "eth0").ok();
            ping(pod.netns(), "10.20.0.1");
            ping_fails(pod.netns(), "10.20.0.3");
            node.cni(Verb::Del, "bridge", &conf, &other, "eth0").ok();
        });
    });
}

#[test]
fn spoofed_frames_are_dropped() {
    isolated("configurations::spoofed_frames_are_dropped", |node| {
        round_trip(node, &conf(json!({"isGateway": true, "macspoofchk": true})), |pod, result| {
            ping(pod.netns(), "10.20.0.1");
            let real = result["interfaces"][2]["mac"].as_str().unwrap();
            ip(pod.netns(), "link set eth0 address 02:00:00:00:be:ef");
            ip(pod.netns(), "neighbour flush dev eth0");
            ping_fails(pod.netns(), "10.20.0.1");
            ip(pod.netns(), &format!("link set eth0 address {real}"));
            ping(pod.netns(), "10.20.0.1");
        });
    });
}

#[test]
fn mtu() {
    isolated("configurations::mtu", |node| {
        round_trip(node, &conf(json!({"mtu": 1400})), |pod, result| {
            assert_eq!(link(pod.netns(), "eth0").unwrap()["mtu"], 1400);
            assert_eq!(link(node.netns(), &host_end(result)).unwrap()["mtu"], 1400);
            assert_eq!(link(node.netns(), BRIDGE).unwrap()["mtu"], 1400);
        });
    });
}

#[test]
fn an_existing_bridge_is_adopted() {
    isolated("configurations::an_existing_bridge_is_adopted", |node| {
        ip(node.netns(), &format!("link add {BRIDGE} address 02:00:00:00:00:01 type bridge"));
        ip(node.netns(), &format!("addr add 10.20.0.1/24 dev {BRIDGE}"));
        round_trip(node, &conf(json!({"isGateway": true})), |pod, result| {
            assert_eq!(result["interfaces"][0]["mac"], "02:00:00:00:00:01");
            assert_eq!(addresses(node.netns(), BRIDGE), ["10.20.0.1/24"]);
            ping(pod.netns(), "10.20.0.1");
        });
    });
}

#[test]
fn the_bridge_keeps_its_mac() {
    isolated("configurations::the_bridge_keeps_its_mac", |node| {
        let conf = conf(json!({"isGateway": true}));
        round_trip(node, &conf, |_, result| {
            let mac = result["interfaces"][0]["mac"].clone();
            let pods: Vec<Pod> = (0..4).map(|number| Pod::new(&format!("more{number}"))).collect();
            for pod in &pods {
                node.cni(Verb::Add, "bridge", &conf, pod, "eth0").ok();
            }
            assert_eq!(link(node.netns(), BRIDGE).unwrap()["address"], mac);
            for pod in &pods {
                node.cni(Verb::Del, "bridge", &conf, pod, "eth0").ok();
            }
            assert_eq!(link(node.netns(), BRIDGE).unwrap()["address"], mac);
        });
    });
}

#[test]
fn another_kind_of_link_is_not_a_bridge() {
    isolated("configurations::another_kind_of_link_is_not_a_bridge", |node| {
        ip(node.netns(), &format!("link add {BRIDGE} type veth peer name other"));
        let message = refused(node, &conf(json!({"isGateway": true})));
        assert!(message.contains(BRIDGE), "{message}");
        assert_eq!(addresses(node.netns(), BRIDGE), Vec::<String>::new());
    });
}

#[test]
fn vlans_are_refused_where_the_kernel_has_none() {
    isolated("configurations::vlans_are_refused_where_the_kernel_has_none", |node| {
        let probe = std::process::Command::new("ip")
            .args(["link", "add", "probe", "type", "bridge", "vlan_filtering", "1"])
            .status()
            .unwrap();
        if probe.success() {
            return skip_here("this kernel has bridge VLAN filtering");
        }
        let message = refused(node, &conf(json!({"vlan": 100})));
        if node.is_weft() {
            assert!(message.to_lowercase().contains("vlan"), "{message}");
            assert!(link(node.netns(), BRIDGE).is_none(), "a bridge without what was asked for");
        }
    });
}

#[test]
fn values_out_of_range_are_named() {
    isolated("configurations::values_out_of_range_are_named", |node| {
        for (more, names) in [(json!({"vlan": 5000}), "5000"), (json!({"vlan": -1}), "-1")] {
            let message = refused(node, &conf(more.clone()));
            assert!(message.contains(names), "{more}: {message}");
            assert!(link(node.netns(), BRIDGE).is_none(), "parsed fully before the first effect");
        }
    });
}

#[test]
fn the_container_interface_may_stay_down() {
    isolated("configurations::the_container_interface_may_stay_down", |node| {
        if !node.only_weft("disableContainerInterface") {
            return;
        }
        round_trip(node, &conf(json!({"ipam": null, "disableContainerInterface": true})), |pod, _| {
            assert!(!has_flag(pod.netns(), "eth0", "UP"));
        });
        let message = refused(node, &conf(json!({"disableContainerInterface": true})));
        assert!(message.to_lowercase().contains("disablecontainerinterface") || message.contains("ipam"), "{message}");
    });
}

#[test]
fn macs_come_from_three_places() {
    isolated("configurations::macs_come_from_three_places", |node| {
        let (first, second, third) = ("02:00:00:00:00:0a", "02:00:00:00:00:0b", "02:00:00:00:00:0c");
        let in_args = json!({"args": {"cni": {"mac": second}}});
        let at_run_time = json!({"capabilities": {"mac": true}, "args": {"cni": {"mac": second}},
                                 "runtimeConfig": {"mac": third}});
        for (name, more, mac) in [("a", json!({}), first), ("b", in_args, second), ("c", at_run_time, third)] {
            let conf = conf(more);
            let pod = Pod::new(name);
            let call = node.call(Verb::Add, "bridge", &conf).pod(&pod).args(&format!("IgnoreUnknown=1;MAC={first}"));
            let result = call.run().ok();
            assert_eq!(link(pod.netns(), "eth0").unwrap()["address"], mac);
            assert_eq!(result["interfaces"][2]["mac"], mac);
            node.cni(Verb::Del, "bridge", &conf, &pod, "eth0").ok();
        }
    });
}

#[test]
fn another_address_on_the_bridge() {
    isolated("configurations::another_address_on_the_bridge", |node| {
        ip(node.netns(), &format!("link add {BRIDGE} address 02:00:00:00:00:01 type bridge"));
        ip(node.netns(), &format!("addr add 10.99.0.1/24 dev {BRIDGE}"));
        let message = refused(node, &conf(json!({"isGateway": true})));
        assert!(message.contains(BRIDGE), "{message}");
        if node.is_weft() {
            for part in ["10.99.0.1", "10.20.0.1", "forceAddress"] {
                assert!(message.contains(part), "{part}: {message}");
            }
        }
        assert_eq!(addresses(node.netns(), BRIDGE), ["10.99.0.1/24"]);
        round_trip(node, &conf(json!({"isGateway": true, "forceAddress": true})), |pod, _| {
            assert_eq!(addresses(node.netns(), BRIDGE), ["10.20.0.1/24"]);
            ping(pod.netns(), "10.20.0.1");
        });
    });
}

#[test]
fn one_pod_twice_on_one_network() {
    isolated("configurations::one_pod_twice_on_one_network", |node| {
        let conf = conf(json!({"isGateway": true}));
        round_trip(node, &conf, |pod, _| {
            node.cni(Verb::Add, "bridge", &conf, pod, "eth1").ok();
            assert_eq!(addresses(pod.netns(), "eth1"), ["10.20.0.3/24"]);
            node.cni(Verb::Del, "bridge", &conf, pod, "eth1").ok();
            assert!(link(pod.netns(), "eth1").is_none());
            ping(pod.netns(), "10.20.0.1");
        });
    });
}

#[test]
fn an_interface_of_that_name_is_not_taken_over() {
    isolated("configurations::an_interface_of_that_name_is_not_taken_over", |node| {
        let pod = Pod::new("pod");
        ip(pod.netns(), "link add eth0 type bridge");
        let before = lab::Snapshot::take(node, &[&pod]);
        let message = node.cni(Verb::Add, "bridge", &conf(json!({"isGateway": true})), &pod, "eth0").error().message;
        assert!(message.contains("eth0"), "{message}");
        lab::assert_nothing_left_except_shared(&before, node, &[&pod], &[BRIDGE]);
    });
}

#[test]
fn an_exhausted_pool_refuses_and_leaves_nothing() {
    isolated("configurations::an_exhausted_pool_refuses_and_leaves_nothing", |node| {
        let range = json!([[{"subnet": "10.20.0.0/24", "rangeStart": "10.20.0.9", "rangeEnd": "10.20.0.9"}]]);
        let conf = conf(json!({"isGateway": true, "ipam": {"type": "host-local", "ranges": range}}));
        round_trip(node, &conf, |_, result| {
            assert_eq!(result_addresses(result), ["10.20.0.9/24"]);
            let late = Pod::new("late");
            let before = lab::Snapshot::take(node, &[&late]);
            let error = node.cni(Verb::Add, "bridge", &conf, &late, "eth0").error();
            assert!(error.message.contains("10.20.0.9"), "{error:?}");
            if !node.is_weft() {
                node.cni(Verb::Del, "bridge", &conf, &late, "eth0").ok();
            }
            lab::assert_nothing_left_except_shared(&before, node, &[&late], &[BRIDGE]);
        });
    });
}

#[test]
fn an_unknown_address_plugin_is_named() {
    isolated("configurations::an_unknown_address_plugin_is_named", |node: &Node| {
        let message = refused(node, &conf(json!({"ipam": {"type": "no-such-ipam"}})));
        assert!(message.contains("no-such-ipam"), "{message}");
    });
}
