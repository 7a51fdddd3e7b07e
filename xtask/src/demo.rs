//! The main job on real input, for a newcomer to watch: a node and two pods made of network namespaces, weft installed
//! into a CNI directory, an unchanged two-flannel configuration run for both pods, looked at, broken, removed.
//!
//! Nothing of the machine is touched: everything happens in namespaces of this process and is gone with it.

use std::ffi::OsStr;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use crate::bench::lab;
use crate::dist;
use crate::run::{Workspace, write_changed};
use crate::setup::{self, Need};

/// What `cargo xtask demo` takes.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Where dist left weft; set when the command starts itself again in its namespaces.
    #[arg(long, hide = true)]
    inside: Option<PathBuf>,
}

const BIN: &str = "/run/demo/cni-bin";
const CONF: &str = "/run/demo/10-two-flannels.conf";
const CONF_CHECK: &str = "/run/demo/10-two-flannels-1.1.0.conf";

/// `cargo xtask demo`.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<()> {
    match &options.inside {
        Some(folder) => inside(workspace, folder),
        None => {
            setup::ensure(Need::Test)?;
            dist::run_for_tests(workspace)?;
            let folder = workspace.dist();
            match lab::enter(&[OsStr::new("--inside"), folder.as_os_str()])? {}
        }
    }
}

struct Pod {
    name: &'static str,
    netns: PathBuf,
}

fn inside(workspace: &Workspace, folder: &Path) -> Result<()> {
    lab::hide_state()?;
    std::fs::create_dir_all("/run/demo").context("create /run/demo")?;
    ip(None, &["link", "set", "lo", "up"])?;
    let paths = lab::make_netns(Path::new("/run/netns"), 2)?;
    let pods: Vec<Pod> = ["blue", "green"].into_iter().zip(paths).map(|(name, netns)| Pod { name, netns }).collect();
    for pod in &pods {
        ip(Some(&pod.netns), &["link", "set", "lo", "up"])?;
    }

    title("1. Install weft into a CNI directory, in the place of multus");
    let weftctl = folder.join("weftctl");
    show(Command::new(&weftctl).args(["install", "--cni-bin-dir", BIN]))?;
    show(Command::new("ls").arg(BIN))?;

    title("2. The configuration: two flannel networks, as it stands in conf/two-flannels");
    let conf = workspace.root.join("conf/two-flannels");
    for file in ["subnet.env", "subnet2.env"] {
        write_changed(&Path::new("/run/flannel").join(file), &std::fs::read(conf.join(file))?)?;
    }
    let text = std::fs::read_to_string(conf.join("10-two-flannels.conf")).context("read conf/two-flannels")?;
    write_changed(Path::new(CONF), text.as_bytes())?;
    println!("{text}");

    title("3. The plan for pod blue: what an ADD would do on this node now. Nothing is changed yet");
    let netns = pods[0].netns.display().to_string();
    show(Command::new(&weftctl).args(["plan", "--cni-bin-dir", BIN, "--conf", CONF, "--netns", &netns]))?;

    title("4. ADD for both pods, as a container runtime calls it");
    for pod in &pods {
        let result = cni("ADD", pod, CONF)?;
        println!("ADD {}: {}", pod.name, squeeze(&result));
    }
    for pod in &pods {
        println!("\npod {}:", pod.name);
        show(Command::new("nsenter").arg(net(pod)).args(["ip", "-brief", "-4", "address"]))?;
        show(Command::new("nsenter").arg(net(pod)).args(["ip", "route"]))?;
    }

    title("5. The pods reach each other on both networks, and the gateways");
    for interface in ["eth0", "net0"] {
        ping(&pods[0], &address(&pods[1], interface)?, &format!("green's {interface}"))?;
    }
    for (gateway, network) in [("172.96.0.1", "flannel.1"), ("172.112.88.1", "flannel.2")] {
        ping(&pods[0], gateway, &format!("gateway of {network}"))?;
    }

    title("6. weft remembers, and checks what it made");
    show(Command::new(&weftctl).args(["list", "--cni-bin-dir", BIN]))?;
    show(Command::new(&weftctl).args(["check", "--cni-bin-dir", BIN]))?;

    title("7. Somebody breaks pod green: its default route is deleted");
    ip(Some(&pods[1].netns), &["route", "del", "default"])?;
    let status = Command::new(&weftctl).args(["check", "--cni-bin-dir", BIN]).status()?;
    if status.success() {
        bail!("weftctl check did not notice the missing route");
    }
    println!("(exit code {})", status.code().unwrap_or(-1));

    title("8. The verb CHECK, which needs cniVersion 0.4.0: the same configuration with 1.1.0");
    cni("DEL", &pods[1], CONF)?;
    let newer = text.replacen('{', "{\n  \"cniVersion\": \"1.1.0\",", 1);
    write_changed(Path::new(CONF_CHECK), newer.as_bytes())?;
    cni("ADD", &pods[1], CONF_CHECK)?;
    cni("CHECK", &pods[1], CONF_CHECK)?;
    println!("CHECK green: ok");
    ip(Some(&pods[1].netns), &["link", "set", "net0", "down"])?;
    match call("CHECK", &pods[1], CONF_CHECK)? {
        (true, _) => bail!("CHECK did not notice that net0 is down"),
        (false, answer) => println!("after `ip link set net0 down`: {}", squeeze(&answer)),
    }

    title("9. DEL: nothing of the pods is left");
    cni("DEL", &pods[0], CONF)?;
    cni("DEL", &pods[1], CONF_CHECK)?;
    show(Command::new(&weftctl).args(["list", "--cni-bin-dir", BIN]))?;
    show(Command::new("find").args(["/run/weft/attachments", "/var/lib/cni", "-type", "f", "-name", "[0-9]*"]))?;
    println!("links of the node (the bridges are shared and stay):");
    show(Command::new("ip").args(["-brief", "link"]))?;

    title("10. weftctl gc --shared: what weft made for all pods goes too when nobody uses it");
    show(Command::new(&weftctl).args(["gc", "--shared", "--cni-bin-dir", BIN]))?;
    show(Command::new("ip").args(["-brief", "link"]))?;
    let links = capture(Command::new("ip").args(["-brief", "link"]))?;
    if links.lines().count() != 1 {
        bail!("the node is not empty: {links}");
    }
    println!("\nThe node is empty again. That was weft.");
    Ok(())
}

fn title(text: &str) {
    println!("\n\x1b[1m{text}\x1b[0m");
    let _ = std::io::stdout().flush();
}

fn net(pod: &Pod) -> String {
    format!("--net={}", pod.netns.display())
}

/// Runs a command with its output shown, the command before it.
fn show(command: &mut Command) -> Result<()> {
    let words: Vec<_> = std::iter::once(Path::new(command.get_program()).file_name().unwrap_or_default())
        .chain(command.get_args())
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    println!("$ {}", words.join(" "));
    let status = command.status().with_context(|| format!("cannot start {}", words.join(" ")))?;
    if !status.success() {
        bail!("`{}`: {status}", words.join(" "));
    }
    Ok(())
}

fn capture(command: &mut Command) -> Result<String> {
    Ok(String::from_utf8_lossy(&command.output()?.stdout).into_owned())
}

fn ip(netns: Option<&Path>, arguments: &[&str]) -> Result<()> {
    let mut command = match netns {
        Some(netns) => {
            let mut command = Command::new("nsenter");
            command.arg(format!("--net={}", netns.display())).arg("ip");
            command
        }
        None => Command::new("ip"),
    };
    let status = command.args(arguments).status().context("cannot run ip")?;
    if status.success() { Ok(()) } else { bail!("`ip {}`: {status}", arguments.join(" ")) }
}

/// The first IPv4 address of a pod's interface.
fn address(pod: &Pod, interface: &str) -> Result<String> {
    let text =
        capture(Command::new("nsenter").arg(net(pod)).args(["ip", "-o", "-4", "address", "show", "dev", interface]))?;
    let prefix = text.split_whitespace().nth(3).with_context(|| format!("{} has no {interface}", pod.name))?;
    Ok(prefix.split('/').next().unwrap_or_default().to_owned())
}

fn ping(from: &Pod, to: &str, what: &str) -> Result<()> {
    let output = Command::new("nsenter")
        .arg(net(from))
        .args(["busybox", "ping", "-c", "1", "-W", "2", to])
        .output()
        .context("cannot run ping")?;
    if !output.status.success() {
        bail!("{} does not reach {what} ({to})", from.name);
    }
    println!("{} -> {what} ({to}): reached", from.name);
    Ok(())
}

/// Calls weft as `multus`, the way a runtime does; an error is ours.
fn cni(verb: &str, pod: &Pod, conf: &str) -> Result<String> {
    match call(verb, pod, conf)? {
        (true, answer) => Ok(answer),
        (false, answer) => bail!("{verb} {}: {answer}", pod.name),
    }
}

fn call(verb: &str, pod: &Pod, conf: &str) -> Result<(bool, String)> {
    let output = Command::new(Path::new(BIN).join("multus"))
        .env("CNI_COMMAND", verb)
        .env("CNI_CONTAINERID", format!("demo-{}", pod.name))
        .env("CNI_NETNS", &pod.netns)
        .env("CNI_IFNAME", "eth0")
        .env("CNI_PATH", BIN)
        .stdin(Stdio::from(std::fs::File::open(conf)?))
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("cannot run {BIN}/multus"))?;
    Ok((output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned()))
}

/// JSON on one line.
fn squeeze(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
