//! One call of a CNI plugin, timed as a runtime sees it: from before the program is started until it ended and both of
//! its outputs are closed.

use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// What a runtime says to a plugin.
pub(super) struct Call<'a> {
    pub(super) program: &'a Path,
    pub(super) plugins: &'a OsString,
    pub(super) command: &'a str,
    pub(super) container: &'a str,
    pub(super) netns: &'a Path,
    /// The file that is its standard input.
    pub(super) configuration: &'a Path,
}

impl Call<'_> {
    fn prepare(&self, program: &Path) -> Result<Command> {
        let stdin = File::open(self.configuration).with_context(|| format!("open {}", self.configuration.display()))?;
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .env("CNI_COMMAND", self.command)
            .env("CNI_CONTAINERID", self.container)
            .env("CNI_NETNS", self.netns)
            .env("CNI_IFNAME", "eth0")
            .env("CNI_PATH", self.plugins)
            .stdin(stdin)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        Ok(command)
    }

    /// Time and standard output; an error if the plugin reports one.
    pub(super) fn run(&self) -> Result<(Duration, Vec<u8>)> {
        let mut command = self.prepare(self.program)?;
        let start = Instant::now();
        let output = command.spawn().and_then(std::process::Child::wait_with_output);
        let took = start.elapsed();
        let output = output.with_context(|| format!("cannot run {}", self.program.display()))?;
        self.check(&output)?;
        Ok((took, output.stdout))
    }

    /// The most memory it had resident, in megabytes (10^6 bytes).
    pub(super) fn peak_memory(&self, maxrss: &Path) -> Result<f64> {
        let output = self.prepare(maxrss)?.arg(self.program).output().context("cannot run weft-maxrss")?;
        self.check(&output)?;
        let text = String::from_utf8_lossy(&output.stderr);
        let kib: f64 =
            text.lines().last().and_then(|line| line.parse().ok()).context("weft-maxrss printed no number")?;
        Ok(kib * 1024.0 / 1e6)
    }

    fn check(&self, output: &Output) -> Result<()> {
        if output.status.success() {
            return Ok(());
        }
        let text = |bytes| String::from_utf8_lossy(bytes).trim().to_owned();
        bail!(
            "{} of {} by {}: {}\n{}\n{}",
            self.command,
            self.container,
            self.program.display(),
            output.status,
            text(&output.stdout),
            text(&output.stderr)
        )
    }
}

/// Writes the configuration of a DEL: as a runtime does, that of the ADD with its result.
pub(super) fn with_result(configuration: &Value, result: &[u8], to: &Path) -> Result<PathBuf> {
    let mut configuration = configuration.clone();
    configuration["prevResult"] = serde_json::from_slice(result).context("the result of ADD is not JSON")?;
    std::fs::write(to, configuration.to_string()).with_context(|| format!("write {}", to.display()))?;
    Ok(to.to_path_buf())
}

pub(super) fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
