//! containerd: `ctr run --cni`, and pods through the Container Runtime Interface.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use serde_json::Value;

use super::{SERVER, Site, must, output, show_log_if_failing};
use crate::lab::{HOME, eventually};

const IMAGE: &str = "localhost/lab/sandbox:1";

/// A running containerd; ends when dropped.
#[derive(Debug)]
pub struct Containerd<'lab> {
    site: &'lab Site<'lab>,
    process: Child,
    socket: PathBuf,
    log: PathBuf,
}

impl<'lab> Containerd<'lab> {
    /// Starts containerd with root and state of its own, and the one network `list`.
    pub fn start(site: &'lab Site<'lab>, list: &Value) -> Self {
        fs::write("/etc/cni/net.d/10-lab.conflist", list.to_string()).expect("the network's configuration");
        let home = Path::new(HOME).join("containerd");
        fs::create_dir_all(&home).expect("containerd's directory");
        let (socket, log, file) = (home.join("socket"), home.join("log"), home.join("config.toml"));
        let config = format!(
            r#"
            version = 2
            root = "{home}/root"
            state = "{home}/state"
            [grpc]
              address = "{home}/socket"
            [plugins."io.containerd.internal.v1.opt"]
              path = "{home}/opt"
            [plugins."io.containerd.grpc.v1.cri"]
              sandbox_image = "{IMAGE}"
              disable_apparmor = true
              restrict_oom_score_adj = true
              [plugins."io.containerd.grpc.v1.cri".cni]
                bin_dir = "/opt/cni/bin"
                conf_dir = "/etc/cni/net.d"
                max_conf_num = 1
            "#,
            home = home.display()
        );
        fs::write(&file, config).expect("containerd's configuration");
        let output = File::create(&log).expect("containerd's log");
        let process = Command::new("containerd")
            .arg("-c")
            .arg(&file)
            .stdout(output.try_clone().expect("containerd's log"))
            .stderr(output)
            .spawn()
            .expect("containerd starts");
        let containerd = Self { site, process, socket, log };
        eventually("containerd answers", || {
            containerd.ctr(&["version"]).output().is_ok_and(|end| end.status.success())
        });
        containerd
    }

    /// Runs a shell command in a container with `ctr run --cni`, to its end; returns what it printed. By then DEL was
    /// sent, with an empty `CNI_NETNS`.
    #[track_caller]
    pub fn run(&self, name: &str, script: &str) -> String {
        let group = format!("{}/{name}", self.site.control_group());
        let mut command = self.ctr(&["run", "--rm", "--cni", "--cgroup", &group, "--rootfs"]);
        must(command.arg(self.site.rootfs()).args([name, "/bin/sh", "-c", script]))
    }

    /// Gives the runtime interface the image of its sandboxes, which serves the greeting on port 80.
    pub fn import_sandbox_image(&self) {
        let archive = Path::new(HOME).join("sandbox.tar");
        must(script("image.py").arg(self.site.rootfs()).arg(IMAGE).arg(&archive).args(SERVER));
        must(self.ctr(&["-n", "k8s.io", "images", "import"]).arg(archive));
        eventually("the sandbox image is known", || {
            self.cri(&["image", IMAGE]).output().is_ok_and(|o| o.status.success())
        });
        eventually("the network is ready", || self.cri(&["ready"]).output().is_ok_and(|o| o.status.success()));
    }

    /// RunPodSandbox, with `HOST:CONTAINER` ports if any; the sandbox' id.
    #[track_caller]
    pub fn run_sandbox(&self, name: &str, port: Option<&str>) -> String {
        let group = self.site.control_group();
        must(self.cri(&["run", name, &group]).args(port))
    }

    /// RunPodSandbox that has to fail; what the runtime said.
    #[track_caller]
    pub fn run_sandbox_fails(&self, name: &str) -> String {
        let end = output(&mut self.cri(&["run", name, &self.site.control_group()]));
        assert!(!end.status.success(), "{name} should not have started");
        String::from_utf8_lossy(&end.stderr).into_owned()
    }

    /// PodSandboxStatus: `{"ready", "ip", "more"}`.
    #[track_caller]
    pub fn sandbox(&self, id: &str) -> Value {
        serde_json::from_str(&must(&mut self.cri(&["status", id]))).expect("JSON")
    }

    /// StopPodSandbox: DEL with the namespace.
    #[track_caller]
    pub fn stop_sandbox(&self, id: &str) {
        must(&mut self.cri(&["stop", id]));
    }

    /// RemovePodSandbox: DEL again, with an empty `CNI_NETNS`.
    #[track_caller]
    pub fn remove_sandbox(&self, id: &str) {
        must(&mut self.cri(&["remove", id]));
    }

    fn ctr(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("ctr");
        command.arg("-a").arg(&self.socket).args(arguments);
        command
    }

    fn cri(&self, arguments: &[&str]) -> Command {
        let mut command = script("cri.py");
        command.arg(&self.socket).args(arguments);
        command
    }
}

impl Drop for Containerd<'_> {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        show_log_if_failing(&self.log);
    }
}

/// A script beside these sources, under Debian's interpreter: the one with the package's modules.
fn script(name: &str) -> Command {
    let mut command = Command::new("/usr/bin/python3");
    command.arg("-B").arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("cri").join(name));
    command
}
