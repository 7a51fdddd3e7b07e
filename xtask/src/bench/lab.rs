//! Where measurements happen: user, network and mount namespaces of their own, so that nothing of the machine is touched
//! and no root is needed; and the network namespaces that stand for pods.

use std::ffi::CString;
use std::fs::File;
use std::io::Error;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::run::{call, succeeds};

/// Starts us again with the same arguments and `more` inside namespaces of our own. Returns only with an error.
pub(crate) fn enter(more: &[&std::ffi::OsStr]) -> Result<std::convert::Infallible> {
    // Root needs no user namespace, and without one may take precedence over other load.
    let plain = ["--net", "--mount"];
    let user = ["--map-root-user", "--net", "--mount"];
    let works = |kinds: &[&str]| succeeds(Command::new("unshare").args(kinds).arg("true"));
    let kinds = if works(&plain) {
        &plain[..]
    } else if works(&user) {
        &user[..]
    } else {
        bail!("no namespaces of our own: be root, or allow user namespaces (sysctl user.max_user_namespaces)");
    };
    let program = std::env::current_exe().context("where is this program?")?;
    let mut command = Command::new("unshare");
    command.args(kinds).arg("--").arg(program).args(std::env::args_os().skip(1)).args(more);
    Err(command.exec()).context("cannot start unshare")
}

/// While it lives, we and what we start have a larger share of the processors, where that is allowed: root's right. Never
/// real-time scheduling: a storm would then starve the kernel's own threads, whose work it waits for, and with them the
/// machine.
pub(super) struct Precedence;

/// Where the kernel groups processes by session, niceness counts only within the session: the session has one too.
const SESSION: &str = "/proc/self/autogroup";

impl Precedence {
    pub(super) fn take() -> Self {
        // SAFETY: plain system call.
        #[allow(unsafe_code, reason = "std has no setpriority")]
        let refused = unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, -15) } != 0;
        let session_refused = Path::new(SESSION).exists() && std::fs::write(SESSION, "-15").is_err();
        if refused || session_refused {
            eprintln!("no precedence here: whatever else runs on this machine adds noise");
        }
        Self
    }
}

impl Drop for Precedence {
    fn drop(&mut self) {
        // The session outlives us. Where it was refused above there is nothing to take back.
        let _ = std::fs::write(SESSION, "0");
    }
}

/// Hides the machine's state behind empty folders. Only inside namespaces of our own.
pub(crate) fn hide_state() -> Result<()> {
    for folder in ["/run", "/var/lib"] {
        call(Command::new("mount").args(["-t", "tmpfs", "bench", folder]))?;
    }
    Ok(())
}

/// Makes `count` network namespaces, held by files in `folder`.
pub(crate) fn make_netns(folder: &Path, count: usize) -> Result<Vec<PathBuf>> {
    std::fs::create_dir_all(folder).with_context(|| format!("create {}", folder.display()))?;
    let paths: Vec<PathBuf> = (0..count).map(|n| folder.join(n.to_string())).collect();
    // A thread of its own: it ends in the last namespace, the rest of the program stays where it is.
    std::thread::scope(|scope| {
        let maker = scope.spawn(|| paths.iter().try_for_each(|path| make_one(path)));
        maker.join().unwrap_or_else(|_| bail!("making network namespaces panicked"))
    })?;
    Ok(paths)
}

fn make_one(path: &Path) -> Result<()> {
    File::create(path).with_context(|| format!("create {}", path.display()))?;
    let target = CString::new(path.as_os_str().as_bytes()).context("a path with a zero byte")?;
    // SAFETY: system calls with strings that live through them; unshare changes only this thread.
    #[allow(unsafe_code, reason = "std has neither unshare nor mount")]
    let failed = unsafe {
        libc::unshare(libc::CLONE_NEWNET) != 0
            || libc::mount(
                c"/proc/thread-self/ns/net".as_ptr(),
                target.as_ptr(),
                c"none".as_ptr(),
                libc::MS_BIND,
                std::ptr::null(),
            ) != 0
    };
    if failed { Err(Error::last_os_error()).context("make a network namespace") } else { Ok(()) }
}

/// Whether `ip` sees the interface, with this address and a default route, in the namespace.
pub(super) fn is_configured(netns: &Path, address: &str) -> Result<bool> {
    let seen = |arguments: &[&str]| {
        let mut command = Command::new("nsenter");
        let output = command.arg(format!("--net={}", netns.display())).arg("ip").args(arguments).output()?;
        Ok::<_, Error>(String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let links = seen(&["-o", "address", "show", "dev", "eth0"]).context("cannot run nsenter ip")?;
    let routes = seen(&["route", "show", "default"]).context("cannot run nsenter ip")?;
    Ok(links.contains(&format!("inet {address} ")) && routes.starts_with("default via"))
}
