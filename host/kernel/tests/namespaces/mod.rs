//! A host and a sandbox of one test's own.

#![allow(dead_code, reason = "each file of tests uses some")]
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "helpers of tests")]

use std::path::{Path, PathBuf};
use std::process::Command;

use nix::sched::{CloneFlags, setns, unshare};
use serde_json::Value;
use weft_contract::plan::PortVlan;
use weft_contract::types::{IpPrefix, LinkName, Place, Route};
use weft_executor::operation::Operation;
use weft_executor::state::{Observed, Scope};
use weft_executor::{Failure, Kernel as _};
use weft_kernel::{Netns, System};

/// A test that runs in namespaces of its own.
macro_rules! lab_test {
    ($name:ident, |$lab:ident| $body:block) => {
        #[test]
        fn $name() {
            if $crate::namespaces::enter(stringify!($name)) {
                #[allow(unused_mut, reason = "not every test changes it")]
                let mut $lab = $crate::namespaces::Lab::new();
                $body
            }
        }
    };
}

/// Whether this process is in its own namespaces; if not, the test is run in some, and its outcome is ours.
pub(crate) fn enter(test: &str) -> bool {
    if std::env::var_os("WEFT_LAB").is_some() {
        return true;
    }
    let program = std::env::current_exe().unwrap();
    let status = Command::new("unshare")
        .args(["--user", "--map-root-user", "--net", "--mount"])
        .arg(program)
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env("WEFT_LAB", "1")
        .status();
    match status {
        Ok(status) => assert!(status.success(), "{test} failed in its namespaces"),
        Err(error) => println!("SKIP: can't make namespaces with unshare: {error}"),
    }
    false
}

pub(crate) struct Lab {
    pub(crate) system: System,
    sandbox: Option<Netns>,
}

pub(crate) fn host(name: &str) -> LinkName {
    LinkName { place: Place::Host, name: name.into() }
}

pub(crate) fn sandbox(name: &str) -> LinkName {
    LinkName { place: Place::Sandbox, name: name.into() }
}

pub(crate) fn prefix(text: &str) -> IpPrefix {
    text.parse().unwrap()
}

/// A new network namespace with its loopback up.
pub(crate) fn fresh() -> Netns {
    let home = Netns::current().unwrap();
    unshare(CloneFlags::CLONE_NEWNET).unwrap();
    let fresh = Netns::current().unwrap();
    setns(&home, CloneFlags::CLONE_NEWNET).unwrap();
    fresh
}

/// Runs a program in a namespace (that of this thread where there is none given); what it printed.
pub(crate) fn run(netns: Option<&Netns>, program: &str, arguments: &[&str]) -> String {
    let call = || Command::new(program).args(arguments).output().unwrap();
    let output = match netns {
        Some(netns) => netns.inside(call).unwrap(),
        None => call(),
    };
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {error}");
    String::from_utf8(output.stdout).unwrap()
}

impl Lab {
    pub(crate) fn new() -> Self {
        let sandbox = fresh();
        // The same namespace twice: one for the system under test, one for looking past it.
        let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&std::os::fd::AsFd::as_fd(&sandbox)));
        let again = Netns::open(Path::new(&path)).unwrap().unwrap();
        assert!(again.same_as(&sandbox));
        Self { system: System::new(Some(again)), sandbox: Some(sandbox) }
    }

    pub(crate) fn without_sandbox(lab: Self) -> Self {
        drop(lab);
        Self { system: System::new(None), sandbox: None }
    }

    pub(crate) fn apply(&mut self, operations: &[Operation]) {
        self.system.apply(operations).unwrap();
    }

    pub(crate) fn refused(&mut self, operations: &[Operation]) -> Failure {
        self.system.apply(operations).unwrap_err()
    }

    pub(crate) fn observe(&mut self, links: &[LinkName]) -> Observed {
        self.system.observe(&Scope { links: links.iter().cloned().collect(), ..Scope::default() }).unwrap()
    }

    pub(crate) fn observe_routes(&mut self, place: Place) -> Vec<(LinkName, Route)> {
        self.system.observe(&Scope { routes: [place].into(), ..Scope::default() }).unwrap().routes
    }

    pub(crate) fn observe_vlans(&mut self, port: &LinkName) -> Vec<PortVlan> {
        let scope = Scope { vlan_ports: [port.clone()].into(), ..Scope::default() };
        self.system.observe(&scope).unwrap().links[port].vlans.clone()
    }

    /// Where the sandbox can be opened.
    pub(crate) fn sandbox_path(&self) -> PathBuf {
        let descriptor = std::os::fd::AsFd::as_fd(self.sandbox.as_ref().unwrap());
        format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&descriptor)).into()
    }

    pub(crate) fn netns(&self, place: Place) -> Option<&Netns> {
        if place == Place::Host { None } else { self.sandbox.as_ref() }
    }

    /// What `ip -j` says.
    pub(crate) fn ip(&self, place: Place, arguments: &[&str]) -> Value {
        let text = run(self.netns(place), "ip", &[&["-j"], arguments].concat());
        if text.trim().is_empty() { Value::Array(Vec::new()) } else { serde_json::from_str(&text).unwrap() }
    }

    /// Links, addresses and routes of both places as iproute2 shows them, one a line, without what the kernel does by
    /// itself some time after a change (carrier, link-local addresses).
    pub(crate) fn dump(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for place in [Place::Host, Place::Sandbox] {
            for link in self.ip(place, &["-d", "link"]).as_array().unwrap() {
                let flags = link["flags"].as_array().unwrap().iter().filter_map(Value::as_str);
                let flags: Vec<&str> = flags.filter(|flag| !["LOWER_UP", "NO-CARRIER"].contains(flag)).collect();
                let port = &link["linkinfo"]["info_slave_data"];
                let shown = ["ifname", "address", "mtu", "txqlen", "master"].map(|key| link[key].to_string());
                let port = [&port["hairpin"], &port["isolated"]];
                lines.push(format!("{place:?} {shown:?} {flags:?} {} {port:?}", link["linkinfo"]["info_kind"]));
            }
            for arguments in
                [&["addr"][..], &["route", "show", "table", "all"], &["-6", "route", "show", "table", "all"]]
            {
                for entry in self.ip(place, arguments).as_array().unwrap() {
                    let parts = entry["addr_info"].as_array().cloned().unwrap_or_else(|| vec![entry.clone()]);
                    lines.extend(parts.iter().map(|part| format!("{place:?} {} {part}", entry["ifname"])));
                }
            }
        }
        lines.retain(|line| !line.contains("\"fe80:") && !line.contains("\"ff00:"));
        lines
    }

    /// Whether the kernel was built without an option; unknown counts as not.
    pub(crate) fn lacks(&self, option: &str) -> bool {
        let config = Command::new("zcat").arg("/proc/config.gz").output().unwrap();
        config.status.success() && !String::from_utf8_lossy(&config.stdout).contains(&format!("\n{option}="))
    }
}
