//! Who is measured, with which configuration. Each has a bridge, a subnet and a folder of leases of its own, so that none
//! sees what another left.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::call::{Call, with_result};
use super::lab;

/// Where addresses are kept: within what weft allows a configuration to name, on the bench's own file system.
const LEASES: &str = "/var/lib/cni/bench";

pub(super) const WEFT: &str = "weft";
pub(super) const GO: &str = "go";
pub(super) const FLOOR: &str = "floor";
/// Where Debian keeps the Go plugins.
pub(super) const GO_PLUGINS: &str = "/usr/lib/cni";

/// A program with the configuration it is called with.
pub(super) struct Competitor {
    pub(super) name: &'static str,
    program: PathBuf,
    plugins: OsString,
    configuration: Value,
    file: PathBuf,
    scratch: PathBuf,
}

/// An attachment that was made, as needed to remove it.
pub(super) struct Attached {
    container: String,
    netns: PathBuf,
    configuration: PathBuf,
    pub(super) result: Vec<u8>,
}

impl Competitor {
    /// bridge and host-local by the program.
    pub(super) fn bridge(name: &'static str, program: PathBuf, plugins: &Path, scratch: &Path) -> Result<Self> {
        let subnet = match name {
            WEFT => "10.91.0.0/16",
            GO => "10.92.0.0/16",
            _ => "10.93.0.0/16",
        };
        let configuration = json!({
            "cniVersion": "1.0.0", "name": format!("bench-{name}"), "type": "bridge", "bridge": format!("bench-{name}"),
            "isGateway": true,
            "ipam": {
                "type": "host-local", "dataDir": LEASES, "subnet": subnet,
                "routes": [{"dst": "0.0.0.0/0"}],
            },
        });
        Self::new(name, program, plugins.into(), configuration, scratch)
    }

    pub(super) fn new(
        name: &'static str,
        program: PathBuf,
        plugins: OsString,
        configuration: Value,
        scratch: &Path,
    ) -> Result<Self> {
        let network = configuration["name"].as_str().unwrap_or(name);
        let file = scratch.join(format!("{name}-{network}.json"));
        std::fs::write(&file, configuration.to_string()).with_context(|| format!("write {}", file.display()))?;
        Ok(Self { name, program, plugins, configuration, file, scratch: scratch.to_path_buf() })
    }

    fn call<'a>(&'a self, command: &'a str, container: &'a str, netns: &'a Path, configuration: &'a Path) -> Call<'a> {
        Call { program: &self.program, plugins: &self.plugins, command, container, netns, configuration }
    }

    pub(super) fn add(&self, container: &str, netns: &Path) -> Result<(Duration, Attached)> {
        let (took, result) = self.call("ADD", container, netns, &self.file).run()?;
        let to = self.scratch.join(format!("{container}.del.json"));
        let configuration = with_result(&self.configuration, &result, &to)?;
        Ok((took, Attached { container: container.to_owned(), netns: netns.to_path_buf(), configuration, result }))
    }

    pub(super) fn del(&self, attached: &Attached) -> Result<Duration> {
        let (took, _) = self.call("DEL", &attached.container, &attached.netns, &attached.configuration).run()?;
        std::fs::remove_file(&attached.configuration)?;
        Ok(took)
    }

    pub(super) fn version(&self, netns: &Path) -> Result<Duration> {
        Ok(self.call("VERSION", "version", netns, &self.file).run()?.0)
    }

    /// The peak memory of an ADD, in megabytes; the attachment is removed again.
    pub(super) fn memory(&self, container: &str, netns: &Path, maxrss: &Path) -> Result<f64> {
        let add = self.call("ADD", container, netns, &self.file);
        let megabytes = add.peak_memory(maxrss)?;
        self.call("DEL", container, netns, &self.file).run()?;
        Ok(megabytes)
    }

    /// One ADD and DEL, looked at with other eyes: who does not do the work is not measured.
    pub(super) fn prove(&self, netns: &Path) -> Result<()> {
        let (_, attached) = self.add("proof", netns)?;
        let result: Value = serde_json::from_slice(&attached.result)?;
        let address = result["ips"][0]["address"].as_str().context("the result has no address")?;
        if !lab::is_configured(netns, address)? {
            bail!("{}: eth0 has not the address {address} and a default route after ADD", self.name);
        }
        let lease = Path::new(LEASES).join(format!("bench-{}", self.name));
        let lease = lease.join(address.split('/').next().unwrap_or_default());
        if !lease.exists() {
            bail!("{}: no lease {} after ADD", self.name, lease.display());
        }
        self.del(&attached)?;
        if lab::is_configured(netns, address)? || lease.exists() {
            bail!("{}: eth0 or the lease {} is still there after DEL", self.name, lease.display());
        }
        Ok(())
    }
}
