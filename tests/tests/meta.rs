//! weft as the meta-plugin: the seed configuration, naming, chains, executables beside components, and taking back.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "tests and their helpers"
)]

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use weft_tests::lab::{
    HOME, NATIVE, Node, Pod, Snapshot, Verb, assert_nothing_left, assert_nothing_left_except_shared, ip, ip_json,
    isolated, ping, ping_fails, skip_here,
};

/// A lab for weft only.
fn with_weft(test: &str, body: impl FnOnce(&Node)) {
    isolated(test, |node| {
        if node.only_weft("its meta-plugin") {
            body(node);
        }
    });
}

/// IPv4 addresses with prefix lengths of a link.
fn addresses(pod: &Pod, link: &str) -> Vec<String> {
    let links = ip_json(pod.netns(), &format!("-4 address show dev {link}"));
    let list = links.iter().flat_map(|link| link["addr_info"].as_array().cloned().unwrap_or_default());
    list.map(|info| format!("{}/{}", info["local"].as_str().unwrap(), info["prefixlen"])).collect()
}

/// The one address of a link, without prefix length.
fn address(pod: &Pod, link: &str) -> String {
    let all = addresses(pod, link);
    let [one] = all.as_slice() else { panic!("{link} of {}: {all:?}", pod.name()) };
    one.split('/').next().unwrap().to_owned()
}

/// Names of a pod's links but `lo`, sorted.
fn links(pod: &Pod) -> Vec<String> {
    let mut names: Vec<String> =
        ip_json(pod.netns(), "link show").iter().map(|link| link["ifname"].as_str().unwrap().to_owned()).collect();
    names.retain(|name| name != "lo");
    names.sort();
    names
}

fn bridge(name: &str, bridge: &str, subnet: &str) -> Value {
    json!({"name": name, "type": "bridge", "bridge": bridge, "isGateway": true,
           "ipam": {"type": "host-local", "ranges": [[{"subnet": subnet}]]}})
}

fn meta(delegates: Value) -> Value {
    json!({"cniVersion": "1.1.0", "name": "outer", "type": "multus", "delegates": delegates})
}

/// A plugin that is a shell script: it keeps configuration and environment of each verb below [`HOME`], and prints
/// `result.json` from there on ADD.
fn recorder(node: &Node, name: &str) {
    script(
        node,
        name,
        &format!(
            "cat > {HOME}/$CNI_COMMAND.json\nenv | grep ^CNI_ > {HOME}/$CNI_COMMAND.env\n\
             [ $CNI_COMMAND != ADD ] || cat {HOME}/result.json"
        ),
    );
}

fn script(node: &Node, name: &str, body: &str) -> PathBuf {
    let path = node.bin().join(name);
    fs::write(&path, format!("#!/bin/sh\n{body}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

fn recorded(verb: &str) -> (Value, Vec<String>) {
    let config = fs::read_to_string(format!("{HOME}/{verb}.json")).unwrap_or_else(|e| panic!("no {verb}: {e}"));
    let environment = fs::read_to_string(format!("{HOME}/{verb}.env")).unwrap();
    (serde_json::from_str(&config).unwrap(), environment.lines().map(str::to_owned).collect())
}

fn settings(node: &Node, settings: &Value) {
    fs::write(node.bin().join(".weft/settings.json"), settings.to_string()).unwrap();
}

// --- the seed configuration ---

#[test]
fn two_flannels_as_shipped() {
    with_weft("two_flannels_as_shipped", |node| {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../conf/two-flannels");
        fs::create_dir_all("/run/flannel").unwrap();
        for name in ["subnet.env", "subnet2.env"] {
            fs::copy(folder.join(name), Path::new("/run/flannel").join(name)).unwrap();
        }
        let conf = fs::read(folder.join("10-two-flannels.conf")).unwrap();
        let call = |verb, pod: &Pod| node.call(verb, "multus", &Value::Null).stdin(&conf).pod(pod).run();
        let pods = [Pod::new("one"), Pod::new("two")];
        let [one, two] = &pods;
        let before = Snapshot::take(node, &[one, two]);
        for pod in &pods {
            let result = call(Verb::Add, pod).ok();
            // The master's, in the form of the version that the configuration has: none, so the oldest.
            let ip = result["ip4"]["ip"].as_str().unwrap_or_else(|| panic!("{result}"));
            assert_eq!(addresses(pod, "eth0"), [ip]);
            assert!(ip.starts_with("172.96.0.") && ip.ends_with("/24"), "{ip}");
            assert_eq!(result["ip4"]["gateway"], "172.96.0.1");
            assert!(address(pod, "net0").starts_with("172.112.88."));
            assert_eq!(links(pod), ["eth0", "net0"]);
            for (link, mtu) in [("eth0", 1450), ("net0", 1500)] {
                assert_eq!(ip_json(pod.netns(), &format!("link show dev {link}"))[0]["mtu"], mtu, "{link}");
            }
            let routes = ip_json(pod.netns(), "-4 route show default");
            assert_eq!(routes.len(), 1, "{routes:?}");
            assert_eq!((&routes[0]["gateway"], &routes[0]["dev"]), (&json!("172.96.0.1"), &json!("eth0")));
            // What flanneld routes to the other nodes of each network.
            let network = ip_json(pod.netns(), "-4 route show 172.96.0.0/16");
            assert_eq!(network[0]["gateway"], "172.96.0.1", "{network:?}");
        }
        let master = |link: &str| {
            let links = ip_json(node.netns(), "link show type veth");
            links.iter().filter(|port| port["master"] == link).count()
        };
        assert_eq!((master("kbr0"), master("kbr1")), (2, 2));
        for link in ["eth0", "net0"] {
            ping(one.netns(), &address(two, link));
            ping(two.netns(), &address(one, link));
        }
        for gateway in ["172.96.0.1", "172.112.88.1"] {
            pods.iter().for_each(|pod| ping(pod.netns(), gateway));
        }
        call(Verb::Del, one).ok();
        ping(two.netns(), "172.96.0.1");
        // flanneld is gone, and with it what it wrote.
        fs::remove_dir_all("/run/flannel").unwrap();
        call(Verb::Del, two).ok();
        assert_nothing_left_except_shared(&before, node, &[one, two], &["kbr0", "kbr1"]);
        call(Verb::Del, two).ok();
        // ADD again needs them, says so, and changes nothing.
        let error = call(Verb::Add, one).error();
        assert_eq!(error.code, 103);
        assert!(error.message.contains("/delegates/1/subnetFile: no such file: /run/flannel/subnet.env"), "{error:?}");
        assert_nothing_left_except_shared(&before, node, &[one, two], &["kbr0", "kbr1"]);
    });
}

#[test]
fn two_flannels_end_without_flannel_and_without_wefts_memory() {
    with_weft("two_flannels_end_without_flannel_and_without_wefts_memory", |node| {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../conf/two-flannels");
        fs::create_dir_all("/run/flannel").unwrap();
        for name in ["subnet.env", "subnet2.env"] {
            fs::copy(folder.join(name), Path::new("/run/flannel").join(name)).unwrap();
        }
        let conf = fs::read(folder.join("10-two-flannels.conf")).unwrap();
        let call = |verb, pod: &Pod| node.call(verb, "multus", &Value::Null).stdin(&conf).pod(pod).run();
        let pods = [Pod::new("one"), Pod::new("two")];
        let [one, two] = &pods;
        let before = Snapshot::take(node, &[one, two]);
        call(Verb::Add, one).ok();
        call(Verb::Add, two).ok();
        fs::remove_dir_all("/run/flannel").unwrap();
        fs::remove_dir_all("/run/weft").unwrap();
        call(Verb::Del, one).ok();
        ping(two.netns(), "172.96.0.1");
        ping(two.netns(), "172.112.88.1");
        call(Verb::Del, two).ok();
        assert_nothing_left_except_shared(&before, node, &[one, two], &["kbr0", "kbr1"]);
    });
}

#[test]
fn a_pod_whose_namespace_is_gone_gives_everything_back() {
    with_weft("a_pod_whose_namespace_is_gone_gives_everything_back", |node| {
        let pod = Pod::new("pod");
        let conf = meta(json!([bridge("a", "br0", "10.1.0.0/24"), bridge("b", "br1", "10.2.0.0/24")]));
        let before = Snapshot::take(node, &[]);
        node.cni(Verb::Add, "multus", &conf, &pod, "eth0").ok();
        pod.remove_netns();
        node.call(Verb::Del, "multus", &conf).pod(&pod).netns("").run().ok();
        assert_nothing_left_except_shared(&before, node, &[], &["br0", "br1"]);
    });
}

// --- names ---

#[test]
fn without_masterplugin_interfaces_are_named_as_multus_names_them() {
    with_weft("without_masterplugin_interfaces_are_named_as_multus_names_them", |node| {
        let pod = Pod::new("pod");
        let before = Snapshot::take(node, &[&pod]);
        let conf = meta(json!([
            bridge("a", "br0", "10.1.0.0/24"),
            bridge("b", "br1", "10.2.0.0/24"),
            bridge("c", "br2", "10.3.0.0/24")
        ]));
        let result = node.cni(Verb::Add, "multus", &conf, &pod, "eth0").ok();
        assert_eq!(links(&pod), ["eth0", "net1", "net2"]);
        for (link, prefix) in [("eth0", "10.1.0."), ("net1", "10.2.0."), ("net2", "10.3.0.")] {
            assert!(address(&pod, link).starts_with(prefix), "{link}");
        }
        assert_eq!(result["ips"][0]["address"], json!(addresses(&pod, "eth0")[0]));
        assert_eq!(result["ips"].as_array().unwrap().len(), 1, "{result}");
        node.cni(Verb::Check, "multus", &conf, &pod, "eth0").ok();
        // The same again is the same attachment.
        assert_eq!(node.cni(Verb::Add, "multus", &conf, &pod, "eth0").ok(), result);
        ip(pod.netns(), "link set net1 mtu 1400 down");
        ip(pod.netns(), "addr flush dev net2");
        let error = node.cni(Verb::Check, "multus", &conf, &pod, "eth0").error();
        assert!(error.message.contains("net1") && error.message.contains("net2"), "{error:?}");
        node.cni(Verb::Del, "multus", &conf, &pod, "eth0").ok();
        assert_nothing_left_except_shared(&before, node, &[&pod], &["br0", "br1", "br2"]);
    });
}

#[test]
fn an_interface_that_exists_is_refused_before_anything_is_done() {
    with_weft("an_interface_that_exists_is_refused_before_anything_is_done", |node| {
        recorder(node, "recorder");
        let pod = Pod::new("pod");
        ip(pod.netns(), "link add net1 type veth peer name other");
        let before = Snapshot::take(node, &[&pod]);
        for second in [json!({"name": "b", "type": "recorder"}), bridge("b", "br1", "10.2.0.0/24")] {
            let conf = meta(json!([bridge("a", "br0", "10.1.0.0/24"), second]));
            let error = node.cni(Verb::Add, "multus", &conf, &pod, "eth0").error();
            assert_eq!(error.code, 102, "{error:?}");
            assert!(error.message.contains("net1") && error.message.contains('b'), "{error:?}");
            assert!(!Path::new(HOME).join("ADD.json").exists(), "the executable ran");
            assert_nothing_left_except_shared(&before, node, &[&pod], &[]);
        }
    });
}

// --- chains and executables ---

#[test]
fn a_chain_hands_on_results_capabilities_and_arguments() {
    with_weft("a_chain_hands_on_results_capabilities_and_arguments", |node| {
        recorder(node, "recorder");
        let pod = Pod::new("pod");
        let before = Snapshot::take(node, &[&pod]);
        fs::write(
            format!("{HOME}/result.json"),
            json!({"cniVersion": "1.0.0", "ips": [{"address": "10.9.9.9/24"}], "dns": {"nameservers": ["192.0.2.53"]}})
                .to_string(),
        )
        .unwrap();
        let mut first = bridge("", "br0", "10.1.0.0/24");
        first.as_object_mut().unwrap().remove("name");
        let mut conf = meta(json!([{"name": "chain", "cniVersion": "1.0.0", "plugins": [
            first,
            {"type": "recorder", "mine": [1, 2], "capabilities": {"portMappings": true, "bandwidth": false}}]}]));
        conf["runtimeConfig"] = json!({"portMappings": [{"hostPort": 80, "containerPort": 8080, "protocol": "tcp"}],
                                       "bandwidth": {"ingressRate": 1}, "mac": "02:00:00:00:00:01"});
        let args = "IgnoreUnknown=1;K8S_POD_NAME=web";
        let call = |verb| node.call(verb, "multus", &conf).pod(&pod).ifname("eth0").args(args).run();
        let result = call(Verb::Add).ok();
        assert_eq!(result["ips"][0]["address"], "10.9.9.9/24", "the last one's result: {result}");
        assert_eq!(result["dns"]["nameservers"], json!(["192.0.2.53"]));
        assert_eq!(result["cniVersion"], "1.1.0");

        let (config, environment) = recorded("ADD");
        assert_eq!((&config["name"], &config["cniVersion"]), (&json!("chain"), &json!("1.0.0")));
        assert_eq!((&config["type"], &config["mine"]), (&json!("recorder"), &json!([1, 2])));
        assert_eq!(config["runtimeConfig"], json!({"portMappings": conf["runtimeConfig"]["portMappings"]}));
        let previous = &config["prevResult"];
        assert_eq!(previous["cniVersion"], "1.0.0");
        assert_eq!(previous["ips"][0]["address"], json!(addresses(&pod, "eth0")[0]));
        let sandboxed: Vec<&Value> =
            previous["interfaces"].as_array().unwrap().iter().filter(|i| i.get("sandbox").is_some()).collect();
        assert_eq!(sandboxed.len(), 1);
        assert_eq!((&sandboxed[0]["name"], &sandboxed[0]["sandbox"]), (&json!("eth0"), &json!("/run/netns/pod")));
        for line in [
            "CNI_COMMAND=ADD".to_owned(),
            "CNI_CONTAINERID=pod".to_owned(),
            "CNI_NETNS=/run/netns/pod".to_owned(),
            "CNI_IFNAME=eth0".to_owned(),
            format!("CNI_ARGS={args}"),
            format!("CNI_PATH={}", node.bin().display()),
        ] {
            assert!(environment.contains(&line), "no {line} in {environment:?}");
        }

        call(Verb::Check).ok();
        let (config, _) = recorded("CHECK");
        assert_eq!(config["prevResult"]["ips"][0]["address"], "10.9.9.9/24");
        call(Verb::Del).ok();
        let (config, environment) = recorded("DEL");
        assert_eq!(config["prevResult"]["ips"][0]["address"], "10.9.9.9/24", "{config}");
        assert_eq!(config["runtimeConfig"], json!({"portMappings": conf["runtimeConfig"]["portMappings"]}));
        assert!(environment.contains(&format!("CNI_ARGS={args}")), "{environment:?}");
        assert_nothing_left_except_shared(&before, node, &[&pod], &["br0"]);
    });
}

#[test]
fn del_reaches_an_executable_again_that_failed_the_first_time() {
    with_weft("del_reaches_an_executable_again_that_failed_the_first_time", |node| {
        script(
            node,
            "shy",
            "cat > /dev/null\ncase $CNI_COMMAND in\n\
             ADD) echo '{\"cniVersion\": \"1.0.0\"}' ;;\n\
             DEL) [ -e /run/lab/ready ] || { echo '{\"code\": 11, \"msg\": \"not yet\"}'; exit 1; }\n\
             touch /run/lab/deleted ;;\nesac",
        );
        let pod = Pod::new("pod");
        let before = Snapshot::take(node, &[&pod]);
        let conf =
            meta(json!([bridge("a", "br0", "10.1.0.0/24"), {"name": "b", "type": "shy", "cniVersion": "1.0.0"}]));
        node.cni(Verb::Add, "multus", &conf, &pod, "eth0").ok();
        let error = node.cni(Verb::Del, "multus", &conf, &pod, "eth0").error();
        assert_eq!(error.code, 11);
        assert!(error.message.contains("shy") && error.message.contains("not yet"), "{error:?}");
        fs::write("/run/lab/ready", "").unwrap();
        node.cni(Verb::Del, "multus", &conf, &pod, "eth0").ok();
        assert!(Path::new("/run/lab/deleted").exists());
        assert_nothing_left_except_shared(&before, node, &[&pod], &["br0"]);
    });
}

/// The reference plugin `name` under another name; None: Debian's package isn't there, which was said.
fn go_plugin(node: &Node, name: &str, under: &str) -> Option<()> {
    let path = Path::new(NATIVE).join(name);
    if !path.is_file() {
        skip_here(&format!("{} isn't there (apt-get install containernetworking-plugins)", path.display()));
        return None;
    }
    fs::copy(path, node.bin().join(under)).map(drop).ok()
}

#[test]
fn a_go_ipam_plugin_under_wefts_bridge() {
    with_weft("a_go_ipam_plugin_under_wefts_bridge", |node| {
        let Some(()) = go_plugin(node, "host-local", "go-local") else { return };
        let pod = Pod::new("pod");
        let before = Snapshot::take(node, &[&pod]);
        let mut conf = bridge("go", "br0", "10.1.0.0/24");
        conf["ipam"]["type"] = "go-local".into();
        conf["cniVersion"] = "1.0.0".into();
        conf["ipam"]["routes"] = json!([{"dst": "0.0.0.0/0"}]);
        for (plugin, conf) in [("bridge", conf.clone()), ("multus", meta(json!([conf])))] {
            let result = node.cni(Verb::Add, plugin, &conf, &pod, "eth0").ok();
            assert_eq!(result["ips"][0]["address"], json!(addresses(&pod, "eth0")[0]), "{plugin}: {result}");
            assert_eq!(result["ips"][0]["gateway"], "10.1.0.1");
            let lease = format!("/var/lib/cni/networks/go/{}", address(&pod, "eth0"));
            assert!(fs::read_to_string(&lease).unwrap().starts_with("pod"), "{lease}");
            assert_eq!(ip_json(pod.netns(), "-4 route show default")[0]["gateway"], "10.1.0.1");
            ping(pod.netns(), "10.1.0.1");
            node.cni(Verb::Check, plugin, &conf, &pod, "eth0").ok();
            node.cni(Verb::Del, plugin, &conf, &pod, "eth0").ok();
            assert!(!Path::new(&lease).exists(), "{plugin}: {lease} stayed");
            assert_nothing_left_except_shared(&before, node, &[&pod], &["br0"]);
        }
    });
}

#[test]
fn wefts_ipam_under_a_go_bridge() {
    with_weft("wefts_ipam_under_a_go_bridge", |node| {
        let Some(()) = go_plugin(node, "bridge", "go-bridge") else { return };
        let pod = Pod::new("pod");
        let before = Snapshot::take(node, &[&pod]);
        let mut conf = bridge("go", "br0", "10.1.0.0/24");
        conf["type"] = "go-bridge".into();
        conf["cniVersion"] = "1.0.0".into();
        // By itself, as a runtime calls it; and as weft's delegate, so that weft is called below weft.
        for (plugin, conf) in [("go-bridge", conf.clone()), ("multus", meta(json!([conf])))] {
            let result = node.cni(Verb::Add, plugin, &conf, &pod, "eth0").ok();
            let lease = format!("/var/lib/cni/networks/go/{}", address(&pod, "eth0"));
            assert_eq!(result["ips"][0]["address"], json!(addresses(&pod, "eth0")[0]), "{plugin}: {result}");
            assert!(fs::read_to_string(&lease).unwrap().starts_with("pod"), "{lease}");
            ping(pod.netns(), "10.1.0.1");
            if plugin == "multus" {
                node.cni(Verb::Check, plugin, &conf, &pod, "eth0").ok();
            }
            node.cni(Verb::Del, plugin, &conf, &pod, "eth0").ok();
            assert!(!Path::new(&lease).exists(), "{plugin}: {lease} stayed");
            assert_nothing_left_except_shared(&before, node, &[&pod], &["br0"]);
        }
    });
}

#[test]
fn an_executable_has_a_deadline() {
    with_weft("an_executable_has_a_deadline", |node| {
        settings(node, &json!({"nativeDeadlineSeconds": 1}));
        script(node, "slow", "cat > /dev/null\n[ $CNI_COMMAND != ADD ] || { echo $$ > /run/lab/pid; sleep 1000; }");
        let pod = Pod::new("pod");
        let before = Snapshot::take(node, &[&pod]);
        let conf = meta(json!([bridge("a", "br0", "10.1.0.0/24"), {"name": "b", "type": "slow"}]));
        let error = node.cni(Verb::Add, "multus", &conf, &pod, "eth0").error();
        assert_eq!(error.code, 11, "{error:?}");
        assert!(error.message.contains("slow") && error.message.contains("1 s"), "{error:?}");
        let process = fs::read_to_string("/run/lab/pid").unwrap();
        assert!(!Path::new("/proc").join(process.trim()).exists(), "it still runs");
        assert_nothing_left_except_shared(&before, node, &[&pod], &[]);

        settings(node, &json!({"nativePlugins": false}));
        let error = node.cni(Verb::Add, "multus", &conf, &pod, "eth0").error();
        assert_eq!(error.code, 100);
        assert!(error.message.contains("slow") && error.message.contains("nativePlugins"), "{error:?}");
        assert_nothing_left_except_shared(&before, node, &[&pod], &[]);
    });
}

#[test]
fn weft_under_another_name_is_refused() {
    with_weft("weft_under_another_name_is_refused", |node| {
        symlink("weft", node.bin().join("weave")).unwrap();
        fs::hard_link(node.bin().join("weft"), node.bin().join("woven")).unwrap();
        let pod = Pod::new("pod");
        let before = Snapshot::take(node, &[&pod]);
        for name in ["weave", "woven", "weft", "multus"] {
            let conf = meta(json!([bridge("a", "br0", "10.1.0.0/24"), {"name": "b", "type": name}]));
            let error = node.cni(Verb::Add, "multus", &conf, &pod, "eth0").error();
            assert_eq!(error.code, 100, "{error:?}");
            assert!(error.message.contains(name) && error.message.contains("is weft itself"), "{error:?}");
            assert_nothing_left_except_shared(&before, node, &[&pod], &[]);
        }
    });
}

// --- taking back ---

#[test]
fn a_delegate_that_fails_takes_those_before_it_along() {
    with_weft("a_delegate_that_fails_takes_those_before_it_along", |node| {
        script(
            node,
            "broken",
            "cat > /dev/null\n[ $CNI_COMMAND = ADD ] || exit 0\n\
             echo '{\"code\": 155, \"msg\": \"no such luck\", \"details\": \"today\"}'; exit 1",
        );
        script(node, "mumbling", "cat > /dev/null\n[ $CNI_COMMAND != ADD ] || echo 'all fine'");
        let full = "/var/lib/cni/networks/full";
        fs::create_dir_all(full).unwrap();
        fs::write(format!("{full}/10.2.0.2"), "other\r\neth0").unwrap();
        let pod = Pod::new("pod");
        let before = Snapshot::take(node, &[&pod]);
        let cases = [
            (json!({"name": "b", "type": "broken"}), 155, "no such luck"),
            (json!({"name": "b", "type": "mumbling"}), 6, "mumbling"),
            (bridge("full", "br1", "10.2.0.0/30"), 101, "host-local"),
            (json!({"name": "b", "type": "no-such-plugin"}), 100, "no-such-plugin"),
        ];
        for (second, code, word) in cases {
            // In both orders: as the last one, and with the bridge planned behind it.
            for delegates in [
                json!([bridge("a", "br0", "10.1.0.0/24"), second]),
                json!([bridge("a", "br0", "10.1.0.0/24"), second, bridge("c", "br2", "10.3.0.0/24")]),
            ] {
                let error = node.cni(Verb::Add, "multus", &meta(delegates), &pod, "eth0").error();
                assert_eq!(error.code, code, "{error:?}");
                assert!(error.message.contains(word), "{error:?}");
                assert_nothing_left_except_shared(&before, node, &[&pod], &[]);
            }
        }
    });
}

// --- the network's verbs ---

#[test]
fn gc_removes_what_the_runtime_no_longer_knows() {
    with_weft("gc_removes_what_the_runtime_no_longer_knows", |node| {
        let conf = meta(json!([bridge("a", "br0", "10.1.0.0/24"), bridge("b", "br1", "10.2.0.0/24")]));
        let other = json!({"cniVersion": "1.1.0", "name": "elsewhere", "type": "multus",
                           "delegates": [bridge("c", "br2", "10.3.0.0/24")]});
        let [kept, live, gone] = ["kept", "live", "gone"].map(Pod::new);
        let foreign = Pod::new("foreign");
        node.cni(Verb::Add, "multus", &conf, &kept, "eth0").ok();
        node.cni(Verb::Add, "multus", &other, &foreign, "eth0").ok();
        let before = Snapshot::take(node, &[&kept, &live, &foreign]);
        node.cni(Verb::Add, "multus", &conf, &live, "eth0").ok();
        node.cni(Verb::Add, "multus", &conf, &gone, "eth0").ok();
        gone.remove_netns();
        // Nobody's: left by a plugin that was killed between its lease and its end.
        fs::write("/var/lib/cni/networks/a/10.1.0.99", "nobody\r\neth0").unwrap();
        let mut gc = conf.clone();
        gc["cni.dev/valid-attachments"] = json!([{"containerID": "kept", "ifname": "eth0"}]);
        node.call(Verb::Gc, "multus", &gc).run().ok();
        assert_nothing_left_except_shared(&before, node, &[&kept, &live, &foreign], &["br0", "br1", "br2"]);
        for (pod, gateways) in [(&kept, &["10.1.0.1", "10.2.0.1"][..]), (&foreign, &["10.3.0.1"])] {
            gateways.iter().for_each(|gateway| ping(pod.netns(), gateway));
        }
        node.cni(Verb::Check, "multus", &conf, &kept, "eth0").ok();
        node.cni(Verb::Del, "multus", &conf, &gone, "eth0").ok();
        gc["cni.dev/valid-attachments"] = json!([]);
        node.call(Verb::Gc, "multus", &gc).run().ok();
        assert_eq!(links(&kept), [""; 0]);
        ping_fails(kept.netns(), "10.1.0.1");
        ping(foreign.netns(), "10.3.0.1");
    });
}

#[test]
fn status_says_what_stands_in_the_way() {
    with_weft("status_says_what_stands_in_the_way", |node| {
        script(
            node,
            "picky",
            "cat > /dev/null\n[ ! -e /run/lab/limited ] || { echo '{\"code\": 51, \"msg\": \"half\"}'; exit 1; }",
        );
        let before = Snapshot::take(node, &[]);
        let picky = json!({"name": "p", "type": "picky"});
        let conf = meta(json!([bridge("a", "br0", "10.1.0.0/24"), picky]));
        let status = |conf: &Value| node.call(Verb::Status, "multus", conf).run();
        assert_eq!(status(&conf).ok(), Value::Null);
        fs::write("/run/lab/limited", "").unwrap();
        assert_eq!(status(&conf).error().code, 51);

        let mut no_ipam = bridge("c", "br1", "10.2.0.0/24");
        no_ipam["ipam"]["type"] = "no-such-ipam".into();
        let conf = meta(json!([{"name": "b", "type": "no-such-plugin"}, no_ipam]));
        let error = status(&conf).error();
        assert_eq!(error.code, 50);
        assert!(error.message.contains("no-such-plugin") && error.message.contains("no-such-ipam"), "{error:?}");
        assert_nothing_left(&before, node, &[]);
    });
}

// --- the log ---

#[test]
fn the_log_has_a_line_a_verb_and_no_secrets() {
    with_weft("the_log_has_a_line_a_verb_and_no_secrets", |node| {
        recorder(node, "recorder");
        fs::write(format!("{HOME}/result.json"), json!({"cniVersion": "1.1.0"}).to_string()).unwrap();
        fs::create_dir_all("/run/flannel").unwrap();
        let subnet = "FLANNEL_NETWORK=10.5.0.0/16\nFLANNEL_SUBNET=10.5.1.1/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=true\n";
        fs::write("/run/flannel/subnet.env", subnet).unwrap();
        let secret = "hunter2-hunter2";
        let pod = Pod::new("pod");
        for level in ["panic", "error", "verbose", "debug"] {
            let log = format!("/run/lab/{level}.log");
            let mut conf = meta(json!([
                bridge("a", "br0", "10.1.0.0/24"),
                {"name": "b", "type": "recorder", "password": secret},
                {"name": "c", "type": "flannel", "delegate": {"bridge": "br2", "password": secret}}]));
            conf["token"] = secret.into();
            conf["logFile"] = log.as_str().into();
            conf["logLevel"] = level.into();
            conf["logToStderr"] = false.into();
            let args = format!("IgnoreUnknown=1;KEY={secret}");
            let call = |verb, conf: &Value| node.call(verb, "multus", conf).pod(&pod).args(&args).run();
            for verb in [Verb::Add, Verb::Check, Verb::Del] {
                let outcome = call(verb, &conf);
                outcome.ok();
                assert_eq!(outcome.stderr, "");
            }
            let mut wrong = conf.clone();
            wrong["delegates"][0]["ipam"]["type"] = "no-such-ipam".into();
            call(Verb::Add, &wrong).error();
            let text = fs::read_to_string(&log).unwrap_or_default();
            assert!(!text.contains(secret), "{level}: {text}");
            let lines_of = |verb: &str| {
                let lines = text.lines().filter(|line| line.contains(&format!(" {verb} network=outer ")));
                lines.map(str::to_owned).collect::<Vec<_>>()
            };
            let all = [lines_of("ADD"), lines_of("CHECK"), lines_of("DEL")];
            let expected = match level {
                "panic" => [0, 0, 0],
                "error" => [1, 0, 0],
                _ => [2, 1, 1],
            };
            assert_eq!([all[0].len(), all[1].len(), all[2].len()], expected, "{level}: {text}");
            for line in all.iter().flatten() {
                for word in ["container=pod", "ifname=eth0", "delegate=multus", "ms="] {
                    assert!(line.contains(word), "{level}: no {word} in {line}");
                }
            }
            if level == "debug" {
                assert!(text.contains("network=a ifname=eth0 delegate=bridge"), "{text}");
                assert!(text.contains("flannel: runs bridge with 10.5.1.0/24, MTU 1450"), "{text}");
            }
            if !text.is_empty() {
                assert!(text.contains("code=100") && text.contains("no-such-ipam"), "{text}");
                assert_eq!(fs::metadata(&log).unwrap().permissions().mode() & 0o777, 0o600);
            }
        }
    });
}
