//! Running other programs: every command is shown before it runs, every failure says which command and how. Also the
//! workspace's places and the time each step took.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// The source tree and where builds go.
pub(crate) struct Workspace {
    pub(crate) root: PathBuf,
    /// `CARGO_TARGET_DIR`, else `target` in the root.
    pub(crate) target: PathBuf,
}

impl Workspace {
    pub(crate) fn find() -> Result<Self> {
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
        let root = manifest.parent().context("xtask's manifest has no parent folder")?.to_path_buf();
        let target = match std::env::var_os("CARGO_TARGET_DIR") {
            Some(folder) => root.join(folder),
            None => root.join("target"),
        };
        Ok(Self { root, target })
    }

    /// `cargo ARGUMENTS` in the root, by the cargo that started us.
    pub(crate) fn cargo<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        command.current_dir(&self.root).args(arguments);
        // rustup's cargo hands its own toolchain on, and `cargo run` the variables of xtask's package: builds depend on neither.
        for name in ["CARGO_MANIFEST_DIR", "CARGO_MANIFEST_PATH", "LD_LIBRARY_PATH"] {
            command.env_remove(name);
        }
        command
    }

    pub(crate) fn components(&self) -> PathBuf {
        self.target.join("components")
    }

    pub(crate) fn dist(&self) -> PathBuf {
        self.target.join("dist")
    }
}

/// The command as one would type it.
pub(crate) fn shown(command: &Command) -> String {
    let mut words =
        vec![Path::new(command.get_program()).file_name().unwrap_or(command.get_program()).to_string_lossy()];
    words.extend(command.get_args().map(OsStr::to_string_lossy));
    words.join(" ")
}

/// Runs it to its end with our output; anything but success is an error.
pub(crate) fn call(command: &mut Command) -> Result<()> {
    eprintln!("+ {}", shown(command));
    let status = command.status().with_context(|| format!("cannot start `{}`", shown(command)))?;
    if !status.success() {
        bail!("`{}`: {status}", shown(command));
    }
    Ok(())
}

/// Runs it silently and returns its standard output; its standard error is shown.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let done =
        command.stderr(Stdio::inherit()).output().with_context(|| format!("cannot start `{}`", shown(command)))?;
    if !done.status.success() {
        bail!("`{}`: {}", shown(command), done.status);
    }
    String::from_utf8(done.stdout).with_context(|| format!("`{}` printed something that is not UTF-8", shown(command)))
}

/// Whether it starts and succeeds, unseen.
pub(crate) fn succeeds(command: &mut Command) -> bool {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// Where a program is, by `PATH`.
pub(crate) fn which(program: &str) -> Option<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH")?).map(|folder| folder.join(program)).find(|path| path.is_file())
}

/// Writes a file unless it has this content already, so that its time says when it changed.
pub(crate) fn write_changed(path: &Path, content: &[u8]) -> Result<()> {
    if std::fs::read(path).is_ok_and(|old| old == content) {
        return Ok(());
    }
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).with_context(|| format!("create {}", folder.display()))?;
    }
    // A running weft may have the old file mapped: replace, never overwrite.
    let new = path.with_extension("new");
    std::fs::write(&new, content).with_context(|| format!("write {}", new.display()))?;
    std::fs::rename(&new, path).with_context(|| format!("rename {} to {}", new.display(), path.display()))
}

/// Named steps and their duration.
#[derive(Default)]
pub(crate) struct Steps(Vec<(&'static str, Duration)>);

impl Steps {
    pub(crate) fn step<T>(&mut self, name: &'static str, work: impl FnOnce() -> Result<T>) -> Result<T> {
        eprintln!("== {name}");
        let start = Instant::now();
        let outcome = work().with_context(|| format!("step `{name}`"));
        let took = start.elapsed();
        eprintln!("== {name}: {}", minutes(took));
        self.0.push((name, took));
        outcome
    }

    pub(crate) fn print(&self) {
        for (name, took) in &self.0 {
            println!("{:>9}  {name}", minutes(*took));
        }
        println!("{:>9}  in all", minutes(self.0.iter().map(|(_, took)| *took).sum()));
    }
}

fn minutes(duration: Duration) -> String {
    format!("{:.1} min", duration.as_secs_f64() / 60.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unchanged_content_keeps_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b.txt");
        write_changed(&path, b"one").unwrap();
        let first = std::fs::metadata(&path).unwrap().modified().unwrap();
        write_changed(&path, b"one").unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().modified().unwrap(), first);
        write_changed(&path, b"two").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"two");
    }

    #[test]
    fn a_command_is_shown_without_its_folder() {
        assert_eq!(shown(Command::new("/usr/bin/cargo").args(["test", "-p", "x"])), "cargo test -p x");
    }
}
