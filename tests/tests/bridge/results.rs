//! What ADD prints, in the form of each CNI version.

use serde_json::json;
use weft_tests::lab::{Verb, isolated};

use crate::support::{BRIDGE, addresses, conf, dual_stack, host_end, link, result_addresses, round_trip};

#[test]
fn old_versions_have_one_address_per_family() {
    isolated("results::old_versions_have_one_address_per_family", |node| {
        for version in ["0.1.0", "0.2.0"] {
            let conf = conf(json!({"cniVersion": version, "isDefaultGateway": true, "ipam": dual_stack()}));
            round_trip(node, &conf, |pod, result| {
                assert_eq!(result["cniVersion"], version);
                assert!(result.get("interfaces").is_none() && result.get("ips").is_none(), "{result}");
                let (v4, v6) = (result["ip4"]["ip"].as_str().unwrap(), result["ip6"]["ip"].as_str().unwrap());
                assert_eq!(addresses(pod.netns(), "eth0"), [v4, v6]);
                assert_eq!(result["ip4"]["gateway"], "10.20.0.1");
                assert_eq!(result["ip4"]["routes"][0]["dst"], "0.0.0.0/0");
                assert_eq!(result["ip6"]["gateway"], "2001:db8:20::1");
            });
        }
    });
}

#[test]
fn newer_versions_list_interfaces() {
    isolated("results::newer_versions_list_interfaces", |node| {
        let newest: &[&str] = if node.is_weft() { &["1.1.0"] } else { &[] };
        for version in ["0.3.0", "0.3.1", "0.4.0", "1.0.0"].iter().chain(newest) {
            let conf = conf(json!({"cniVersion": version, "isDefaultGateway": true, "ipam": dual_stack()}));
            round_trip(node, &conf, |pod, result| {
                assert_eq!(result["cniVersion"], *version);
                let interfaces = result["interfaces"].as_array().unwrap();
                assert_eq!(interfaces.len(), 3, "{result}");
                assert_eq!(interfaces[0]["name"], BRIDGE);
                assert_eq!(interfaces[1]["name"], host_end(result).as_str());
                assert_eq!(interfaces[2]["name"], "eth0");
                assert_eq!(interfaces[2]["sandbox"], pod.netns().path().to_str().unwrap());
                for (number, netns) in [(0, node.netns()), (1, node.netns()), (2, pod.netns())] {
                    let kernel = link(netns, interfaces[number]["name"].as_str().unwrap()).unwrap();
                    assert_eq!(interfaces[number]["mac"], kernel["address"], "{number}");
                }
                assert_eq!(result_addresses(result), addresses(pod.netns(), "eth0"));
                for (ip, (gateway, family)) in
                    result["ips"].as_array().unwrap().iter().zip([("10.20.0.1", "4"), ("2001:db8:20::1", "6")])
                {
                    assert_eq!(ip["interface"], 2);
                    assert_eq!(ip["gateway"], gateway);
                    let named = version.starts_with("0.");
                    assert_eq!(ip.get("version").and_then(|family| family.as_str()), named.then_some(family), "{ip}");
                }
            });
        }
    });
}

const RESOLV_CONF: &str = "/run/systemd/resolve/resolv.conf";

#[test]
fn name_servers() {
    isolated("results::name_servers", |node| {
        // One of the places from which weft reads without being told to.
        std::fs::create_dir_all("/run/systemd/resolve").unwrap();
        std::fs::write(RESOLV_CONF, "nameserver 192.0.2.53\nsearch lab.example\n").unwrap();
        let ipam = json!({"type": "host-local", "subnet": "10.20.0.0/24", "resolvConf": RESOLV_CONF});
        // Older reference plugins put their own, empty `dns` over that of the address plugin.
        if node.is_weft() {
            round_trip(node, &conf(json!({"ipam": ipam})), |_, result| {
                assert_eq!(result["dns"]["nameservers"], json!(["192.0.2.53"]));
                assert_eq!(result["dns"]["search"], json!(["lab.example"]));
            });
        }
        round_trip(node, &conf(json!({"ipam": ipam, "dns": {"nameservers": ["192.0.2.54"]}})), |_, result| {
            assert_eq!(result["dns"]["nameservers"], json!(["192.0.2.54"]));
        });
    });
}

#[test]
fn versions() {
    isolated("results::versions", |node| {
        let answer = node.call(Verb::Version, "bridge", &json!({"cniVersion": "1.0.0"})).run().ok();
        let supported = answer["supportedVersions"].as_array().unwrap();
        for version in ["0.2.0", "0.3.1", "0.4.0", "1.0.0"] {
            assert!(supported.iter().any(|one| one == version), "{version} in {answer}");
        }
        if node.is_weft() {
            assert!(supported.iter().any(|one| one == "1.1.0"), "{answer}");
        }
        let error = node.call(Verb::Version, "bridge", &json!({})).run();
        assert!(error.succeeded(), "{error}");
    });
}

#[test]
fn unknown_versions_are_refused() {
    isolated("results::unknown_versions_are_refused", |node| {
        let pod = weft_tests::lab::Pod::new("pod");
        let error = node.cni(Verb::Add, "bridge", &conf(json!({"cniVersion": "9.9.9"})), &pod, "eth0").error();
        assert_eq!(error.code, 1, "{error:?}");
    });
}

#[test]
fn unreadable_input_is_a_cni_error() {
    isolated("results::unreadable_input_is_a_cni_error", |node| {
        let pod = weft_tests::lab::Pod::new("pod");
        let call = node.call(Verb::Add, "bridge", &json!({})).pod(&pod);
        for bytes in [&b""[..], b"{", b"[]", b"{\"cniVersion\": 7}"] {
            call.clone().stdin(bytes).run().error();
        }
        let missing = node.call(Verb::Add, "bridge", &conf(json!({}))).netns("").run().error();
        assert_eq!(missing.code, 4, "{missing:?}");
        assert!(missing.message.contains("CNI_NETNS") && missing.message.contains("CNI_CONTAINERID"), "{missing:?}");
    });
}
