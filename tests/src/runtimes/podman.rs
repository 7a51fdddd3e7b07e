//! podman with its CNI back end.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::{Site, must};
use crate::lab::HOME;

/// podman with storage and networks of its own. Containers left over end with the lab.
#[derive(Debug)]
pub struct Podman<'lab> {
    site: &'lab Site<'lab>,
    home: PathBuf,
}

impl<'lab> Podman<'lab> {
    /// Writes podman's configuration, with these networks; the first is the default.
    pub fn new(site: &'lab Site<'lab>, networks: &[Value]) -> Self {
        let home = Path::new(HOME).join("podman");
        let place = home.display();
        fs::create_dir_all(home.join("net.d")).expect("podman's directory");
        let name = |network: &Value| network["name"].as_str().expect("a network's name").to_owned();
        for network in networks {
            let file = home.join("net.d").join(format!("{}.conflist", name(network)));
            fs::write(file, network.to_string()).expect("the network's configuration");
        }
        // Limits as low as runc can always set them.
        let containers = format!(
            r#"
            [network]
            network_backend = "cni"
            cni_plugin_dirs = ["{bin}"]
            network_config_dir = "{place}/net.d"
            default_network = "{default}"
            [engine]
            cgroup_manager = "cgroupfs"
            events_logger = "file"
            runtime = "runc"
            tmp_dir = "{place}/tmp"
            [containers]
            pids_limit = 0
            default_ulimits = ["nofile=4096:4096", "nproc=4096:4096"]
            "#,
            bin = site.node().bin().display(),
            default = name(&networks[0]),
        );
        fs::write(home.join("containers.conf"), containers).expect("podman's configuration");
        let storage = format!("[storage]\ndriver = \"vfs\"\ngraphroot = \"{place}/root\"\nrunroot = \"{place}/run\"\n");
        fs::write(home.join("storage.conf"), storage).expect("podman's configuration");
        Self { site, home }
    }

    /// Any command of podman's; it has to succeed. Returns what it printed.
    #[track_caller]
    pub fn command(&self, arguments: &[&str]) -> String {
        must(self.podman().args(arguments))
    }

    /// `podman run -d` of a container on a network.
    #[track_caller]
    pub fn run(&self, name: &str, network: &str, options: &[&str], command: &[&str]) {
        let mut podman = self.podman();
        podman.args(["run", "--detach", "--name", name, "--network", network]);
        podman.args(["--cgroup-parent", &self.site.control_group()]).args(options);
        must(podman.arg("--rootfs").arg(self.site.rootfs()).args(command));
    }

    /// Runs a shell command in a running container.
    #[track_caller]
    pub fn exec(&self, name: &str, script: &str) -> String {
        self.command(&["exec", name, "/bin/sh", "-c", script])
    }

    /// `podman rm`, killing the container.
    #[track_caller]
    pub fn remove(&self, name: &str) {
        self.command(&["rm", "--force", "--time", "0", name]);
    }

    fn podman(&self) -> Command {
        let mut command = Command::new("podman");
        command
            .env("CONTAINERS_CONF", self.home.join("containers.conf"))
            .env("CONTAINERS_STORAGE_CONF", self.home.join("storage.conf"))
            .env("TMPDIR", Path::new(HOME).join("tmp"))
            .env_remove("XDG_RUNTIME_DIR");
        command
    }
}
