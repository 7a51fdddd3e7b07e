//! Everything a user could find left behind, as comparable text.
//!
//! Invariant: a snapshot holds no number that changes by itself (indexes, handles, counters, timers, lifetimes, states
//! of duplicate address detection), so two snapshots differ only where somebody changed something.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::node::Node;
use super::pod::{Netns, Pod};
use super::probe::{ip_json, nft_json};

/// Directories where plugins keep state.
const STATE: [&str; 4] = ["/run/weft", "/run/cni", "/var/lib/weft", "/var/lib/cni"];

/// Per-interface settings that plugins are known to write.
const SYSCTLS: [(&str, &[&str]); 2] = [
    ("ipv4", &["arp_notify", "forwarding", "proxy_arp", "route_localnet", "rp_filter"]),
    ("ipv6", &["accept_dad", "accept_ra", "disable_ipv6", "enhanced_dad", "forwarding", "keep_addr_on_down"]),
];

/// How long a finished DEL may take to become visible: the kernel reaps namespaces and links in the background.
const SETTLING: Duration = Duration::from_secs(5);

/// State of a node and its pods at one moment: from what (`node link cni0`) to how it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    entries: BTreeMap<String, String>,
}

impl Snapshot {
    /// Looks at the node, and at the pods whose namespaces still exist.
    pub fn take(node: &Node, pods: &[&Pod]) -> Self {
        let mut snapshot = Self::default();
        snapshot.namespace("node", node.netns());
        for pod in pods {
            if pod.netns().path().exists() {
                snapshot.namespace(pod.name(), pod.netns());
            } else {
                snapshot.put(format!("{} namespace", pod.name()), "gone".to_owned());
            }
        }
        for directory in STATE {
            snapshot.files(Path::new(directory));
        }
        snapshot
    }

    /// What one has and the other hasn't, or has otherwise; a line each: `+` new, `-` gone, `~` changed.
    pub fn diff(before: &Self, after: &Self) -> Vec<String> {
        let keys: BTreeSet<&String> = before.entries.keys().chain(after.entries.keys()).collect();
        keys.into_iter()
            .filter_map(|key| match (before.entries.get(key), after.entries.get(key)) {
                (Some(old), Some(new)) if old == new => None,
                (Some(old), Some(new)) => Some(format!("~ {key}: {old} -> {new}")),
                (Some(old), None) => Some(format!("- {key}: {old}")),
                (None, Some(new)) => Some(format!("+ {key}: {new}")),
                (None, None) => None,
            })
            .collect()
    }

    /// Without what one attachment makes and others then share: `bridges` themselves with addresses, routes and
    /// settings, forwarding, directories and bookkeeping of the address store, iptables' empty built-in chains, and
    /// weft's netfilter tables but for the elements of their sets and maps and rules about a pair's end.
    #[must_use]
    pub fn ignoring_shared(&self, bridges: &[&str]) -> Self {
        let shared = |key: &str| {
            let words: Vec<&str> = key.split(' ').collect();
            match words.as_slice() {
                ["node", "link", name] => bridges.contains(name),
                ["node", "address", name, ..] | ["node", "sysctl", _, name, _] => bridges.contains(name),
                ["node", "route", rest @ ..] => bridges.iter().any(|name| rest.contains(name)),
                ["node", "nft", "table" | "chain" | "rule" | "set" | "map", _, table, ..]
                    if table.starts_with("weft") =>
                {
                    // A rule about one pair's end is that attachment's.
                    !key.contains("veth")
                }
                // What iptables and the reference plugins make once for all.
                ["node", "nft", "table", _, table] => CLASSIC.contains(table),
                ["node", "nft", "chain", _, table, chain] => CLASSIC.contains(table) && is_base_chain(chain),
                ["directory", _] => true,
                ["file", path] => is_bookkeeping(Path::new(path)),
                _ => false,
            }
        };
        // Forwarding of a family is every interface's forwarding.
        let follows_forwarding = |key: &str| key.starts_with("node sysctl ") && key.ends_with(" forwarding");
        let entries = self
            .entries
            .iter()
            .filter(|(key, _)| !shared(key) && !follows_forwarding(key))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        Self { entries }
    }

    /// Keys and values, for tests that look for one thing.
    pub fn entries(&self) -> impl Iterator<Item = (&str, &str)> {
        self.entries.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }

    fn put(&mut self, key: String, value: String) {
        // What nft can't tell apart (opaque matches of iptables) still counts.
        let mut unique = key.clone();
        let mut number = 1;
        while self.entries.contains_key(&unique) {
            number += 1;
            unique = format!("{key} #{number}");
        }
        self.entries.insert(unique, value);
    }

    fn namespace(&mut self, place: &str, netns: &Netns) {
        let mut names = vec!["all".to_owned(), "default".to_owned()];
        for link in ip_json(netns, "address show") {
            names.push(word(&link["ifname"]));
            self.link(place, &link);
        }
        for (family, option) in [("ipv4", "-4"), ("ipv6", "-6")] {
            for route in ip_json(netns, &format!("{option} route show table all")) {
                self.route(place, &route);
            }
            for rule in ip_json(netns, &format!("{option} rule show")) {
                self.put(format!("{place} rule {family} {}", word(&rule["priority"])), compact(&rule, &["priority"]));
            }
        }
        for object in nft_json(netns) {
            self.nft(place, &object);
        }
        for (key, value) in netns.run(|| sysctls(&names)) {
            self.put(format!("{place} sysctl {key}"), value);
        }
    }

    fn link(&mut self, place: &str, link: &Value) {
        let name = word(&link["ifname"]);
        let flags: Vec<String> =
            link["flags"].as_array().into_iter().flatten().map(word).filter(|flag| STABLE.contains(&&**flag)).collect();
        let info = &link["linkinfo"];
        let port = &info["info_slave_data"];
        let value = format!(
            "kind {} mtu {} mac {} master {} flags {} vlan_filtering {} hairpin {} isolated {}",
            word(&info["info_kind"]),
            word(&link["mtu"]),
            word(&link["address"]),
            word(&link["master"]),
            flags.join(","),
            word(&info["info_data"]["vlan_filtering"]),
            word(&port["hairpin"]),
            word(&port["isolated"]),
        );
        self.put(format!("{place} link {name}"), value);
        for address in link["addr_info"].as_array().into_iter().flatten() {
            if address["scope"] == "link" && address["family"] == "inet6" {
                continue;
            }
            self.put(
                format!("{place} address {name} {}/{}", word(&address["local"]), word(&address["prefixlen"])),
                format!("scope {}", word(&address["scope"])),
            );
        }
    }

    fn route(&mut self, place: &str, route: &Value) {
        // The kernel's own: link-local and multicast come and go with carrier, anycast with forwarding.
        let derived =
            route["type"] == "multicast" || route["type"] == "anycast" || word(&route["dst"]).starts_with("fe80:");
        if derived && route["protocol"] == "kernel" {
            return;
        }
        let table = route.get("table").map_or_else(|| "main".to_owned(), word);
        let key = format!("{place} route {table} {} dev {}", word(&route["dst"]), word(&route["dev"]));
        self.put(key, compact(route, &["table", "dst", "dev", "flags", "expires"]));
    }

    fn nft(&mut self, place: &str, object: &Value) {
        let Some((kind, fields)) = object.as_object().and_then(|object| object.iter().next()) else { return };
        let (family, name) = (word(&fields["family"]), word(&fields["name"]));
        let table = if kind == "table" { name.clone() } else { word(&fields["table"]) };
        let key = match kind.as_str() {
            "table" => format!("{place} nft table {family} {table}"),
            "rule" => {
                format!("{place} nft rule {family} {table} {} {}", word(&fields["chain"]), compact(fields, RULE_KEY))
            }
            _ => format!("{place} nft {kind} {family} {table} {name}"),
        };
        let value = if kind == "rule" {
            String::new()
        } else {
            compact(fields, &["family", "table", "name", "handle", "elem"])
        };
        self.put(key, value);
        for element in fields["elem"].as_array().into_iter().flatten() {
            let element = compact(element, &["expires", "counter"]);
            self.put(format!("{place} nft element {family} {table} {name} {element}"), String::new());
        }
    }

    fn files(&mut self, path: &Path) {
        let Ok(metadata) = fs::symlink_metadata(path) else { return };
        if metadata.is_dir() {
            self.put(format!("directory {}", path.display()), String::new());
            let mut children: Vec<_> = fs::read_dir(path).into_iter().flatten().flatten().map(|e| e.path()).collect();
            children.sort();
            children.iter().for_each(|child| self.files(child));
        } else {
            let contents = fs::read(path).unwrap_or_default();
            let shown: String = String::from_utf8_lossy(&contents).chars().take(400).collect();
            self.put(format!("file {}", path.display()), format!("{shown:?}"));
        }
    }
}

/// Link flags that somebody set, as opposed to those the kernel derives.
const STABLE: [&str; 5] = ["UP", "PROMISC", "ALLMULTI", "NOARP", "LOOPBACK"];

/// Tables that iptables and ebtables would make.
const CLASSIC: [&str; 4] = ["filter", "mangle", "nat", "raw"];

/// Whether iptables names its built-in chains like this.
fn is_base_chain(name: &str) -> bool {
    ["PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"].contains(&name)
}

/// Fields of a rule that don't tell what it does.
const RULE_KEY: &[&str] = &["family", "table", "chain", "handle", "counter", "index"];

/// Files that outlive attachments: the address stores' locks, the search's memory, the boot they are of and what a killed
/// process was writing (the next one clears it away), and weft's records of shared objects.
fn is_bookkeeping(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name == "lock"
        || name == ".weft-boot"
        || name == ".weft-tmp"
        || name.ends_with(".lock")
        || name.starts_with("last_reserved_ip")
        || path.parent() == Some(Path::new("/run/weft/shared"))
}

/// A JSON scalar without quotes; `-` for what isn't there.
fn word(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// JSON on one line, without the fields named, at any depth.
fn compact(value: &Value, without: &[&str]) -> String {
    fn strip(value: &Value, without: &[&str]) -> Value {
        match value {
            Value::Object(fields) => Value::Object(
                fields
                    .iter()
                    .filter(|(name, _)| !without.contains(&name.as_str()))
                    .map(|(name, value)| (name.clone(), strip(value, without)))
                    .collect(),
            ),
            Value::Array(items) => Value::Array(items.iter().map(|item| strip(item, without)).collect()),
            other => other.clone(),
        }
    }
    strip(value, without).to_string()
}

/// Settings of the namespace of the calling thread.
fn sysctls(names: &[String]) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut look = |key: String, path: String| {
        if let Ok(value) = fs::read_to_string(path) {
            found.push((key, value.trim().to_owned()));
        }
    };
    look("ipv4 forwarding".to_owned(), "/proc/sys/net/ipv4/ip_forward".to_owned());
    for (family, settings) in SYSCTLS {
        for name in names {
            for setting in settings {
                look(format!("{family} {name} {setting}"), format!("/proc/sys/net/{family}/conf/{name}/{setting}"));
            }
        }
    }
    found
}

/// Waits until nothing differs from `before`.
///
/// # Panics
/// With the differences, if they stay.
#[track_caller]
pub fn assert_nothing_left(before: &Snapshot, node: &Node, pods: &[&Pod]) {
    settle("", || Snapshot::diff(before, &Snapshot::take(node, pods)));
}

/// [`assert_nothing_left`], but for what attachments share (see [`Snapshot::ignoring_shared`]).
#[track_caller]
pub fn assert_nothing_left_except_shared(before: &Snapshot, node: &Node, pods: &[&Pod], bridges: &[&str]) {
    let before = before.ignoring_shared(bridges);
    settle("", || Snapshot::diff(&before, &Snapshot::take(node, pods).ignoring_shared(bridges)));
}

/// Waits until there is no difference. `about` says what was done.
#[track_caller]
pub(super) fn settle(about: &str, difference: impl Fn() -> Vec<String>) {
    let deadline = Instant::now() + SETTLING;
    loop {
        let difference = difference();
        if difference.is_empty() {
            return;
        }
        assert!(Instant::now() < deadline, "{about} left behind:\n  {}", difference.join("\n  "));
    }
}
