//! Real container runtimes from Debian packages, each inside a lab of its own.
//!
//! Owns: containerd and podman with their configuration, storage and root file system on the lab's private `/run`, and
//! the directories that runtimes have wired in (`/etc/cni/net.d`, `/opt/cni/bin`) in the lab's mount namespace.
//!
//! Invariant: nothing outlives a test. Processes end with the lab's PID namespace, mounts and links with theirs, and
//! control groups lie under one parent, removed from outside.

mod containerd;
mod podman;

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;
use std::{fs, thread};

use nix::mount::{MsFlags, mount};
use serde_json::{Value, json};

use crate::lab::{self, HOME, Netns, Node, Pod, Privilege, Snapshot};

pub use containerd::Containerd;
pub use podman::Podman;

/// What a test needs, and the Debian package it comes from.
const PROGRAMS: [(&str, &str); 8] = [
    ("/usr/bin/containerd", "containerd"),
    ("/usr/bin/ctr", "containerd"),
    ("/usr/sbin/runc", "runc"),
    ("/usr/bin/podman", "podman"),
    ("/usr/bin/conmon", "conmon"),
    ("/usr/bin/busybox", "busybox-static"),
    ("/usr/lib/cni/portmap", "containernetworking-plugins"),
    ("/usr/lib/python3/dist-packages/grpc", "python3-grpcio"),
];

/// The commands inside containers.
const APPLETS: [&str; 10] = ["cat", "httpd", "ip", "ls", "mkdir", "nc", "ping", "sh", "sleep", "wget"];

/// Runs `body` as root in namespaces of its own, with a node, an outside and what containers need; skips, loudly, where
/// that can't be. For `test` see [`lab::isolated`].
pub fn isolated(test: &str, body: impl FnOnce(&Site)) {
    if !lab::is_inside() {
        if !nix::unistd::geteuid().is_root() {
            return lab::skip(test, "real runtimes need root");
        }
        if let Some((path, package)) = PROGRAMS.iter().find(|(path, _)| !Path::new(path).exists()) {
            return lab::skip(test, &format!("no {path}: apt-get install {package}"));
        }
        if !Path::new("/etc/cni").is_dir() {
            return lab::skip(test, "no directory /etc/cni to put a private one over");
        }
    }
    let _control_groups = (!lab::is_inside()).then_some(ControlGroups);
    lab::isolated_with(Privilege::Root, test, |node| body(&Site::new(node)));
}

/// Removes, when dropped, the control groups of this lab: they are the machine's and don't end with a namespace.
struct ControlGroups;

impl ControlGroups {
    fn parent() -> String {
        format!("/weft-lab-{}", lab::number())
    }
}

impl Drop for ControlGroups {
    fn drop(&mut self) {
        fn remove(directory: &Path) {
            for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
                if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    remove(&entry.path());
                }
            }
            let _ = fs::remove_dir(directory);
        }
        let root = Path::new("/sys/fs/cgroup");
        let name = Self::parent();
        let name = name.trim_start_matches('/');
        remove(&root.join(name));
        for controller in fs::read_dir(root).into_iter().flatten().flatten() {
            let group = controller.path().join(name);
            if group.is_dir() {
                remove(&group);
            }
        }
    }
}

/// Where runtimes run: a node with an outside, the plugins under test and Debian's portmap.
#[derive(Debug)]
pub struct Site<'lab> {
    node: &'lab Node,
    outside: Pod,
    rootfs: PathBuf,
}

impl<'lab> Site<'lab> {
    fn new(node: &'lab Node) -> Self {
        node.add_native("portmap");
        mount(Some("lab"), "/opt", Some("tmpfs"), MsFlags::empty(), Some("mode=0755")).expect("tmpfs on /opt");
        for directory in ["/opt/cni/bin", "/etc/cni/net.d", "/run/lab/logs", "/run/lab/tmp"] {
            fs::create_dir_all(directory).expect(directory);
        }
        mount(Some(node.bin()), "/opt/cni/bin", None::<&str>, MsFlags::MS_BIND, None::<&str>)
            .expect("the plugin directory where runtimes look for it");
        let rootfs = Path::new(HOME).join("rootfs");
        for directory in ["bin", "dev", "etc", "proc", "run", "sys", "tmp", "www"] {
            fs::create_dir_all(rootfs.join(directory)).expect(directory);
        }
        fs::copy("/usr/bin/busybox", rootfs.join("bin/busybox")).expect("busybox");
        for applet in APPLETS {
            symlink("busybox", rootfs.join("bin").join(applet)).expect(applet);
        }
        fs::write(rootfs.join("www/index.html"), GREETING).expect("a page");
        Self { node, outside: node.outside(), rootfs }
    }

    /// The node that the runtimes run on.
    pub fn node(&self) -> &Node {
        self.node
    }

    /// A namespace beyond the node: the node is 192.0.2.1 for it.
    pub fn outside(&self) -> &Netns {
        self.outside.netns()
    }

    /// A root file system with busybox and [`GREETING`] under `/www`.
    pub fn rootfs(&self) -> &Path {
        &self.rootfs
    }

    /// Parent of all control groups of containers.
    pub fn control_group(&self) -> String {
        ControlGroups::parent()
    }

    /// A configuration list of a bridge of that name with the pool 10.`net`.0.0/24, and Debian's portmap.
    ///
    /// weft masquerades. The reference bridge isn't asked to: its DEL after the end of a namespace leaves the rules.
    pub fn network(&self, name: &str, version: &str, bridge: &str, net: u8) -> Value {
        json!({"cniVersion": version, "name": name, "plugins": [
            {"type": "bridge", "bridge": bridge, "isDefaultGateway": true, "hairpinMode": true,
             "ipMasq": self.node.is_weft(),
             "ipam": {"type": "host-local", "ranges": [[{"subnet": format!("10.{net}.0.0/24")}]]}},
            {"type": "portmap", "capabilities": {"portMappings": true}},
        ]})
    }

    /// The node and the names of all namespaces, to be compared once a runtime is done.
    pub fn traces(&self) -> Traces {
        Traces { snapshot: Snapshot::take(self.node, &[]), namespaces: namespaces() }
    }

    /// Waits until everything is as in `before`, but for what attachments share on `bridges`.
    #[track_caller]
    pub fn assert_no_traces(&self, before: &Traces, bridges: &[&str]) {
        lab::assert_nothing_left_except_shared(&before.snapshot, self.node, &[], bridges);
        assert_eq!(before.namespaces, namespaces(), "network namespaces left");
    }
}

/// See [`Site::traces`].
#[derive(Debug)]
pub struct Traces {
    snapshot: Snapshot,
    namespaces: Vec<String>,
}

fn namespaces() -> Vec<String> {
    let mut names: Vec<String> = ["/run/netns", "/run/netns/cni"]
        .iter()
        .flat_map(fs::read_dir)
        .flatten()
        .flatten()
        .map(|entry| entry.path().display().to_string())
        .collect();
    names.sort();
    names
}

/// What the containers' web server says.
pub const GREETING: &str = "hello from the pod\n";

/// What starts that web server.
pub const SERVER: [&str; 6] = ["/bin/httpd", "-f", "-p", "80", "-h", "/www"];

/// Asks for a page over HTTP.
///
/// # Errors
/// Whatever the client met.
pub fn http(from: &Netns, server: SocketAddr) -> io::Result<String> {
    from.run(|| {
        let mut stream = TcpStream::connect_timeout(&server, Duration::from_millis(500))?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        stream.write_all(b"GET /index.html HTTP/1.0\r\n\r\n")?;
        let mut page = String::new();
        stream.read_to_string(&mut page)?;
        Ok(page)
    })
}

/// Asks until the page is there.
#[track_caller]
pub fn serves(from: &Netns, server: &str) {
    let address: SocketAddr = server.parse().expect("address and port");
    lab::eventually(&format!("a page from {server}"), || {
        http(from, address).is_ok_and(|page| page.contains(GREETING.trim()))
    });
}

/// Runs a command to its end; it has to succeed. Returns what it printed.
#[track_caller]
fn must(command: &mut Command) -> String {
    let output = output(command);
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

fn output(command: &mut Command) -> Output {
    command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

/// On a failed test, shows a runtime's log.
fn show_log_if_failing(path: &Path) {
    if thread::panicking() {
        let log = fs::read_to_string(path).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        eprintln!("end of {}:\n{}", path.display(), lines[lines.len().saturating_sub(40)..].join("\n"));
    }
}
