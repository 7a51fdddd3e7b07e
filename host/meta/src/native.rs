//! Plugins that are ordinary executables: finding and running one as the CNI specification says (section 4).
//!
//! Owns: the search in CNI_PATH, the child's environment and pipes, its deadline. Must not: run weft itself under
//! another name (a loop), or let the child's stdout reach weft's.

use std::io::{Read as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use weft_cni::Error;

/// One call.
pub struct Call<'a> {
    /// The executable.
    pub program: &'a Path,
    /// ADD, DEL ...
    pub command: &'a str,
    /// CNI_CONTAINERID.
    pub container_id: &'a str,
    /// CNI_NETNS; empty where there is none.
    pub netns: &'a str,
    /// CNI_IFNAME.
    pub ifname: &'a str,
    /// CNI_ARGS, unparsed.
    pub args: &'a str,
    /// CNI_PATH, unparsed.
    pub path: &'a str,
    /// The configuration, JSON.
    pub stdin: &'a [u8],
    /// After which the child is killed.
    pub deadline: Duration,
}

/// Finds a plugin's executable: the first regular file of that name, in the order of CNI_PATH.
pub fn find(kind: &str, path: &[PathBuf]) -> Result<PathBuf, Error> {
    let own = std::fs::metadata("/proc/self/exe").map(|about| (about.dev(), about.ino())).ok();
    for directory in path {
        let candidate = directory.join(kind);
        let Ok(about) = std::fs::metadata(&candidate) else { continue };
        if !about.is_file() {
            continue;
        }
        if Some((about.dev(), about.ino())) == own {
            return Err(Error::plugin_not_found(format!(
                "plugin {kind:?}: {} is weft itself, and weft has no component of that name; \
                 install the component or put the original plugin back (weftctl uninstall)",
                candidate.display()
            )));
        }
        return Ok(candidate);
    }
    let looked = path.iter().map(|directory| directory.display().to_string()).collect::<Vec<_>>().join(", ");
    Err(Error::plugin_not_found(format!("plugin {kind:?}: no executable of that name in CNI_PATH ({looked})")))
}

/// Runs it and gives what it printed on stdout; its stderr goes to weft's.
///
/// Errors: the plugin's own CNI error, unchanged but for the plugin's name before its message; code 999 with what it
/// printed where that is no CNI error; code 5 where it can't be started; code 11 after the deadline.
pub fn run(call: &Call<'_>) -> Result<Vec<u8>, Error> {
    let name = call.program.display();
    let mut command = Command::new(call.program);
    command
        .env("CNI_COMMAND", call.command)
        .env("CNI_CONTAINERID", call.container_id)
        .env("CNI_NETNS", call.netns)
        .env("CNI_IFNAME", call.ifname)
        .env("CNI_ARGS", call.args)
        .env("CNI_PATH", call.path)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        // Its own group, so that a deadline ends what it started, too.
        .process_group(0);
    let mut child = spawn(&mut command).map_err(|error| Error::io(format!("starting {name}: {error}")))?;
    let (Some(mut stdin), Some(mut stdout)) = (child.stdin.take(), child.stdout.take()) else {
        return Err(Error::internal(format!("{name}: its pipes were not made")));
    };
    let input = call.stdin.to_vec();
    // Both pipes at once: a plugin may print before it has read everything.
    let writer = std::thread::spawn(move || {
        // A plugin that doesn't read its configuration closes the pipe; its exit status says whether that matters.
        let _ = stdin.write_all(&input);
    });
    let (done, finished) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut output = Vec::new();
        let result = stdout.by_ref().take(CAP).read_to_end(&mut output).map(|_| output);
        let _ = done.send(result);
    });
    let end = Instant::now() + call.deadline;
    let output = finished.recv_timeout(call.deadline);
    // The end of its output is all but its end; a plugin that lingers is asked again until the deadline.
    let status = loop {
        match child.try_wait().map_err(|error| Error::io(format!("waiting for {name}: {error}")))? {
            Some(status) => break status,
            None if Instant::now() >= end => {
                let group = nix::unistd::Pid::from_raw(-(child.id() as i32));
                let _ = nix::sys::signal::kill(group, nix::sys::signal::Signal::SIGKILL);
                let _ = child.wait();
                return Err(Error::try_again(format!(
                    "{name} {} did not end within {} s and was killed",
                    call.command,
                    call.deadline.as_secs()
                )));
            }
            None => std::thread::sleep(Duration::from_micros(100)),
        }
    };
    let _ = writer.join();
    let output = match output {
        Ok(Ok(output)) => output,
        Ok(Err(error)) => return Err(Error::io(format!("reading the output of {name}: {error}"))),
        Err(_) => return Err(Error::internal(format!("{name} ended but something it started holds its output open"))),
    };
    if status.success() {
        return Ok(output);
    }
    // Its stderr went to weft's own, where the runtime keeps it.
    Err(Error::from_plugin(&name.to_string(), &status.to_string(), &output, &[]).context(&name.to_string()))
}

/// The largest output of a plugin, in bytes.
const CAP: u64 = 4 << 20;

/// Starts the child; a file that is just being written (an upgrade in place) is tried again for a while.
fn spawn(command: &mut Command) -> std::io::Result<std::process::Child> {
    let mut tries = 0;
    loop {
        match command.spawn() {
            Err(error) if error.kind() == std::io::ErrorKind::ExecutableFileBusy && tries < 50 => {
                tries += 1;
                std::thread::sleep(Duration::from_millis(100));
            }
            other => return other,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn script(dir: &Path, name: &str, body: &str) -> PathBuf {
        let path = dir.join(name);
        std::fs::write(&path, format!("#!/bin/sh\n{body}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    fn call(program: &Path) -> Result<Vec<u8>, Error> {
        run(&Call {
            program,
            command: "ADD",
            container_id: "c1",
            netns: "",
            ifname: "eth0",
            args: "A=b",
            path: "/nowhere",
            stdin: b"{\"x\":1}",
            deadline: Duration::from_secs(1),
        })
    }

    #[test]
    fn a_plugin_gets_its_environment_and_configuration() {
        let dir = tempfile::tempdir().unwrap();
        let plugin = script(dir.path(), "p", "echo $CNI_COMMAND $CNI_CONTAINERID $CNI_IFNAME $CNI_ARGS; cat");
        assert_eq!(String::from_utf8(call(&plugin).unwrap()).unwrap(), "ADD c1 eth0 A=b\n{\"x\":1}");
    }

    #[test]
    fn its_error_keeps_its_code_and_names_it() {
        let dir = tempfile::tempdir().unwrap();
        let plugin = script(dir.path(), "p", "echo '{\"code\": 11, \"msg\": \"busy\"}'; exit 1");
        let error = call(&plugin).unwrap_err();
        assert_eq!(error.code, 11);
        assert!(error.msg.ends_with("/p: busy"), "{error}");
    }

    #[test]
    fn after_its_deadline_it_is_killed_with_what_it_started() {
        let dir = tempfile::tempdir().unwrap();
        let plugin = script(dir.path(), "p", "sleep 1000 & sleep 1000");
        assert_eq!(call(&plugin).unwrap_err().code, 11);
    }

    #[test]
    fn the_search_says_where_it_looked() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("dir")).unwrap();
        let error = find("dir", &[dir.path().to_owned(), PathBuf::from("/nowhere")]).unwrap_err();
        assert!(error.msg.contains(&dir.path().display().to_string()) && error.msg.contains("/nowhere"), "{error}");
        script(dir.path(), "p", "");
        assert_eq!(find("p", &[PathBuf::from("/nowhere"), dir.path().to_owned()]).unwrap(), dir.path().join("p"));
    }

    #[test]
    fn weft_under_another_name_is_not_run() {
        let dir = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/proc/self/exe", dir.path().join("weave")).unwrap();
        assert!(find("weave", &[dir.path().to_owned()]).unwrap_err().msg.contains("is weft itself"));
    }
}
