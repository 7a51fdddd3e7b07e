//! A node and its pods, made of namespaces for one test.
//!
//! Owns: running a test again inside fresh namespaces ([`isolated`]), and skipping when the machine can't do that.
//! A test's process and everything it starts see a network stack of their own and empty, private `/run`, `/var/lib` and
//! `/etc/cni`; all of it ends with the last process, however that one ends.
//!
//! Invariant: outside, a test only starts itself and waits; inside, it runs alone in its process.

mod fault;
mod list;
mod node;
mod plugins;
mod pod;
mod probe;
mod snapshot;

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use nix::mount::{MsFlags, mount};

pub use fault::{FAULT, Trial};
pub use list::{Attachment, Failure};
pub use node::{Call, CniError, Node, Outcome, Verb};
pub use plugins::{NATIVE, Plugins};
pub use pod::{Netns, Pod};
pub use probe::{ip, ip_json, nft_json, ping, ping_fails, tcp, udp};
pub use snapshot::{Snapshot, assert_nothing_left, assert_nothing_left_except_shared};

/// Holds the name of the test while inside its namespaces.
const INSIDE: &str = "WEFT_LAB_INSIDE";

/// Holds the process that started a lab, as the machine counts processes.
const OUTSIDE: &str = "WEFT_LAB_OUTSIDE";

/// Where a lab keeps what it makes: on its private `/run`.
pub const HOME: &str = "/run/lab";

/// What the namespaces of a test are made with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Privilege {
    /// User, network and mount namespaces; any user may make them.
    User,
    /// Network, mount and PID namespaces without a user namespace, for real runtimes; only root may make them. Every
    /// process started inside is killed when the test ends.
    Root,
}

/// Runs `body` on a fresh node with the plugins under test, in namespaces of its own.
///
/// `test` is the name of the calling `#[test]` function, with its modules inside the test file, as `cargo test NAME
/// --exact` wants it. Skips, loudly, if there is nothing to test or the machine doesn't allow it.
pub fn isolated(test: &str, body: impl FnOnce(&Node)) {
    isolated_with(Privilege::User, test, body);
}

/// [`isolated`], choosing what the namespaces are made with.
pub fn isolated_with(privilege: Privilege, test: &str, body: impl FnOnce(&Node)) {
    let plugins = match Plugins::chosen() {
        Ok(plugins) => plugins,
        Err(reason) => return skip(test, &reason),
    };
    isolated_bare(privilege, test, || body(&Node::new(plugins)));
}

/// Runs `body` in fresh namespaces, without a node or plugins.
pub fn isolated_bare(privilege: Privilege, test: &str, body: impl FnOnce()) {
    if is_inside() {
        furnish();
        body();
        return;
    }
    match namespaces(privilege, Path::new("true"), &[], None) {
        Ok(output) if output.status.success() => {}
        Ok(output) => return skip(test, &format!("no namespaces here: {}", text(&output.stderr).trim())),
        Err(error) => return skip(test, &format!("unshare (util-linux) doesn't start: {error}")),
    }
    let myself = std::env::current_exe().expect("the test's own path");
    let arguments = [test, "--exact", "--nocapture", "--include-ignored", "--test-threads=1"];
    let output = namespaces(privilege, &myself, &arguments, Some(test)).expect("unshare starts");
    for line in text(&output.stderr).lines().filter(|line| line.starts_with("SKIP: ")) {
        say(line);
    }
    // Set off, so that nobody takes the inner harness' counts for those of this one.
    text(&output.stdout).lines().for_each(|line| println!("  | {line}"));
    eprint!("{}", text(&output.stderr));
    assert!(output.status.success(), "{test}: failed inside its namespaces ({}), its output is above", output.status);
    assert!(text(&output.stdout).contains("1 passed"), "{test}: there is no test of that name in {}", myself.display());
}

/// Whether this process runs inside a lab's namespaces.
pub fn is_inside() -> bool {
    std::env::var_os(INSIDE).is_some()
}

/// A number that no other lab on this machine has while this one runs; inside the same as outside.
pub fn number() -> u32 {
    std::env::var(OUTSIDE).ok().and_then(|text| text.parse().ok()).unwrap_or_else(std::process::id)
}

/// Runs `program` in fresh namespaces and waits for its end.
fn namespaces(
    privilege: Privilege,
    program: &Path,
    arguments: &[&str],
    inside: Option<&str>,
) -> std::io::Result<Output> {
    let mut command = Command::new("unshare");
    match privilege {
        Privilege::User => command.args(["--user", "--map-root-user"]),
        Privilege::Root => command.args(["--pid", "--fork", "--kill-child", "--mount-proc"]),
    };
    command.args(["--net", "--mount", "--propagation", "private", "--"]);
    if privilege == Privilege::Root {
        // PID 1 has to wait for orphans (shims, monitors), which a shell does and a test doesn't.
        command.args(["sh", "-c", "\"$0\" \"$@\"; exit $?"]);
    }
    command.arg(program).args(arguments);
    if let Some(test) = inside {
        command.env(INSIDE, test).env(OUTSIDE, std::process::id().to_string());
    }
    command.output()
}

/// Makes the private file systems and brings `lo` up.
fn furnish() {
    for directory in ["/run", "/var/lib", "/etc/cni"] {
        if Path::new(directory).is_dir() {
            mount(Some("lab"), directory, Some("tmpfs"), MsFlags::empty(), Some("mode=0755"))
                .unwrap_or_else(|error| panic!("tmpfs on {directory}: {error}"));
        }
    }
    for directory in [HOME, "/run/netns", "/run/lock"] {
        std::fs::create_dir_all(directory).expect("a directory on the private /run");
    }
    let status = Command::new("ip").args(["link", "set", "lo", "up"]).status().expect("ip (iproute2) starts");
    assert!(status.success(), "lo doesn't come up");
}

/// Says on the terminal, past the test harness' capture, that `test` did not run and why.
///
/// # Panics
/// If `WEFT_LAB_REQUIRED` is set.
pub fn skip(test: &str, reason: &str) {
    assert!(
        std::env::var_os("WEFT_LAB_REQUIRED").is_none(),
        "{test} can't run, and WEFT_LAB_REQUIRED is set: {reason}"
    );
    say(&format!("SKIP: {test}: {reason}"));
}

/// A line for the terminal in one piece, past the test harness' capture.
fn say(line: &str) {
    let _ = std::io::stderr().write_all(format!("{line}\n").as_bytes());
}

/// [`skip`] from inside: the name of the test is known.
pub fn skip_here(reason: &str) {
    skip(&std::env::var(INSIDE).unwrap_or_default(), reason);
}

/// Waits until `probe` says yes, looking again every few milliseconds. For effects that nobody announces.
///
/// # Panics
/// After ten seconds, naming `what`.
pub fn eventually(what: &str, mut probe: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !probe() {
        assert!(Instant::now() < deadline, "not within ten seconds: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn text(bytes: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}
