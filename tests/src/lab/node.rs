//! A node: this process' network namespace and a plugin directory; single CNI calls on it.

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use serde_json::Value;

use super::plugins::{NATIVE, Plugins};
use super::pod::{Netns, Pod};
use super::{HOME, skip_here, text};

/// `CNI_COMMAND`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// ADD
    Add,
    /// DEL
    Del,
    /// CHECK
    Check,
    /// GC
    Gc,
    /// STATUS
    Status,
    /// VERSION
    Version,
}

impl Verb {
    fn name(self) -> &'static str {
        match self {
            Self::Add => "ADD",
            Self::Del => "DEL",
            Self::Check => "CHECK",
            Self::Gc => "GC",
            Self::Status => "STATUS",
            Self::Version => "VERSION",
        }
    }

    /// Whether the call is about one attachment.
    fn is_of_attachment(self) -> bool {
        matches!(self, Self::Add | Self::Del | Self::Check)
    }
}

/// A node of the lab.
#[derive(Debug)]
pub struct Node {
    plugins: Plugins,
    bin: PathBuf,
    netns: Netns,
}

impl Node {
    /// A node whose plugin directory holds `plugins`.
    pub fn new(plugins: Plugins) -> Self {
        let bin = Path::new(HOME).join("bin");
        plugins.install(&bin);
        Self { plugins, bin, netns: Netns::own() }
    }

    /// The plugins under test.
    pub fn plugins(&self) -> &Plugins {
        &self.plugins
    }

    /// Whether weft is under test.
    pub fn is_weft(&self) -> bool {
        self.plugins.are_weft()
    }

    /// Whether weft is under test; if not, says that `what` is left out.
    pub fn only_weft(&self, what: &str) -> bool {
        if !self.is_weft() {
            skip_here(&format!("only weft is asked for {what}"));
        }
        self.is_weft()
    }

    /// The plugin directory.
    pub fn bin(&self) -> &Path {
        &self.bin
    }

    /// The node's network namespace.
    pub fn netns(&self) -> &Netns {
        &self.netns
    }

    /// Puts the reference plugin `name` into the plugin directory, unless the directory already has one of that name.
    pub fn add_native(&self, name: &str) {
        let target = self.bin.join(name);
        if !target.exists() {
            let from = Path::new(NATIVE).join(name);
            std::fs::copy(&from, target).unwrap_or_else(|error| panic!("{}: {error}", from.display()));
        }
    }

    /// One call, for `pod`'s namespace and container id, as libcni makes it.
    pub fn cni(&self, verb: Verb, plugin: &str, conf: &Value, pod: &Pod, ifname: &str) -> Outcome {
        self.call(verb, plugin, conf).pod(pod).ifname(ifname).run()
    }

    /// A call to be completed: without an attachment until [`Call::pod`].
    pub fn call(&self, verb: Verb, plugin: &str, conf: &Value) -> Call {
        Call {
            verb,
            plugin: plugin.to_owned(),
            conf: serde_json::to_vec(conf).expect("JSON"),
            path: self.bin.clone().into_os_string(),
            container: String::new(),
            netns: OsString::new(),
            ifname: "eth0".to_owned(),
            args: String::new(),
            variables: Vec::new(),
        }
    }

    /// A namespace outside the node, linked to it: the node is 192.0.2.1/24 and 2001:db8:ffff::1/64 on `uplink`, the
    /// other side is `.2` on `eth0` and has no route to any pod.
    pub fn outside(&self) -> Pod {
        let pod = Pod::new("outside");
        let path = pod.netns().path().display().to_string();
        for line in [
            format!("link add uplink type veth peer name eth0 netns {path}"),
            // No link-local address: it would appear some time after the call.
            "link set uplink addrgenmode none".to_owned(),
            "addr add 192.0.2.1/24 dev uplink".to_owned(),
            "addr add 2001:db8:ffff::1/64 dev uplink nodad".to_owned(),
            "link set uplink up".to_owned(),
        ] {
            super::ip(&self.netns, &line);
        }
        for line in [
            "addr add 192.0.2.2/24 dev eth0",
            "addr add 2001:db8:ffff::2/64 dev eth0 nodad",
            "link set eth0 up",
            "link set lo up",
        ] {
            super::ip(pod.netns(), line);
        }
        pod
    }
}

/// One call of a plugin.
#[derive(Clone, Debug)]
pub struct Call {
    verb: Verb,
    plugin: String,
    conf: Vec<u8>,
    path: OsString,
    container: String,
    netns: OsString,
    ifname: String,
    args: String,
    variables: Vec<(String, String)>,
}

impl Call {
    /// Container id and namespace of `pod`.
    #[must_use]
    pub fn pod(self, pod: &Pod) -> Self {
        self.container(pod.name()).netns(pod.netns().path())
    }

    /// `CNI_CONTAINERID`.
    #[must_use]
    pub fn container(mut self, id: &str) -> Self {
        id.clone_into(&mut self.container);
        self
    }

    /// `CNI_NETNS`; `""` as runtimes send it after the namespace is gone.
    #[must_use]
    pub fn netns(mut self, path: impl Into<OsString>) -> Self {
        self.netns = path.into();
        self
    }

    /// `CNI_IFNAME`; without this call `eth0`.
    #[must_use]
    pub fn ifname(mut self, name: &str) -> Self {
        name.clone_into(&mut self.ifname);
        self
    }

    /// `CNI_ARGS`.
    #[must_use]
    pub fn args(mut self, args: &str) -> Self {
        args.clone_into(&mut self.args);
        self
    }

    /// `CNI_PATH`; the plugin itself is looked for there too.
    #[must_use]
    pub fn path(mut self, path: impl Into<OsString>) -> Self {
        self.path = path.into();
        self
    }

    /// The bytes on standard input, instead of the configuration.
    #[must_use]
    pub fn stdin(mut self, bytes: &[u8]) -> Self {
        self.conf = bytes.to_vec();
        self
    }

    /// One more variable, e.g. `WEFT_FAULT`.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Starts the plugin and waits for its end.
    pub fn run(&self) -> Outcome {
        self.end(self.start())
    }

    /// Starts the plugin and kills it (SIGKILL) after a time, if it hasn't ended by then.
    pub fn run_killed_after(&self, time: Duration) -> Outcome {
        let mut child = self.start();
        std::thread::sleep(time);
        let _ = child.kill();
        self.end(child)
    }

    fn start(&self) -> Child {
        let program = std::env::split_paths(&self.path)
            .map(|directory| directory.join(&self.plugin))
            .find(|file| file.is_file())
            .unwrap_or_else(|| panic!("no plugin {} in {}", self.plugin, self.path.display()));
        let mut command = Command::new(program);
        for (name, _) in std::env::vars_os() {
            if name.as_encoded_bytes().starts_with(b"CNI_") {
                command.env_remove(name);
            }
        }
        command.env("CNI_COMMAND", self.verb.name()).env("CNI_PATH", &self.path);
        if self.verb.is_of_attachment() {
            command
                .env("CNI_CONTAINERID", &self.container)
                .env("CNI_NETNS", &self.netns)
                .env("CNI_IFNAME", &self.ifname)
                .env("CNI_ARGS", &self.args);
        }
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", self.plugin));
        // A plugin may refuse by its environment alone and end before it reads.
        let _ = std::io::Write::write_all(&mut child.stdin.take().expect("its standard input"), &self.conf);
        child
    }

    fn end(&self, child: Child) -> Outcome {
        let output = child.wait_with_output().expect("the plugin's end");
        Outcome {
            what: format!("{} {} {} {}", self.verb.name(), self.plugin, self.container, self.ifname),
            status: output.status,
            stdout: text(&output.stdout).into_owned(),
            stderr: text(&output.stderr).into_owned(),
        }
    }
}

/// How a call ended.
#[derive(Clone, Debug)]
pub struct Outcome {
    what: String,
    /// The process' end.
    pub status: ExitStatus,
    /// What it printed: a result or an error.
    pub stdout: String,
    /// What it said beside that.
    pub stderr: String,
}

/// A CNI error object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CniError {
    /// `code`
    pub code: u64,
    /// `msg`, and `details` after a colon if there are any.
    pub message: String,
}

impl Outcome {
    /// Whether SIGKILL ended it.
    pub fn was_killed(&self) -> bool {
        std::os::unix::process::ExitStatusExt::signal(&self.status) == Some(9)
    }

    /// Whether the plugin said so.
    pub fn succeeded(&self) -> bool {
        self.status.success()
    }

    /// What was printed, as JSON; null if nothing was.
    pub fn json(&self) -> Value {
        if self.stdout.trim().is_empty() {
            return Value::Null;
        }
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("not JSON ({error}): {self}"))
    }

    /// The result of a call that has to succeed.
    #[track_caller]
    pub fn ok(&self) -> Value {
        assert!(self.succeeded(), "{self}");
        self.json()
    }

    /// The error of a call that has to fail.
    #[track_caller]
    pub fn error(&self) -> CniError {
        assert!(!self.succeeded(), "should have failed: {self}");
        let error = self.json();
        let part = |key: &str| error[key].as_str().unwrap_or_default().to_owned();
        let (message, details) = (part("msg"), part("details"));
        CniError {
            code: error["code"].as_u64().unwrap_or_else(|| panic!("no error code: {self}")),
            message: if details.is_empty() { message } else { format!("{message}: {details}") },
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}\nstdout: {}\nstderr: {}", self.what, self.status, self.stdout.trim(), self.stderr.trim())
    }
}
